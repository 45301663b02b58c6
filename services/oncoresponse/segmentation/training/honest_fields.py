"""The automatic networks in fields of view that say nothing about the tumor, beside what needs no image.

Each patient is looked at in several fields whose faces were moved at random by up to 5 cm, the space outside filled
with the margin of another patient's image (:mod:`oncoresponse.segmentation.training.field_sampler`), by the network
that was not trained on them. The ellipsoid inside the borders of the same fields says how much the borders still give
away.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import SimpleITK as sitk
import torch
from rich.progress import Progress

from oncoresponse.segmentation.mask_selection import mask_from_probability
from oncoresponse.segmentation.metrics import dice
from oncoresponse.segmentation.network import INPUT_CHANNELS, load_networks, read_network_description
from oncoresponse.segmentation.training.cohort import assign_folds, cohort_patients, read_training_patients
from oncoresponse.segmentation.training.field_sampler import FieldPatient, random_faces
from oncoresponse.segmentation.training.image_free_baseline import ellipsoid_within_borders
from oncoresponse.segmentation.training.mean_dice import best_on_other_folds, mean_dice
from oncoresponse.segmentation.windowed_prediction import fast_network, predict_probabilities

FIELDS_SUMMARY = "fields.json"
FIELDS = 3
LARGEST_SHIFT_MM = 50.0
_CPU = torch.device("cpu")
_THRESHOLDS = tuple(round(0.30 + 0.05 * step, 2) for step in range(9))
_MARGINS_MM = tuple(range(0, 61, 2))


def evaluate_fields(data: Path, segmentation_directory: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Write ``fields.json`` beside the weights: mean Dice over the patients of each method in random fields.

    Threshold and margin are chosen on the other folds. A patient counts once, with the mean of their fields.
    """
    description = read_network_description(segmentation_directory)
    patients = cohort_patients(data, description.training.held_out_patients)
    networks = [
        fast_network(network, _CPU, description.network)
        for network in load_networks(segmentation_directory, description)
    ]
    folds = assign_folds(patients, len(networks), description.training.seed)
    prepared = [
        FieldPatient(patient.patient, patient.inputs.array, patient.tumor.astype(np.float32))
        for _, patient in read_training_patients(data, patients, description.preprocessing)
    ]
    task = progress.add_task("random fields", total=len(patients)) if progress is not None else None
    chances: list[npt.NDArray[np.float64]] = []
    ellipsoids: list[npt.NDArray[np.float64]] = []
    clinic: list[npt.NDArray[np.float64]] = []
    for number, patient in enumerate(prepared):
        random = np.random.default_rng([description.training.seed, number])
        rows = []
        for _ in range(FIELDS):
            donor = prepared[(number + 1 + int(random.integers(len(prepared) - 1))) % len(prepared)]
            images, tumor = random_field(
                patient, donor, LARGEST_SHIFT_MM / description.preprocessing.spacing_mm, random
            )
            channels = np.zeros((INPUT_CHANNELS, *tumor.shape), dtype=np.float32)
            channels[:2] = images
            chance = predict_probabilities(
                [networks[folds[patient.patient]]],
                channels,
                description.network,
                description.inference,
                _CPU,
                description.patch_size,
            )[0]
            truth = tumor >= 0.5
            grid = sitk.GetImageFromArray(tumor)
            grid.SetSpacing([description.preprocessing.spacing_mm] * 3)
            probability = sitk.GetImageFromArray(chance)
            suv = np.expm1(images[0])
            rows.append(
                (
                    [dice(_mask(probability, threshold), truth) for threshold in _THRESHOLDS],
                    [dice(ellipsoid_within_borders(grid, margin), truth) for margin in _MARGINS_MM],
                    [dice(suv >= 2.5, truth), dice(suv >= 0.41 * suv.max(), truth)],
                )
            )
        for store, position in ((chances, 0), (ellipsoids, 1), (clinic, 2)):
            store.append(np.mean([row[position] for row in rows], axis=0))
        if progress is not None and task is not None:
            progress.advance(task)
    fold_of = np.array([folds[patient.patient] for patient in prepared])
    table = pd.DataFrame(
        {
            "network": _chosen_elsewhere(np.array(chances), fold_of),
            "ellipsoid": _chosen_elsewhere(np.array(ellipsoids), fold_of),
            "suv_2_5": np.array(clinic)[:, 0],
            "41_percent_of_suv_max": np.array(clinic)[:, 1],
        }
    )
    summary = {
        "patients": len(patients),
        "fields_a_patient": FIELDS,
        "largest_shift_mm": LARGEST_SHIFT_MM,
        "dice": {name: mean_dice(table[name].to_numpy()) for name in table.columns},
        "network_above_ellipsoid": mean_dice((table["network"] - table["ellipsoid"]).to_numpy()),
    }
    (segmentation_directory / FIELDS_SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return summary


def random_field(
    patient: FieldPatient, donor: FieldPatient, largest_shift: float, random: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """PET and CT, axes (2, k, j, i), and tumor (k, j, i) in a field whose faces were moved, on the common grid."""
    size, other = np.array(patient.tumor.shape), np.array(donor.tumor.shape)
    margins = donor.margins()
    low, high = random_faces(size, margins, largest_shift, random)
    places = []
    for axis in range(3):
        index = np.arange(low[axis], high[axis])
        there = (index + 0.5) / size[axis] * other[axis] - 0.5
        there = np.where(index < 0, index + margins[axis, 0], there)
        there = np.where(index >= size[axis], index - size[axis] + other[axis] - margins[axis, 1], there)
        places.append(np.clip(np.rint(there), 0, other[axis] - 1).astype(np.int64))
    images = donor.images[(slice(None), *np.ix_(*places))].copy()
    tumor = np.zeros(images.shape[1:], dtype=np.float32)
    source = tuple(slice(max(a, 0), min(b, count)) for a, b, count in zip(low, high, size, strict=True))
    target = tuple(slice(max(-a, 0), max(-a, 0) + part.stop - part.start) for a, part in zip(low, source, strict=True))
    images[(slice(None), *target)] = patient.images[(slice(None), *source)]
    tumor[target] = patient.tumor[source]
    return images, tumor


def _mask(probability: sitk.Image, threshold: float) -> npt.NDArray[np.bool_]:
    return np.asarray(sitk.GetArrayFromImage(mask_from_probability(probability, threshold)) > 0)


def _chosen_elsewhere(scores: npt.NDArray[np.float64], folds: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return scores[np.arange(len(scores)), best_on_other_folds(scores, folds)]
