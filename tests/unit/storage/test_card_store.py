"""Cards and what was said to them, in SQLite and PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
import uuid
from contextlib import closing

import pytest
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import Busy
from oncoresponse.storage.card_store import CardStore, CardWord, GivenCard
from oncoresponse.storage.chart_store import AssessmentRow, ChartStore, Subject
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.database_errors import once_more
from oncoresponse.storage.report_store import ReportStore
from oncoresponse.storage.resource_index import ResourceIndex, index_version
from sqlalchemy import text

from tests.unit.storage.report_bundles import bundle, stored

PATIENT = IndexedPatient(patient_id="MRN-1", issuer_of_patient_id="")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'cards.sqlite'}"
    server, name = request.getfixturevalue("postgresql"), f"cards_{uuid.uuid4().hex[:8]}"
    server.psql(f"CREATE DATABASE {name};")
    return server.get_uri(database=name)


@pytest.fixture
def store(url):
    for make in (ReportStore, ChartStore, ResourceIndex):
        with closing(make(url)) as each:
            each.prepare()
    with closing(CardStore(url, judgement_first=True)) as made:
        made.prepare()
        yield made


@pytest.fixture
def engine(url, store):
    made = database_engine(url)
    yield made
    made.dispose()


def assess(url: str, engine, name: str, model: str, date: str) -> None:
    with closing(ChartStore(url)) as chart:
        chart.add([AssessmentRow(name, 1, f"studies/{name}", f"models/{model}", 3)], Subject((PATIENT,), date))
    data = bundle(name, PATIENT.patient_id, findings=1)
    with engine.begin() as connection:
        index_version(connection, name, 1, data, stored(data))


def test_each_model_has_the_report_of_its_newest_study(url, store, engine):
    """By the date of the study: the report of an older one may be written later."""
    for name, model, date in (("a", "m", "20260301"), ("b", "m", "20250301"), ("c", "n", "20240101"), ("d", "n", "")):
        assess(url, engine, name, model, date)
    reports = store.newest_reports([PATIENT])
    assert [(each.assessment, each.withheld) for each in reports] == [("a", True), ("c", True)]
    assert json.loads(reports[0].content)["resourceType"] == "DiagnosticReport"
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO report_judgement VALUES ('c', 'ada', '', 'uncertain', '', 1, 0)"))
    assert [each.withheld for each in store.newest_reports([PATIENT])] == [True, False]
    assert store.newest_reports([IndexedPatient(patient_id="MRN-1", issuer_of_patient_id="OTHER")]) == []


def test_every_word_is_kept_and_the_last_one_is_told(store, engine):
    card = GivenCard(str(uuid.uuid4()), "ehr", "a", 1, "ehr#ada", answer_withheld=True)
    store.give([card, card])
    assert store.given(card.card, "ehr") == card
    assert store.given(card.card, "clinic") is None
    assert not store.was_shown_answer("a", "ehr#ada")
    later = CardWord("overridden", "judgement-favorable", "Grew.", 2000)
    assert store.note(card, later) == later
    for _ in range(2):
        assert store.note(card, CardWord("accepted", "", "", 1000)) == later
    long = CardWord("overridden", f"https://x.example/{'y' * 200}|other", "", 3000)
    assert store.note(card, long) == long
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM cds_feedback")).scalar_one() == 3
    # The clock of an EHR may be wrong: what it dates in the future is said now, and a later word is the last one.
    assert store.note(card, CardWord("accepted", "", "", 32_503_680_000_000)).time_ms < 32_503_680_000_000
    store.delete(["a"])
    with engine.connect() as connection:
        for count in ("SELECT count(*) FROM cds_card", "SELECT count(*) FROM cds_feedback"):
            assert connection.execute(text(count)).scalar_one() == 0


def test_a_token_is_used_once(store):
    ends = 32_503_680_000_000
    assert [store.use_token(client, "1", ends) for client in ("ehr", "ehr", "clinic")] == [True, False, True]


@pytest.mark.parametrize("times_held", [1, 2])
def test_what_finds_the_database_held_is_tried_once_more(tmp_path, times_held):
    file = tmp_path / "held.sqlite"
    with (
        closing(sqlite3.connect(file, isolation_level=None)) as holder,
        closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as connection,
    ):
        connection.execute("CREATE TABLE t (x)")
        holder.execute("BEGIN EXCLUSIVE")
        tries = []

        def insert(value: int) -> int:
            tries.append(value)
            if len(tries) > times_held:
                holder.execute("ROLLBACK")
            connection.execute("INSERT INTO t VALUES (?)", [value])
            return value

        if times_held == 1:
            assert once_more(insert, 7) == 7
        else:
            with pytest.raises(Busy):
                once_more(insert, 7)
        assert tries == [7, 7]
