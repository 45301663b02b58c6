"""Places in a large scan that may be the lesion: found by the network, ranked, and left to a physician to choose from.

A whole-body scan shows physiological uptake that the networks hardly saw in training. So nothing is measured before a
physician has chosen.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from pydantic import BaseModel, ConfigDict, Field

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.model.definition import LesionLimits
from oncoresponse.segmentation.lesion_prompt import box_of_voxels

LARGEST_NUMBER = 12
"""More candidates than this help nobody."""


class LesionCandidate(BaseModel):
    """One place that may be the lesion. Positions are patient coordinates, LPS, mm.

    Attributes:
        number: 1 for the most likely.
        low_mm: Lowest L, P, S of the box around it.
        high_mm: Highest L, P, S of it.
        hottest_mm: Centre of its voxel with the highest value.
        volume_ml: Volume of the voxels that reach the threshold.
        suv_max: Highest SUV, g/mL; null where the image is no PET in SUV.
        confidence: Mean probability of those voxels, 0 to 1; the candidates are ranked by it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(ge=1)
    low_mm: tuple[float, float, float]
    high_mm: tuple[float, float, float]
    hottest_mm: tuple[float, float, float]
    volume_ml: float = Field(gt=0)
    suv_max: float | None
    confidence: float = Field(ge=0, le=1)


class LesionCandidates(BaseModel):
    """All candidates of a scan, as a document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidates: tuple[LesionCandidate, ...]


def rank_candidates(
    probability: sitk.Image, scan: Volume, threshold: float, limits: LesionLimits
) -> tuple[LesionCandidate, ...]:
    """The face-connected parts that reach the threshold and have a tumor's volume, the most likely first.

    Args:
        probability: 0 to 1, on the grid of ``scan``.
        scan: The image that is contoured.
        threshold: A voxel belongs to a candidate from this probability on.
        limits: Parts below or above these volumes are left out.
    """
    components = sitk.ConnectedComponent(sitk.BinaryThreshold(probability, threshold, 2.0, 1, 0), False)
    labels = sitk.GetArrayFromImage(components)
    chances = sitk.GetArrayFromImage(probability)
    intensities = sitk.GetArrayFromImage(scan.image)
    voxel_ml = float(np.prod(scan.image.GetSpacing())) / 1000
    sizes = np.bincount(labels.ravel())
    possible = [
        label
        for label in range(1, len(sizes))
        if limits.minimum_volume_ml <= sizes[label] * voxel_ml <= limits.maximum_volume_ml
    ]
    confidences = {label: float(chances[labels == label].mean(dtype=np.float64)) for label in possible}
    ranked = sorted(possible, key=lambda label: (-confidences[label], label))[:LARGEST_NUMBER]
    candidates = []
    for number, label in enumerate(ranked, start=1):
        found = np.argwhere(labels == label)
        values = intensities[labels == label]
        box = box_of_voxels(scan.image, found[:, ::-1])
        hottest = scan.image.TransformIndexToPhysicalPoint(found[values.argmax()][::-1].tolist())
        candidates.append(
            LesionCandidate(
                number=number,
                low_mm=_rounded(box.low_mm),
                high_mm=_rounded(box.high_mm),
                hottest_mm=_rounded(hottest),
                volume_ml=round(float(sizes[label]) * voxel_ml, 2),
                suv_max=round(float(values.max()), 2) if scan.quantity is Quantity.SUV_BODY_WEIGHT else None,
                confidence=round(confidences[label], 3),
            )
        )
    return tuple(candidates)


def _rounded(position: tuple[float, ...]) -> tuple[float, float, float]:
    x, y, z = (round(value, 1) for value in position)
    return x, y, z
