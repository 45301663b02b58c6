"""The images of one study, as whoever segments gets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume


@dataclass(frozen=True, eq=False)
class InputImages:
    """Converted images by input role, and the one on whose grid lesions are contoured.

    Attributes:
        by_role: Every image, each on its own grid (LPS, mm).
        segment_on: Input role of the image that is contoured; one of ``by_role``.
    """

    by_role: Mapping[str, Volume]
    segment_on: str

    @property
    def contoured(self) -> Volume:
        """The image on whose grid lesions are contoured."""
        return self.by_role[self.segment_on]

    def beside(self, quantity: Quantity) -> Volume | None:
        """The first other image that measures a quantity."""
        others = (volume for role, volume in self.by_role.items() if role != self.segment_on)
        return next((volume for volume in others if volume.quantity is quantity), None)
