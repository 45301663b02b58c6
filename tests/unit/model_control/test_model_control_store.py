"""Change control on SQLite and on a real PostgreSQL: what holds after which changes, and who got which version."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import ModelChangeNotFound, ModelStateInvalid, SecondPersonNeeded
from oncoresponse.model.control import ALL_MODELS, Change, ChangeKind, ModelState
from oncoresponse.monitoring.records import PredictionRecord
from oncoresponse.monitoring.store import MonitoringStore
from oncoresponse.storage.chart_store import AssessmentRow, ChartStore, Subject
from oncoresponse.storage.model_control_store import ModelControlStore

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'oncoresponse.sqlite'}"
    server = request.getfixturevalue("postgresql")
    name = f"c{uuid.uuid4().hex}"
    server.psql(f"create database {name};")
    return server.get_uri(database=name)


@pytest.fixture
def store(database_url):
    store = ModelControlStore(database_url)
    store.prepare({})
    yield store
    store.close()


def change(kind: ChangeKind, *, model: str = "m", caller: str = "ann", **more: object) -> Change:
    return Change(0, 0, kind, model, "a reason", caller, **more)


def add(store: ModelControlStore, kind: ChangeKind, **more: object) -> Change:
    (added,) = store.decide(str(more.get("model", "m")), lambda _: [change(kind, **more)])
    return added


def test_a_version_is_a_draft_until_somebody_says_otherwise_and_is_validated_before_it_is_used(store):
    control = store.control("m")
    assert control.state_of(ONE) is ModelState.DRAFT
    assert control.active == ""
    with pytest.raises(ModelStateInvalid, match="can become retired or validated"):
        control.require_transition(ONE, ModelState.ACTIVE)
    add(store, ChangeKind.STATE, sha256=ONE, state=ModelState.VALIDATED)
    store.control("m").require_transition(ONE, ModelState.ACTIVE)
    add(store, ChangeKind.STATE, sha256=ONE, state=ModelState.RETIRED)
    with pytest.raises(ModelStateInvalid, match="in use before"):
        store.control("m").require_transition(ONE, ModelState.ACTIVE)


def test_whoever_proposes_does_not_approve_and_a_later_change_overtakes_a_proposal(store):
    add(store, ChangeKind.STATE, sha256=ONE, state=ModelState.VALIDATED)
    proposed = add(store, ChangeKind.PROPOSED, sha256=ONE, state=ModelState.ACTIVE)
    control = store.control("m")
    assert control.waiting == (proposed,)
    with pytest.raises(SecondPersonNeeded):
        control.require_approvable(proposed.number, "ann")
    assert control.require_approvable(proposed.number, "bob") == proposed
    add(store, ChangeKind.STATE, sha256=ONE, state=ModelState.DRAFT)
    with pytest.raises(ModelChangeNotFound):
        store.control("m").require_approvable(proposed.number, "bob")


def test_the_version_that_was_active_before_is_known_and_an_emergency_waits_for_a_second_person(store):
    for sha256 in (ONE, TWO):
        add(store, ChangeKind.STATE, sha256=sha256, state=ModelState.ACTIVE, version=f"{sha256[0]}.0.0")
    control = store.control("m")
    assert (control.active, control.earlier) == (TWO, (ONE,))
    back = add(store, ChangeKind.STATE, sha256=ONE, state=ModelState.ACTIVE, emergency=True)
    control = store.control("m")
    assert (control.active, control.earlier, control.waiting) == (ONE, (TWO,), (back,))
    assert control.versions == {ONE: "1.0.0", TWO: "2.0.0"}
    add(store, ChangeKind.CONFIRMED, caller="bob", proposal=back.number)
    assert store.control("m").waiting == ()


def test_a_stop_of_all_and_one_of_a_model_are_ended_one_by_one(store):
    add(store, ChangeKind.STOPPED, model=ALL_MODELS)
    add(store, ChangeKind.STOPPED)
    assert set(store.controls(["m", "other"])) == {"m", "other"}
    assert store.control("other").stop is not None
    add(store, ChangeKind.RESUMED, model=ALL_MODELS)
    assert store.control("m").stop is not None
    assert store.control("other").stop is None
    add(store, ChangeKind.RESUMED)
    assert store.control("m").stop is None


def test_the_record_counts_up_whoever_writes_at_once(store):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: add(store, ChangeKind.STOPPED, model=f"m{number % 2}"), range(16)))
    listed = store.changes(limit=10)
    assert [item.number for item in listed] == list(range(16, 6, -1))
    assert [item.number for item in store.changes(before=listed[-1].number, limit=10)] == [6, 5, 4, 3, 2, 1]
    assert {item.model for item in store.changes("m1")} == {"m1"}


def test_what_a_database_of_an_earlier_release_used_counts_as_active_and_is_found_by_a_recall(database_url):
    chart, monitoring = ChartStore(database_url), MonitoringStore(database_url)
    chart.prepare()
    monitoring.prepare()
    patient = IndexedPatient(patient_id="P1", issuer_of_patient_id="H")
    for number, sha256 in enumerate((ONE, TWO, ""), start=1):
        row = AssessmentRow(f"a{number}", 1000 * number, f"studies/{number}", "models/m", 0)
        chart.add([row], Subject((patient,), "20260101"))
        if sha256:
            monitoring.record_prediction(
                PredictionRecord(
                    *(f"assessments/a{number}", "2026-01", "m", "1.0.0", sha256, {}, "favorable", False),
                    *(0.5, 0.4, 0.6, 0.1, (), None, {}),
                )
            )
    store = ModelControlStore(database_url)
    store.prepare({"m": ("1.0.0", ONE), "new": ("1.0.0", TWO)})
    assert store.control("m").active == ONE
    assert store.control("new").active == ""
    store.prepare({"m": ("2.0.0", TWO)})  # the next start adopts nothing
    assert store.control("m").active == ONE
    store.note_use("a3", "m", TWO, 3000)

    def recalled(sha256: str = "", from_ms: int = 0, before_ms: int = 9999) -> list[str]:
        pages = list(store.recall("m", sha256, from_ms, before_ms))
        assert all(item.patients == (patient,) for page in pages for item in page)
        return [item.assessment for page in pages for item in page]

    assert recalled() == ["a1", "a2", "a3"]
    assert recalled(TWO) == ["a2", "a3"]
    assert recalled(from_ms=2000, before_ms=3000) == ["a2"]
    assert store.forget_use(["a3"]) == 1
    assert recalled(ONE) == ["a1", "a3"]  # of a3 nobody knows: it is named rather than missed
    for each in (chart, monitoring, store):
        each.close()
