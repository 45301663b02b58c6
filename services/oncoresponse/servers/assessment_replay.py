"""Runs the plan of a finished assessment again, from its record, and compares what comes out.

The stages are called as the workflow calls them, without a run of their own: a replay that is interrupted is begun
anew. Artifacts are known by their content, so what comes out as before is written once; what does not is removed again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict

from oncoresponse.case.assessment_record import RECORD_FILE, AssessmentRecord
from oncoresponse.case.case import Case
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.errors import AssessmentNotFinished, AssessmentNotFound, AssessmentNotReplayable
from oncoresponse.model.plan import STAGES, fraction_before
from oncoresponse.rpc.artifact_messages import stored_artifact
from oncoresponse.rpc.peers import Peers
from oncoresponse.servers.replay_comparison import Comparison, compare_results
from oncoresponse.servers.storage_sweep import StorageSweep
from oncoresponse.storage import chart_patients
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.reachability import digests_in, reachable
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow import patient_runs
from oncoresponse.workflow.assessment_message import is_finished
from oncoresponse.workflow.assessment_records import AssessmentRecords
from oncoresponse.workflow.assessment_result import TIMINGS_FILE, result_message
from oncoresponse.workflow.stage_call import run_stage

_NOT_COMPARED = frozenset({RECORD_FILE, TIMINGS_FILE})
_WITH_A_RESULT = (
    assessment_pb2.ASSESSMENT_STATE_SUCCEEDED,
    assessment_pb2.ASSESSMENT_STATE_LESION_CHOICE_NEEDED,
)


@dataclass(frozen=True)
class StageBegun:
    """How far a replay is.

    Attributes:
        stage: Its name in the plan.
        fraction_done: 0 to 1.
    """

    stage: str
    fraction_done: float


@dataclass(frozen=True)
class AssessmentReplay:
    """Replays assessments.

    Attributes:
        records: The assessments.
        artifacts: The store.
        peers: The services that run stages.
        sweep: Removes what a replay leaves.
        stage_timeout_seconds: Deadline of one stage, retries included.
    """

    records: AssessmentRecords
    artifacts: ArtifactStore
    peers: Peers
    sweep: StorageSweep
    stage_timeout_seconds: float

    async def run(self, name: str) -> AsyncGenerator[StageBegun | Comparison, None]:
        """Replay one: each stage when it begins, and at the end how it compares.

        Args:
            name: ``assessments/{assessment}``.

        Raises:
            AssessmentNotFound, AssessmentNotFinished: There is none, or no result of it yet.
            AssessmentNotReplayable: It has no result, or no record.
            ModelChanged: Its version of the model is not kept any more.
            OncoResponseError: What a stage refuses.
        """
        assessment = await self.records.get(name)
        record = await asyncio.to_thread(self._record, assessment)
        kept, gone = await asyncio.to_thread(self._kept_and_gone, assessment)
        case = record.begun_with
        made: list[StoredArtifact] = []
        try:
            for stage in record.stages:
                yield StageBegun(stage, fraction_before(record.stages, stage))
                answer = await run_stage(
                    self.peers,
                    stage,
                    record.model,
                    record.model_sha256,
                    case,
                    timeout_seconds=self.stage_timeout_seconds,
                )
                case = stored_artifact(answer.case)
                made.append(case)
                if answer.choice_needed:
                    break
            yield await asyncio.to_thread(self._compared, assessment, record, case)
        finally:
            # A caller that hangs up leaves nothing behind.
            await asyncio.shield(asyncio.create_task(self._remove(assessment, made, kept, gone)))

    def _record(self, assessment: assessment_pb2.Assessment) -> AssessmentRecord:
        if not is_finished(assessment):
            raise AssessmentNotFinished("The assessment has not finished. Watch it, then replay it.")
        if assessment.state not in _WITH_A_RESULT:
            raise AssessmentNotReplayable("The assessment ended without a result, so there is nothing to replay.")
        if RECORD_FILE not in assessment.result.artifacts:
            raise AssessmentNotReplayable(
                "A release before 0.4 made this assessment, and kept no record of it. Assess the study again."
            )
        record = self.artifacts.read_document(
            stored_artifact(assessment.result.artifacts[RECORD_FILE]), AssessmentRecord
        )
        if unknown := [stage for stage in record.stages if stage not in STAGES]:
            raise AssessmentNotReplayable(f"This release has no stage '{unknown[0][:63]}'.")
        return record

    def _kept_and_gone(self, assessment: assessment_pb2.Assessment) -> tuple[set[str], set[str]]:
        """What belongs to the result, and what belonged to it and was removed when it was old (retention)."""
        kept = reachable(self.artifacts, [item.sha256 for item in assessment.result.artifacts.values()])
        named = {digest for each in kept for digest in digests_in(self.artifacts.document_bytes(each) or b"")}
        return kept, {digest for digest in named - kept if self.artifacts.look(digest) is None}

    def _compared(
        self, assessment: assessment_pb2.Assessment, record: AssessmentRecord, case: StoredArtifact
    ) -> Comparison:
        result = assessment.result
        now = result_message(self.artifacts.read_document(case, Case), self.artifacts)
        return compare_results(
            record.ended_with,
            case,
            self.artifacts,
            handed_out={
                name: stored_artifact(item) for name, item in result.artifacts.items() if name not in _NOT_COMPARED
            },
            messages=(_said(result), _said(now)),
        )

    async def _remove(
        self,
        assessment: assessment_pb2.Assessment,
        made: Collection[StoredArtifact],
        kept: Collection[str],
        gone: Collection[str],
    ) -> None:
        """Remove what the replay wrote and nothing refers to, and again what retention had removed before."""
        extra = await asyncio.to_thread(reachable, self.artifacts, [case.sha256 for case in made])
        try:
            await self.records.get(assessment.name)
        except AssessmentNotFound:
            # Erased meanwhile: what came back of it goes, too.
            returned: set[str] = set()
        else:
            returned = await asyncio.to_thread(lambda: {each for each in gone if self.artifacts.look(each)})
            extra -= {*kept, *returned}
        if not extra and not returned:
            return
        engine = self.sweep.engine
        beside = await asyncio.to_thread(chart_patients.assessments_of_studies, engine, [assessment.study])
        if await asyncio.to_thread(patient_runs.unfinished, engine, beside):
            # It may have written the same and not noted it yet; the daily sweep (retention) knows then.
            return
        begun = time.time()
        await self.sweep.remove(extra)
        await self.sweep.delete(returned, begun)


def _said(result: assessment_pb2.AssessmentResult) -> Mapping[str, Any]:
    """What a result says beside its files."""
    said: dict[str, Any] = MessageToDict(result, preserving_proto_field_name=True)
    return {name: value for name, value in said.items() if name not in ("artifacts", "fhir_bundle", "stage_seconds")}
