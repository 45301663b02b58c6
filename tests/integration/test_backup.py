"""A backup that is taken while the server works, restored elsewhere: what was there, and not who was erased since."""

import hashlib
import os
import re
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
import time
import uuid
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from oncoresponse.backup.encryption import decrypted, read_identities
from oncoresponse.rpc.administration_client import AdministrationClient
from oncoresponse.storage.database_engine import libpq_url
from oncoresponse.storage.inventory import FILES, TABLES, Kind, kept_file
from oncoresponse.v1 import administration_pb2, assessment_pb2, study_pb2

from tests.integration.planted_search import places
from tests.integration.test_patient_erasure import (  # noqa: F401 - a fixture
    ORDER,
    OTHER,
    PATIENT_ID,
    _leave_unfinished,
    erase,
    planted_study,
    planted_values,
)

ROOT = Path(__file__).parents[2]


# On two busy cores a server takes more than a minute to start.
pytestmark = pytest.mark.timeout(900)


def silent(_message: str, _fraction: float) -> None:
    return None


def oncoresponse(*arguments, environment=None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "oncoresponse.cli.main", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **(environment or {})}, timeout=240
    )


def done(*arguments, environment=None) -> str:
    found = oncoresponse(*arguments, environment=environment)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout + found.stderr


class Installation:
    """A data folder, with a database of PostgreSQL or without, and the server that runs on it."""

    def __init__(self, folder, start, programs, url="") -> None:
        self.programs = ("--postgresql-programs", programs)
        self.folder, self.data, self.url, self._start = folder, folder / "data", url, start
        models = folder / "models"
        models.mkdir()
        (models / "sts-petct").symlink_to(ROOT / "models" / "sts-petct")
        self.settings = folder / "settings.yaml"
        lines = [f"data_directory: {self.data}", f"models_directory: {models}", "garbage_after_seconds: 3"]
        self.settings.write_text("\n".join([*lines, *([f"database_url: {url}"] if url else [])]) + "\n")
        (folder / "tmp").mkdir()

    def start(self) -> AdministrationClient:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", str(self.folder / "tmp"))
            # The harness keeps its log there, where a restore wants nothing.
            self.server = self._start("--listen", "127.0.0.1:0", "--data-dir", str(self.data), settings=self.settings)
        self.client = AdministrationClient(self.server.wait_until_ready())
        return self.client

    def back_up(self, to, recipient) -> str:
        return done("backup", "--settings", self.settings, "--to", to, "--recipient", recipient, *self.programs)

    def restore(self, file, identity, *more) -> str:
        return done("restore", file, "--settings", self.settings, "--identity", identity, *self.programs, *more)

    def tables(self) -> dict[str, list]:
        """All rows of all tables."""
        found = {}
        for path in self.data.rglob("*.sqlite"):
            with closing(sqlite3.connect(path)) as connection:
                for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    rows = connection.execute(f"SELECT * FROM {name}").fetchall()  # noqa: S608
                    found.setdefault(name, []).extend(map(str, rows))
        if self.url:
            with psycopg.connect(libpq_url(self.url)) as connection:
                query = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'dbos')"
                for schema, name in connection.execute(query).fetchall():
                    rows = connection.execute(f'SELECT t::text FROM "{schema}"."{name}" t').fetchall()  # noqa: S608
                    found.setdefault(name, []).extend(row[0] for row in rows)
        return {name: sorted(rows) for name, rows in found.items()}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Files of a private key and its public one."""
    folder = tmp_path_factory.mktemp("keys")
    done("backup-key", "--identity", folder / "identity", "--recipient", folder / "recipient")
    return folder / "identity", folder / "recipient"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def make(request, serve_for_module, tmp_path_factory, postgresql_programs):
    """Makes an installation on an empty folder, and an empty database of the kind."""

    def make(name: str) -> Installation:
        url = ""
        if request.param == "postgresql":
            server = request.getfixturevalue("postgresql")
            database = f"{name}_{time.time_ns()}"
            server.psql(f"CREATE DATABASE {database};")
            url = server.get_uri(database)
        return Installation(tmp_path_factory.mktemp(name), serve_for_module, postgresql_programs, url)

    return make


@pytest.fixture(scope="module")
def source(make):
    """One that works."""
    installation = make("source")
    installation.start()
    yield installation
    installation.client.close()


def members(file, identity) -> dict[str, str]:
    """SHA-256 of each member."""
    found = {}
    with decrypted(file, read_identities(identity)) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for info in tar:
            found[info.name] = hashlib.sha256(tar.extractfile(info).read()).hexdigest()
    return found


def downloaded(client, assessment, folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in client.download_artifacts(assessment, folder)}


def hidden(folder) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".") and path.name != ".oncoresponse-backup"]


def test_a_backup_under_load_is_restored_and_the_work_goes_on(source, make, keys, examples, tmp_path):
    identity, recipient = keys
    client = source.client
    study = client.upload_study(examples / "STS_019", silent)
    finished = client.assess(study, OTHER, silent)
    reports = downloaded(client, finished, tmp_path / "before")
    assert "report.json" in reports and "report.pdf" in reports
    _leave_unfinished(client, examples / "STS_032" / "PET")
    waiting = [client.create_assessment(study, OTHER, str(uuid.uuid4())).name for _ in range(5)]

    stopped, created = threading.Event(), []

    def load() -> None:
        other = AdministrationClient(source.server.address)
        while not stopped.is_set() and len(created) < 40:
            created.append(other.create_assessment(study, OTHER, str(uuid.uuid4())).name)
            stopped.wait(0.2)
        other.close()

    thread = threading.Thread(target=load)
    thread.start()
    file = tmp_path / "backup.age"
    said = source.back_up(file, recipient)
    stopped.set()
    thread.join()
    assert created
    assert "backup: 100 %" in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert PATIENT_ID not in said and "STS_019" not in said
    for name in created:
        client.cancel(name)

    target = make("target")
    said = target.restore(file, identity, "--erasures", source.data / "erasures.jsonl")
    assert "Erased again: 0 patients, 0 studies, 0 assessments" in said and "Missing" not in said
    assert stat.S_IMODE(target.data.stat().st_mode) == 0o700
    assert hidden(target.folder) == [] and not (target.data / "backup").exists()

    there = target.start()
    again = there.watch(finished.name, silent)
    assert downloaded(there, again, tmp_path / "after") == reports
    for name in waiting:
        assert there.watch(name, silent).state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    # What was open is sent on, and what is new is taken.
    assert there.assess(study, OTHER, silent).state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    there.close()
    target.server.stop()
    verified = ("--data-dir", target.data, *(("--database-url", target.url) if target.url else ()))
    assert "in one chain" in done("audit", "verify", *verified)
    assert "oncoresponse restore" in done("audit", "list", *verified)


def test_who_was_erased_after_the_backup_is_not_there_after_the_restore(
    source,
    make,
    keys,
    planted_study,  # noqa: F811
    examples,
    tmp_path,
):
    identity, recipient = keys
    client = source.client
    files, uids = planted_study
    values = planted_values(files, uids)
    values.remove("Zquorx comment of the physician")
    others = client.upload_study(examples / "STS_019", silent)
    other = client.assess(others, OTHER, silent)
    gone = client.assess(others, OTHER, silent)
    study = client.upload_study(files, silent)
    client.assess(study, ORDER, silent)
    client.create_assessment(study, ORDER, str(uuid.uuid4()))
    _leave_unfinished(client, files)
    deleted = client.upload_study(examples / "STS_032_MR", silent)
    file = tmp_path / "backup.age"
    source.back_up(file, recipient)
    assert erase(client)[0].counts.studies == 2
    client._studies.DeleteStudy(study_pb2.DeleteStudyRequest(name=deleted.name))
    ask, request_id = administration_pb2.DeleteAssessmentRequest, str(uuid.uuid4())
    plan = client.delete_assessment(ask(name=gone.name, dry_run=True, request_id=request_id))
    client.delete_assessment(ask(name=gone.name, confirmation=plan.confirmation, request_id=request_id))
    register = source.data / "erasures.jsonl"
    assert places([register.parent], values) == {} and stat.S_IMODE(register.stat().st_mode) == 0o600

    # Without the register they are back, which has to be said.
    back = make("back")
    refused = oncoresponse("restore", file, "--settings", back.settings, "--identity", identity)
    assert refused.returncode == 1 and "CONFIGURATION_INVALID" in refused.stderr and not back.data.exists()
    said = back.restore(file, identity, "--without-erasures")
    assert "THE REGISTER OF ERASURES IS MISSING" in said
    assert _found(back, values) == set(values)
    # One that begins later knows nothing of what was erased before.
    late = tmp_path / "late.jsonl"
    late.write_text(re.sub(r'"time":"\d{4}', '"time":"2199', register.read_text()))
    command = ("restore", file, "--settings", make("late").settings, "--identity", identity, "--erasures", late)
    refused = oncoresponse(*command, *back.programs)
    assert refused.returncode == 1 and "begins after the backup" in refused.stderr

    target = make("target")
    said = target.restore(file, identity, "--erasures", register)
    assert "Erased again: 1 patients, 3 studies, 3 assessments, 0 orders." in said
    assert PATIENT_ID not in said and "Missing" not in said
    assert _found(target, values) == set()
    # The register goes on, so that the next restore knows too.
    assert set(register.read_text().splitlines()) <= set((target.data / "erasures.jsonl").read_text().splitlines())

    # The audit record names what there was, by law.
    rows = {name: table for name, table in target.tables().items() if name != "audit_event"}
    for gone_name in (study.name, deleted.name, gone.name):
        assert not any(gone_name.split("/")[1] in row for table in rows.values() for row in table)
    assert any(other.name.split("/")[1] in row for row in rows["chart_assessment"])
    # Who was not meant has lost nothing, and nothing is left that belongs to nobody.
    stored = {path.name for path in (target.data / "artifacts").glob("??/??/*")}
    assert {each.sha256 for each in other.result.artifacts.values()} <= stored
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (examples / "STS_032_MR").rglob("*.dcm")}
    assert digests and not digests & stored


def test_everything_of_the_inventory_is_in_a_backup(source, make, keys, examples, tmp_path):
    identity, recipient = keys
    done("users", "add", "ward", "--role", "read", "--data-dir", source.data)
    done("users", "revoke", "--subject", "somebody", "--data-dir", source.data)
    (source.data / "edges").mkdir(exist_ok=True)
    (source.data / "edges" / "open-studies").write_text("{}")
    _leave_unfinished(source.client, examples / "STS_032" / "PET")
    _wait_until_idle(source.client)
    source.client.close()
    source.server.stop()
    file = tmp_path / "backup.age"
    source.back_up(file, recipient)
    found = members(file, identity)

    files = {str(path.relative_to(source.data)): path for path in source.data.rglob("*") if path.is_file()}
    databases = {"oncoresponse.sqlite", "studies/studies.sqlite", "audit.sqlite"}
    to_be_there = {name for name in files if (kept := kept_file(name)) and kept.backed_up}
    in_tables = {name for name in to_be_there if re.search(r"\.sqlite(-wal|-shm|-journal)?$", name)}
    for name in to_be_there - in_tables:
        member = f"artifacts/{name[-64:]}" if name.startswith("artifacts/") else f"data/{name}"
        assert found[member] == hashlib.sha256(files[name].read_bytes()).hexdigest()
    # Each pattern that a backup has to hold was tried.
    patterns = [pattern for pattern, kept in FILES.items() if kept.backed_up]
    assert [each for each in patterns if not any(re.fullmatch(each, name) for name in [*files, *databases])] == []
    extra = {name for name in found if not name.startswith(("artifacts/", "data/", "databases/"))}
    assert extra == {"header.json", "manifest.json"}

    target = make("target")
    before = source.tables()
    target.restore(file, identity, "--erasures", source.data / "erasures.jsonl")
    after = target.tables()
    assert set(after) == set(before) <= set(TABLES)
    for name in before:
        if TABLES[name].retention is Kind.AUDIT:
            # The restore itself is in the record.
            assert after[name][: len(before[name])] and set(before[name]) < set(after[name])
        elif name == "administration_daily_task":
            assert after[name] == []
        else:
            assert after[name] == before[name], name
    for name in to_be_there - in_tables - {"erasures.jsonl"}:
        if not name.startswith("artifacts/"):
            assert (target.data / name).read_bytes() == files[name].read_bytes(), name
    assert {path.name for path in (target.data / "artifacts").glob("??/??/*")} <= {
        path.name for path in (source.data / "artifacts").glob("??/??/*")
    }
    assert done("restore", "--check", file, "--identity", identity).count("Whole.") == 1


def _found(installation, values) -> set[str]:
    """Which values stand in a file or a table."""
    rows = "\n".join(row for rows in installation.tables().values() for row in rows)
    return set(places([installation.data], values)) | {value for value in values if value in rows}


def _wait_until_idle(client) -> None:
    deadline = time.monotonic() + 180
    while True:
        page = client._assessments.ListAssessments(assessment_pb2.ListAssessmentsRequest(page_size=100))
        open_ones = [
            each
            for each in page.assessments
            if each.state in (assessment_pb2.ASSESSMENT_STATE_QUEUED, assessment_pb2.ASSESSMENT_STATE_RUNNING)
        ]
        if not open_ones:
            return
        assert time.monotonic() < deadline
        time.sleep(0.2)
