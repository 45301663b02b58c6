"""A queue of reports while the EHR is away: ``make trial-push-queue``.

One real report is made, and stands for COUNT assessments that are to be sent to a FHIR server (as documents, with
login by nobody) and to an interface engine (HL7 v2 by MLLP). Both are away for MINUTES; meanwhile the server is killed.
Then both come, and while the queue is sent the server is killed again. In the end each document and each message has to
be there once. Needs what the tests need: ``make fhir-server``.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import requests
import yaml
from google.protobuf import json_format
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.rpc.client import Client, Order
from oncoresponse.storage.chart_store import AssessmentRow, ChartStore, Subject
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.delivery_store import DeliveryStore
from oncoresponse.storage.result_store import KeptResult, keep_result_within
from oncoresponse.v1 import assessment_pb2
from sqlalchemy import Engine, text

from benchmarks.worker_loss import Process, wait_for
from tests.integration.medplum_server import running_fhir_server
from tests.integration.orthanc_server import free_port
from tests.integration.test_hl7_push import receiving

_ROOT = Path(__file__).parents[1]
_SYSTEM, _PATIENT = "https://hospital.example/mrn", "STS_032"
_DESTINATIONS = ("chart", "engine")
_PATIENCE_SECONDS = 3600.0


def main() -> None:
    """Print what became of the queue; exit code 1 where something was lost, or is there twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=10.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sys.exit(not _trial(Path(name), asked.count, asked.minutes))


def _trial(folder: Path, count: int, minutes: float) -> bool:
    ports = {each: free_port() for each in _DESTINATIONS}
    settings = folder / "settings.yaml"
    url = f"http://127.0.0.1:{ports['chart']}"
    chart = {"kind": "fhir", "url": url, "form": "document", "patient_system": _SYSTEM}
    engine = {"kind": "mllp", "address": f"127.0.0.1:{ports['engine']}", "assigning_authority": "NORTH"}
    settings.write_text(yaml.safe_dump({"destinations": {"chart": chart, "engine": engine}}))
    server = Process(folder, settings=settings)
    with closing(Client(server.wait_until_ready())) as client:
        made = client.assess(client.upload_study(_ROOT / "examples" / "STS_032", _ignore), Order("sts-petct"), _ignore)
    _end(server, signal.SIGTERM)
    database = f"sqlite:///{folder / 'data' / 'oncoresponse.sqlite'}"
    _fill(database, made, count)
    rows = database_engine(database)
    _say(f"{count} reports wait for {len(_DESTINATIONS)} destinations that are away")

    server = Process(folder, settings=settings)
    server.wait_until_ready()
    began = time.monotonic()
    _let_pass(rows, began + 30.0 * minutes)
    _end(server, signal.SIGKILL)
    server = Process(folder, settings=settings)
    server.wait_until_ready()
    _say("killed and started again")
    _let_pass(rows, began + 60.0 * minutes)
    before = _states(rows)
    with ExitStack() as peers:
        base = peers.enter_context(running_fhir_server(ports["chart"]))
        receiver = peers.enter_context(receiving(port=ports["engine"]))
        patient = {"resourceType": "Patient", "identifier": [{"system": _SYSTEM, "value": _PATIENT}]}
        requests.post(f"{base}/Patient", json=patient, timeout=30).raise_for_status()
        came = time.monotonic()
        _say("the destinations are there")
        wait_for(lambda: _states(rows)["sent"] > len(_DESTINATIONS) * count // 4, "a quarter", _PATIENCE_SECONDS)
        _end(server, signal.SIGKILL)
        server = Process(folder, settings=settings)
        server.wait_until_ready()
        _say("a quarter is sent; killed and started again")
        wait_for(lambda: _states(rows)["sent"] == len(_DESTINATIONS) * count, "the last", _PATIENCE_SECONDS)
        seconds = time.monotonic() - came
        documents = _documents(base)
        messages = [text.split("\r", 1)[0] for text in receiver.filed.values()]
        _end(server, signal.SIGTERM)
    rows.dispose()
    whole = len(documents) == len(messages) == count and set(documents.values()) == {1}
    _say(f"away {minutes:g} minutes: states {dict(before)}")
    _say(f"sent {seconds:.0f} s after they came: {len(documents)} documents, {len(messages)} messages")
    twice = sum(each > 1 for each in documents.values())
    _say(
        f"lost: {2 * count - len(documents) - len(messages)}; documents there twice: {twice}; sent again and known by "
        f"the interface engine: {receiver.came - len(messages)}"
    )
    return whole and before["dead"] == 0


def _fill(database: str, made: assessment_pb2.Assessment, count: int) -> None:
    """The one result as that of ``count`` assessments, and what is to be sent of each."""
    chart, deliveries, engine = ChartStore(database), DeliveryStore(database), database_engine(database)
    artifacts = {
        name: StoredArtifact(sha256=each.sha256, size_bytes=each.size_bytes, media_type=each.media_type)
        for name, each in made.result.artifacts.items()
    }
    subject = Subject((IndexedPatient(patient_id=_PATIENT, issuer_of_patient_id=""),))
    for number in range(count):
        identifier = f"queue-{number:05d}"
        copy = assessment_pb2.Assessment()
        copy.CopyFrom(made)
        copy.name = f"assessments/{identifier}"
        state = int(assessment_pb2.ASSESSMENT_STATE_SUCCEEDED)
        chart.add([AssessmentRow(identifier, number, made.study, made.model, state)], subject)
        with engine.begin() as connection:
            keep_result_within(connection, KeptResult(identifier, json_format.MessageToJson(copy), "0" * 64))
        deliveries.add_first(identifier, _DESTINATIONS, artifacts)
    for each in (chart, deliveries):
        each.close()
    engine.dispose()


def _states(rows: Engine) -> Counter[str]:
    """How many deliveries are in each state."""
    with rows.connect() as connection:
        found = connection.execute(text("SELECT state, count(*) AS number FROM delivery GROUP BY state"))
        return Counter({row.state: row.number for row in found})


def _let_pass(rows: Engine, until: float) -> None:
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 30.0))
        _say(f"  {dict(_states(rows))}")


def _documents(base: str) -> Counter[str]:
    """Documents of the server by identifier."""
    found: Counter[str] = Counter()
    while True:
        page = requests.get(f"{base}/DocumentReference?_count=100&_offset={found.total()}", timeout=120).json()
        entries = page.get("entry", [])
        found.update(each["resource"]["masterIdentifier"]["value"] for each in entries)
        if not entries:
            return found


def _end(server: Process, number: signal.Signals) -> None:
    server.signal(number)
    server.process.wait(60)


def _ignore(_text: str, _fraction: float) -> None:
    return None


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


if __name__ == "__main__":
    main()
