"""Quotas count what has arrived: nobody fills the store, or keeps others out, by declaring sizes."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from oncoresponse.case.study_index import IndexedObject, IndexedPatient, ObjectHeader, SeriesValues
from oncoresponse.errors import Busy, QuotaExceeded, StudyNotFound
from oncoresponse.storage import study_reservation
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_reservation import StudyQuota
from oncoresponse.storage.study_store import StudyStore

STEP = 100


def _accept(path: Path) -> ObjectHeader:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    series = SeriesValues(
        study_instance_uid="1",
        series_instance_uid="2",
        modality="CT",
        transfer_syntax_uid="3",
        implicit_vr=True,
        little_endian=True,
    )
    entry = IndexedObject(sha256=digest, sop_class_uid="4", sop_instance_uid=digest)
    return ObjectHeader(series=series, patient=IndexedPatient(patient_id="P1"), study_date="20200102", entry=entry)


class Clock:
    """That of the machine, set forward by a test."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path, clock, monkeypatch) -> StudyStore:
    monkeypatch.setattr(study_reservation, "STEP_BYTES", STEP)
    monkeypatch.setattr("oncoresponse.storage.study_store.STEP_BYTES", STEP)
    quota = StudyQuota(quota_bytes_per_study=1000, quota_bytes_total=1000)
    return StudyStore(tmp_path, ArtifactStore(str(tmp_path / "artifacts")), quota, clock)


def _new_study(store: StudyStore) -> str:
    return store.create(str(uuid.uuid4())).name


def _data(size: int) -> bytes:
    return os.urandom(size)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _send(store: StudyStore, name: str, data: bytes) -> None:
    upload = store.receive(name, _sha256(data), len(data), 0)
    store.write(name, upload, data)
    store.finish(name, upload, _accept)
    store.leave(name, upload)


def test_declarations_that_no_stream_stands_behind_keep_nobody_out(store):
    name = _new_study(store)
    for number in range(50):
        upload = store.receive(name, _sha256(bytes([number])), 1000, 0)
        store.leave(name, upload)
    _send(store, _new_study(store), _data(1000))


def test_streams_that_send_nothing_keep_a_step_each_and_that_only_for_a_while(store, clock):
    silent = _new_study(store)
    opened = []
    with pytest.raises(QuotaExceeded):
        while len(opened) < 50:
            opened += [store.receive(silent, _sha256(bytes([len(opened)])), 10 + STEP, 0)]
    assert len(opened) == 9
    other, data = _new_study(store), _data(950)
    with pytest.raises(QuotaExceeded):
        store.receive(other, _sha256(data), len(data), 0)
    clock.ahead = 16 * 60
    _send(store, other, data)
    # Who comes back finds that there is no room any more, and nothing is stored beyond the quota.
    with pytest.raises(QuotaExceeded):
        store.write(silent, opened[0], bytes(60))
    for upload in opened:
        store.leave(silent, upload)


def test_a_stream_that_goes_on_sending_keeps_its_room_and_asks_for_each_step(store, clock):
    name, data = _new_study(store), _data(650)
    upload = store.receive(name, _sha256(data), len(data), 0)
    for start in range(0, len(data), 50):
        store.write(name, upload, data[start : start + 50])
        with pytest.raises(QuotaExceeded):
            store.receive(_new_study(store), _sha256(b"other"), 1000 - start, 0)
        os.utime(upload.path, (clock(), clock()))
        clock.ahead += 10 * 60
    store.finish(name, upload, _accept)
    store.leave(name, upload)
    assert store.complete(name, 1, read=_accept).size_bytes == len(data)


def test_what_arrives_never_exceeds_the_quota_although_less_was_kept(store):
    """Ten streams that each declare what fits now."""
    sent = 0
    names = [_new_study(store) for _ in range(9)]
    uploads = [store.receive(name, _sha256(name.encode()), 190, 0) for name in names[:8]]
    for name, upload in zip(names, uploads, strict=False):
        try:
            for _ in range(19):
                store.write(name, upload, bytes(10))
                sent += 10
        except QuotaExceeded:
            pass
        store.leave(name, upload)
    assert 800 <= sent <= 1000


_KILLED_WHILE_SENDING = """
import os, sys
from pathlib import Path
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_store import StudyStore
from oncoresponse.storage.study_reservation import StudyQuota
folder, name, digest = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
store = StudyStore(folder, ArtifactStore(str(folder / "artifacts")), StudyQuota(quota_bytes_total=1000))
upload = store.receive(name, digest, 900, 0)
store.write(name, upload, bytes(100))
os.kill(os.getpid(), 9)
"""


def _run(code: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, text=True, **options)


def test_a_killed_process_keeps_no_more_than_what_had_arrived(store, tmp_path):
    name, data = _new_study(store), _data(900)
    process = _run(_KILLED_WHILE_SENDING, str(tmp_path), name, _sha256(data))
    assert process.wait() == -9
    _send(store, _new_study(store), data)
    assert [state.received_bytes for state in store.instances(name)] == [100]


_KILLED_WHILE_IMPORTING = """
import os, sys
from pathlib import Path
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_store import StudyStore
from oncoresponse.storage.study_reservation import StudyQuota
folder, name = Path(sys.argv[1]), sys.argv[2]
store = StudyStore(folder, ArtifactStore(str(folder / "artifacts")), StudyQuota())
def blocks():
    yield b"Doe^Jane" * 10000
    os.kill(os.getpid(), 9)
store.add(name, blocks(), None)
"""


def test_the_copy_of_a_killed_import_is_gone_after_the_next_start(store, tmp_path):
    name = _new_study(store)
    assert _run(_KILLED_WHILE_IMPORTING, str(tmp_path), name).wait() == -9
    assert [path.stat().st_size for path in (tmp_path / "studies" / "copies").rglob("*") if len(path.name) == 32]
    again = StudyStore(tmp_path, ArtifactStore(str(tmp_path / "artifacts")), StudyQuota())
    assert again.get(name).instance_count == 0
    left = [path for path in tmp_path.rglob("*") if path.is_file() and b"Doe^Jane" in path.read_bytes()]
    assert left == []


def test_a_study_that_nobody_completes_goes_and_one_that_grows_or_is_complete_stays(store, clock):
    abandoned, complete, growing = (_new_study(store) for _ in range(3))
    _send(store, abandoned, _data(10))
    _send(store, complete, _data(20))
    store.complete(complete, 1, read=_accept)
    clock.ahead = 6 * 24 * 3600
    assert store.remove_abandoned() == 0
    _send(store, growing, _data(30))
    part = next(store._parts.glob(f"{growing.removeprefix('studies/')}/*"))
    os.utime(part, (clock(), clock()))
    clock.ahead = 8 * 24 * 3600
    assert store.remove_abandoned() == 1
    with pytest.raises(StudyNotFound):
        store.get(abandoned)
    assert store.get(complete).complete
    assert store.get(growing).instance_count == 1


_HOLDS_THE_DATABASE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_database_that_another_process_holds_is_busy_within_seconds(store, tmp_path):
    name = _new_study(store)
    database = tmp_path / "studies" / "studies.sqlite"
    holder = _run(_HOLDS_THE_DATABASE, str(database), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == "held\n"
    begun = time.monotonic()
    with pytest.raises(Busy) as caught:
        store.create(str(uuid.uuid4()))
    assert time.monotonic() - begun < 5
    assert caught.value.retry_after_seconds is not None
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    # Who reads does not wait.
    assert store.get(name).instance_count == 0
    holder.communicate("")
    assert store.create(str(uuid.uuid4())).instance_count == 0
