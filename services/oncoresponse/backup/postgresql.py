"""PostgreSQL databases: dumped and restored by PostgreSQL's own programs, pg_dump and pg_restore."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from oncoresponse.errors import BackupSourceInvalid, ConfigurationError, PeerUnavailable, RestoreTargetNotEmpty
from oncoresponse.storage.database_engine import RESTORING_SCHEMA, libpq_url

PIECE_BYTES = 16 * 1024**2
_OF_POSTGRESQL = "nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'"
_RELATIONS = (
    f"SELECT count(*) FROM pg_class JOIN pg_namespace ON relnamespace = pg_namespace.oid WHERE {_OF_POSTGRESQL}"  # noqa: S608
)
_SCHEMAS = f"SELECT nspname FROM pg_namespace WHERE {_OF_POSTGRESQL}"  # noqa: S608


class Dump:
    """A database as it is at one moment.

    Attributes:
        size_bytes: Of the database; its dump is smaller.
        schemas: Number of the schema by area.
    """

    def __init__(self, url: str, snapshot: str, size_bytes: int, schemas: dict[str, int], program: str) -> None:
        self._url, self._snapshot, self._program = url, snapshot, program
        self.size_bytes, self.schemas = size_bytes, schemas

    def pieces(self) -> Iterator[bytes]:
        """The dump, in pieces.

        Raises:
            BackupSourceInvalid: pg_dump has failed.
        """
        arguments = ("--format=custom", f"--snapshot={self._snapshot}", "--no-owner", "--no-privileges")
        process = _started(self._program, self._url, arguments, stdout=subprocess.PIPE)
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            while piece := process.stdout.read(PIECE_BYTES):
                yield piece
            said = process.stderr.read().decode(errors="replace") if process.stderr else ""
            if process.wait():
                raise BackupSourceInvalid(_meaning("pg_dump", process.returncode, said))
        finally:
            _end(process)


@contextmanager
def dump_of_now(url: str, programs: Path | None) -> Iterator[Dump]:
    """The database as it is now; what others write meanwhile is not in it, and they do not wait.

    Raises:
        ConfigurationError: There is no pg_dump.
        PeerUnavailable: The database does not answer.
    """
    program = _program("pg_dump", programs)
    with _connected(url) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        (snapshot,) = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
        (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone() or (0,)
        rows = connection.execute("SELECT area, version FROM oncoresponse_schema").fetchall()
        yield Dump(url, snapshot, int(size), {str(area): int(version) for area, version in rows}, program)


def require_empty(url: str) -> None:
    """Refuse a database that holds tables.

    Raises:
        RestoreTargetNotEmpty: It holds some.
        PeerUnavailable: It does not answer.
    """
    with _connected(url) as connection:
        (count,) = connection.execute(_RELATIONS).fetchone() or (1,)
        if count:
            raise RestoreTargetNotEmpty("The database to restore to holds tables. Give a new, empty database.")


@contextmanager
def restoring(url: str) -> Iterator[None]:
    """Mark a database that is empty: no server starts on it before this ends well. Where it does not, it is emptied."""
    with _connected(url) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(RESTORING_SCHEMA)))
    try:
        yield
    except BaseException:
        _empty(url)
        raise
    with _connected(url) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(RESTORING_SCHEMA)))


def load(url: str, parts: list[Path], programs: Path | None) -> None:
    """Restore a dump into an empty database, whole or not at all.

    Raises:
        BackupSourceInvalid: pg_restore has failed.
        ConfigurationError: There is no pg_restore.
    """
    arguments = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    process = _started(_program("pg_restore", programs), url, arguments, stdin=subprocess.PIPE)
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    try:
        try:
            with process.stdin as into:
                for part in parts:
                    with part.open("rb") as file:
                        shutil.copyfileobj(file, into, 1024**2)
        except BrokenPipeError:
            # It has ended; its status says why.
            pass
        said = process.stderr.read().decode(errors="replace") if process.stderr else ""
        if process.wait():
            raise BackupSourceInvalid(_meaning("pg_restore", process.returncode, said))
    finally:
        _end(process)


def _empty(url: str) -> None:
    with _connected(url) as connection:
        for (schema,) in connection.execute(_SCHEMAS).fetchall():
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
        connection.execute("CREATE SCHEMA public")


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection]:
    try:
        connection = psycopg.connect(libpq_url(url), autocommit=True)
    except psycopg.OperationalError as error:
        raise PeerUnavailable("The database does not answer. Check that it runs and that its URL is right.") from error
    with connection:
        yield connection


def _program(name: str, folder: Path | None) -> str:
    found = shutil.which(name, path=None if folder is None else str(folder))
    if found is None:
        raise ConfigurationError(
            f"{name} is not on the PATH. Install the client programs of PostgreSQL, of the version of the server or a "
            "newer one, or say where they are (--postgresql-programs)."
        )
    return found


def _started(
    program: str, url: str, arguments: tuple[str, ...], *, stdin: int = subprocess.DEVNULL, stdout: int | None = None
) -> subprocess.Popen[bytes]:
    # A password on the command line could be read by everybody on this machine.
    parameters = {key: value for key, value in conninfo_to_dict(libpq_url(url)).items() if value is not None}
    password = parameters.pop("password", None)
    environment = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
    command = [program, f"--dbname={make_conninfo('', **parameters)}", "--no-password", *arguments]
    return subprocess.Popen(
        command, stdin=stdin, stdout=stdout or subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )


def _meaning(program: str, status: int, said: str) -> str:
    """In words of ours: what the program says quotes rows."""
    if "server version" in said:
        return f"{program} is older than the server of the database. Install the client programs of its version."
    if "unsupported version" in said:
        return f"{program} is older than the one that wrote the backup. Install a newer one."
    if "permission denied" in said:
        return f"{program} may not do what it has to in this database. Give the owner of the database in the URL."
    return f"{program} has failed (status {status}). Look at the log of the database."


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None and not pipe.closed:
            pipe.close()
