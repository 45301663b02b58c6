"""The edges of an installation: who they are to the front door, and how they run beside it and alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
import requests
import yaml
from oncoresponse.access.local_users import USERS_FILE, add_user
from oncoresponse.access.roles import AccessRole
from oncoresponse.rpc.edge_token import CALLER_ADDRESS, CALLER_CERTIFICATE, EDGE_TOKEN, CallerBehind
from oncoresponse.rpc.status import from_rpc_error
from oncoresponse.v1 import study_pb2, study_pb2_grpc

ROOT = Path(__file__).parents[2]
SERVICES = "study,assessment,model,monitoring,response"
SETTINGS = {"http": {"listen": "127.0.0.1:0"}, "caller_limits": {"failed_authentications_per_minute": 0}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def token(data):
    return add_user(data / USERS_FILE, "viewer", (AccessRole.READ,))


@pytest.fixture(scope="module")
def server(serve_for_module, silent_stages, data, token):
    settings = data / "settings.yaml"
    settings.write_text(yaml.safe_dump({**SETTINGS, "addresses": silent_stages.address}))
    arguments = ("--services", SERVICES, "--listen", "127.0.0.1:0", "--stage-listen", "127.0.0.1:0")
    process = serve_for_module(*arguments, "--data-dir", str(data), settings=settings, anonymous=False)
    process.wait_until_ready()
    return process


def refused(server, *metadata: tuple[str, str], operation: str = "ListStudies") -> str:
    """Reason of the refusal of a call; empty where it is answered."""
    with grpc.insecure_channel(server.address) as channel:
        stub = study_pb2_grpc.StudyServiceStub(channel)
        try:
            getattr(stub, operation)(getattr(study_pb2, f"{operation}Request")(), metadata=metadata, timeout=30)
        except grpc.RpcError as error:
            return from_rpc_error(error).reason
    return ""


def test_the_edges_are_a_caller_that_submits_and_reads_and_signs_nothing(server, data):
    file = data / "secrets" / "edge-token"
    assert file.stat().st_mode & 0o077 == 0
    bearer = ("authorization", f"Bearer {file.read_text().strip()}")
    assert refused(server, bearer) == ""
    # Past the gate: what is refused is the empty request.
    assert refused(server, bearer, operation="CreateStudy") == "INVALID_REQUEST"
    assert refused(server, bearer, operation="DeleteStudy") == "ACCESS_DENIED"


def test_a_call_for_a_user_is_the_users_and_only_an_edge_may_make_one(server, data, token):
    edge = (data / "secrets" / "edge-token").read_text().strip()
    user = ("authorization", f"Bearer {token}")
    behind = CallerBehind("192.0.2.7", ("somebody",)).metadata(edge)
    assert refused(server, user, *behind) == ""
    assert refused(server, user, *behind, operation="CreateStudy") == "ACCESS_DENIED"
    assert refused(server, *behind) == "NOT_AUTHENTICATED"
    for forged in (
        [(EDGE_TOKEN, "0" * 64), (CALLER_ADDRESS, "192.0.2.7")],
        [(CALLER_ADDRESS, "192.0.2.7")],
        [(CALLER_CERTIFICATE, "%5B%22admin%22%5D")],
        [(EDGE_TOKEN, edge), (CALLER_ADDRESS, "not an address")],
        [(EDGE_TOKEN, edge), (CALLER_ADDRESS, "192.0.2.7"), (CALLER_CERTIFICATE, "%7B%7D")],
    ):
        assert refused(server, user, *forged) == "NOT_AUTHENTICATED", forged
    audit = subprocess.run(
        [sys.executable, "-m", "oncoresponse.cli.main", "audit", "list", "--data-dir", str(data)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "192.0.2.7" in audit


def test_http_runs_beside_the_server_and_alone(server, data):
    beside = f"http://{server.edges['http']}"
    assert requests.get(f"{beside}/readyz", timeout=10).json() == {"status": "ready"}
    command = [sys.executable, "-m", "oncoresponse.cli.main", "edges", "--server", server.address]
    command += ["--data-dir", str(data), "--settings", str(data / "settings.yaml")]
    alone = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        name, address = alone.stdout.readline().split()
        assert (name, alone.stdout.readline()) == ("http", "ready\n")
        assert requests.get(f"http://{address}/readyz", timeout=10).json() == {"status": "ready"}
        assert requests.get(f"http://{address}/livez", timeout=10).status_code == 200
    finally:
        alone.send_signal(signal.SIGTERM)
        assert alone.wait(30) == 0
        alone.stdout.close()


def test_edges_without_their_token_or_without_an_edge_do_not_start(tmp_path, server, data):
    for settings, words in (({}, "name no edge"), (SETTINGS, "edge_token_file")):
        file = tmp_path / "settings.yaml"
        file.write_text(yaml.safe_dump(settings))
        folder = tmp_path if settings else data
        command = [sys.executable, "-m", "oncoresponse.cli.main", "edges", "--server", server.address]
        done = subprocess.run(
            [*command, "--data-dir", str(folder), "--settings", str(file)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert words in done.stderr
