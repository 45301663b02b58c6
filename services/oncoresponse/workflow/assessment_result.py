"""From the case after its last stage to what the front door hands out."""

from __future__ import annotations

import json
from collections.abc import Mapping

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from oncoresponse.case.case import Case
from oncoresponse.case.prediction import Prediction
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.rpc.artifact_messages import artifact_message
from oncoresponse.rpc.lesion_message import candidate_message, lesion_message, measure_messages
from oncoresponse.rpc.prediction_message import prediction_message
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import assessment_pb2, monitoring_pb2
from oncoresponse.workflow.assessment_run import Json


def assessment_result(case: Case, artifacts: ArtifactStore, seconds: Mapping[str, float]) -> Json:
    """What an assessment ends with.

    Args:
        case: After the last stage.
        artifacts: Where the documents are, and where the timings are written to.
        seconds: Each stage took.

    Returns:
        ``result`` (AssessmentResult as JSON); ``candidates`` (LesionCandidate as JSON) where a physician has to choose
        the lesions, else ``recording`` (RecordPredictionRequest as JSON, ``None`` where nothing was predicted).
    """
    if case.candidates:
        result = assessment_pb2.AssessmentResult(
            artifacts={name: artifact_message(stored) for name, stored in case.outputs.items()}, stage_seconds=seconds
        )
        return {"result": _plain(result), "candidates": [_plain(candidate_message(item)) for item in case.candidates]}
    timings = {"stage_seconds": dict(seconds), "total_seconds": round(sum(seconds.values()), 3)}
    stored_timings = artifacts.put_bytes((json.dumps(timings, indent=2) + "\n").encode(), "application/json")
    result = assessment_pb2.AssessmentResult(
        artifacts={
            name: artifact_message(stored) for name, stored in (case.outputs | {"timings.json": stored_timings}).items()
        },
        summary=case.result_summary,
        stage_seconds=seconds,
        lesions=[lesion_message(item, case.order.report_id) for item in case.lesions],
        totals=measure_messages(case.totals),
    )
    if (bundle := case.outputs.get("report.json")) is not None:
        result.fhir_bundle.CopyFrom(artifact_message(bundle))
    recording = None
    for finding in case.findings:
        result.prediction.CopyFrom(prediction_message(artifacts.read_document(finding.document, Prediction)))
        result.predicted_from = finding.made_from
        recording = _plain(_recording(case, finding.document))
    return {"result": _plain(result), "recording": recording}


def _recording(case: Case, prediction: StoredArtifact) -> monitoring_pb2.RecordPredictionRequest:
    call = monitoring_pb2.RecordPredictionRequest(
        assessment=f"assessments/{case.order.report_id}",
        prediction_document=artifact_message(prediction),
        study_description=None if case.study is None else artifact_message(case.study),
    )
    for name, value in sorted(case.order.covariates.items()):
        call.covariates.add(name=name, value=value)
    call.create_time.FromDatetime(case.order.issued)
    return call


def _plain(message: Message) -> Json:
    plain: Json = MessageToDict(message, preserving_proto_field_name=True)
    return plain
