"""The tables, on SQLite and on a real PostgreSQL: what comes back, what is refused, who may write at once."""

from __future__ import annotations

import sqlite3
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from oncoresponse.errors import PeerUnavailable, PredictionAlreadyRecorded, PredictionNotFound
from oncoresponse.monitoring.records import MonitoredCase, OutcomeRecord
from oncoresponse.monitoring.store import MonitoringStore


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'oncoresponse.sqlite'}"
    server = request.getfixturevalue("postgresql")
    name = f"m{uuid.uuid4().hex}"
    server.psql(f"create database {name};")
    return server.get_uri(database=name)


@pytest.fixture
def store(database_url):
    store = MonitoringStore(database_url)
    store.prepare()
    yield store
    store.close()


def test_everything_comes_back_as_it_went_in(store, record):
    first = record(1, probability=0.1 + 0.2, inputs={"size": 1 / 3, "other": None}, abstain_codes=("A", "B"))
    second = record(2, month="2026-05", probability=None, interval_low=None, groups={})
    other_model = record(3, model_name="breast-nac")
    for entry in (second, first, other_model):
        assert store.record_prediction(entry)
    outcome = OutcomeRecord(first.assessment, favorable=True, follow_up_months=30, groups={"histology": "liposarcoma"})
    assert not store.record_outcome(outcome)
    assert store.cases("sts-petct") == [MonitoredCase(first, outcome), MonitoredCase(second, None)]
    assert store.cases("sts-petct", since_month="2026-04") == [MonitoredCase(second, None)]
    assert store.cases("sts-petct", until_month="2026-04") == [MonitoredCase(first, outcome)]
    assert store.cases("breast-nac") == [MonitoredCase(other_model, None)]


def test_the_same_prediction_again_changes_nothing_and_another_is_refused(store, record):
    assert store.record_prediction(record())
    assert not store.record_prediction(record())
    with pytest.raises(PredictionAlreadyRecorded) as caught:
        store.record_prediction(record(probability=0.2))
    assert "0000" not in caught.value.message
    assert store.cases("sts-petct") == [MonitoredCase(record(), None)]


def test_the_last_outcome_counts_and_groups_add_up(store, record):
    store.record_prediction(record())
    name = record().assessment
    assert not store.record_outcome(OutcomeRecord(name, True, 12, {"histology": "other", "site": "thigh"}))
    assert not store.record_outcome(OutcomeRecord(name, True, 12))
    assert store.record_outcome(OutcomeRecord(name, False, 20, {"histology": "liposarcoma"}))
    assert store.record_outcome(OutcomeRecord(name, None))
    (case,) = store.cases("sts-petct")
    assert case.outcome == OutcomeRecord(name, None, None, {"histology": "liposarcoma", "site": "thigh"})
    assert case.groups == {"sex": "female", "histology": "liposarcoma", "site": "thigh"}


def test_outcome_without_a_prediction_is_refused(store):
    with pytest.raises(PredictionNotFound):
        store.record_outcome(OutcomeRecord("assessments/none", True))


def test_tables_are_made_and_rows_written_by_several_at_once(database_url, record):
    def write(number: int) -> bool:
        store = MonitoringStore(database_url)
        store.prepare()
        new = store.record_prediction(record(number % 4))
        store.record_outcome(OutcomeRecord(record(number % 4).assessment, True, 6))
        store.close()
        return new

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(write, range(8))) == 4
    store = MonitoringStore(database_url)
    assert len(store.cases("sts-petct")) == 4
    store.close()


def test_database_that_is_not_there_is_named_without_its_address(record):
    store = MonitoringStore("postgresql://user:secret@127.0.0.1:9/none")
    with pytest.raises(PeerUnavailable) as caught:
        store.prepare()
    assert "secret" not in caught.value.message + str(caught.value.metadata)


def test_locked_database_is_unavailable_and_nothing_is_lost(tmp_path, record, monkeypatch):
    monkeypatch.setattr("oncoresponse.storage.database_engine._WAIT_FOR_OTHER_WRITERS_SECONDS", 0)
    path = tmp_path / "oncoresponse.sqlite"
    store = MonitoringStore(f"sqlite:///{path}")
    store.prepare()
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    with pytest.raises(PeerUnavailable):
        store.record_prediction(record())
    blocker.execute("ROLLBACK")
    blocker.close()
    assert store.record_prediction(record())
    store.close()
