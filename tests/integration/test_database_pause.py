"""PostgreSQL stops answering while an assessment runs: health says so, and the assessment ends well by itself."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from oncoresponse.errors import PeerUnavailable
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import assessment_pb2

ROOT = Path(__file__).parents[2]
SERVICES = ("", "oncoresponse.v1.AssessmentService")


@pytest.fixture
def database(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "reliability")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    from pausable_postgresql import pausable_postgresql

    with pausable_postgresql(tmp_path) as server:
        yield server
    sys.modules.pop("pausable_postgresql")


def health_becomes(address, wanted):
    """Returns when health says ``wanted`` of the process and of the assessments; grpc's own watch tells each change."""
    with grpc.insecure_channel(address) as channel:
        for service in SERVICES:
            call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service), timeout=60)
            next(answer for answer in call if answer.status == wanted)
            call.cancel()


def test_assessment_outlasts_a_database_that_does_not_answer(database, serve, tmp_path):
    database.rows("postgres", "CREATE DATABASE assessments")
    server = serve(
        *("--data-dir", str(tmp_path / "data"), "--listen", "127.0.0.1:0"),
        *("--database-url", database.url("assessments")),
    )
    client = Client(server.wait_until_ready())
    study = client.upload_study(ROOT / "examples" / "STS_032", lambda *_: None)
    segmenting, ended = threading.Event(), []
    name = client.create_assessment(study, Order("sts-petct"), "8b7e3a51-3a0e-4d0a-9a57-2f4cf2f0c001").name

    def follow():
        def progress(message, fraction):
            if fraction > 0:
                segmenting.set()

        ended.append(client.watch(name, progress))

    watcher = threading.Thread(target=follow)
    watcher.start()
    assert segmenting.wait(120)
    database.freeze()
    try:
        health_becomes(server.address, health_pb2.HealthCheckResponse.NOT_SERVING)
        with pytest.raises(PeerUnavailable):
            client.create_assessment(study, Order("sts-petct"), "8b7e3a51-3a0e-4d0a-9a57-2f4cf2f0c002")
    finally:
        database.thaw()
    health_becomes(server.address, health_pb2.HealthCheckResponse.SERVING)
    watcher.join(120)
    client.close()
    assert [each.state for each in ended] == [assessment_pb2.ASSESSMENT_STATE_SUCCEEDED]
