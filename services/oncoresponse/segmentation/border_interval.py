"""How large a tumor may be of which the image border cuts a part away.

A mask that reaches the outermost voxels may go on beyond them, so what is measured on it is a lower bound. How much can
be missing was calibrated by cutting whole tumors artificially (:mod:`oncoresponse.segmentation.border_calibration`);
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
        automatic_coverage: Share of network contours on cut images, of patients that the network had not seen, for
            which the interval of network and border together held the volume of the physician's whole contour.
        automatic_masks: How many those were.
    """

    level: float = Field(gt=0, lt=1)
    refuse_above: float = Field(gt=0, lt=1)
    largest_factor: float = Field(gt=1)
    bands: Mapping[BorderContact, tuple[BorderBand, ...]]
    patients: int = Field(ge=2)
    left_out_touching: int = Field(ge=0)
    cohort: str
    command: str
    automatic_coverage: float | None = Field(default=None, ge=0, le=1)
    automatic_masks: int = Field(default=0, ge=0)

    def band(self, contact: BorderContact, share: float) -> BorderBand | None:
        """The band of a share; ``None`` above the last, where nothing is promised."""
        return next((band for band in self.bands[contact] if share <= band.share_up_to), None)


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
    return border / surface, "both" if on_ends and on_sides else "slice_ends" if on_ends else "slice_sides"
