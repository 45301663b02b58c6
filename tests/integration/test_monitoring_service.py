"""MonitoringService of real server processes: from an assessment to a report on its outcome, and what may go wrong."""

import csv
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path

import grpc
import pytest
import yaml
from google.protobuf.timestamp_pb2 import Timestamp
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.caller_metadata import CallerMetadata
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import artifact_pb2, assessment_pb2, monitoring_pb2, monitoring_pb2_grpc, study_pb2
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
STAGES = ("study", "segmentation", "radiomics", "response", "reporting", "model")
ORDER = Order(
    "sts-petct", contour=study_pb2.SuppliedContour(), planned_treatment="Secret therapy", patient_id="STS_032"
)
SECRETS = ("STS_032", "STS_019", "1.3.6.1.4.1.14519", "Secret therapy")


def silent(_message: str, _fraction: float) -> None:
    return None


def wait_for(attempt, what: str, seconds: float = 120.0):
    """What ``attempt`` gives once it no longer gives nothing: another process has to get somewhere."""
    deadline = time.monotonic() + seconds
    while (found := attempt()) is None:
        assert time.monotonic() < deadline, f"{what} did not come within {seconds} s"
        time.sleep(0.05)
    return found


def record_when_there(client: Client, request: monitoring_pb2.RecordOutcomeRequest) -> bool:
    def attempt() -> bool | None:
        try:
            return client.record_outcome(request)
        except OncoResponseError as error:
            assert error.reason in ("PREDICTION_NOT_FOUND", "PEER_UNAVAILABLE"), error
            return None

    return wait_for(attempt, "the recorded prediction")


def outcome_of(found: assessment_pb2.Assessment, **fields) -> monitoring_pb2.RecordOutcomeRequest:
    return monitoring_pb2.RecordOutcomeRequest(
        **{"assessment": found.name, "outcome": monitoring_pb2.OUTCOME_UNFAVORABLE, **fields}
    )


@pytest.fixture(scope="module")
def data_directory(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def server(serve_for_module, data_directory, models_that_predict):
    addresses = ("--listen", "127.0.0.1:0", "--stage-listen", "127.0.0.1:0")
    process = serve_for_module(*addresses, "--data-dir", str(data_directory), "--models-dir", str(models_that_predict))
    process.wait_until_ready()
    return process


@pytest.fixture(scope="module")
def client(server):
    client = Client(server.address)
    yield client
    client.close()


@pytest.fixture(scope="module")
def assessment(client):
    study = client.upload_study(ROOT / "examples" / "STS_032", silent)
    return client.assess(study, ORDER, silent)


@pytest.fixture(scope="module")
def recorded(client, assessment):
    """The assessment, once its prediction is recorded and its outcome too."""
    request = outcome_of(
        assessment,
        follow_up_months=14,
        groups=[monitoring_pb2.AuditGroup(name="histology", value="liposarcoma")],
    )
    assert record_when_there(client, request) is False
    return assessment


def monitor(*arguments: str) -> str:
    command = [sys.executable, "-m", "oncoresponse.cli.main", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_prediction_and_outcome_are_in_the_report(client, recorded):
    answer = client.monitoring_report(monitoring_pb2.GetMonitoringReportRequest(model="models/sts-petct"))
    report = json.loads(answer.report_json)
    assert report["research_use_statement"].startswith("Research use only")
    assert report["predictions"] == 1
    assert (report["outcomes"]["recorded"]["count"], report["outcomes"]["performance"]["patients"]) == (1, 1)
    assert report["answers"] == {"unfavorable": 1}
    names = {family.name for family in text_string_to_metric_families(answer.metrics)}
    assert "oncoresponse_monitoring_predictions" in names
    months = monitoring_pb2.GetMonitoringReportRequest(model="models/sts-petct", until_month="2020-01")
    assert json.loads(client.monitoring_report(months).report_json)["predictions"] == 0


def test_what_is_kept_is_what_the_assessment_said(recorded, data_directory):
    with sqlite3.connect(data_directory / "oncoresponse.sqlite") as database:
        database.row_factory = sqlite3.Row
        (row,) = database.execute("SELECT * FROM monitoring_prediction").fetchall()
        (outcome,) = database.execute("SELECT * FROM monitoring_outcome").fetchall()
    database.close()
    prediction = recorded.result.prediction
    assert row["assessment"] == recorded.name == outcome["assessment"]
    assert json.loads(row["inputs"]) == {item.input: item.value for item in prediction.contributions}
    assert row["probability"] == prediction.probability
    assert json.loads(row["groups"])["sex"] == "male"
    assert (outcome["favorable"], outcome["follow_up_months"]) == (0, 14)


def test_command_reports_from_the_database_and_from_the_server_alike(
    recorded, server, data_directory, models_that_predict, tmp_path
):
    for folder, source in (
        ("database", ("--data-dir", str(data_directory), "--models-dir", str(models_that_predict))),
        ("server", ("--server", server.address)),
    ):
        printed = monitor("monitor", "--model", "sts-petct", "--out", str(tmp_path / folder), *source)
        assert "Research use only" in printed
        assert "Outcomes recorded: 1" in printed
    for name in ("monitoring.json", "monitoring.prom", "monitoring.pdf"):
        assert (tmp_path / "database" / name).read_bytes() == (tmp_path / "server" / name).read_bytes()


def test_outcome_from_the_command_line_replaces_the_earlier_one(recorded, server, client):
    arguments = ("record-outcome", recorded.name, "favorable", "--server", server.address, "--group", "site=thigh")
    assert "replaced" in monitor(*arguments)
    assert "replaced" not in monitor(*arguments)
    assert client.record_outcome(outcome_of(recorded)) is True


def refusal(call) -> str:
    with pytest.raises(OncoResponseError) as caught:
        call()
    assert not [secret for secret in (*SECRETS, "Doe") if secret in caught.value.message + str(caught.value.metadata)]
    return caught.value.reason


def test_requests_that_are_refused(client, recorded, server):
    group = monitoring_pb2.AuditGroup
    for fields in (
        {"outcome": monitoring_pb2.OUTCOME_UNSPECIFIED},
        {"outcome": 99},
        {"assessment": "Doe^Jane"},
        {"follow_up_months": -1},
        {"groups": [group(name="patient name", value="x")]},
        {"groups": [group(name="patient", value="Doe^Jane")]},
        {"groups": [group(name="site", value="arm"), group(name="site", value="leg")]},
    ):
        assert refusal(lambda fields=fields: client.record_outcome(outcome_of(recorded, **fields))) == "INVALID_REQUEST"
    unknown = outcome_of(assessment_pb2.Assessment(name="assessments/none"))
    assert refusal(lambda: client.record_outcome(unknown)) == "PREDICTION_NOT_FOUND"
    for request, reason in (
        (monitoring_pb2.GetMonitoringReportRequest(model="models/oracle"), "MODEL_NOT_FOUND"),
        (monitoring_pb2.GetMonitoringReportRequest(model="models/sts-petct", since_month="2026-13"), "INVALID_REQUEST"),
    ):
        assert refusal(lambda request=request: client.monitoring_report(request)) == reason


def test_the_same_prediction_twice_is_one_and_another_under_its_name_is_refused(recorded, server, data_directory):
    """Recording is for the services, at the address that is theirs."""
    token = (data_directory / "secrets" / "stage-token").read_text().strip()
    with grpc.insecure_channel(server.stage_address) as channel:
        channel = grpc.intercept_channel(channel, CallerMetadata(token))
        stub = monitoring_pb2_grpc.MonitoringServiceStub(channel)
        reference = recorded.result.artifacts["prediction.json"]
        request = monitoring_pb2.RecordPredictionRequest(
            assessment=f"assessments/{uuid.uuid4()}", create_time=Timestamp(seconds=1), prediction_document=reference
        )
        assert stub.RecordPrediction(request).newly_recorded
        assert not stub.RecordPrediction(request).newly_recorded
        for change, reason in (
            ({"create_time": Timestamp(seconds=2**31)}, "PREDICTION_ALREADY_RECORDED"),
            ({"prediction_document": recorded.result.artifacts["features.json"]}, "INVALID_REQUEST"),
            ({"prediction_document": artifact_pb2.ArtifactReference()}, "INVALID_REQUEST"),
        ):
            changed = monitoring_pb2.RecordPredictionRequest()
            changed.CopyFrom(request)
            for name, value in change.items():
                getattr(changed, name).CopyFrom(value)
            with pytest.raises(grpc.RpcError) as caught:
                stub.RecordPrediction(changed)
            assert reason.encode() in dict(caught.value.trailing_metadata())["grpc-status-details-bin"]


def test_nothing_of_monitoring_names_the_patient(recorded, server, data_directory, models_that_predict, tmp_path):
    where = ("--data-dir", str(data_directory), "--models-dir", str(models_that_predict))
    monitor("monitor", "--model", "sts-petct", "--out", str(tmp_path), *where)
    with sqlite3.connect(data_directory / "oncoresponse.sqlite") as database:
        rows = database.execute("SELECT * FROM monitoring_prediction").fetchall()
        rows += database.execute("SELECT * FROM monitoring_outcome").fetchall()
    database.close()
    assert len(rows) >= 2
    log = server.log.read_text()
    kept = [str(rows), log, *(path.read_text() for path in tmp_path.glob("*.[jp]*") if path.suffix != ".pdf")]
    assert len(kept) == 4
    assert not [secret for secret in SECRETS for text in kept if secret in text]
    assert not [text for text in kept[2:] if "assessments/" in text]


@pytest.fixture
def worker(serve, server, data_directory, tmp_path):
    """Factory: a process with a database of its own, whose stages are those of the module's server."""

    def start(services: str, monitoring: str | None = None, stage_listen: str = ""):
        addresses = dict.fromkeys(STAGES, server.stage_address) | ({"monitoring": monitoring} if monitoring else {})
        settings = tmp_path / f"{services}.yaml"
        shared = {
            "artifact_url": (data_directory / "artifacts").as_uri(),
            "stage_token_file": str(data_directory / "secrets" / "stage-token"),
        }
        settings.write_text(yaml.safe_dump({"addresses": addresses, **shared}))
        inner = ("--stage-listen", stage_listen) if stage_listen else ()
        arguments = ("--services", services, "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"), *inner)
        process = serve(*arguments, settings=settings)
        process.wait_until_ready()
        return process

    return start


def assess_with(worker, server) -> assessment_pb2.Assessment:
    client = Client(worker.address, study_address=server.address)
    try:
        return client.assess(client.upload_study(ROOT / "examples" / "STS_032", silent), ORDER, silent)
    finally:
        client.close()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=lambda end: end.name)
def test_report_does_not_wait_for_its_record_and_the_record_survives_a_restart(worker, server, end):
    """Monitoring is away: the report comes. The worker is stopped; after its restart the record comes too."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        away = f"127.0.0.1:{listener.getsockname()[1]}"  # bound and not listening: nobody answers, nobody takes it
        first = worker("assessment", away)
        assessment = assess_with(first, server)
        assert assessment.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
        assert "report.pdf" in assessment.result.artifacts
        first.stop(end)
        assert "Traceback" not in first.log.read_text()
    client = Client(worker("assessment,monitoring").address)
    assert record_when_there(client, outcome_of(assessment)) is False
    client.close()


def test_monitoring_that_comes_back_gets_its_record_without_a_restart(worker, server):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assessment = assess_with(worker("assessment", address), server)
    client = Client(worker("monitoring", stage_listen=address).address)
    assert record_when_there(client, outcome_of(assessment)) is False
    client.close()


def test_installation_without_monitoring_gives_reports_and_says_once_what_is_missing(worker, server):
    alone = worker("assessment")
    assessment = assess_with(alone, server)
    assert assessment.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    sentence = "a prediction was not recorded for monitoring"
    wait_for(lambda: True if sentence in alone.log.read_text() else None, "the warning")
    assert alone.log.read_text().count(sentence) == 1


def test_prediction_of_a_table_agrees_with_the_assessment_of_the_same_measurements(
    recorded, models_that_predict, tmp_path
):
    inputs = {item.input: item.value for item in recorded.result.prediction.contributions}
    with (tmp_path / "inputs.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, inputs)
        writer.writeheader()
        writer.writerow(inputs)
    table, out = str(tmp_path / "inputs.csv"), str(tmp_path / "predictions.csv")
    models = str(models_that_predict)
    monitor("predict", "--models-dir", models, "--model", "sts-petct", "--table", table, "--out", out)
    with Path(out).open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["probability"]) == recorded.result.prediction.probability
