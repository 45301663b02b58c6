"""The plan that a model declares: which stages an assessment runs, in which order, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from oncoresponse.errors import ModelFolderInvalid


@dataclass(frozen=True)
class PlannedStage:
    """A stage as the workflow and a watcher see it.

    Attributes:
        service: Service that offers it.
        message: What happens, for a person.
        share: Of the time of a whole plan, roughly.
    """

    service: str
    message: str
    share: float


STAGES = MappingProxyType(
    {
        "conversion": PlannedStage("study", "Reading the DICOM series", 0.2),
        "segmentation": PlannedStage("segmentation", "Contouring the tumor", 0.3),
        "features": PlannedStage("radiomics", "Measuring the tumor", 0.3),
        "prediction": PlannedStage("response", "Estimating the response", 0.05),
        "report": PlannedStage("reporting", "Writing the report", 0.15),
    }
)
"""Every stage by name."""


def require_plan(stages: Sequence[str]) -> tuple[str, ...]:
    """The plan, checked: known stages, each once, beginning with the conversion, measuring before predicting.

    Raises:
        ModelFolderInvalid: The plan cannot be run.
    """
    order = [name for name in STAGES if name in stages]
    if unknown := [name for name in stages if name not in STAGES]:
        raise ModelFolderInvalid(f"The plan names the stage '{unknown[0]}', and there are {', '.join(STAGES)}.")
    if list(stages) != order or not {"conversion", "segmentation", "features"} <= set(stages):
        raise ModelFolderInvalid(
            "A plan begins with conversion, segmentation and features, each once; prediction and report may follow, in "
            "this order."
        )
    return tuple(stages)


def fraction_before(stages: Sequence[str], stage: str) -> float:
    """Share of a plan that is done when one of its stages begins, 0 to 1."""
    shares = [STAGES[name].share for name in stages]
    done = sum(shares[: list(stages).index(stage)])
    return round(done / sum(shares), 4)
