"""The read API of a real server: two patients, whose reports are read, signed, withdrawn and erased, and by whom.

The readers are fhirclient and fhirpy, which others wrote; the tokens are those of an issuer of its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import fhirkit
import pydicom
import pytest
import requests
import yaml
from fhirclient.client import FHIRClient
from fhirclient.models.diagnosticreport import DiagnosticReport
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import ResourceNotFound
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.administration_client import AdministrationClient
from oncoresponse.rpc.client import Client, Order
from oncoresponse.storage.resource_index import INDEX_TABLES
from oncoresponse.v1 import administration_pb2, report_pb2, study_pb2

from tests.integration.orthanc_server import free_port
from tests.integration.test_oidc_tokens import AUDIENCE, Issuer

ROOT = Path(__file__).parents[2]
STUDIES = {"STS_019": ROOT / "examples" / "STS_019", "STS_032": ROOT / "examples" / "STS_032"}
READ_TYPES = ("DiagnosticReport", "Observation", "RiskAssessment", "ImagingStudy", "Device", "Provenance")
READ_TYPES += ("DocumentReference", "Binary", "Media", "BodyStructure")
OF_PATIENT = tuple(kind for kind in READ_TYPES if kind != "Device")
FHIR_JSON = "application/fhir+json"
NONSENSE = "a.b.c"


def silent(_message: str, _fraction: float) -> None:
    return None


def patient_id_of(folder: Path) -> str:
    file = next(path for path in sorted(folder.rglob("*.dcm")))
    return str(pydicom.dcmread(file, stop_before_pixels=True).PatientID)


class Installation:
    """A server with an issuer of tokens, and a report of each of two patients, the second filed under a reference."""

    def __init__(self, folder: Path, serve: Any, issuer: Issuer) -> None:
        self.issuer = issuer
        endpoints = {name: f"{issuer.url}/{name}" for name in ("authorization_endpoint", "token_endpoint")}
        found = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys", **endpoints}
        issuer.answers["/.well-known/openid-configuration"] = lambda handler: Issuer.reply(handler, found)
        oidc = {"issuer": issuer.url, "audience": AUDIENCE, "patient_identifier_claim": "mrn"}
        settings = folder / "settings.yaml"
        limits = {"calls_per_minute": 0, "failed_authentications_per_minute": 0}
        secret = folder / "subscriber"
        secret.write_text("topsecret")
        secret.chmod(0o600)
        # Nobody listens there.
        warehouse = {"kind": "subscription", "url": f"http://127.0.0.1:{free_port()}/notify"}
        warehouse |= {"token_file": str(secret), "fhir_url": "https://hospital.example/fhir"}
        destinations = {"warehouse": warehouse, "board": {**warehouse, "kind": "fhir"}}
        del destinations["board"]["fhir_url"]
        more = {"caller_limits": limits, "model_activation": "installed", "destinations": destinations}
        settings.write_text(yaml.safe_dump({"oidc": oidc, "http": {"listen": "127.0.0.1:0"}, **more}))
        arguments = ("--listen", "127.0.0.1:0", "--data-dir", str(folder / "data"))
        self._serve = lambda: serve(*arguments, settings=settings, anonymous=False)
        self.data = folder / "data"
        self.start()
        self.patients = {name: patient_id_of(study) for name, study in STUDIES.items()}
        self.assessments = {}
        with closing(self.client()) as client:
            for name, folder_of_study in STUDIES.items():
                reference = "Patient/77" if name == "STS_032" else ""
                to = ("warehouse",) if reference else ()
                contour = study_pb2.SuppliedContour()
                order = Order("sts-petct", contour=contour, patient_reference=reference, deliver_to=to)
                study = client.upload_study(folder_of_study, silent)
                self.assessments[name] = client.assess(study, order, silent)

    def start(self) -> None:
        self.server = self._serve()
        self.server.wait_until_ready()
        self.base = f"http://{self.server.edges['http']}/fhir"

    def client(self) -> Client:
        return Client(self.server.address, token=self.token("submit", "read", "sign", "administer"))

    def token(self, *roles: str, **claims: object) -> str:
        return self.issuer.token(roles=list(roles or ("read",)), name="Dr. Ada", **claims)

    def of_patient(self, name: str, scope: str = "patient/*.rs") -> str:
        if name == "STS_032":
            return self.token(scope=f"launch {scope}", patient="77")
        return self.token(scope=f"launch {scope}", mrn=self.patients[name])

    def get(self, path: str, token: str | None = None, **headers: str) -> requests.Response:
        sent = {"Authorization": f"Bearer {self.token() if token is None else token}", **headers}
        url = path if path.startswith("http") else f"{self.base}/{path}"
        return requests.get(url, headers=sent, timeout=60)

    def bundle(self, path: str, token: str | None = None, **headers: str) -> dict[str, Any]:
        answer = self.get(path, token, **headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == FHIR_JSON
        return answer.json()

    def found(self, path: str, token: str | None = None) -> list[dict[str, Any]]:
        """All resources of all pages, what is included too."""
        resources = []
        while path:
            bundle = self.bundle(path, token)
            resources += [
                entry["resource"] for entry in bundle.get("entry", []) if entry["search"]["mode"] != "outcome"
            ]
            path = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
        return resources

    def report_of(self, name: str) -> dict[str, Any]:
        by = "patient=77" if name == "STS_032" else f"patient.identifier={self.patients[name]}"
        (report,) = self.found(f"DiagnosticReport?{by}")
        return report


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    thread = threading.Thread(target=issuer.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        issuer.server.shutdown()
        issuer.server.server_close()


@pytest.fixture(scope="module")
def here(tmp_path_factory, serve_for_module, issuer) -> Installation:
    return Installation(tmp_path_factory.mktemp("fhir"), serve_for_module, issuer)


def ids_of(resources: list[dict[str, Any]]) -> set[str]:
    return {f"{each['resourceType']}/{each['id']}" for each in resources}


def fault(answer: requests.Response) -> tuple[int, str, str]:
    """Status, issue type and reason of an OperationOutcome."""
    assert answer.headers["content-type"] == FHIR_JSON
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    (issue,) = outcome["issue"]
    assert issue["severity"] == "error"
    assert len(issue["details"]["text"]) > 10
    return answer.status_code, issue["code"], issue["details"]["coding"][0]["code"]


def test_every_resource_of_the_bundle_is_read_and_searched(here):
    with closing(here.client()) as client:
        bundle = json.loads(client.artifact(here.assessments["STS_019"].name, "report.json"))
    sent: dict[str, int] = {}
    for entry in bundle["entry"]:
        sent[entry["resource"]["resourceType"]] = sent.get(entry["resource"]["resourceType"], 0) + 1
    assert set(sent) <= set(READ_TYPES)
    mine = f"patient.identifier={here.patients['STS_019']}"
    for kind, count in sent.items():
        found = here.found(f"{kind}?{mine}&_count=3")
        assert len(found) == count
        for resource in found[:2]:
            read = here.get(f"{kind}/{resource['id']}")
            assert read.json() == resource
            assert read.headers["etag"] == f'W/"{resource["meta"]["versionId"]}"'
            again = here.get(f"{kind}/{resource['id']}", **{"If-None-Match": read.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            version = f"{kind}/{resource['id']}/_history/"
            assert here.get(version + "1").json() == resource
            assert fault(here.get(version + "9")) == (404, "not-found", "RESOURCE_NOT_FOUND")
    # What a resource refers to is there.
    report = here.report_of("STS_019")
    for each in [*report["result"], *report["imagingStudy"]]:
        assert here.get(each["reference"]).status_code == 200
    pdf = report["presentedForm"][0]
    data = here.get(pdf["url"], Accept="application/pdf")
    assert data.headers["content-type"] == "application/pdf"
    assert (len(data.content), data.content[:5]) == (pdf["size"], b"%PDF-")
    assert base64.b64encode(hashlib.sha1(data.content, usedforsecurity=False).digest()).decode() == pdf["hash"]
    binary = here.get(pdf["url"], Accept=FHIR_JSON).json()
    assert base64.b64decode(binary["data"]) == data.content


def test_searches_by_what_an_ehr_knows(here):
    report = here.report_of("STS_019")
    identifier = report["identifier"][0]
    coding = report["code"]["coding"][0]
    for query in (
        f"identifier={identifier['system']}|{identifier['value']}",
        f"_id={report['id']}",
        f"patient.identifier={here.patients['STS_019']}&status=preliminary&code={coding['system']}|{coding['code']}",
        f"subject:identifier={here.patients['STS_019']}&date=ge1990&date=le2100&_lastUpdated=gt2020-01-01",
        f"issued={report['issued'][:10]}&patient.identifier={here.patients['STS_019']}&_sort=-date",
    ):
        bundle = here.bundle(f"DiagnosticReport?{query}")
        assert (bundle["type"], bundle["total"]) == ("searchset", 1)
        (entry,) = bundle["entry"]
        assert entry["fullUrl"] == f"{here.base}/DiagnosticReport/{report['id']}"
        assert entry["resource"] == report
        posted = requests.post(
            f"{here.base}/DiagnosticReport/_search",
            data=dict(part.split("=", 1) for part in query.split("&") if not part.startswith("date=le")),
            headers={"Authorization": f"Bearer {here.token()}"},
            timeout=60,
        )
        assert posted.json()["total"] == 1
    assert here.bundle("DiagnosticReport?patient=77")["total"] == 1
    assert here.bundle("DiagnosticReport?status=final")["total"] == 0
    for count_only in ("_summary=count", "_count=0"):
        bundle = here.bundle(f"DiagnosticReport?{count_only}")
        assert (bundle["total"], bundle.get("entry")) == (2, None)
    included = here.found(
        f"DiagnosticReport?_id={report['id']}&_include=DiagnosticReport:result&_include:iterate=Observation:device"
        "&_revinclude=Provenance:target"
    )
    kinds = {each["resourceType"] for each in included}
    assert kinds == {"DiagnosticReport", "Observation", "Device", "Provenance"}
    assert len([each for each in included if each["resourceType"] == "Observation"]) == len(report["result"])


def test_pages_have_links_that_lead_through_everything_once(here):
    everything = here.found("Observation?_count=500&_sort=_lastUpdated")
    paged = here.found("Observation?_count=7&_sort=_lastUpdated")
    assert [each["id"] for each in paged] == [each["id"] for each in everything]
    assert len(ids_of(paged)) == len(paged) > 14
    first = here.bundle("Observation?_count=7&colour=red")
    assert first["total"] == len(everything)
    assert "colour" not in json.dumps(first["link"])
    outcome = first["entry"][-1]
    assert (outcome["search"]["mode"], outcome["resource"]["issue"][0]["severity"]) == ("outcome", "warning")
    assert "colour" in outcome["resource"]["issue"][0]["details"]["text"]


def test_faults_are_named(here):
    report = here.report_of("STS_019")
    read = f"DiagnosticReport/{report['id']}"
    assert fault(here.get("DiagnosticReport/none")) == (404, "not-found", "RESOURCE_NOT_FOUND")
    assert fault(here.get(f"Observation/{report['id']}")) == (404, "not-found", "RESOURCE_NOT_FOUND")
    assert fault(here.get("Appointment/1")) == (404, "not-found", "RESOURCE_NOT_FOUND")
    assert fault(here.get("Appointment?status=booked"))[0] == 404
    assert fault(here.get(""))[0] == 404
    assert fault(here.get(f"{read}/result"))[0] == 404
    assert fault(here.get("DiagnosticReport?date=yesterday")) == (400, "invalid", "INVALID_REQUEST")
    assert fault(here.get("DiagnosticReport?status:not=final"))[0] == 400
    assert fault(here.get("DiagnosticReport?_count=many"))[0] == 400
    assert fault(here.get("DiagnosticReport?_page=x"))[0] == 400
    assert fault(here.get("DiagnosticReport?_include=Colour"))[0] == 400
    assert fault(here.get("DiagnosticReport?colour=red", Prefer="return=minimal, handling=strict"))[0] == 400
    assert fault(here.get(read, Accept="application/fhir+xml")) == (406, "not-supported", "INVALID_REQUEST")
    assert fault(here.get("DiagnosticReport?_format=xml"))[0] == 406
    assert here.get("DiagnosticReport?_format=application/fhir%2Bjson", Accept="text/html").status_code == 200
    assert fault(here.get(read, token=""))[0] == 401
    assert fault(here.get(read, token=NONSENSE))[:2] == (401, "login")
    assert fault(here.get(read, token=here.token("submit"))) == (403, "forbidden", "ACCESS_DENIED")
    assert fault(here.get("DiagnosticReport?_format=xml", token=NONSENSE))[0] == 401
    mine = {"Authorization": f"Bearer {here.token()}"}
    for method in ("PUT", "DELETE", "PATCH"):
        answer = requests.request(method, f"{here.base}/{read}", headers=mine, timeout=60)
        assert fault(answer)[:2] == (405, "not-supported")
    assert fault(requests.post(f"{here.base}/DiagnosticReport", json={}, headers=mine, timeout=60))[0] == 405
    form = requests.post(f"{here.base}/DiagnosticReport/_search", json={}, headers=mine, timeout=60)
    assert fault(form)[0] == 415
    assert here.patients["STS_019"] not in here.server.log.read_text()


def test_what_the_server_can_do_and_where_tokens_come_from_is_told_to_everybody(here):
    statement = requests.get(f"{here.base}/metadata", timeout=60).json()
    assert (statement["resourceType"], statement["fhirVersion"]) == ("CapabilityStatement", "4.0.1")
    (rest,) = statement["rest"]
    served = {each["type"]: each for each in rest["resource"]}
    assert set(READ_TYPES) <= set(served)
    assert [each["code"] for each in served.pop("Subscription")["interaction"]] == ["read"]
    for kind, resource in served.items():
        assert {each["code"] for each in resource["interaction"]} == {"read", "vread", "search-type"}
        for parameter in resource["searchParam"]:
            value = "ge2020" if parameter["type"] == "date" else "x"
            strict = here.get(f"{kind}?{parameter['name']}={value}", Prefer="handling=strict")
            assert strict.status_code == 200, (kind, parameter)
        for name, clauses in (("_include", "searchInclude"), ("_revinclude", "searchRevInclude")):
            for clause in resource.get(clauses, []):
                assert here.get(f"{kind}?{name}={clause}&_count=1").status_code == 200
    for url in (here.base, here.base.removesuffix("/fhir")):
        found = requests.get(f"{url}/.well-known/smart-configuration", timeout=60).json()
        assert found["issuer"] == here.issuer.url
        assert found["token_endpoint"] == f"{here.issuer.url}/token_endpoint"
        assert found["authorization_endpoint"] == f"{here.issuer.url}/authorization_endpoint"
        assert "permission-patient" in found["capabilities"]


def test_a_subscription_of_the_settings_is_read_and_says_how_it_stands(here):
    """By a token that may, without what would let somebody in at the subscriber."""
    token = here.token(scope="system/Subscription.r")
    read = here.get("Subscription/warehouse", token)
    assert read.status_code == 200 and read.headers["content-type"] == FHIR_JSON
    assert "topsecret" not in read.text
    subscription = read.json()
    assert (subscription["id"], subscription["status"]) == ("warehouse", "active")
    assert subscription["channel"]["endpoint"].endswith("/notify")
    answer = here.get("Subscription/warehouse/$status", token)
    assert answer.status_code == 200, answer.text
    (entry,) = answer.json()["entry"]
    told = {each["name"]: each for each in entry["resource"]["parameter"]}
    assert told["subscription"]["valueReference"]["reference"] == "https://hospital.example/fhir/Subscription/warehouse"
    assert (told["type"]["valueCode"], told["status"]["valueCode"]) == ("query-status", "active")
    assert told["events-since-subscription-start"]["valueString"] == "1"
    assert [issue for each in (subscription, answer.json()) for issue in fhirkit.validate(each)] == []
    for path in ("Subscription/warehouse", "Subscription/warehouse/$status"):
        assert fault(here.get(path, token=""))[0] == 401
        for refused in (
            here.token(scope="system/DiagnosticReport.r"),
            here.of_patient("STS_032"),
            here.token("submit", scope="system/Subscription.r"),
        ):
            assert fault(here.get(path, refused))[:2] == (403, "forbidden")
    # Another kind of destination is none, and neither is one that is not there; an operation of another type is not.
    for path in ("Subscription/board", "Subscription/board/$status", "Subscription/none"):
        assert fault(here.get(path, token))[:2] == (404, "not-found")
    assert here.get("DiagnosticReport/x/$status", token).status_code == 404


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_a_token_for_a_patient_never_shows_another(here, name):
    other = next(each for each in STUDIES if each != name)
    token = here.of_patient(name)
    others_by = "patient=77" if other == "STS_032" else f"patient.identifier={here.patients[other]}"
    theirs = {kind: here.found(f"{kind}?{others_by}") for kind in READ_TYPES}
    forbidden = set().union(*(ids_of(theirs[kind]) for kind in OF_PATIENT))
    assert len(forbidden) > 15
    for kind in READ_TYPES:
        own = here.found(f"{kind}?_count=5", token)
        assert own or not theirs[kind]
        assert not forbidden & ids_of(own)
        seen = here.found(f"{kind}?{others_by}", token)
        seen += here.found(f"{kind}?_id={','.join(each['id'] for each in theirs[kind][:20])}", token)
        assert not forbidden & ids_of(seen)
        if kind == "Device":
            continue
        for resource in theirs[kind][:3]:
            path = f"{kind}/{resource['id']}"
            assert fault(here.get(path, token)) == (404, "not-found", "RESOURCE_NOT_FOUND")
            assert fault(here.get(f"{path}/_history/1", token))[0] == 404
            assert here.get(path).status_code == 200
        if theirs[kind] and "identifier" in theirs[kind][0]:
            identifier = theirs[kind][0]["identifier"][0]["value"]
            assert not forbidden & ids_of(here.found(f"{kind}?identifier={identifier}", token))
    around = (
        "Device?_revinclude=Observation:device&_revinclude=Provenance:agent&_revinclude=RiskAssessment:performer"
        "&_revinclude:iterate=DiagnosticReport:result&_revinclude:iterate=Provenance:target"
        "&_include:iterate=DiagnosticReport:*&_include:iterate=Observation:*&_include:iterate=Provenance:*"
    )
    assert forbidden & ids_of(here.found(around))
    own = here.found(around, token)
    assert any(each["resourceType"] == "DiagnosticReport" for each in own)
    assert not forbidden & ids_of(own)
    # The link to the next page of another is no key to it.
    page = here.bundle(f"Observation?_count=2&{others_by}", here.of_patient(other))
    link = next(each["url"] for each in page["link"] if each["relation"] == "next")
    assert here.found(link, token) == []
    unfiltered = here.bundle("Observation?_count=2", here.of_patient(other))
    link = next(each["url"] for each in unfiltered["link"] if each["relation"] == "next")
    assert not forbidden & ids_of(here.found(link, token))
    pdf = here.report_of(other)["presentedForm"][0]["url"]
    assert here.get(pdf, Accept="application/pdf").status_code == 200
    assert here.get(pdf, token, Accept="application/pdf").status_code == 404


def test_scopes_narrow_and_a_token_for_a_patient_is_for_nothing_else(here):
    read_only = here.of_patient("STS_019", "patient/DiagnosticReport.r")
    report = here.report_of("STS_019")
    assert here.get(f"DiagnosticReport/{report['id']}", read_only).status_code == 200
    assert fault(here.get("DiagnosticReport", read_only)) == (403, "forbidden", "ACCESS_DENIED")
    assert fault(here.get(report["result"][0]["reference"], read_only))[0] == 403
    for scope, expected in (
        ("user/*.read", 200),
        ("system/*.rs", 200),
        ("user/DiagnosticReport.rs", 200),
        ("user/*.cud", 403),
        ("user/Observation.rs", 403),
        ("user/DiagnosticReport.rs?status=final", 403),
        ("openid profile", 200),
    ):
        assert here.get("DiagnosticReport", here.token(scope=scope)).status_code == expected, scope
    narrow = here.found(
        "DiagnosticReport?_include=DiagnosticReport:result", here.token(scope="user/DiagnosticReport.rs")
    )
    assert {each["resourceType"] for each in narrow} == {"DiagnosticReport"}
    # One with patient scopes that names no patient, or names it otherwise than as a text, sees nothing at all.
    for claims in ({}, {"patient": ["77"]}, {"patient": ""}, {"patient": {"id": "77"}}):
        token = here.token(scope="patient/*.rs user/*.rs", **claims)
        assert fault(here.get("DiagnosticReport", token)) == (403, "forbidden", "ACCESS_DENIED")
    assert here.bundle("DiagnosticReport", here.token(scope="patient/*.rs", patient="78"))["total"] == 0
    both = here.token(scope="patient/*.rs user/*.rs system/*.rs", patient="77")
    assert here.bundle("DiagnosticReport", both)["total"] == 1
    # An EHR's id is no medical record number, nor the reverse.
    assert here.bundle("DiagnosticReport", here.token(scope="patient/*.rs", mrn="77"))["total"] == 0
    wrong = here.token(scope="patient/*.rs", patient=here.patients["STS_019"])
    assert here.bundle("DiagnosticReport", wrong)["total"] == 0
    glass = here.issuer.token(roles=["read", "break_glass"], scope="patient/*.rs", patient="77")
    refused = here.get("DiagnosticReport", glass, **{"x-emergency-reason": "unconscious, needs it now"})
    assert refused.status_code == 403
    with closing(Client(here.server.address, token=here.of_patient("STS_019"))) as client:
        for call in (
            client.models,
            lambda: client.report(here.assessments["STS_019"].name),
            lambda: client.artifact(here.assessments["STS_032"].name, "report.json"),
        ):
            with pytest.raises(OncoResponseError) as caught:
                call()
            assert caught.value.reason == "ACCESS_DENIED"


def test_readers_that_others_wrote(here):
    smart = FHIRClient(settings={"app_id": "reader", "api_base": here.base})
    smart.server.session.headers["Authorization"] = f"Bearer {here.token()}"
    identifier = here.report_of("STS_019")["identifier"][0]
    where = {"identifier": f"{identifier['system']}|{identifier['value']}", "_include": "DiagnosticReport:result"}
    (bundle,) = DiagnosticReport.where(struct=where).perform_iter(smart.server)
    reports = [each.resource for each in bundle.entry if each.resource.resource_type == "DiagnosticReport"]
    assert [each.status for each in reports] == ["preliminary"]
    assert len(bundle.entry) == 1 + len(reports[0].result)
    read = DiagnosticReport.read(reports[0].id, smart.server)
    assert read.as_json() == reports[0].as_json()
    fetched = list(DiagnosticReport.where(struct={"_count": "1"}).perform_resources_iter(smart.server))
    assert len(fetched) == 2

    client = SyncFHIRClient(here.base, authorization=f"Bearer {here.token()}")
    search = client.resources("Observation").search(**{"patient.identifier": here.patients["STS_019"]}).limit(4)
    observations = search.fetch_all()
    assert len(observations) == len(here.found(f"Observation?patient.identifier={here.patients['STS_019']}"))
    assert search.count() == len(observations)
    device = observations[0]["device"].to_resource()
    assert device["resourceType"] == "Device"
    with pytest.raises(ResourceNotFound):
        client.reference("Observation", "none").to_resource()


def test_signing_and_withdrawing_change_what_is_read(here):
    """After the tests of what is preliminary; the report of the second patient."""
    name = here.assessments["STS_032"].name
    before = {kind: here.found(f"{kind}?patient=77") for kind in READ_TYPES}
    sign = report_pb2.SignReportRequest(
        assessment=name, seen_version=1, agreement=report_pb2.AGREEMENT_AGREE, request_id=str(uuid.uuid4())
    )
    with closing(here.client()) as client:
        client.sign_report(sign)
        report = here.report_of("STS_032")
        assert (report["status"], report["meta"]["versionId"]) == ("final", "2")
        assert report["id"] == before["DiagnosticReport"][0]["id"]
        assert {each["status"] for each in here.found("Observation?patient=77")} == {"final"}
        assert len(here.found("Provenance?patient=77")) == 2
        study = before["ImagingStudy"][0]
        # The series of the verified objects came to it; nothing else of it is another.
        signed_study = here.get(f"ImagingStudy/{study['id']}").json()
        assert signed_study["series"][: len(study["series"])] == study["series"]
        assert len(signed_study["series"]) == len(study["series"]) + 2
        kept = ("identifier", "subject", "status", "modality", "text")
        assert [signed_study[name] for name in kept] == [study[name] for name in kept]
        pdf = here.get(report["presentedForm"][0]["url"], Accept="application/pdf").content
        hashed = base64.b64encode(hashlib.sha1(pdf, usedforsecurity=False).digest()).decode()
        assert hashed == report["presentedForm"][0]["hash"]
        since = before["DiagnosticReport"][0]["meta"]["lastUpdated"]
        changed = here.found(f"DiagnosticReport?_lastUpdated=gt{since}")
        assert [each["id"] for each in changed] == [report["id"]]
        client.withdraw_report(
            report_pb2.WithdrawReportRequest(
                assessment=name,
                seen_version=2,
                reason=report_pb2.WITHDRAWAL_REASON_OTHER,
                comment="Taken back for a test.",
                request_id=str(uuid.uuid4()),
            )
        )
    report = here.report_of("STS_032")
    assert (report["status"], report["meta"]["versionId"]) == ("entered-in-error", "3")
    observations = here.found("Observation?patient=77")
    assert {each["status"] for each in observations} == {"entered-in-error"}
    assert not any("valueQuantity" in each for each in observations)
    assert fault(here.get(f"ImagingStudy/{study['id']}")) == (410, "deleted", "RESOURCE_GONE")
    assert here.found("ImagingStudy?patient=77") == []
    # Of another patient a token does not even learn that it is gone.
    assert fault(here.get(f"ImagingStudy/{study['id']}", here.of_patient("STS_019")))[0] == 404
    assert fault(here.get(f"ImagingStudy/{study['id']}", here.of_patient("STS_032")))[0] == 410


def test_reading_is_in_the_audit_record(here):
    report = here.report_of("STS_019")
    answer = here.get(f"DiagnosticReport/{report['id']}", **{"x-correlation-id": "read-by-fhir-1"})
    assert answer.headers["x-correlation-id"] == "read-by-fhir-1"
    with closing(sqlite3.connect(here.data / "audit.sqlite")) as database:
        events = [row[0] for row in database.execute("SELECT event FROM audit_event")]
    (event,) = (json.loads(each) for each in events if "read-by-fhir-1" in each)
    text = json.dumps(event)
    assert "ResourceService/ReadResource" in text
    assert f"DiagnosticReport/{report['id']}" in text
    assert here.assessments["STS_019"].name in text
    assert here.patients["STS_019"] not in text


def test_reports_of_an_earlier_release_become_readable_after_the_start(here):
    """As they are now: the one that is preliminary, and the one that was withdrawn."""
    seen = {kind: ids_of(here.found(kind)) for kind in READ_TYPES}
    here.server.stop()
    with closing(sqlite3.connect(here.data / "oncoresponse.sqlite")) as database:
        for table in INDEX_TABLES:
            database.execute(f"DROP TABLE {table}")
        database.execute("DELETE FROM oncoresponse_schema WHERE area = 'resources'")
        database.commit()
    here.start()
    end = time.monotonic() + 60
    while any("still being made readable" in json.dumps(each) for each in here.bundle("Device").get("entry", [])):
        assert time.monotonic() < end
    assert {kind: ids_of(here.found(kind)) for kind in READ_TYPES} == seen
    assert here.report_of("STS_032")["status"] == "entered-in-error"
    assert here.report_of("STS_019")["status"] == "preliminary"
    assert here.found("DiagnosticReport", here.of_patient("STS_019")) == [here.report_of("STS_019")]


def test_erasure_reaches_what_is_read(here):
    """The last test: the report of the first patient is gone, with everything by which it was found."""
    report = here.report_of("STS_019")
    observations = here.found(f"Observation?patient.identifier={here.patients['STS_019']}")
    devices = here.found("Device")
    asked = {"name": here.assessments["STS_019"].name, "request_id": str(uuid.uuid4())}
    with closing(AdministrationClient(here.server.address, token=here.token("administer"))) as client:
        planned = client.delete_assessment(administration_pb2.DeleteAssessmentRequest(**asked, dry_run=True))
        confirmed = administration_pb2.DeleteAssessmentRequest(**asked, confirmation=planned.confirmation)
        client.delete_assessment(confirmed)
    assert fault(here.get(f"DiagnosticReport/{report['id']}"))[0] == 404
    assert fault(here.get(f"Observation/{observations[0]['id']}"))[0] == 404
    assert here.bundle(f"DiagnosticReport?patient.identifier={here.patients['STS_019']}")["total"] == 0
    assert here.bundle("DiagnosticReport")["total"] == 1
    assert ids_of(here.found("Device")) <= ids_of(devices)
