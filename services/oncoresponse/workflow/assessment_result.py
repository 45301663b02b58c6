"""From the case after its last stage to what the front door hands out."""

from __future__ import annotations

import json
from collections.abc import Mapping

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from oncoresponse.case.assessment_record import RECORD_FILE, AssessmentRecord
from oncoresponse.case.case import Case
from oncoresponse.case.prediction import Prediction
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.rpc.artifact_messages import artifact_message
from oncoresponse.rpc.lesion_message import candidate_message, lesion_message, measure_messages
from oncoresponse.rpc.prediction_message import prediction_message
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import assessment_pb2, monitoring_pb2
from oncoresponse.workflow.assessment_run import AssessmentRun, Json

TIMINGS_FILE = "timings.json"


def assessment_result(
    run: AssessmentRun, stored_case: StoredArtifact, artifacts: ArtifactStore, seconds: Mapping[str, float]
) -> Json:
    """What an assessment ends with.

    Args:
        run: What was asked.
        stored_case: The case after the last stage.
        artifacts: Where the documents are, and where the record and the timings are written to.
        seconds: Each stage took.

    Returns:
        ``result`` (AssessmentResult as JSON); ``candidates`` (LesionCandidate as JSON) where a physician has to choose
        the lesions, else ``recording`` (RecordPredictionRequest as JSON, ``None`` where nothing was predicted).
    """
    case = artifacts.read_document(stored_case, Case)
    result = result_message(case, artifacts)
    result.stage_seconds.update(seconds)
    record = artifacts.put_document(_record(run, case, stored_case))
    result.artifacts[RECORD_FILE].CopyFrom(artifact_message(record))
    if case.candidates:
        return {"result": _plain(result), "candidates": [_plain(candidate_message(item)) for item in case.candidates]}
    timings = {"stage_seconds": dict(seconds), "total_seconds": round(sum(seconds.values()), 3)}
    stored_timings = artifacts.put_bytes((json.dumps(timings, indent=2) + "\n").encode(), "application/json")
    result.artifacts[TIMINGS_FILE].CopyFrom(artifact_message(stored_timings))
    recording = _plain(_recording(case, case.findings[-1].document)) if case.findings else None
    return {"result": _plain(result), "recording": recording}


def result_message(case: Case, artifacts: ArtifactStore) -> assessment_pb2.AssessmentResult:
    """What stages found, for who asks for the assessment; without its record and how long it took.

    Args:
        case: After the last stage.
        artifacts: Where its documents are.
    """
    handed_out = {name: artifact_message(stored) for name, stored in case.outputs.items()}
    if case.candidates:
        return assessment_pb2.AssessmentResult(artifacts=handed_out)
    result = assessment_pb2.AssessmentResult(
        artifacts=handed_out,
        summary=case.result_summary,
        lesions=[lesion_message(item, case.order.report_id) for item in case.lesions],
        totals=measure_messages(case.totals),
    )
    if (bundle := case.outputs.get("report.json")) is not None:
        result.fhir_bundle.CopyFrom(artifact_message(bundle))
    for finding in case.findings:
        result.prediction.CopyFrom(prediction_message(artifacts.read_document(finding.document, Prediction)))
        result.predicted_from = finding.made_from
    return result


def _record(run: AssessmentRun, case: Case, stored_case: StoredArtifact) -> AssessmentRecord:
    return AssessmentRecord(
        assessment=run.assessment_id,
        model=run.model,
        model_sha256=run.model_sha256,
        stages=run.stages,
        study_manifest=case.study_manifest,
        begun_with=run.case,
        ended_with=stored_case,
        software=case.software,
    )


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
