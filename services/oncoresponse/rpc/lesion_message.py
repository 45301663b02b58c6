"""Lesions, measures and candidates of a case as messages of the front door."""

from __future__ import annotations

from collections.abc import Sequence

from oncoresponse.case.case import Candidate, Lesion, LesionMeasure
from oncoresponse.case.identifiers import tracking_uid
from oncoresponse.v1 import lesion_pb2


def lesion_message(lesion: Lesion, report_id: str) -> lesion_pb2.LesionResult:
    """What was found of a lesion.

    Args:
        lesion: After the last stage.
        report_id: The lesion's tracking UID derives from it.
    """
    return lesion_pb2.LesionResult(
        number=lesion.number,
        label=lesion.label,
        tracking_uid=tracking_uid(report_id, lesion.number),
        volume_ml=lesion.volume_ml,
        volume_high_ml=lesion.volume_high_ml,
        needs_review=lesion.needs_review,
        review_reasons=lesion.review_reasons,
        measures=measure_messages(lesion.measures),
    )


def measure_messages(measures: Sequence[LesionMeasure]) -> list[lesion_pb2.Measure]:
    """Measures of a lesion, or totals of a patient."""
    return [
        lesion_pb2.Measure(name=item.name, value=item.value, unit=item.unit, ibsi_id=item.ibsi_id) for item in measures
    ]


def candidate_message(item: Candidate) -> lesion_pb2.LesionCandidate:
    """A place to choose from."""
    low, high, hottest = (
        lesion_pb2.PatientPosition(x_mm=x, y_mm=y, z_mm=z) for x, y, z in (item.box.low, item.box.high, item.hottest)
    )
    return lesion_pb2.LesionCandidate(
        number=item.number,
        box=lesion_pb2.LesionBox(low=low, high=high),
        hottest=hottest,
        volume_ml=item.volume_ml,
        suv_max=item.suv_max,
        confidence=item.confidence,
    )
