"""Studies and assessments are found by what they are of, through an index of the tables and never by a scan."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
import uuid
from contextlib import closing

import pytest
from oncoresponse.case.study_index import IndexedObject, IndexedPatient, ObjectHeader, SeriesValues
from oncoresponse.errors import InvalidRequest, TruncatedFile
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.chart_store import AssessmentFilter, AssessmentRow, ChartStore, Subject
from oncoresponse.storage.page_position import token_of_row
from oncoresponse.storage.study_filter import StudyFilter
from oncoresponse.storage.study_manifest import StudyManifest
from oncoresponse.storage.study_store import StudyQuota, StudyStore

PATIENT = "PATIENT-4711"


@pytest.fixture
def store(tmp_path):
    return StudyStore(tmp_path, ArtifactStore(str(tmp_path / "artifacts")), StudyQuota())


def header_of(path, patient=PATIENT, issuer="", date="20200102", modality="CT"):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ObjectHeader(
        series=SeriesValues(
            study_instance_uid="1",
            series_instance_uid=f"2.{modality}",
            modality=modality,
            transfer_syntax_uid="1.2.840.10008.1.2",
            implicit_vr=True,
            little_endian=True,
        ),
        patient=IndexedPatient(patient_id=patient, issuer_of_patient_id=issuer),
        study_date=date,
        entry=IndexedObject(sha256=digest, sop_class_uid="4", sop_instance_uid=digest),
    )


def study(store, *objects, complete=True):
    """A study of one file for each dictionary of what ``header_of`` takes."""
    name = store.create(str(uuid.uuid4())).name
    for values in objects:
        store.add(name, [uuid.uuid4().bytes], lambda path, values=values: header_of(path, **values))
    if complete:
        store.complete(name, read=header_of)
    return name


def names(store, **wanted):
    found, token = [], ""
    while True:
        page = store.list_page(1, token, StudyFilter(**wanted))
        found += [record.name for record in page.studies]
        token = page.next_token
        if not token:
            return found
        assert PATIENT.encode() not in base64.urlsafe_b64decode(token)


def test_studies_are_found_by_patient_date_and_modality(store, tmp_path):
    first = study(store, {"modality": "PT"}, {"modality": "CT"})
    second = study(store, {"date": "20210304", "issuer": "CLINIC", "modality": "MR"}, {"date": "20210304"})
    other = study(store, {"patient": "OTHER", "date": ""})
    growing = study(store, {}, complete=False)
    assert names(store) == [growing, other, second, first]
    assert names(store, patient_id=PATIENT) == [second, first]
    assert names(store, patient_id=PATIENT, issuer_of_patient_id="CLINIC") == [second]
    assert names(store, patient_id=PATIENT.lower()) == []
    assert names(store, study_date_from="20200103") == [second]
    assert names(store, study_date_to="20200102") == [first]
    assert names(store, study_date_from="20200102", study_date_to="20210304") == [second, first]
    assert names(store, modality="CT") == [other, second, first]
    assert names(store, modality="MR", patient_id=PATIENT) == [second]
    assert (names(store, complete=False), names(store, complete=True)) == ([growing], [other, second, first])
    record = store.get(first)
    assert (record.modalities, record.series_count, record.study_date) == (("CT", "PT"), 2, "20200102")
    # An object without issuer is of the patient of those that name one.
    with closing(sqlite3.connect(tmp_path / "studies" / "studies.sqlite")) as connection:
        of_second = "SELECT issuer_of_patient_id FROM patient JOIN study_patient USING (patient_key) WHERE study_id = ?"
        assert connection.execute(of_second, (second.removeprefix("studies/"),)).fetchall() == [("CLINIC",)]
        store.delete(first)
        store.delete(second)
        assert connection.execute("SELECT patient_id FROM patient").fetchall() == [("OTHER",)]
        assert connection.execute("SELECT count(*) FROM series").fetchone() == (1,)


@pytest.mark.parametrize(
    "wanted", [{"patient_id": "x"}, {"patient_id": "x", "issuer_of_patient_id": "y"}, {"modality": "PT"}]
)
def test_no_list_of_studies_goes_through_all_rows(store, tmp_path, wanted):
    conditions, values = StudyFilter(**wanted).conditions()
    with closing(sqlite3.connect(tmp_path / "studies" / "studies.sqlite")) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM study WHERE 1{conditions}", values).fetchall()  # noqa: S608
    assert not [row for row in plan if row[3].startswith("SCAN")]


def test_study_of_an_earlier_release_is_indexed_when_it_is_looked_for(store, tmp_path):
    """As release 0.2.0 left it: a manifest without index, and no row of what is found."""
    name, lost = study(store, {}), study(store, {"modality": "PT"})
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    with closing(sqlite3.connect(tmp_path / "studies" / "studies.sqlite")) as connection:
        for each in (name, lost):
            manifest = artifacts.read_document(store.get(each).manifest, StudyManifest)
            old = artifacts.put_bytes(manifest.model_dump_json(exclude={"index"}).encode(), "application/json")
            connection.execute(
                "UPDATE study SET manifest_sha256 = ?, manifest_size_bytes = ?, index_sha256 = NULL, study_date = NULL "
                "WHERE study_id = ?",
                (old.sha256, old.size_bytes, each.removeprefix("studies/")),
            )
        connection.executescript("DELETE FROM study_patient; DELETE FROM patient; DELETE FROM series;")
    read = []

    def reader(path):
        read.append(path)
        if len(read) == 2:
            raise TruncatedFile("The DICOM file ends before its data does.")
        return header_of(path)

    assert names(store, patient_id=PATIENT) == []
    store.index_older_studies(reader)
    (found,) = names(store, patient_id=PATIENT)
    record = store.get(found)
    assert record.modalities == ("CT",)
    index = store.index_of_manifest(record.manifest, lambda _: pytest.fail("a header was read again"))
    assert [item.patient_id for item in index.patients] == [PATIENT]
    store.delete(found)
    assert artifacts_left(tmp_path, record.index.sha256) == []


def artifacts_left(folder, sha256):
    return list((folder / "artifacts").rglob(sha256))


@pytest.fixture(params=["sqlite", "postgresql"])
def chart(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'chart.sqlite'}"
    else:
        server = request.getfixturevalue("postgresql")
        database = f"chart_{uuid.uuid4().hex}"
        server.psql(f"create database {database};")
        url = server.get_uri(database=database)
    made = ChartStore(url)
    made.prepare()
    made.prepare()
    yield made
    made.close()


def test_assessments_are_found_by_what_they_are_of(chart):
    mine = Subject((IndexedPatient(patient_id=PATIENT, issuer_of_patient_id="CLINIC"),), "20200102")
    rows = [
        AssessmentRow("a-1", 1_600_000_000_000, "studies/one", "models/x"),
        AssessmentRow("a-2", 1_600_000_000_001, "studies/two", "models/y"),
        AssessmentRow("a-3", 1_600_000_000_001, "studies/one", "models/y"),
    ]
    chart.add(rows[:1], mine)
    chart.add(rows)
    chart.add(rows, None)

    def found(token="", limit=10, **wanted):
        return [row.assessment for row in chart.page(AssessmentFilter(**wanted), token, limit)]

    assert found() == ["a-3", "a-2", "a-1"]
    assert found(limit=2) == ["a-3", "a-2"]
    assert found(token_of_row(1_600_000_000_001, "a-2")) == ["a-1"]
    assert found(patient_id=PATIENT) == ["a-1"]
    assert found(patient_id=PATIENT, issuer_of_patient_id="ELSEWHERE") == []
    assert chart.studies_without_subject() == ["studies/one", "studies/two"]
    chart.set_subject("studies/one", mine)
    assert chart.studies_without_subject() == ["studies/two"]
    assert found(patient_id=PATIENT, issuer_of_patient_id="CLINIC") == ["a-3", "a-1"]
    assert found(study="studies/one", model="models/y") == ["a-3"]
    assert found(create_time_from_ms=1_600_000_000_001) == ["a-3", "a-2"]
    assert found(create_time_before_ms=1_600_000_000_001) == ["a-1"]
    chart.note_end("a-1", 3)
    chart.note_end("a-2", 4)
    assert found(ended_in=3) == ["a-3", "a-1"]
    assert chart.known(["a-1", "none"]) == {"a-1"}
    with pytest.raises(InvalidRequest, match="page_token"):
        found("nonsense")
