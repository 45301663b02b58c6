"""The switch that stops release, with a server that is killed meanwhile; recall of what it released."""

from __future__ import annotations

import csv
import datetime
import signal
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from oncoresponse.rpc.administration_client import AdministrationClient
from oncoresponse.rpc.client import Order
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc

WAITING = "Waiting: release of this model is stopped"


def assessment_of(address: str, name: str) -> assessment_pb2.Assessment:
    with grpc.insecure_channel(address) as channel:
        stub = assessment_pb2_grpc.AssessmentServiceStub(channel)
        return stub.GetAssessment(assessment_pb2.GetAssessmentRequest(name=name)).assessment


def health_of(address: str, name: str) -> int:
    with grpc.insecure_channel(address) as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name)).status


def until_message(address: str, name: str, message: str) -> assessment_pb2.Assessment:
    while (found := assessment_of(address, name)).message != message:
        assert found.state in (assessment_pb2.ASSESSMENT_STATE_QUEUED, assessment_pb2.ASSESSMENT_STATE_RUNNING), found
    return found


def test_what_is_stopped_waits_through_a_crash_and_goes_on_by_itself(serve, tmp_path, examples):
    arguments = ("--data-dir", str(tmp_path / "data"), "--listen", "127.0.0.1:0")
    server = serve(*arguments)
    address = server.wait_until_ready()
    client = AdministrationClient(address)
    study = client.upload_study(examples / "STS_032", lambda *_: None)
    order = Order(model="sts-petct")
    # Begun before the stop: it ends its stages and is not released.
    running = client.create_assessment(study, order, str(uuid.uuid4())).name
    client.switch_release("sts-petct", "a wrong answer was seen", stop=True)
    waiting = client.create_assessment(study, order, str(uuid.uuid4())).name
    for name in (running, waiting):
        until_message(address, name, WAITING)
    assert health_of(address, "model:sts-petct") == health_pb2.HealthCheckResponse.NOT_SERVING
    assert health_of(address, "model:breast-nac") == health_pb2.HealthCheckResponse.SERVING
    (model,) = [item for item in client.models() if item.name == "models/sts-petct"]
    assert (model.release_stopped, model.stop_reason) == (True, "a wrong answer was seen")
    client.close()

    # Who watches notices nothing of the crash.
    watcher = AdministrationClient(address)
    heard = threading.Event()
    watching = ThreadPoolExecutor(1).submit(watcher.watch, waiting, lambda *_: heard.set())
    assert heard.wait(60)
    server.stop(signal.SIGKILL)
    assert serve(*arguments[:-1], address).wait_until_ready() == address
    client = AdministrationClient(address)
    for name in (running, waiting):
        assert until_message(address, name, WAITING).state == assessment_pb2.ASSESSMENT_STATE_QUEUED
    client.switch_release("sts-petct", "it was the scanner", stop=False)
    for name in (running, waiting):
        assert client.watch(name, lambda *_: None).state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    assert watching.result(timeout=60).state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    watcher.close()
    assert health_of(address, "model:sts-petct") == health_pb2.HealthCheckResponse.SERVING
    assert [item.reason for item in client.model_changes("sts-petct")] == [
        "it was the scanner",
        "a wrong answer was seen",
    ]
    # How one ended is noted when somebody looks.
    with grpc.insecure_channel(address) as channel:
        stub = assessment_pb2_grpc.AssessmentServiceStub(channel)
        assert len(stub.ListAssessments(assessment_pb2.ListAssessmentsRequest()).assessments) == 2
    client.close()

    out = tmp_path / "recall.csv"
    today = datetime.datetime.now(datetime.UTC).date()
    command = [
        *(sys.executable, "-m", "oncoresponse.cli.main", "recall", "sts-petct", "--server", address, "--out", str(out)),
        *("--from", str(today - datetime.timedelta(days=1)), "--to", str(today)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "2 assessments of 1 patients" in done.stdout
    assert "patient data" in done.stderr
    assert out.stat().st_mode & 0o777 == 0o600
    with out.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["assessment"] for row in rows} == {running, waiting}
    assert {row["model_sha256"] for row in rows} == {model.sha256}
    assert all(row["patient_id"] for row in rows)
    assert {row["report_status"] for row in rows} == {"preliminary"}
