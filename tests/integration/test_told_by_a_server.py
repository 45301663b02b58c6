"""What a server tells others of its assessments: webhooks and notifications, to a receiver that is another program."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import assessment_pb2, report_pb2, study_pb2

from tests.integration.test_lesion_prompts import write_twin_study

STUDY = Path(__file__).parents[2] / "examples" / "STS_032"
RECEIVER = Path(__file__).parent / "webhook_receiver.py"
FHIR = "https://oncoresponse.hospital.example/fhir"
SECONDS = 120.0
DESTINATIONS = ("board", "warehouse", "on-call")
Json = dict[str, Any]


def silent(_message: str, _fraction: float) -> None:
    return None


class Told:
    """A server with three destinations, and what the receiver has taken of it."""

    def __init__(self, folder: Path, serve: Callable[..., Any], taken: Path, url: str, secret: bytes) -> None:
        self._taken = taken
        secret_file = folder / "board.secret"
        secret_file.write_text(f"whsec_{b64encode(secret).decode()}")
        secret_file.chmod(0o600)
        subscription = {"kind": "subscription", "url": f"{url}/fhir", "fhir_url": FHIR}
        destinations = {
            "board": {"kind": "webhook", "url": f"{url}/board", "secret_file": str(secret_file)},
            "warehouse": subscription,
            "on-call": {**subscription, "events": ["physician.needed"]},
        }
        settings = folder / "settings.yaml"
        settings.write_text(yaml.safe_dump({"destinations": destinations, "model_activation": "installed"}))
        data = folder / "data"
        words = ["users", "add", "doctor", "--data-dir", str(data)]
        words += [word for role in ("submit", "read", "sign") for word in ("--role", role)]
        command = [sys.executable, "-m", "oncoresponse.cli.main", *words]
        token = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        server = serve("--data-dir", str(data), "--listen", "127.0.0.1:0", settings=settings)
        server.wait_until_ready()
        self.client = Client(server.address, token=token)

    def assess(self, study: Path, order: Order) -> assessment_pb2.Assessment:
        return self.client.assess(self.client.upload_study(study, silent), order, silent)

    def events(self, assessment: str) -> list[str]:
        """Types of the webhooks about an assessment, in their order."""
        return [
            each["body"]["type"]
            for each in self._lines()
            if each["path"] == "/board" and each["body"]["data"]["assessment"] == assessment
        ]

    def reports_notified(self, subscription: str) -> list[str]:
        """What the events of a subscription are about; empty where there is no report."""
        found = []
        for each in self._lines():
            if each["path"] != "/fhir":
                continue
            said = {part["name"]: part for part in each["body"]["entry"][0]["resource"]["parameter"]}
            if said["type"]["valueCode"] == "handshake":
                continue
            if said["subscription"]["valueReference"]["reference"] == f"{FHIR}/Subscription/{subscription}":
                event = {part["name"]: part for part in said["notification-event"]["part"]}
                found.append(event["focus"]["valueReference"]["reference"] if "focus" in event else "")
        return found

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < end, self._lines()
            time.sleep(0.2)

    def _lines(self) -> list[Json]:
        return [json.loads(line) for line in self._taken.read_text().splitlines()] if self._taken.exists() else []


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, serve_for_module: Callable[..., Any]) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("told")
    secret, taken = secrets.token_bytes(32), folder / "taken.jsonl"
    command = [sys.executable, str(RECEIVER), b64encode(secret).decode(), str(taken)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        url = f"http://127.0.0.1:{int(receiver.stdout.readline())}"
        try:
            made = Told(folder, serve_for_module, taken, url, secret)
            with closing(made.client):
                yield made
        finally:
            receiver.terminate()


def test_a_report_that_is_ready_and_signed(told: Told) -> None:
    """A contour that a person drew asks nobody to look at it."""
    contour = study_pb2.SuppliedContour()
    made = told.assess(STUDY, Order("sts-petct", contour=contour, deliver_to=DESTINATIONS))
    assert not made.result.lesions[0].needs_review
    told.until(lambda: told.events(made.name) == ["report.ready"])
    fields = {"request_id": str(uuid.uuid4()), "assessment": made.name, "seen_version": 1, "comment": "As seen."}
    told.client.sign_report(report_pb2.SignReportRequest(**fields, agreement=report_pb2.AGREEMENT_AGREE))
    told.until(lambda: told.events(made.name) == ["report.ready", "report.signed"])
    told.until(lambda: len(told.reports_notified("warehouse")) == 2)
    assert all(each.startswith(f"{FHIR}/DiagnosticReport/") for each in told.reports_notified("warehouse"))
    assert told.reports_notified("on-call") == []


def test_a_contour_that_asks_for_a_physician(told: Told) -> None:
    """Once for the report, beside that it is ready, and not again when a physician has signed it."""
    made = told.assess(STUDY, Order("sts-petct", deliver_to=DESTINATIONS))
    assert any(lesion.needs_review for lesion in made.result.lesions)
    told.until(lambda: told.events(made.name) == ["report.ready", "physician.needed"])
    told.until(lambda: len(told.reports_notified("on-call")) == 1)
    fields = {"request_id": str(uuid.uuid4()), "assessment": made.name, "seen_version": 1, "comment": "As seen."}
    told.client.sign_report(report_pb2.SignReportRequest(**fields, agreement=report_pb2.AGREEMENT_AGREE))
    told.until(lambda: told.events(made.name) == ["report.ready", "physician.needed", "report.signed"])
    assert len(told.reports_notified("on-call")) == 1


def test_a_lesion_that_has_to_be_chosen(told: Told, tmp_path: Path) -> None:
    """There is no report yet."""
    before = len(told.reports_notified("on-call"))
    write_twin_study(tmp_path)
    made = told.assess(tmp_path, Order("sts-petct", deliver_to=DESTINATIONS))
    assert made.state == assessment_pb2.ASSESSMENT_STATE_LESION_CHOICE_NEEDED
    told.until(lambda: told.events(made.name) == ["physician.needed"])
    told.until(lambda: told.reports_notified("on-call")[before:] == [""])
