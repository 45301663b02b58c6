"""CDS Hooks 2.0: an EHR with keys of its own asks a real server for cards, and strangers do."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import report_pb2

from tests.integration.cds_ehr import IMAGING, ORDER_SELECT, Ehr, Json, feedback
from tests.integration.cds_ehr import PATIENT_VIEW as SERVICE

EXAMPLES = Path(__file__).parents[2] / "examples"
BASE = "https://cds.hospital.example"
SYSTEM = "https://hospital.example/mrn"
PATIENT = "STS_032"


def silent(_message: str, _fraction: float) -> None:
    return None


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, serve_for_module: Callable[..., Any], models_that_predict: Path
) -> Any:
    folder = tmp_path_factory.mktemp("cds")
    keys = {"ES384": ec.generate_private_key(ec.SECP384R1()), "RS384": rsa.generate_private_key(65537, 2048)}
    public = {
        "ES384": json.loads(ECAlgorithm.to_jwk(keys["ES384"].public_key())),
        "RS384": json.loads(RSAAlgorithm.to_jwk(keys["RS384"].public_key())),
    }
    jwks = folder / "ehr.json"
    jwks.write_text(json.dumps({"keys": [{**key, "kid": name, "alg": name} for name, key in public.items()]}))
    other = folder / "other.json"
    other.write_text(json.dumps({"keys": [{**public["ES384"], "kid": "ES384", "alg": "ES384"}]}))
    clients = {
        "ehr": {"issuer": "https://ehr.hospital.example", "jwks_file": str(jwks)},
        "clinic": {"issuer": "https://clinic.example", "jwks_file": str(other)},
    }
    hooks = {
        "base_url": BASE,
        "clients": clients,
        "patient_identifiers": {SYSTEM: "", "urn:north": "NORTH"},
        "report_url": "https://ehr.hospital.example/reports/{id}",
    }
    settings = folder / "settings.yaml"
    settings.write_text(
        yaml.safe_dump({"http": {"listen": "127.0.0.1:0"}, "cds_hooks": hooks, "model_activation": "installed"})
    )
    data = folder / "data"
    roles = [word for role in ("submit", "read", "sign") for word in ("--role", role)]
    command = [sys.executable, "-m", "oncoresponse.cli.main", "users", "add", "doctor", *roles, "--data-dir", str(data)]
    token = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    process = serve_for_module(
        "--data-dir",
        str(data),
        "--listen",
        "127.0.0.1:0",
        "--models-dir",
        str(models_that_predict),
        settings=settings,
    )
    process.wait_until_ready()
    process.token, process.keys, process.data = token, keys, data
    return process


@pytest.fixture
def ehr(server: Any) -> Ehr:
    return Ehr(f"http://{server.edges['http']}", BASE, keys=server.keys)


@pytest.fixture(scope="module")
def assessment(server: Any) -> Any:
    with closing(Client(server.address, token=server.token)) as client:
        return client.assess(client.upload_study(EXAMPLES / PATIENT, silent), Order("sts-petct"), silent)


def test_discovery_names_the_services(ehr: Ehr) -> None:
    for algorithm in ("ES384", "RS384"):
        answer = ehr.ask("/cds-services", token=ehr.token("/cds-services", algorithm))
        assert answer.status_code == 200
    services = {each["id"]: each for each in answer.json()["services"]}
    assert {each["hook"] for each in services.values()} == {"patient-view", "order-select"}
    assert all(
        each["description"] and "{{context.patientId}}" in each["prefetch"]["patient"] for each in services.values()
    )


def test_a_card_tells_the_newest_report(ehr: Ehr, assessment: Any, server: Any) -> None:
    (card,) = ehr.cards((SYSTEM, PATIENT))
    assert re.fullmatch(r"Study [0-9-]{10}: Indeterminate: the evidence does not allow a call\.", card["summary"])
    assert card["indicator"] == "info" and "research use" in card["source"]["label"]
    assert "research" in card["detail"].lower()
    (link,) = card["links"]
    assert link["type"] == "absolute" and link["url"].startswith("https://ehr.hospital.example/reports/")
    assert [each["code"] for each in card["overrideReasons"]] == [
        "judgement-favorable",
        "judgement-unfavorable",
        "judgement-uncertain",
    ]
    imaging = {"resourceType": "ServiceRequest", "category": [{"coding": [IMAGING]}]}
    order = ehr.ask(f"/cds-services/{ORDER_SELECT}", ehr.order(imaging, **{SYSTEM: PATIENT}))
    assert [each["summary"] for each in order.json()["cards"]] == [card["summary"]]
    # The same call of the hook again is the same card.
    body = ehr.hook((SYSTEM, PATIENT))
    path = f"/cds-services/{SERVICE}"
    assert ehr.ask(path, body).json() == ehr.ask(path, body).json()
    log = server.log.read_text()
    assert PATIENT not in log and "eyJ" not in log


def test_another_patient_gets_none_and_one_that_is_not_known_an_error(ehr: Ehr, assessment: Any) -> None:
    """The same number of another issuer is another patient; names are never looked at."""
    assert ehr.cards((SYSTEM, "STS_999")) == []
    assert ehr.cards(("urn:north", PATIENT)) == []
    for body in (ehr.hook(("urn:other", PATIENT)), ehr.hook(), ehr.hook((SYSTEM, PATIENT), prefetch={})):
        answer = ehr.ask(f"/cds-services/{SERVICE}", body)
        assert (answer.status_code, answer.json()["reason"]) == (412, "INVALID_REQUEST")
    wrong = ehr.hook((SYSTEM, PATIENT), context={"userId": "u", "patientId": "p2"})
    assert ehr.ask(f"/cds-services/{SERVICE}", wrong).status_code == 400


@pytest.mark.parametrize(
    "body",
    [{}, [], {"hook": "order-select"}, {"hookInstance": "1"}, {"context": []}, {"prefetch": {"patient": 7}}],
    ids=range(6),
)
def test_bodies_that_are_none(ehr: Ehr, body: Any) -> None:
    sent = {**ehr.hook((SYSTEM, PATIENT)), **body} if body else body
    assert ehr.ask(f"/cds-services/{SERVICE}", sent).status_code in (400, 412)


def attacks(ehr: Ehr, path: str) -> dict[str, str]:
    """Tokens that are not right for a path, by what is wrong."""
    stranger = ec.generate_private_key(ec.SECP384R1())
    public = ehr.keys["RS384"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    now = int(time.time())
    claims = ehr.claims(path)
    return {
        "another key": jwt.encode(claims, stranger, "ES384", headers={"kid": "ES384"}),
        "no signature": jwt.encode(claims, None, "none", headers={"kid": "ES384"}),
        "a public key as a secret": _hmac(claims, public),
        "another audience": ehr.token(path, aud="https://elsewhere.example" + path),
        "the base alone": ehr.token(path, aud=BASE),
        "another service": ehr.token(path, aud=f"{BASE}/cds-services"),
        "no audience": ehr.token(path, aud=None),
        "ended": ehr.token(path, iat=now - 400, exp=now - 100),
        "not yet": ehr.token(path, iat=now + 3000, exp=now + 3100),
        "long": ehr.token(path, exp=now + 86400),
        "no id": ehr.token(path, jti=None),
        "an id that is none": ehr.token(path, jti=7),
        "no end": ehr.token(path, exp=None),
        "an unknown issuer": ehr.token(path, iss="https://stranger.example"),
        "the issuer of another client": ehr.token(path, "RS384", iss="https://clinic.example"),
        "a key of its own": ehr.token(path, headers={"jku": "https://stranger.example/jwks"}),
        "an unknown key": ehr.token(path, headers={"kid": "other"}),
        "half": ehr.token(path)[:-20],
        "garbage": "a.b.c",
        "empty": "",
    }


def _hmac(claims: Json, secret: bytes) -> str:
    """HS256 with a public key as the secret, which PyJWT itself refuses to sign."""
    import base64
    import hashlib
    import hmac

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    head = (
        part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "RS384"}).encode())
        + b"."
        + part(json.dumps(claims).encode())
    )
    return (head + b"." + part(hmac.new(secret, head, hashlib.sha256).digest())).decode()


def test_tokens_that_are_not_right(ehr: Ehr, assessment: Any) -> None:
    path = f"/cds-services/{SERVICE}"
    for what, token in attacks(ehr, path).items():
        answer = ehr.ask(path, ehr.hook((SYSTEM, PATIENT)), token)
        assert (answer.status_code, answer.json()["reason"]) == (401, "NOT_AUTHENTICATED"), what
        assert PATIENT not in answer.text
    assert ehr.cards((SYSTEM, PATIENT))


def test_a_token_is_used_once(ehr: Ehr, assessment: Any) -> None:
    path = f"/cds-services/{SERVICE}"
    token = ehr.token(path)
    body = ehr.hook((SYSTEM, PATIENT))
    assert [ehr.ask(path, body, token).status_code for _ in range(2)] == [200, 401]


def test_feedback_is_the_physicians_judgement(ehr: Ehr, assessment: Any, server: Any) -> None:
    path = f"/cds-services/{SERVICE}/feedback"
    (card,) = ehr.cards((SYSTEM, PATIENT))
    clinic = Ehr(ehr.base, BASE, "https://clinic.example", ehr.keys)
    assert clinic.ask(path, feedback(card["uuid"])).status_code == 404
    assert ehr.ask(path, feedback(str(uuid.uuid4()))).status_code == 404
    assert ehr.ask(path, feedback(card["uuid"], "accepted")).status_code == 200
    for _ in range(2):
        assert ehr.ask(path, feedback(card["uuid"])).status_code == 200
    # Another one of the same physician changes nothing.
    assert ehr.ask(path, feedback(card["uuid"], code="judgement-favorable")).status_code == 200
    with closing(Client(server.address, token=server.token)) as client:
        (judgement,) = client.report(assessment.name).judgements
    assert judgement.judgement == report_pb2.PHYSICIAN_JUDGEMENT_UNFAVORABLE
    assert (judgement.physician.name, judgement.comment) == ("ehr#Practitioner/ada", "Grew since.")
    for wrong in (
        {},
        {"feedback": []},
        feedback("7"),
        feedback(card["uuid"], "ignored"),
        feedback(card["uuid"], outcomeTimestamp="x"),
    ):
        assert ehr.ask(path, wrong).status_code == 400
    with closing(sqlite3.connect(server.data / "oncoresponse.sqlite")) as rows:
        last = rows.execute("SELECT outcome, override_reason FROM cds_card WHERE card = ?", [card["uuid"]]).fetchall()
        said = rows.execute("SELECT outcome, override_reason FROM cds_feedback ORDER BY create_time_ms").fetchall()
    assert last == [said[-1]] == [("overridden", "judgement-favorable")]
    assert said[:2] == [("accepted", ""), ("overridden", "judgement-unfavorable")]


def test_two_physicians_of_one_hook_call_each_have_a_card(ehr: Ehr, assessment: Any, server: Any) -> None:
    """What one says is never kept as the judgement of the other, and not as of a time that has not come."""
    path, instance = f"/cds-services/{SERVICE}/feedback", str(uuid.uuid4())
    cards = []
    for user in ("Practitioner/bo", "Practitioner/cy"):
        context = {"userId": user, "patientId": "p1"}
        cards += ehr.cards((SYSTEM, PATIENT), hookInstance=instance, context=context)
    said = feedback(cards[1]["uuid"], outcomeTimestamp="2999-01-01T00:00:00Z")
    assert ehr.ask(path, said).status_code == 200
    with closing(Client(server.address, token=server.token)) as client:
        made = {each.physician.name: each.time.ToSeconds() for each in client.report(assessment.name).judgements}
    assert "ehr#Practitioner/bo" not in made
    assert made["ehr#Practitioner/cy"] <= time.time()


def test_a_withdrawn_report_gives_no_card(ehr: Ehr, assessment: Any, server: Any) -> None:
    """And what is said afterwards to one that was given before is no judgement."""
    (card,) = ehr.cards((SYSTEM, PATIENT), context={"userId": "Practitioner/dee", "patientId": "p1"})
    with closing(Client(server.address, token=server.token)) as client:
        client.withdraw_report(
            report_pb2.WithdrawReportRequest(
                request_id=str(uuid.uuid4()),
                assessment=assessment.name,
                seen_version=client.report(assessment.name).version,
                reason=report_pb2.WITHDRAWAL_REASON_TECHNICAL,
                comment="Motion.",
            )
        )
    assert ehr.cards((SYSTEM, PATIENT)) == []
    assert ehr.ask(f"/cds-services/{SERVICE}/feedback", feedback(card["uuid"])).status_code == 200
    with closing(sqlite3.connect(server.data / "oncoresponse.sqlite")) as rows:
        judges = {name for (name,) in rows.execute("SELECT physician FROM report_judgement").fetchall()}
    assert "ehr#Practitioner/dee" not in judges and "ehr#Practitioner/ada" in judges
