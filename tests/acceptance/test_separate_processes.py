"""The demo's path against one process for each service, on SQLite and on PostgreSQL, with a worker killed."""

import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import yaml
from dbos import DBOSClient
from oncoresponse.errors import OncoResponseError
from oncoresponse.model.plan import STAGES
from oncoresponse.rpc.administration_client import AdministrationClient
from oncoresponse.rpc.client import Order
from oncoresponse.rpc.settings import FRONT_SERVICES, Service
from oncoresponse.v1 import administration_pb2, assessment_pb2
from oncoresponse.workflow.stored_json import StoredJson

ROOT = Path(__file__).parents[2]
STAGE_SERVICES = (*(Service(stage.service) for stage in STAGES.values()), Service.MODEL, Service.MONITORING)
EXPECTED_FILES = {
    "report.json",
    "report.pdf",
    "report-page.json",
    "report.fhir-r5.json",
    "patient-page.html",
    "key-image.png",
    "segmentation.dcm",
    "structured-report.dcm",
    "encapsulated-report.dcm",
    "key-image.dcm",
    "lesion-surface.dcm",
    "bone-surface.dcm",
    "surfaces.glb",
    "distances.json",
    "features.json",
    "prediction.json",
    "segmentation.json",
    "mask.nrrd",
    "probability.nrrd",
    "timings.json",
    "record.json",
}


@pytest.fixture(scope="module")
def stages(serve_for_module, tmp_path_factory):
    """One process for each service but assessment, and the settings file that names their addresses."""
    folder = tmp_path_factory.mktemp("stages")
    common = ("--data-dir", str(folder / "data"), "--listen", "127.0.0.1:0")
    inside = {service: ("--stage-listen", "127.0.0.1:0") if service in FRONT_SERVICES else () for service in Service}
    servers = {
        service: serve_for_module("--services", service.value, *common, *inside[service]) for service in STAGE_SERVICES
    }
    addresses = {service.value: server.wait_until_ready() for service, server in servers.items()}
    addresses |= {service.value: server.stage_address for service, server in servers.items() if server.stage_address}
    settings = folder / "settings.yaml"
    settings.write_text(yaml.safe_dump({"addresses": addresses}))
    return servers, settings, common


@pytest.fixture
def database(postgresql):
    """A database of its own in a real PostgreSQL server."""
    name = f"assessments_{uuid.uuid4().hex}"
    postgresql.psql(f"create database {name};")
    return postgresql.get_uri(database=name)


def client_of(worker, servers) -> AdministrationClient:
    return AdministrationClient(
        worker.address, study_address=servers[Service.STUDY].address, model_address=servers[Service.MODEL].address
    )


def silent(_message: str, _fraction: float) -> None:
    return None


def wait_for(condition, what: str, seconds: float = 60.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come within {seconds} s"
        time.sleep(0.05)  # a process outside of this one has to get somewhere; there is nothing to wait on
    return found


def test_chain_on_sqlite(serve, stages, tmp_path):
    servers, settings, common = stages
    worker = serve("--services", "assessment", *common, settings=settings)
    worker.wait_until_ready()
    client = client_of(worker, servers)
    seen = []
    study = client.upload_study(ROOT / "examples" / "STS_019", silent)
    assessment = client.assess(study, Order("sts-petct"), lambda message, fraction: seen.append((message, fraction)))
    written = client.download_artifacts(assessment, tmp_path / "out")
    client.close()
    assert {path.name for path in written} == EXPECTED_FILES
    assert all(path.stat().st_size > 0 for path in written)
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    logs = "".join(server.log.read_text() for server in (*servers.values(), worker))
    # One id through the front door, the worker and every stage, each a process of its own.
    (created,) = re.findall(r"CreateAssessment OK .*\[([\w.-]+)\]$", worker.log.read_text(), re.MULTILINE)
    for name, stage in STAGES.items():
        log = servers[Service(stage.service)].log.read_text()
        assert re.search(rf"RunStage {name} OK .*\[{created}\]$", log, re.MULTILINE), log
    for secret in ("STS_019", "1.3.6.1.4.1.14519"):
        assert secret not in logs


def test_a_patient_is_erased_across_processes(serve, stages, database):
    """The administration asks the processes that keep studies and predictions; rows of assessments are PostgreSQL's."""
    servers, settings, common = stages
    worker = serve("--services", "assessment", "--database-url", database, *common, settings=settings)
    worker.wait_until_ready()
    client = client_of(worker, servers)
    study = client.upload_study(ROOT / "examples" / "STS_032", silent)
    found = client.assess(study, Order("sts-petct"), silent)
    ask, request_id = administration_pb2.ErasePatientRequest, str(uuid.uuid4())
    plan = client.erase_patient(ask(patient_id="STS_032", dry_run=True, request_id=request_id))
    assert plan.counts.instances > 100
    assert plan.counts.workflow_rows > 0
    assert any("PostgreSQL" in sentence for sentence in plan.remains)
    client.erase_patient(ask(patient_id="STS_032", confirmation=plan.confirmation, request_id=request_id))
    with pytest.raises(OncoResponseError, match="no assessment of this name"):
        client.watch(found.name, silent)
    data = Path(common[common.index("--data-dir") + 1])
    files = [path for path in (*(data / "artifacts").rglob("*"), *(data / "studies").rglob("*")) if path.is_file()]
    assert [path for path in files if b"STS_032" in path.read_bytes()] == []
    plan = client.erase_patient(ask(patient_id="STS_032", dry_run=True, request_id=request_id))
    client.close()
    assert not plan.counts.ListFields()


def running_step(database_url: str, assessment_id: str) -> tuple[str, list[str]] | None:
    """Executor and finished steps of a workflow, read by an independent client of the database."""
    client = DBOSClient(system_database_url=database_url, serializer=StoredJson())
    try:
        rows = client.list_workflows(workflow_ids=[assessment_id])
        steps = client.list_workflow_steps(assessment_id) if rows else []
    finally:
        client.destroy()
    if not rows or rows[0].status != "PENDING":
        return None
    return rows[0].executor_id, [step["function_name"] for step in steps]


@pytest.mark.parametrize("way", ["restart", "recover", "killed", "stopped"])
def test_worker_lost_in_the_middle_of_a_stage_on_postgresql(serve, stages, database, way, tmp_path):
    """A worker is lost during segmentation: what was finished is not done again, and the assessment ends well.

    Either it comes back under its own name, or an operator hands its work to the other one, or that one takes it by
    itself. A worker that was only stopped and comes back after that can store nothing, says so, and ends.
    """
    servers, settings, common = stages
    if way in ("killed", "stopped"):
        settings = tmp_path / "settings.yaml"
        settings.write_text(stages[1].read_text() + "worker_beat_seconds: 0.5\n")
    workers = {
        name: serve(
            *("--services", "assessment", "--database-url", database, "--executor-id", name, *common), settings=settings
        )
        for name in ("first", "second")
    }
    for worker in workers.values():
        worker.wait_until_ready()
    client = client_of(workers["first"], servers)
    study = client.upload_study(ROOT / "examples" / "STS_032", silent)
    conversions = servers[Service.STUDY].log.read_text().count("RunStage conversion OK")
    servers[Service.SEGMENTATION].process.send_signal(signal.SIGSTOP)
    order = Order("sts-petct")
    name = client.create_assessment(study, order, str(uuid.uuid4())).name
    assessment_id = name.removeprefix("assessments/")

    def in_segmentation():
        found = running_step(database, assessment_id)
        # Every stage is a step of this name; the first of them is the conversion.
        return found if found is not None and "stage" in found[1] else None

    executor, _ = wait_for(in_segmentation, "segmentation")
    client.close()
    lost = workers[executor]
    survivor = next(worker for name_, worker in workers.items() if name_ != executor)
    if way == "stopped":
        lost.process.send_signal(signal.SIGSTOP)
    else:
        lost.stop(signal.SIGKILL)
    if way in ("killed", "stopped"):
        wait_for(lambda: (running_step(database, assessment_id) or (executor,))[0] != executor, "takeover", 30)
    if way == "stopped":
        lost.process.send_signal(signal.SIGCONT)
        assert lost.process.wait(60) == 1
        assert "gave no sign of life for too long" in lost.log.read_text()
    servers[Service.SEGMENTATION].process.send_signal(signal.SIGCONT)
    if way == "restart":
        arguments = ("--services", "assessment", "--database-url", database, "--executor-id", executor, *common)
        serve(*arguments, settings=settings).wait_until_ready()
    elif way == "recover":
        command = [sys.executable, "-m", "oncoresponse.cli.main", "recover", executor, "--database-url", database]
        assert "1 assessments" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    client = client_of(survivor, servers)
    assessment = client.watch(name, silent)
    client.close()
    assert assessment.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    assert set(assessment.result.artifacts) == EXPECTED_FILES
    assert servers[Service.STUDY].log.read_text().count("RunStage conversion OK") == conversions + 1
