"""Versions of a study, and what is noted of one that came in: it shares what it holds, and goes with the study."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

import pytest
from oncoresponse.case.study_index import IndexedObject, IndexedPatient, ObjectHeader, SeriesValues
from oncoresponse.errors import ArtifactNotFound, QuotaExceeded, StudyNotComplete, StudyNotFound
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.received_studies import ReceivedState, ReceivedStudies, ReceivedStudy
from oncoresponse.storage.study_patients import StudyPatients
from oncoresponse.storage.study_store import StudyQuota, StudyStore


def read(path: Path) -> ObjectHeader:
    """What bytes that nobody can read would say, were they an image; the first byte is its SOP Instance UID."""
    data = path.read_bytes()
    series = SeriesValues(
        study_instance_uid="1",
        series_instance_uid="2",
        modality="CT",
        transfer_syntax_uid="3",
        implicit_vr=True,
        little_endian=True,
    )
    digest = hashlib.sha256(data).hexdigest()
    entry = IndexedObject(sha256=digest, sop_class_uid="4", sop_instance_uid=data[:1].decode())
    return ObjectHeader(series=series, patient=IndexedPatient(patient_id="P1"), study_date="20200102", entry=entry)


@pytest.fixture
def stores(tmp_path):
    artifacts = ArtifactStore((tmp_path / "artifacts").as_uri(), minimum_free_bytes=0)
    store = StudyStore(tmp_path, artifacts, StudyQuota(quota_bytes_total=1000))
    return store, ReceivedStudies(tmp_path, artifacts, read), StudyPatients(tmp_path, artifacts, read), artifacts


def study_of(store, *files: bytes, supersedes: str = "", tenant: str = "", complete: bool = True) -> str:
    name = store.create(str(uuid.uuid4()), tenant=tenant, supersedes=supersedes).name
    for data in files:
        store.add(name, [data], read)
    if complete:
        store.complete(name, read=read)
    return name


def test_a_version_holds_what_came_before_and_the_earlier_one_stays(stores):
    store, received, _, artifacts = stores
    first = study_of(store, b"a1", b"b1")
    before = store.get(first)
    second = study_of(store, b"c1", supersedes=first)
    assert {file.sha256 for file in store.instance_files(first)} < {
        file.sha256 for file in store.instance_files(second)
    }
    assert store.get(second).instance_count == 3
    assert store.get(second).supersedes == first
    assert store.get(first).superseded_by == second
    assert store.get(first).manifest == before.manifest
    third = study_of(store, b"d1", supersedes=second)
    # Each is superseded by the next one, and the bytes stay for the last that has them.
    assert (store.get(second).superseded_by, store.get(first).superseded_by) == (third, second)
    files = store.instance_files(first)
    store.delete(first)
    store.delete(second)
    assert [artifacts.read_bytes(file)[1:] for file in files] == [b"1", b"1"]
    assert sorted(received.contents(third).sop_instance_uids.values()) == ["a", "b", "c", "d"]
    store.delete(third)
    for file in files:
        with pytest.raises(ArtifactNotFound):
            artifacts.read_bytes(file)


def test_the_same_request_finds_the_version_and_what_it_holds_is_known_while_it_is_open(stores):
    store, received, _, _ = stores
    first = study_of(store, b"a1")
    request = str(uuid.uuid4())
    names = {store.create(request, supersedes=first).name for _ in range(2)}
    (second,) = names
    assert store.get(first).superseded_by == ""
    store.add(second, [b"b1"], read)
    held = received.contents(second)
    assert sorted(held.sop_instance_uids.values()) == ["a", "b"]
    assert [each.patient_id for each in held.patients] == ["P1"]
    assert held.study_instance_uids == ("1",)


def test_nobody_takes_over_what_is_open_of_another_tenant_or_too_much(stores):
    store, _, _, _ = stores
    opened = study_of(store, b"a1", complete=False)
    with pytest.raises(StudyNotComplete):
        study_of(store, supersedes=opened)
    foreign = study_of(store, b"a2", tenant="other")
    with pytest.raises(StudyNotFound):
        study_of(store, supersedes=foreign)
    large = study_of(store, b"x" * 600)
    with pytest.raises(QuotaExceeded):
        study_of(store, supersedes=large)
    # Nothing of the refused ones stays.
    assert len(store.list_page(10).studies) == 3


def test_an_open_version_is_found_by_the_patient(stores):
    store, _, patients, _ = stores
    first = study_of(store, b"a1")
    second = study_of(store, supersedes=first, complete=False)
    assert {each.name for each in patients.find("P1")} == {first, second}
    assert patients.find("P2") == []


def test_what_is_noted_goes_with_the_study_and_a_start_is_final(stores):
    store, received, patients, _ = stores
    opened = study_of(store, complete=False)
    with pytest.raises(StudyNotComplete):
        received.note(ReceivedStudy(opened, "c-store", "CT1", ReceivedState.WAITING))
    study = study_of(store, b"a1")
    first = received.note(ReceivedStudy(study, "c-store", "CT1", ReceivedState.WAITING))
    started = ReceivedStudy(study, "c-store", "CT1", ReceivedState.STARTED, "rule", "assessments/a")
    assert received.note(started).complete_time_ns == first.complete_time_ns
    again = received.note(ReceivedStudy(study, "c-store", "CT1", ReceivedState.WAITING))
    assert (again.state, again.assessment) == (ReceivedState.STARTED, "assessments/a")
    rows = next(each.index_rows for each in patients.find("P1"))
    patients.forget([study])
    assert rows == 3
    assert received.of(study) is None


def test_the_list_is_in_pages_newest_first_and_of_one_tenant(stores):
    store, received, _, _ = stores
    names = []
    for number in range(3):
        names.append(study_of(store, b"%d" % number, tenant="a" if number else "b"))
        state = ReceivedState.KEPT if number == 1 else ReceivedState.REFUSED
        received.note(ReceivedStudy(names[-1], "http" if number else "c-store", "", state, reason="NO_RULES"))
    page, token = received.page(2)
    assert [each.study for each in page] == names[:0:-1]
    rest, end = received.page(2, token)
    assert ([each.study for each in rest], end) == ([names[0]], "")
    assert [each.study for each in received.page(9, tenant="b")[0]] == [names[0]]
    assert [each.study for each in received.page(9, state=ReceivedState.KEPT)[0]] == [names[1]]
    assert [each.study for each in received.page(9, way="c-store")[0]] == [names[0]]
