"""Assessments as DBOS workflows: start, look up, list and cancel them."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import logging
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import MappingProxyType

from dbos import DBOS, DBOSClient, DBOSConfig, SetEnqueueOptions, SetWorkflowAttributes, SetWorkflowID
from google.protobuf.timestamp_pb2 import Timestamp

from oncoresponse.access.call import current_correlation_id
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.errors import (
    AssessmentNotFound,
    Busy,
    ConfigurationError,
    OncoResponseError,
    RequestConflict,
)
from oncoresponse.rpc.process_log import TextWithheld
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.chart_store import Subject
from oncoresponse.storage.database_engine import POSTGRESQL_CONNECTION, database_engine
from oncoresponse.storage.database_errors import known_database_error
from oncoresponse.storage.result_store import ResultStore
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.assessment_lists import AssessmentLists
from oncoresponse.workflow.assessment_message import PREFIX, assessment_of
from oncoresponse.workflow.assessment_message import is_finished as is_finished
from oncoresponse.workflow.assessment_run import AssessmentRun, first_case
from oncoresponse.workflow.assessment_workflow import assess
from oncoresponse.workflow.code_version import workflow_version
from oncoresponse.workflow.earlier_versions import Settled, settle_earlier_versions
from oncoresponse.workflow.engine_patience import outlast_the_database
from oncoresponse.workflow.expiry import assessment_of_kept, expire_regularly
from oncoresponse.workflow.run_states import WAITING, RunState, RunStates
from oncoresponse.workflow.sqlite_version import require_usable_sqlite
from oncoresponse.workflow.stored_json import StoredJson, refuse_pickles
from oncoresponse.workflow.watching import Watching
from oncoresponse.workflow.worker_presence import WorkerPresence
from oncoresponse.workflow.worker_takeover import hand_over_worker

QUEUE = "assessments"
# Ids derive from request ids, so that the same request finds its assessment after any crash.
_NAMESPACE = uuid.UUID("b3a1f9d4-52a7-5d0e-9a53-6c1d1f0c7d11")
# A process that is stopped in the middle of a transaction holds its rows for so long, and a takeover waits for them.
_IDLE_TRANSACTION_SECONDS = 8.0
# The engine begins the lowest number first, and what has none, such as what an earlier release took, before all.
_PLACE_IN_QUEUE = {
    assessment_pb2.ASSESSMENT_PRIORITY_STAT: 1,
    assessment_pb2.ASSESSMENT_PRIORITY_URGENT: 2,
}
_ROUTINE_PLACE = 3
_log = logging.getLogger(__name__)


class AssessmentRecords:
    """The durable side of AssessmentService. One per process, because DBOS is one per process.

    Args:
        settings: Of the process.
        artifacts: Where cases and results lie.
        on_lost: Called in the loop of :meth:`launch` when this worker was declared lost: it has stopped taking work,
            and the process has to end.

    Attributes:
        lists: What assessments are found by.
        watching: Follows assessments.
    """

    def __init__(
        self,
        settings: ServerSettings,
        artifacts: ArtifactStore,
        on_lost: Callable[[OncoResponseError], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._artifacts = artifacts
        self._on_lost = on_lost
        self._presence: WorkerPresence | None = None
        self._engine = database_engine(settings.system_database_url)
        self._states = RunStates(self._engine)
        self._results = ResultStore(self._engine)
        self._expiring: asyncio.Task[None] | None = None
        self.lists = AssessmentLists(settings.system_database_url, self._states, self._described)
        self.watching = Watching(self._states, self._described)

    async def launch(self) -> None:
        """Connect to the database, create or migrate its tables, and go on with what a crash left unfinished.

        What another version of the service left is put in order first, see
        :mod:`~oncoresponse.workflow.earlier_versions`.

        Raises:
            ConfigurationError: Another process of this ``executor_id`` runs, or SQLite is too old for this Python.
            PeerUnavailable: The database does not answer.
            DiskFull: The database has no room.
        """
        config: DBOSConfig = {
            "name": "oncoresponse",
            "system_database_url": self._settings.system_database_url,
            "executor_id": self._settings.executor_id,
            "application_version": workflow_version(),
            "serializer": StoredJson(),
            "sys_db_idle_transaction_timeout_sec": _IDLE_TRANSACTION_SECONDS,
            "log_level": "WARNING",
        }
        if self._settings.system_database_url.startswith("sqlite"):
            require_usable_sqlite()
        else:
            config["db_engine_kwargs"] = {"connect_args": dict(POSTGRESQL_CONNECTION)}
        engine_log = logging.getLogger("dbos")
        if not any(isinstance(each, TextWithheld) for each in engine_log.filters):
            # DBOS has a handler of its own, so the filter has to sit on its logger.
            engine_log.addFilter(TextWithheld())
        refuse_pickles()
        outlast_the_database()
        loop = asyncio.get_running_loop()
        self._presence = WorkerPresence(
            self._settings.system_database_url,
            self._settings.executor_id,
            self._settings.data_directory / "workers",
            self._settings.worker_beat_seconds,
            workflow_version(),
            lambda error: loop.call_soon_threadsafe(self._lose, error),  # type: ignore[arg-type]
        )
        with _database_errors():
            # Before anything of this name is touched, because a process of the same name may live.
            await asyncio.to_thread(self._presence.join)
            await asyncio.to_thread(_settle, self._settings.system_database_url, self._settings.executor_id)
        DBOS(config=config)
        with _database_errors():
            DBOS.launch()
            # After a return to an earlier release the latest one is not the one that was seen last for the first time.
            await DBOS.set_latest_application_version_async(workflow_version())
            await self.lists.open()
            await asyncio.to_thread(self._results.prepare)
        self._expiring = asyncio.create_task(expire_regularly(self._engine, self._settings.workflow_retention_days))
        await DBOS.register_queue_async(
            QUEUE,
            worker_concurrency=self._settings.assessment_workers,
            polling_interval_sec=0.1,
            on_conflict="always_update",
        )
        self._presence.judge_others()

    def _lose(self, error: OncoResponseError) -> None:
        _log.error("%s", error.message)
        # At once: what still runs here can store nothing, and nothing new is to be begun.
        _stop_engine()
        self._on_lost(error)

    async def close(self) -> None:
        """Stop taking work. What runs is continued after the next start, or by other workers after a while."""
        await self.watching.close()
        if self._presence is not None:
            self._presence.close()
        if self._expiring is not None:
            self._expiring.cancel()
        _stop_engine()
        self.lists.close()
        self._engine.dispose()

    async def find(
        self, request: assessment_pb2.CreateAssessmentRequest, tenant: str = ""
    ) -> assessment_pb2.Assessment | None:
        """The assessment that the same request of the same tenant created before, whatever became of its study since.

        Raises:
            RequestConflict: The ``request_id`` was used for another request.
        """
        assessment_id, fingerprint = _identity(request, tenant)
        if (run := await self._run(assessment_id)) is not None:
            known, existing = run.attributes.get("request_sha256"), assessment_of(run)
        elif (kept := (await asyncio.to_thread(self._results.of, [assessment_id])).get(assessment_id)) is not None:
            known, existing = kept.request_sha256, assessment_of_kept(kept)
        else:
            return None
        if known != fingerprint:
            raise RequestConflict(
                "This request_id was used for a different request. Use a new UUID for a new assessment."
            )
        return existing

    def unfinished(self) -> dict[str, tuple[int, int]]:
        """Of those that are not finished, ``waiting`` and ``running``: how many, and when the oldest was created
        (milliseconds since 1970). Blocks; errors are those of SQLAlchemy."""
        found = {"waiting": (0, 0), "running": (0, 0)}
        for status, (count, oldest) in self._states.unfinished().items():
            name = "waiting" if status in WAITING else "running"
            before, since = found[name]
            found[name] = (before + count, min(oldest, since or oldest))
        return found

    async def create(
        self,
        request: assessment_pb2.CreateAssessmentRequest,
        study_manifest: StoredArtifact,
        model_sha256: str,
        stages: tuple[str, ...],
        subject: Subject | None = None,
        tenant: str = "",
        owner: str = "",
        arrived_ms: int = 0,
        corrections: Mapping[str, StoredArtifact] = MappingProxyType({}),
    ) -> assessment_pb2.Assessment:
        """Enqueue an assessment, or return the one that the same ``request_id`` created.

        Args:
            request: What is asked.
            study_manifest: Of the complete study.
            model_sha256: The model as it is now; every stage is to work with this one.
            stages: The plan that it declares.
            subject: Whose the study is; ``None`` where nobody has asked yet.
            tenant: Of whom the request comes.
            owner: Tenant that is to see it, where the request comes from the installation itself.
            arrived_ms: When the study began to arrive, milliseconds since 1970; 0 where that is not known.
            corrections: Mask of each correction that the request names.

        Raises:
            RequestConflict: The ``request_id`` was used for another request.
            Busy: Too many assessments wait.
        """
        if (existing := await self.find(request, tenant)) is not None:
            return existing
        assessment_id, fingerprint = _identity(request, tenant)
        if await asyncio.to_thread(self._states.waiting, QUEUE) >= self._settings.assessment_queue_limit:
            raise Busy("Too many assessments are waiting. Send the request again later, with the same request_id.")
        create_time = Timestamp()
        create_time.FromDatetime(datetime.datetime.now(datetime.UTC).replace(microsecond=0))
        case = first_case(request, assessment_id, create_time, study_manifest, corrections)
        run = AssessmentRun(
            assessment_id=assessment_id,
            model=request.model,
            model_sha256=model_sha256,
            stages=stages,
            case=await asyncio.to_thread(self._artifacts.put_document, case),
            correlation_id=current_correlation_id(),
            deliver_to=tuple(request.deliver_to),
            arrived_ms=arrived_ms,
        )
        attributes = {
            "request_sha256": fingerprint,
            "study": request.study,
            "model": request.model,
            "model_sha256": model_sha256,
        }
        if tenant or owner:
            attributes["tenant"] = tenant or owner
        place = SetEnqueueOptions(priority=_PLACE_IN_QUEUE.get(request.priority, _ROUTINE_PLACE))
        with SetWorkflowID(assessment_id), SetWorkflowAttributes(attributes), place:
            await DBOS.enqueue_workflow_async(QUEUE, assess, run.to_json())
        created = await self._run(assessment_id)
        if created is None:
            raise _not_found()
        await self.lists.note_created(created, subject)
        return assessment_of(created)

    async def require_own(self, name: str, tenant: str | None) -> None:
        """Let a caller know only of its own tenant's assessments; any other is as if there were none.

        Args:
            name: ``assessments/{assessment}``.
            tenant: Who asks; ``None`` for the installation itself.

        Raises:
            AssessmentNotFound: There is none for this tenant.
        """
        if tenant is not None and await self.lists.tenant_of(name.removeprefix(PREFIX)) != tenant:
            raise _not_found()

    async def get(self, name: str) -> assessment_pb2.Assessment:
        """Look one up by resource name.

        Raises:
            AssessmentNotFound: There is none.
        """
        identifier = name.removeprefix(PREFIX)
        found = await self._described([identifier])
        if identifier not in found:
            raise _not_found()
        return found[identifier]

    async def cancel(self, name: str) -> assessment_pb2.Assessment:
        """Stop one; the call its stage is in is cancelled too. A finished one stays as it is."""
        run = await self._run(name.removeprefix(PREFIX))
        if run is not None and run.is_unfinished:
            await DBOS.cancel_workflow_async(run.assessment)
        return await self.get(name)

    async def _run(self, identifier: str) -> RunState | None:
        return (await asyncio.to_thread(self._states.of, [identifier])).get(identifier)

    async def _described(self, identifiers: Collection[str]) -> dict[str, assessment_pb2.Assessment]:
        """The messages of those that there are: of their runs, or what is kept of expired ones."""
        runs = await asyncio.to_thread(self._states.of, identifiers)
        found = {each: assessment_of(run) for each, run in runs.items()}
        if expired := set(identifiers) - set(found):
            kept = await asyncio.to_thread(self._results.of, expired)
            found |= {each: assessment_of_kept(item) for each, item in kept.items()}
        return found


def _stop_engine() -> None:
    DBOS.destroy(workflow_completion_timeout_sec=0)
    # DBOS had made its own thread pool the loop's default and has just shut it down.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="after-dbos"))


def _not_found() -> AssessmentNotFound:
    return AssessmentNotFound("There is no assessment of this name. ListAssessments gives the names.")


def _identity(request: assessment_pb2.CreateAssessmentRequest, tenant: str) -> tuple[str, str]:
    """Id of the assessment that a request makes, and digest of everything it asks for."""
    digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
    return str(uuid.uuid5(_NAMESPACE, f"{tenant} {request.request_id}" if tenant else request.request_id)), digest


def hand_over(executor_id: str, database_url: str) -> tuple[int, int]:
    """Let the workers that still run take the unfinished assessments of one that is lost, at once.

    Returns:
        How many were handed over, those that begin anew because another version had begun them included, and how many
        were ended because their results had been put together by it.

    Raises:
        ConfigurationError: The workers are of another version than this code.
        PeerUnavailable: The database does not answer.
    """
    # DBOS would print the driver's own words beside our sentence.
    logging.getLogger("dbos").setLevel(logging.CRITICAL)
    refuse_pickles()
    with _database_errors():
        client = DBOSClient(system_database_url=database_url, serializer=StoredJson())
        try:
            versions = client.list_application_versions()
        finally:
            client.destroy()
        if versions and versions[0]["version_name"] != workflow_version():
            raise ConfigurationError(
                f"The workers run version {versions[0]['version_name']}, and this command is of "
                f"{workflow_version()}. Use the command of their release, or start a worker of this one first."
            )
        settled = _settle(database_url, executor_id)
        taken = hand_over_worker(database_url, executor_id, workflow_version())
        return settled.anew + taken.assessments, settled.ended


def _settle(database_url: str, executor_id: str) -> Settled:
    engine = database_engine(database_url)
    try:
        return settle_earlier_versions(engine, executor_id, workflow_version())
    finally:
        engine.dispose()


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if (known := known_database_error(error)) is None:
            raise
        # The driver's own words hold the address and the user's name.
        raise known from None
