"""``deploy/``: each file by a checker of others, and the three processes as the environment files say, under TLS."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import ssl
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from oncoresponse.rpc.settings import Service

from tests.integration.orthanc_server import free_port

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROGRAMS = Path(sys.executable).parent
PROCESSES = ("segmentation", "radiomics", "front")


def said_by(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
    return f"{done.returncode}\n{done.stdout}{done.stderr}"


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


def environment_files(name: str) -> list[Path]:
    return [DEPLOY / "environment" / f"{each}.env" for each in ("common", name)]


def settings_of(name: str) -> dict[str, str]:
    lines = [line for file in environment_files(name) for line in file.read_text().splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_together_the_processes_run_every_service_once() -> None:
    named = [service for name in PROCESSES for service in settings_of(name)["ONCORESPONSE_SERVICES"].split(",")]
    assert sorted(named) == sorted(service.value for service in Service)


@contextmanager
def running(environments: dict[str, dict[str, str]], folder: Path) -> Iterator[dict[str, Path]]:
    """The processes, once each has said that it is ready; their logs."""
    command = [sys.executable, "-m", "oncoresponse.cli.main", "serve", "--verbose"]
    started: list[tuple[str, subprocess.Popen[str]]] = []
    logs = {name: folder / f"{name}.log" for name in environments}
    try:
        for name, environment in environments.items():
            with logs[name].open("w") as log:
                process = subprocess.Popen(
                    command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
                )
            started.append((name, process))
        for name, process in started:
            assert process.stdout is not None
            assert any(line.startswith("ready ") for line in process.stdout), logs[name].read_text()
        yield logs
    finally:
        for _, process in started:
            process.terminate()
        for _, process in started:
            process.wait(60)
            assert process.stdout is not None
            process.stdout.close()


def test_the_three_processes_assess_a_study_under_tls(tmp_path: Path, postgresql: Any, make_authority: Any) -> None:
    """From the same environment files: only names, ports and folders are those of this machine."""
    hospital = make_authority("hospital-of-deploy")
    files = tmp_path / "etc"
    files.mkdir()
    for source, target in zip(hospital.issue("localhost"), ("server.pem", "server.key"), strict=True):
        shutil.copyfile(source, files / target)
    shutil.copyfile(hospital.file, files / "authority.pem")
    (files / "stage-token").write_text(secrets.token_hex(32))
    (files / "pgpass").write_text("database:5432:oncoresponse:oncoresponse:none\n")
    for file in files.iterdir():
        file.chmod(0o600)
    database = f"deploy_{uuid.uuid4().hex}"
    postgresql.psql(f"create database {database};")
    ports = {(name, port): free_port() for name in PROCESSES for port in ("50051", "50151", "8042")}

    def here(name: str, value: str) -> str:
        value = value.replace("/etc/oncoresponse", str(files)).replace("/srv/oncoresponse", str(tmp_path / "data"))
        value = value.replace("postgresql://oncoresponse@database/oncoresponse", postgresql.get_uri(database=database))
        value = re.sub(r"0\.0\.0\.0:(\d+)", lambda found: f"127.0.0.1:{ports[name, found[1]]}", value)
        return re.sub(
            r"\b(segmentation|radiomics):(\d+)", lambda found: f"localhost:{ports[found[1], found[2]]}", value
        )

    kept = {key: value for key, value in os.environ.items() if not key.startswith("ONCORESPONSE_")}
    kept["ONCORESPONSE_MODELS_DIRECTORY"] = str(ROOT / "models")
    # For the test alone: one person makes models active.
    kept["ONCORESPONSE_MODEL_ACTIVATION"] = "installed"
    environments = {
        name: kept | {key: here(name, value) for key, value in settings_of(name).items()} for name in PROCESSES
    }
    cli = (sys.executable, "-m", "oncoresponse.cli.main")
    words = ("users", "add", "doctor", "--role", "submit", "--role", "read", "--data-dir", tmp_path / "data")
    added = said_by(*cli, *words)
    assert added.startswith("0\n")
    token = tmp_path / "token"
    token.write_text(added.split("\n")[1])
    token.chmod(0o600)
    with running(environments, tmp_path) as logs:
        front = f"localhost:{ports['front', '50051']}"
        done = subprocess.run(
            [
                *(*cli, "assess", str(ROOT / "examples" / "STS_019"), "--model", "sts-petct"),
                *("--out", str(tmp_path / "out"), "--server", front),
                *("--ca", str(hospital.file), "--token-file", str(token)),
            ],
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr + "".join(log.read_text() for log in logs.values())
        report = json.loads((tmp_path / "out" / "report.json").read_bytes())
        assert "DiagnosticReport" in {entry["resource"]["resourceType"] for entry in report["entry"]}
        trusted = ssl.create_default_context(cafile=str(hospital.file))
        ready = f"https://localhost:{ports['front', '8042']}/readyz"
        with urllib.request.urlopen(ready, context=trusted, timeout=30) as answer:
            assert json.load(answer) == {"status": "ready"}
    assert "RunStage" in logs["segmentation"].read_text() and "RunStage" in logs["radiomics"].read_text()
