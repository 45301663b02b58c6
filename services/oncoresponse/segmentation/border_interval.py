"""How large a tumor may be of which the image border cuts a part away.

A mask that reaches the outermost voxels may go on beyond them, so what is measured on it is a lower bound. How much can
be missing was calibrated by cutting whole tumors artificially
(:mod:`oncoresponse.segmentation.training.border_calibration`);
``border_calibration.json`` holds what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
import SimpleITK as sitk
from pydantic import BaseModel, ConfigDict, Field

CALIBRATION_FILE = "border_calibration.json"

BorderContact = Literal["slice_ends", "slice_sides", "both"]
"""Which border a mask reaches: the first or last slice, an edge of the slices (rows, columns), or both."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BorderBand(_Frozen):
    """What was found for masks with about the same share of their surface on the border.

    Attributes:
        share_up_to: Upper end of the band; it begins where the one before ends.
        volume_factor: Whole volume over visible volume that ``level`` of the cut tumors do not exceed.
        slice_extent_factor: The same of the extent along the slice axis.
        patients: Patients with cuts in the band.
        volume_coverage: Share of cuts whose whole volume lay within the factor fitted on the other patients, on the
            grid with the lower share.
        slice_extent_coverage: The same of the extent along the slice axis.
    """

    share_up_to: float = Field(gt=0, le=1)
    volume_factor: float = Field(ge=1)
    slice_extent_factor: float = Field(ge=1)
    patients: int = Field(ge=2)
    volume_coverage: float = Field(ge=0, le=1)
    slice_extent_coverage: float = Field(ge=0, le=1)


class AutomaticBand(_Frozen):
    """The same for masks of a network.

    Attributes:
        share_up_to: Upper end of the band.
        volume_factor: Factor of the upper end of the network's volume interval.
        patients: Patients with cut images in the band.
        images: Cut images in it.
        volume_coverage: Share of the images, each patient weighing the same, for which the interval held the volume of
            the physician's whole contour, with the factor fitted on the other patients.
    """

    share_up_to: float = Field(gt=0, le=1)
    volume_factor: float = Field(ge=1)
    patients: int = Field(ge=2)
    images: int = Field(ge=2)
    volume_coverage: float = Field(ge=0, le=1)


class BorderCalibration(_Frozen):
    """Contents of ``border_calibration.json``.

    Attributes:
        level: Share of tumors whose whole volume the upper bound is to hold, 0 to 1.
        refuse_above: Share of the mask's surface on the border above which a mask is refused.
        largest_factor: Why: no band up to there has a larger factor of the volume.
        bands: By the border that is reached, the bands in ascending order.
        patients: Whole tumors that were cut.
        left_out_touching: Patients of the cohort whose contour reaches the border by itself, and so is not whole.
        cohort: The data.
        command: What wrote the file.
        automatic_refuse_above: The same limit for a network's mask, by its share of :func:`grown`.
        automatic_bands: For a network's mask: a factor of the upper end of the network's own volume interval. Networks
            draw back from the border of an image and see less of a tumor there, so their masks have bands of their own,
            from images that were cut and networks that had not seen the patient.
        automatic_unnoticed: Share of those cut images on which the mask stayed away from the border by more than a
            voxel, so that nothing is said.
    """

    level: float = Field(gt=0, lt=1)
    refuse_above: float = Field(gt=0, lt=1)
    largest_factor: float = Field(gt=1)
    bands: Mapping[BorderContact, tuple[BorderBand, ...]]
    patients: int = Field(ge=2)
    left_out_touching: int = Field(ge=0)
    cohort: str
    command: str
    automatic_refuse_above: float = Field(gt=0, lt=1)
    automatic_bands: tuple[AutomaticBand, ...]
    automatic_unnoticed: float = Field(ge=0, le=1)

    def band(self, contact: BorderContact, share: float) -> BorderBand | None:
        """The band of a contour's share; ``None`` above the last, where nothing is promised."""
        return next((band for band in self.bands[contact] if share <= band.share_up_to), None)

    def automatic_band(self, share: float) -> AutomaticBand | None:
        """The band of a network's mask; ``None`` above the last, where nothing is promised."""
        return next((band for band in self.automatic_bands if share <= band.share_up_to), None)


@cache
def border_calibration() -> BorderCalibration:
    """The calibration that comes with the software."""
    return BorderCalibration.model_validate_json(files(__package__).joinpath(CALIBRATION_FILE).read_bytes())


def border_surface(mask: sitk.Image) -> tuple[float, BorderContact | None]:
    """Share of a mask's surface that lies on the border of its grid, and which border it is.

    The surface is that of the voxels: every face of a non-zero voxel beyond which there is a zero voxel or no voxel,
    by its area (mm2). Those beyond which there is none are on the border.

    Returns:
        The share, 0 to 1, and ``None`` for the border where it is 0.
    """
    inside = np.pad(sitk.GetArrayViewFromImage(mask) != 0, 1)
    spacing = mask.GetSpacing()
    surface = border = 0.0
    on_ends = on_sides = False
    for axis in range(3):  # of the array (k, j, i)
        area = float(np.prod(spacing)) / spacing[2 - axis]
        # The first and last voxel of the image lie one further in, because of the padding.
        outermost = sum(int(np.count_nonzero(inside.take(index, axis=axis))) for index in (1, -2))
        surface += area * np.count_nonzero(np.diff(inside.view(np.int8), axis=axis))
        border += area * outermost
        on_ends = on_ends or (axis == 0 and outermost > 0)
        on_sides = on_sides or (axis > 0 and outermost > 0)
    if not border:
        return 0.0, None
    return float(border / surface), "both" if on_ends and on_sides else "slice_ends" if on_ends else "slice_sides"


def grown(mask: sitk.Image) -> sitk.Image:
    """A network's mask one voxel larger across each face: it reaches what the network nearly reached."""
    larger: sitk.Image = sitk.BinaryDilate(sitk.Cast(mask != 0, sitk.sitkUInt8), [1, 1, 1], sitk.sitkCross)
    return larger
