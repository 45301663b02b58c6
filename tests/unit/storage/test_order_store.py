"""Orders beside the studies that they wait for."""

from __future__ import annotations

import hashlib
import sqlite3
import time

import pytest
from oncoresponse.case.study_index import IndexedObject, IndexedPatient, ObjectHeader, SeriesValues
from oncoresponse.errors import OrderNotFound
from oncoresponse.intake.study_settings import StudySettings
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.older_accessions import note_older_accession_numbers
from oncoresponse.storage.order_store import OrderState, OrderStore, StoredOrder
from oncoresponse.storage.study_store import StudyStore

ORDER = StoredOrder(
    source="hl7:EPIC|NORTH",
    order_number="P1",
    accession_number="ACC-1",
    patient_id="7",
    issuer_of_patient_id="NORTH",
    codes=("X", "Y"),
)


def header(source: object) -> ObjectHeader:
    """Of a file whose content is its accession number."""
    data = source if isinstance(source, bytes) else source.read_bytes()
    series = SeriesValues(
        study_instance_uid="1.2",
        series_instance_uid="1.2.3",
        modality="CT",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        implicit_vr=False,
        little_endian=True,
    )
    entry = IndexedObject(
        sha256=hashlib.sha256(data).hexdigest(),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid="1.2.3.4",
        header={"00080050": f"SH:{data.decode()} "},
    )
    return ObjectHeader(series=series, patient=IndexedPatient(patient_id="7"), entry=entry)


@pytest.fixture
def studies(tmp_path):
    return StudyStore(tmp_path, ArtifactStore(str(tmp_path / "artifacts")), StudySettings())


@pytest.fixture
def store(tmp_path, studies):
    return OrderStore(tmp_path)


def complete(studies: StudyStore, accession: str, request_id: str, supersedes: str = "", tenant: str = "") -> str:
    study = studies.create(request_id, supersedes=supersedes, tenant=tenant).name
    studies.add(study, [accession.encode()], header)
    studies.complete(study, read=header)
    return study


def test_an_order_is_kept_once_and_corrected_until_it_has_started_something(store):
    kept = store.record(ORDER)
    assert (kept.state, kept.codes, kept.studies) == (OrderState.WAITING, ("X", "Y"), ())
    corrected = store.record(StoredOrder(**{**vars(ORDER), "accession_number": "ACC-2"}))
    assert (corrected.name, corrected.accession_number) == (kept.name, "ACC-2")
    store.settle(kept.name, OrderState.REFUSED, "", "", "PATIENT_MISMATCH")
    waits_again = store.record(ORDER)
    assert (waits_again.state, waits_again.reason, waits_again.accession_number) == (OrderState.WAITING, "", "ACC-1")
    store.settle(kept.name, OrderState.STARTED, "studies/a", "assessments/a", "")
    started = store.record(StoredOrder(**{**vars(ORDER), "accession_number": "ACC-3"}))
    assert (started.state, started.accession_number, started.assessment) == (
        OrderState.STARTED,
        "ACC-1",
        "assessments/a",
    )
    assert len(store.page(10)[0]) == 1
    with pytest.raises(OrderNotFound):
        store.get("orders/none")


def test_a_cancelled_order_stays_cancelled_also_before_it_comes(store):
    cancelled = store.record(ORDER, cancelled=True)
    assert cancelled.state is OrderState.CANCELLED
    assert store.record(ORDER).state is OrderState.CANCELLED
    settled = store.settle(cancelled.name, OrderState.STARTED, "studies/a", "assessments/a", "")
    assert (settled.state, settled.assessment) == (OrderState.CANCELLED, "assessments/a")


def test_studies_are_found_by_accession_number_in_their_newest_version(store, studies):
    first = complete(studies, "ACC-1", "one")
    complete(studies, "ACC-2", "other")
    assert store.record(ORDER).studies == (first,)
    second = complete(studies, "ACC-1", "two", supersedes=first)
    assert store.record(ORDER).studies == (second,)
    assert [each.order_number for each in store.of_study(second)] == ["P1"]
    (waiting,), _ = store.page(10, has_study=True, untouched=True)
    store.settle(waiting.name, OrderState.WAITING, "", "", "NO_RULE_FITS")
    assert store.page(10, has_study=True, untouched=True) == ([], "")
    store.settle(waiting.name, OrderState.REFUSED, "", "", "PATIENT_MISMATCH")
    assert store.of_study(second) == []


def test_studies_that_an_earlier_release_completed_are_found_once_they_are_noted(store, studies, tmp_path):
    study = complete(studies, "ACC-1", "one")
    with sqlite3.connect(tmp_path / "studies" / "studies.sqlite") as connection:
        connection.execute("DELETE FROM study_accession")
        connection.execute("UPDATE study SET accession_known = 0")
    connection.close()
    assert store.record(ORDER).studies == ()
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    assert [note_older_accession_numbers(tmp_path, artifacts) for _ in range(2)] == [1, 0]
    assert store.record(ORDER).studies == (study,)


def test_orders_of_a_patient_follow_a_merge_and_go_with_the_patient_or_their_age(store):
    other = StoredOrder(**{**vars(ORDER), "order_number": "P2", "issuer_of_patient_id": "SOUTH"})
    names = [store.record(each).name for each in (ORDER, other)]
    began = time.time_ns()
    north, kept = (IndexedPatient(patient_id=number, issuer_of_patient_id="NORTH") for number in ("7", "8"))
    assert store.merge(north, kept) == 1
    assert [each.name for each in store.of_patient("8")] == names[:1]
    assert [each.name for each in store.of_patient("7")] == names[1:]
    # The merge was a change.
    assert store.unchanged_since(began) == names[1:]
    store.forget([*names, "orders/none"])
    assert store.page(10) == ([], "")


def test_pages_go_on_where_the_one_before_ended(store):
    for number in range(5):
        store.record(StoredOrder(**{**vars(ORDER), "order_number": f"P{number}"}))
    seen, token = [], ""
    while True:
        found, token = store.page(2, token, accession_number="ACC-1", state=OrderState.WAITING)
        seen += [each.order_number for each in found]
        if not token:
            break
    assert seen == [f"P{number}" for number in reversed(range(5))]


def test_several_studies_with_one_accession_number_are_all_named_oldest_first(store, studies):
    both = tuple(complete(studies, "ACC-1", number) for number in ("one", "two"))
    assert store.record(ORDER).studies == both
    assert [each.studies for each in store.of_study(both[1])] == [both]
    (listed,), _ = store.page(10)
    assert listed.studies == both
    without_number = StoredOrder(**{**vars(ORDER), "order_number": "P2", "accession_number": ""})
    complete(studies, "", "three")
    assert store.record(without_number).studies == ()


def test_an_order_of_a_tenant_is_for_its_studies_and_one_without_is_for_all(store, studies):
    of_tenant = StoredOrder(**{**vars(ORDER), "order_number": "P2", "tenant": "north"})
    south = complete(studies, "ACC-1", "one", tenant="south")
    assert store.record(of_tenant).studies == ()
    assert store.record(ORDER).studies == (south,)
    assert [each.order_number for each in store.of_study(south)] == ["P1"]
    # What has no study of its tenant is not looked at for ever.
    assert [each.order_number for each in store.page(10, has_study=True, untouched=True)[0]] == ["P1"]
    north = complete(studies, "ACC-1", "one", tenant="north")
    assert store.record(of_tenant).studies == (north,)
    assert store.record(ORDER).studies == (south, north)
    for tenant, wanted in (("north", ["P2"]), ("south", []), ("", ["P1"]), (None, ["P1", "P2"])):
        assert sorted(each.order_number for each in store.page(10, tenant=tenant)[0]) == wanted
