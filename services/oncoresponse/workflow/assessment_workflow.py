"""The chain as a DBOS workflow of five steps, each one unary call to a stage service.

A step that has finished is never run again: after a crash the workflow goes on with the first step that
had not. Steps return plain JSON, errors included; see :mod:`~oncoresponse.workflow.stored_json`.

A run that is resumed without progress, progress being a finished stage, would stop the service again and again, so the
third time it fails and gives its place in the queue to others.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from dbos import DBOS
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from oncoresponse.errors import OncoResponseError, ResumedWithoutProgress
from oncoresponse.rpc.artifact_messages import artifact_message
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import Role
from oncoresponse.rpc.status import intended_error
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import (
    artifact_pb2,
    assessment_pb2,
    radiomics_pb2,
    reporting_pb2,
    response_pb2,
    segmentation_pb2,
    study_pb2,
)
from oncoresponse.workflow.recording_workflow import start_recording

PROGRESS_EVENT = "progress"
WORKFLOW_NAME = "assess"

Json = dict[str, Any]


@dataclass(frozen=True)
class ChainSurroundings:
    """What the steps need and the database must not hold."""

    peers: Peers
    artifacts: ArtifactStore
    stage_timeout_seconds: float


@dataclass(frozen=True)
class Stage:
    """A stage of the chain as a watcher sees it."""

    number: int
    stage: assessment_pb2.AssessmentStage
    fraction_at_start: float
    message: str


STAGES = {
    "conversion": Stage(1, assessment_pb2.ASSESSMENT_STAGE_CONVERSION, 0.0, "Reading the DICOM series"),
    "segmentation": Stage(2, assessment_pb2.ASSESSMENT_STAGE_SEGMENTATION, 0.2, "Contouring the tumor"),
    "features": Stage(3, assessment_pb2.ASSESSMENT_STAGE_FEATURES, 0.5, "Measuring the tumor"),
    "prediction": Stage(4, assessment_pb2.ASSESSMENT_STAGE_PREDICTION, 0.8, "Estimating the response"),
    "report": Stage(5, assessment_pb2.ASSESSMENT_STAGE_REPORT, 0.85, "Writing the report"),
}

_surroundings: ChainSurroundings | None = None
# Beside the answers of the stages: how often the run had been started when the last of them was finished.
_RESUMPTION = "resumption"
_RESUMED_IN_VAIN = 3

Step = Callable[[Json, dict[str, Json]], Awaitable[Json]]


def provide_surroundings(surroundings: ChainSurroundings | None) -> None:
    """Give the steps of this process their peers and store; DBOS calls steps by name, without arguments of ours."""
    global _surroundings
    _surroundings = surroundings


def _unless_resumed_in_vain(step: Step) -> Step:
    """Answer with an error where the service has stopped so often in this very stage.

    The number of starts is the database's, so it survives any end of the process. Stands inside ``DBOS.step``, because
    only a step that has not finished is run again.
    """

    @functools.wraps(step)
    async def guarded(request: Json, done: dict[str, Json]) -> Json:
        starts = await _starts()
        resumed = resumed_since_progress(starts, done.get(_RESUMPTION, {}).get("starts", 1))
        if resumed >= _RESUMED_IN_VAIN:
            error = ResumedWithoutProgress(
                f"The service stopped {resumed} times in this stage, which is not begun once more. Ask the "
                "administrator to look for the cause in the server's log.",
                resumed=resumed,
            )
            return {"error": {"reason": error.reason, "message": error.message, "metadata": dict(error.metadata)}}
        return {**await step(request, done), "starts": starts}

    return guarded


def resumed_since_progress(starts: int, starts_at_progress: int) -> int:
    """How often a run was resumed after its last finished stage, or after its begin when none is finished.

    Args:
        starts: How often the database has handed out the run, the first time included.
        starts_at_progress: The same when the last finished stage ran; 1 when none is finished.
    """
    if starts < starts_at_progress:
        # Handing a run to another worker, as an administrator does, counts its starts from the beginning.
        return max(starts, 1) - 1
    return starts - max(starts_at_progress, 1)


async def _starts() -> int:
    if DBOS.workflow_id is None:
        return 1
    status = await DBOS.get_workflow_status_async(DBOS.workflow_id)
    return 1 if status is None else status.recovery_attempts or 1


@DBOS.workflow(name=WORKFLOW_NAME)
async def assess(request: Json) -> Json:
    """Run the chain.

    Args:
        request: ``create`` (CreateAssessmentRequest as JSON), ``assessment_id``, ``create_time`` (RFC 3339),
            ``study_manifest`` (ArtifactReference as JSON) and ``model_sha256``, which every stage is told.

    Returns:
        ``{"result": AssessmentResult as JSON}``, the same with ``"candidates"`` where a physician has to choose the
        lesion, or ``{"error": {...}, "stage": name}``.
    """
    done: dict[str, Json] = {}
    seconds: dict[str, float] = {}
    for name, step in (
        ("conversion", convert_step),
        ("segmentation", segment_step),
        ("features", features_step),
        ("prediction", prediction_step),
        ("report", report_step),
    ):
        stage = STAGES[name]
        await DBOS.set_event_async(
            PROGRESS_EVENT, {"stage": name, "fraction": stage.fraction_at_start, "message": stage.message}
        )
        outcome = await step(request, done)
        if "error" in outcome:
            return {"error": outcome["error"], "stage": name, "seconds": seconds}
        done[name] = outcome["answer"]
        done[_RESUMPTION] = {"starts": outcome.get("starts", 0)}
        seconds[name] = outcome["seconds"]
        if outcome["answer"].get("candidates"):
            return await candidates_step(outcome["answer"], seconds)
    result = await collect_step(request, done, seconds)
    await start_recording(request, done)
    return result


@DBOS.step(name="conversion", preemptible=True)
@_unless_resumed_in_vain
async def convert_step(request: Json, done: dict[str, Json]) -> Json:
    """StudyService.ConvertStudy."""
    create = _create_request(request)
    call = study_pb2.ConvertStudyRequest(
        study_manifest=_parsed(request["study_manifest"]),
        model=create.model,
        model_sha256=_model_sha256(request),
        series=create.series,
    )
    if create.HasField("expected_patient"):
        call.expected_patient.CopyFrom(create.expected_patient)
    if create.HasField("contour"):
        call.contour.CopyFrom(create.contour)
    elif create.lesion.HasField("rough_contour"):
        call.contour.CopyFrom(create.lesion.rough_contour)
    return await _timed_call(Role.STUDY, "ConvertStudy", call, study_pb2.ConvertStudyResponse)


@DBOS.step(name="segmentation", preemptible=True)
@_unless_resumed_in_vain
async def segment_step(request: Json, done: dict[str, Json]) -> Json:
    """SegmentationService.Segment."""
    converted = ParseDict(done["conversion"], study_pb2.ConvertStudyResponse())
    call = segmentation_pb2.SegmentRequest(
        model=_create_request(request).model, model_sha256=_model_sha256(request), pet=_volume(converted, "PT")
    )
    if any(series.modality == "CT" for series in converted.series):
        call.ct.CopyFrom(_volume(converted, "CT"))
    lesion = _create_request(request).lesion
    if lesion.HasField("point"):
        call.lesion_point.CopyFrom(lesion.point)
    elif lesion.HasField("box"):
        call.lesion_box.CopyFrom(lesion.box)
    elif lesion.HasField("rough_contour"):
        call.lesion_mask.CopyFrom(converted.contour_mask)
    elif converted.HasField("contour_mask"):
        call.supplied_mask.CopyFrom(converted.contour_mask)
        call.supplied_mask_kind = converted.contour_kind
        call.supplied_mask_algorithm_type = converted.contour_algorithm_type
    return await _timed_call(Role.SEGMENTATION, "Segment", call, segmentation_pb2.SegmentResponse)


@DBOS.step(name="features", preemptible=True)
@_unless_resumed_in_vain
async def features_step(request: Json, done: dict[str, Json]) -> Json:
    """RadiomicsService.ExtractFeatures."""
    converted = ParseDict(done["conversion"], study_pb2.ConvertStudyResponse())
    segmented = ParseDict(done["segmentation"], segmentation_pb2.SegmentResponse())
    call = radiomics_pb2.ExtractFeaturesRequest(
        model=_create_request(request).model,
        model_sha256=_model_sha256(request),
        image=_volume(converted, "PT"),
        mask=segmented.mask,
        variant_masks=[variant.mask for variant in segmented.variants],
    )
    return await _timed_call(Role.RADIOMICS, "ExtractFeatures", call, radiomics_pb2.ExtractFeaturesResponse)


@DBOS.step(name="prediction", preemptible=True)
@_unless_resumed_in_vain
async def prediction_step(request: Json, done: dict[str, Json]) -> Json:
    """ResponseService.PredictResponse."""
    create = _create_request(request)
    segmented = ParseDict(done["segmentation"], segmentation_pb2.SegmentResponse())
    converted = ParseDict(done["conversion"], study_pb2.ConvertStudyResponse())
    extracted = ParseDict(done["features"], radiomics_pb2.ExtractFeaturesResponse())
    call = response_pb2.PredictResponseRequest(
        model=create.model,
        model_sha256=_model_sha256(request),
        features=extracted.features,
        covariates=create.covariates,
        variant_features=extracted.variant_features,
        contour_review_reasons=segmented.review_reasons,
        volume_high_ml=segmented.volume_high_ml,
        images=[series.volume for series in converted.series],
        study_description=converted.description,
    )
    if create.HasField("contour"):
        converted = ParseDict(done["conversion"], study_pb2.ConvertStudyResponse())
        call.contour_algorithm_type = converted.contour_algorithm_type
    return await _timed_call(Role.RESPONSE, "PredictResponse", call, response_pb2.PredictResponseResponse)


@DBOS.step(name="report", preemptible=True)
@_unless_resumed_in_vain
async def report_step(request: Json, done: dict[str, Json]) -> Json:
    """ReportingService.ComposeReport."""
    create = _create_request(request)
    converted = ParseDict(done["conversion"], study_pb2.ConvertStudyResponse())
    segmented = ParseDict(done["segmentation"], segmentation_pb2.SegmentResponse())
    extracted = ParseDict(done["features"], radiomics_pb2.ExtractFeaturesResponse())
    predicted = ParseDict(done["prediction"], response_pb2.PredictResponseResponse())
    call = reporting_pb2.ComposeReportRequest(
        model=create.model,
        model_sha256=_model_sha256(request),
        report_id=request["assessment_id"],
        study_manifest=_parsed(request["study_manifest"]),
        description=converted.description,
        pet=_volume(converted, "PT"),
        mask=segmented.mask,
        segmentation_summary=segmented.summary,
        features=extracted.features,
        prediction=predicted.prediction_document,
        planned_treatment=create.planned_treatment,
        patient_reference=create.patient_reference,
        service_request_reference=create.service_request_reference,
    )
    call.issued.FromJsonString(request["create_time"])
    if any(series.modality == "CT" for series in converted.series):
        call.ct.CopyFrom(_volume(converted, "CT"))
    return await _timed_call(Role.REPORTING, "ComposeReport", call, reporting_pb2.ComposeReportResponse)


@DBOS.step(name="candidates")
async def candidates_step(answer: Json, seconds: dict[str, float]) -> Json:
    """What a physician needs to choose the lesion."""
    segmented = ParseDict(answer, segmentation_pb2.SegmentResponse())
    result = assessment_pb2.AssessmentResult(
        artifacts={
            "lesion-candidates.json": segmented.candidates_document,
            "lesion-candidates.png": segmented.candidates_picture,
        },
        stage_seconds=seconds,
    )
    return {"result": _plain(result), "candidates": answer["candidates"]}


@DBOS.step(name="collect")
async def collect_step(request: Json, done: dict[str, Json], seconds: dict[str, float]) -> Json:
    """Put the references of all artifacts together, and the timings beside them."""
    segmented = ParseDict(done["segmentation"], segmentation_pb2.SegmentResponse())
    extracted = ParseDict(done["features"], radiomics_pb2.ExtractFeaturesResponse())
    predicted = ParseDict(done["prediction"], response_pb2.PredictResponseResponse())
    reported = ParseDict(done["report"], reporting_pb2.ComposeReportResponse())
    timings = {"stage_seconds": seconds, "total_seconds": round(sum(seconds.values()), 3)}
    artifacts = {
        "report.json": reported.fhir_bundle,
        "report.pdf": reported.pdf,
        "key-image.png": reported.key_image,
        "segmentation.dcm": reported.segmentation,
        "features.json": extracted.features,
        "prediction.json": predicted.prediction_document,
        "segmentation.json": segmented.summary,
        "mask.nrrd": segmented.mask,
        "timings.json": artifact_message(
            _around().artifacts.put_bytes((json.dumps(timings, indent=2) + "\n").encode(), "application/json")
        ),
    }
    if segmented.HasField("probability"):
        artifacts["probability.nrrd"] = segmented.probability
    result = assessment_pb2.AssessmentResult(
        fhir_bundle=reported.fhir_bundle,
        artifacts=artifacts,
        prediction=predicted.prediction,
        summary=reported.summary,
        stage_seconds=seconds,
    )
    return {"result": _plain(result)}


async def _timed_call(role: Role, method: str, call: Message, answer_type: type[Message]) -> Json:
    start = time.perf_counter()
    around = _around()
    try:
        answer = await around.peers.call(role, method, call, answer_type, timeout_seconds=around.stage_timeout_seconds)
    except OncoResponseError as error:
        return {"error": {"reason": error.reason, "message": error.message, "metadata": dict(error.metadata)}}
    except Exception as error:
        known = intended_error(error)
        return {"error": {"reason": known.reason, "message": known.message, "metadata": dict(known.metadata)}}
    return {"answer": _plain(answer), "seconds": round(time.perf_counter() - start, 3)}


def _around() -> ChainSurroundings:
    if _surroundings is None:
        raise RuntimeError("provide_surroundings() has to come before the workflow is launched")
    return _surroundings


def _create_request(request: Json) -> assessment_pb2.CreateAssessmentRequest:
    return ParseDict(request["create"], assessment_pb2.CreateAssessmentRequest())


def _model_sha256(request: Json) -> str:
    # An assessment that an earlier release created and left unfinished names no digest, so its model is not pinned.
    return str(request.get("model_sha256", ""))


def _parsed(reference: Json) -> Any:
    return ParseDict(reference, artifact_pb2.ArtifactReference())


def _plain(message: Message) -> Json:
    return MessageToDict(message, preserving_proto_field_name=True)


def _volume(converted: study_pb2.ConvertStudyResponse, modality: str) -> Any:
    return next(series.volume for series in converted.series if series.modality == modality)
