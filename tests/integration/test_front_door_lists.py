"""The front door over a real connection, with the real workflow engine: early refusal, and lists by what studies and
assessments are of. No stage behind conversion runs here, so that an assessment that is accepted ends with an error."""

from __future__ import annotations

import logging
import shutil
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from oncoresponse.model.folder import seal_model_folder
from oncoresponse.rpc.interceptors import RulesAndErrors
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import ServerSettings, Service
from oncoresponse.rpc.status import from_rpc_error
from oncoresponse.servers.services import SERVICES, Surroundings
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, study_pb2, study_pb2_grpc
from oncoresponse.workflow.assessment_workflow import provide_surroundings
from oncoresponse.workflow.recording_workflow import provide_recording_peers

ROOT = Path(__file__).parents[2]
OFFERED = (Service.STUDY, Service.MODEL, Service.ASSESSMENT)


async def _no_health(_name: str, _serving: bool) -> None:
    """Nobody asks this server for its health."""


@pytest.fixture
async def door(tmp_path):
    models = tmp_path / "models"
    (models / "sts-petct").mkdir(parents=True)
    shutil.copy(ROOT / "models" / "sts-petct" / "model.yaml", models / "sts-petct")
    seal_model_folder(models / "sts-petct")
    data = tmp_path / "data"
    data.mkdir()
    settings = ServerSettings(
        services=OFFERED,
        data_directory=data,
        models_directory=models,
        stage_timeout_seconds=20,
        model_activation="installed",
    )
    async with AsyncExitStack() as stack:
        server = grpc.aio.server(interceptors=(RulesAndErrors(None),))
        stack.push_async_callback(server.stop, None)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        peers = Peers(settings, address)
        stack.push_async_callback(peers.close)
        stack.callback(provide_surroundings, None)
        stack.callback(provide_recording_peers, None)
        around = Surroundings(settings, ArtifactStore((data / "artifacts").as_uri()), peers, server, server, _no_health)
        built = [SERVICES[service](around) for service in OFFERED]
        await server.start()
        for service in built:
            stack.push_async_callback(service.close)
            await service.make_ready()
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        yield SimpleNamespace(
            study=study_pb2_grpc.StudyServiceStub(channel),
            assessment=assessment_pb2_grpc.AssessmentServiceStub(channel),
        )


async def _uploaded(door, upload_messages, files):
    study = (await door.study.CreateStudy(study_pb2.CreateStudyRequest(request_id=str(uuid.uuid4())))).study.name
    await door.study.UploadInstances(upload_messages(study, [file.read_bytes() for file in files]))
    request = study_pb2.CompleteStudyRequest(study=study, instance_count=len(files))
    return (await door.study.CompleteStudy(request)).study


async def _reason(call):
    """Reason code of a call that has to be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value).reason


def _request(study, **asked):
    return assessment_pb2.CreateAssessmentRequest(
        request_id=str(uuid.uuid4()), study=study, model="models/sts-petct", **asked
    )


async def test_what_headers_show_is_refused_at_once_and_all_else_is_found_by_what_it_is_of(
    door, upload_messages, examples, caplog
):
    caplog.set_level(logging.INFO)
    files = sorted((examples / "STS_032").rglob("*.dcm"))
    study = await _uploaded(door, upload_messages, files)
    assert (list(study.modalities), study.series_count, study.study_date) == (["CT", "PT", "RTSTRUCT"], 4, "19991007")
    pet_alone = await _uploaded(door, upload_messages, [file for file in files if file.parent.name == "PET"])

    create = door.assessment.CreateAssessment
    assert await _reason(create(_request(pet_alone.name))) == "REQUIRED_SERIES_MISSING"
    expected = study_pb2.ExpectedPatient(patient_id="SOMEBODY")
    assert await _reason(create(_request(study.name, expected_patient=expected))) == "PATIENT_MISMATCH"
    contour = study_pb2.SuppliedContour(structure_name="GTV_NOT_THERE")
    assert await _reason(create(_request(study.name, contour=contour))) == "CONTOUR_NOT_FOUND"
    assert await _reason(create(_request(study.name))) == "CONTOUR_NOT_FOUND", "the model has no network here"
    lists = door.assessment.ListAssessments
    assert not (await lists(assessment_pb2.ListAssessmentsRequest())).assessments

    contour = study_pb2.SuppliedContour()
    made = [(await create(_request(study.name, contour=contour))).assessment for _ in range(3)]
    for item in made:
        async for answer in door.assessment.WatchAssessment(assessment_pb2.WatchAssessmentRequest(name=item.name)):
            last = answer.assessment
        # Conversion was done from the index; nobody offers the next stage.
        assert last.state == assessment_pb2.ASSESSMENT_STATE_FAILED
    newest_first = [item.name for item in reversed(made)]

    async def found(**asked):
        names, token = [], ""
        while True:
            page = await lists(assessment_pb2.ListAssessmentsRequest(page_size=2, page_token=token, **asked))
            names += [item.name for item in page.assessments]
            token = page.next_page_token
            if not token:
                return names

    failed = assessment_pb2.ASSESSMENT_STATE_FAILED
    assert sorted(await found()) == sorted(newest_first)
    assert await found(patient_id="STS_032", state=failed, model="models/sts-petct", study=study.name) == await found()
    assert await found(patient_id="STS_03") == await found(state=assessment_pb2.ASSESSMENT_STATE_RUNNING) == []
    assert await found(model="models/other") == await found(study=pet_alone.name) == []
    tomorrow = Timestamp(seconds=last.create_time.seconds + 86_400)
    assert await found(create_time_from=tomorrow) == []
    assert (
        await found(create_time_before=tomorrow) == await found(create_time_from=made[0].create_time) == await found()
    )

    async def studies(**asked):
        answer = await door.study.ListStudies(study_pb2.ListStudiesRequest(**asked))
        return {item.name for item in answer.studies}

    assert await studies(patient_id="STS_032") == {study.name, pet_alone.name}
    assert await studies(patient_id="STS_032", modality="CT", study_date_from="19990101") == {study.name}
    assert await studies(patient_id="STS_032", study_date_to="19990101") == set()
    issuer_alone = assessment_pb2.ListAssessmentsRequest(issuer_of_patient_id="X")
    assert await _reason(lists(issuer_alone)) == "INVALID_REQUEST"
    assert "STS_03" not in caplog.text
