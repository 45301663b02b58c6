"""Data folders of earlier releases open under this one; the workflow engine and its SQLite database are real."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import pickle
import sqlite3
import uuid

import pytest
import sqlalchemy
from dbos import DBOS
from google.rpc import error_details_pb2
from oncoresponse.case.case import Case, LesionRequest
from oncoresponse.case.prediction import Prediction
from oncoresponse.errors import ConfigurationError
from oncoresponse.model.plan import STAGES
from oncoresponse.monitoring.store import MonitoringStore
from oncoresponse.rpc.artifact_messages import stored_artifact
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.chart_store import AssessmentFilter
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.study_filter import StudyFilter
from oncoresponse.storage.study_store import StudyQuota, StudyStore
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.assessment_records import hand_over, is_finished
from oncoresponse.workflow.assessment_workflow import provide_surroundings
from oncoresponse.workflow.code_version import workflow_version
from oncoresponse.workflow.earlier_requests import is_of_earlier_release, run_of_earlier_release
from oncoresponse.workflow.earlier_versions import Settled, settle_earlier_versions

pytestmark = pytest.mark.slow
FINISHED = "assessments/8da719fb-efd2-5a04-9cca-e669e4b08a66"
BEGUN = ("assessments/13d40ad2-4b8b-5175-b443-9a9fad951121", "assessments/d136f19c-cb96-536a-b27d-cb8097a59430")
WAITING = "assessments/9b8db84b-93c8-5192-a5e6-ae5d00e99d57"
VALUE_COLUMNS = {"inputs", "output", "error", "value", "message"}


def reason(assessment):
    info = assessment.error.details[0]
    found = error_details_pb2.ErrorInfo()
    assert info.Unpack(found)
    return found.reason


async def finished(records, name):
    while not is_finished(found := await records.get(name)):
        await asyncio.sleep(0.02)
    return found


async def created(records, data_folder):
    request = assessment_pb2.CreateAssessmentRequest(
        request_id=str(uuid.uuid4()), study="studies/gone", model="models/sts-petct"
    )
    manifest = ArtifactStore((data_folder / "artifacts").as_uri()).put_bytes(b"{}", "application/json")
    return await records.create(request, manifest, "0" * 64, tuple(STAGES))


def change(data_folder, statement, *values):
    with sqlite3.connect(data_folder / "oncoresponse.sqlite") as connection:
        done = connection.execute(statement, values)
        assert done.rowcount > 0
    connection.close()


def test_studies_and_artifacts_of_0_1_0_are_there(old_data_folder):
    artifacts = ArtifactStore((old_data_folder / "artifacts").as_uri())
    store = StudyStore(old_data_folder, artifacts, StudyQuota())
    # No study has an index, and none gets one, because the files of the studies are not in this folder.
    store.index_older_studies(lambda _: pytest.fail("a file was there"))
    studies = store.list_page(10).studies
    assert [(study.complete, study.instance_count, study.index) for study in studies] == [(True, 96, None)] * 4
    assert store.list_page(10, wanted=StudyFilter(patient_id="STS_019")).studies == ()
    cases = MonitoringStore(f"sqlite:///{old_data_folder / 'oncoresponse.sqlite'}")
    cases.prepare()
    assert [case.prediction.assessment for case in cases.cases("sts-petct")] == [FINISHED]
    cases.close()


async def test_finished_assessment_of_0_1_0_keeps_its_result_and_artifacts(old_data_folder, launched):
    artifacts = ArtifactStore((old_data_folder / "artifacts").as_uri())
    async with launched(old_data_folder) as records:
        page = await records.lists.page(AssessmentFilter(model="models/sts-petct"), 0, 10, "")
        assert {each.name for each in page.assessments} == {FINISHED, *BEGUN, WAITING}
        found = await records.get(FINISHED)
    assert found.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    assert 0 < found.result.prediction.probability < 1
    report = stored_artifact(found.result.artifacts["report.pdf"])
    assert artifacts.read_bytes(report).startswith(b"%PDF-")
    measured = json.loads(artifacts.read_bytes(stored_artifact(found.result.artifacts["prediction.json"])))
    assert measured["model_name"] == "sts-petct"


async def test_begun_assessments_of_an_earlier_version_begin_anew(old_data_folder, launched):
    """The conversion of the test has no model, and says so: the first stage was asked."""
    async with launched(old_data_folder) as records:
        for name in BEGUN:
            found = await finished(records, name)
            assert (reason(found), found.stage) == ("MODEL_NOT_FOUND", assessment_pb2.ASSESSMENT_STAGE_CONVERSION)


async def test_what_had_been_put_together_by_another_version_ends_with_a_reason(old_data_folder, launched):
    """Some of it may have gone out."""
    run = BEGUN[0].removeprefix("assessments/")
    change(old_data_folder, "UPDATE operation_outputs SET function_name = 'collect' WHERE workflow_uuid = ?", run)
    async with launched(old_data_folder) as records:
        found = await records.get(BEGUN[0])
        assert found.state == assessment_pb2.ASSESSMENT_STATE_FAILED
        assert reason(found) == "ENDED_BY_UPGRADE"
        assert "Create the assessment again" in found.message
        assert found.HasField("end_time")


async def test_waiting_assessment_of_another_version_is_done_by_this_one(old_data_folder, launched):
    """The conversion of the test has no model, and says so: the first stage was asked."""
    async with launched(old_data_folder) as records:
        found = await finished(records, WAITING)
    assert reason(found) == "MODEL_NOT_FOUND"
    assert found.stage == assessment_pb2.ASSESSMENT_STAGE_CONVERSION


async def test_data_folder_of_0_2_0_opens(data_folder_0_2_0, launched):
    """Studies, the finished assessment with its artifacts, the begun ones, and the one that waited."""
    artifacts = ArtifactStore((data_folder_0_2_0 / "artifacts").as_uri())
    studies = StudyStore(data_folder_0_2_0, artifacts, StudyQuota()).list_page(10).studies
    assert [(study.complete, study.instance_count) for study in studies] == [(True, 96)] * 4
    async with launched(data_folder_0_2_0) as records:
        done = await records.get("assessments/81da2022-2273-50af-9290-14158aa8fdbd")
        begun = [
            await finished(records, f"assessments/{name}")
            for name in ("f800ad8e-8c2d-5c3b-b67b-be7bee0220ad", "897a2fdc-ddd3-5ec1-9e67-02cd412a825e")
        ]
        waited = await finished(records, "assessments/c02720b5-babe-55dc-ab9f-83088daabaad")
    assert done.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    document = artifacts.read_document(stored_artifact(done.result.artifacts["prediction.json"]), Prediction)
    assert document.model_sha256 == done.model_sha256
    assert artifacts.read_bytes(stored_artifact(done.result.artifacts["report.pdf"])).startswith(b"%PDF-")
    assert [reason(each) for each in begun] == ["MODEL_NOT_FOUND"] * 2
    # The conversion of the test has no model, and says so: the first stage was asked.
    assert (reason(waited), waited.stage) == ("MODEL_NOT_FOUND", assessment_pb2.ASSESSMENT_STAGE_CONVERSION)


@pytest.mark.parametrize("pinned", [{}, {"model_sha256": "1" * 64}], ids=["0.1.0", "0.2.0"])
def test_request_that_an_earlier_release_stored_becomes_a_run_of_this_one(tmp_path, pinned):
    artifacts = ArtifactStore(tmp_path.as_uri())
    manifest = artifacts.put_bytes(b"{}", "application/json")
    stored = {
        "create": {
            "request_id": "9d6bd2fc-7a3c-4d4f-9d93-4dc0a1f2f3a4",
            "study": "studies/s-1",
            "model": "models/sts-petct",
            "lesion": {"point": {"x_mm": 1.0, "y_mm": 2.0, "z_mm": 3.0}},
            "covariates": [{"name": "age", "value": 61.0}],
            "patient_reference": "Patient/1",
        },
        "assessment_id": "a-1",
        "create_time": "2026-01-02T03:04:05Z",
        "study_manifest": {"uri": manifest.uri, "sha256": manifest.sha256, "size_bytes": "2", "media_type": "a/b"},
        **pinned,
    }
    assert is_of_earlier_release(stored)
    run = run_of_earlier_release(stored, artifacts)
    assert (run.assessment_id, run.model, run.model_sha256) == (
        "a-1",
        "models/sts-petct",
        pinned.get("model_sha256", ""),
    )
    assert run.stages == ("conversion", "segmentation", "features", "prediction", "report")
    assert not is_of_earlier_release(run.to_json())
    case = artifacts.read_document(run.case, Case)
    assert case.study_manifest.sha256 == manifest.sha256
    assert case.order.lesions == (LesionRequest(point=(1.0, 2.0, 3.0)),)
    assert (case.order.covariates, case.order.patient_reference) == ({"age": 61.0}, "Patient/1")
    assert case.order.issued == datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


async def test_no_pickle_is_left_in_the_database_nor_written_to_it(
    old_data_folder, launched, stored_values, pickles_in
):
    path = old_data_folder / "oncoresponse.sqlite"
    assert len(pickles_in(path)) > 30
    async with launched(old_data_folder) as records:
        await finished(records, WAITING)
        await finished(records, (await created(records, old_data_folder)).name)
    after = stored_values(path)
    assert pickles_in(path) == []
    written = [value for _, column, value in after if column in VALUE_COLUMNS and value is not None]
    assert len(written) > 30
    for value in written:
        json.loads(value)
    assert {value for _, column, value in after if column == "serialization"} == {"oncoresponse_json", None}


class Canary:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.path),)


@pytest.fixture
def planted(old_data_folder, tmp_path):
    """Plants a pickle; at the end, that it had run is shown by running it."""
    trap = tmp_path / "sprung"
    text = base64.b64encode(pickle.dumps(Canary(trap))).decode()

    def plant(table, column, run):
        statement = f"UPDATE {table} SET {column} = ? WHERE workflow_uuid = ?"  # noqa: S608
        change(old_data_folder, statement, text, run.removeprefix("assessments/"))

    yield plant
    assert not trap.exists()
    pickle.loads(base64.b64decode(text))  # noqa: S301
    assert trap.exists()


async def test_planted_pickles_beside_a_result_do_not_run_and_the_result_stays(old_data_folder, launched, planted):
    planted("workflow_output", "error", FINISHED)
    planted("workflow_input", "inputs", FINISHED)
    planted("operation_outputs", "output", FINISHED)
    planted("workflow_events", "value", FINISHED)
    planted("workflow_events_history", "value", FINISHED)
    async with launched(old_data_folder) as records:
        assert (await records.get(FINISHED)).state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
        await finished(records, WAITING)


async def test_planted_pickles_instead_of_values_do_not_run_and_the_assessments_end(old_data_folder, launched, planted):
    planted("workflow_output", "output", FINISHED)
    planted("workflow_input", "inputs", WAITING)
    planted("operation_outputs", "output", BEGUN[0])
    async with launched(old_data_folder) as records:
        for name in (FINISHED, WAITING, BEGUN[0]):
            assert reason(await finished(records, name)) == "RECORD_UNREADABLE"


async def test_pickle_planted_while_the_service_runs_does_not_run(old_data_folder, launched, planted):
    async with launched(old_data_folder) as records:
        await finished(records, WAITING)
        planted("workflow_output", "output", FINISHED)
        mark = "UPDATE workflow_status SET serialization = 'py_pickle' WHERE workflow_uuid = ?"
        change(old_data_folder, mark, FINISHED.removeprefix("assessments/"))
        assert reason(await records.get(FINISHED)) == "RECORD_UNREADABLE"


async def test_error_of_a_step_is_stored_as_json_without_its_text(tmp_path, launched, stored_values):
    """Without surroundings a step fails as it would by a defect."""
    folder = tmp_path / "data"
    async with launched(folder) as records:
        provide_surroundings(None)
        found = await finished(records, (await created(records, folder)).name)
    assert reason(found) == "INTERNAL"
    errors = [value for _, column, value in stored_values(folder / "oncoresponse.sqlite") if column == "error"]
    known = [json.loads(value)["$error"]["reason"] for value in errors if value is not None]
    assert known == ["INTERNAL"] * 2
    assert "provide_surroundings" not in str(errors)


async def test_workflow_runs_under_the_version_of_its_code(tmp_path, launched, stored_values):
    folder = tmp_path / "data"
    async with launched(folder) as records:
        await created(records, folder)
    versions = {
        value for _, column, value in stored_values(folder / "oncoresponse.sqlite") if column == "application_version"
    }
    assert versions == {workflow_version()}


async def test_begun_runs_of_another_worker_wait_for_it_or_for_recover(old_data_folder, launched):
    """It may still run: its row says so. Once it is declared lost, they begin anew."""
    url = f"sqlite:///{old_data_folder / 'oncoresponse.sqlite'}"
    async with launched(old_data_folder, executor_id="worker-2") as records:
        assert (await records.get(BEGUN[0])).state == assessment_pb2.ASSESSMENT_STATE_RUNNING
        await finished(records, WAITING)
    assert hand_over("worker-1", url) == (2, 0)
    async with launched(old_data_folder, executor_id="worker-2") as records:
        assert [reason(await finished(records, name)) for name in BEGUN] == ["MODEL_NOT_FOUND"] * 2


def test_recover_of_another_release_than_the_workers_is_refused(old_data_folder):
    with pytest.raises(ConfigurationError, match=r"workers run version 0\.1\.0"):
        hand_over("worker-1", f"sqlite:///{old_data_folder / 'oncoresponse.sqlite'}")


async def test_unrecorded_prediction_of_another_version_begins_anew(old_data_folder, launched):
    """There is no monitoring service here, which is an answer for good."""
    run_id = FINISHED.removeprefix("assessments/") + "-record"
    change(old_data_folder, "UPDATE workflow_status SET status = 'PENDING' WHERE workflow_uuid = ?", run_id)
    change(old_data_folder, "DELETE FROM workflow_output WHERE workflow_uuid = ?", run_id)
    async with launched(old_data_folder):
        handle = await DBOS.retrieve_workflow_async(run_id)
        assert await handle.get_result() == "CONFIGURATION_INVALID"
        assert (await handle.get_status()).app_version == workflow_version()


async def test_pickles_and_begun_runs_in_postgresql_are_put_in_order(tmp_path, launched, postgresql):
    """No data folder of 0.1.0 holds a PostgreSQL database, so what this release wrote is written as that one would."""
    postgresql.psql("create database upgrade;")
    url = postgresql.get_uri(database="upgrade")
    folder = tmp_path / "data"
    async with launched(folder, database_url=url) as records:
        done, begun = [(await created(records, folder)).name for _ in range(2)]
        results = [await finished(records, name) for name in (done, begun)]
    begun_id = begun.removeprefix("assessments/")
    engine = database_engine(url)
    pickled = 0
    with engine.begin() as connection:
        for table, column in (
            ("workflow_output", "output"),
            ("workflow_input", "inputs"),
            ("operation_outputs", "output"),
        ):
            found = sqlalchemy.Table(table, sqlalchemy.MetaData(), schema="dbos", autoload_with=connection)
            for row in connection.execute(sqlalchemy.select(found)).mappings().all():
                if row[column] is not None:
                    text = base64.b64encode(pickle.dumps(json.loads(row[column]))).decode()
                    this = [each == row[each.name] for each in found.primary_key]
                    connection.execute(found.update().where(*this).values({column: text}))
                    pickled += 1
        for table in ("workflow_status", "operation_outputs"):
            connection.exec_driver_sql(f"UPDATE dbos.{table} SET serialization = 'py_pickle'")  # noqa: S608
        connection.exec_driver_sql("UPDATE dbos.workflow_status SET application_version = '0.1.0'")
        connection.exec_driver_sql(
            "UPDATE dbos.workflow_status SET status = 'PENDING' WHERE workflow_uuid = %s", (begun_id,)
        )
    engine.dispose()
    assert pickled >= 6
    async with launched(folder, database_url=url) as records:
        assert await records.get(done) == results[0]
        assert reason(await finished(records, begun)) == reason(results[1])


@pytest.mark.parametrize(
    "made_so_far",
    [
        ("CREATE TABLE workflow_status (workflow_uuid TEXT PRIMARY KEY, status TEXT)",),
        (
            "CREATE TABLE workflow_status (workflow_uuid TEXT, application_version TEXT, serialization TEXT)",
            "CREATE TABLE operation_outputs (workflow_uuid TEXT PRIMARY KEY)",
        ),
    ],
)
def test_tables_that_another_worker_is_making_at_this_moment_are_left_to_it(made_so_far, tmp_path):
    """Workers that start together on a new database: the engine makes its tables one after another."""
    engine = database_engine(f"sqlite:///{tmp_path / 'workflows.db'}")
    with engine.begin() as connection:
        for statement in made_so_far:
            connection.execute(sqlalchemy.text(statement))
    assert settle_earlier_versions(engine, "first", workflow_version()) == Settled()
    engine.dispose()
