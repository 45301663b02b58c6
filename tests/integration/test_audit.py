"""What a real server leaves in its audit record, call by call."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import sqlite3
import uuid
from pathlib import Path

import grpc
import pydicom
import pytest
import yaml
from oncoresponse.access.local_users import USERS_FILE, add_user
from oncoresponse.access.roles import AccessRole
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.cli.audit import app
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.client import Client
from oncoresponse.rpc.status import from_rpc_error
from oncoresponse.storage.audit_store import PatientDigests, audit_rows
from oncoresponse.v1 import model_pb2, study_pb2, study_pb2_grpc
from typer.testing import CliRunner

STUDY = Path(__file__).parents[2] / "examples" / "STS_032"
STUDIES = "oncoresponse.v1.StudyService"


@pytest.fixture(scope="module")
def syslog():
    """A syslog daemon, as far as this needs one: what comes is read at the end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(30)
        yield daemon


@pytest.fixture(scope="module")
def audited(serve_for_module, silent_stages, tmp_path_factory, syslog):
    folder = tmp_path_factory.mktemp("audited")
    data = folder / "data"
    data.mkdir()
    roles = {"submitter": AccessRole.SUBMIT, "reader": AccessRole.READ}
    tokens = {name: add_user(data / USERS_FILE, name, [role]) for name, role in roles.items()}
    settings = folder / "settings.yaml"
    values = {
        "addresses": silent_stages.address,
        "audit_syslog": f"127.0.0.1:{syslog.getsockname()[1]}",
        "audit_anchor": str(folder / "anchor"),
        "stage_listen": "127.0.0.1:0",
    }
    settings.write_text(yaml.safe_dump(values))
    arguments = ("--services", "study,assessment,model,monitoring,response", "--listen", "127.0.0.1:0")
    server = serve_for_module(*arguments, "--data-dir", str(data), settings=settings, anonymous=False)
    server.wait_until_ready()
    return server, data, tokens


def rows_of(data: Path) -> list[dict]:
    return [row.values for row in audit_rows(f"sqlite:///{data / 'audit.sqlite'}")]


@contextlib.contextmanager
def new_rows(data: Path, found: list[dict], wanted: int):
    """Puts the rows that the block has made into the list; a cancelled call is kept after its caller has gone."""
    before = len(rows_of(data))
    yield
    deadline = datetime.datetime.now() + datetime.timedelta(seconds=30)
    while len(rows_of(data)) < before + wanted and datetime.datetime.now() < deadline:
        pass
    found[:] = rows_of(data)[before:]


def metadata(token: str, correlation_id: str = "") -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}"), ("x-correlation-id", correlation_id or uuid.uuid4().hex)]


def test_each_call_leaves_one_row(audited):
    server, data, tokens = audited
    rows: list[dict] = []
    with grpc.insecure_channel(server.address) as channel:
        stub = study_pb2_grpc.StudyServiceStub(channel)
        request = study_pb2.CreateStudyRequest(request_id=str(uuid.uuid4()))
        with new_rows(data, rows, 1):
            study = stub.CreateStudy(request, metadata=metadata(tokens["submitter"], "call-of-the-ward")).study
        (row,) = rows
        assert {
            key: row[key] for key in ("caller", "caller_roles", "identified_by", "address", "action", "outcome")
        } == {
            "caller": "submitter",
            "caller_roles": ["submit"],
            "identified_by": "local token",
            "address": "127.0.0.1",
            "action": "C",
            "outcome": "OK",
        }
        assert row["operation"] == f"{STUDIES}/CreateStudy"
        assert row["correlation_id"] == "call-of-the-ward"
        assert row["objects"] == [study.name]
        when = datetime.datetime.fromisoformat(row["time"])
        assert abs(when - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=5)

        refused = [
            (tokens["reader"], "ACCESS_DENIED", "reader"),
            ("oncoresponse_" + "0" * 43, "NOT_AUTHENTICATED", "unknown"),
        ]
        for token, reason, caller in refused:
            with new_rows(data, rows, 1), pytest.raises(grpc.RpcError) as caught:
                stub.CreateStudy(request, metadata=metadata(token))
            assert from_rpc_error(caught.value).reason == reason
            (row,) = rows
            assert (row["caller"], row["outcome"], row["operation"]) == (caller, reason, f"{STUDIES}/CreateStudy")

        # The name that somebody tried may be anything, also a patient's.
        with new_rows(data, rows, 1), pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/DOE^JANE/Get")(b"", metadata=metadata(tokens["reader"]))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        (row,) = rows
        assert (row["caller"], row["outcome"], row["operation"]) == ("reader", "METHOD_UNKNOWN", "unknown method")

        def half_an_upload():
            yield study_pb2.UploadInstancesRequest(study=study.name)
            raise RuntimeError("the network is gone")

        with new_rows(data, rows, 1), pytest.raises(grpc.RpcError):
            stub.UploadInstances(half_an_upload(), metadata=metadata(tokens["submitter"]))
        (row,) = rows
        assert (row["operation"], row["outcome"]) == (f"{STUDIES}/UploadInstances", "CANCELLED")


def test_a_patient_is_found_by_who_knows_the_id_and_stands_nowhere(audited):
    server, data, tokens = audited
    client = Client(server.address, token=tokens["submitter"])
    try:
        study = client.upload_study(STUDY, lambda *_: None)
    finally:
        client.close()
    patient_id = str(pydicom.dcmread(next(STUDY.rglob("*.dcm")), stop_before_pixels=True).PatientID)
    alone, _ = PatientDigests(data / "secrets" / "audit.key").of(IndexedPatient(patient_id=patient_id))
    operations = {row["operation"] for row in rows_of(data) if any(each["id"] == alone for each in row["patients"])}
    assert f"{STUDIES}/CompleteStudy" in operations
    assert patient_id not in json.dumps(rows_of(data))
    listed = CliRunner().invoke(app, ["list", "--data-dir", str(data), "--patient", patient_id])
    assert study.name in listed.stdout


def list_models(client: Client) -> list[model_pb2.Model]:
    return client.models()


def test_what_cannot_be_kept_does_not_happen(audited):
    server, data, tokens = audited
    client = Client(server.address, token=tokens["submitter"])
    before = len(list_models(client))
    database = sqlite3.connect(data / "audit.sqlite", isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(OncoResponseError) as caught:
            list_models(client)
        assert caught.value.reason == "AUDIT_UNAVAILABLE"
    finally:
        database.rollback()
        database.close()
    assert len(list_models(client)) == before
    client.close()


def test_start_and_end_are_kept_and_anchored(audited, syslog):
    server, data, _ = audited
    server.stop()
    begun, *_, ended = rows_of(data)
    assert begun["operation"] == "oncoresponse serve: start"
    assert ended["operation"] == "oncoresponse serve: end"
    assert begun["remark"] == ended["remark"]
    assert begun["remark"].startswith("settings sha256 ")
    newest = list(audit_rows(f"sqlite:///{data / 'audit.sqlite'}"))[-1]
    message = syslog.recv(4096).decode()
    while f'"sequence":{newest.sequence},' not in message:
        message = syslog.recv(4096).decode()
    assert message.startswith("<86>oncoresponse-audit: ")
    assert newest.own_hash in message

    # What the daemon wrote to its file will do as an anchor.
    file = data.parent / "from-syslog"
    file.write_text(f"Nov 26 14:00:00 host {message[4:]}\n")
    for anchor in (file, data.parent / "anchor"):
        done = CliRunner().invoke(app, ["verify", "--data-dir", str(data), "--anchor", str(anchor)])
        assert done.exit_code == 0, done.output
    assert rows_of(data)[-1]["operation"] == "oncoresponse audit verify"
