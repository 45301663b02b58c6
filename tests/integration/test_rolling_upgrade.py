"""An upgrade without a pause: real workers of two releases on one PostgreSQL, and no assessment is lost.

The later release is a copy of this code with a higher version, started beside the earlier one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import oncoresponse
import pytest
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, study_pb2

from tests.acceptance.story import until

ROOT = Path(__file__).parents[2]
LATER = "9.0.0"


class Worker:
    """``oncoresponse serve`` of a release, by the folder of its code."""

    def __init__(self, name: str, code: Path, data: Path, database_url: str) -> None:
        self.log = data.parent / f"{name}.log"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (code / "services", code / "radiomics")))}
        words = ("--listen", "127.0.0.1:0", "--data-dir", str(data), "--models-dir", str(ROOT / "models"))
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "oncoresponse.cli.main", "serve", "--allow-anonymous", *words),
                    *("--executor-id", name, "--database-url", database_url),
                ],
                env=environment | {"ONCORESPONSE_ASSESSMENT_WORKERS": "1", "ONCORESPONSE_WORKER_BEAT_SECONDS": "0.5"},
                cwd=data.parent,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        ready = next((line for line in self.process.stdout if line.startswith("ready ")), "")
        assert ready, self.log.read_text()
        address = ready.split()[1]
        self.client = Client(address)
        self._channel = grpc.insecure_channel(address)
        self._stub = assessment_pb2_grpc.AssessmentServiceStub(self._channel)

    def create(self, study: study_pb2.Study) -> str:
        order = Order("sts-petct", contour=study_pb2.SuppliedContour())
        return str(self.client.create_assessment(study, order, str(uuid.uuid4())).name)

    def succeeded(self, name: str) -> bool:
        found = self._stub.GetAssessment(assessment_pb2.GetAssessmentRequest(name=name), timeout=30).assessment
        assert found.state != assessment_pb2.ASSESSMENT_STATE_FAILED, found
        return bool(found.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED)

    def releases(self, name: str) -> set[str]:
        """Of the software of each stage, as the record of the assessment has it."""
        software = json.loads(self.client.artifact(name, "record.json"))["software"]
        return {stage["versions"]["oncoresponse"] for stage in software.values()}

    def end(self) -> None:
        self.client.close()
        self._channel.close()
        self.process.kill()
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start(tmp_path: Path, postgresql: Any) -> Iterator[Callable[..., Worker]]:
    postgresql.psql("create database rolling;")
    url = postgresql.get_uri(database="rolling")
    running: list[Worker] = []

    def begin(name: str, code: Path = ROOT) -> Worker:
        running.append(Worker(name, code, tmp_path / "data", url))
        return running[-1]

    (tmp_path / "data").mkdir(mode=0o700)
    yield begin
    for worker in running:
        worker.end()


@pytest.fixture
def later_release(tmp_path: Path) -> Path:
    code = tmp_path / "later"
    for package in ("services", "radiomics"):
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
    module = code / "services" / "oncoresponse" / "__init__.py"
    text, count = re.subn(r'^__version__ = ".*"$', f'__version__ = "{LATER}"', module.read_text(), flags=re.MULTILINE)
    assert count == 1
    module.write_text(text)
    return code


@pytest.mark.timeout(600)
def test_workers_of_two_releases_lose_nothing_between_them(
    start: Callable[..., Worker], later_release: Path, examples: Path
) -> None:
    earlier = start("worker-1")
    study = earlier.client.upload_study(examples / "STS_032", lambda *_: None)
    names = [earlier.create(study) for _ in range(4)]
    # It has one at work and three that wait when the later one comes.
    later = start("worker-2", later_release)
    names += [earlier.create(study) for _ in range(3)]
    until(lambda: later.succeeded(names[3]))
    # The earlier one is lost in the middle of its work.
    earlier.process.send_signal(signal.SIGKILL)
    until(lambda: all(later.succeeded(name) for name in names))
    found = [later.releases(name) for name in names]
    assert all(len(each) == 1 for each in found), found
    assert {LATER} in found and set().union(*found) <= {LATER, oncoresponse.__version__}

    # An earlier release that is started again leaves what the later one created, and answers for what it finds.
    again = start("worker-1")
    created = later.create(study)
    until(lambda: again.succeeded(created))
    assert again.releases(created) == {LATER}
