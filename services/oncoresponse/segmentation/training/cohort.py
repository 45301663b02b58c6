"""The training cohort as NIfTI files, and its split into folds by patient."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from oncoradiomics.errors import ImageFileError
from oncoradiomics.image_files import read_image

from oncoresponse.case.file_digest import file_sha256
from oncoresponse.case.volume import same_grid
from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.segmentation.preprocessing import NetworkInput, PreprocessingSettings, mask_on_grid, prepare

PATIENT_FILES = ("PET.nii.gz", "CT.nii.gz", "PET_tumor.nii.gz")
"""Of each patient: PET in body-weight SUV (g/mL), CT in HU, and the contour on the grid of the PET."""


@dataclass(frozen=True, eq=False)
class CohortImages:
    """One patient as read: PET (SUVbw, g/mL), CT (HU) and the physician's contour on the PET grid (uint8 0/1)."""

    patient: str
    pet: sitk.Image
    ct: sitk.Image
    tumor: sitk.Image


@dataclass(frozen=True, eq=False)
class TrainingPatient:
    """One patient on the common grid; ``tumor`` is uint8 0/1 with axes (k, j, i)."""

    patient: str
    inputs: NetworkInput
    tumor: npt.NDArray[np.uint8]


def cohort_patients(data: Path, held_out: Sequence[str]) -> list[str]:
    """Names of the patient folders below ``data`` that hold all files, sorted, without those held out.

    Raises:
        TrainingDataInvalid: There are none, or a folder lacks a file.
    """
    folders = sorted(entry for entry in data.iterdir() if entry.is_dir()) if data.is_dir() else []
    patients = [folder.name for folder in folders if folder.name not in held_out]
    if not patients:
        raise TrainingDataInvalid(
            "The data folder holds no patient folders. Give the folder that contains one folder for each patient, with "
            + ", ".join(PATIENT_FILES)
            + "."
        )
    for name in patients:
        if missing := [file for file in PATIENT_FILES if not (data / name / file).is_file()]:
            raise TrainingDataInvalid(f"Patient folder {name} lacks {', '.join(missing)}. Complete or remove it.")
    return patients


def training_cohort(data: Path, held_out: Sequence[str], sha256: str) -> list[str]:
    """The patients of the very cohort that networks were trained on.

    Args:
        data: Cohort folder.
        held_out: Patients that were left out.
        sha256: Identity of the training data, as :func:`cohort_sha256` gave it then.

    Raises:
        TrainingDataInvalid: It is another cohort, or incomplete.
    """
    patients = cohort_patients(data, held_out)
    if cohort_sha256(data, patients) != sha256:
        raise TrainingDataInvalid(
            "The data folder is not the cohort these networks were trained on, so which network has not seen which "
            "patient is unknown. Give the training cohort, or train again."
        )
    return patients


def read_patient(data: Path, patient: str) -> CohortImages:
    """Read one patient.

    Raises:
        TrainingDataInvalid: A file cannot be read to its end, or the contour is not on the PET grid, or is empty.
    """
    pet, ct, tumor = (_read(patient, data / patient / name) for name in PATIENT_FILES)
    tumor = sitk.Cast(tumor > 0, sitk.sitkUInt8)
    if not same_grid(pet, tumor):
        raise TrainingDataInvalid(f"{patient}: PET_tumor.nii.gz is not on the grid of PET.nii.gz. Export it again.")
    if not np.any(sitk.GetArrayViewFromImage(tumor)):
        raise TrainingDataInvalid(f"{patient}: PET_tumor.nii.gz is empty. Contour the tumor or remove the patient.")
    return CohortImages(patient, pet, ct, tumor)


def _read(patient: str, path: Path) -> sitk.Image:
    try:
        return read_image(path)
    except ImageFileError as error:
        raise TrainingDataInvalid(f"{patient}: {path.name} cannot be read to its end. Export it again.") from error


def read_training_patients(
    data: Path, patients: Sequence[str], settings: PreprocessingSettings
) -> Iterator[tuple[CohortImages, TrainingPatient]]:
    """Read patients one by one and put them on the common grid."""
    for patient in patients:
        images = read_patient(data, patient)
        inputs = prepare(images.pet, images.ct, settings)
        yield images, TrainingPatient(patient, inputs, mask_on_grid(images.tumor, inputs.grid))


def assign_folds(patients: Sequence[str], folds: int, seed: int) -> dict[str, int]:
    """Fold in which each patient is validated: a seeded permutation dealt out in turn, so sizes differ by at most one.

    Raises:
        TrainingDataInvalid: Fewer patients than folds.
    """
    if len(patients) < folds:
        raise TrainingDataInvalid(f"{len(patients)} patients cannot be split into {folds} folds. Use fewer folds.")
    order = np.random.default_rng(seed).permutation(len(patients))
    return {patients[index]: position % folds for position, index in sorted(enumerate(order), key=lambda item: item[1])}


def cohort_sha256(data: Path, patients: Sequence[str]) -> str:
    """Identity of the training data: SHA-256 over each file's name and SHA-256."""
    lines = "".join(
        f"{file_sha256(data / name / file)}  {name}/{file}\n" for name in patients for file in PATIENT_FILES
    )
    return hashlib.sha256(lines.encode()).hexdigest()
