"""HTTP with TLS: the certificates of the front door, callers by client certificate, nothing in the clear."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
import requests
import yaml
from oncoresponse.access.local_users import USERS_FILE, add_user
from oncoresponse.access.roles import AccessRole
from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.edge_settings import HttpSettings

from tests.integration.conftest import SilentStages

ROOT = Path(__file__).parents[2]
SERVICES = "study,assessment,model,monitoring,response"
EMPTY = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=parts'}


@pytest.fixture(scope="module")
def authority(make_authority):
    return make_authority("hospital")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def token(data):
    return add_user(data / USERS_FILE, "sender", (AccessRole.SUBMIT,))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue("localhost")


@pytest.fixture(scope="module")
def stages(certificate):
    pair = (certificate[1].read_bytes(), certificate[0].read_bytes())
    running = SilentStages(grpc.ssl_server_credentials([pair]))
    yield running
    running.close()


@pytest.fixture(scope="module")
def settings(data, authority, certificate, stages, token):
    """TLS and client certificates at the front door; HTTP takes all of that from it, and tokens too."""
    callers = [
        {"certificate": "modality.hospital.example", "name": "modality", "roles": ["submit"]},
        {"certificate": "viewer.hospital.example", "name": "viewer", "roles": ["read"]},
    ]
    content = {
        "tls_certificate": str(certificate[0]),
        "tls_key": str(certificate[1]),
        "tls_authority": str(authority.file),
        "tls_client_authority": str(authority.file),
        "certificate_callers": callers,
        "addresses": stages.address,
        "http": {"listen": "localhost:0", "client_certificates": "optional"},
    }
    file = data / "settings.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.fixture(scope="module")
def server(serve_for_module, settings, data):
    arguments = ("--services", SERVICES, "--listen", "localhost:0", "--stage-listen", "localhost:0")
    process = serve_for_module(*arguments, "--data-dir", str(data), settings=settings, anonymous=False)
    process.wait_until_ready()
    return process


def store(address: str, authority, *, token: str = "", certificate=None) -> requests.Response:
    headers = {**EMPTY, **({"Authorization": f"Bearer {token}"} if token else {})}
    return requests.post(
        f"https://{address}/dicom-web/studies",
        data=b"--parts--\r\n",
        headers=headers,
        verify=str(authority.file),
        cert=None if certificate is None else tuple(map(str, certificate)),
        timeout=30,
    )


def test_callers_by_certificate_or_token_are_those_of_the_front_door(server, authority, token, make_authority):
    address = server.edges["http"]
    assert store(address, authority).status_code == 401
    # 400: let in, and the body is empty.
    assert store(address, authority, token=token).status_code == 400
    modality = authority.issue("modality.hospital.example", usage="client")
    answer = store(address, authority, certificate=modality)
    assert answer.status_code == 400
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
    viewer = authority.issue("viewer.hospital.example", usage="client")
    assert store(address, authority, certificate=viewer).json()["reason"] == "ACCESS_DENIED"
    unknown = authority.issue("unknown.hospital.example", usage="client")
    assert store(address, authority, certificate=unknown).json()["reason"] == "NOT_AUTHENTICATED"
    # Of two that say who calls, the token counts, as at the front door.
    assert store(address, authority, certificate=viewer, token=token).status_code == 400
    for foreign in (
        make_authority("elsewhere").issue("modality.hospital.example", usage="client"),
        authority.issue("modality.hospital.example", usage="client", expired=True),
        authority.issue("modality.hospital.example", usage="server"),
    ):
        with pytest.raises(requests.RequestException):
            store(address, authority, certificate=foreign)


def test_old_tls_and_plain_http_get_nothing(server):
    host, port = server.edges["http"].split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
        with suppress(ConnectionResetError):
            assert b"HTTP" not in connection.recv(1024)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection((host, int(port)), timeout=30) as connection,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(connection)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection((host, int(port)), timeout=30) as connection,
        context.wrap_socket(connection) as encrypted,
    ):
        assert encrypted.version() == "TLSv1.2"


def test_edges_alone_call_a_front_door_that_wants_certificates(server, settings, data, authority, tmp_path, token):
    certificate, key = authority.issue("edges.hospital.example", usage="client")
    content = yaml.safe_load(settings.read_text())
    content |= {
        "tls_authority": str(authority.file),
        "tls_client_certificate": str(certificate),
        "tls_client_key": str(key),
        "edge_token_file": str(data / "secrets" / "edge-token"),
        "http": {"listen": "localhost:0", "client_certificates": "none"},
    }
    file = tmp_path / "edges.yaml"
    file.write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "oncoresponse.cli.main", "edges", "--server", server.address]
    alone = subprocess.Popen(
        [*command, "--data-dir", str(tmp_path / "none"), "--settings", str(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        name, address = alone.stdout.readline().split()
        assert name == "http"
        assert requests.get(f"https://{address}/readyz", verify=str(authority.file), timeout=30).status_code == 200
        assert store(address, authority, token=token).status_code == 400
        # Nobody is asked for a certificate here, so that of the edges is not taken for the caller's.
        viewer = authority.issue("viewer.hospital.example", usage="client")
        assert store(address, authority, certificate=viewer).status_code == 401
    finally:
        alone.send_signal(signal.SIGTERM)
        assert alone.wait(30) == 0
        alone.stdout.close()


def test_nothing_is_offered_in_the_clear_or_to_nobody_beyond_this_machine(authority):
    open_to_all = HttpSettings(listen="0.0.0.0:0")
    with pytest.raises(ConfigurationError, match="unencrypted"):
        open_to_all.require_safe_listening(allow_insecure_network=False, allow_anonymous=False)
    open_to_all.require_safe_listening(allow_insecure_network=True, allow_anonymous=False)
    certificate, key = authority.issue("localhost")
    encrypted = HttpSettings(listen="0.0.0.0:0", tls_certificate=certificate, tls_key=key)
    encrypted.require_safe_listening(allow_insecure_network=False, allow_anonymous=False)
    with pytest.raises(ConfigurationError, match="allow_anonymous"):
        encrypted.require_safe_listening(allow_insecure_network=False, allow_anonymous=True)
    with pytest.raises(ConfigurationError, match="belong together"):
        HttpSettings(tls_certificate=certificate).require_safe_listening(
            allow_insecure_network=False, allow_anonymous=False
        )
