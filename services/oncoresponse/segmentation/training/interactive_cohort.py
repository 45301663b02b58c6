"""The cohort as one file of arrays, so that training needs neither images nor their readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from oncoresponse.segmentation.training.field_sampler import FieldPatient


def write_field_patients(patients: Sequence[FieldPatient], folds: Mapping[str, int], path: Path) -> None:
    """Write patients and the fold in which each is validated."""
    arrays = {}
    for patient in patients:
        arrays[f"{patient.patient}/images"] = patient.images.astype(np.float16)
        arrays[f"{patient.patient}/tumor"] = np.rint(patient.tumor * 255).astype(np.uint8)
        arrays[f"{patient.patient}/fold"] = np.array(folds[patient.patient])
    np.savez_compressed(path, allow_pickle=False, **arrays)


def read_field_patients(path: Path) -> tuple[list[FieldPatient], dict[str, int]]:
    """What :func:`write_field_patients` wrote: patients in order, and their folds."""
    patients, folds = [], {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in sorted({key.split("/")[0] for key in arrays.files}):
            tumor = arrays[f"{name}/tumor"].astype(np.float32) / 255
            patients.append(FieldPatient(name, arrays[f"{name}/images"].astype(np.float32), tumor))
            folds[name] = int(arrays[f"{name}/fold"])
    return patients, folds
