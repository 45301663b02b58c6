"""An EHR as a CDS client: signs a token for each call, opens charts, selects orders, sends feedback."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import jwt
import requests

Json = dict[str, Any]
PATIENT_VIEW, ORDER_SELECT = "imaging-response", "imaging-response-order"
IMAGING = {"system": "http://snomed.info/sct", "code": "363679005"}


@dataclass
class Ehr:
    """What signs as an EHR does."""

    base: str
    audience: str
    issuer: str = "https://ehr.hospital.example"
    keys: dict[str, Any] = field(default_factory=dict)
    key_id: str = ""

    def claims(self, path: str, **changed: Any) -> Json:
        now = int(time.time())
        given = {
            "iss": self.issuer,
            "aud": self.audience + path,
            "iat": now,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
        }
        return {name: value for name, value in (given | changed).items() if value is not None}

    def token(self, path: str, algorithm: str = "ES384", headers: Json | None = None, **changed: Any) -> str:
        return jwt.encode(
            self.claims(path, **changed),
            self.keys[algorithm],
            algorithm,
            headers={"kid": self.key_id or algorithm, **(headers or {})},
        )

    def ask(self, path: str, body: Json | None = None, token: str | None = None, **more: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token(path) if token is None else token}", **more}
        method = "GET" if body is None else "POST"
        return requests.request(method, self.base + path, json=body, headers=headers, timeout=30)

    def hook(self, *identifiers: tuple[str, str], **changed: Any) -> Json:
        patient = {
            "resourceType": "Patient",
            "id": "p1",
            "name": [{"family": "STS_032"}],
            "identifier": [{"system": system, "value": value} for system, value in identifiers],
        }
        return {
            "hook": "patient-view",
            "hookInstance": str(uuid.uuid4()),
            "context": {"userId": "Practitioner/ada", "patientId": "p1"},
            "prefetch": {"patient": patient},
            **changed,
        }

    def order(self, *orders: Json, selected: list[str] | None = None, **patient: str) -> Json:
        """The body of order-select: orders that are all selected, or some."""
        entries = [{"resource": {"id": str(number), **each}} for number, each in enumerate(orders)]
        names = [f"{each['resource']['resourceType']}/{each['resource']['id']}" for each in entries]
        context = {
            "userId": "Practitioner/ada",
            "patientId": "p1",
            "selections": names if selected is None else selected,
            "draftOrders": {"resourceType": "Bundle", "entry": entries},
        }
        return self.hook(*patient.items(), hook="order-select", context=context)

    def cards(self, *identifiers: tuple[str, str], **changed: Any) -> list[Json]:
        answer = self.ask(f"/cds-services/{PATIENT_VIEW}", self.hook(*identifiers, **changed))
        assert answer.status_code == 200, answer.text
        found: list[Json] = answer.json()["cards"]
        return found


def feedback(card: str, outcome: str = "overridden", code: str = "judgement-unfavorable", **more: Any) -> Json:
    said = {"card": card, "outcome": outcome, "outcomeTimestamp": "2026-11-27T12:00:00Z", **more}
    if outcome == "overridden":
        said["overrideReason"] = {"reason": {"code": code}, "userComment": "Grew since."}
    return {"feedback": [said]}
