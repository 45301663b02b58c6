"""How far a mask may be believed: what is measured on it, and what the cross-validation made of such measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from oncoresponse.segmentation.metrics import soft_dice_confidence
from oncoresponse.segmentation.network import ExpectedDiceCalibration, VolumeIntervalCalibration

EXPECTED_DICE_INPUTS = ("confidence", "component_share", "rim_contrast")
_RIDGE = 1.0
_CERTAIN, _POSSIBLE = 0.8, 0.2
_SMALLEST_SPREAD = 0.05


@dataclass(frozen=True)
class UncertaintyMeasures:
    """Measures of a mask and the probability it comes from; none of them needs the truth.

    Attributes:
        confidence: Soft Dice of mask and probability, 0 to 1 (Borges et al. 2024, arXiv:2402.10665).
        component_share: Share of the mask among all voxels that reach its threshold, 0 to 1.
        rim_contrast: Natural logarithm of mean SUV in the outermost voxels of the mask over mean SUV just outside.
        volume_spread: Natural logarithm of the volume with probability at least 0.2 over that with at least 0.8.
    """

    confidence: float
    component_share: float
    rim_contrast: float
    volume_spread: float


def uncertainty_measures(probability: sitk.Image, mask: sitk.Image, suv: sitk.Image, threshold: float) -> UncertaintyMeasures:
    """Measure a mask, the probability it was made from, and the PET (g/mL), all on one grid."""
    chances = sitk.GetArrayFromImage(probability)
    inside = sitk.GetArrayFromImage(mask) > 0
    uptake = sitk.GetArrayFromImage(suv)
    rim = inside & ~(sitk.GetArrayFromImage(sitk.BinaryErode(mask, [1, 1, 1], sitk.sitkCross)) > 0)
    around = (sitk.GetArrayFromImage(sitk.BinaryDilate(mask, [1, 1, 1], sitk.sitkCross)) > 0) & ~inside
    contrast = 0.0
    if rim.any() and around.any():
        contrast = math.log(max(float(uptake[rim].mean()), 0.01) / max(float(uptake[around].mean()), 0.01))
    reaching = int(np.count_nonzero(chances >= threshold))
    possible = int(np.count_nonzero(chances >= _POSSIBLE))
    certain = int(np.count_nonzero(chances >= _CERTAIN))
    return UncertaintyMeasures(
        confidence=soft_dice_confidence(chances, inside),
        component_share=float(np.count_nonzero(inside)) / reaching if reaching else 0.0,
        rim_contrast=contrast,
        volume_spread=max(math.log(max(possible, 1) / max(certain, 1)), _SMALLEST_SPREAD),
    )


def expected_dice(measures: UncertaintyMeasures, calibration: ExpectedDiceCalibration) -> float:
    """Dice to expect against a physician's contour, 0 to 1."""
    value = calibration.intercept
    value += sum(factor * float(getattr(measures, name)) for name, factor in calibration.coefficients.items())
    return min(max(value, 0.0), 1.0)


def fit_expected_dice(
    measures: Sequence[UncertaintyMeasures], real: Sequence[float], residual_standard_deviation: float = 0.0
) -> ExpectedDiceCalibration:
    """Ridge regression of the real Dice on the standardized measures (penalty 1, fixed in advance)."""
    inputs = np.array([[getattr(item, name) for name in EXPECTED_DICE_INPUTS] for item in measures])
    target = np.asarray(real, dtype=float)
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale[scale == 0] = 1.0
    standardized = (inputs - mean) / scale
    gram = standardized.T @ standardized + _RIDGE * np.eye(inputs.shape[1])
    slopes = np.linalg.solve(gram, standardized.T @ (target - target.mean())) / scale
    return ExpectedDiceCalibration(
        coefficients={
            name: round(float(slope), 6) for name, slope in zip(EXPECTED_DICE_INPUTS, slopes.tolist(), strict=True)
        },
        intercept=round(float(target.mean() - slopes @ mean), 6),
        residual_standard_deviation=round(residual_standard_deviation, 6),
        patient_count=len(target),
    )


def expected_dice_left_out(measures: Sequence[UncertaintyMeasures], real: Sequence[float]) -> list[float]:
    """Expected Dice of each patient by the model fitted on the others."""
    found = []
    for left_out in range(len(measures)):
        others = [index for index in range(len(measures)) if index != left_out]
        model = fit_expected_dice([measures[index] for index in others], [real[index] for index in others])
        found.append(expected_dice(measures[left_out], model))
    return found


def review_limit(expected: Sequence[float], real: Sequence[float], poor_dice: float, lowest: float) -> float:
    """The lowest limit, in steps of 0.01 and at least ``lowest``, that flags each mask with less than ``poor_dice``."""
    poor = [guess for guess, dice in zip(expected, real, strict=True) if dice < poor_dice]
    return round(max(lowest, math.floor(max(poor, default=0.0) * 100 + 1) / 100), 2)


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
