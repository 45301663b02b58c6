"""The front door of a real server: who is let in with a token, and the limits of callers, messages and connections."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import yaml
from oncoresponse.access.local_users import USERS_FILE, add_user, remove_user
from oncoresponse.cli.embedded_server import embedded_server
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.client import Client
from oncoresponse.v1 import model_pb2, model_pb2_grpc

OIDC_SERVER = Path(__file__).parents[1] / "oidc_server"
ISSUER = """
import { OAuth2Server } from 'oauth2-mock-server';
const server = new OAuth2Server();
await server.issuer.keys.generate('ES256');
server.service.on('beforeTokenSigning', (token, request) => {
  const roles = [request.body.scope];
  Object.assign(token.payload, { sub: 'system-1', aud: 'oncoresponse', realm_access: { roles } });
  token.payload.exp = token.payload.iat + (request.body.scope === 'long' ? 7200 : 600);
});
await server.start(0, '127.0.0.1');
console.log(server.issuer.url);
"""


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """npm ``oauth2-mock-server``: an issuer that others wrote. Installed by ``make oidc-server``."""
    node = Path(sys.executable).parent / "node"
    if not (OIDC_SERVER / "node_modules").is_dir() or not node.exists():
        what = "The issuer of the tests is not installed; 'make oidc-server' installs it."
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    process = subprocess.Popen(
        [node, "--input-type=module", "--eval", ISSUER],
        stdout=subprocess.PIPE,
        text=True,
        cwd=OIDC_SERVER,
        start_new_session=True,
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def server(serve_for_module, issuer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("callers")
    oidc = {
        "issuer": issuer,
        "audience": "oncoresponse",
        "roles_claim": "realm_access.roles",
        "role_names": {"physician": "read", "long": "read"},
    }
    # Few, because a machine that is busy makes few calls in the time in which new ones are allowed.
    limits = {"calls_per_minute": 5, "failed_authentications_per_minute": 8}
    settings = folder / "settings.yaml"
    settings.write_text(yaml.safe_dump({"oidc": oidc, "caller_limits": limits}))
    arguments = ("--services", "model", "--listen", "127.0.0.1:0", "--data-dir", str(folder / "data"))
    started = serve_for_module(*arguments, settings=settings, anonymous=False)
    started.wait_until_ready()
    return started


def users_of(server) -> Path:
    return server.log.parent / USERS_FILE


def outcome(address: str, token: str) -> str:
    client = Client(address, token=token)
    try:
        client.models()
    except OncoResponseError as error:
        return error.reason
    finally:
        client.close()
    return "OK"


def token_of(issuer: str, scope: str) -> str:
    form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": scope}).encode()
    with urllib.request.urlopen(f"{issuer}/token", form, timeout=60) as answer:  # noqa: S310 - a loopback address
        return json.load(answer)["access_token"]


def test_tokens_of_an_issuer_that_others_wrote(server, issuer):
    assert outcome(server.address, token_of(issuer, "physician")) == "OK"
    assert outcome(server.address, token_of(issuer, "nothing")) == "ACCESS_DENIED"
    assert outcome(server.address, token_of(issuer, "long")) == "NOT_AUTHENTICATED"
    assert outcome(server.address, token_of(issuer, "physician")[:-5]) == "NOT_AUTHENTICATED"


def test_a_local_user_is_known_from_the_next_call_on_and_forgotten_likewise(server):
    assert outcome(server.address, "") == "NOT_AUTHENTICATED"
    token = add_user(users_of(server), "ward", ["read"])
    assert outcome(server.address, token) == "OK"
    remove_user(users_of(server), "ward")
    assert outcome(server.address, token) == "NOT_AUTHENTICATED"
    assert token not in server.log.read_text()


def test_a_caller_that_asks_too_often_is_told_when_to_come_back(server):
    token, other = (add_user(users_of(server), name, ["read"]) for name in ("hasty", "patient"))
    answers = [outcome(server.address, token) for _ in range(10)]
    assert answers.count("OK") in range(5, 10)
    assert "RATE_LIMITED" in answers
    assert outcome(server.address, other) == "OK"


def test_what_is_too_large_is_refused_before_it_is_read(server):
    token = add_user(users_of(server), "large", ["read"])
    with grpc.insecure_channel(server.address) as channel:
        models = model_pb2_grpc.ModelServiceStub(channel)
        for request, metadata in (
            (model_pb2.ListModelsRequest(page_token="x" * (4 * 1024**2 + 1)), (("authorization", f"Bearer {token}"),)),
            (model_pb2.ListModelsRequest(), (("authorization", f"Bearer {token}"), ("x-large", "x" * 17_000))),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                models.ListModels(request, metadata=metadata, timeout=30)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_failed_calls_of_one_address_are_limited_and_lock_nobody_out(server):
    """The last test of the server, whose address is used up afterwards."""
    token = add_user(users_of(server), "known", ["read"])
    answers = [outcome(server.address, "oncoresponse_wrong") for _ in range(14)]
    assert "RATE_LIMITED" in answers
    assert outcome(server.address, token) == "OK"


def test_a_server_that_would_recognize_nobody_does_not_start(serve, tmp_path):
    arguments = ("--services", "model", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path))
    server = serve(*arguments, anonymous=False)
    assert server.process.wait(60) == 1
    assert "oncoresponse users add" in server.log.read_text()


def test_the_server_of_one_command_lets_in_nobody_else(monkeypatch):
    monkeypatch.setenv("ONCORESPONSE_SERVICES", "model")
    monkeypatch.setenv("ONCORESPONSE_ALLOW_ANONYMOUS", "true")
    with embedded_server() as (address, token):
        assert outcome(address, "") == "NOT_AUTHENTICATED"
        assert outcome(address, token) == "OK"
