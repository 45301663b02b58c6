"""After a finished run has expired, callers see the same, and the workflow engine's tables hold nothing of it."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest
import sqlalchemy
from oncoresponse.errors import RequestConflict
from oncoresponse.model.plan import STAGES
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.chart_store import AssessmentFilter
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.assessment_message import is_finished
from oncoresponse.workflow.expiry import expire_runs

pytestmark = pytest.mark.slow
FINISHED = "8da719fb-efd2-5a04-9cca-e669e4b08a66"
CHART = {"chart_assessment", "chart_patient", "chart_result", "monitoring_prediction"}


async def _all(records):
    return (await records.lists.page(AssessmentFilter(), 0, 100, "")).assessments


async def test_expired_assessment_is_given_listed_and_watched_as_before(old_data_folder, launched, stored_values):
    """A data folder of release 0.1.0, in which one assessment has succeeded."""
    file = old_data_folder / "oncoresponse.sqlite"
    name = f"assessments/{FINISHED}"
    now_ms = int(time.time() * 1000)
    async with launched(old_data_folder) as records:
        before, listed = await records.get(name), await _all(records)
        assert before.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
        assert before.result.artifacts
        # Younger than asked for: stays.
        assert expire_runs(records._engine, before.end_time.ToMilliseconds()) == 0
        unfinished = [each.name for each in listed if not is_finished(each)]
        count = expire_runs(records._engine, now_ms + 1000)
        assert count >= 1
        assert await records.get(name) == before
        assert [each for each in await _all(records) if each.name not in unfinished] == [
            each for each in listed if each.name not in unfinished
        ]
        assert [update async for update in records.watching.follow(FINISHED)] == [before]
        assert await records.cancel(name) == before
    rows = [table for table, _, value in stored_values(file) if FINISHED in str(value)]
    assert set(rows) <= CHART
    async with launched(old_data_folder) as records:
        assert await records.get(name) == before
        assert expire_runs(records._engine, 0) == 0


async def test_repeated_request_finds_its_expired_assessment(tmp_path, launched):
    folder = tmp_path / "data"
    request = assessment_pb2.CreateAssessmentRequest(
        request_id=str(uuid.uuid4()), study="studies/gone", model="models/sts-petct"
    )
    manifest = ArtifactStore((folder / "artifacts").as_uri()).put_bytes(b"{}", "application/json")
    async with launched(folder) as records:
        name = (await records.create(request, manifest, "0" * 64, tuple(STAGES))).name
        while not is_finished(found := await records.get(name)):
            await asyncio.sleep(0.02)
        assert expire_runs(records._engine, int(time.time() * 1000) + 1000) == 1
        assert await records.create(request, manifest, "0" * 64, tuple(STAGES)) == found
        request.covariates.add(name="age", value=50)
        with pytest.raises(RequestConflict):
            await records.create(request, manifest, "0" * 64, tuple(STAGES))


async def test_run_whose_prediction_is_still_to_be_recorded_stays(tmp_path, old_data_folder, launched):
    engine = database_engine(f"sqlite:///{old_data_folder / 'oncoresponse.sqlite'}")
    async with launched(old_data_folder):
        pass
    with engine.begin() as connection:
        done = connection.execute(
            sqlalchemy.text("UPDATE workflow_status SET status = 'PENDING' WHERE workflow_uuid = :run"),
            {"run": f"{FINISHED}-record"},
        )
        assert done.rowcount == 1
    expire_runs(engine, int(time.time() * 1000) + 1000)
    with engine.connect() as connection:
        left = connection.scalar(
            sqlalchemy.text("SELECT count(*) FROM workflow_status WHERE workflow_uuid = :run"), {"run": FINISHED}
        )
    engine.dispose()
    assert left == 1
