"""ModelControlService: who made which version active and why, the switch that stops release, and who got a model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from oncoresponse.access.call import current_call
from oncoresponse.case.sign_off import current_status
from oncoresponse.errors import ModelChangeNotFound, ModelNotFound, ModelStateInvalid, PersonNeeded
from oncoresponse.model.control import ALL_MODELS, Change, ChangeKind, ModelControl, ModelState
from oncoresponse.model.folder import find_model, installed_model_names
from oncoresponse.model.versions import VersionOnDisk, versions_on_disk
from oncoresponse.rpc.page_tokens import offset_from_token, token_from_offset
from oncoresponse.rpc.report_message import STATUS_NUMBERS
from oncoresponse.storage.model_control_store import ModelControlStore, RecalledAssessment
from oncoresponse.storage.report_store import ReportHistory, ReportStore
from oncoresponse.v1 import assessment_pb2, model_control_pb2, model_control_pb2_grpc, model_pb2

HEALTH_PREFIX = "model:"
"""Before a model's name in gRPC's health protocol: NOT_SERVING while its release is stopped."""

_REFRESH_SECONDS = 2.0
_log = logging.getLogger(__name__)

SetHealth = Callable[[str, bool], Awaitable[None]]
"""Name in the health protocol, and whether it serves."""


class ModelControlServicer(model_control_pb2_grpc.ModelControlServiceServicer):
    """See ``protos/oncoresponse/v1/model_control.proto``.

    Args:
        store: The record.
        reports: Sign-off, for recalls.
        models_directory: Installed models, and the versions kept beside them.
        installed_is_active: An installed folder counts as active; nobody has to be named then.
        set_health: Where it is shown that release of a model is stopped.
    """

    def __init__(
        self,
        store: ModelControlStore,
        reports: ReportStore,
        models_directory: Path,
        *,
        installed_is_active: bool,
        set_health: SetHealth,
    ) -> None:
        self._store = store
        self._reports = reports
        self._models_directory = models_directory
        self._installed_is_active = installed_is_active
        self._set_health = set_health
        self._refreshing: asyncio.Task[None] | None = None

    async def make_ready(self) -> None:
        """Make the tables, and show what is stopped; another process may stop it too, so that is looked up often."""

        def prepare() -> None:
            found = {}
            for name in installed_model_names(self._models_directory):
                for version in self._versions(name):
                    if version.installed:
                        found[name] = (version.version, version.sha256)
            self._store.prepare(found)
            self._reports.prepare()

        await asyncio.to_thread(prepare)
        await self._show_health()
        self._refreshing = asyncio.create_task(self._keep_showing_health())

    async def close(self) -> None:
        """Close the database."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        await asyncio.to_thread(self._store.close)
        await asyncio.to_thread(self._reports.close)

    async def ProposeState(
        self, request: model_control_pb2.ProposeStateRequest, context: grpc.aio.ServicerContext
    ) -> model_control_pb2.ProposeStateResponse:
        """Propose a state; one that a single person may set holds at once."""
        name, caller = request.model.removeprefix("models/"), self._person()
        find_model(self._models_directory, name)
        versions = await asyncio.to_thread(self._versions, name)
        version = _chosen(name, versions, request.sha256)
        state = _STATES[request.state]

        def decide(control: ModelControl) -> Sequence[Change]:
            control.require_transition(version.sha256, state)
            kind = ChangeKind.PROPOSED if state is ModelState.ACTIVE else ChangeKind.STATE
            return [
                Change(0, 0, kind, name, request.reason, caller, version.version, version.sha256, state),
            ]

        return model_control_pb2.ProposeStateResponse(change=await self._decided(name, decide))

    async def ApproveState(
        self, request: model_control_pb2.ApproveStateRequest, context: grpc.aio.ServicerContext
    ) -> model_control_pb2.ApproveStateResponse:
        """Approve what somebody else proposed, or did in an emergency."""
        caller = self._person()
        name = await asyncio.to_thread(self._store.model_of_change, request.number)
        if name is None:
            raise ModelChangeNotFound("There is no change of this number. 'oncoresponse models states' names them.")

        def decide(control: ModelControl) -> Sequence[Change]:
            proposal = control.require_approvable(request.number, caller)
            approved = Change(
                *(0, 0, ChangeKind.CONFIRMED, name, request.reason, caller, proposal.version, proposal.sha256),
                *(proposal.state, proposal.number, proposal.caller),
            )
            if proposal.emergency or proposal.state is None:
                return [approved]
            control.require_transition(proposal.sha256, proposal.state)
            return _in_use(control, approved)

        return model_control_pb2.ApproveStateResponse(change=await self._decided(name, decide))

    async def GetModelControl(
        self, request: model_control_pb2.GetModelControlRequest, context: grpc.aio.ServicerContext
    ) -> model_control_pb2.GetModelControlResponse:
        """Tell what holds for a model."""
        name = request.model.removeprefix("models/")
        current_call().concerns(request.model)
        control = await asyncio.to_thread(self._store.control, name)
        versions = await asyncio.to_thread(self._versions, name)
        if not versions and not control.states:
            raise ModelNotFound(f"No model called '{name}' is known. 'oncoresponse models list' names them.")
        known = {version.sha256: version for version in versions}
        active = control.active
        if self._installed_is_active:
            active = next((version.sha256 for version in versions if version.installed), "")
        return model_control_pb2.GetModelControlResponse(
            versions=[
                model_control_pb2.ModelVersion(
                    version=known[sha256].version if sha256 in known else control.versions.get(sha256, ""),
                    sha256=sha256,
                    state=state_number(ModelState.ACTIVE if sha256 == active else control.state_of(sha256)),
                    available=sha256 in known,
                    installed=sha256 in known and known[sha256].installed,
                )
                for sha256 in dict.fromkeys((*known, *control.states))
            ],
            active_sha256=active,
            release_stopped=control.stop is not None,
            stop_reason="" if control.stop is None else control.stop.reason,
            installed_is_active=self._installed_is_active,
            waiting=[change_message(item, control) for item in control.waiting],
        )

    async def ListModelChanges(
        self, request: model_control_pb2.ListModelChangesRequest, context: grpc.aio.ServicerContext
    ) -> model_control_pb2.ListModelChangesResponse:
        """The record, newest first."""
        size, before = request.page_size or 50, offset_from_token(request.page_token)
        name = request.model.removeprefix("models/")
        found = await asyncio.to_thread(self._store.changes, name, before=before, limit=size)
        controls = await asyncio.to_thread(self._store.controls, sorted({item.model for item in found}))
        following = found[-1].number if len(found) == size and found[-1].number > 1 else None
        return model_control_pb2.ListModelChangesResponse(
            changes=[change_message(item, controls[item.model]) for item in found],
            next_page_token=token_from_offset(following),
        )

    async def StopRelease(
        self, request: model_control_pb2.StopReleaseRequest, context: grpc.aio.ServicerContext
    ) -> model_control_pb2.StopReleaseResponse:
        """Stop. It has to be easy: anybody who may, also one whose name is not known."""
        name = self._switched(request.model)
        change = Change(0, 0, ChangeKind.STOPPED, name, request.reason, current_call().caller.name)
        changed = await self._decided(name, lambda _: [change])
        _log.warning("release of models/%s is stopped", name)
        return model_control_pb2.StopReleaseResponse(change=changed)

    async def ResumeRelease(
        self, request: model_control_pb2.ResumeReleaseRequest, context: grpc.aio.ServicerContext
    ) -> model_control_pb2.ResumeReleaseResponse:
        """End the stop."""
        name = self._switched(request.model)
        caller = current_call().caller.name if self._installed_is_active else self._person()

        change = Change(0, 0, ChangeKind.RESUMED, name, request.reason, caller)
        changed = await self._decided(name, lambda _: [change])
        _log.warning("release of models/%s goes on", name)
        return model_control_pb2.ResumeReleaseResponse(change=changed)

    async def RollbackModel(
        self, request: model_control_pb2.RollbackModelRequest, context: grpc.aio.ServicerContext
    ) -> model_control_pb2.RollbackModelResponse:
        """Back to the version that was active before, if its files are there."""
        name, caller = request.model.removeprefix("models/"), self._person()
        if self._installed_is_active:
            raise ModelStateInvalid(
                "Installed models count as active here (setting model_activation), so the folder decides: "
                f"'oncoresponse models rollback {name}' beside the server puts the earlier one back."
            )
        there = {version.sha256: version for version in await asyncio.to_thread(self._versions, name)}

        def decide(control: ModelControl) -> Sequence[Change]:
            earlier = next((sha256 for sha256 in control.earlier if sha256 in there), None)
            if earlier is None:
                raise ModelStateInvalid(
                    f"No version of model '{name}' that was active before is kept on the server. Install it again, "
                    "then propose it."
                )
            kind = ChangeKind.STATE if request.emergency else ChangeKind.PROPOSED
            change = Change(
                *(0, 0, kind, name, request.reason, caller, there[earlier].version, earlier, ModelState.ACTIVE),
                emergency=request.emergency,
            )
            return _in_use(control, change) if request.emergency else [change]

        changed = await self._decided(name, decide)
        if request.emergency:
            _log.warning("models/%s was rolled back by one person; a second one has to approve it", name)
        return model_control_pb2.RollbackModelResponse(change=changed)

    async def RecallModel(
        self, request: model_control_pb2.RecallModelRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[model_control_pb2.RecallModelResponse]:
        """Send every assessment of a model between two dates."""
        name = request.model.removeprefix("models/")
        call = current_call()
        call.concerns(request.model)
        pages = self._store.recall(
            name, request.sha256, request.create_time_from.ToMilliseconds(), request.create_time_before.ToMilliseconds()
        )
        # All of it before the first is sent: the audit record then names everybody whose data go out.
        found = [item for page in await asyncio.to_thread(list, pages) for item in page]
        for item in found:
            call.concerns(f"assessments/{item.assessment}", patients=item.patients)
        histories = await asyncio.to_thread(self._reports.histories, [item.assessment for item in found])
        for item in found:
            yield _recalled(item, histories[item.assessment])

    async def _decided(
        self, name: str, decide: Callable[[ModelControl], Sequence[Change]]
    ) -> model_control_pb2.ModelChange:
        current_call().concerns(f"models/{name}")
        changes = await asyncio.to_thread(self._store.decide, name, decide)
        await self._show_health()
        control = await asyncio.to_thread(self._store.control, name)
        return change_message(changes[-1], control)

    def _person(self) -> str:
        caller = current_call().caller
        if not caller.is_person_or_system:
            raise PersonNeeded(
                "A change of models has the name of a person. Call with a token or a certificate of your own; an "
                "anonymous caller is nobody."
            )
        return caller.name

    def _switched(self, resource: str) -> str:
        name = resource.removeprefix("models/")
        if name != ALL_MODELS:
            find_model(self._models_directory, name)
        return name

    def _versions(self, name: str) -> list[VersionOnDisk]:
        return versions_on_disk(self._models_directory, name)

    async def _show_health(self) -> None:
        names = installed_model_names(self._models_directory)
        controls = await asyncio.to_thread(self._store.controls, names)
        for name, control in controls.items():
            await self._set_health(HEALTH_PREFIX + name, control.stop is None)

    async def _keep_showing_health(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                await self._show_health()
            except Exception:
                _log.warning("whether release of a model is stopped could not be looked up")


_NUMBERS = {
    ModelState.DRAFT: model_pb2.MODEL_STATE_DRAFT,
    ModelState.VALIDATED: model_pb2.MODEL_STATE_VALIDATED,
    ModelState.ACTIVE: model_pb2.MODEL_STATE_ACTIVE,
    ModelState.RETIRED: model_pb2.MODEL_STATE_RETIRED,
}
_STATES = {number: state for state, number in _NUMBERS.items()}


def state_number(state: ModelState | None) -> model_pb2.ModelState:
    """The value of the proto."""
    return model_pb2.MODEL_STATE_UNSPECIFIED if state is None else _NUMBERS[state]


def change_message(change: Change, control: ModelControl) -> model_control_pb2.ModelChange:
    """A change, for the front door."""
    return model_control_pb2.ModelChange(
        number=change.number,
        time=Timestamp(seconds=change.time_ms // 1000, nanos=change.time_ms % 1000 * 1_000_000),
        kind=f"KIND_{change.kind.name}",
        model=f"models/{change.model}",
        version=change.version,
        sha256=change.sha256,
        state=state_number(change.state),
        reason=change.reason,
        caller=change.caller,
        proposal=change.proposal,
        proposed_by=change.proposed_by,
        emergency=change.emergency,
        unconfirmed=change.emergency and any(item.number == change.number for item in control.waiting),
    )


def _in_use(control: ModelControl, change: Change) -> list[Change]:
    """The changes that bring a version into use: the one that was is retired first."""
    change = Change(**{**vars(change), "kind": ChangeKind.STATE})
    changes = [change]
    if change.state is ModelState.ACTIVE and control.active and control.active != change.sha256:
        retired = Change(
            *(0, 0, ChangeKind.STATE, change.model, f"Replaced: {change.reason}", change.caller),
            *(control.versions.get(control.active, ""), control.active, ModelState.RETIRED),
        )
        changes.insert(0, retired)
    return changes


def _chosen(name: str, versions: Sequence[VersionOnDisk], sha256: str) -> VersionOnDisk:
    for version in versions:
        if version.sha256 == sha256 or (not sha256 and version.installed):
            return version
    raise ModelNotFound(f"This version of model '{name}' is not on the server. Install it first.")


def _recalled(item: RecalledAssessment, history: ReportHistory) -> model_control_pb2.RecallModelResponse:
    message = model_control_pb2.RecallModelResponse(
        assessment=f"assessments/{item.assessment}",
        study=item.study,
        model_sha256=item.sha256,
        study_date=item.study_date,
        patients=[
            model_control_pb2.RecalledPatient(
                patient_id=patient.patient_id, issuer_of_patient_id=patient.issuer_of_patient_id
            )
            for patient in item.patients
        ],
    )
    message.state = item.state  # type: ignore[assignment]
    message.create_time.FromMilliseconds(item.create_time_ms)
    if history.sign_offs and not item.state:
        # How it ended is noted when somebody looks; nobody signs what did not succeed.
        message.state = assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    if history.sign_offs or item.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED:
        message.report_status = STATUS_NUMBERS[current_status(history.sign_offs)]
    return message
