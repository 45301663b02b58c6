"""A backup of a small data folder: whole, cut off, changed, for another key, of a newer release, on a full disk."""

import datetime
import io
import json
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import tarfile
import time
from contextlib import closing

import oncoresponse
import pyrage
import pytest
from oncoresponse.backup import postgresql
from oncoresponse.backup.encryption import encrypt, make_key_pair, read_identities, read_recipients
from oncoresponse.backup.restoring import check_backup, restore_backup
from oncoresponse.backup.writing import write_backup
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.audit_store import AuditStore, PatientDigests
from oncoresponse.storage.chart_store import AssessmentRow, ChartStore, Subject
from oncoresponse.storage.database_engine import require_restored
from oncoresponse.storage.erasure_store import ErasureStore
from oncoresponse.storage.study_reservation import StudyQuota
from oncoresponse.storage.study_store import StudyStore

PHRASE = b"what nobody may read without the key"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    make_key_pair(folder / "identity", folder / "recipient")
    return folder / "identity", read_recipients(folder / "recipient"), read_identities(folder / "identity")


def settings_of(folder, **more) -> ServerSettings:
    return ServerSettings(data_directory=folder, models_directory=folder.parent / "models", **more)


def fill(data, url="", artifact_url="") -> ServerSettings:
    """What a server makes at its start, with some content."""
    settings = settings_of(data, database_url=url, artifact_url=artifact_url)
    data.mkdir(mode=0o700)
    artifacts = ArtifactStore(artifact_url or str(data / "artifacts"))
    StudyStore(data, artifacts, StudyQuota()).create("7a0f3a4e-6a27-4f0e-9c1b-0a7d1c9d2b22")
    for number in range(20):
        artifacts.put_bytes(PHRASE + os.urandom(20_000) + bytes([number]), "application/octet-stream")
    chart = ChartStore(settings.system_database_url)
    chart.prepare()
    chart.add([AssessmentRow("a-1", 1000, "studies/1", "models/m")], Subject())
    ErasureStore(chart._engine, "w").prepare()
    chart.close()
    digests = PatientDigests(data / "secrets" / "audit.key")
    AuditStore(settings.system_audit_database_url, digests).close()
    return settings


@pytest.fixture(scope="module")
def made(tmp_path_factory, keys):
    """A data folder, and a backup of it."""
    folder = tmp_path_factory.mktemp("made")
    settings = fill(folder / "data")
    written = write_backup(settings, folder / "backup.age", keys[1])
    assert written.manifest.artifacts == 20 and written.manifest.unknown_files == 0
    return settings, folder / "backup.age"


def nothing(_settings, _contents) -> None:
    return None


def everything(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(folder, file, identities, **more) -> OncoResponseError:
    """The error of a restore, which leaves nothing behind; the check says the same."""
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(OncoResponseError) as caught:
        restore_backup(file, identities, settings_of(folder / "new"), nothing, **more)
    assert sorted(path.name for path in folder.iterdir()) == before
    return caught.value


def test_it_is_restored_as_it_was_and_nobody_reads_it_without_the_key(made, keys, tmp_path):
    settings, file = made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert PHRASE not in file.read_bytes() and b"SQLite format" not in file.read_bytes()
    done = restore_backup(file, keys[2], settings_of(tmp_path / "new"), nothing)
    assert done.missing_artifacts == 0
    before, after = everything(settings.data_directory), everything(tmp_path / "new")
    of_databases = {name for name in before if ".sqlite" in name}
    of_processes = {name for name in before if name.startswith(("artifacts/scratch", "studies/copies", "backup/"))}
    assert {name: before[name] for name in before.keys() - of_databases - of_processes} == {
        name: data for name, data in after.items() if ".sqlite" not in name and "/scratch/" not in name
    }
    with closing(sqlite3.connect(tmp_path / "new" / "oncoresponse.sqlite")) as connection:
        assert connection.execute("SELECT assessment FROM chart_assessment").fetchall() == [("a-1",)]
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in (tmp_path / "new").rglob("*"))
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_it_is_a_tar_in_an_age_file(made, keys):
    """So that it can be read without OncoResponse: age --decrypt, tar."""
    text = pyrage.decrypt(made[1].read_bytes(), keys[2])
    with tarfile.open(fileobj=io.BytesIO(text)) as tar:
        names = tar.getnames()
        assert names[0] == "header.json" and names[-1] == "manifest.json"
        manifest = json.load(tar.extractfile("manifest.json"))
        assert set(manifest["members"]) | {names[0], names[-1]} == {
            name for name in names if not name.startswith("artifacts/")
        }


@pytest.mark.parametrize("share", [0.0, 0.0002, 0.01, 0.3, 0.7, 0.999])
def test_one_that_is_cut_off_is_refused(made, keys, tmp_path, share):
    file = tmp_path / "cut"
    whole = made[1].read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    error = refused(tmp_path, file, keys[2])
    assert error.reason == "BACKUP_DAMAGED" and "Nothing was restored" in error.message
    with pytest.raises(OncoResponseError, match="cut off"):
        check_backup(file, keys[2])


def test_one_that_ends_at_the_border_of_a_block_of_the_encryption_is_refused(made, keys, tmp_path):
    whole = made[1].read_bytes()
    start = whole.index(b"\n", whole.index(b"\n---") + 1) + 1 + 16
    file = tmp_path / "cut"
    for blocks in (1, 4):
        file.write_bytes(whole[: start + blocks * (65_536 + 16)])
        assert refused(tmp_path, file, keys[2]).reason == "BACKUP_DAMAGED"


@pytest.mark.parametrize("share", [0.0, 0.0004, 0.002, 0.5, 0.9, 0.99999])
def test_one_that_was_changed_is_refused(made, keys, tmp_path, share):
    changed = bytearray(made[1].read_bytes())
    changed[int(len(changed) * share)] ^= 1
    file = tmp_path / "changed"
    file.write_bytes(changed)
    assert refused(tmp_path, file, keys[2]).reason in ("BACKUP_DAMAGED", "BACKUP_KEY_WRONG")


def test_the_wrong_key_is_named_as_the_cause(made, tmp_path):
    assert refused(tmp_path, made[1], [pyrage.x25519.Identity.generate()]).reason == "BACKUP_KEY_WRONG"


def test_what_is_no_backup_is_refused(keys, tmp_path):
    file = tmp_path / "file"
    for content in (b"", b"hello" * 1000, pyrage.encrypt(b"hello" * 1000, keys[1]), pyrage.encrypt(b"", keys[1])):
        file.write_bytes(content)
        assert refused(tmp_path, file, keys[2]).reason == "BACKUP_DAMAGED"


def repacked(file, keys, change) -> bytes:
    """The members of a backup, changed by who has the key, encrypted again."""
    text, out = pyrage.decrypt(file.read_bytes(), keys[2]), io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(text)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for info in old.getmembers():
            data = old.extractfile(info).read()
            for name, content in change(info.name, data):
                info.name, info.size = name, len(content)
                new.addfile(info, io.BytesIO(content))
    return pyrage.encrypt(out.getvalue(), keys[1])


@pytest.mark.parametrize(
    "change",
    [
        lambda name, data: [] if name == "data/secrets/audit.key" else [(name, data)],
        lambda name, data: [] if name == "manifest.json" else [(name, data)],
        lambda name, data: [] if name == "header.json" else [(name, data)],
        lambda name, data: [(name, data[::-1] if name == "databases/studies.sqlite" else data)],
        lambda name, data: [(name, data[::-1] if name.startswith("artifacts/") else data)],
        lambda name, data: [] if name.startswith(("artifacts/0", "artifacts/a")) else [(name, data)],
        lambda name, data: (
            [(name, data), ("data/../../outside", data)] if name == "data/secrets/audit.key" else [(name, data)]
        ),
        lambda name, data: [(name, data), ("/outside", data)] if name == "header.json" else [(name, data)],
        lambda name, data: [(name, data), ("data/users.yaml", data)] if name == "header.json" else [(name, data)],
        lambda name, data: [(name, data), (name, data)] if name == "data/secrets/audit.key" else [(name, data)],
    ],
)
def test_what_is_not_as_the_manifest_says_is_refused(made, keys, tmp_path, change):
    file = tmp_path / "repacked"
    file.write_bytes(repacked(made[1], keys, change))
    assert refused(tmp_path, file, keys[2]).reason == "BACKUP_DAMAGED"
    assert not (tmp_path.parent / "outside").exists()


def test_one_of_a_newer_release_or_schema_is_refused(made, keys, tmp_path):
    file = tmp_path / "newer"

    def with_header(newer):
        def changed(name, data):
            return [(name, json.dumps({**json.loads(data), **newer}).encode() if name == "header.json" else data)]

        return changed

    for newer in ({"release": "99.0.0"}, {"format": 2}, {"schemas": {"chart": 999}}, {"schemas": {"unheard-of": 1}}):
        file.write_bytes(repacked(made[1], keys, with_header(newer)))
        error = refused(tmp_path, file, keys[2])
        assert error.reason == "SCHEMA_TOO_NEW" and oncoresponse.__version__ in error.message


def test_nothing_is_written_over(made, keys, tmp_path):
    settings, file = made
    with pytest.raises(OncoResponseError, match="--to"):
        write_backup(settings, file, keys[1])
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine").touch()
    assert refused(tmp_path, file, keys[2]).reason == "RESTORE_TARGET_NOT_EMPTY"
    (tmp_path / "new" / "mine").unlink()
    restore_backup(file, keys[2], settings_of(tmp_path / "new"), nothing)


def test_an_error_in_the_end_leaves_nothing_behind(made, keys, tmp_path):
    def fail(_settings, _contents) -> None:
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        restore_backup(made[1], keys[2], settings_of(tmp_path / "new"), fail)
    assert list(tmp_path.iterdir()) == []


def test_a_stored_file_that_is_damaged_is_told_and_left_out(keys, tmp_path):
    settings = fill(tmp_path / "data")
    damaged = sorted((tmp_path / "data" / "artifacts").glob("??/??/*"))[3]
    damaged.write_bytes(b"something else")
    written = write_backup(settings, tmp_path / "backup.age", keys[1])
    assert written.manifest.damaged == (damaged.name,)
    done = restore_backup(tmp_path / "backup.age", keys[2], settings_of(tmp_path / "new"), nothing)
    assert done.contents.manifest.damaged == (damaged.name,)
    assert len(list((tmp_path / "new" / "artifacts").glob("??/??/*"))) == 19


def test_a_database_that_is_damaged_is_no_backup(keys, tmp_path):
    settings = fill(tmp_path / "data")
    path = tmp_path / "data" / "oncoresponse.sqlite"
    content = bytearray(path.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(OncoResponseError) as caught:
        write_backup(settings, tmp_path / "backup.age", keys[1])
    assert caught.value.reason == "BACKUP_SOURCE_INVALID"
    assert not (tmp_path / "backup.age").exists()


def test_a_store_elsewhere_is_filled_or_left_as_it_was(keys, tmp_path):
    stamp = time.time_ns()
    settings = fill(tmp_path / "data", artifact_url=f"memory://source{stamp}")
    file = tmp_path / "backup.age"
    write_backup(settings, file, keys[1])
    elsewhere = f"memory://target{stamp}"

    def fail(_settings, _contents) -> None:
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        restore_backup(file, keys[2], settings_of(tmp_path / "new", artifact_url=elsewhere), fail)
    assert list(ArtifactStore(elsewhere).everything()) == []
    restore_backup(file, keys[2], settings_of(tmp_path / "new", artifact_url=elsewhere), nothing)
    both = [{each.key for each in ArtifactStore(url).everything()} for url in (settings.artifact_url, elsewhere)]
    assert both[0] == both[1] and len(both[0]) == 20
    with pytest.raises(OncoResponseError) as caught:
        restore_backup(file, keys[2], settings_of(tmp_path / "other", artifact_url=elsewhere), nothing)
    assert caught.value.reason == "RESTORE_TARGET_NOT_EMPTY"


def command(made, keys, to) -> list[str]:
    data = made[0].data_directory
    program = [sys.executable, "-m", "oncoresponse.cli.main", "backup", "--data-dir", str(data), "--to", str(to)]
    return [*program, "--recipient", str(keys[0].with_name("recipient"))]


def test_a_full_disk_is_told_and_leaves_nothing(made, keys, tmp_path):
    limit = 200_000
    done = subprocess.run(
        command(made, keys, tmp_path / "backup.age"),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        check=False,
    )
    assert done.returncode == 1 and "DISK_FULL" in done.stderr
    assert not (tmp_path / "backup.age").exists() and everything(tmp_path).keys() <= {".oncoresponse-backup/.lock"}


def test_a_killed_backup_leaves_nothing_that_looks_like_one_and_the_next_one_tidies(keys, tmp_path):
    settings = fill(tmp_path / "data")
    large = tmp_path / "data" / "artifacts" / "ab" / "cd" / ("abcd" + "0" * 60)
    large.parent.mkdir(parents=True, exist_ok=True)
    with large.open("wb") as file:
        file.truncate(2 * 1024**3)
    to = tmp_path / "to" / "backup.age"
    to.parent.mkdir()
    process = subprocess.Popen(command((settings, None), keys, to), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 1_000_000 for path in to.parent.rglob("backup")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [path.name for path in to.parent.iterdir()] == [".oncoresponse-backup"]
    large.unlink()
    write_backup(settings, to, keys[1])
    assert everything(to.parent).keys() == {"backup.age", ".oncoresponse-backup/.lock"}
    assert everything(tmp_path / "data" / "backup").keys() == {".lock"}


def test_a_server_that_writes_goes_on_writing(keys, tmp_path):
    """Rows that come while the copy is made are in it whole or not at all, and no writer fails."""
    settings = fill(tmp_path / "data")
    path = tmp_path / "data" / "oncoresponse.sqlite"
    program = (
        "import sqlite3, sys, time\n"
        "connection = sqlite3.connect(sys.argv[1], timeout=4)\n"
        "connection.execute('CREATE TABLE IF NOT EXISTS pair (number INTEGER, filler BLOB)')\n"
        "print('ready', flush=True)\n"
        "for number in range(10**6):\n"
        "    with connection:\n"
        "        connection.executemany('INSERT INTO pair VALUES (?, randomblob(2000))', [(number,), (number,)])\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
    writer.stdout.readline()
    counts = []
    for number in range(4):
        write_backup(settings, tmp_path / f"{number}.age", keys[1])
        restore_backup(tmp_path / f"{number}.age", keys[2], settings_of(tmp_path / f"new{number}"), nothing)
        with closing(sqlite3.connect(tmp_path / f"new{number}" / "oncoresponse.sqlite")) as connection:
            counts.append(connection.execute("SELECT count(*), count(DISTINCT number) FROM pair").fetchone())
    assert writer.poll() is None
    writer.kill()
    writer.communicate()
    assert all(rows == 2 * numbers for rows, numbers in counts)
    assert counts[0] < counts[-1]


def test_keys_are_private_and_are_not_mixed_up(tmp_path):
    identity, recipient = tmp_path / "identity", tmp_path / "recipient"
    make_key_pair(identity, recipient)
    assert stat.S_IMODE(identity.stat().st_mode) == 0o600
    with pytest.raises(OncoResponseError, match="never written over"):
        make_key_pair(identity, tmp_path / "other")
    with pytest.raises(OncoResponseError, match="private key, which belongs on no server"):
        read_recipients(identity)
    with pytest.raises(OncoResponseError, match="no private key"):
        recipient.chmod(0o600)
        read_identities(recipient)
    identity.chmod(0o644)
    with pytest.raises(OncoResponseError, match="others"):
        read_identities(identity)
    for content in ("", "# nothing\n", "age1nonsense\n", "ssh-rsa AAAA\n"):
        recipient.write_text(content)
        with pytest.raises(OncoResponseError, match="no public key"):
            read_recipients(recipient)


def test_what_goes_wrong_while_it_is_encrypted_comes_through(keys):
    def pieces():
        yield b"1"
        raise ValueError("of mine")

    with pytest.raises(ValueError, match="of mine"):
        encrypt(pieces(), io.BytesIO(), keys[1])


@pytest.fixture
def new_database(postgresql):
    def new() -> str:
        name = f"backup_{time.time_ns()}"
        postgresql.psql(f"CREATE DATABASE {name};")
        return postgresql.get_uri(name)

    return new


def test_a_restore_into_postgresql_that_fails_leaves_it_empty(new_database, postgresql_programs, keys, tmp_path):
    programs = postgresql_programs
    url = new_database()
    settings = fill(tmp_path / "data", url)
    file = tmp_path / "backup.age"
    write_backup(settings, file, keys[1], programs)
    target = new_database()

    def fail(_settings, _contents) -> None:
        # No server starts meanwhile.
        with pytest.raises(OncoResponseError) as caught:
            require_restored(target)
        assert caught.value.reason == "RESTORE_UNFINISHED"
        raise RuntimeError("in the middle")

    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(RuntimeError):
        restore_backup(file, keys[2], settings_of(tmp_path / "new", database_url=target), fail, programs)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    postgresql.require_empty(target)
    require_restored(target)
    restore_backup(file, keys[2], settings_of(tmp_path / "new", database_url=target), nothing, programs)
    require_restored(target)
    with pytest.raises(OncoResponseError) as caught:
        restore_backup(file, keys[2], settings_of(tmp_path / "other", database_url=target), nothing, programs)
    assert caught.value.reason == "RESTORE_TARGET_NOT_EMPTY"
    with pytest.raises(OncoResponseError, match="--database-url"):
        restore_backup(file, keys[2], settings_of(tmp_path / "other"), nothing, programs)


def test_without_pg_dump_the_way_to_it_is_told(new_database, keys, tmp_path):
    settings = fill(tmp_path / "data", new_database())
    with pytest.raises(OncoResponseError, match="--postgresql-programs"):
        write_backup(settings, tmp_path / "backup.age", keys[1], tmp_path)


def test_the_time_is_that_before_the_first_database_was_read(made, keys):
    found = check_backup(made[1], keys[2])
    now = datetime.datetime.now(datetime.UTC)
    assert found.header.begun.tzinfo is not None and found.header.begun < now
    assert found.header.schemas["studies"] and found.header.schemas["chart"] and found.header.schemas["audit"]
