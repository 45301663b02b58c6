"""What one study costs: CPU seconds, seconds of waiting, bytes and rows, stage by stage."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

MEASURED = Path(__file__).with_name("measured.json")
"""The measurement that the tables of docs/scaling.md are made from."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Work(_Document):
    """What one step of a study asks for.

    Attributes:
        serial_cpu: CPU seconds of one thread of the process, which works on one study at a time by them.
        parallel_cpu: CPU seconds that threads or child processes share.
        pieces: How many of them can be at work for one study at the same time.
        wait: Seconds in which nothing is computed and no core is waited for: round trips, the disk's answer.
        database_cpu: CPU seconds of PostgreSQL.
        read_bytes, written_bytes: Of the store.
        gpu_seconds: What stands in for ``parallel_cpu`` where there is a GPU; ``None``: nothing does.
    """

    serial_cpu: float = 0.0
    parallel_cpu: float = 0.0
    pieces: int = 1
    wait: float = 0.0
    database_cpu: float = 0.0
    read_bytes: float = 0.0
    written_bytes: float = 0.0
    gpu_seconds: float | None = None

    @property
    def cpu(self) -> float:
        """CPU seconds of the service."""
        return self.serial_cpu + self.parallel_cpu

    def times(self, cpu: float, volume: float) -> Work:
        """The same with other CPU seconds and bytes."""
        return self.model_copy(
            update={
                "serial_cpu": self.serial_cpu * cpu,
                "parallel_cpu": self.parallel_cpu * cpu,
                "database_cpu": self.database_cpu * cpu,
                "read_bytes": self.read_bytes * volume,
                "written_bytes": self.written_bytes * volume,
            }
        )


class StudyCosts(_Document):
    """One study, from the first byte of its upload to its report.

    Attributes:
        study: Which.
        machine, cores: Where it was measured.
        instances, upload_bytes: What is sent.
        client_cpu: CPU seconds of the sender.
        upload: In the study service.
        stages: By name, in their order.
        coordination: In the worker: taking the request, the steps of the workflow, the index.
        other: The services of models and monitoring; no report waits for them.
        database_bytes, database_rows, database_commits, log_bytes: What PostgreSQL keeps of a study, transactions (also
            those by which workers looked at the queue meanwhile), and bytes of its write-ahead log.
        stored_bytes: What the store keeps, by kind.
        idle_worker_cpu, idle_database_cpu: Cores that a worker with nothing to do keeps busy, itself and in PostgreSQL.
        poll_seconds: Between two looks of a worker at the queue.
        write_bytes_a_second: The store's disk, file by file as the store writes.
        resident_mib: Memory by service.
    """

    study: str = ""
    machine: str = ""
    cores: int = 2
    instances: int = 0
    upload_bytes: float = 0.0
    client_cpu: float = 0.0
    upload: Work = Work()
    stages: dict[str, Work] = {}
    coordination: Work = Work()
    other: Work = Work()
    database_bytes: float = 0.0
    database_rows: float = 0.0
    database_commits: float = 0.0
    log_bytes: float = 0.0
    stored_bytes: dict[str, float] = {}
    idle_worker_cpu: float = 0.0
    idle_database_cpu: float = 0.0
    poll_seconds: float = 0.1
    write_bytes_a_second: float = 0.0
    resident_mib: dict[str, float] = {}

    @classmethod
    def read(cls, path: Path = MEASURED) -> StudyCosts:
        """What was measured before."""
        return cls.model_validate_json(path.read_bytes())

    @property
    def works(self) -> tuple[Work, ...]:
        """Everything that a study asks for."""
        return (self.upload, *self.stages.values(), self.coordination, self.other)

    @property
    def database_cpu(self) -> float:
        """CPU seconds of PostgreSQL."""
        return sum(work.database_cpu for work in self.works)

    @property
    def server_cpu(self) -> float:
        """CPU seconds of a study in all services and the database."""
        return sum(work.cpu for work in self.works) + self.database_cpu
