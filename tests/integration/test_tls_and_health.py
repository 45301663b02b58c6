"""What an administrator relies on: encryption, health of each service, and a start and a stop that end well."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.client import Client, Order
from oncoresponse.rpc.peers import SERVICE_NAMES
from oncoresponse.rpc.settings import Service
from oncoresponse.rpc.tls import CallerTls
from oncoresponse.v1 import study_pb2

ROOT = Path(__file__).parents[2]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
STAGES = ("segmentation", "radiomics", "response", "reporting")


@pytest.fixture(scope="module")
def hospital(make_authority):
    return make_authority("hospital")


def settings_file(folder: Path, certificate: tuple[Path, Path] | None = None, **more: object) -> Path:
    path = folder / f"settings-{uuid.uuid4()}.yaml"
    tls = {"tls_certificate": str(certificate[0]), "tls_key": str(certificate[1])} if certificate else {}
    path.write_text(yaml.safe_dump({**tls, **more}))
    return path


def run(*arguments: object, **environment: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "oncoresponse.cli.main", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=240, env={**os.environ, **environment}
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def encrypted(serve_for_module, hospital, tmp_path_factory):
    """A whole server with certificates as a hospital issues them, on every interface, that asks callers for theirs.

    Its own certificate is for servers alone, names no loopback address, and nobody but the hospital trusts it.
    """
    folder = tmp_path_factory.mktemp("encrypted")
    callers = [{"certificate": "clinic", "name": "clinic", "roles": ["submit", "read", "train"]}]
    asked = {
        "tls_client_authority": str(hospital.file),
        "certificate_callers": callers,
        "model_activation": "installed",
    }
    settings = settings_file(folder, hospital.issue("localhost"), **asked)
    arguments = ("--listen", "0.0.0.0:0", "--data-dir", str(folder / "data"))
    server = serve_for_module(*arguments, settings=settings, anonymous=False)
    return f"localhost:{server.wait_until_ready().rpartition(':')[2]}"


def test_assessment_and_monitoring_with_certificates_of_the_hospital(encrypted, hospital, tmp_path):
    certificate, key = hospital.issue("clinic", usage="client")
    options = ("--ca", hospital.file, "--client-certificate", certificate, "--client-key", key)
    sample = ROOT / "examples" / "STS_019"
    out = tmp_path / "out"
    code, _, errors = run("assess", sample, "--model", "sts-petct", "--out", out, "--server", encrypted, *options)
    assert code == 0, errors
    assert json.loads((out / "report.json").read_bytes())["resourceType"] == "Bundle"
    # The same files from the environment.
    variables = {
        "ONCORESPONSE_CA": str(hospital.file),
        "ONCORESPONSE_CLIENT_CERTIFICATE": str(certificate),
        "ONCORESPONSE_CLIENT_KEY": str(key),
    }
    code, _, errors = run(
        "monitor", "--model", "sts-petct", "--out", tmp_path / "m", "--server", encrypted, **variables
    )
    assert code == 0, errors
    code, _, errors = run("record-outcome", "assessments/none", "favorable", "--server", encrypted, **variables)
    assert errors.startswith("PREDICTION_NOT_FOUND")


def test_the_cause_of_a_failed_handshake_is_named(encrypted, hospital, make_authority, tmp_path):
    """Three callers at the same time, because each waits some seconds for a server that may only be starting."""
    sample = ROOT / "examples" / "STS_019"
    options = {
        "server_wants_tls": (),
        "client_certificate_required": ("--ca", hospital.file),
        "untrusted_authority": ("--ca", make_authority("strange").file),
    }

    def call(cause):
        given = ("--out", tmp_path / cause, "--server", encrypted, *options[cause])
        return run("assess", sample, "--model", "sts-petct", *given)

    with ThreadPoolExecutor(len(options)) as threads:
        answers = dict(zip(options, threads.map(call, options), strict=True))
    for cause, (code, _, errors) in answers.items():
        assert (code, "TLS_HANDSHAKE_FAILED" in errors, f"cause: {cause}" in errors) == (1, True, True), errors
        assert not (tmp_path / cause).exists()


def test_a_verified_certificate_that_is_nobodys_is_refused(encrypted, hospital):
    caller = Client(encrypted, CallerTls(hospital.file, *hospital.issue("stranger", usage="client")))
    with pytest.raises(OncoResponseError) as caught:
        caller.models()
    caller.close()
    assert caught.value.reason == "NOT_AUTHENTICATED"


def offering(newest: ssl.TLSVersion, oldest: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that offers these versions of TLS and, for the old ones, the old ciphers and signatures too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version, context.maximum_version = oldest, newest
    context.set_alpn_protocols(["h2"])
    return context


def handshake(address: str, context: ssl.SSLContext) -> str | None:
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=host) as encrypted,
    ):
        return encrypted.version()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_of_before_1_2_is_refused(encrypted, hospital):
    versions = ssl.TLSVersion
    client = hospital.issue("clinic", usage="client")
    for version, name in ((versions.TLSv1_2, "TLSv1.2"), (versions.TLSv1_3, "TLSv1.3")):
        context = offering(version, version)
        context.load_cert_chain(*client)
        assert handshake(encrypted, context) == name
    old = offering(versions.TLSv1_1, versions.TLSv1)
    old.load_cert_chain(*client)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(encrypted, old)
    # It is not for this client that there was no handshake: a server that takes the old ones has one with it.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = versions.TLSv1
    context.load_cert_chain(*hospital.issue("localhost"))
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as thread:

        def answer():
            with listening.accept()[0] as plain, context.wrap_socket(plain, server_side=True) as encrypted:
                encrypted.recv(1)

        answered = thread.submit(answer)
        assert handshake(f"127.0.0.1:{listening.getsockname()[1]}", old) == "TLSv1.1"
        answered.result(30)


def test_services_of_other_processes_are_called_over_tls_and_show_who_calls(
    serve, hospital, make_silent_stages, tmp_path
):
    server, client = hospital.issue("localhost"), hospital.issue("worker", usage="client")
    asked = {"tls_client_authority": str(hospital.file)}
    common = ("--data-dir", str(tmp_path / "data"), "--listen", "127.0.0.1:0")
    inside = ("--stage-listen", "127.0.0.1:0")
    front = serve("--services", "study,model", *common, *inside, settings=settings_file(tmp_path, server, **asked))
    front.wait_until_ready()
    pair = [(server[1].read_bytes(), server[0].read_bytes())]
    credentials = grpc.ssl_server_credentials(pair, hospital.file.read_bytes(), require_client_auth=True)
    # By address, which no certificate names: the name is a setting.
    stages = make_silent_stages(credentials).address
    addresses = dict.fromkeys(STAGES, stages) | dict.fromkeys(("study", "model"), front.stage_address)
    settings = settings_file(
        tmp_path,
        server,
        **asked,
        addresses=addresses,
        tls_authority=str(hospital.file),
        tls_peer_name="localhost",
        tls_client_certificate=str(client[0]),
        tls_client_key=str(client[1]),
    )
    worker = serve("--services", "assessment", *common, settings=settings)
    address = f"localhost:{worker.wait_until_ready().rpartition(':')[2]}"
    caller = Client(address, CallerTls(hospital.file, *client))
    with pytest.raises(OncoResponseError) as caught:
        caller.create_assessment(study_pb2.Study(name="studies/none"), Order("sts-petct"), str(uuid.uuid4()))
    caller.close()
    assert caught.value.reason == "STUDY_NOT_FOUND"


def status_of(address: str, service: Service) -> int:
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=SERVICE_NAMES[service])
        return health_pb2_grpc.HealthStub(channel).Check(request, wait_for_ready=True, timeout=60).status


def test_assessments_are_ready_when_all_they_call_is(serve, make_silent_stages, tmp_path):
    """Until then the log names what is waited for, and SIGTERM ends the start."""
    common = ("--data-dir", str(tmp_path / "data"), "--services", "study,assessment,model")
    stages = make_silent_stages()
    stages.say(NOT_SERVING)
    settings = settings_file(tmp_path, addresses=stages.address, listen="127.0.0.1:0")
    server = serve(*common, settings=settings)
    wait_for(lambda: f"The segmentation service at {stages.address} is not ready yet." in server.log.read_text())
    stages.say(SERVING)
    address = server.wait_until_ready()
    assert status_of(address, Service.ASSESSMENT) == SERVING
    server.stop()
    stages.close()
    alone = serve(*common, settings=settings)
    wait_for(lambda: f"{stages.address}: the connection is refused" in alone.log.read_text())
    assert "addresses.segmentation" in alone.log.read_text()
    alone.process.send_signal(signal.SIGTERM)
    assert alone.process.wait(60) == 0
    assert "ready" not in alone.process.stdout.read()


def test_an_address_where_another_service_answers_is_named(serve, tmp_path):
    common = ("--data-dir", str(tmp_path / "data"), "--listen", "127.0.0.1:0")
    model = serve("--services", "model", *common).wait_until_ready()
    server = serve("--services", "assessment", *common, settings=settings_file(tmp_path, addresses=model))
    assert server.process.wait(60) == 1
    assert (
        f"What answers at {model} does not offer the study service. Correct addresses.study" in server.log.read_text()
    )
    code, _, errors = run("record-outcome", "assessments/x", "favorable", "--server", model)
    assert code == 1
    assert errors.startswith("CONFIGURATION_INVALID: What answers at this address does not offer the service.")


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.05)  # a process outside of this one has to get somewhere; there is nothing to wait on


def test_a_stop_during_the_start_leaves_no_child_and_no_socket(serve, tmp_path):
    """While weights are loaded and feature extraction starts its processes."""
    server = serve(
        "--services", "segmentation,radiomics", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data")
    )
    wait_for(lambda: any((tmp_path / "data" / "sockets").glob("*/own")))
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert "Traceback" not in server.log.read_text()
    assert [path.name for path in (tmp_path / "data" / "sockets").iterdir()] == [".lock"]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            assert str(server.process.pid).encode() not in (folder / "stat").read_bytes().split()[3:4]
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_a_server_without_models_does_not_say_that_it_is_ready(serve, tmp_path):
    empty = tmp_path / "models"
    empty.mkdir()
    common = ("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"))
    server = serve(*common, "--models-dir", str(empty))
    assert server.process.wait(60) == 1
    assert f"There is no model in {empty}" in server.log.read_text()


def test_health_of_each_service_and_a_stop_that_ends_well(serve, tmp_path):
    server = serve("--services", "study,model", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"))
    with grpc.insecure_channel(server.wait_until_ready()) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "oncoresponse.v1.StudyService", "oncoresponse.v1.ModelService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="oncoresponse.v1.AssessmentService"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch = health.Watch(health_pb2.HealthCheckRequest(service=""))
        assert next(watch).status == SERVING
        server.process.send_signal(signal.SIGTERM)
        assert next(watch).status == NOT_SERVING
        watch.cancel()
    assert server.process.wait(60) == 0


def test_a_relative_data_folder_is_that_of_the_working_folder(serve, tmp_path):
    data = os.path.relpath(tmp_path / "a b", Path.cwd())
    if Path.cwd() != ROOT:
        pytest.skip("the server is started in the root of the project")
    address = serve("--services", "study", "--listen", "127.0.0.1:0", "--data-dir", data).wait_until_ready()
    assert status_of(address, Service.STUDY) == SERVING
    assert (tmp_path / "a b" / "studies").is_dir()


def test_server_that_would_expose_patient_data_does_not_start(serve, tmp_path):
    server = serve("--services", "model", "--listen", "0.0.0.0:0", "--data-dir", str(tmp_path / "data"))
    assert server.process.wait(60) == 1
    assert "CONFIGURATION_INVALID" in server.log.read_text()
