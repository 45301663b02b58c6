"""What a cohort is like, and the grid, patch and CT window that follow from it; the idea is nnU-Net's (Isensee 2021).

The rules, each written into the fingerprint with what it gave:

- spacing: the edge of a cube as large as the median PET voxel, to the nearest half millimetre. The PET has the contour,
  and a finer grid holds no more of it.
- patch: the median extent of the PETs on that grid, rounded to the network's stride, but not more voxels than fit the
  budget, so that most patches hold a whole tumor with its surroundings.
- CT window: the soft-tissue window of radiologists (level 40 HU, width 400 HU), in which fat and muscle are told apart,
  widened to the 0.5 % and 99.5 % quantiles of the HU inside the contours where these lie outside it.
- PET: logarithm of 1 + SUV, the same for all cohorts: SUV is a calibrated unit, and clinics know its values.

Doi of nnU-Net: 10.1038/s41592-020-01008-z.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from pydantic import BaseModel, ConfigDict

from oncoresponse.case.volume import resample_to
from oncoresponse.segmentation.mask_checks import measure_mask
from oncoresponse.segmentation.preprocessing import field_of_view_mm
from oncoresponse.segmentation.training.cohort import CohortImages

FINGERPRINT_FILE = "fingerprint.json"
_SOFT_TISSUE_HU = (-160.0, 240.0)


class Quantiles(BaseModel):
    """Smallest, 5 %, 50 %, 95 % and largest value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum: float
    low: float
    median: float
    high: float
    maximum: float


class Fingerprint(BaseModel):
    """Contents of ``fingerprint.json``.

    Attributes:
        patients: How many were looked at.
        pet_spacing_mm: Of all axes of all PETs.
        ct_spacing_mm: Of all axes of all CTs.
        pet_extent_mm: Of all axes of all PETs.
        tumor_volume_ml: Of the physicians' contours.
        tumor_suv: Of all voxels in contours, g/mL.
        background_suv: Of all voxels outside, g/mL.
        tumor_hu: Of all voxels in contours, HU.
        spacing_mm: Decided: distance of neighbouring voxels of the common grid.
        patch_size: Decided: voxels along each axis of a training patch.
        ct_low_hu: Decided: lower end of the CT window.
        ct_high_hu: Decided: upper end of the CT window.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    patients: int
    pet_spacing_mm: Quantiles
    ct_spacing_mm: Quantiles
    pet_extent_mm: Quantiles
    tumor_volume_ml: Quantiles
    tumor_suv: Quantiles
    background_suv: Quantiles
    tumor_hu: Quantiles
    spacing_mm: float
    patch_size: int
    ct_low_hu: float
    ct_high_hu: float


def take_fingerprint(cohort: Iterable[CohortImages], stride: int, patch_voxels: int) -> Fingerprint:
    """Look at every patient of a cohort once and decide.

    Args:
        cohort: Patients to train on; none that are held out.
        stride: Patch sizes are multiples of it.
        patch_voxels: A patch has at most this many voxels.
    """
    pet_spacings: list[tuple[float, ...]] = []
    ct_spacings: list[tuple[float, ...]] = []
    extents: list[float] = []
    volumes: list[float] = []
    tumor_suv, background_suv, tumor_hu = [], [], []
    for images in cohort:
        pet_spacings.append(images.pet.GetSpacing())
        ct_spacings.append(images.ct.GetSpacing())
        extents += field_of_view_mm(images.pet)
        volumes.append(measure_mask(images.tumor).volume_ml)
        inside = sitk.GetArrayFromImage(images.tumor) > 0
        suv = sitk.GetArrayFromImage(images.pet)
        tumor_suv.append(suv[inside])
        background_suv.append(suv[~inside])
        on_ct = resample_to(images.tumor, images.ct, interpolator=sitk.sitkNearestNeighbor, outside=0)
        tumor_hu.append(sitk.GetArrayFromImage(images.ct)[sitk.GetArrayFromImage(on_ct) > 0])
    hu = np.concatenate(tumor_hu)
    edge_mm = float(np.median(np.prod(pet_spacings, axis=1))) ** (1 / 3)
    spacing_mm = max(round(edge_mm * 2) / 2, 0.5)
    largest = math.floor(patch_voxels ** (1 / 3) / stride + 1e-9) * stride
    wanted = round(float(np.median(extents)) / spacing_mm / stride) * stride
    low, high = np.quantile(hu, [0.005, 0.995])
    return Fingerprint(
        patients=len(volumes),
        pet_spacing_mm=_quantiles(np.array(pet_spacings)),
        ct_spacing_mm=_quantiles(np.array(ct_spacings)),
        pet_extent_mm=_quantiles(np.array(extents)),
        tumor_volume_ml=_quantiles(np.array(volumes)),
        tumor_suv=_quantiles(np.concatenate(tumor_suv)),
        background_suv=_quantiles(np.concatenate(background_suv)),
        tumor_hu=_quantiles(hu),
        spacing_mm=spacing_mm,
        patch_size=int(max(min(wanted, largest), stride)),
        ct_low_hu=min(_SOFT_TISSUE_HU[0], math.floor(float(low))),
        ct_high_hu=max(_SOFT_TISSUE_HU[1], math.ceil(float(high))),
    )


def write_fingerprint(fingerprint: Fingerprint, path: Path) -> None:
    """Write ``fingerprint.json``."""
    path.write_text(fingerprint.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _quantiles(values: npt.NDArray[np.float64]) -> Quantiles:
    minimum, low, median, high, maximum = np.quantile(values, [0, 0.05, 0.5, 0.95, 1]).round(3).tolist()
    return Quantiles(minimum=minimum, low=low, median=median, high=high, maximum=maximum)
