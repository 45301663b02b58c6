"""Three processes under TLS with PostgreSQL, watched by a real Prometheus: a study assessed, every panel asked for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.deployment import CLI, DEPLOY, ROOT, Deployment, deployed
from tests.acceptance.story import until
from tests.integration.orthanc_server import free_port

# Of what this installation has none: a GPU, enough predictions and outcomes.
SUFFIXES = ("", "_total", "_bucket", "_sum", "_count")
_INDEX = "oncoresponse_monitoring_population_stability_index"
NOT_HERE = {"oncoresponse_gpu_memory_bytes", "oncoresponse_monitoring_auc", _INDEX, f"{_INDEX}_by_chance"}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, postgresql: Any, make_authority: Any) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("operated")
    with deployed(folder, postgresql, make_authority("hospital-of-deploy")) as running:
        yield running


@pytest.fixture(scope="module")
def assessed(deployment: Deployment) -> Path:
    """The output folder of an assessment."""
    out = deployment.folder / "out"
    done = subprocess.run(
        [
            *(*CLI, "assess", str(ROOT / "examples" / "STS_019"), "--model", "sts-petct"),
            *("--out", str(out), "--server", deployment.front),
            *("--ca", str(deployment.authority), "--token-file", str(deployment.folder / "token-of-doctor")),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr + "".join(log.read_text() for log in deployment.logs.values())
    return out


def test_the_three_processes_assess_a_study_under_tls(deployment: Deployment, assessed: Path) -> None:
    report = json.loads((assessed / "report.json").read_bytes())
    assert "DiagnosticReport" in {entry["resource"]["resourceType"] for entry in report["entry"]}
    ready = requests.get(f"{deployment.http}/readyz", verify=str(deployment.authority), timeout=30)
    assert ready.json() == {"status": "ready"}
    for name in ("segmentation", "radiomics"):
        assert "RunStage" in deployment.logs[name].read_text()


def scraped(deployment: Deployment, token: Path) -> requests.Response:
    headers = {"Authorization": f"Bearer {token.read_text()}"}
    return requests.get(f"{deployment.http}/metrics", headers=headers, verify=str(deployment.authority), timeout=60)


@pytest.fixture(scope="module")
def prometheus(deployment: Deployment, assessed: Path, require_installed: Any) -> Iterator[str]:
    """URL of a Prometheus that reads the file of ``deploy/`` and has scraped twice."""
    require_installed("prometheus", "prometheus", "promtool")
    folder = deployment.folder / "prometheus"
    folder.mkdir()
    token = deployment.add_user("prometheus", "metrics")
    text = (DEPLOY / "prometheus" / "prometheus.yaml").read_text()
    for there, here in (
        ("/etc/oncoresponse/authority.pem", str(deployment.authority)),
        ("/etc/prometheus/oncoresponse-token", str(token)),
        ("front:8042", f"localhost:{deployment.ports['front', '8042']}"),
        ("alerts.yaml", str(DEPLOY / "prometheus" / "alerts.yaml")),
        ("30s", "4s"),
    ):
        assert there in text
        text = text.replace(there, here)
    (folder / "prometheus.yaml").write_text(text)
    url = f"http://127.0.0.1:{free_port()}"
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={url.removeprefix('http://')}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: is_up(url))
        # Rates and increases need two samples of each process.
        until(lambda: ask(url, "count_over_time(oncoresponse_up[1h]) > 2"))
        yield url
    finally:
        server.terminate()
        server.wait(30)


def is_up(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=5).ok
    except requests.ConnectionError:
        return False


def ask(url: str, query: str) -> list[Any]:
    answer = requests.get(f"{url}/api/v1/query", params={"query": query}, timeout=30)
    assert answer.ok, (query, answer.text)
    return list(answer.json()["data"]["result"])


def test_prometheus_sees_each_process_the_queue_and_the_memory(prometheus: str) -> None:
    until(lambda: ask(prometheus, "up == 1"))
    until(lambda: len(ask(prometheus, "oncoresponse_up == 1")) == 3)
    services = {each["metric"]["services"] for each in ask(prometheus, "oncoresponse_up == 1")}
    assert {"segmentation", "radiomics"} < services and len(services) == 3
    assert len(ask(prometheus, "process_resident_memory_bytes > 1e8")) == 3
    assert ask(prometheus, "max(oncoresponse_children_resident_memory_bytes) > 1e7")
    stages = {each["metric"]["stage"] for each in ask(prometheus, "oncoresponse_stage_seconds_count >= 1")}
    assert stages == {"conversion", "segmentation", "features", "prediction", "report"}
    (ended,) = ask(prometheus, 'sum(oncoresponse_assessments_ended_total{outcome="completed"})')
    assert ended["value"][1] == "1"
    assert ask(prometheus, "oncoresponse_arrival_to_report_seconds_sum < 240")


def test_every_panel_of_the_dashboard_asks_for_what_there_is(deployment: Deployment, prometheus: str) -> None:
    """Each expression is taken by Prometheus, and names families of the installation alone."""
    dashboard = json.loads((DEPLOY / "grafana" / "oncoresponse.json").read_text())
    text = scraped(deployment, deployment.folder / "token-of-prometheus").text
    known = {f"{family.name}{suffix}" for family in text_string_to_metric_families(text) for suffix in SUFFIXES}
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(expressions) > 30
    for expression in expressions:
        ask(prometheus, expression.replace("$__rate_interval", "1m"))
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    asked = expressions + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    families = {name for text in asked for name in re.findall(r"\b(?:oncoresponse|process)_[a-z_]+", text)}
    assert families - known == NOT_HERE
    # What a panel shows of an installation that has done one study.
    for title in ("Processes", "Waiting", "Free disk", "Stages, mean", "Answers", "Memory", "States"):
        (panel,) = (each for each in dashboard["panels"] if each["title"] == title)
        assert ask(prometheus, panel["targets"][0]["expr"].replace("$__rate_interval", "1m")), title


def test_a_process_that_ends_is_told_and_the_alert_waits(deployment: Deployment, prometheus: str) -> None:
    deployment.stop("radiomics")
    until(lambda: ask(prometheus, 'oncoresponse_up{services="radiomics"} == 0'))

    def pending() -> set[str]:
        alerts = requests.get(f"{prometheus}/api/v1/alerts", timeout=30).json()["data"]["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "pending"}

    until(lambda: "OncoResponseProcessDown" in pending())
    deployment.start("radiomics")
    until(lambda: not ask(prometheus, "oncoresponse_up == 0"))


def test_the_page_names_every_family(deployment: Deployment, assessed: Path) -> None:
    answer = scraped(deployment, deployment.add_user("page", "metrics"))
    families = {family.name for family in text_string_to_metric_families(answer.text)}
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    named = {name for line in page.splitlines() if line.startswith("|") for name in re.findall(r"`([a-z_]+)`", line)}
    own = {name for name in families if name.startswith("oncoresponse_") and "_monitoring_" not in name}
    assert own <= named, own - named


def test_only_who_may_reads_the_metrics_and_they_name_nobody(deployment: Deployment, assessed: Path) -> None:
    assert scraped(deployment, deployment.folder / "token-of-doctor").status_code == 403
    answer = scraped(deployment, deployment.add_user("watcher", "metrics"))
    assert answer.status_code == 200
    resources = [entry["resource"] for entry in json.loads((assessed / "report.json").read_text())["entry"]]
    names = {each["value"] for resource in resources for each in resource.get("identifier", ()) if "value" in each}
    assert names and not [name for name in names if name in answer.text]
    reading = {"Authorization": f"Bearer {(deployment.folder / 'token-of-watcher').read_text()}"}
    fhir = requests.get(
        f"{deployment.http}/fhir/DiagnosticReport", headers=reading, verify=str(deployment.authority), timeout=30
    )
    assert fhir.status_code == 403


def doctor(deployment: Deployment, **changed: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit status of ``doctor --deep`` for the front, and by subject what it says."""
    done = subprocess.run(
        [*CLI, "doctor", "--deep"],
        cwd=deployment.folder,
        env=deployment.environments["front"] | changed,
        capture_output=True,
        text=True,
        timeout=120,
    )
    # gRPC itself says a line of a failed handshake.
    assert "Traceback" not in done.stderr, done.stderr
    lines = re.findall(r"^(ok|WRONG|note) +(.*?): (.*)$", done.stdout, re.MULTILINE)
    return done.returncode, {subject: (mark, text) for mark, subject, text in lines}


def wrong(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {subject: text for subject, (mark, text) in found.items() if mark == "WRONG"}


def test_doctor_finds_nothing_wrong_between_the_processes(deployment: Deployment) -> None:
    status, found = doctor(deployment)
    assert (status, wrong(found)) == (0, {})
    gpu = f"segmentation at localhost:{deployment.ports['segmentation', '50051']}"
    for subject in (gpu, f"clock of {gpu}", f"models of {gpu}", "database", "clock of the database", "schema"):
        assert found[subject][0] == "ok", (subject, found[subject])
    assert "for localhost" in found["tls_certificate"][1]
    assert found[gpu][1].startswith("release ")


def test_doctor_names_what_is_wrong(
    deployment: Deployment, make_authority: Any, postgresql: Any, tmp_path: Path
) -> None:
    """Each fault alone, and nothing else is called wrong."""
    addresses = json.loads(deployment.environments["front"]["ONCORESPONSE_ADDRESSES"])
    gpu, cpu = (f"{name} at {addresses[name]}" for name in ("segmentation", "radiomics"))

    def planted(**changed: str) -> dict[str, str]:
        status, found = doctor(deployment, **changed)
        assert status == 1
        return wrong(found)

    silent = f"localhost:{free_port()}"
    found = planted(ONCORESPONSE_ADDRESSES=json.dumps(addresses | {"radiomics": silent}))
    assert set(found) == {f"radiomics at {silent}"} and "refused" in found[f"radiomics at {silent}"]

    crossed = {"segmentation": addresses["radiomics"], "radiomics": addresses["segmentation"]}
    found = planted(ONCORESPONSE_ADDRESSES=json.dumps(crossed))
    assert "it runs radiomics, not segmentation" in found[f"segmentation at {addresses['radiomics']}"]

    found = planted(ONCORESPONSE_ADDRESSES=json.dumps(addresses | {"radiomics": deployment.front}))
    assert "stage_listen" in found[f"radiomics at {deployment.front}"]

    token = tmp_path / "stage-token"
    token.write_text("0" * 64)
    token.chmod(0o600)
    found = planted(ONCORESPONSE_STAGE_TOKEN_FILE=str(token))
    assert set(found) == {gpu, cpu} and all("stage_token_file" in text for text in found.values())

    stranger = make_authority("stranger")
    found = planted(ONCORESPONSE_TLS_AUTHORITY=str(stranger.file))
    assert set(found) == {gpu, cpu} and all("TLS_HANDSHAKE_FAILED" in text for text in found.values())

    expired = stranger.issue("localhost", expired=True)
    found = planted(ONCORESPONSE_TLS_CERTIFICATE=str(expired[0]), ONCORESPONSE_TLS_KEY=str(expired[1]))
    assert "expired" in found["tls_certificate"]

    models = tmp_path / "models"
    shutil.copytree(ROOT / "models" / "sts-petct", models / "sts-petct")
    found = planted(ONCORESPONSE_MODELS_DIRECTORY=str(models))
    assert set(found) == {f"models of {gpu}", f"models of {cpu}"}

    found = planted(ONCORESPONSE_DATA_DIRECTORY=str(tmp_path / "other"))
    assert set(found) == {f"store of {gpu}", f"store of {cpu}"}

    url = postgresql.get_uri(database="nobody_made_it")
    found = planted(ONCORESPONSE_DATABASE_URL=url)
    assert set(found) == {"database"} and "does not exist" in found["database"] and url not in found["database"]

    peer = {"archive": {"address": silent, "ae_title": "ARCHIVE"}}
    found = planted(ONCORESPONSE_DICOM_PEERS=json.dumps(peer))
    assert set(found) == {"dicom_peers.archive"}

    ehr = {"ehr": {"kind": "fhir", "url": f"{deployment.http}/livez", "tls_authority": str(deployment.authority)}}
    found = planted(ONCORESPONSE_DESTINATIONS=json.dumps(ehr))
    assert set(found) == {"destinations.ehr"}
