"""Every RPC of a real server, asked by everybody: the table of access as callers meet it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc
import pytest
import yaml
from oncoresponse.access.roles import USER_ROLES, AccessRole
from oncoresponse.access.rpc_rules import RPC_RULES
from oncoresponse.rpc.client import Client
from oncoresponse.rpc.status import from_rpc_error
from oncoresponse.v1 import study_pb2, study_pb2_grpc

ROOT = Path(__file__).parents[2]
SERVICES = "study,assessment,segmentation,model,monitoring,response"
NO_LIMITS = {"calls_per_minute": 0, "failed_authentications_per_minute": 0}
REFUSED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED}
REASON = "unconscious%20in%20the%20emergency%20room"


def add_user(data: Path, name: str, *options: str) -> str:
    """The token of a new user, as the command prints it."""
    command = [sys.executable, "-m", "oncoresponse.cli.main", "users", "add", name, "--data-dir", str(data), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    return next(word for word in done.stdout.split() if word.startswith("oncoresponse_"))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory) -> dict[str, str]:
    """Token of a user for each access role, and of some others; the server's data folder is ``data``'s value."""
    data = tmp_path_factory.mktemp("data")
    found = {str(role): add_user(data, f"user-{role}", "--role", role) for role in sorted(USER_ROLES)}
    both = ("--role", "submit", "--role", "read")
    found["north"] = add_user(data, "north", *both, "--tenant", "north")
    found["south"] = add_user(data, "south", *both, "--tenant", "south", "--may-break-glass")
    found["nobody"] = "oncoresponse_" + "0" * 43
    return found | {"data": str(data)}


@pytest.fixture(scope="module")
def server(serve_for_module, silent_stages, tokens):
    data = Path(tokens["data"])
    settings = data / "settings.yaml"
    settings.write_text(yaml.safe_dump({"addresses": silent_stages.address, "caller_limits": NO_LIMITS}))
    addresses = ("--listen", "127.0.0.1:0", "--stage-listen", "127.0.0.1:0")
    process = serve_for_module(
        "--services", SERVICES, *addresses, "--data-dir", str(data), settings=settings, anonymous=False
    )
    process.wait_until_ready()
    return process


def status_of(channel: grpc.Channel, operation: str, token: str | None, *more: tuple[str, str]) -> grpc.StatusCode:
    """How a call with an empty request ends; on the wire all shapes of calls are this one."""
    metadata = [("authorization", f"Bearer {token}")] if token is not None else []
    try:
        list(channel.unary_stream(f"/{operation}")(b"", timeout=30, metadata=[*metadata, *more]))
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("operation", sorted(RPC_RULES))
def test_front_door(server, tokens, operation):
    with grpc.insecure_channel(server.address) as channel:
        for role in sorted(USER_ROLES):
            status = status_of(channel, operation, tokens[role])
            if ".stages." in operation:
                assert status is grpc.StatusCode.UNIMPLEMENTED, role
            elif role in RPC_RULES[operation].roles:
                assert status not in REFUSED, role
            else:
                assert status is grpc.StatusCode.PERMISSION_DENIED, role
        unknown = {status_of(channel, operation, token) for token in (None, tokens["nobody"], "")}
        inside = (Path(tokens["data"]) / "secrets" / "stage-token").read_text().strip()
        unknown.add(status_of(channel, operation, inside))  # the secret of the services opens no front door
        wanted = grpc.StatusCode.UNIMPLEMENTED if ".stages." in operation else grpc.StatusCode.UNAUTHENTICATED
        assert unknown == {wanted}


@pytest.mark.parametrize("operation", sorted(RPC_RULES))
def test_inner_address(server, tokens, operation):
    inside = (Path(tokens["data"]) / "secrets" / "stage-token").read_text().strip()
    with grpc.insecure_channel(server.stage_address) as channel:
        status = status_of(channel, operation, inside)
        if AccessRole.STAGE in RPC_RULES[operation].roles:
            assert status not in REFUSED
        else:
            assert status is grpc.StatusCode.PERMISSION_DENIED
        users = {status_of(channel, operation, tokens[role]) for role in USER_ROLES}
        assert users | {status_of(channel, operation, None)} == {grpc.StatusCode.UNAUTHENTICATED}


def test_tenants_know_nothing_of_each_other(server, tokens):
    """A study of one is to the other as if there were none, but in an emergency, which is reported."""
    request = study_pb2.CreateStudyRequest(request_id="5ad0f3a4-6a27-4f0e-9c1b-0a7d1c9d2b11")

    def who(name: str) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {tokens[name]}")]

    with grpc.insecure_channel(server.address) as channel:
        stub = study_pb2_grpc.StudyServiceStub(channel)
        study = stub.CreateStudy(request, metadata=who("north")).study
        assert study.tenant == "north"
        # The same id in the hands of another tenant is another request.
        other = stub.CreateStudy(request, metadata=who("south")).study
        assert other.name != study.name
        wanted = study_pb2.GetStudyRequest(name=study.name)
        assert stub.GetStudy(wanted, metadata=who("north")).study == study
        for caller, call in (
            ("south", lambda metadata: stub.GetStudy(wanted, metadata=metadata)),
            ("read", lambda metadata: stub.GetStudy(wanted, metadata=metadata)),
            (
                "south",
                lambda metadata: stub.ListInstances(
                    study_pb2.ListInstancesRequest(study=study.name), metadata=metadata
                ),
            ),
            (
                "south",
                lambda metadata: stub.CompleteStudy(
                    study_pb2.CompleteStudyRequest(study=study.name, instance_count=1), metadata=metadata
                ),
            ),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call(who(caller))
            assert from_rpc_error(caught.value).reason == "STUDY_NOT_FOUND"
        names = [item.name for item in stub.ListStudies(study_pb2.ListStudiesRequest(), metadata=who("south")).studies]
        assert names == [other.name]
        emergency = (*who("south"), ("x-emergency-reason", REASON))
        assert stub.GetStudy(wanted, metadata=emergency).study == study
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetStudy(wanted, metadata=(*who("north"), ("x-emergency-reason", REASON)))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "emergency access" in server.log.read_text()
    assert "unconscious" not in server.log.read_text()


@pytest.mark.parametrize(
    "metadata",
    [
        [("authorization", "Basic dXNlcjpwYXNz")],
        [("authorization", "Bearer ")],
        [("authorization", "Bearer a"), ("authorization", "Bearer b")],
        [("authorization", "Bearer " + "x" * 5000)],
    ],
    ids=["another scheme", "nothing", "two of them", "very long"],
)
def test_what_is_no_token(server, metadata):
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as caught:
        study_pb2_grpc.StudyServiceStub(channel).ListStudies(study_pb2.ListStudiesRequest(), metadata=metadata)
    assert caught.value.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT)


def test_the_correlation_id_comes_back_and_a_new_one_where_none_was_sent(server, tokens):
    who = [("authorization", f"Bearer {tokens['read']}")]
    with grpc.insecure_channel(server.address) as channel:
        stub = study_pb2_grpc.StudyServiceStub(channel)
        for sent, expected in (("order-4711-abcdef", "order-4711-abcdef"), ("short", None), (None, None)):
            more = [("x-correlation-id", sent)] if sent else []
            _, call = stub.ListStudies.with_call(study_pb2.ListStudiesRequest(), metadata=[*who, *more])
            found = dict(call.trailing_metadata())["x-correlation-id"]
            assert found == expected if expected else len(found) == 32
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetStudy(
                study_pb2.GetStudyRequest(name="studies/none"), metadata=[*who, ("x-correlation-id", "a" * 20)]
            )
        assert dict(caught.value.trailing_metadata())["x-correlation-id"] == "a" * 20


def test_the_client_sends_its_token_and_never_in_the_clear_over_a_network(server, tokens):
    client = Client(server.address, token=tokens["read"])
    assert client.models()
    client.close()
    with pytest.raises(Exception, match="unencrypted"):
        Client("10.0.0.1:50051", token=tokens["read"])
