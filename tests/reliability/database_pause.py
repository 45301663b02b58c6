"""PostgreSQL away for a while, in each stage: what health says, and whether what ran goes on by itself.

    make trial-database-pause
    make trial-database-pause SECONDS_AWAY="3 15"

Real processes: PostgreSQL, the assessment service, and one process for each of the five stages. In each trial five
assessments are held in five stages (their processes are stopped), then the database goes away, then the stages go on
and end their calls while it is away, then it comes back.

Prints one line for each assessment, and ends with status 1 where one did not succeed, was stored twice, or health did
not follow.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc
from pausable_postgresql import KINDS, PausablePostgreSQL, pausable_postgresql, stop_process

Changes = list[tuple[float, assessment_pb2.Assessment]]
ROOT = Path(__file__).parents[2]
# In the order of the plan: the stage, and the services of the process that does it.
STAGES = {
    "conversion": "study,model",
    "segmentation": "segmentation",
    "features": "radiomics",
    "prediction": "response,monitoring",
    "report": "reporting",
}
_FRONT = ("study", "model", "response", "monitoring")
_ASSESSMENT = "oncoresponse.v1.AssessmentService"
_PATIENCE_SECONDS = 240.0
_ROWS = (
    ("workflow_status", "SELECT count(*) FROM dbos.workflow_status WHERE workflow_uuid LIKE %(like)s"),
    ("operation_outputs", "SELECT count(*) FROM dbos.operation_outputs WHERE workflow_uuid LIKE %(like)s"),
    ("workflow_events_history", "SELECT count(*) FROM dbos.workflow_events_history WHERE workflow_uuid LIKE %(like)s"),
    ("chart_assessment", "SELECT count(*) FROM chart_assessment WHERE assessment = %(id)s"),
    ("monitoring_prediction", "SELECT count(*) FROM monitoring_prediction WHERE assessment = %(name)s"),
)


class Worker:
    """One ``oncoresponse serve``."""

    def __init__(self, folder: Path, services: str, *arguments: str, settings: Path | None = None) -> None:
        self.log = folder / f"{services.replace(',', '-')}.log"
        inside = ("--stage-listen", "127.0.0.1:0") if services.split(",")[0] in _FRONT else ()
        common = ("--data-dir", str(folder / "data"), "--listen", "127.0.0.1:0", "--allow-anonymous")
        command = [sys.executable, "-m", "oncoresponse.cli.main", "serve", "--verbose", "--services", services]
        environment = ["env", f"ONCORESPONSE_SETTINGS_FILE={settings}"] if settings else []
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*environment, *command, *common, *inside, *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
            )
        self.address = self.inner_address = ""

    def wait_until_ready(self) -> None:
        """Reads both addresses."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            word, address = line.split()[:2]
            if word == "stages":
                self.inner_address = address
            elif word == "ready":
                self.address = address
                return
        raise SystemExit(self.log.read_text())

    def freeze(self) -> None:
        """SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)


@dataclass
class HealthSeen:
    """What health said, in the order of time (seconds of ``time.monotonic``), for "" and the assessments together."""

    changes: list[tuple[float, str]] = field(default_factory=list)

    def first(self, status: str, after: float) -> float | None:
        """Seconds from ``after`` to the first answer of this status."""
        return next((at - after for at, seen in self.changes if at >= after and seen == status), None)


def serving_again(seen: HealthSeen, back: float) -> float | None:
    """Seconds from the return of the database to the first SERVING; 0 where health had never said anything else."""
    if seen.changes and seen.changes[-1][1] == "SERVING" and seen.changes[-1][0] < back:
        return 0.0
    return seen.first("SERVING", back)


def watch_health(address: str, seen: HealthSeen, ended: threading.Event) -> None:
    """Ask four times a second."""
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while not ended.wait(0.25):
            found = []
            for service in ("", _ASSESSMENT):
                try:
                    status = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=2).status
                    found.append(health_pb2.HealthCheckResponse.ServingStatus.Name(status))
                except grpc.RpcError as error:
                    found.append(error.code().name)
            status = found[0] if len(set(found)) == 1 else "/".join(found)
            if not seen.changes or seen.changes[-1][1] != status:
                seen.changes.append((time.monotonic(), status))


def follow(
    stub: assessment_pb2_grpc.AssessmentServiceStub, name: str, changes: list[tuple[float, assessment_pb2.Assessment]]
) -> None:
    """Note each change until the end; a caller whose stream breaks watches again."""
    give_up = time.monotonic() + 2 * _PATIENCE_SECONDS
    while time.monotonic() < give_up:
        try:
            for answer in stub.WatchAssessment(assessment_pb2.WatchAssessmentRequest(name=name)):
                update = answer.assessment
                if not changes or update.revision > changes[-1][1].revision:
                    changes.append((time.monotonic(), update))
                if update.end_time.seconds:
                    return
        except grpc.RpcError:
            time.sleep(0.5)


class Trial:
    """The processes of all trials, and one trial after another."""

    def __init__(self, folder: Path, server: PausablePostgreSQL) -> None:
        self.server = server
        server.rows("postgres", "CREATE DATABASE assessments")
        url = server.url("assessments")
        self.stages = {
            stage: Worker(folder, services, *(("--database-url", url) if "monitoring" in services else ()))
            for stage, services in STAGES.items()
        }
        for worker in self.stages.values():
            worker.wait_until_ready()
        addresses = {
            service: self.stages[stage].inner_address or self.stages[stage].address
            for stage, services in STAGES.items()
            for service in services.split(",")
        }
        settings = folder / "settings.yaml"
        settings.write_text(yaml.safe_dump({"addresses": addresses, "assessment_workers": 8}))
        self.worker = Worker(folder, "assessment", "--database-url", url, settings=settings)
        self.worker.wait_until_ready()
        study = self.stages["conversion"].address
        self.client = Client(self.worker.address, study_address=study, model_address=study)
        self.channel = grpc.insecure_channel(self.worker.address)
        self.stub = assessment_pb2_grpc.AssessmentServiceStub(self.channel)
        self.study = self.client.upload_study(ROOT / "examples" / "STS_032", lambda *_: None)
        self.order = Order("sts-petct")
        undisturbed = self.client.assess(self.study, self.order, lambda *_: None)
        self.expected = self.rows_of(undisturbed.name)

    def close(self) -> None:
        """End every process."""
        self.client.close()
        self.channel.close()
        for worker in (self.worker, *self.stages.values()):
            worker.thaw()
            stop_process(worker.process)

    def rows_of(self, name: str) -> Counter[str]:
        """How many rows each table has of an assessment, once its prediction is recorded where there is one."""
        identifier = name.removeprefix("assessments/")
        values = {"like": f"{identifier}%", "id": identifier, "name": name}
        waiting = "SELECT count(*) FROM dbos.workflow_status WHERE workflow_uuid LIKE %(like)s AND status = 'PENDING'"
        deadline = time.monotonic() + 60
        while self.server.rows("assessments", waiting, values)[0][0] and time.monotonic() < deadline:
            time.sleep(0.1)
        return Counter({table: self.server.rows("assessments", query, values)[0][0] for table, query in _ROWS})

    def held_in_each_stage(self) -> dict[str, str]:
        """Names of five new assessments, by the stage that each is held in."""
        held: dict[str, str] = {}
        for stage in reversed(STAGES):
            worker = self.stages[stage]
            if stage != "conversion":
                worker.freeze()
            name = self.client.create_assessment(self.study, self.order, str(uuid.uuid4())).name
            held[stage] = name
            wanted = f"ASSESSMENT_STAGE_{stage.upper()}"
            for answer in self.stub.WatchAssessment(assessment_pb2.WatchAssessmentRequest(name=name)):
                if assessment_pb2.AssessmentStage.Name(answer.assessment.stage) == wanted:
                    break
            # Asked for a study before; that is over now.
            worker.freeze()
        return held

    def run(self, kind: str, seconds: float) -> bool:
        """One trial; prints its lines."""
        held = self.held_in_each_stage()
        changes: dict[str, Changes] = {stage: [] for stage in held}
        threads = [
            threading.Thread(target=follow, args=(self.stub, name, changes[stage]), daemon=True)
            for stage, name in held.items()
        ]
        seen, ended = HealthSeen(), threading.Event()
        watcher = threading.Thread(target=watch_health, args=(self.worker.address, seen, ended), daemon=True)
        for thread in (*threads, watcher):
            thread.start()
        while not all(changes.values()):
            time.sleep(0.05)
        self.server.go_away(kind)
        away = time.monotonic()
        time.sleep(seconds / 3)
        for worker in self.stages.values():
            worker.thaw()
        time.sleep(max(away + seconds - time.monotonic(), 0))
        self.server.come_back(kind)
        back = time.monotonic()
        for thread in threads:
            thread.join(max(back + _PATIENCE_SECONDS - time.monotonic(), 0))
        while (serving_after := serving_again(seen, back)) is None and time.monotonic() < back + _PATIENCE_SECONDS:
            time.sleep(0.25)
        ended.set()
        watcher.join()
        not_serving = seen.first("NOT_SERVING", away)
        good = True
        for stage, name in held.items():
            end = changes[stage][-1][1]
            state = assessment_pb2.AssessmentState.Name(end.state).removeprefix("ASSESSMENT_STATE_")
            first = next((at - back for at, _ in changes[stage] if at > back), None)
            done = changes[stage][-1][0] - back
            twice = sum((self.rows_of(name) - self.expected).values()) if state == "SUCCEEDED" else -1
            lost = sum((self.expected - self.rows_of(name)).values()) if state == "SUCCEEDED" else -1
            followed = not_serving is not None and not_serving < seconds and serving_after is not None
            good = good and state == "SUCCEEDED" and twice == 0 and lost == 0 and followed
            print(
                f"{kind:7} {seconds:4.0f} s  {stage:13} {state:10} rows twice {twice} lacking {lost}  "
                f"progress after {_text(first)}  end after {_text(done)}  "
                f"NOT_SERVING after {_text(not_serving)}  SERVING after return {_text(serving_after)}",
                flush=True,
            )
        return good


def _text(seconds: float | None) -> str:
    return "  never" if seconds is None else f"{seconds:5.1f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[3.0, 15.0, 60.0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pause") as folder, pausable_postgresql(Path(folder)) as server:
        trial = Trial(Path(folder), server)
        try:
            results = [trial.run(kind, seconds) for seconds in arguments.seconds for kind in arguments.kinds]
        finally:
            trial.close()
    print(f"{sum(results)} of {len(results)} times everything went on by itself, five stages each time")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
