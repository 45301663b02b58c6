"""``deploy/``: each file by a checker of others."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from oncoresponse.rpc.settings import Service

from tests.acceptance.deployment import DEPLOY, PROCESSES, ROOT, environment_files, said_by, settings_of

PROGRAMS = Path(sys.executable).parent


def test_the_image_is_built_as_hadolint_wants_it() -> None:
    assert said_by(PROGRAMS / "hadolint", "--no-color", DEPLOY / "Dockerfile") == "0\n"


def test_hadolint_finds_what_is_planted(tmp_path: Path) -> None:
    worse = tmp_path / "Dockerfile"
    worse.write_text((DEPLOY / "Dockerfile").read_text().replace("USER 10001:10001", "RUN sudo true"))
    assert "DL3004" in said_by(PROGRAMS / "hadolint", "--no-color", worse)


def test_the_image_leaves_root_and_holds_what_it_copies() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for word in line.split()[:-1]}
    assert copied <= kept and all((ROOT / name).exists() for name in copied)


def test_compose_follows_its_specification(tmp_path: Path) -> None:
    checker = (PROGRAMS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec")
    assert said_by(*checker, DEPLOY / "compose.yaml").startswith("0\n")
    worse = tmp_path / "compose.yaml"
    worse.write_text((DEPLOY / "compose.yaml").read_text().replace("restart: unless-stopped", "restarts: never", 1))
    assert "restarts" in said_by(*checker, worse)
    content = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for name in PROCESSES:
        assert [DEPLOY / file for file in content["services"][name]["env_file"]] == environment_files(name)


@pytest.mark.parametrize("file", sorted((DEPLOY / "kubernetes").glob("*.yaml")), ids=lambda file: file.name)
def test_kubernetes_takes_each_manifest(file: Path, tmp_path: Path) -> None:
    checker = (PROGRAMS / "kubernetes-validate", "--strict")
    assert said_by(*checker, file).startswith("0\n")
    worse = tmp_path / file.name
    worse.write_text(file.read_text().replace("metadata:", "metadate:", 1))
    assert not said_by(*checker, worse).startswith("0\n")


@pytest.mark.parametrize("name", PROCESSES)
def test_each_process_has_probes_a_budget_and_no_rights(name: str) -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / f"{name}.yaml").read_text()))
    assert [each["kind"] for each in documents] == ["Deployment", "Service", "PodDisruptionBudget"]
    pod = documents[0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert [each["configMapRef"]["name"] for each in container["envFrom"]] == [
        f"oncoresponse-{file.stem}" for file in environment_files(name)
    ]
    ports = {each["containerPort"] for each in container["ports"]}
    listened = {value for line in settings_of(name).values() for value in re.findall(r"0\.0\.0\.0:(\d+)", line)}
    assert ports == {int(port) for port in listened}


@pytest.mark.parametrize("name", PROCESSES)
def test_systemd_takes_the_unit(name: str, tmp_path: Path, require_installed: Any) -> None:
    require_installed("systemd", "systemd-analyze")
    unit = tmp_path / f"oncoresponse@{name}.service"
    # The program is where the page installs it, and not here.
    text = (DEPLOY / "systemd" / "oncoresponse@.service").read_text()
    unit.write_text(text.replace("/opt/oncoresponse/bin/oncoresponse", shutil.which("true") or ""))
    assert said_by("systemd-analyze", "verify", "--man=no", unit) == "0\n"
    unit.write_text(unit.read_text().replace("Restart=always", "Restart=perhaps"))
    assert "perhaps" in said_by("systemd-analyze", "verify", "--man=no", unit)


def test_together_the_processes_run_every_service_once() -> None:
    named = [service for name in PROCESSES for service in settings_of(name)["ONCORESPONSE_SERVICES"].split(",")]
    assert sorted(named) == sorted(service.value for service in Service)


def test_prometheus_takes_its_files_and_the_alerts_fire_when_they_should(
    tmp_path: Path, require_installed: Any
) -> None:
    require_installed("prometheus", "promtool")
    folder = DEPLOY / "prometheus"
    assert said_by("promtool", "check", "config", "--syntax-only", folder / "prometheus.yaml").startswith("0\n")
    assert said_by("promtool", "check", "rules", "--lint-fatal", folder / "alerts.yaml").startswith("0\n")
    assert said_by("promtool", "test", "rules", folder / "alerts_test.yaml").startswith("0\n")
    for file in folder.iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    alerts = tmp_path / "alerts.yaml"
    alerts.write_text(alerts.read_text().replace("> 900", "> 9000"))
    assert "OncoResponseQueueOld" in said_by("promtool", "test", "rules", tmp_path / "alerts_test.yaml")
