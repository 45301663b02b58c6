"""What later stages and the report say about a segmentation, as plain data."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from oncoresponse.case.document import Tolerant


class SegmentationSummary(Tolerant):
    """How a mask came to be, how large it is, and how far it may be believed.

    Attributes:
        method: ``automatic`` (network), or where a contour of the study was used, the DICOM object it came from.
        supplied_algorithm_type: How a contour of the study was drawn, by its Segment Algorithm Type (0062,0008) or ROI
            Generation Algorithm (3006,0036); null when it does not say, and where the network drew.
        volume_ml: Volume of the mask.
        component_count: Face-connected parts of the mask.
        touches_border: The mask reaches the outermost voxel layer of the images, so the tumor may go on beyond them.
        border_share: Share of the mask's surface that lies on the border of the images, 0 to 1; of a network's mask, of
            that of the mask grown by one voxel.
        volume_low_ml: Lower end of the interval that holds the physician's volume in ``volume_level`` of patients
            like those of the cross-validation; for a supplied contour its volume, where it reaches the border, and null
            elsewhere.
        volume_high_ml: Upper end of it; where the mask reaches the border, of the whole tumor's volume.
        volume_level: Level of that interval, 0 to 1.
        needs_review: A physician has to compare the mask with the images before any figure made from it is used.
        review_reasons: Why, one sentence each; empty unless ``needs_review``.
        outline_shift_mm: Shift (L, P, S) that lays the body outline of the CT on that of the PET, a lower bound; null
            where it was not or could not be measured (:mod:`oncoresponse.segmentation.misregistration`).
        uptake_outside_ml: Volume of the tumor's uptake outside the body as the CT shows it; null without a CT.
        prompt: What a person said about the lesion; null for a supplied contour.
        mean_uncertainty: Mean binary entropy (bit, 0 to 1) of the probability inside the mask; null for a supplied
            contour.
        device: Where the network ran (``cpu``, ``cuda``), or ``none`` for a supplied contour.
        warnings: Sentences for the physician; empty when there is nothing to say.
        network_sha256: Identity of the network (SHA-256 of ``network.json``, which holds the hash of each weights
            file); empty for a supplied contour.
    """

    method: Literal["automatic", "supplied_rtstruct", "supplied_segmentation", "corrected"]
    supplied_algorithm_type: Literal["MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"] | None = None
    volume_ml: float = Field(ge=0)
    component_count: int = Field(ge=0)
    touches_border: bool
    border_share: float = Field(default=0.0, ge=0, le=1)
    volume_low_ml: float | None = Field(default=None, ge=0)
    volume_high_ml: float | None = Field(default=None, ge=0)
    volume_level: float | None = Field(default=None, gt=0, lt=1)
    needs_review: bool = False
    review_reasons: tuple[str, ...] = ()
    outline_shift_mm: tuple[float, float, float] | None = None
    uptake_outside_ml: float | None = Field(default=None, ge=0)
    prompt: Literal["none", "point", "box"] | None = None
    mean_uncertainty: float | None = Field(default=None, ge=0, le=1)
    device: str
    warnings: tuple[str, ...] = ()
    network_sha256: str = ""

    @model_validator(mode="after")
    def _reviewed_for_a_reason(self) -> Self:
        if self.needs_review != bool(self.review_reasons):
            raise ValueError("needs_review and review_reasons have to agree")
        return self

    @property
    def volume_is_lower_bound(self) -> bool:
        """Whether volume, diameters and extent are those of the part that the images show."""
        return self.touches_border

    @property
    def asks_for_review(self) -> bool:
        """Whether a physician has to look: at a contour that must not be believed, or for what is beyond the images.

        Only the first keeps a model from an answer; ``needs_review`` is that alone.
        """
        return self.needs_review or self.volume_is_lower_bound

    @property
    def whole_volume_high_ml(self) -> float | None:
        """Upper bound of the whole tumor's volume where the border may have cut a part away; ``None`` elsewhere."""
        return self.volume_high_ml if self.volume_is_lower_bound else None
