"""What a mask must satisfy before features are computed from it, whoever drew it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from oncoresponse.case.readable_numbers import percent
from oncoresponse.case.volume import Volume
from oncoresponse.errors import EmptyMask, MaskTouchesBorder, TumorTooLarge, TumorTooSmall
from oncoresponse.model.definition import LesionLimits
from oncoresponse.segmentation.border_interval import (
    AutomaticBand,
    BorderBand,
    BorderContact,
    border_calibration,
    border_surface,
    grown,
)


@dataclass(frozen=True)
class MaskMeasures:
    """Plain facts about a mask.

    Attributes:
        volume_ml: Voxel count times voxel volume.
        component_count: Face-connected (6-neighborhood) parts.
        border_share: Share of the mask's surface that lies on the border of the grid; see
            :func:`~oncoresponse.segmentation.border_interval.border_surface`.
        border_contact: Which border that is; ``None`` where the mask reaches none.
        automatic: A network drew the mask. Networks draw back from the border of an image, so the two above are those
            of the mask grown by one voxel.
    """

    volume_ml: float
    component_count: int
    border_share: float
    border_contact: BorderContact | None
    automatic: bool = False

    @property
    def touches_border(self) -> bool:
        """Whether the tumor may go on beyond the image, so that volume and extent are lower bounds."""
        return self.border_contact is not None

    @property
    def whole_volume_factor(self) -> float | None:
        """How much larger the whole tumor may be; ``None`` where nothing is missing or nothing can be said.

        Of a contour that a person drew: of its volume. Of a network's mask: of the upper end of its volume interval.
        """
        if self.border_contact is None:
            return None
        known = border_calibration()
        if self.automatic:
            band: BorderBand | AutomaticBand | None = known.automatic_band(self.border_share)
        else:
            band = known.band(self.border_contact, self.border_share)
        return None if band is None else band.volume_factor

    @property
    def volume_high_ml(self) -> float | None:
        """Upper bound of the whole tumor's volume at the level of the calibration, ml; ``None`` where none is known."""
        factor = self.whole_volume_factor
        return None if factor is None else self.volume_ml * factor


def open_faces(mask: sitk.Image) -> Iterator[tuple[int, int]]:
    """Faces of the grid whose outermost layer holds a non-zero voxel: (axis of i, j, k; 0 for its start, 1 its end)."""
    array = sitk.GetArrayViewFromImage(mask)
    for axis in range(array.ndim):
        for end in (0, 1):
            if np.any(array.take(-end, axis=array.ndim - 1 - axis)):
                yield axis, end


def measure_mask(mask: sitk.Image, *, automatic: bool = False) -> MaskMeasures:
    """Volume, parts and border contact of a mask image (non-zero is tumor), drawn by a person or by a network."""
    array = sitk.GetArrayViewFromImage(mask)
    components = sitk.ConnectedComponent(mask != 0, False)
    count = int(sitk.GetArrayViewFromImage(components).max(initial=0))
    volume_ml = float(np.count_nonzero(array) * np.prod(mask.GetSpacing()) / 1000)
    return MaskMeasures(volume_ml, count, *border_surface(grown(mask) if automatic else mask), automatic)


def check_mask(mask: Volume, limits: LesionLimits, *, automatic: bool = False, edge_of: str = "images") -> MaskMeasures:
    """Refuse a mask whose features nobody should believe.

    A mask that reaches the border of its grid is answered, as a lower bound, up to a share of its surface
    (``refuse_above`` of :class:`~oncoresponse.segmentation.border_interval.BorderCalibration`).

    Args:
        mask: ``Quantity.MASK``.
        limits: Of the model.
        automatic: Whether a network drew it.
        edge_of: What ends at the border of the mask's grid, for the message.

    Raises:
        EmptyMask: No voxel is set.
        TumorTooSmall: Below the model's smallest volume.
        TumorTooLarge: Above the model's largest volume.
        MaskTouchesBorder: So much of the surface lies on the edge of the image that most of the tumor may be missing.
    """
    measures = measure_mask(mask.image, automatic=automatic)
    if measures.volume_ml == 0:
        raise EmptyMask(
            "The tumor mask is empty. Check that the contour lies on this scan, or supply a contour drawn on it."
        )
    if measures.volume_ml < limits.minimum_volume_ml:
        raise TumorTooSmall(
            f"The tumor mask has {measures.volume_ml:.2f} ml; this model needs at least {limits.minimum_volume_ml:g} "
            "ml. Check the contour, or supply another one.",
            volume_ml=f"{measures.volume_ml:.3f}",
            minimum_volume_ml=limits.minimum_volume_ml,
        )
    if measures.volume_ml > limits.maximum_volume_ml:
        raise TumorTooLarge(
            f"The tumor mask has {measures.volume_ml:.0f} ml; this model takes at most {limits.maximum_volume_ml:g} "
            "ml. Check the contour, or supply another one.",
            volume_ml=f"{measures.volume_ml:.3f}",
            maximum_volume_ml=limits.maximum_volume_ml,
        )
    refuse_cut_mask(measures, edge_of)
    return measures


def refuse_cut_mask(measures: MaskMeasures, edge_of: str = "images") -> None:
    """Refuse a mask of which the border of the images may have cut away the larger part.

    Raises:
        MaskTouchesBorder: The share of its surface on the border is above that of the calibration.
    """
    known = border_calibration()
    limit = known.automatic_refuse_above if measures.automatic else known.refuse_above
    if measures.border_share > limit:
        raise MaskTouchesBorder(
            f"{percent(measures.border_share)} of the surface of the tumor mask lies on the edge of the {edge_of}, so "
            f"most of the tumor may lie beyond it; up to {percent(limit)} is answered as a lower bound. Send a scan "
            "that covers more of the tumor, or supply a contour that ends inside the images.",
            border_share=f"{measures.border_share:.3f}",
            largest_border_share=limit,
        )


def border_warnings(measures: MaskMeasures, edge_of: str = "images") -> tuple[str, ...]:
    """What a physician has to know of a mask that reaches the border; empty for one that does not."""
    if not measures.touches_border:
        return ()
    return (
        f"The tumor reaches the edge of the {edge_of} ({percent(measures.border_share)} of its surface lies there): "
        "volume and diameters are at least what is given here. Check on other images whether the tumor goes on there.",
    )
