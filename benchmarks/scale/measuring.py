"""Measures what one study costs, on a real installation, one study after another.

CPU seconds come from the processes: each service runs in one of its own. A stage's waiting is its seconds less the
seconds that it computed and less those in which its threads were ready and had no core (Linux' schedstat), so that
other work on the machine does not count as waiting of ours. CPU seconds are not free of it: caches are shared.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import shutil
import statistics
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from oncoresponse.rpc.client import Client, Order

from benchmarks.scale.costs import StudyCosts, Work
from benchmarks.scale.installation import Installation, Meter, resident_mib
from benchmarks.scale.simulation import SERVICE_OF_STAGE
from benchmarks.scale.study_copies import write_copies
from benchmarks.served_process import ROOT

MODEL = "sts-petct"
GPU_NETWORK_SECONDS = 0.021
"""The five networks on 40 x 40 x 40 voxels on one NVIDIA H100, docs/segmentation.md; no whole study was timed there."""
CHILDREN_SHARE = 0.9
"""Of the CPU seconds of the features, in child processes: assumed."""
PIECES = {"segmentation": 64, "features": 6}
"""Threads of the networks, as many as there are cores; a lesion and its five variants, each in a child process."""
POLL_SECONDS = 0.1
IDLE_SECONDS = 10.0
AFTER_REPORT_SECONDS = 1.0
"""Until the record for monitoring is written, which no report waits for."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Reading:
    """CPU seconds, seconds of waiting for a core and bytes of files, by group of processes."""

    cpu: dict[str, float]
    ready: dict[str, float]
    read: dict[str, float]
    written: dict[str, float]

    @classmethod
    def of(cls, groups: Mapping[str, Sequence[int]]) -> _Reading:
        everyone = {name: [each for pid in ids for each in _tree(pid)] for name, ids in groups.items()}
        files = {name: [_bytes(pid) for pid in ids] for name, ids in everyone.items()}
        return cls(
            Meter(groups).read(),
            {name: sum(map(_ready_seconds, ids)) for name, ids in everyone.items()},
            {name: sum(each[0] for each in found) for name, found in files.items()},
            {name: sum(each[1] for each in found) for name, found in files.items()},
        )

    def since(self, earlier: _Reading) -> _Reading:
        return _Reading(
            *(
                {name: now[name] - before[name] for name in now}
                for now, before in (
                    (self.cpu, earlier.cpu),
                    (self.ready, earlier.ready),
                    (self.read, earlier.read),
                    (self.written, earlier.written),
                )
            )
        )


@dataclass(frozen=True)
class _Study:
    """One study: readings of its upload and of the rest, and seconds."""

    upload: _Reading
    assessment: _Reading
    upload_seconds: float
    seconds: float
    measured_for: float
    stages: dict[str, float]
    client_cpu: float


def _tree(pid: int) -> list[int]:
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _ready_seconds(pid: int) -> float:
    """Seconds that the threads of a process were ready and waited for a core; 0 where the kernel does not say."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[1])
        except (OSError, IndexError):
            continue
    return total / 1e9


def _bytes(pid: int) -> tuple[float, float]:
    try:
        counters = psutil.Process(pid).io_counters()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0, 0.0
    return float(counters.read_chars), float(counters.write_chars)


def stored(folder: Path) -> float:
    """Bytes of all files below."""
    return float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))


def _one(client: Client, folder: Path, groups: Mapping[str, Sequence[int]]) -> _Study:
    own, before = time.process_time(), _Reading.of(groups)
    begun = time.perf_counter()
    study = client.upload_study(folder, lambda *_: None)
    upload_seconds = time.perf_counter() - begun
    own_after, uploaded = time.process_time(), _Reading.of(groups)
    begun = time.perf_counter()
    created = client.create_assessment(study, Order(MODEL), str(uuid.uuid4()))
    assessment = client.watch(created.name, lambda *_: None)
    seconds = time.perf_counter() - begun
    time.sleep(AFTER_REPORT_SECONDS)
    after = _Reading.of(groups)
    return _Study(
        uploaded.since(before),
        after.since(uploaded),
        upload_seconds,
        seconds,
        time.perf_counter() - begun,
        dict(assessment.result.stage_seconds),
        own_after - own,
    )


def measure(installation: Installation, database: tuple[str, int], study: Path, count: int, say: Say) -> StudyCosts:
    """What a study costs.

    Args:
        installation: With one worker, and nothing else to do.
        database: URL and process id of PostgreSQL.
        study: The sample study.
        count: Studies that are measured, after two that warm everything up.
        say: Told what happens.
    """
    url, database_pid = database
    groups = {**installation.process_ids(), "database": [database_pid]}
    copies = installation.data.parent / "measured-copies"
    folders = write_copies(study, copies, 0, count + 2)
    sizes = [path.stat().st_size for path in folders[0].iterdir()]
    client = installation.client(0)
    studies: list[_Study] = []
    try:
        for number, folder in enumerate(folders[:2]):
            found = _one(client, folder, groups)
            say(f"  warm-up {number + 1}: {found.seconds:.1f} s")
        before = _Reading.of(groups)
        time.sleep(IDLE_SECONDS)
        idle = _Reading.of(groups).since(before)
        kept, rows = stored(installation.data), _database_counts(url)
        for number, folder in enumerate(folders[2:]):
            found = _one(client, folder, groups)
            studies.append(found)
            say(f"  study {number + 1}: upload {found.upload_seconds:.1f} s, report after {found.seconds:.1f} s")
        counts = {name: (value - rows[name]) / count for name, value in _database_counts(url).items()}
        kept = (stored(installation.data) - kept) / count
    finally:
        client.close()
        shutil.rmtree(copies, ignore_errors=True)
    say("  share of the networks in the CPU seconds of a segmentation")
    costs = _costs(studies, idle, network_share(study))
    return costs.model_copy(
        update={
            "study": study.name,
            "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
            "cores": os.cpu_count() or 1,
            "instances": len(sizes),
            "upload_bytes": float(sum(sizes)),
            "database_bytes": counts["bytes"],
            "database_rows": counts["rows"],
            "database_commits": counts["commits"],
            "log_bytes": counts["log_bytes"],
            "stored_bytes": {"images": float(sum(sizes)), "results": kept - sum(sizes)},
            "write_bytes_a_second": write_speed(installation.data),
            "resident_mib": {name: sum(map(resident_mib, ids)) for name, ids in groups.items()},
        }
    )


def _costs(studies: Sequence[_Study], rested: _Reading, network: float) -> StudyCosts:
    idle = {name: cpu / IDLE_SECONDS for name, cpu in rested.cpu.items()}
    idle_ready = {name: seconds / IDLE_SECONDS for name, seconds in rested.ready.items()}

    def waited(each: _Study, service: str) -> float:
        """Seconds for a core, those of threads that only look at the queue left out."""
        return max(0.0, each.assessment.ready[service] - idle_ready[service] * each.measured_for)

    def mean(value: Callable[[_Study], float]) -> float:
        return max(0.0, statistics.fmean(map(value, studies)))

    def median(value: Callable[[_Study], float]) -> float:
        return max(0.0, statistics.median(map(value, studies)))

    def stage_work(stage: str, service: str) -> Work:
        def cpu_of(each: _Study) -> float:
            return each.assessment.cpu[service] - idle[service] * each.measured_for

        cpu = mean(cpu_of)
        share = {"segmentation": network, "features": CHILDREN_SHARE}.get(stage, 0.0)
        pieces = PIECES.get(stage, 1)
        path = cpu * (1 - share) + cpu * share / min(pieces, os.cpu_count() or 1)

        def wait(each: _Study) -> float:
            # Threads that wait for a core side by side wait for one stretch of time.
            return each.stages[stage] - path - waited(each, service) * path / max(cpu, 1e-9)

        return Work(
            serial_cpu=cpu * (1 - share),
            parallel_cpu=cpu * share,
            pieces=pieces,
            wait=median(wait),
            read_bytes=mean(lambda each: each.assessment.read[service]),
            written_bytes=mean(lambda each: each.assessment.written[service]),
            gpu_seconds=GPU_NETWORK_SECONDS if stage == "segmentation" else None,
        )

    def rest(each: _Study) -> float:
        computed = sum(
            each.assessment.cpu[name] - idle[name] * each.measured_for + waited(each, name)
            for name in ("assessment", "database")
        )
        return each.seconds - sum(each.stages.values()) - computed - POLL_SECONDS / 2

    upload = Work(
        serial_cpu=mean(lambda each: each.upload.cpu["study"]),
        database_cpu=mean(lambda each: each.upload.cpu["database"] - idle["database"] * each.upload_seconds),
        wait=median(
            lambda each: (
                each.upload_seconds
                - max(each.upload.cpu["study"] + each.upload.cpu["database"], each.client_cpu)
                - each.upload.ready["study"]
            )
        ),
        read_bytes=mean(lambda each: each.upload.read["study"]),
        written_bytes=mean(lambda each: each.upload.written["study"]),
    )
    coordination = Work(
        serial_cpu=mean(lambda each: each.assessment.cpu["assessment"] - idle["assessment"] * each.measured_for),
        database_cpu=mean(lambda each: each.assessment.cpu["database"] - idle["database"] * each.measured_for),
        wait=median(rest),
        written_bytes=mean(lambda each: each.assessment.written["assessment"]),
    )
    others = ("model", "monitoring")
    return StudyCosts(
        client_cpu=mean(lambda each: each.client_cpu),
        upload=upload,
        stages={stage: stage_work(stage, service) for stage, service in SERVICE_OF_STAGE.items()},
        coordination=coordination,
        other=Work(
            serial_cpu=mean(
                lambda each: sum(each.assessment.cpu[name] - idle[name] * each.measured_for for name in others)
            )
        ),
        idle_worker_cpu=idle["assessment"],
        idle_database_cpu=idle["database"],
        poll_seconds=POLL_SECONDS,
    )


def _database_counts(url: str) -> dict[str, float]:
    with psycopg.connect(url, autocommit=True) as connection:

        def one(statement: str) -> float:
            row = connection.execute(statement).fetchone()
            return float(row[0]) if row and row[0] is not None else 0.0

        return {
            "rows": one("SELECT sum(n_tup_ins) FROM pg_stat_user_tables"),
            "commits": one("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"),
            "bytes": one("SELECT pg_database_size(current_database())"),
            "log_bytes": one("SELECT pg_current_wal_lsn() - '0/0'"),
        }


def write_speed(folder: Path, files: int = 32, size: int = 256 * 1024) -> float:
    """Bytes a second of a disk, for files of 256 KiB each of which is on the disk before the next is begun."""
    data, target = os.urandom(size), folder / "write-speed"
    target.mkdir()
    begun = time.perf_counter()
    for number in range(files):
        with (target / str(number)).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    seconds = time.perf_counter() - begun
    shutil.rmtree(target)
    return files * size / seconds


def network_share(study: Path) -> float:
    """Share of the networks in the CPU seconds of segmenting a study, measured in a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_network_share, args=(study, sender))
    process.start()
    sender.close()
    try:
        share = float(receiver.recv())
    except EOFError:
        raise SystemExit("the share of the networks could not be measured") from None
    process.join()
    return share


def _network_share(study: Path, answer: Any) -> None:
    import torch
    from oncoresponse.dicom.study import convert_study, read_study
    from oncoresponse.model.folder import ModelFolder
    from oncoresponse.segmentation.inference import Segmenter
    from oncoresponse.segmentation.input_images import InputImages

    model = ModelFolder.open(ROOT / "models" / MODEL)
    segmenter = Segmenter.open(model, "cpu")
    images = InputImages(convert_study(read_study(study), model.imaging.inputs).volumes, "PT")
    inside, begun = [0.0], [0.0]

    def enter(*_: object) -> None:
        begun[0] = time.process_time()

    def leave(*_: object) -> None:
        inside[0] += time.process_time() - begun[0]

    for network in segmenter._networks:
        if isinstance(network, torch.nn.Module):
            network.register_forward_pre_hook(enter)
            network.register_forward_hook(leave)
    shares = []
    for _ in range(4):
        inside[0], all_begun = 0.0, time.process_time()
        segmenter.segment(images)
        shares.append(inside[0] / (time.process_time() - all_begun))
    answer.send(statistics.median(shares[1:]))
