"""Stands in for an EHR that asks for cards (CDS Hooks 2.0): keys of its own, a signed token for each call.

    python examples/ehr.py keys
    python examples/ehr.py token http://127.0.0.1:8042/cds-services
    python examples/ehr.py card http://127.0.0.1:8042 STS_032

``keys`` writes ``ehr-key.pem``, which stays with the EHR, and ``ehr-jwks.json`` for the settings of OncoResponse.
``token`` prints a token for one call of a URL. ``card`` opens the chart of a patient, and prints what the EHR would
show.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
import uuid
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

ISSUER = "https://ehr.hospital.example"
SYSTEM = "https://hospital.example/mrn"
KEY, JWKS = Path("ehr-key.pem"), Path("ehr-jwks.json")


def make_keys() -> None:
    """Write both files."""
    key = ec.generate_private_key(ec.SECP384R1())
    KEY.touch(mode=0o600)
    KEY.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    JWKS.write_text(json.dumps({"keys": [{**public, "kid": "1", "alg": "ES384"}]}))


def token_for(endpoint: str) -> str:
    """A token for one call of a URL."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": endpoint, "iat": now, "exp": now + 120, "jti": str(uuid.uuid4())}
    return jwt.encode(claims, KEY.read_bytes(), "ES384", headers={"kid": "1"})


def card_of(base: str, patient_id: str) -> dict[str, object]:
    """What the server answers when the chart of a patient is opened."""
    endpoint = f"{base}/cds-services/imaging-response"
    patient = {"resourceType": "Patient", "id": "p1", "identifier": [{"system": SYSTEM, "value": patient_id}]}
    hook = {
        "hook": "patient-view",
        "hookInstance": str(uuid.uuid4()),
        "context": {"userId": "Practitioner/ada", "patientId": "p1"},
        "prefetch": {"patient": patient},
    }
    request = urllib.request.Request(  # noqa: S310 - the URL is the user's own
        endpoint,
        json.dumps(hook).encode(),
        {"Authorization": f"Bearer {token_for(endpoint)}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        found: dict[str, object] = json.load(answer)
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["keys"]:
        make_keys()
    elif len(sys.argv) == 3 and sys.argv[1] == "token":
        print(token_for(sys.argv[2]))
    elif len(sys.argv) == 4 and sys.argv[1] == "card":
        print(json.dumps(card_of(sys.argv[2].rstrip("/"), sys.argv[3]), indent=2, ensure_ascii=False))
    else:
        sys.exit(__doc__)
