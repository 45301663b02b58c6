"""How far a mask may be believed: what is measured on it, and what the cross-validation made of such measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from oncoresponse.segmentation.metrics import soft_dice_confidence
from oncoresponse.segmentation.network import VolumeIntervalCalibration

_CERTAIN, _POSSIBLE = 0.8, 0.2
_SMALLEST_SPREAD = 0.05


@dataclass(frozen=True)
class UncertaintyMeasures:
    """Measures of a mask and the probability it comes from; neither needs the truth.

    Attributes:
        confidence: Soft Dice of mask and probability, 0 to 1 (Borges et al. 2024, arXiv:2402.10665).
        volume_spread: Natural logarithm of the volume with probability at least 0.2 over that with at least 0.8.
    """

    confidence: float
    volume_spread: float


def uncertainty_measures(probability: sitk.Image, mask: sitk.Image) -> UncertaintyMeasures:
    """Measure a mask and the probability it was made from, both on one grid."""
    chances = sitk.GetArrayFromImage(probability)
    possible = int(np.count_nonzero(chances >= _POSSIBLE))
    certain = int(np.count_nonzero(chances >= _CERTAIN))
    return UncertaintyMeasures(
        confidence=soft_dice_confidence(chances, sitk.GetArrayFromImage(mask)),
        volume_spread=max(math.log(max(possible, 1) / max(certain, 1)), _SMALLEST_SPREAD),
    )


def review_limit(confidence: Sequence[float], real: Sequence[float], poor_dice: float) -> float:
    """The lowest limit of confidence, in steps of 0.01, that marks each mask with a Dice below ``poor_dice``.

    Returns:
        0 where no mask is that poor: nothing is marked.
    """
    poor = [guess for guess, dice in zip(confidence, real, strict=True) if dice < poor_dice]
    return round(math.floor(max(poor) * 100 + 1) / 100, 2) if poor else 0.0


def needs_review_left_out(
    confidence: Sequence[float], real: Sequence[float], folds: Sequence[int], poor_dice: float
) -> list[bool]:
    """Whether each patient's mask is marked by the limit that was chosen without the patient's fold."""
    marked = []
    for guess, fold in zip(confidence, folds, strict=True):
        others = [index for index, other in enumerate(folds) if other != fold]
        limit = review_limit([confidence[index] for index in others], [real[index] for index in others], poor_dice)
        marked.append(guess < limit)
    return marked


def volume_interval_ml(
    volume_ml: float, measures: UncertaintyMeasures, calibration: VolumeIntervalCalibration
) -> tuple[float, float]:
    """Interval that holds the physician's volume in ``calibration.level`` of patients like those calibrated on."""
    width = math.exp(calibration.factor * measures.volume_spread)
    return volume_ml / width, volume_ml * width


def fit_volume_interval(
    measures: Sequence[UncertaintyMeasures], predicted_ml: Sequence[float], real_ml: Sequence[float], level: float
) -> VolumeIntervalCalibration:
    """Split-conformal factor: the ceil((n + 1) level)-th smallest scaled error of the logarithm of the volume."""
    errors = np.abs(np.log(np.maximum(predicted_ml, 0.01)) - np.log(real_ml))
    scores = np.sort(errors / np.array([item.volume_spread for item in measures]))
    position = min(math.ceil((len(scores) + 1) * level), len(scores)) - 1
    return VolumeIntervalCalibration(level=level, factor=round(float(scores[position]), 6), patient_count=len(scores))


def volume_coverage_left_out(
    measures: Sequence[UncertaintyMeasures], predicted_ml: Sequence[float], real_ml: Sequence[float], level: float
) -> float:
    """Share of patients whose volume lies in the interval calibrated on the others."""
    held = 0
    for left_out in range(len(measures)):
        others = [index for index in range(len(measures)) if index != left_out]
        calibration = fit_volume_interval(
            [measures[index] for index in others],
            [predicted_ml[index] for index in others],
            [real_ml[index] for index in others],
            level,
        )
        low, high = volume_interval_ml(predicted_ml[left_out], measures[left_out], calibration)
        held += low <= real_ml[left_out] <= high
    return held / len(measures)


def mask_of_volume(
    probability: sitk.Image, mask: sitk.Image, volume_ml: float, reach_voxels: int = 3
) -> npt.NDArray[np.uint8]:
    """The mask shrunk or grown to a volume along the probability: least likely voxels go, likeliest neighbors come.

    Args:
        probability: Float, 0 to 1.
        mask: uint8 0/1 on the same grid.
        volume_ml: Wanted volume; at least one voxel stays.
        reach_voxels: A grown mask stays within this distance of the mask.

    Returns:
        uint8 0/1, axes (k, j, i).
    """
    chances = sitk.GetArrayFromImage(probability)
    inside = sitk.GetArrayFromImage(mask) > 0
    voxel_ml = float(np.prod(mask.GetSpacing())) / 1000
    wanted = max(round(volume_ml / voxel_ml), 1)
    if wanted <= np.count_nonzero(inside):
        reachable = inside
    else:
        near = sitk.BinaryDilate(mask, [reach_voxels] * 3, sitk.sitkBall)
        reachable = sitk.GetArrayFromImage(near) > 0
        chances = chances + inside  # what is in the mask stays in it
    positions = np.flatnonzero(reachable)
    order = np.argsort(-chances.ravel()[positions], kind="stable")
    varied = np.zeros(inside.size, dtype=np.uint8)
    varied[positions[order[:wanted]]] = 1
    return varied.reshape(inside.shape)
