"""The gate that a run passes before its first stage and before its result is there: is release of its model stopped?

A run that has to wait takes no place among those at work, so that other models go on: it gives back its run to the
queue as delayed, and the engine forgets that it was begun. Whoever keeps the gate, in any process, lets it into the
queue again once release goes on. That survives every end of a process, because it stands in the database alone.
"""

from __future__ import annotations

import asyncio
import logging

from dbos import DBOS
from dbos._error import DBOSWorkflowConflictIDError
from sqlalchemy import text

from oncoresponse.errors import Busy, DeadlineExceeded, OncoResponseError, PeerUnavailable
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import Service
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.v1 import model_control_pb2, model_control_pb2_grpc

WAITING_MESSAGE = "Waiting: release of this model is stopped"

_LOOKUP_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 1.0
# Nobody waits for this: the keeper wakes a run when release goes on. Ten years, in milliseconds.
_FAR_MS = 10 * 365 * 24 * 3600 * 1000
_PARK = (
    "UPDATE {table} SET status = 'DELAYED', owner_xid = NULL, delay_until_epoch_ms = created_at + :far, "
    # Waiting is no start in vain; the next one counts as this one did.
    "recovery_attempts = CASE WHEN recovery_attempts > 0 THEN recovery_attempts - 1 ELSE 0 END "
    "WHERE workflow_uuid = :run AND status = 'PENDING' AND executor_id = :worker"
)

_log = logging.getLogger(__name__)


class ReleaseGate:
    """Asks the model service, and keeps the runs that wait.

    Args:
        peers: The other services.
        database_url: Of the workflows.
        executor_id: Name of this worker.
        queue: Name of the queue of assessments.
    """

    def __init__(self, peers: Peers, database_url: str, executor_id: str, queue: str) -> None:
        self._peers = peers
        self._engine = database_engine(database_url)
        self._executor_id = executor_id
        self._queue = queue
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look every second whether a run that waits may go on. The engine has to run."""
        self._keeping = asyncio.create_task(self._keep())

    def close(self) -> None:
        """Stop looking."""
        if self._keeping is not None:
            self._keeping.cancel()
        self._engine.dispose()

    async def is_stopped(self, model: str) -> bool:
        """Whether release of ``models/{model}`` is stopped. While nobody can say, nothing is released.

        Raises:
            OncoResponseError: The model service answers with an error that will stay.
        """
        while True:
            try:
                answer = await self._peers.call(
                    Service.MODEL,
                    model_control_pb2_grpc.ModelControlServiceStub,
                    "GetModelControl",
                    model_control_pb2.GetModelControlRequest(model=model),
                    model_control_pb2.GetModelControlResponse,
                    timeout_seconds=_LOOKUP_SECONDS,
                )
            except (PeerUnavailable, DeadlineExceeded, Busy):
                continue
            return answer.release_stopped

    def park(self, run_id: str) -> bool:
        """Give a run of this worker back as delayed; ``False`` where it is not this worker's any more."""
        table = "dbos.workflow_status" if self._engine.dialect.name == "postgresql" else "workflow_status"
        values = {"far": _FAR_MS, "run": run_id, "worker": self._executor_id}
        with self._engine.begin() as connection:
            return connection.execute(text(_PARK.format(table=table)), values).rowcount == 1

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            try:
                await self._wake()
            except Exception:
                _log.warning("runs that wait for the release of their model could not be looked up")

    async def _wake(self) -> None:
        waiting = await DBOS.list_workflows_async(
            queue_name=self._queue, status="DELAYED", load_input=False, load_output=False
        )
        stopped: dict[str, bool] = {}
        for run in waiting:
            model = (run.attributes or {}).get("model", "")
            if model not in stopped:
                try:
                    stopped[model] = await self.is_stopped(model)
                except OncoResponseError:
                    # Not installed any more, for instance: the run goes on, and its stage says why it cannot.
                    stopped[model] = False
            if not stopped[model]:
                await DBOS.set_workflow_delay_async(run.workflow_id, delay_seconds=0)


_gate: ReleaseGate | None = None


def provide_release_gate(gate: ReleaseGate | None) -> None:
    """Give the steps of this process their gate; without one everything is released."""
    global _gate
    _gate = gate


@DBOS.step(name="release", preemptible=True)
async def pass_release_gate(model: str) -> bool:
    """Return when release of ``models/{model}`` is not stopped; else leave the run for later.

    Returns:
        Always ``True``.

    Raises:
        DBOSWorkflowConflictIDError: The run waits; the engine stops this execution without an outcome.
    """
    if _gate is None:
        return True
    try:
        stopped = await _gate.is_stopped(model)
    except OncoResponseError:
        # The stages say what is wrong with the model.
        return True
    run_id = DBOS.workflow_id
    if not stopped or run_id is None:
        return True
    await asyncio.to_thread(_gate.park, run_id)
    raise DBOSWorkflowConflictIDError(run_id)
