"""Rows of a patient: found, given to another, removed, and not left in free pages; what belongs to nobody."""

import time

import pytest
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import RequestConflict
from oncoresponse.storage import chart_patients
from oncoresponse.storage.artifact_kind import ArtifactKind
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.chart_store import AssessmentRow, ChartStore, Subject
from oncoresponse.storage.database_compaction import compact_database
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.erasure_store import ErasureState, ErasureStore, WhatGoes
from oncoresponse.storage.reachability import reachable
from sqlalchemy import text

PLANTED = "ZQX-UNIT-PLANTED"
SOMEBODY, ELSE = IndexedPatient(patient_id=PLANTED), IndexedPatient(patient_id=PLANTED, issuer_of_patient_id="Other")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """URL of an empty database, and the folder with its files."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'd.sqlite'}", tmp_path
        return
    server = request.getfixturevalue("postgresql")
    name = f"erasure_{time.time_ns()}"
    server.psql(f"CREATE DATABASE {name};")
    yield server.get_uri(name), server.pgdata


@pytest.fixture
def chart(database):
    store = ChartStore(database[0])
    store.prepare()
    yield store
    store.close()


@pytest.fixture
def engine(database):
    engine = database_engine(database[0])
    yield engine
    engine.dispose()


def test_assessments_are_found_by_patient_and_issuer_and_follow_a_correction(chart, engine):
    for number, patient in enumerate((SOMEBODY, ELSE)):
        chart.add([AssessmentRow(f"a-{number}", 1000 + number, f"studies/{number}", "models/m")], Subject((patient,)))
    assert chart_patients.assessments_of_patient(engine, SOMEBODY) == ["a-0"]
    assert chart_patients.assessments_of_patient(engine, SOMEBODY, any_issuer=True) == ["a-0", "a-1"]
    assert chart_patients.assessments_of_studies(engine, ["studies/1", "studies/9"]) == ["a-1"]

    right = IndexedPatient(patient_id="RIGHT")
    for _ in range(2):
        chart_patients.give_to(engine, ["a-0"], right)
        assert chart_patients.assessments_of_patient(engine, right) == ["a-0"]
        # The report names whom it was made for: an erasure finds it, a merge does not.
        assert chart_patients.assessments_of_patient(engine, SOMEBODY) == ["a-0"]
        assert chart_patients.assessments_of_patient(engine, SOMEBODY, former=False) == []
    assert chart_patients.chart_rows(engine, ["a-0"]) == 4

    chart_patients.forget_assessments(engine, ["a-0", "a-0", "never"])
    assert chart_patients.chart_rows(engine, ["a-0"]) == 0
    assert chart_patients.chart_rows(engine, ["a-1"]) == 2


def test_nothing_of_a_removed_row_stays_in_the_files_of_the_database(chart, engine, database):
    folder, planted = database[1], "ZQX-FREE-PAGES"
    chart_patients.keep_no_statistics(engine)
    patient = Subject((IndexedPatient(patient_id=planted),))
    for number in range(300):
        chart.add([AssessmentRow(f"b-{number}", number, "studies/b", "models/m")], patient)
    _flushed(engine)
    assert _files_with(folder, planted)
    chart_patients.forget_assessments(engine, [f"b-{number}" for number in range(300)])
    assert compact_database(engine)
    _flushed(engine)
    # The write-ahead log of PostgreSQL is what an erasure says that it cannot reach.
    assert [path for path in _files_with(folder, planted) if "pg_wal" not in path.parts] == []


def test_an_erasure_is_written_down_taken_by_one_worker_and_forgets_what_went(engine):
    first, second = ErasureStore(engine, "worker-1"), ErasureStore(engine, "worker-2")
    first.prepare()
    request, goes = f"e-{time.time_ns()}", WhatGoes(studies=("studies/s",), artifacts=("ab" * 32,))
    first.begin(request, "c" * 64, goes, "{}")
    assert first.begin(request, "c" * 64, goes, "{}").what_goes == goes
    with pytest.raises(RequestConflict):
        second.find(request, "d" * 64)
    assert first.take(request)
    assert not second.take(request)
    assert request in [record.erasure for record in second.unfinished()]
    far = (time.time_ns() // 1_000_000) + 1_000_000
    first.note(request, ErasureState.REMOVED, WhatGoes(studies=("studies/s",)), "{}", far)
    assert request not in [record.erasure for record in second.unfinished()]
    first.note(request, ErasureState.REMOVED, WhatGoes(studies=("studies/s",)), "{}", 0)
    assert second.take(request)
    second.note(request, ErasureState.DONE, WhatGoes(), "{}", 0)
    assert first.find(request, "c" * 64).what_goes == WhatGoes()
    with engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM administration_erasure WHERE erasure = :e"), {"e": request}).one()
    assert not [value for value in row if "studies/s" in str(value) or "ab" * 32 in str(value)]


def test_a_daily_task_is_begun_once_a_day(engine):
    first, second = ErasureStore(engine, "worker-1"), ErasureStore(engine, "worker-2")
    first.prepare()
    begun = [store.first_today("retention", day) for day in ("2026-01-01", "2026-01-02") for store in (first, second)]
    assert begun == [True, False, True, False]


def test_what_documents_refer_to_is_reached_and_nothing_else(tmp_path):
    store = ArtifactStore(str(tmp_path))
    leaf = store.put_bytes(b"\0" * 200, "application/octet-stream")
    middle = store.put_bytes(b'{"sha256": "' + leaf.sha256.encode() + b'"}', "application/json")
    root = store.put_bytes(b'[{"uri": "artifact:sha256/' + middle.sha256.encode() + b'"}]', "application/json")
    # What a picture happens to hold is no reference.
    lone = store.put_bytes(b"\x89PNG" + middle.sha256.encode(), "image/png")
    assert reachable(store, [root.sha256, "ab" * 32]) == {root.sha256, middle.sha256, leaf.sha256}
    assert reachable(store, [lone.sha256]) == {lone.sha256}
    assert {found.key for found in store.everything()} == {leaf.sha256, middle.sha256, root.sha256, lone.sha256}
    assert store.kind(root.sha256) is ArtifactKind.DOCUMENT
    assert store.kind("ab" * 32) is None


def test_what_is_written_again_meanwhile_is_not_removed(tmp_path):
    store = ArtifactStore(str(tmp_path))
    artifact = store.put_bytes(b"shared", "text/plain")
    assert not store.delete_unless_newer(artifact.sha256, time.time() - 1000)
    assert store.read_bytes(artifact) == b"shared"
    assert store.delete_unless_newer(artifact.sha256, time.time() + 1000)
    assert store.look(artifact.sha256) is None


def _flushed(engine) -> None:
    if engine.dialect.name != "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # It would keep the commonest values of each column.
            connection.execute(text("ANALYZE"))
            connection.execute(text("CHECKPOINT"))


def _files_with(folder, value: str):
    return [path for path in folder.rglob("*") if path.is_file() and value.encode() in path.read_bytes()]
