"""The read API and cards with few and with many stored reports: ``make bench-ehr``.

One real report is made, and stored again and again with other identifiers, five for each patient, in two data folders.
A server runs on each, and both are asked the same in turn, so that a busy machine slows both alike. What is printed is
the median time of an answer over HTTP, its first byte to its last, and how many times as long it is with many.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt
import psutil
import requests
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.chart_store import AssessmentRow, ChartStore, Subject
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.report_store import ReportStore
from oncoresponse.storage.resource_index import ResourceIndex, index_version
from oncoresponse.v1 import assessment_pb2

FEW, MANY, MOST = 100, 10_000, 1.3
_EHR, _CDS = "https://ehr.example", "https://cds.example"
REPORTS_OF_A_PATIENT = 5
_ROOT = Path(__file__).parents[1]
_PYTHON = (sys.executable, "-m", "oncoresponse.cli.main")
_AT_ONCE = 100
_SETTLING_SECONDS = 120.0
_UUID = re.compile(r"urn:uuid:[0-9a-f-]{36}")
_UID = re.compile(r"urn:oid:2\.25\.\d+|urn:oid:1\.[0-9.]+")


@dataclass
class Running:
    """A server on one of the data folders."""

    base: str
    process: psutil.Process
    session: requests.Session
    key: ec.EllipticCurvePrivateKey

    def memory_mb(self) -> float:
        """Resident memory of the server and what it started."""
        processes = [self.process, *self.process.children(recursive=True)]
        return sum(each.memory_info().rss for each in processes) / 1024**2

    def ask(self, path: str, accept: str = "application/fhir+json") -> requests.Response:
        """An answer, which has to be a good one."""
        answer = self.session.get(f"{self.base}/{path}", headers={"Accept": accept}, timeout=60)
        # What was filled in may still be on its way to the disk; the audit record of the first request waits behind it.
        deadline = time.monotonic() + _SETTLING_SECONDS
        while answer.status_code == 503 and time.monotonic() < deadline:
            answer = self.session.get(f"{self.base}/{path}", headers={"Accept": accept}, timeout=60)
        if not answer.ok:
            raise SystemExit(f"{path}: {answer.status_code} {answer.text}")
        return answer

    def card(self, patient: str) -> None:
        """A card for a patient, by a token that is signed for this call (CDS Hooks)."""
        path, now = "/cds-services/imaging-response", int(time.time())
        claims = {"iss": _EHR, "aud": _CDS + path, "iat": now, "exp": now + 60, "jti": str(uuid.uuid4())}
        token = jwt.encode(claims, self.key, "ES384", headers={"kid": "ehr"})
        body = {
            "hook": "patient-view",
            "hookInstance": str(uuid.uuid4()),
            "context": {"userId": "Practitioner/1", "patientId": "p"},
            "prefetch": {
                "patient": {"resourceType": "Patient", "id": "p", "identifier": [{"system": _EHR, "value": patient}]}
            },
        }
        url = self.base.removesuffix("/fhir") + path
        answer = self.session.post(url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        if not answer.ok or len(answer.json()["cards"]) != 1:
            raise SystemExit(f"no card: {answer.status_code} {answer.text}")


def main() -> None:
    """Print the table; exit code 1 where something grows more than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=FEW)
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="keep what is filled there, and use what is there already")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = asked.folder or Path(name)
        bundle = _real_bundle(folder / "report")
        servers = []
        for count in (asked.few, asked.many):
            if not (folder / str(count)).exists():
                start = time.perf_counter()
                rows = _fill(folder / str(count), bundle, count)
                seconds = time.perf_counter() - start
                size = (folder / str(count) / "oncoresponse.sqlite").stat().st_size / 1024**2
                print(f"{count} reports: {rows} resources, {1000 * seconds / count:.1f} ms a report, {size:.0f} MiB")
            servers.append(running.enter_context(_server(folder / str(count))))
        worst = _measured(servers, asked.requests)
        print(f"worst: {worst:.2f} times, allowed {MOST}")
        sys.exit(worst > MOST)


def _real_bundle(out: Path) -> bytes:
    if (out / "report.json").exists():
        return (out / "report.json").read_bytes()
    words = ("assess", str(_ROOT / "examples" / "STS_032"), "--model", "sts-petct", "--contour", "--out", str(out))
    subprocess.run([*_PYTHON, *words], check=True, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (out / "report.json").read_bytes()


def _copies(bundle: bytes) -> Callable[[int], bytes]:
    """The report as one of another patient's, another study's; devices stay the same."""
    read = json.loads(bundle)
    devices = [entry for entry in read["entry"] if entry["resource"]["resourceType"] == "Device"]
    kept = {each for entry in devices for each in _UUID.findall(json.dumps(entry))}
    text = bundle.decode()
    patient = re.search(r'"subject": \{.*?"value": "([^"]+)"', text, re.DOTALL)
    if patient is None:
        raise SystemExit("the report names no patient")

    def copy(number: int) -> bytes:
        def other_uuid(match: re.Match[str]) -> str:
            return match[0] if match[0] in kept else uuid.uuid5(uuid.NAMESPACE_OID, f"{match[0]} {number}").urn

        changed = _UUID.sub(other_uuid, text)
        changed = _UID.sub(lambda match: f"{match[0]}.{number}", changed)
        return changed.replace(f'"value": "{patient[1]}"', f'"value": "{_patient(number)}"').encode()

    return copy


def _patient(number: int) -> str:
    return f"MRN-{number // REPORTS_OF_A_PATIENT}"


def _fill(folder: Path, bundle: bytes, count: int) -> int:
    """Store the report ``count`` times; gives the number of resources."""
    folder.mkdir()
    url = f"sqlite:///{folder / 'oncoresponse.sqlite'}"
    for store in (ReportStore(url), ChartStore(url), ResourceIndex(url)):
        store.prepare()
        store.close()
    chart, artifacts, copy = ChartStore(url), ArtifactStore(str(folder / "artifacts")), _copies(bundle)
    engine = database_engine(url)
    succeeded = int(assessment_pb2.ASSESSMENT_STATE_SUCCEEDED)
    for first in range(0, count, _AT_ONCE):
        numbers = range(first, min(count, first + _AT_ONCE))
        for number in numbers:
            patient = IndexedPatient(patient_id=_patient(number), issuer_of_patient_id="")
            row = AssessmentRow(_assessment(number), number, f"studies/{number}", "models/sts-petct", succeeded)
            chart.add([row], Subject((patient,)))
        with engine.begin() as connection:
            for number in numbers:
                index_version(connection, _assessment(number), 1, *_stored(artifacts, copy(number), number))
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM fhir_resource").scalar_one()
    chart.close()
    engine.dispose()
    # What is still on its way to the disk would hold up the audit record of the first requests.
    os.sync()
    return int(rows)


def _assessment(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"assessment {number}"))


def _stored(artifacts: ArtifactStore, bundle: bytes, number: int) -> tuple[bytes, StoredArtifact]:
    """The Bundle in the artifact store: of one report in ten, so that the disk is not filled with PDFs."""
    if number % 10 == 0:
        return bundle, artifacts.put_bytes(bundle, "application/fhir+json")
    return bundle, StoredArtifact(sha256=f"{number:064x}", size_bytes=len(bundle), media_type="application/fhir+json")


@contextmanager
def _server(folder: Path) -> Iterator[Running]:
    settings = folder / "settings.yaml"
    limits = {"calls_per_minute": 0, "failed_authentications_per_minute": 0}
    key = ec.generate_private_key(ec.SECP384R1())
    jwks = {"keys": [{**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "ehr", "alg": "ES384"}]}
    (folder / "jwks.json").write_text(json.dumps(jwks))
    hooks = {
        "base_url": _CDS,
        "clients": {"ehr": {"issuer": _EHR, "jwks_file": str(folder / "jwks.json")}},
        "patient_identifiers": {_EHR: ""},
    }
    content = {"http": {"listen": "127.0.0.1:0"}, "caller_limits": limits, "cds_hooks": hooks}
    settings.write_text(yaml.safe_dump(content))
    words = ("serve", "--listen", "127.0.0.1:0", "--data-dir", str(folder), "--allow-anonymous")
    more = ("--models-dir", str(_ROOT / "models"), "--settings", str(settings))
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen([*_PYTHON, *words, *more], stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        address = ""
        for line in process.stdout or ():
            if line.startswith("http "):
                address = line.split()[1]
            if line.startswith("ready"):
                break
        if not address:
            raise SystemExit((folder / "log.txt").read_text())
        with requests.Session() as session:
            yield Running(f"http://{address}/fhir", psutil.Process(process.pid), session, key)
    finally:
        process.terminate()
        process.communicate()


def _measured(servers: Sequence[Running], count: int) -> float:
    """Print what each kind of request takes; gives the largest ratio."""
    worst = 0.0
    print(f"{'':<44}{'few':>9}{'many':>9}  times")
    before = [each.memory_mb() for each in servers]

    def measure(name: str, asks: Sequence[Callable[[int], object]]) -> None:
        """Ask each server by the index of it."""
        nonlocal worst
        for ask in asks:
            ask(0)
            ask(1)
        seconds: tuple[list[float], list[float]] = ([], [])
        for turn in range(count):
            for which in (0, 1):
                start = time.perf_counter()
                asks[turn % len(asks)](which)
                seconds[which].append(time.perf_counter() - start)
        few, many = (1000 * statistics.median(each) for each in seconds)
        worst = max(worst, many / few)
        print(f"{name:<44}{few:6.1f} ms{many:6.1f} ms  {many / few:.2f}", flush=True)

    for name, paths, accept in _requests(servers):
        measure(
            name, [lambda which, path=path, accept=accept: servers[which].ask(path[which], accept) for path in paths]
        )
    patients = [f"MRN-{number}" for number in (0, 4, 8, 12, 16)]
    measure(
        "a card for a patient", [lambda which, patient=patient: servers[which].card(patient) for patient in patients]
    )
    after = [each.memory_mb() for each in servers]
    memory = ", ".join(f"{a:.0f} -> {b:.0f}" for a, b in zip(before, after, strict=True))
    print(f"resident memory in MiB over {count} of each, few and many: {memory}")
    return worst


def _requests(servers: Sequence[Running]) -> Iterator[tuple[str, list[tuple[str, str]], str]]:
    """Name, paths for each server, and what is accepted."""
    fhir = "application/fhir+json"

    def same(path: str) -> list[tuple[str, str]]:
        return [(path, path)]

    report = servers[0].ask("DiagnosticReport?patient.identifier=MRN-2&_count=1").json()["entry"][0]["resource"]
    observation = servers[0].ask(report["result"][0]["reference"]).json()
    coding, identifier = observation["code"]["coding"][0], report["identifier"][0]
    patients = [f"patient.identifier=MRN-{number}" for number in (0, 4, 8, 12, 16)]
    code = f"{coding['system']}|{coding['code']}"
    stored = servers[0].ask("DiagnosticReport?patient.identifier=MRN-2&_sort=_lastUpdated&_count=5").json()["entry"]
    # Of the ten first, the report with number 10 has its Bundle in the store.
    binary = _first_readable(servers, [each["resource"]["presentedForm"][0]["url"] for each in stored])
    yield "read a DiagnosticReport", same(f"DiagnosticReport/{report['id']}"), fhir
    yield "read an Observation", same(report["result"][0]["reference"]), fhir
    yield "read a Device", same(observation["device"]["reference"]), fhir
    yield "read a PDF (Binary)", same(binary), "application/pdf"
    yield (
        "reports by identifier",
        same(f"DiagnosticReport?identifier={identifier['system']}|{identifier['value']}"),
        fhir,
    )
    yield "reports of a patient", [(f"DiagnosticReport?{each}",) * 2 for each in patients], fhir
    yield (
        "reports of a patient, all that belongs to them",
        [
            (f"DiagnosticReport?{each}&_include=DiagnosticReport:result&_revinclude=Provenance:target",) * 2
            for each in patients
        ],
        fhir,
    )
    yield "observations of a patient by code", [(f"Observation?{each}&code={code}",) * 2 for each in patients], fhir
    yield "devices of a patient", [(f"Device?{each}",) * 2 for each in patients], fhir
    yield "observations by code, 20 on a page", same(f"Observation?code={code}&_count=20"), fhir
    yield (
        "reports by status, newest study first",
        same("DiagnosticReport?status=preliminary&_sort=-date&_count=20"),
        fhir,
    )
    yield "reports of status final (none)", same("DiagnosticReport?status=final"), fhir
    yield "reports since a date", same("DiagnosticReport?date=ge1990&_count=20"), fhir
    yield "reports since a time (_lastUpdated)", same("DiagnosticReport?_lastUpdated=ge2020&_count=20"), fhir
    yield (
        "reports by code, status and date",
        same(f"DiagnosticReport?code={report['code']['coding'][0]['code']}&status=preliminary&date=ge1990&_count=20"),
        fhir,
    )
    pages = [
        next(link["url"] for link in each.ask("Observation?_count=20").json()["link"] if link["relation"] == "next")
        for each in servers
    ]
    further = (pages[0].removeprefix(f"{servers[0].base}/"), pages[1].removeprefix(f"{servers[1].base}/"))
    yield "the second page of all observations", [further], fhir
    yield "metadata", same("metadata"), fhir


def _first_readable(servers: Sequence[Running], urls: Sequence[str]) -> str:
    for url in urls:
        answers = [each.session.get(f"{each.base}/{url}", headers={"Accept": "application/pdf"}) for each in servers]
        if all(answer.ok for answer in answers):
            return url
    raise SystemExit("no PDF can be read")


if __name__ == "__main__":
    main()
