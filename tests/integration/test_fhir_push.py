"""Reports pushed to a FHIR server that others wrote, behind a login that checks each assertion."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm
from oncoresponse.edges.delivery.fhir_push import FhirSender
from oncoresponse.edges.delivery.sending import Outcome, Parcel, settlement
from oncoresponse.edges.delivery.smart_login import SmartLogin, signing_key
from oncoresponse.errors import ConfigurationError
from oncoresponse.reporting.compose import Report
from oncoresponse.rpc.ehr_settings import FhirDestination, SmartBackend
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.v1 import delivery_pb2

from tests.integration.medplum_server import running_fhir_server
from tests.integration.test_fhir_server import documents_of, sample, versions_of
from tests.integration.token_endpoint import Guard, guarded

pet_series, pet, ct, mask, model = sample.pet_series, sample.pet, sample.ct, sample.mask, sample.model
make_context, report = sample.make_context, sample.report

Json = dict[str, Any]
SYSTEM = "urn:oid:1.2.36.146.595.217.0.1"
SCOPE = "system/Patient.rs system/DiagnosticReport.crus"
PDF = b"%PDF-1.7 the page of a version"
ASSESSMENT = "assessments/0190b5c0-assessment"
EVENTS = {
    1: delivery_pb2.DELIVERY_EVENT_COMPLETED,
    2: delivery_pb2.DELIVERY_EVENT_SIGNED,
    3: delivery_pb2.DELIVERY_EVENT_AMENDED,
    4: delivery_pb2.DELIVERY_EVENT_WITHDRAWN,
}


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with running_fhir_server() as url:
        yield url


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An RSA key as PEM and a P-384 key as JWK, each in a file of its own."""
    folder = tmp_path_factory.mktemp("keys")
    secret = {"RS384": rsa.generate_private_key(65537, 2048), "ES384": ec.generate_private_key(ec.SECP384R1())}
    files = {name: folder / name for name in secret}
    pem = secret["RS384"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files["RS384"].write_bytes(pem)
    document = ECAlgorithm.to_jwk(secret["ES384"], as_dict=True) | {"kid": "of-the-jwk"}
    files["ES384"].write_text(json.dumps(document))
    for file in files.values():
        file.chmod(0o600)
    return {"secret": secret, "files": files}


@pytest.fixture
def identifier(request: pytest.FixtureRequest) -> str:
    """A patient identifier that no other test uses."""
    return f"MRN-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"


def as_delivery(version: int = 1, assessment: str = ASSESSMENT) -> delivery_pb2.Delivery:
    return delivery_pb2.Delivery(
        name="deliveries/1", assessment=assessment, report_version=version, event=EVENTS[version]
    )


def smart_of(algorithm: str, keys: dict[str, Any], guard: Guard, **fields: Any) -> SmartBackend:
    given = {"client_id": guard.client_id, "key_file": keys["files"][algorithm], "scope": SCOPE, **fields}
    settings = SmartBackend(**given)
    key = signing_key(settings)
    guard.keys.setdefault(key.key_id, (keys["secret"][algorithm].public_key(), algorithm))
    return settings


def sender_to(url: str, smart: SmartBackend | None = None, **fields: Any) -> FhirSender:
    destination = FhirDestination(kind="fhir", url=url, smart=smart, patient_system=SYSTEM, **fields)
    login = None if smart is None else SmartLogin(smart, url, (5.0, 20.0))
    return FhirSender(destination, login)


def told(outcome: Outcome) -> delivery_pb2.SettleDeliveryRequest:
    return settlement(delivery_pb2.LeasedDelivery(delivery=as_delivery()), outcome)


def reason(outcome: Outcome) -> str:
    return told(outcome).failure.reason


def of_patient(bundle: Json, identifier: str, **more: Any) -> Json:
    """The Bundle about another patient, and of another assessment and study in its identifiers."""

    def another(found: re.Match[str]) -> str:
        return uuid.uuid5(uuid.NAMESPACE_URL, found.group() + identifier).urn

    text = re.sub(r"urn:uuid:[0-9a-f-]{36}", another, json.dumps(bundle))
    studies = (each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == "ImagingStudy")
    for uid in {study["identifier"][0]["value"] for study in studies}:
        text = text.replace(uid, f"{uid}.{zlib.crc32(identifier.encode())}")
    (subject,) = {json.dumps(each["resource"]["subject"]) for each in bundle["entry"] if "subject" in each["resource"]}
    new = json.loads(subject)
    new["identifier"] = {**new["identifier"], "value": identifier, **more}
    return json.loads(text.replace(subject, json.dumps(new)))


def only_report(report: Report, identifier: str, **more: Any) -> Json:
    """The same with the report alone, for what has nothing to do with its size."""
    return without_the_rest(of_patient(json.loads(report.bundle_json), identifier, **more))


def without_the_rest(bundle: Json) -> Json:
    (entry,) = (each for each in bundle["entry"] if each["resource"]["resourceType"] == "DiagnosticReport")
    kept = ("resourceType", "meta", "identifier", "status", "code", "subject", "conclusion")
    entry["resource"] = {name: value for name, value in entry["resource"].items() if name in kept}
    return {**bundle, "entry": [entry]}


def parcels(bundle: Json, pdf: bytes | None = None) -> list[Parcel]:
    made = [Parcel("report.json", json.dumps(bundle).encode())]
    return made if pdf is None else [*made, Parcel("report.pdf", pdf)]


def create(base: str, resource: Json) -> str:
    answer = requests.post(
        f"{base}/{resource['resourceType']}",
        data=json.dumps(resource),
        headers={"Content-Type": "application/fhir+json"},
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    return f"{resource['resourceType']}/{answer.json()['id']}"


def a_patient(base: str, identifier: str, system: str = SYSTEM, **more: Any) -> str:
    named = {"resourceType": "Patient", "identifier": [{"system": system, "value": identifier}], **more}
    return create(base, {**named, "name": [{"family": "Doe"}]})


def count(base: str, query: str) -> int:
    answer = requests.get(f"{base}/{query}&_count=1000", timeout=30).json()
    return len(answer.get("entry", []))


def resources(base: str, query: str) -> list[Json]:
    answer = requests.get(f"{base}/{query}", timeout=30).json()
    return [entry["resource"] for entry in answer.get("entry", [])]


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_a_transaction_with_login_for_the_patient_of_the_identifier(
    base: str, report: Report, keys: dict[str, Any], identifier: str, algorithm: str
) -> None:
    """Every subject is the EHR's patient, none is created, and a repeat creates nothing."""
    patient = a_patient(base, identifier)
    bundle = of_patient(json.loads(report.bundle_json), identifier)
    before = count(base, "Patient?_summary=false")
    with guarded(Guard(base)) as guard:
        sender = sender_to(f"{guard.base}/fhir", smart_of(algorithm, keys, guard))
        outcome = sender.send(as_delivery(), parcels(bundle))
        assert reason(outcome) == ""
        again = sender.send(as_delivery(), parcels(bundle))
        assert reason(again) == "" and again.receipt == outcome.receipt
        # One token is enough for both, and says what was asked for.
        assert [fault for _, fault in guard.assertions] == [""]
        assert guard.scopes == [SCOPE]
    kept = requests.get(f"{base}/{outcome.receipt['DiagnosticReport']}", timeout=30).json()
    assert kept["resourceType"] == "DiagnosticReport"
    assert count(base, "Patient?_summary=false") == before
    assert kept["subject"]["reference"] == patient
    found = resources(base, f"Observation?subject={patient}&_count=1000")
    sent = Counter(entry["resource"]["resourceType"] for entry in bundle["entry"])
    assert len(found) == sent["Observation"]


def test_versions_update_what_is_there(base: str, report: Report, identifier: str) -> None:
    patient = a_patient(base, identifier)
    sender = sender_to(base)
    first = json.loads(report.bundle_json)
    bundles = [first, *versions_of(report)]
    seen = []
    for number, each in enumerate(bundles, start=1):
        bundle = of_patient(each, identifier)
        for _ in range(2 if number == 2 else 1):
            assert reason(sender.send(as_delivery(number), parcels(bundle))) == ""
        (kept,) = resources(base, f"DiagnosticReport?subject={patient}")
        seen.append((kept["id"], kept["status"]))
    assert [status for _, status in seen] == ["preliminary", "final", "amended", "entered-in-error"]
    # Nothing is there twice, whatever the versions brought.
    for kind in ("Observation", "RiskAssessment", "DocumentReference", "Media", "ImagingStudy"):
        there = resources(base, f"{kind}?subject={patient}&_count=1000")
        named = Counter(json.dumps(each["identifier"]) for each in there)
        assert named and set(named.values()) == {1}, kind
    assert len({identity for identity, _ in seen}) == 1


def a_study(base: str, bundle: Json, subject: str) -> str:
    """The study of the report, as the EHR knows it from elsewhere."""
    (ours,) = (each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == "ImagingStudy")
    known = {name: ours[name] for name in ("resourceType", "identifier", "status")}
    series = [{"uid": "1.2.3.4", "modality": {"code": "CT", "system": "http://dicom.nema.org/resources/ontology/DCM"}}]
    return create(base, {**known, "subject": {"reference": subject}, "series": series})


def test_a_study_that_is_there_learns_of_the_new_series(base: str, report: Report, identifier: str) -> None:
    patient = a_patient(base, identifier)
    bundle = of_patient(json.loads(report.bundle_json), identifier)
    study = a_study(base, bundle, patient)
    versions = []
    for _ in range(2):
        assert reason(sender_to(base).send(as_delivery(), parcels(bundle))) == ""
        kept = requests.get(f"{base}/{study}", timeout=30).json()
        versions.append(kept["meta"]["versionId"])
    assert versions[0] == versions[1]
    assert kept["series"][0]["uid"] == "1.2.3.4" and len(kept["series"]) > 3
    (sent,) = resources(base, f"DiagnosticReport?subject={patient}")
    assert sent["imagingStudy"][0]["reference"] == study


def test_a_study_that_is_there_as_that_of_another_patient(base: str, report: Report, identifier: str) -> None:
    a_patient(base, identifier)
    bundle = of_patient(json.loads(report.bundle_json), identifier)
    a_study(base, bundle, a_patient(base, "another" + identifier))
    outcome = sender_to(base).send(as_delivery(), parcels(bundle))
    assert (reason(outcome), told(outcome).failure.hold) == ("PATIENT_NOT_FOUND_AT_DESTINATION", True)


def test_no_patient_or_several_and_the_delivery_is_held(base: str, report: Report, identifier: str) -> None:
    """And sent when somebody has mended that; a name is never looked at."""
    bundle = only_report(report, identifier)
    sender = sender_to(base)
    a_patient(base, identifier, system="urn:another")
    a_patient(base, "another" + identifier)
    outcome = sender.send(as_delivery(), parcels(bundle))
    assert (reason(outcome), told(outcome).failure.hold) == ("PATIENT_NOT_FOUND_AT_DESTINATION", True)
    assert identifier not in told(outcome).failure.message
    first = a_patient(base, identifier)
    assert reason(sender.send(as_delivery(), parcels(bundle))) == ""
    second = a_patient(base, identifier)
    outcome = sender.send(as_delivery(), parcels(bundle))
    assert (reason(outcome), told(outcome).failure.hold) == ("PATIENT_AMBIGUOUS_AT_DESTINATION", True)
    # Merged there: one of them says by which it was replaced.
    merged = requests.get(f"{base}/{second}", timeout=30).json()
    merged["link"] = [{"other": {"reference": first}, "type": "replaced-by"}]
    answer = requests.put(
        f"{base}/{second}", json=merged, headers={"Content-Type": "application/fhir+json"}, timeout=30
    )
    assert answer.status_code == 200
    assert reason(sender.send(as_delivery(), parcels(bundle))) == ""


def test_identifiers_that_say_their_system_or_only_their_issuer(base: str, report: Report, identifier: str) -> None:
    a_patient(base, identifier, system="urn:north")
    with_system = only_report(report, identifier, system="urn:north")
    assert reason(sender_to(base).send(as_delivery(), parcels(with_system))) == ""
    of_issuer = only_report(report, identifier, assigner={"display": "NORTH"})
    assert reason(sender_to(base).send(as_delivery(), parcels(of_issuer))) == "PATIENT_NOT_FOUND_AT_DESTINATION"
    sender = sender_to(base, patient_systems={"NORTH": "urn:north"})
    assert reason(sender.send(as_delivery(), parcels(of_issuer))) == ""
    # The same number of another hospital is another patient: the system for identifiers without an issuer is not its.
    a_patient(base, identifier)
    elsewhere = only_report(report, identifier, assigner={"display": "ELSEWHERE"})
    outcome = sender.send(as_delivery(), parcels(elsewhere))
    assert (reason(outcome), told(outcome).failure.hold) == ("PATIENT_NOT_FOUND_AT_DESTINATION", True)
    unknown = FhirSender(FhirDestination(kind="fhir", url=base), None)
    assert reason(unknown.send(as_delivery(), parcels(of_issuer))) == "PATIENT_NOT_FOUND_AT_DESTINATION"


def test_a_reference_of_the_request(base: str, report: Report, identifier: str) -> None:
    """Is read; where the identifier leads to another patient, nothing is sent."""
    plain = only_report(report, identifier)
    patient, other = a_patient(base, identifier), a_patient(base, "other" + identifier)

    def about(subject: Json) -> list[Parcel]:
        bundle = copy.deepcopy(plain)
        for entry in bundle["entry"]:
            if "subject" in entry["resource"]:
                entry["resource"]["subject"] = subject
        return parcels(bundle)

    sender = sender_to(base)
    named = {"system": SYSTEM, "value": identifier}
    for subject, wanted in (
        ({"reference": patient, "type": "Patient"}, ""),
        ({"reference": f"{base}/{patient}", "type": "Patient"}, ""),
        ({"reference": patient, "identifier": named}, ""),
        ({"reference": other, "identifier": named}, "PATIENT_NOT_FOUND_AT_DESTINATION"),
        ({"reference": "Patient/00000000-0000-4000-8000-000000000000"}, "PATIENT_NOT_FOUND_AT_DESTINATION"),
        ({"reference": "https://elsewhere.example/Patient/1"}, "PATIENT_NOT_FOUND_AT_DESTINATION"),
        ({"reference": "Patient/../admin"}, "PATIENT_NOT_FOUND_AT_DESTINATION"),
        ({"type": "Patient", "display": "Patient not identified in the images"}, "PATIENT_NOT_FOUND_AT_DESTINATION"),
    ):
        assert reason(sender.send(as_delivery(), about(subject))) == wanted, subject


def test_a_bundle_that_brings_its_patient(base: str, report: Report, identifier: str) -> None:
    """No Patient is created: the entry is left out, and what referred to it refers to the EHR's."""
    patient = a_patient(base, identifier)
    bundle = of_patient(json.loads(report.bundle_json), identifier)
    brought = {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": identifier}]}
    for entry in bundle["entry"]:
        for name in ("subject", "patient"):
            if name in entry["resource"]:
                entry["resource"][name] = {"reference": "urn:uuid:patient"}
    request = {"method": "POST", "url": "Patient"}
    bundle["entry"].insert(0, {"fullUrl": "urn:uuid:patient", "resource": brought, "request": request})
    before = count(base, "Patient?_summary=false")
    assert reason(sender_to(base).send(as_delivery(), parcels(bundle))) == ""
    assert count(base, "Patient?_summary=false") == before
    assert len(resources(base, f"DiagnosticReport?subject={patient}")) == 1


def test_what_the_server_assigns_is_sent_as_it_is(base: str, report: Report, identifier: str) -> None:
    bundle = of_patient(json.loads(report.bundle_json), identifier)
    outcome = sender_to(base, patient="as-sent").send(as_delivery(), parcels(bundle))
    assert reason(outcome) == ""
    kept = requests.get(f"{base}/{outcome.receipt['DiagnosticReport']}", timeout=30).json()
    assert kept["subject"]["identifier"]["value"] == identifier and "reference" not in kept["subject"]


def test_what_is_no_fhir_is_refused_for_good(base: str, report: Report, identifier: str) -> None:
    """The validator of the server says why, in words that may name the patient: its codes alone are told."""
    a_patient(base, identifier)
    bundle = of_patient(json.loads(report.bundle_json), identifier)
    bundle["entry"][-2]["resource"]["status"] = f"signed by {identifier}"
    outcome = sender_to(base).send(as_delivery(), parcels(bundle))
    failure = told(outcome).failure
    assert (failure.reason, failure.permanent, failure.hold) == ("DELIVERY_REFUSED", True, False)
    assert "422" in failure.message and "(invalid)" in failure.message and identifier not in failure.message


def test_a_document_of_each_version(base: str, report: Report, identifier: str) -> None:
    """Created once, replaced by the next version, and without findings when withdrawn."""
    patient = a_patient(base, identifier)
    sender = sender_to(base, form="document")
    bundles = [json.loads(report.bundle_json), *versions_of(report)]
    for number, bundle in enumerate(bundles[:3], start=1):
        sent = parcels(of_patient(bundle, identifier), PDF + b" %d" % number)
        outcomes = [sender.send(as_delivery(number, identifier), sent) for _ in range(2)]
        assert [reason(each) for each in outcomes] == ["", ""]
        assert outcomes[0].receipt == outcomes[1].receipt
        found = resources(base, f"DocumentReference?subject={patient}&_sort=_lastUpdated")
        by_status = Counter(each["status"] for each in found)
        assert by_status == Counter(current=1, superseded=number - 1)
        (current,) = (each for each in found if each["status"] == "current")
        assert f"DocumentReference/{current['id']}" == outcomes[0].receipt["DocumentReference"]
        assert current["docStatus"] == ("preliminary", "final", "amended")[number - 1]
        assert current["type"]["coding"][0]["code"] == "18748-4"
        (attachment,) = (each["attachment"] for each in current["content"])
        held = base64.b64decode(attachment["data"])
        assert held == sent[1].data and attachment["size"] == len(held)
        assert base64.b64decode(attachment["hash"]) == hashlib.sha1(held, usedforsecurity=False).digest()
        if number > 1:
            (related,) = current["relatesTo"]
            before = requests.get(f"{base}/{related['target']['reference']}", timeout=30).json()
            assert related["code"] == "replaces" and before["status"] == "superseded"
            assert base64.b64decode(before["content"][0]["attachment"]["data"]) == PDF + b" %d" % (number - 1)
            assert current["authenticator"]["type"] == "Practitioner"
    for _ in range(2):
        gone = sender.send(as_delivery(4, identifier), parcels(of_patient(bundles[3], identifier), PDF + b" gone"))
        assert reason(gone) == ""
    found = resources(base, f"DocumentReference?subject={patient}")
    assert len(found) == 3 and {each["status"] for each in found} == {"entered-in-error"}
    for each in found:
        assert base64.b64decode(each["content"][0]["attachment"]["data"]) == PDF + b" gone"
        assert each["description"] == "Withdrawn report"


def test_the_bundle_of_imr(base: str, report: Report, identifier: str) -> None:
    """Sent as the signed, amended and withdrawn version have it; each is a report of its own, and a repeat none."""
    patient = a_patient(base, identifier)
    sender = sender_to(base, form="imr")
    assert not sender.takes(delivery_pb2.DeliveryFile(file_name="report.json"))
    assert sender.takes(delivery_pb2.DeliveryFile(file_name="imr-bundle.fhir.json"))
    for number, documents in enumerate(documents_of(report), start=2):
        bundle = json.loads(documents.imr_bundle)
        sent = [Parcel("imr-bundle.fhir.json", json.dumps(of_patient(bundle, identifier)).encode())]
        outcomes = [sender.send(as_delivery(number), sent) for _ in range(2)]
        assert [reason(each) for each in outcomes] == ["", ""]
        assert outcomes[0].receipt == outcomes[1].receipt
    found = resources(base, f"DiagnosticReport?subject={patient}")
    assert sorted(each["status"] for each in found) == ["amended", "entered-in-error", "final"]


def test_assertions_that_are_no_good(base: str, report: Report, keys: dict[str, Any], identifier: str) -> None:
    """Wrong key, wrong client, expired, for another server, too long, used before: no token, and nothing is sent."""
    a_patient(base, identifier)
    sent = parcels(only_report(report, identifier))
    with guarded(Guard(base)) as guard:
        url = f"{guard.base}/fhir"
        good = smart_of("ES384", keys, guard)
        assert reason(sender_to(url, good).send(as_delivery(), sent)) == ""
        # Each is signed anew, so only a thief shows one twice.
        assertion, _ = guard.assertions[-1]
        form = {
            "grant_type": "client_credentials",
            "scope": SCOPE,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion,
        }
        replayed = requests.post(guard.token_url, data=form, timeout=10)
        assert (replayed.status_code, replayed.json()["error"]) == (400, "invalid_client")
        claims = jwt.decode(assertion, options={"verify_signature": False})
        assert claims["iss"] == claims["sub"] == guard.client_id and claims["aud"] == guard.token_url
        assert 0 < claims["exp"] - time.time() <= 300
        header = jwt.get_unverified_header(assertion)
        assert (header["alg"], header["kid"]) == ("ES384", "of-the-jwk")
        guard.requests.clear()
        # The server knows another key by that name.
        wrong = guard.keys["of-the-jwk"]
        guard.keys["of-the-jwk"] = (ec.generate_private_key(ec.SECP384R1()).public_key(), "ES384")
        assert reason(sender_to(url, good).send(as_delivery(), sent)) == "DESTINATION_ACCESS_DENIED"
        guard.keys["of-the-jwk"] = wrong
        stranger = smart_of("ES384", keys, guard, client_id="stranger")
        assert reason(sender_to(url, stranger).send(as_delivery(), sent)) == "DESTINATION_ACCESS_DENIED"
        unknown = smart_of("ES384", keys, guard, key_id="unknown")
        del guard.keys["unknown"]
        assert reason(sender_to(url, unknown).send(as_delivery(), sent)) == "DESTINATION_ACCESS_DENIED"
        destination = FhirDestination(kind="fhir", url=url, smart=good, patient_system=SYSTEM)
        for offset in (-600, 600):
            login = SmartLogin(good, url, (5.0, 20.0), clock=lambda by=offset: time.time() + by)
            outcome = FhirSender(destination, login).send(as_delivery(), sent)
            assert (reason(outcome), told(outcome).failure.permanent) == ("DESTINATION_ACCESS_DENIED", False)
            assert "invalid_client" in told(outcome).failure.message and "Doe" not in told(outcome).failure.message
        with guarded(Guard(base)) as other:
            other.keys = guard.keys
            # An assertion made for one server is none for another.
            elsewhere = requests.post(other.token_url, data={**form, "client_assertion": assertion}, timeout=10)
            assert elsewhere.status_code == 400
        assert guard.requests == []


def test_tokens_are_kept_renewed_and_asked_for_again_once(
    base: str, report: Report, keys: dict[str, Any], identifier: str
) -> None:
    a_patient(base, identifier)
    sent = parcels(only_report(report, identifier))
    now = [time.time()]
    with guarded(Guard(base, lifetime=40)) as guard:
        url = f"{guard.base}/fhir"
        smart = smart_of("ES384", keys, guard, token_url=guard.token_url)
        destination = FhirDestination(kind="fhir", url=url, smart=smart, patient_system=SYSTEM)
        sender = FhirSender(destination, SmartLogin(smart, url, (5.0, 20.0), clock=lambda: now[0]))
        for _ in range(3):
            assert reason(sender.send(as_delivery(), sent)) == ""
        assert len(guard.assertions) == 1
        # Well before its end there is a new one.
        now[0] += 25
        assert reason(sender.send(as_delivery(), sent)) == ""
        assert len(guard.assertions) == 2
        # Revoked: a 401, one new token, and all is sent.
        guard.revoke()
        assert reason(sender.send(as_delivery(), sent)) == ""
        assert len(guard.assertions) == 3
        # Tokens that are worth nothing: it does not go on for ever.
        guard.lifetime = -1
        guard.revoke()
        asked = len(guard.requests)
        assert reason(sender.send(as_delivery(), sent)) == "DESTINATION_ACCESS_DENIED"
        assert len(guard.assertions) == 4 and len(guard.requests) == asked + 2


def test_a_configuration_that_does_not_fit(base: str, report: Report, keys: dict[str, Any], identifier: str) -> None:
    """No algorithm of ours, a token endpoint in the clear, none at all: nothing is shown there."""
    sent = parcels(only_report(report, identifier))
    with guarded(Guard(base)) as guard:
        sender = sender_to(f"{guard.base}/fhir", smart_of("ES384", keys, guard))
        for metadata, wanted in (
            ({"token_endpoint_auth_signing_alg_values_supported": ["RS384"]}, "CONFIGURATION_INVALID"),
            ({"token_endpoint": "http://idp.example/token"}, "CONFIGURATION_INVALID"),
            ({"token_endpoint": None}, "DESTINATION_ANSWER_REFUSED"),
            ({"token_endpoint": "file:///etc/passwd"}, "DESTINATION_ANSWER_REFUSED"),
        ):
            guard.metadata = metadata
            assert reason(sender.send(as_delivery(), sent)) == wanted
        assert guard.assertions == [] and guard.requests == []


def test_keys_that_cannot_be_used(tmp_path: Path, keys: dict[str, Any]) -> None:
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - refused
    curve = ec.generate_private_key(ec.SECP256R1())
    encoded = [each.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for each in (small, curve)]
    public = json.dumps(ECAlgorithm.to_jwk(keys["secret"]["ES384"].public_key(), as_dict=True)).encode()
    for number, content in enumerate([*encoded, public, b"", b"{}", b"no key", b'{"kty": "oct", "k": "c2VjcmV0"}']):
        file = tmp_path / f"key{number}"
        file.write_bytes(content)
        file.chmod(0o600)
        with pytest.raises(ConfigurationError):
            signing_key(SmartBackend(client_id="a", key_file=file, scope="s"))
    open_to_others = tmp_path / "open"
    open_to_others.write_bytes(keys["files"]["RS384"].read_bytes())
    open_to_others.chmod(0o644)
    with pytest.raises(ConfigurationError):
        signing_key(SmartBackend(client_id="a", key_file=open_to_others, scope="s"))


def test_settings_of_a_fhir_destination(keys: dict[str, Any]) -> None:
    smart = {"client_id": "a", "key_file": str(keys["files"]["ES384"]), "scope": "s"}
    for fields in (
        {"url": "ftp://ehr.example"},
        {"url": "https://user:secret@ehr.example/"},
        {"url": "https://ehr.example", "form": "pdf"},
        {"url": "https://ehr.example", "user": "a"},
        {"url": "https://ehr.example", "token_file": "t", "smart": smart},
        {"url": "https://ehr.example", "ae_title": "A"},
    ):
        with pytest.raises(ValueError, match="validation error"):
            ServerSettings(destinations={"ehr": {"kind": "fhir", **fields}})
    far = FhirDestination(kind="fhir", url="http://ehr.example/fhir")
    with pytest.raises(ConfigurationError, match="unencrypted"):
        far.require_safe_sending(allow_insecure_network=False)
    far.require_safe_sending(allow_insecure_network=True)
    token = FhirDestination(
        kind="fhir", url="https://ehr.example/fhir", smart={**smart, "token_url": "http://idp.example/token"}
    )
    with pytest.raises(ConfigurationError, match="unencrypted"):
        token.require_safe_sending(allow_insecure_network=False)
    FhirDestination(kind="fhir", url="https://ehr.example/fhir", smart=smart).require_safe_sending(
        allow_insecure_network=False
    )


def test_an_earlier_version_does_not_undo_a_later_one(base: str, report: Report, identifier: str) -> None:
    """An operator resends what was dead: the chart keeps the amended report."""
    patient = a_patient(base, identifier)
    bundles = [
        without_the_rest(of_patient(each, identifier))
        for each in [json.loads(report.bundle_json), *versions_of(report)]
    ]
    for form in ("transaction", "document"):
        sender = sender_to(base, form=form)
        pdf = PDF if form == "document" else None
        assert reason(sender.send(as_delivery(3, identifier), parcels(bundles[2], pdf))) == ""
        outcome = sender.send(as_delivery(2, identifier), parcels(bundles[1], pdf))
        assert (reason(outcome), told(outcome).failure.permanent) == ("DELIVERY_REFUSED", True)
        assert "later version" in told(outcome).failure.message
        assert reason(sender.send(as_delivery(3, identifier), parcels(bundles[2], pdf))) == ""
    (kept,) = resources(base, f"DiagnosticReport?subject={patient}")
    assert kept["status"] == "amended"
    (document,) = (each for each in resources(base, f"DocumentReference?subject={patient}") if "description" in each)
    assert document["docStatus"] == "amended"
