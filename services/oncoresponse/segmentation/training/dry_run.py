"""Everything that is wrong with a segmentation cohort, found without training and listed at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from oncoradiomics.errors import ImageFileError
from oncoradiomics.image_files import read_image

from oncoresponse.case.volume import same_grid
from oncoresponse.segmentation.training.cohort import PATIENT_FILES
from oncoresponse.segmentation.training.training_settings import SegmentationTrainingSettings

_PET, _CT, _TUMOR = PATIENT_FILES
_LOWEST_MAXIMUM_SUV, _HIGHEST_MAXIMUM_SUV = 0.5, 200.0


def check_segmentation_training(settings: SegmentationTrainingSettings, data: Path) -> tuple[int, list[str]]:
    """Look at each patient folder as training would.

    All images are read to their ends.

    Args:
        settings: The run.
        data: Cohort folder, one folder for each patient.

    Returns:
        How many patients would be trained on, and one sentence for each fault.
    """
    folders = sorted(entry for entry in data.iterdir() if entry.is_dir()) if data.is_dir() else []
    chosen = [folder for folder in folders if folder.name not in settings.held_out_patients]
    faults = [] if chosen else ["The data folder holds no patient folders."]
    for folder in chosen:
        faults += [f"{folder.name}: {fault}" for fault in _faults_of_patient(folder)]
    if chosen and len(chosen) < settings.folds:
        faults.append(f"{len(chosen)} patients cannot be split into {settings.folds} folds. Use fewer folds.")
    return len(chosen), faults


def _faults_of_patient(folder: Path) -> list[str]:
    missing = [name for name in PATIENT_FILES if not (folder / name).is_file()]
    faults = [f"lacks {', '.join(missing)}. Complete or remove it."] if missing else []
    headers = {}
    for name in PATIENT_FILES:
        if name in missing:
            continue
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(folder / name))
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            faults.append(f"{name} cannot be read. Export it again.")
            continue
        if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
            faults.append(f"{name} is not one three-dimensional image. Export it again.")
        else:
            headers[name] = reader
    if _PET in headers and _CT in headers and not _overlap(headers[_PET], headers[_CT]):
        faults.append(f"{_PET} and {_CT} do not overlap in patient space. Check their positions (LPS, mm).")
    images = {name: _whole_image(folder / name) for name in headers}
    faults += [f"{name} cannot be read to its end. Export it again." for name in headers if images[name] is None]
    # Each image is kept while it is looked at: a view of its array does not keep it alive.
    pet, tumor = images.get(_PET), images.get(_TUMOR)
    if pet is not None:
        highest = float(np.max(sitk.GetArrayViewFromImage(pet)))
        if not _LOWEST_MAXIMUM_SUV <= highest <= _HIGHEST_MAXIMUM_SUV:
            faults.append(
                f"{_PET}: the highest value is {highest:.3g}, which is no SUV in g/mL. Convert it to body-weight SUV."
            )
    if tumor is not None:
        if pet is not None and not same_grid(pet, tumor):
            faults.append(f"{_TUMOR} is not on the grid of {_PET}. Export it again.")
        if not np.any(sitk.GetArrayViewFromImage(tumor)):
            faults.append(f"{_TUMOR} is empty. Contour the tumor or remove the patient.")
    return faults


def _whole_image(path: Path) -> sitk.Image | None:
    try:
        return read_image(path)
    except ImageFileError:
        return None


def _overlap(first: sitk.ImageFileReader, second: sitk.ImageFileReader) -> bool:
    (low_first, high_first), (low_second, high_second) = _bounds(first), _bounds(second)
    return bool((low_first <= high_second).all() and (low_second <= high_first).all())


def _bounds(header: sitk.ImageFileReader) -> tuple[np.ndarray, np.ndarray]:
    size, spacing = np.array(header.GetSize()), np.array(header.GetSpacing())
    matrix = np.array(header.GetDirection()).reshape(3, 3) @ np.diag(spacing)
    corners = np.array(list(np.ndindex(2, 2, 2))) * (size - 1) @ matrix.T + np.array(header.GetOrigin())
    return corners.min(axis=0), corners.max(axis=0)
