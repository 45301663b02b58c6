"""Two people, under their own names: who may do what to a version, and what an anonymous caller may not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from oncoresponse.access.call import Call, answering
from oncoresponse.access.caller import ANONYMOUS, Caller, Identification
from oncoresponse.access.roles import USER_ROLES
from oncoresponse.errors import ModelStateInvalid, PersonNeeded, SecondPersonNeeded
from oncoresponse.model.folder import ModelFolder, seal_model_folder
from oncoresponse.model.versions import install_version
from oncoresponse.servers.model_control_servicer import ModelControlServicer
from oncoresponse.servers.model_servicer import ModelServicer
from oncoresponse.storage.model_control_store import ModelControlStore
from oncoresponse.storage.report_store import ReportStore
from oncoresponse.v1 import model_control_pb2 as control_pb2
from oncoresponse.v1 import model_pb2

NAME = "breast-early-response"
MODEL = f"models/{NAME}"
SHIPPED = Path(__file__).parents[3] / "models" / NAME


def by(name: str) -> Call:
    caller = ANONYMOUS if name == "anonymous" else Caller(name, USER_ROLES, Identification.LOCAL_TOKEN)
    return Call(caller, "test", "correlation")


async def test_two_people_bring_a_version_into_use_and_one_goes_back_in_an_emergency(tmp_path):
    models, newer = tmp_path / "models", tmp_path / "new" / NAME
    shutil.copytree(SHIPPED, models / NAME)
    shutil.copytree(SHIPPED, newer)
    with (newer / "model.yaml").open("a") as stream:
        stream.write("\n# another version\n")
    seal_model_folder(newer)
    url, shown = f"sqlite:///{tmp_path / 'd.sqlite'}", {}
    store, reports = ModelControlStore(url), ReportStore(url)

    async def show(name: str, serves: bool) -> None:
        shown[name] = serves

    servicer = ModelControlServicer(store, reports, models, installed_is_active=False, set_health=show)
    described = ModelServicer(models, store, installed_is_active=False)
    await servicer.make_ready()

    async def propose(state: str, sha256: str = "") -> control_pb2.ModelChange:
        request = control_pb2.ProposeStateRequest(
            model=MODEL, sha256=sha256, state=f"MODEL_STATE_{state}", reason="read on 40 cases"
        )
        return (await servicer.ProposeState(request, None)).change

    async def approve(number: int) -> control_pb2.ModelChange:
        request = control_pb2.ApproveStateRequest(number=number, reason="read too")
        return (await servicer.ApproveState(request, None)).change

    async def model() -> model_pb2.Model:
        return (await described.GetModel(model_pb2.GetModelRequest(name=MODEL), None)).model

    async def in_use() -> None:
        with answering(by("ann")):
            await propose("VALIDATED")
            number = (await propose("ACTIVE")).number
            with pytest.raises(SecondPersonNeeded):
                await approve(number)
        with answering(by("bob")):
            assert (await approve(number)).proposed_by == "ann"

    with answering(by("anonymous")), pytest.raises(PersonNeeded):
        await propose("VALIDATED")
    with answering(by("ann")), pytest.raises(ModelStateInvalid):
        await propose("ACTIVE")
    assert (await model()).state == model_pb2.MODEL_STATE_DRAFT
    await in_use()
    first = ModelFolder.open(models / NAME).sha256
    assert ((await model()).state, (await model()).sha256) == (model_pb2.MODEL_STATE_ACTIVE, first)

    second = install_version(models, newer).sha256
    # Installed is not active: what is in use stays in use, from the folder that was kept.
    found = await model()
    assert (found.sha256, found.installed_sha256) == (first, second)
    await in_use()
    assert ((await model()).sha256, (await model()).installed_sha256) == (second, "")

    with answering(by("ann")):
        back = (
            await servicer.RollbackModel(
                control_pb2.RollbackModelRequest(model=MODEL, reason="wrong answers", emergency=True), None
            )
        ).change
        assert (back.sha256, back.unconfirmed) == (first, True)
        assert (await model()).sha256 == first
        with pytest.raises(SecondPersonNeeded):
            await approve(back.number)
    with answering(by("bob")):
        await approve(back.number)
        held = await servicer.GetModelControl(control_pb2.GetModelControlRequest(model=MODEL), None)
    assert list(held.waiting) == []
    assert {item.sha256: item.state for item in held.versions} == {
        first: model_pb2.MODEL_STATE_ACTIVE,
        second: model_pb2.MODEL_STATE_RETIRED,
    }
    with answering(by("anonymous")):
        await servicer.StopRelease(control_pb2.StopReleaseRequest(model="models/-", reason="all wrong"), None)
        assert shown == {f"model:{NAME}": False}
        assert (await model()).release_stopped
        with pytest.raises(PersonNeeded):
            await servicer.ResumeRelease(control_pb2.ResumeReleaseRequest(model="models/-", reason="fine"), None)
    await servicer.close()
