"""What a request for an assessment asks, as the stages read it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from types import MappingProxyType

from oncoresponse.case.case import (
    BoxMm,
    CorrectedContour,
    ExpectedPatientValues,
    LesionRequest,
    NamedContour,
    Order,
    PositionMm,
    SelectedSeries,
)
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.errors import InvalidRequest
from oncoresponse.v1 import assessment_pb2, lesion_pb2, study_pb2


def order_of_request(
    request: assessment_pb2.CreateAssessmentRequest,
    report_id: str,
    issued: datetime.datetime,
    corrections: Mapping[str, StoredArtifact] = MappingProxyType({}),
) -> Order:
    """The order of a request.

    Args:
        request: As it came; its rules have been checked.
        report_id: Identifier of the assessment.
        issued: When it was created, with a time zone.
        corrections: Mask of each correction that the request names.
    """
    expected = None
    if request.HasField("expected_patient"):
        patient = request.expected_patient
        expected = ExpectedPatientValues(
            patient_id=patient.patient_id if patient.HasField("patient_id") else None,
            birth_date=patient.birth_date if patient.HasField("birth_date") else None,
            sex=patient.sex if patient.HasField("sex") else None,
        )
    return Order(
        report_id=report_id,
        issued=issued,
        lesions=_lesions(request, corrections),
        series=tuple(
            SelectedSeries(input_role=item.input_role, series_instance_uid=item.series_instance_uid)
            for item in request.series
        ),
        expected_patient=expected,
        covariates={item.name: item.value for item in request.covariates},
        planned_treatment=request.planned_treatment,
        patient_reference=request.patient_reference,
        service_request_reference=request.service_request_reference,
        encounter_reference=request.encounter_reference,
        replaces=request.replaces.removeprefix("assessments/"),
    )


def _lesions(
    request: assessment_pb2.CreateAssessmentRequest, corrections: Mapping[str, StoredArtifact]
) -> tuple[LesionRequest, ...]:
    if request.HasField("contour"):
        return (LesionRequest(contour=_contour(request.contour)),)
    if request.HasField("lesion"):
        return (_lesion(request.lesion, request.lesion.WhichOneof("prompt"), corrections),)
    return tuple(_lesion(item, item.WhichOneof("selection"), corrections) for item in request.lesions)


def _lesion(
    item: assessment_pb2.LesionPrompt | assessment_pb2.LesionSelection,
    kind: str | None,
    corrections: Mapping[str, StoredArtifact],
) -> LesionRequest:
    match kind:
        case "point":
            return LesionRequest(point=_position(item.point))
        case "box":
            return LesionRequest(box=BoxMm(low=_position(item.box.low), high=_position(item.box.high)))
        case "rough_contour":
            return LesionRequest(rough_contour=_contour(item.rough_contour))
        case "correction" if isinstance(item, assessment_pb2.LesionSelection):
            named = CorrectedContour(name=item.correction, mask=corrections[item.correction])
            return LesionRequest(correction=named)
        case _ if isinstance(item, assessment_pb2.LesionSelection):
            return LesionRequest(contour=_contour(item.contour))
        case _:
            raise InvalidRequest("A lesion is named by a point, a box, or a contour.", field="lesion")


def _contour(contour: study_pb2.SuppliedContour) -> NamedContour:
    return NamedContour(
        sop_instance_uid=contour.sop_instance_uid,
        structure_name=contour.structure_name,
        every_structure=contour.every_structure,
    )


def _position(position: lesion_pb2.PatientPosition) -> PositionMm:
    return position.x_mm, position.y_mm, position.z_mm
