"""Why a connection does not come about, asked of real handshakes with certificates of a hospital's own authority."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from oncoresponse.errors import ConfigurationError, PeerUnavailable
from oncoresponse.rpc import tls as tls_module
from oncoresponse.rpc.tls import CallerTls, connection_fault

Certificates = Callable[..., tuple[Path, Path]]


@pytest.fixture(scope="module")
def hospital(make_authority):
    return make_authority("hospital")


@pytest.fixture(scope="module")
def elsewhere(make_authority):
    return make_authority("elsewhere")


@contextlib.contextmanager
def grpc_server(certificate: tuple[Path, Path] | None, client_authority: Path | None = None) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(1))
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = (certificate[1].read_bytes(), certificate[0].read_bytes())
        roots = client_authority.read_bytes() if client_authority else None
        credentials = grpc.ssl_server_credentials([pair], roots, require_client_auth=roots is not None)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield port
    server.stop(None).wait()


def cause(port: int, tls: CallerTls, host: str = "localhost") -> str:
    return connection_fault(f"{host}:{port}", tls).metadata.get("cause", "")


def test_each_cause_is_named(hospital, elsewhere):
    trusting, strange = CallerTls(hospital.file), CallerTls(elsewhere.file)
    server, client = hospital.issue("localhost"), hospital.issue("clinic", usage="client")
    with grpc_server(server) as port:
        assert cause(port, strange) == "untrusted_authority"
        assert cause(port, trusting, "127.0.0.1") == "name_mismatch"
        assert cause(port, CallerTls()) == "server_wants_tls"
    with grpc_server(hospital.issue("localhost", expired=True)) as port:
        assert cause(port, trusting) == "expired"
    with grpc_server(hospital.issue("localhost", usage="client")) as port:
        assert cause(port, trusting) == "wrong_purpose"
    with grpc_server(None) as port:
        assert cause(port, trusting) == "server_without_tls"
    with grpc_server(server, hospital.file) as port:
        assert cause(port, trusting) == "client_certificate_required"
        assert (
            cause(port, CallerTls(hospital.file, *elsewhere.issue("x", usage="client"))) == "client_certificate_refused"
        )
        assert cause(port, CallerTls(hospital.file, *server)) == "client_certificate_refused"
        # Nothing is wrong any more: no cause in TLS is invented.
        assert cause(port, CallerTls(hospital.file, *client)) == ""


def test_server_that_takes_the_connection_and_says_nothing_is_not_blamed_on_a_certificate(hospital, monkeypatch):
    monkeypatch.setattr(tls_module, "_PROBE_SECONDS", 0.2)
    shown = CallerTls(hospital.file, *hospital.issue("clinic", usage="client"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"localhost:{silent.getsockname()[1]}"
        for tls in (CallerTls(hospital.file), shown):
            fault = connection_fault(address, tls)
            assert isinstance(fault, PeerUnavailable)
            assert "does not answer" in fault.message


def test_where_nobody_listens_the_address_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fault = connection_fault(f"127.0.0.1:{port}", CallerTls())
    assert fault.reason == "PEER_UNAVAILABLE"
    assert f"127.0.0.1:{port}" in fault.message
    assert "refused" in fault.message


def test_files_that_do_not_fit_are_refused_before_anything_is_sent(hospital, tmp_path):
    certificate, key = hospital.issue("clinic", usage="client")
    with pytest.raises(ConfigurationError, match="belong together"):
        CallerTls(hospital.file, certificate).require_usable()
    with pytest.raises(ConfigurationError, match="not that of the certificate"):
        CallerTls(hospital.file, certificate, hospital.issue("other")[1]).require_usable()
    with pytest.raises(ConfigurationError, match="No such file"):
        CallerTls(tmp_path / "none.pem").require_usable()
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match="PEM"):
        CallerTls(tmp_path / "text.pem").require_usable()
    CallerTls(hospital.file, certificate, key).require_usable()
