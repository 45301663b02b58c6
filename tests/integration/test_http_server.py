"""The HTTP server of a real process: who may use which route, DICOMweb in, and senders that mean no good."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import grpc
import pydicom
import pytest
import requests
import yaml
from dicomweb_client.web import DICOMwebClient
from oncoresponse.access.local_users import USERS_FILE, add_user
from oncoresponse.access.roles import USER_ROLES, AccessRole
from oncoresponse.edges.http.route_rules import ROUTE_RULES
from oncoresponse.v1 import study_pb2, study_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families
from pydicom.uid import generate_uid

from tests.integration.orthanc_server import PASSWORD, USER, free_port, running_orthanc

ROOT = Path(__file__).parents[2]
SERVICES = "study,assessment,model,monitoring,response"
PET = sorted((ROOT / "examples" / "STS_019" / "PET").glob("00*.dcm"))[:6]
NO_LIMITS = {"calls_per_minute": 0, "failed_authentications_per_minute": 0}
REQUEST_SECONDS, IDLE_SECONDS, BODY_BYTES, UPLOAD_BYTES = 1.0, 2.0, 4096, 8 * 1024**2
DICOM_PARTS = 'multipart/related; type="application/dicom"; boundary=parts'


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def tokens(data):
    return {role: add_user(data / USERS_FILE, f"user-{role}", (role,)) for role in sorted(USER_ROLES)}


@pytest.fixture(scope="module")
def archive_port():
    return free_port()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory, require_installed, archive_port):
    """It holds one study, and is the archive of the server."""
    folder = tmp_path_factory.mktemp("orthanc")
    with running_orthanc(folder, require_installed, archive_port, StowMaxInstances=2) as running:
        for dataset in slices("STOW-2", 6):
            running.ask("POST", "/instances", data=as_bytes(dataset))
        yield running


@pytest.fixture(scope="module")
def server(serve_for_module, silent_stages, data, tokens, archive_port):
    http = {
        "listen": "127.0.0.1:0",
        "request_seconds": REQUEST_SECONDS,
        "idle_seconds": IDLE_SECONDS,
        "body_bytes": BODY_BYTES,
        "upload_bytes": UPLOAD_BYTES,
        "connections": 40,
        "requests": 4,
        "quiet_seconds": 0.5,
    }
    settings = data / "settings.yaml"
    limits = {"dicom_limits": {"file_bytes": 4 * 1024**2}, "caller_limits": NO_LIMITS}
    password = data / "archive-password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    url = f"http://127.0.0.1:{archive_port}/dicom-web"
    archive = {"archive": {"url": url, "user": USER, "password_file": str(password)}}
    rules = data / "rules.yaml"
    rules.write_text(
        yaml.safe_dump({"rules": [{"name": "sarcoma", "when": {"modalities": ["PT"]}, "model": "sts-petct"}]})
    )
    more = {
        "rules": str(rules),
        "model_activation": "installed",
        "addresses": silent_stages.address,
        "dicomweb_servers": archive,
        **limits,
    }
    settings.write_text(yaml.safe_dump({"http": http, **more}))
    arguments = ("--services", SERVICES, "--listen", "127.0.0.1:0", "--stage-listen", "127.0.0.1:0")
    process = serve_for_module(*arguments, "--data-dir", str(data), settings=settings, anonymous=False)
    process.wait_until_ready()
    return process


@pytest.fixture(scope="module")
def base(server):
    return f"http://{server.edges['http']}"


@pytest.fixture(scope="module")
def submitter(tokens):
    return {"Authorization": f"Bearer {tokens[AccessRole.SUBMIT]}"}


def ask(base: str, method: str, path: str, token: str | None, **more: object) -> requests.Response:
    headers = {**({} if token is None else {"Authorization": f"Bearer {token}"}), **more.pop("headers", {})}
    return requests.request(method, base + path.replace("{study}", "1.2.3"), headers=headers, timeout=30, **more)


@pytest.mark.parametrize("route", sorted(ROUTE_RULES), ids=" ".join)
def test_each_route_is_closed_to_who_may_not_use_it(base, tokens, route):
    """Every cell of the table: nobody, a token of nobody, each access role."""
    rule = ROUTE_RULES[route]
    for token in (None, "oncoresponse_" + "0" * 43, "not.a.token"):
        answer = ask(base, *route, token)
        if rule.is_open:
            # This installation has no issuer that it could name.
            assert answer.status_code == (404 if "smart-configuration" in route[1] else 200)
            continue
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        if route[1].startswith("/fhir/"):
            assert answer.headers["Content-Type"] == "application/fhir+json"
            reason = answer.json()["issue"][0]["details"]["coding"][0]["code"]
        else:
            assert answer.headers["Content-Type"] == "application/problem+json"
            reason = answer.json()["reason"]
        assert (answer.status_code, reason) == (401, "NOT_AUTHENTICATED")
    for role, token in tokens.items():
        status = ask(base, *route, token).status_code
        if rule.own_login:
            assert status == 401, role
        elif rule.is_open or role in rule.roles:
            assert status not in (401, 403), role
        else:
            assert status == 403, role


def test_prometheus_reads_the_models_and_their_monitoring(base, tokens):
    answer = ask(base, "GET", "/metrics", tokens[AccessRole.ADMINISTER])
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {family.name: family.samples for family in text_string_to_metric_families(answer.text)}
    assert "sts-petct" in {sample.labels["model"] for sample in found["oncoresponse_model_state"]}
    assert {sample.value for sample in found["oncoresponse_monitoring_readable"]} == {1}
    assert {sample.value for sample in found["oncoresponse_monitoring_predictions"]} == {0}


def test_what_is_not_in_the_table_is_not_served(base, submitter):
    for method, path, status in (
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/dicom-web/studies", 405),
        ("DELETE", "/dicom-web/studies/1.2.3", 405),
        ("TRACE", "/livez", 405),
        ("POST", "/livez", 405),
    ):
        answer = requests.request(method, base + path, headers=submitter, timeout=30)
        assert (answer.status_code, answer.json()["status"]) == (status, status), path
        assert answer.json()["reason"] == "INVALID_REQUEST"


def test_answers_carry_the_correlation_id_and_nothing_for_a_browser(base, server):
    answer = requests.get(f"{base}/livez", headers={"X-Correlation-Id": "ward-7.0815"}, timeout=30)
    assert answer.headers["X-Correlation-Id"] == "ward-7.0815"
    chosen = requests.get(f"{base}/nothing", headers={"X-Correlation-Id": "a b"}, timeout=30)
    assert chosen.headers["X-Correlation-Id"] == chosen.json()["correlation_id"] != "a b"
    for name, value in (
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
        ("Referrer-Policy", "no-referrer"),
    ):
        assert chosen.headers[name] == value
    assert "Server" not in chosen.headers


def studies(server, tokens, **wanted: object) -> list[study_pb2.Study]:
    with grpc.insecure_channel(server.address) as channel:
        stub = study_pb2_grpc.StudyServiceStub(channel)
        metadata = [("authorization", f"Bearer {tokens[AccessRole.READ]}")]
        return list(stub.ListStudies(study_pb2.ListStudiesRequest(**wanted), metadata=metadata, timeout=30).studies)


def completed(server, tokens, patient: str, count: int = 1) -> list[study_pb2.Study]:
    """The studies of a patient, once so many are complete."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if len(found := studies(server, tokens, patient_id=patient, complete=True)) >= count:
            return found
        # As often as a person would look; the server decides when.
        time.sleep(0.1)
    raise AssertionError("the study was not completed")


def slices(patient: str, count: int = 3) -> list[pydicom.Dataset]:
    """Real images under new UIDs."""
    datasets = [pydicom.dcmread(path) for path in PET[:count]]
    study, series = (generate_uid(entropy_srcs=[patient, word]) for word in ("study", "series"))
    for number, dataset in enumerate(datasets):
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.PatientID = study, series, patient
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[patient, str(number)])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return datasets


def as_bytes(dataset: pydicom.Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def multipart(*parts: bytes, content_type: str = "application/dicom") -> bytes:
    head = f"--parts\r\nContent-Type: {content_type}\r\n\r\n".encode()
    return b"".join(head + part + b"\r\n" for part in parts) + b"--parts--\r\n"


def store(base: str, submitter: dict[str, str], body: bytes, path: str = "/dicom-web/studies", **headers: str):
    return requests.post(
        base + path, data=body, headers={**submitter, "Content-Type": DICOM_PARTS, **headers}, timeout=60
    )


def failures(answer: requests.Response) -> list[int]:
    """Failure reasons of an answer, those of parts without a name last."""
    content = answer.json()
    items = [item for tag in ("00081198", "0008119A") for item in content.get(tag, {}).get("Value", [])]
    return [item["00081197"]["Value"][0] for item in items]


def test_dicomweb_client_stores_a_study_which_is_then_completed(server, base, tokens, submitter):
    sent = slices("STOW-1")
    answer = DICOMwebClient(f"{base}/dicom-web", headers=submitter).store_instances(sent)
    stored = {item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence}
    assert stored == {dataset.SOPInstanceUID for dataset in sent}
    assert "FailedSOPSequence" not in answer
    (study,) = completed(server, tokens, "STOW-1")
    assert (study.instance_count, list(study.modalities)) == (3, ["PT"])


def test_orthanc_sends_its_study_in_pieces_and_it_is_one_study(server, base, tokens, submitter, orthanc):
    remote = {"Url": f"{base}/dicom-web/", "HttpHeaders": submitter}
    orthanc.ask("PUT", "/dicom-web/servers/here", data=json.dumps(remote))
    (study,) = orthanc.ask("GET", "/studies").json()
    sent = json.dumps({"Resources": [study], "Synchronous": True})
    orthanc.ask("POST", "/dicom-web/servers/here/stow", data=sent)
    (found,) = completed(server, tokens, "STOW-2")
    assert found.instance_count == 6


def command(*arguments: str, token: str) -> str:
    """What a command prints."""
    environment = {**os.environ, "ONCORESPONSE_TOKEN": token}
    line = [sys.executable, "-m", "oncoresponse.cli.main", *arguments]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_studies_of_the_archive_are_found_and_retrieved_from_the_command_line(server, tokens, orthanc):
    there = ("--server", server.address, "--from", "archive")
    study = slices("STOW-2", 1)[0]
    listed = command("pacs", "find", *there, "--modality", "PT", "--date", "-20991231", token=tokens[AccessRole.SUBMIT])
    line = next(line.split() for line in listed.splitlines() if "STOW-2" in line)
    assert line == [study.StudyDate, "STOW-2", "PT", "1", "6", study.StudyInstanceUID]
    wanted = ("--study", study.StudyInstanceUID, "--model", "sts-petct")
    retrieved = command("pacs", "retrieve", *there, *wanted, token=tokens[AccessRole.SUBMIT])
    assert retrieved.endswith(": 6 instances, PT\n")


def test_each_bad_instance_is_named_with_its_reason_and_the_good_ones_are_stored(server, base, tokens, submitter):
    good, same, other_patient, other_content = slices("STOW-3", 4)
    other_patient.PatientID = "SOMEBODY ELSE"
    twice = slices("STOW-3", 4)[0]
    twice.ImageComments = "another"
    truncated = as_bytes(other_content)[:-500]
    body = multipart(
        as_bytes(good), as_bytes(same), as_bytes(same), as_bytes(other_patient), as_bytes(twice), truncated, b"no DICOM"
    )
    answer = store(base, submitter, body)
    assert answer.status_code == 202
    assert answer.headers["Content-Type"] == "application/dicom+json"
    failed = {item["00081155"]["Value"][0]: item["00081197"]["Value"][0] for item in answer.json()["00081198"]["Value"]}
    assert failed == {
        other_patient.SOPInstanceUID: 0xA900,
        good.SOPInstanceUID: 0x0111,
        other_content.SOPInstanceUID: 0xC000,
    }
    assert failures(answer)[-1] == 0xC000
    stored = {item["00081155"]["Value"][0] for item in answer.json()["00081199"]["Value"]}
    assert stored == {good.SOPInstanceUID, same.SOPInstanceUID}
    # Whole now: the broken one may come again, and belongs to the same study.
    assert store(base, submitter, multipart(as_bytes(other_content))).status_code == 200
    (study,) = completed(server, tokens, "STOW-3")
    assert study.instance_count == 3
    # The same again changes nothing; what comes later makes a new version and does not change that one.
    assert store(base, submitter, multipart(as_bytes(other_content))).status_code == 200
    assert store(base, submitter, multipart(as_bytes(slices("STOW-3", 5)[4]))).status_code == 200
    found = completed(server, tokens, "STOW-3", 2)
    assert sorted(each.instance_count for each in found) == [3, 4]
    assert [each.supersedes for each in found if each.instance_count == 4] == [study.name]


def received(server, tokens, study: str) -> list[str]:
    """What the list says of a study that came in, once the rules were carried out."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        listed = command("pacs", "received", "--server", server.address, token=tokens[AccessRole.READ])
        for line in listed.splitlines():
            if study in line and "waiting" not in line:
                return line.split()[2:-1]
    raise AssertionError("the rules were not carried out")


def test_the_rules_hold_for_what_comes_over_http_too(server, base, tokens, submitter):
    pet = slices("STOW-5")
    assert store(base, submitter, multipart(*map(as_bytes, pet))).status_code == 200
    (study,) = completed(server, tokens, "STOW-5")
    assert received(server, tokens, study.name) == ["http", "refused", "sarcoma", "REQUIRED_SERIES_MISSING"]
    # The CT comes late: a version with both, which the model can work with.
    late = [pydicom.dcmread(path) for path in sorted((ROOT / "examples" / "STS_019" / "CT").glob("*.dcm"))[:3]]
    for dataset in late:
        dataset.StudyInstanceUID, dataset.PatientID = pet[0].StudyInstanceUID, "STOW-5"
    assert store(base, submitter, multipart(*map(as_bytes, late))).status_code == 200
    version = next(each for each in completed(server, tokens, "STOW-5", 2) if each.supersedes == study.name)
    assert received(server, tokens, version.name)[:3] == ["http", "started", "sarcoma"]


def test_an_instance_of_another_study_than_the_path_and_one_that_is_too_large(base, submitter):
    one = slices("STOW-4", 1)[0]
    assert failures(store(base, submitter, multipart(as_bytes(one)), "/dicom-web/studies/1.2.3")) == [0xA900]
    path = f"/dicom-web/studies/{one.StudyInstanceUID}"
    large = as_bytes(one) + bytes(5 * 1024**2)
    answer = store(base, submitter, multipart(large, as_bytes(one)), path)
    assert (answer.status_code, failures(answer)) == (202, [0xA700])
    assert store(base, submitter, multipart(b"nothing")).status_code == 409


def test_requests_that_are_no_store_are_refused(base, submitter):
    body = multipart(as_bytes(slices("STOW-5", 1)[0]))
    for headers, status in (
        ({"Content-Type": "application/dicom"}, 415),
        ({"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=parts'}, 415),
        ({"Content-Type": 'multipart/related; type="application/dicom"'}, 400),
        ({"Content-Type": DICOM_PARTS.replace("=parts", "=" + "x" * 101)}, 400),
        ({"Content-Type": DICOM_PARTS.replace("=parts", "=another")}, 400),
        ({"Accept": "application/dicom+xml"}, 406),
    ):
        assert store(base, submitter, body, **headers).status_code == status, headers
    for broken in (b"", body[:-12], body[:40], b"--parts\r\n" + b"A: b\r\n" * 100 + b"\r\nx\r\n--parts--\r\n"):
        assert store(base, submitter, broken).status_code == 400
    assert store(base, submitter, body, "/dicom-web/studies/patient-name").status_code == 400
    assert store(base, submitter, b"--parts--\r\n").status_code == 400


def connect(base: str) -> socket.socket:
    host, port = base.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def answer_to(base: str, sent: bytes) -> bytes:
    """The first bytes that come back; empty where the connection is closed without."""
    with connect(base) as connection:
        connection.sendall(sent)
        try:
            return connection.recv(65536)
        except ConnectionResetError:
            return b""


def everything_from(base: str, sent: bytes) -> bytes:
    """All that comes back until the server closes the connection, which it does long before the limit here."""
    got = b""
    with connect(base) as connection:
        connection.settimeout(30)
        connection.sendall(sent)
        while more := connection.recv(65536):
            got += more
    return got


def head(submitter: dict[str, str], *more: str, path: str = "/dicom-web/studies") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: here", f"Authorization: {submitter['Authorization']}"]
    return "\r\n".join([*lines, f"Content-Type: {DICOM_PARTS}", *more, "", ""]).encode()


def test_a_body_beyond_the_limit_is_refused_before_and_while_it_comes(base, submitter):
    assert answer_to(base, head(submitter, f"Content-Length: {UPLOAD_BYTES + 1}")).startswith(b"HTTP/1.1 413 ")
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b"--parts\r\nContent-Type: application/dicom\r\n\r\n"
        while sent < 64 * 1024**2:
            sent += 65536
            yield bytes(65536)

    try:
        status = store(base, submitter, endless()).status_code
    except requests.ConnectionError:
        status = 413  # closed while this side still sent
    assert status == 413
    # What the buffers of two sockets hold may have been sent beyond the limit.
    assert sent < UPLOAD_BYTES + 16 * 1024**2


def test_who_sends_a_header_or_a_body_slowly_is_cut_off_and_others_are_served(base, submitter):
    began = time.monotonic()
    dripping = [connect(base) for _ in range(20)]
    try:
        for connection in dripping:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\nX-Drip: ")
            connection.settimeout(0.05)
        assert requests.get(f"{base}/livez", timeout=30).status_code == 200
        waiting = list(dripping)
        while waiting:
            assert time.monotonic() - began < 20 * REQUEST_SECONDS
            for connection in list(waiting):
                try:
                    connection.sendall(b"x")
                    ended = not connection.recv(1)
                except TimeoutError:
                    ended = False
                except OSError:
                    ended = True
                if ended:
                    waiting.remove(connection)
        assert time.monotonic() - began >= REQUEST_SECONDS
    finally:
        for connection in dripping:
            connection.close()
    stalled = answer_to(base, head(submitter, "Content-Length: 100") + b"--parts")
    assert stalled.startswith(b"HTTP/1.1 408 ")


def test_beyond_the_requests_at_work_there_is_busy_and_beyond_the_connections_nothing(base, submitter):
    stalling = [connect(base) for _ in range(4)]
    try:
        for connection in stalling:
            connection.sendall(head(submitter, "Content-Length: 100") + b"--parts")
        refused = None
        until = time.monotonic() + IDLE_SECONDS
        while refused is None and time.monotonic() < until:
            answer = ask(base, "POST", "/dicom-web/studies", None)
            refused = answer if answer.status_code == 503 else None
        assert refused.json()["reason"] == "BUSY"
        assert int(refused.headers["Retry-After"]) > 0
        assert requests.get(f"{base}/readyz", timeout=30).status_code == 200
        for connection in stalling:
            assert connection.recv(64).startswith(b"HTTP/1.1 408 ")
    finally:
        for connection in stalling:
            connection.close()
    many = [connect(base) for _ in range(60)]
    try:
        answers = []
        for connection in many:
            try:
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
                answers.append(connection.recv(64)[:12])
            except OSError:
                answers.append(b"")
        assert 20 < answers.count(b"HTTP/1.1 200") <= 40
        assert answers.count(b"") >= 20
    finally:
        for connection in many:
            connection.close()
    assert requests.get(f"{base}/livez", timeout=30).status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        "/dicom-web/../livez",
        "/dicom-web/./studies",
        "/dicom-web//studies",
        "//livez",
        "/dicom-web/studies/%2e%2e%2flivez",
        "/dicom-web/studies%2F1.2.3",
        "/dicom-web/studies/1.2.3%00",
        "/dicom-web/studies/%252e%252e",
        "/dicom-web\\studies",
        "/dicom-web/studies/1.2.3%0d%0aX-Injected:%201",
        "/dicom-web/studies/%ff",
        "http://elsewhere/livez",
        "/dicom-web/studies/../../../etc/passwd",
    ],
)
def test_paths_that_are_read_in_more_than_one_way(base, submitter, target):
    answer = answer_to(base, head(submitter, "Content-Length: 0", path=target))
    assert answer.split(b" ", 2)[1] in (b"400", b"404"), answer[:100]
    assert b"X-Injected" not in answer.split(b"\r\n\r\n")[0]


def test_headers_that_are_too_many_too_large_twice_or_a_second_request_in_disguise(base, submitter, tokens):
    many = {f"X-{number}": "1" for number in range(70)}
    assert requests.get(f"{base}/livez", headers=many, timeout=30).status_code == 431
    large = b"GET /livez HTTP/1.1\r\nHost: here\r\nX-Large: " + b"x" * 40_000 + b"\r\n\r\n"
    assert answer_to(base, large)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431")
    twice = head(submitter, f"Authorization: Bearer {tokens[AccessRole.READ]}", "Content-Length: 0")
    assert answer_to(base, twice).startswith(b"HTTP/1.1 400 ")
    basic = requests.post(f"{base}/dicom-web/studies", auth=("user", "password"), timeout=30)
    assert (basic.status_code, basic.json()["reason"]) == (401, "NOT_AUTHENTICATED")
    for disguise in (
        ("Content-Length: 6", "Content-Length: 7"),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding : chunked",),
        ("Content-Length: +6",),
    ):
        assert answer_to(base, head(submitter, *disguise) + b"0\r\n\r\nX")[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 501"), (
            disguise
        )
    both = (
        head(submitter, "Content-Length: 4", "Transfer-Encoding: chunked")
        + b"0\r\n\r\nGET /livez HTTP/1.1\r\nHost: here\r\n\r\n"
    )
    answers = everything_from(base, both)
    assert answers.startswith(b"HTTP/1.1 400 ") and answers.count(b"HTTP/1.1 ") == 1


def test_forged_metadata_of_an_edge_is_not_passed_on(base, submitter, data):
    """Only what the server itself adds says for whom it calls."""
    edge = (data / "secrets" / "edge-token").read_text().strip()
    forged = {"X-Edge-Token": edge, "X-Caller-Address": "192.0.2.99", "X-Forwarded-For": "192.0.2.99"}
    store(base, {**submitter, **forged}, multipart(as_bytes(slices("STOW-6", 1)[0])))
    listed = subprocess.run(
        [sys.executable, "-m", "oncoresponse.cli.main", "audit", "list", "--data-dir", str(data)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "192.0.2.99" not in listed
    uploads = [line for line in listed.splitlines() if "UploadInstances" in line]
    assert uploads
    assert all("user-submit" in line and "127.0.0.1" in line for line in uploads)


def test_the_log_names_routes_and_neither_studies_nor_tokens(server, base, submitter, tokens):
    study = slices("STOW-LOG", 1)[0]
    store(base, submitter, multipart(as_bytes(study)), f"/dicom-web/studies/{study.StudyInstanceUID}?name=STOW-LOG")
    # The line is written when the answer is out, so a moment after it is read here.
    deadline = time.monotonic() + 30
    while "POST /dicom-web/studies/{study} 200" not in (log := server.log.read_text()):
        assert time.monotonic() < deadline
    assert not any(word in log for word in ("STOW-", study.StudyInstanceUID, tokens[AccessRole.SUBMIT]))


def test_a_study_that_was_coming_in_when_the_edge_was_killed_is_completed_by_the_next(
    server, data, tokens, submitter, tmp_path
):
    """kill -9 between the answer and the end of the quiet time: nothing that was acknowledged is lost or left open."""

    def start(quiet_seconds: float) -> tuple[subprocess.Popen, str]:
        settings = {
            "http": {"listen": "127.0.0.1:0", "quiet_seconds": quiet_seconds},
            "edge_token_file": str(data / "secrets" / "edge-token"),
        }
        file = tmp_path / "settings.yaml"
        file.write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "oncoresponse.cli.main", "edges", "--server", server.address]
        command += ["--data-dir", str(tmp_path), "--settings", str(file)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        return process, f"http://{process.stdout.readline().split()[1]}"

    first, base = start(1000)
    try:
        assert store(base, submitter, multipart(*map(as_bytes, slices("STOW-KILLED")))).status_code == 200
    finally:
        first.kill()
        first.wait()
        first.stdout.close()
    second, _ = start(0.2)
    try:
        (study,) = completed(server, tokens, "STOW-KILLED")
        assert study.instance_count == 3
    finally:
        second.terminate()
        assert second.wait(30) == 0
        second.stdout.close()
