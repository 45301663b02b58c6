"""What an administrator relies on: encryption, health of each service, and a stop that drains."""

import shutil
import signal
import subprocess
import uuid
from pathlib import Path

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from oncoresponse.client import Client, Order
from oncoresponse.errors import OncoResponseError
from oncoresponse.v1 import model_pb2, model_pb2_grpc, study_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost that is its own authority."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -days 2 -subj /CN=localhost"
    )
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)
    return folder


def settings_file(folder: Path, certificate: Path, **more: object) -> Path:
    path = folder / "settings.yaml"
    given = {"tls_certificate": str(certificate / "certificate.pem"), "tls_key": str(certificate / "key.pem"), **more}
    path.write_text(yaml.safe_dump(given))
    return path


def test_encrypted_server_and_roles_that_call_each_other_over_tls(serve, certificate, tmp_path):
    authority = certificate / "certificate.pem"
    settings = settings_file(tmp_path, certificate, tls_authority=str(authority), tls_client_authority=str(authority))
    arguments = ("--roles", "study,assessment,model", "--listen", "localhost:0", "--data-dir", str(tmp_path / "data"))
    server = serve(*arguments, settings=settings)
    address = server.wait_until_ready()
    with pytest.raises(OncoResponseError) as caught:
        Client(address).models()
    assert caught.value.reason == "PEER_UNAVAILABLE"
    credentials = grpc.ssl_channel_credentials(
        authority.read_bytes(), (certificate / "key.pem").read_bytes(), authority.read_bytes()
    )
    with grpc.secure_channel(address, credentials) as channel:
        models = model_pb2_grpc.ModelServiceStub(channel).ListModels(model_pb2.ListModelsRequest(), timeout=30)
    assert [model.name for model in models.models] == ["models/breast-nac", "models/sts-petct"]


def test_server_without_client_certificates_serves_the_command_line_client(serve, certificate, tmp_path):
    authority = certificate / "certificate.pem"
    settings = settings_file(tmp_path, certificate, tls_authority=str(authority))
    arguments = ("--roles", "study,assessment,model", "--listen", "localhost:0", "--data-dir", str(tmp_path / "data"))
    address = serve(*arguments, settings=settings).wait_until_ready()
    client = Client(address, authority)
    with pytest.raises(OncoResponseError) as caught:  # the workflow role asked the study role, over TLS
        client.create_assessment(study_pb2.Study(name="studies/none"), Order("sts-petct"), str(uuid.uuid4()))
    client.close()
    assert caught.value.reason == "STUDY_NOT_FOUND"


def test_health_of_each_service_and_a_stop_that_ends_well(serve, tmp_path):
    server = serve("--roles", "study,model", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"))
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
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
    assert server.process.wait(60) == 0


def test_server_that_would_expose_patient_data_does_not_start(serve, tmp_path):
    server = serve("--roles", "model", "--listen", "0.0.0.0:0", "--data-dir", str(tmp_path / "data"))
    assert server.process.wait(60) == 1
    assert "CONFIGURATION_INVALID" in server.log.read_text()
