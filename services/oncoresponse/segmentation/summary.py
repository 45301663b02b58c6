"""What later stages and the report say about a segmentation, as plain data."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class SegmentationSummary(BaseModel):
    """How a mask came to be, how large it is, and how far it may be believed.

    Attributes:
        method: ``automatic`` (network), or where a contour of the study was used, the DICOM object it came from.
        supplied_algorithm_type: How a contour of the study was drawn, by its Segment Algorithm Type (0062,0008) or ROI
            Generation Algorithm (3006,0036); null when it does not say, and where the network drew.
        volume_ml: Volume of the mask.
        component_count: Face-connected parts of the mask.
        touches_border: The mask reaches the outermost voxel layer of the field of view, so it may be cut off.
        volume_low_ml: Lower end of the interval that holds the physician's volume in ``volume_level`` of patients
            like those of the cross-validation; null for a supplied contour.
        volume_high_ml: Upper end of it.
        volume_level: Level of that interval, 0 to 1.
        expected_dice: Dice to expect against a physician's contour, from a model fitted on the cross-validation
            (docs/segmentation.md shows how well it holds); null for a supplied contour.
        needs_review: The mask is one of those of which the cross-validation says that a physician should correct it.
        prompt: What the network was told about the lesion; null for a supplied contour.
        mean_uncertainty: Mean binary entropy (bit, 0 to 1) of the probability inside the mask; null for a supplied
            contour.
        device: Where the network ran (``cpu``, ``cuda``), or ``none`` for a supplied contour.
        warnings: Sentences for the physician; empty when there is nothing to say.
        network_sha256: Identity of the network (SHA-256 of ``network.json``, which holds the hash of each weights
            file); empty for a supplied contour.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["automatic", "supplied_rtstruct", "supplied_segmentation"]
    supplied_algorithm_type: Literal["MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"] | None = None
    volume_ml: float = Field(ge=0)
    component_count: int = Field(ge=0)
    touches_border: bool
    volume_low_ml: float | None = Field(default=None, ge=0)
    volume_high_ml: float | None = Field(default=None, ge=0)
    volume_level: float | None = Field(default=None, gt=0, lt=1)
    expected_dice: float | None = Field(default=None, ge=0, le=1)
    needs_review: bool = False
    prompt: Literal["none", "point", "box"] | None = None
    mean_uncertainty: float | None = Field(default=None, ge=0, le=1)
    device: str
    warnings: tuple[str, ...] = ()
    network_sha256: str = ""
