"""The three processes of ``deploy/``, under TLS and with PostgreSQL, as its environment files say."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.orthanc_server import free_port

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROCESSES = ("segmentation", "radiomics", "front")
CLI = (sys.executable, "-m", "oncoresponse.cli.main")


def said_by(*command: object) -> str:
    """Exit status and both outputs."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
    return f"{done.returncode}\n{done.stdout}{done.stderr}"


def environment_files(name: str) -> list[Path]:
    return [DEPLOY / "environment" / f"{each}.env" for each in ("common", name)]


def settings_of(name: str) -> dict[str, str]:
    lines = [line for file in environment_files(name) for line in file.read_text().splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@dataclass(frozen=True)
class Deployment:
    """What a test needs of it.

    Attributes:
        folder: With ``etc`` and ``data``.
        environments: Of each process.
        ports: By process and port of the environment files.
        logs: Of each process.
        processes: As they run.
    """

    folder: Path
    environments: dict[str, dict[str, str]]
    ports: dict[tuple[str, str], int]
    logs: dict[str, Path]
    processes: dict[str, subprocess.Popen[str]]

    @property
    def authority(self) -> Path:
        """Whom to trust."""
        return self.folder / "etc" / "authority.pem"

    @property
    def front(self) -> str:
        """Address of the front door."""
        return f"localhost:{self.ports['front', '50051']}"

    @property
    def http(self) -> str:
        """URL of the HTTP server."""
        return f"https://localhost:{self.ports['front', '8042']}"

    def add_user(self, name: str, *roles: str) -> Path:
        """A caller with these access roles; gives the file of the token."""
        options = [word for role in roles for word in ("--role", role)]
        added = said_by(*CLI, "users", "add", name, *options, "--data-dir", self.folder / "data")
        assert added.startswith("0\n"), added
        token = self.folder / f"token-of-{name}"
        token.write_text(added.split("\n")[1])
        token.chmod(0o600)
        return token

    def start(self, name: str) -> None:
        """Start a process, and wait until it is ready."""
        self.begin(name)
        self.wait(name)

    def begin(self, name: str) -> None:
        with self.logs[name].open("a") as log:
            self.processes[name] = subprocess.Popen(
                [*CLI, "serve", "--verbose"],
                cwd=self.folder,
                env=self.environments[name],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def wait(self, name: str) -> None:
        output = self.processes[name].stdout
        assert output is not None
        assert any(line.startswith("ready ") for line in output), self.logs[name].read_text()

    def stop(self, name: str) -> None:
        """End a process."""
        process = self.processes.pop(name)
        process.terminate()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def deployed(folder: Path, postgresql: Any, authority: Any, more: dict[str, str] | None = None) -> Iterator[Deployment]:
    """The processes, once each has said that it is ready.

    Only names, ports and folders differ from the environment files, and that one person makes models active.
    """
    files = folder / "etc"
    files.mkdir()
    for source, target in zip(authority.issue("localhost"), ("server.pem", "server.key"), strict=True):
        shutil.copyfile(source, files / target)
    shutil.copyfile(authority.file, files / "authority.pem")
    (files / "stage-token").write_text(secrets.token_hex(32))
    (files / "pgpass").write_text("database:5432:oncoresponse:oncoresponse:none\n")
    for file in files.iterdir():
        file.chmod(0o600)
    database = f"deploy_{uuid.uuid4().hex}"
    postgresql.psql(f"create database {database};")
    ports = {(name, port): free_port() for name in PROCESSES for port in ("50051", "50151", "8042")}

    def here(name: str, value: str) -> str:
        value = value.replace("/etc/oncoresponse", str(files)).replace("/srv/oncoresponse", str(folder / "data"))
        value = value.replace("postgresql://oncoresponse@database/oncoresponse", postgresql.get_uri(database=database))
        value = re.sub(r"0\.0\.0\.0:(\d+)", lambda found: f"127.0.0.1:{ports[name, found[1]]}", value)
        return re.sub(
            r"\b(segmentation|radiomics):(\d+)", lambda found: f"localhost:{ports[found[1], found[2]]}", value
        )

    kept = {key: value for key, value in os.environ.items() if not key.startswith("ONCORESPONSE_")}
    kept["ONCORESPONSE_MODELS_DIRECTORY"] = str(ROOT / "models")
    kept["ONCORESPONSE_MODEL_ACTIVATION"] = "installed"
    environments = {
        name: kept | {key: here(name, value) for key, value in settings_of(name).items()} for name in PROCESSES
    }
    environments["front"] |= more or {}
    logs = {name: folder / f"{name}.log" for name in PROCESSES}
    deployment = Deployment(folder, environments, ports, logs, {})
    # Users come before the first start: a server that could recognize nobody does not start.
    deployment.add_user("doctor", "submit", "read", "sign")
    try:
        for name in PROCESSES:
            deployment.begin(name)
        for name in PROCESSES:
            deployment.wait(name)
        yield deployment
    finally:
        for name in list(deployment.processes):
            deployment.stop(name)
