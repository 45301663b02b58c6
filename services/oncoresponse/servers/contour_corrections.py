"""Corrections of contours: a person says where an outline is wrong, the networks follow, and who said what is kept."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.json_format import MessageToJson, Parse

from oncoresponse.access.caller import Caller
from oncoresponse.case.assessment_record import RECORD_FILE, AssessmentRecord
from oncoresponse.case.case import Case
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.errors import ArtifactNotFound, AssessmentNotFinished, InvalidRequest
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import Service
from oncoresponse.stages.v1 import contour_pb2 as stage_pb2
from oncoresponse.stages.v1 import contour_pb2_grpc as stage_pb2_grpc
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.correction_store import CorrectionStore, StoredCorrection
from oncoresponse.v1 import assessment_pb2, contour_pb2
from oncoresponse.workflow.assessment_message import PREFIX
from oncoresponse.workflow.assessment_records import AssessmentRecords

_BETWEEN = "/corrections/"
_MASK_FILE = re.compile(r"correction-([0-9a-f-]{36})\.nrrd")
_REFINES_WITHIN_SECONDS = 120.0


@dataclass(frozen=True)
class ContourCorrections:
    """Makes, keeps and finds corrections.

    Attributes:
        records: The assessments.
        artifacts: The store.
        peers: The segmentation service.
        store: What is kept.
    """

    records: AssessmentRecords
    artifacts: ArtifactStore
    peers: Peers
    store: CorrectionStore

    async def refine(self, request: contour_pb2.RefineContourRequest, caller: Caller) -> contour_pb2.ContourCorrection:
        """Draw a contour as a person says, and keep it.

        Raises:
            AssessmentNotFinished: Or it ended without a result.
            ArtifactNotFound: There is no such lesion, or no such correction of it.
            OncoResponseError: Of the segmentation service.
        """
        assessment = await self.records.get(request.assessment)
        record, case = await asyncio.to_thread(self._case, assessment)
        number = request.lesion
        lesion = next((each for each in case.lesions if each.number == number), None)
        if lesion is None or lesion.mask is None:
            raise ArtifactNotFound("The assessment has no such lesion with a contour. GetAssessment lists them.")
        earlier: StoredArtifact | None = lesion.mask
        parent = ""
        if request.parent:
            went_on_from = await self._named(request.parent)
            if (went_on_from.assessment, went_on_from.lesion) != (_identifier(request.assessment), number):
                raise InvalidRequest("The parent is a correction of another lesion.", field="parent")
            earlier, parent = went_on_from.mask, went_on_from.correction
        call = stage_pb2.RefineRequest(
            model=record.model,
            model_sha256=record.model_sha256,
            case=artifact_message(record.ended_with),
            hand=request.hand,
        )
        if not request.anew and earlier is not None:
            call.earlier.CopyFrom(artifact_message(earlier))
        found = await self.peers.call(
            Service.SEGMENTATION,
            stage_pb2_grpc.ContourServiceStub,
            "Refine",
            call,
            stage_pb2.RefineResponse,
            timeout_seconds=_REFINES_WITHIN_SECONDS,
        )
        made = StoredCorrection(
            correction=str(uuid.uuid4()),
            assessment=_identifier(request.assessment),
            lesion=number,
            parent=parent,
            corrected_by=caller.name,
            time_ms=time.time_ns() // 1_000_000,
            hand=MessageToJson(request.hand, preserving_proto_field_name=True, indent=None),
            mask=stored_artifact(found.mask),
            volume_ml=found.volume_ml,
            volume_before_ml=found.volume_before_ml,
        )
        await asyncio.to_thread(self.store.add, made)
        return correction_message(made)

    async def listed(self, assessment: str) -> list[contour_pb2.ContourCorrection]:
        """Those of an assessment, oldest first."""
        return [correction_message(each) for each in await asyncio.to_thread(self.store.of, _identifier(assessment))]

    async def mask(self, assessment: str, file_name: str) -> StoredArtifact | None:
        """The mask that a file name of an assessment means; ``None`` where it means no correction.

        Raises:
            ArtifactNotFound: There is no such correction.
        """
        found = _MASK_FILE.fullmatch(file_name)
        return None if found is None else (await self._named(f"{assessment}{_BETWEEN}{found[1]}")).mask

    async def masks_of(
        self, request: assessment_pb2.CreateAssessmentRequest, tenant: str | None
    ) -> dict[str, StoredArtifact]:
        """The mask of each correction that a request for an assessment names.

        Raises:
            ArtifactNotFound, AssessmentNotFound: There is none of that name, or not for this tenant.
            InvalidRequest: It was made on another study.
        """
        found: dict[str, StoredArtifact] = {}
        for name in _named_by(request):
            assessment = f"{PREFIX}{_identifier(name.split(_BETWEEN)[0])}"
            await self.records.require_own(assessment, tenant)
            if (await self.records.get(assessment)).study != request.study:
                raise InvalidRequest(
                    "The correction was made on the images of another study. Name one of the same study.",
                    field="lesions",
                )
            found[name] = (await self._named(name)).mask
        return found

    def _case(self, assessment: assessment_pb2.Assessment) -> tuple[AssessmentRecord, Case]:
        reference = assessment.result.artifacts.get(RECORD_FILE)
        if assessment.state != assessment_pb2.ASSESSMENT_STATE_SUCCEEDED or reference is None:
            raise AssessmentNotFinished("The assessment has no result whose contours could be corrected.")
        record = self.artifacts.read_document(stored_artifact(reference), AssessmentRecord)
        return record, self.artifacts.read_document(record.ended_with, Case)

    async def _named(self, name: str) -> StoredCorrection:
        assessment, _, correction = name.partition(_BETWEEN)
        found = await asyncio.to_thread(self.store.get, _identifier(assessment), correction)
        if found is None:
            raise ArtifactNotFound("There is no such correction of the assessment. ListContourCorrections lists them.")
        return found


def correction_message(stored: StoredCorrection) -> contour_pb2.ContourCorrection:
    """A correction as it is handed out."""
    prefix = f"{PREFIX}{stored.assessment}{_BETWEEN}"
    message = contour_pb2.ContourCorrection(
        name=f"{prefix}{stored.correction}",
        lesion=stored.lesion,
        parent=f"{prefix}{stored.parent}" if stored.parent else "",
        corrected_by=stored.corrected_by,
        hand=Parse(stored.hand, contour_pb2.ContourHand()),
        mask=artifact_message(stored.mask),
        volume_ml=stored.volume_ml,
        volume_before_ml=stored.volume_before_ml,
    )
    message.create_time.FromMilliseconds(stored.time_ms)
    return message


def _named_by(request: assessment_pb2.CreateAssessmentRequest) -> Iterable[str]:
    return dict.fromkeys(each.correction for each in request.lesions if each.WhichOneof("selection") == "correction")


def _identifier(assessment: str) -> str:
    return assessment.removeprefix(PREFIX)
