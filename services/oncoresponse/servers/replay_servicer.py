"""ReplayService: a result computed again from its record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc

from oncoresponse.access.call import current_call
from oncoresponse.errors import Busy
from oncoresponse.model.plan import STAGES
from oncoresponse.servers.assessment_replay import AssessmentReplay, StageBegun
from oncoresponse.servers.replay_comparison import PROBABILITY_TOLERANCE, RELATIVE_TOLERANCE, Comparison
from oncoresponse.v1 import replay_pb2, replay_pb2_grpc
from oncoresponse.workflow.assessment_message import PREFIX
from oncoresponse.workflow.assessment_records import AssessmentRecords


class ReplayServicer(replay_pb2_grpc.ReplayServiceServicer):
    """See ``protos/oncoresponse/v1/replay.proto``."""

    def __init__(self, records: AssessmentRecords, replay: AssessmentReplay) -> None:
        self._records = records
        self._replay = replay
        self._one_at_a_time = asyncio.Lock()

    async def ReplayAssessment(
        self, request: replay_pb2.ReplayAssessmentRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[replay_pb2.ReplayAssessmentResponse]:
        """Send each stage when it begins, and the outcome."""
        call = current_call()
        call.concerns(request.name)
        await self._records.require_own(request.name, call.tenant)
        call.concerns(patients=await self._records.lists.patients_of(request.name.removeprefix(PREFIX)))
        if self._one_at_a_time.locked():
            raise Busy("Another replay is under way. Assessments come first, so replay one at a time.")
        # Closed at once where the caller goes away, so that nothing is left behind.
        async with self._one_at_a_time, aclosing(self._replay.run(request.name)) as events:
            async for event in events:
                yield _message(event)


def _message(event: StageBegun | Comparison) -> replay_pb2.ReplayAssessmentResponse:
    if isinstance(event, StageBegun):
        progress = replay_pb2.ReplayProgress(
            stage=f"ASSESSMENT_STAGE_{event.stage.upper()}",
            fraction_done=event.fraction_done,
            message=STAGES[event.stage].message,
        )
        return replay_pb2.ReplayAssessmentResponse(progress=progress)
    outcome = replay_pb2.ReplayOutcome(
        same=event.same,
        differences=[replay_pb2.ReplayDifference(**vars(each)) for each in event.differences],
        differences_left_out=event.left_out,
        numbers_compared=event.numbers,
        artifacts_compared=event.artifacts,
        artifacts_identical=event.identical,
        artifacts_with_other_bytes=event.other_bytes,
        environment_differences=event.environment,
        relative_tolerance=RELATIVE_TOLERANCE,
        probability_tolerance=PROBABILITY_TOLERANCE,
    )
    return replay_pb2.ReplayAssessmentResponse(outcome=outcome)
