"""Resources of reports as they are read: versions, searches by SQL, and that one patient never sees another."""

from __future__ import annotations

import base64
import json
import uuid
from datetime import UTC, datetime

import pytest
from oncoresponse.case.resource_search import PatientName
from oncoresponse.case.sign_off import PhysicianJudgement, RecordedJudgement
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import InvalidRequest
from oncoresponse.storage import chart_patients
from oncoresponse.storage.chart_store import AssessmentRow, ChartStore, Subject
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.report_store import ReportStore
from oncoresponse.storage.resource_index import ResourceIndex
from oncoresponse.storage.resource_query import ResourceQuery, ResourceSearch, Viewer
from oncoresponse.storage.resource_values import bytes_at, date_range
from sqlalchemy import text

from tests.unit.storage.report_bundles import LARGE, bundle, stored

ALL = Viewer()
TYPES = ("DiagnosticReport", "Observation", "RiskAssessment", "ImagingStudy", "Device", "Provenance", "Binary")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'resources.sqlite'}"
    server, name = request.getfixturevalue("postgresql"), f"resources_{uuid.uuid4().hex[:8]}"
    server.psql(f"CREATE DATABASE {name};")
    return server.get_uri(database=name)


class Installation:
    def __init__(self, url: str) -> None:
        self.reports, self.chart, self.index = ReportStore(url), ChartStore(url), ResourceIndex(url)
        self.query, self.engine = ResourceQuery(url), database_engine(url)
        for store in (self.reports, self.chart, self.index, self.index):
            store.prepare()

    def close(self) -> None:
        for store in (self.reports, self.chart, self.index, self.query):
            store.close()
        self.engine.dispose()

    def assess(
        self, name: str, patient: str = "MRN-1", *, tenant: str = "", issuer: str = "", **changes: object
    ) -> None:
        row = AssessmentRow(name, 1000, f"studies/{name}", "models/m", 3, tenant)
        who = IndexedPatient(patient_id=patient, issuer_of_patient_id=issuer)
        self.chart.add([row], Subject((who,)))
        self.version(name, 1, patient, **changes)

    def version(self, name: str, version: int, patient: str = "MRN-1", **changes: object) -> None:
        withdrawn = changes.get("status") == "entered-in-error"
        data = bundle(name, patient, **changes)
        self.index.add(name, version, data, stored(data), withdrawn=withdrawn)

    def search(self, kind: str, *criteria: tuple[str, str], viewer: Viewer = ALL, **wanted: object):
        return self.query.search(viewer, ResourceSearch(kind, criteria, **wanted), 100)

    def count(self, kind: str, *criteria: tuple[str, str], viewer: Viewer = ALL) -> int:
        page = self.search(kind, *criteria, viewer=viewer)
        assert page.ignored == ()
        assert page.total == len(page.matches)
        return page.total

    def rows(self) -> int:
        tables = ("report", "patient", "resource", "use", "token", "date", "reference")
        with self.engine.connect() as connection:
            counts = [text(f"SELECT count(*) FROM fhir_{each}") for each in tables]  # noqa: S608 - names of this test
            return sum(connection.execute(count).scalar_one() for count in counts)


@pytest.fixture
def installation(url):
    made = Installation(url)
    yield made
    made.close()


def named(patient: str, **viewer: object) -> Viewer:
    return Viewer(patient=(PatientName("dicom", "", patient),), **viewer)


def test_resources_are_read_with_ids_that_stay(installation):
    installation.assess("a-1")
    (report,) = installation.search("DiagnosticReport").matches
    read = installation.query.read(ALL, "DiagnosticReport", report.id)
    assert read == report
    content = json.loads(report.content)
    assert (content["id"], report.version) == (report.id, 1)
    kind, _, observation = content["result"][0]["reference"].partition("/")
    assert installation.query.read(ALL, kind, observation).resource_type == "Observation"
    assert installation.query.read(ALL, "Observation", report.id) is None
    form = content["presentedForm"][0]
    assert "data" not in form
    binary = installation.query.read(ALL, *form["url"].split("/"))
    assert json.loads(binary.content)["contentType"] == "application/pdf"
    source = bundle("a-1")
    assert binary.source == stored(source)
    assert base64.b64decode(bytes_at(source, binary.place)) == base64.b64decode(LARGE)


def test_a_version_replaces_the_one_before(installation):
    installation.assess("a-1")
    before = {kind: installation.search(kind).matches for kind in TYPES}
    installation.version("a-1", 1, status="final")
    installation.version("a-1", 2, status="final")
    after = {kind: installation.search(kind).matches for kind in TYPES}
    for kind in TYPES:
        assert [each.id for each in after[kind]] == [each.id for each in before[kind]]
    changed = {kind for kind in TYPES if after[kind][0].version == 2}
    assert changed == {"DiagnosticReport", "Observation", "RiskAssessment"}
    assert after["DiagnosticReport"][0].last_updated_ms >= before["DiagnosticReport"][0].last_updated_ms
    assert installation.count("DiagnosticReport", ("status", "final")) == 1
    assert installation.count("DiagnosticReport", ("status", "preliminary")) == 0
    assert after["Binary"][0].source == stored(bundle("a-1", status="final"))


def test_what_a_withdrawal_takes_away_is_known_to_be_gone(installation):
    installation.assess("a-1")
    installation.assess("a-2")
    study = next(
        each
        for each in installation.search("ImagingStudy").matches
        if installation.query.patients_of([each])[0] == ["a-1"]
    )
    installation.version("a-1", 2, status="entered-in-error", study=False, pdf="c2hvcnQ=")
    gone = installation.query.read(ALL, "ImagingStudy", study.id)
    assert (gone.deleted, gone.content, gone.version) == (True, "", 2)
    assert installation.count("ImagingStudy") == 1
    assert installation.count("Binary") == 1
    assert installation.count("Device") == 1
    assert installation.count("DiagnosticReport", ("status", "entered-in-error")) == 1


SEARCHES = [
    ([("patient.identifier", "MRN-1")], 2),
    ([("subject:identifier", "|MRN-1")], 2),
    ([("subject:Patient.identifier", "other|MRN-1")], 0),
    ([("patient", "Patient/77")], 1),
    ([("subject", "77")], 1),
    ([("subject:Patient", "77")], 1),
    ([("patient", "https://ehr.example/fhir/Patient/77")], 1),
    ([("identifier", "urn:id|a-1-report")], 1),
    ([("identifier", "a-1-report")], 1),
    ([("identifier", "|a-1-report")], 0),
    ([("identifier", "urn:id|")], 3),
    ([("identifier", "a-1-report,a-2-report")], 2),
    ([("code", "http://loinc.org|18748-4"), ("status", "preliminary")], 3),
    ([("date", "2026-03-01")], 2),
    ([("date", "ge2026-03"), ("date", "lt2026-04")], 2),
    ([("date", "gt2026-03-01T08:00:00Z")], 1),
    ([("date", "ge2026-03-01T08:00:00Z")], 3),
    ([("date", "ne2026-03-01")], 1),
    ([("date", "sa2026-03-01")], 1),
    ([("date", "eb2026-03-01")], 0),
    ([("date", "le2026-03-01T09:00:00 01:00")], 2),
    ([("_lastUpdated", "ge2000")], 3),
    ([("_lastUpdated", "lt2000")], 0),
    ([("_id", "none")], 0),
    ([("patient.identifier", "MRN-1"), ("date", "2026-03-01"), ("status", "final")], 0),
]


def test_searches(installation):
    installation.assess("a-1")
    installation.assess("a-2")
    reference = "https://ehr.example/fhir/Patient/77"
    installation.assess("a-3", "MRN-3", reference=reference, date="2026-05-01T12:00:00Z")
    for criteria, count in SEARCHES:
        assert installation.count("DiagnosticReport", *criteria) == count, criteria
    assert installation.count("DiagnosticReport", ("result", "Observation/none")) == 0


REFUSED = [
    ("DiagnosticReport", "date", "yesterday"),
    ("DiagnosticReport", "date", "ap2026"),
    ("DiagnosticReport", "date", "2026-13"),
    ("DiagnosticReport", "status:not", "final"),
    ("DiagnosticReport", "code", ""),
    ("DiagnosticReport", "patient:Group", "1"),
    ("DiagnosticReport", "status", ",".join("x" * 101)),
]


def test_what_cannot_be_understood_is_refused_and_what_is_not_known_is_told(installation):
    for kind, name, value in REFUSED:
        with pytest.raises(InvalidRequest):
            installation.search(kind, (name, value))
    assert installation.search(kind, ("colour", "red")).ignored == ("colour",)
    assert installation.search(kind, ("result.code", "1")).ignored == ("result.code",)
    assert installation.search(kind, sort="colour").ignored == ("_sort=colour",)


def test_pages_by_both_orders_show_each_once(installation):
    for number in range(7):
        installation.assess(f"a-{number}", date=f"2026-03-0{number + 1}")
    for sort in ("", "_lastUpdated", "date", "-date"):
        wanted, token, seen = ResourceSearch("DiagnosticReport", sort=sort), "", []
        while True:
            page = installation.query.search(ALL, wanted, 3, token)
            assert page.total == 7
            seen += page.matches
            if not (token := page.next_token):
                break
        assert len({each.id for each in seen}) == len(seen) == 7
        dates = [json.loads(each.content)["effectiveDateTime"] for each in seen]
        if "date" in sort:
            assert dates == sorted(dates, reverse=sort.startswith("-"))
    assert installation.query.search(ALL, ResourceSearch("DiagnosticReport"), 0).total == 7
    with pytest.raises(InvalidRequest):
        installation.query.search(ALL, ResourceSearch("DiagnosticReport"), 3, "nonsense")


def test_includes_both_ways(installation):
    installation.assess("a-1")
    installation.assess("a-2", "MRN-2")
    page = installation.search(
        "DiagnosticReport",
        ("patient.identifier", "MRN-1"),
        includes=("DiagnosticReport:result", "iterate:Observation:device", "iterate:Observation:derived-from"),
        reverse_includes=("Provenance:target",),
    )
    kinds = sorted(each.resource_type for each in page.included)
    assert kinds == ["Device", "ImagingStudy", "Observation", "Observation", "Provenance"]
    page = installation.search("DiagnosticReport", includes=("DiagnosticReport:result:Patient",))
    assert page.included == ()
    with pytest.raises(InvalidRequest):
        installation.search("DiagnosticReport", includes=("DiagnosticReport:colour",))


def test_a_patient_sees_nothing_of_another_by_any_way(installation):
    installation.assess("a-1")
    installation.assess("a-2", "MRN-2", code="other")
    theirs = {kind: installation.search(kind, viewer=named("MRN-2")).matches for kind in TYPES}
    assert all(theirs.values())
    ids = {each.id for found in theirs.values() for each in found if each.resource_type != "Device"}
    me = named("MRN-1")
    for kind in TYPES:
        for criteria in ((), (("patient.identifier", "MRN-2"),), (("_id", theirs[kind][0].id),)):
            seen = installation.search(kind, *criteria, viewer=me).matches
            assert not ids & {each.id for each in seen}
        if kind != "Device":
            assert installation.query.read(me, kind, theirs[kind][0].id) is None
            assert installation.query.read(named("MRN-2"), kind, theirs[kind][0].id) is not None
    # Both reports refer to the same Device: what leads on from it stays with the patient.
    wanted = ResourceSearch(
        "Device",
        includes=("iterate:DiagnosticReport:*", "iterate:Observation:*"),
        reverse_includes=(
            "Observation:device",
            "RiskAssessment:performer",
            "Provenance:agent",
            "iterate:DiagnosticReport:result",
            "iterate:Provenance:target",
        ),
    )
    everything = installation.query.search(ALL, wanted, 10)
    assert ids & {each.id for each in everything.included}
    mine = installation.query.search(me, wanted, 10)
    assert mine.included
    assert not ids & {each.id for each in mine.included}
    # A token of one page is no key to the rows of another patient.
    first = installation.query.search(named("MRN-2"), ResourceSearch("Observation"), 1)
    second = installation.query.search(me, ResourceSearch("Observation"), 100, first.next_token)
    assert not ids & {each.id for each in second.matches}
    assert installation.search("Device", viewer=named("MRN-9")).matches == ()
    assert installation.search("DiagnosticReport", viewer=Viewer(patient=())).matches == ()


def test_names_of_a_patient_are_not_mixed_up(installation):
    installation.assess("a-1", "77", issuer="North")
    installation.assess("a-2", "MRN-2", reference="Patient/77")
    seen = {
        kind: installation.count("DiagnosticReport", viewer=Viewer(patient=(PatientName(kind, system, value),)))
        for kind, system, value in (
            ("dicom", "North", "77"),
            ("reference", "", "Patient/77"),
            ("identifier", "", "77"),
        )
    }
    assert seen == {"dicom": 1, "reference": 1, "identifier": 1}
    assert installation.count("DiagnosticReport", viewer=Viewer(patient=(PatientName("dicom", "", "77"),))) == 0
    by_reference = installation.search(
        "DiagnosticReport", viewer=Viewer(patient=(PatientName("reference", "", "Patient/77"),))
    )
    assert installation.query.patients_of(by_reference.matches)[0] == ["a-2"]


def test_tenants_and_scopes(installation):
    installation.assess("a-1", tenant="north")
    installation.assess("a-2", tenant="south")
    north = Viewer(tenant="north")
    for kind in TYPES:
        (other,) = installation.search(kind, viewer=Viewer(tenant="south")).matches[:1]
        assert all(each.id != other.id for each in installation.search(kind, viewer=north).matches)
        assert installation.query.read(north, kind, other.id) is None
    narrow = Viewer(types=frozenset({"DiagnosticReport"}))
    page = installation.search("DiagnosticReport", viewer=narrow, includes=("DiagnosticReport:result",))
    assert (len(page.matches), page.included) == (2, ())
    assert installation.search("Observation", viewer=narrow).matches == ()
    assert installation.query.read(narrow, "Observation", installation.search("Observation").matches[0].id) is None


def test_the_answer_of_the_model_waits_for_the_judgement(installation):
    installation.assess("a-1")
    installation.assess("a-2")
    (first, second) = ("a-1", "a-2")
    anybody, ada = Viewer(judgement_first=True), Viewer(judgement_first=True, judge="ada")
    assert installation.count("Observation", viewer=anybody) == 0
    judgement = RecordedJudgement("bob", "Dr. Bob", PhysicianJudgement.UNCERTAIN, "", datetime.now(UTC), True)
    installation.reports.judge(first, judgement)
    assert installation.count("Observation", viewer=anybody) == 2
    assert installation.count("Observation", viewer=ada) == 0
    installation.version(second, 2, status="entered-in-error")
    assert installation.count("DiagnosticReport", viewer=ada) == 1


def test_merge_and_move_reach_whose_a_report_is(installation):
    old, kept = (IndexedPatient(patient_id=name, issuer_of_patient_id="") for name in ("MRN-1", "MRN-2"))
    installation.assess("a-1")
    installation.assess("a-2")
    installation.assess("a-3")
    chart_patients.give_to(installation.engine, ["a-1"], kept)
    installation.index.merge(["a-1"], old, kept)
    assert installation.count("DiagnosticReport", ("patient.identifier", "MRN-2")) == 1
    assert installation.count("DiagnosticReport", viewer=named("MRN-2")) == 1
    assert installation.count("DiagnosticReport", viewer=named("MRN-1")) == 2
    installation.version("a-1", 2, status="final")
    assert installation.count("DiagnosticReport", viewer=named("MRN-2")) == 1
    assert installation.count("DiagnosticReport", viewer=named("MRN-1")) == 2
    # Another person: the report names the wrong one, so no patient has it until it is withdrawn.
    chart_patients.give_to(installation.engine, ["a-2"], kept)
    installation.index.move(["a-2"])
    for name in ("MRN-1", "MRN-2"):
        assert installation.count("DiagnosticReport", viewer=named(name)) == 1
    installation.version("a-2", 2, status="final")
    assert installation.count("DiagnosticReport") == 3
    assert installation.count("DiagnosticReport", viewer=named("MRN-1")) == 1
    installation.version("a-2", 3, status="entered-in-error")
    assert installation.count("DiagnosticReport", ("patient.identifier", "MRN-1")) == 2
    assert installation.count("DiagnosticReport", ("patient.identifier", "MRN-2")) == 1
    # What an earlier release corrected, and this one indexes: nobody says how.
    installation.chart.add([AssessmentRow("a-4", 1, "studies/a-4", "models/m", 3)], Subject((old,)))
    chart_patients.give_to(installation.engine, ["a-4"], kept)
    installation.version("a-4", 1)
    assert installation.count("DiagnosticReport", viewer=named("MRN-2")) == 1
    assert installation.count("DiagnosticReport") == 4


def test_erasure_leaves_nothing_and_keeps_what_others_use(installation):
    installation.assess("a-1")
    before = installation.rows()
    installation.assess("a-2", "MRN-2")
    installation.version("a-2", 2, "MRN-2", status="entered-in-error", study=False)
    assert installation.index.delete(["a-2"]) > 0
    assert installation.rows() == before
    assert installation.count("Device") == 1
    installation.index.delete(["a-1", "never"])
    assert installation.rows() == 0


def test_reports_of_before_are_found_as_missing(installation):
    installation.assess("a-1")
    rows = [AssessmentRow(f"a-{n}", n, "studies/s", "models/m", state) for n, state in ((2, 3), (3, 4), (4, 0))]
    installation.chart.add(rows)
    assert installation.index.missing(3, 10) == [(4, "a-4"), (2, "a-2")]
    assert installation.index.missing(3, 1) == [(4, "a-4")]
    assert installation.index.missing(3, 10, (4, "a-4")) == [(2, "a-2")]


def test_dates():
    day = 86_400_000
    assert date_range("1970") == (0, 365 * day - 1)
    assert date_range("1970-02") == (31 * day, 59 * day - 1)
    assert date_range("1970-01-02") == (day, 2 * day - 1)
    assert date_range("1970-01-01T01:00+01:00") == (0, 59_999)
    assert date_range("1970-01-01T00:00:01Z") == (1000, 1999)
    assert date_range("1970-01-01T00:00:01.25Z") == (1250, 1250)
    for wrong in ("", "70", "1970-1", "1970-01-01T", "1970-02-30", "1970-01-01T25:00Z", "1970 01"):
        with pytest.raises(ValueError, match=r"date|day|month|hour"):
            date_range(wrong)
