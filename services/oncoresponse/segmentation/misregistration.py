"""How far PET and CT of one examination lie apart at the tumor, measured without a person and without a contour on CT.

A shared frame of reference says that the scanner measured both in one coordinate system, not that the patient lay
still between them. Two things are measured, both of them lower bounds:

* **Outlines.** The outline of the body in CT (tissue denser than -300 HU) and in PET (uptake of soft tissue, cut off at
  half of its median so that hot organs count no more than muscle) are compared at every rigid shift by the masked
  normalized cross-correlation of Padfield (IEEE Trans Image Process 21(5), 2012). The tumor and its spill-out stay out
  of the comparison. The answer is the *shortest* shift that fits as well as the best one, so that a direction in which
  the outline says nothing (along a leg, say) adds nothing.
* **Uptake outside the body.** Where the tumor's uptake lies in what the CT shows as air, the two lie apart, whatever
  the outlines say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import fft

from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume, require_same_frame_of_reference, require_same_grid, resample_to
from oncoresponse.segmentation.mask_checks import open_faces

SHIFT_LIMIT_MM = 10.0
"""Outlines at least this far apart are said to: two voxels of a clinical PET (4 to 5.5 mm), which blur and noise of the
outline alone do not reach (docs/segmentation.md)."""

OUTSIDE_LIMIT_ML = 0.5
"""Uptake outside the body of at least this volume is said: about five voxels."""

_OUTSIDE_BEYOND_MM = 3.0  # more than half a PET voxel: what partial volume and resampling cannot explain
_UPTAKE_SHARE_OF_MAXIMUM = 0.41  # the threshold of MTV: the true edge of a homogeneous lesion, not its blur

_TISSUE_ABOVE_HU = -300.0
_LATTICE_MM = 4.0
_REACH = 8  # lattice steps: shifts up to 32 mm are tried
_FIELD_AROUND_TUMOR_MM = 60.0
_SPILL_OUT_MM = 10.0
_PET_BLUR_MM = 3.0  # standard deviation: about the 7 mm full width at half maximum of a clinical PET
_UPTAKE_CUT = 0.5
_EQUAL_FIT = 0.01
_WORST_FIT = 0.85
_LEAST_OUTSIDE_BODY = 0.15
_LEAST_LATTICE_POINTS = 500
_LEAST_OVERLAP = 0.5
_NO_SPREAD = 1e-9
_NOT_COVERED = -1e6

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Misregistration:
    """What was measured; lower bounds, as a shift that neither outline nor uptake shows stays unseen.

    Attributes:
        outline_shift_mm: Shortest shift of the CT (L, P, S) after which its body outline fits that of the PET as well
            as after any; ``None`` where the field shows too little outline, the tumor reaches the edge of the images,
            or the outlines fit badly everywhere.
        uptake_outside_ml: Volume of the tumor's uptake (at least 41 % of its maximum) more than 3 mm outside the body
            as the CT shows it.
        uptake_outside_mm: How far outside the outermost of it lies; 0 without any.
    """

    outline_shift_mm: tuple[float, float, float] | None
    uptake_outside_ml: float
    uptake_outside_mm: float

    @property
    def outlines_apart_mm(self) -> float | None:
        """Length of the shift; ``None`` where it could not be measured."""
        return None if self.outline_shift_mm is None else float(np.linalg.norm(self.outline_shift_mm))

    @property
    def needs_review(self) -> bool:
        """Whether PET and CT lie so far apart that figures which need both should not be used unseen."""
        return (self.outlines_apart_mm or 0.0) >= SHIFT_LIMIT_MM or self.uptake_outside_ml >= OUTSIDE_LIMIT_ML

    @property
    def review_reason(self) -> str | None:
        """What was found, in one sentence for the physician; ``None`` below the limits."""
        if not self.needs_review:
            return None
        found = []
        if (apart := self.outlines_apart_mm) is not None and apart >= SHIFT_LIMIT_MM:
            found.append(f"their body outlines fit best after a shift of {apart:.0f} mm")
        if self.uptake_outside_ml >= OUTSIDE_LIMIT_ML:
            found.append(
                f"{self.uptake_outside_ml:.1f} ml of the tumor's uptake lie up to {self.uptake_outside_mm:.0f} mm "
                "outside the body as the CT shows it"
            )
        distance = max(apart or 0.0, self.uptake_outside_mm)
        return f"PET and CT lie at least {distance:.0f} mm apart at the tumor: {', and '.join(found)}."

    @property
    def unmeasured_warning(self) -> str | None:
        """That the outlines could not be compared; ``None`` where they were."""
        if self.outline_shift_mm is not None:
            return None
        return (
            "How well PET and CT fit could not be measured here: the images show too little of the body's outline. "
            "Compare them by eye."
        )


def measure_misregistration(pet: Volume, ct: Volume, tumor: Volume) -> Misregistration:
    """Measure how far PET and CT lie apart around a tumor.

    Args:
        pet: SUVbw (g/mL), LPS, axes along the patient's to within a few degrees or not: the shift is in LPS.
        ct: HU, same frame of reference, any grid.
        tumor: 0 or 1, at least one voxel, on the PET grid.

    Raises:
        FrameOfReferenceMismatch: Positions in PET, CT and mask cannot be compared.
        GeometryMismatch: The mask is not on the PET grid.
    """
    require_same_grid(pet, tumor)
    require_same_frame_of_reference(pet, ct)
    near = _field_around(tumor.image, _FIELD_AROUND_TUMOR_MM)
    uptake = sitk.Cast(sitk.RegionOfInterest(pet.image, near[3:], near[:3]), sitk.sitkFloat64)
    mask = sitk.RegionOfInterest(sitk.Cast(tumor.image > 0, sitk.sitkUInt8), near[3:], near[:3])
    tissue = _tissue_around(ct.image, uptake)
    if tissue is None:
        return Misregistration(None, 0.0, 0.0)
    volume_ml, distance_mm = _uptake_outside(uptake, mask, tissue)
    # Images that end at the tumor show the outline on one side only: of 40 tumors cut at 50 and 90 %, 14 of 80 then
    # seemed to lie 11 to 24 mm apart along the cut, which the whole images contradict.
    at_edge = next(open_faces(tumor.image), None) is not None
    shift = None if at_edge else _outline_shift(uptake, mask, tissue)
    return Misregistration(shift, volume_ml, distance_mm)


def with_misregistration(
    summary: SegmentationSummary, contoured: Volume, ct: Volume | None, tumor: Volume
) -> SegmentationSummary:
    """The summary with what was measured between PET and CT; unchanged without a CT, and where no PET is contoured.

    A contour of the network hangs on both images, so it needs review above the limits. A supplied contour is a
    person's, and all figures come from the PET inside it: there the finding is a warning.

    Raises:
        As :func:`measure_misregistration`.
    """
    if ct is None or contoured.quantity is not Quantity.SUV_BODY_WEIGHT:
        return summary
    found = measure_misregistration(contoured, ct, tumor)
    reasons, warnings = list(summary.review_reasons), list(summary.warnings)
    if found.unmeasured_warning is not None:
        warnings.append(found.unmeasured_warning)
    if found.review_reason is not None:
        (reasons if summary.method == "automatic" else warnings).append(found.review_reason)
    return summary.model_copy(
        update={
            "needs_review": bool(reasons),
            "review_reasons": tuple(reasons),
            "warnings": tuple(warnings),
            "outline_shift_mm": found.outline_shift_mm,
            "uptake_outside_ml": found.uptake_outside_ml,
        }
    )


def _outline_shift(uptake: sitk.Image, tumor: sitk.Image, tissue: sitk.Image) -> tuple[float, float, float] | None:
    fixed, moving = _lattices(uptake)
    # A coarser grid first: the blur of the PET hides what it loses, and a CT of a trunk has millions of voxels.
    shrink = [max(int(_PET_BLUR_MM / length), 1) for length in tissue.GetSpacing()]
    occupied = sitk.BinShrink(sitk.Cast(tissue, sitk.sitkFloat32), shrink)
    occupied = sitk.Cast(sitk.SmoothingRecursiveGaussian(occupied, [_PET_BLUR_MM] * 3), sitk.sitkFloat64)
    unshifted = _array(resample_to(occupied, fixed, interpolator=sitk.sitkLinear, outside=_NOT_COVERED))
    shifted = resample_to(occupied, moving, interpolator=sitk.sitkLinear, outside=_NOT_COVERED)
    activity = resample_to(uptake, fixed, interpolator=sitk.sitkLinear, outside=_NOT_COVERED)
    reach = [round(_SPILL_OUT_MM / length) for length in tumor.GetSpacing()]
    spill = resample_to(
        sitk.BinaryDilate(tumor, reach, sitk.sitkBall), fixed, interpolator=sitk.sitkNearestNeighbor, outside=0
    )
    compared = (_array(activity) > _NOT_COVERED / 2) & (_array(spill) == 0)
    seen = compared & (unshifted > _NOT_COVERED / 2)
    body = _array(activity)[seen & (unshifted > 0.9)]
    outside_body = np.count_nonzero(seen & (unshifted < 0.1))
    if body.size < _LEAST_LATTICE_POINTS or outside_body < _LEAST_OUTSIDE_BODY * np.count_nonzero(seen):
        return None
    cut = _UPTAKE_CUT * float(np.median(body))
    if cut <= 0:
        return None
    fit = _fit_of_shifts(np.clip(_array(activity), 0, cut), compared, _array(shifted))
    best = float(fit.max())
    if best < _WORST_FIT:
        return None
    steps = np.moveaxis(np.indices(fit.shape), 0, -1) - _REACH
    lengths = np.linalg.norm(steps, axis=-1)
    equal = fit >= best - _EQUAL_FIT
    k, j, i = steps[np.unravel_index(int(np.argmin(np.where(equal, lengths, np.inf))), fit.shape)]
    # What lies at +step in the CT belongs at 0.
    found = -np.array(uptake.GetDirection()).reshape(3, 3) @ (np.array([i, j, k]) * _LATTICE_MM)
    x_mm, y_mm, z_mm = (float(value) + 0.0 for value in found)  # no minus zero in a report
    return x_mm, y_mm, z_mm


def _fit_of_shifts(activity: Array, compared: Array, tissue: Array) -> Array:
    """Masked normalized cross-correlation (Padfield 2012, eq. 16), axes (k, j, i) of shifts of -8 to 8 lattice steps.

    The lattice of the tissue is wider by the longest shift on each side, so the sums over the overlap are circular
    correlations of its size and nothing wraps around.
    """
    shape = [fft.next_fast_len(length, real=True) for length in tissue.shape]
    covered = tissue > _NOT_COVERED / 2
    occupied = np.where(covered, np.clip(tissue, 0, 1), 0.0)

    def transformed(values: Array) -> Any:
        return fft.rfftn(values.astype(np.float64), s=shape)

    def correlated(fixed: Any, moving: Any) -> Array:
        steps = 2 * _REACH + 1
        whole: Array = fft.irfftn(np.conj(fixed) * moving, s=shape)
        return whole[:steps, :steps, :steps]

    values = np.where(compared, activity, 0.0)
    inside, first, first_square = (transformed(item) for item in (compared, values, values**2))
    overlap, second, second_square = (transformed(item) for item in (covered, occupied, occupied**2))
    count = np.maximum(correlated(inside, overlap), 1.0)
    sum_first, sum_second = correlated(first, overlap), correlated(inside, second)
    covariance = correlated(first, second) - sum_first * sum_second / count
    spread_first = correlated(first_square, overlap) - sum_first**2 / count
    spread_second = correlated(inside, second_square) - sum_second**2 / count
    product = spread_first * spread_second
    usable = (count >= _LEAST_OVERLAP * np.count_nonzero(compared)) & (product > _NO_SPREAD)
    fit = np.where(usable, covariance / np.sqrt(np.where(usable, product, 1.0)), -1.0)
    lengths = np.linalg.norm(np.moveaxis(np.indices(fit.shape), 0, -1) - _REACH, axis=-1)
    return np.where(lengths <= _REACH, fit, -1.0)


def _uptake_outside(uptake: sitk.Image, tumor: sitk.Image, tissue: sitk.Image) -> tuple[float, float]:
    """Volume (ml) of the tumor's uptake well outside the body, and how far out (mm) it reaches."""
    highest = float(_array(uptake)[_array(tumor) > 0].max())
    if highest <= 0:
        return 0.0, 0.0
    parts = sitk.ConnectedComponent(uptake >= _UPTAKE_SHARE_OF_MAXIMUM * highest)
    of_tumor = np.unique(_array(parts)[(_array(tumor) > 0) & (_array(parts) > 0)])
    hot = np.isin(_array(parts), of_tumor)
    air = resample_to(tissue == 0, uptake, interpolator=sitk.sitkNearestNeighbor, outside=0)
    if not (hot & (_array(air) > 0)).any():
        return 0.0, 0.0
    distance = sitk.SignedMaurerDistanceMap(tissue, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    outside = _array(resample_to(distance, uptake, interpolator=sitk.sitkLinear, outside=0.0))
    beyond = hot & (outside > _OUTSIDE_BEYOND_MM)
    volume_ml = float(np.count_nonzero(beyond) * np.prod(uptake.GetSpacing()) / 1000)
    return volume_ml, float(outside[beyond].max(initial=0.0))


def _field_around(tumor: sitk.Image, margin_mm: float) -> list[int]:
    """Start and size (i, j, k) of the part of the grid within a margin of the mask."""
    inside = sitk.GetArrayViewFromImage(tumor) > 0
    starts, sizes = [], []
    for axis in range(3):
        found = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != 2 - axis)))
        margin = int(np.ceil(margin_mm / tumor.GetSpacing()[axis]))
        start = max(int(found[0]) - margin, 0)
        starts.append(start)
        sizes.append(min(int(found[-1]) + margin + 1, tumor.GetSize()[axis]) - start)
    return starts + sizes


def _tissue_around(ct: sitk.Image, uptake: sitk.Image) -> sitk.Image | None:
    """Tissue (1) and air (0) of the part of the CT that any tried shift can reach; ``None`` without an overlap."""
    margin = (_REACH + 1) * _LATTICE_MM
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * np.array(uptake.GetSize()) - 0.5
    points = [uptake.TransformContinuousIndexToPhysicalPoint(corner.tolist()) for corner in corners]
    indices = np.array([ct.TransformPhysicalPointToContinuousIndex(point) for point in points])
    reach = margin / np.array(ct.GetSpacing())
    low = np.maximum(np.floor(indices.min(axis=0) - reach), 0).astype(int)
    high = np.minimum(np.ceil(indices.max(axis=0) + reach) + 1, ct.GetSize()).astype(int)
    if np.any(high - low < 2):
        return None
    part = sitk.RegionOfInterest(ct, (high - low).tolist(), low.tolist())
    tissue: sitk.Image = sitk.Cast(part > _TISSUE_ABOVE_HU, sitk.sitkUInt8)
    return tissue


def _lattices(uptake: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """Isotropic grids along the axes of the PET: one that covers it, one wider by the longest shift on each side."""
    sizes = np.array(uptake.GetSize()) * np.array(uptake.GetSpacing())
    steps = np.maximum(np.ceil(sizes / _LATTICE_MM).astype(int), 2)
    wide = steps + 2 * _REACH
    direction = np.array(uptake.GetDirection()).reshape(3, 3)
    origin = np.array(uptake.GetOrigin())
    fixed, moving = (sitk.Image(size.tolist(), sitk.sitkUInt8) for size in (steps, wide))
    for grid, start in ((fixed, origin), (moving, origin - direction @ np.full(3, _REACH * _LATTICE_MM))):
        grid.SetSpacing([_LATTICE_MM] * 3)
        grid.SetDirection(uptake.GetDirection())
        grid.SetOrigin(start.tolist())
    return fixed, moving


def _array(image: sitk.Image) -> Array:
    return sitk.GetArrayFromImage(image)
