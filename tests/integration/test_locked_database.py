"""A SQLite database that another process holds: BUSY within seconds from every service, and all goes on afterwards."""

from __future__ import annotations

import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from oncoresponse.rpc.status import DETAILS_KEY
from oncoresponse.v1 import (
    assessment_pb2,
    assessment_pb2_grpc,
    monitoring_pb2,
    monitoring_pb2_grpc,
    study_pb2,
    study_pb2_grpc,
)

ROOT = Path(__file__).parents[2]
_HOLDS = """
import sqlite3, sys
connections = [sqlite3.connect(path, isolation_level=None) for path in sys.argv[1:]]
for connection in connections:
    connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def server(tmp_path):
    command = [sys.executable, "-m", "oncoresponse.cli.main", "serve", "--listen", "127.0.0.1:0", "--allow-anonymous"]
    command += ["--data-dir", str(tmp_path / "data"), "--models-dir", str(ROOT / "models")]
    with (tmp_path / "log").open("w") as log:
        # The shell sets a umask that lets everybody read.
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, umask=0)
        line = process.stdout.readline()
        assert line.startswith("ready "), (tmp_path / "log").read_text()
        yield line.removeprefix("ready ").strip()
        process.terminate()
        process.communicate()


def _calls(channel: grpc.Channel) -> dict[str, object]:
    assessments = assessment_pb2_grpc.AssessmentServiceStub(channel)
    name = f"assessments/{uuid.uuid4()}"
    create = assessment_pb2.CreateAssessmentRequest(
        request_id=str(uuid.uuid4()), study=f"studies/{uuid.uuid4()}", model="models/sts-petct"
    )
    outcome = monitoring_pb2.RecordOutcomeRequest(assessment=name, outcome=1)
    return {
        "CreateStudy": lambda: study_pb2_grpc.StudyServiceStub(channel).CreateStudy(
            study_pb2.CreateStudyRequest(request_id=str(uuid.uuid4()))
        ),
        "CreateAssessment": lambda: assessments.CreateAssessment(create),
        "GetAssessment": lambda: assessments.GetAssessment(assessment_pb2.GetAssessmentRequest(name=name)),
        "ListAssessments": lambda: assessments.ListAssessments(assessment_pb2.ListAssessmentsRequest()),
        "RecordOutcome": lambda: monitoring_pb2_grpc.MonitoringServiceStub(channel).RecordOutcome(outcome),
    }


def test_each_service_says_busy_within_seconds_and_works_afterwards(server, tmp_path):
    data = tmp_path / "data"
    databases = [data / "studies" / "studies.sqlite", data / "oncoresponse.sqlite"]
    with grpc.insecure_channel(server) as channel:
        command = [sys.executable, "-c", _HOLDS, *map(str, databases)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout.readline() == "held\n"
        for name, call in _calls(channel).items():
            begun = time.monotonic()
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert time.monotonic() - begun < 8, name
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, name
            status = status_pb2.Status.FromString(dict(caught.value.trailing_metadata())[DETAILS_KEY])
            info = error_details_pb2.ErrorInfo()
            assert status.details[0].Unpack(info)
            assert info.reason == "BUSY", name
            assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details), name
        holder.communicate("")
        for name, call in _calls(channel).items():
            try:
                call()
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.NOT_FOUND, name
    for path in (data, *data.rglob("*")):
        if not path.is_socket():
            assert stat.S_IMODE(path.lstat().st_mode) == (0o700 if path.is_dir() else 0o600), path
