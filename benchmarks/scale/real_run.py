"""Studies an hour of real processes: clients that send a study, wait for its report and send the next one."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.client import Order

from benchmarks.scale.installation import Installation, Meter, machine_cpu_seconds
from benchmarks.scale.measuring import MODEL
from benchmarks.scale.study_copies import write_copies

Say = Callable[[str], None]


@dataclass(frozen=True)
class RealRun:
    """What was measured.

    Attributes:
        workers: Processes that ran assessments.
        reports: How many came.
        seconds: From the first upload to the last report.
        seconds_to_report: Of each assessment, from the request to the report.
        cpu: CPU seconds of all studies, by service, and of the clients.
        others: Cores that other work on the machine used meanwhile.
    """

    workers: int
    reports: int
    seconds: float
    seconds_to_report: tuple[float, ...]
    cpu: dict[str, float]
    others: float

    @property
    def an_hour(self) -> float:
        """Reports an hour."""
        return 3600.0 * self.reports / self.seconds


def clients_of(workers: int, assessment_workers: int) -> int:
    """So many that each place of a worker has one study at work and one that waits."""
    return 2 * workers * assessment_workers


def real_run(
    installation: Installation,
    database_pid: int,
    study: Path,
    *,
    studies: int,
    clients: int,
    first: int,
    say: Say,
) -> RealRun:
    """Let clients do a number of studies with all workers that there are.

    Args:
        installation: Warm.
        database_pid: Process id of PostgreSQL.
        study: The sample study, of which every copy differs.
        studies: How many.
        clients: At the same time.
        first: Number of the first copy; no two studies of an installation have the same.
        say: Told what happens.

    Raises:
        SystemExit: An assessment failed.
    """
    folders = write_copies(study, installation.data.parent / "copies", first, studies)
    meter = Meter({**installation.process_ids(), "database": [database_pid]})
    workers = len(installation.workers)
    lock, seconds, failed = threading.Lock(), [], list[OncoResponseError]()
    waiting = list(folders)

    def work(number: int) -> None:
        client = installation.client(number % workers)
        try:
            while True:
                with lock:
                    if not waiting or failed:
                        return
                    folder = waiting.pop()
                uploaded = client.upload_study(folder, lambda *_: None)
                begun = time.perf_counter()
                client.watch(client.create_assessment(uploaded, Order(MODEL), str(uuid.uuid4())).name, lambda *_: None)
                took = time.perf_counter() - begun
                with lock:
                    seconds.append(took)
                    say(f"  {workers} workers: report {len(seconds)} of {studies} after {took:.1f} s")
        except OncoResponseError as error:
            failed.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    before, own, machine = meter.read(), time.process_time(), machine_cpu_seconds()
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed = time.perf_counter() - begun
    if failed:
        raise SystemExit(f"an assessment failed: {failed[0].message}")
    after, own, machine = meter.read(), time.process_time() - own, machine_cpu_seconds() - machine
    cpu = {name: after[name] - before[name] for name in after} | {"clients": own}
    others = max(0.0, (machine - sum(cpu.values())) / passed)
    return RealRun(workers, len(seconds), passed, tuple(seconds), cpu, min(others, float(os.cpu_count() or 1)))
