from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.case.study_index import IndexedObject, IndexedPatient, ObjectHeader, SeriesValues
from oncoresponse.errors import (
    ArtifactNotFound,
    Busy,
    ChecksumMismatch,
    DiskFull,
    InvalidRequest,
    NotDicom,
    QuotaExceeded,
    RequestConflict,
    StudyAlreadyComplete,
    StudyNotComplete,
    StudyNotFound,
)
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_manifest import StudyManifest
from oncoresponse.storage.study_store import StudyQuota, StudyStore


def _accept(source: Path | bytes) -> ObjectHeader:
    """What bytes that nobody can read would say, were they an image."""
    digest = hashlib.sha256(source if isinstance(source, bytes) else source.read_bytes()).hexdigest()
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


def _refuse(source: Path | bytes) -> ObjectHeader:
    raise NotDicom("The file is not DICOM.")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _new(folder: Path, **quota: int) -> StudyStore:
    return StudyStore(folder, ArtifactStore(str(folder / "artifacts")), StudyQuota(**quota))


def _create(store: StudyStore) -> str:
    return store.create(str(uuid.uuid4())).name


def _send(store: StudyStore, name: str, data: bytes, *, offset: int = 0, check=_accept) -> None:
    upload = store.receive(name, _sha256(data), len(data), offset)
    if upload is None:
        return
    with upload:
        upload.write(data[offset:])
        store.finish(name, upload, check)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def _files(folder: Path) -> list[Path]:
    """But locks, which are empty, and the database."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("lock", ".lock")]
    return [path for path in found if "studies.sqlite" not in path.name]


@pytest.fixture
def store(tmp_path):
    return _new(tmp_path)


def test_the_same_request_is_the_same_study_also_after_a_restart(store, tmp_path):
    request_id = str(uuid.uuid4())
    first = store.create(request_id)
    assert store.create(request_id.upper()) == first
    assert _new(tmp_path).create(request_id) == first
    assert request_id not in first.name
    with pytest.raises(RequestConflict):
        store.create(request_id, "directory /somewhere")


def test_a_whole_study(store, tmp_path):
    name = _create(store)
    files = [b"first", b"second instance", b"third"]
    for data in files:
        _send(store, name, data)
    study = store.complete(name, 3, read=_accept)
    assert (study.complete, study.instance_count, study.size_bytes) == (True, 3, sum(map(len, files)))
    assert store.complete(name, 3, read=_accept) == store.get(name) == study
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    manifest = artifacts.read_document(study.manifest, StudyManifest)
    assert [item.sha256 for item in manifest.instances] == sorted(map(_sha256, files))
    assert {artifacts.read_bytes(item.artifact) for item in manifest.instances} == set(files)


def test_the_same_instances_in_another_order_give_the_same_manifest(store):
    manifests = []
    for files in ([b"a", b"b"], [b"b", b"a"]):
        name = _create(store)
        for data in files:
            _send(store, name, data)
        manifests.append(store.complete(name, 2, read=_accept).manifest)
    assert manifests[0] == manifests[1]


@settings(max_examples=20, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=300),
    sessions=st.lists(
        st.tuples(st.lists(st.integers(1, 60), max_size=6), st.floats(0, 1)),
        max_size=6,
    ),
)
def test_any_chunks_and_any_interruptions_give_the_same_instance(data, sessions):
    with tempfile.TemporaryDirectory() as folder:
        store = _new(Path(folder))
        name = _create(store)
        digest = _sha256(data)
        for sizes, back in (*sessions, ([len(data)], 0.0)):
            # As after a lost connection and a restart: a new store, and as many bytes as it says have arrived,
            # or fewer, for a client that is not sure.
            store = _new(Path(folder))
            received = {state.sha256: state.received_bytes for state in store.instances(name)}.get(digest, 0)
            offset = received - int(back * received)
            upload = store.receive(name, digest, len(data), offset)
            if upload is None:
                assert received == len(data)
                break
            with upload:
                assert upload.received_bytes == offset
                for size in sizes:
                    upload.write(data[upload.received_bytes : upload.received_bytes + size])
                if upload.whole:
                    store.finish(name, upload, _accept)
        artifacts = ArtifactStore(str(Path(folder) / "artifacts"))
        manifest = artifacts.read_document(store.complete(name, 1, read=_accept).manifest, StudyManifest)
        assert [artifacts.read_bytes(item.artifact) for item in manifest.instances] == [data]
        assert len(_files(Path(folder))) == 3


def test_an_offset_past_what_arrived_is_refused(store):
    name = _create(store)
    with pytest.raises(InvalidRequest):
        store.receive(name, _sha256(b"abc"), 3, 1)
    _send(store, name, b"abc")
    assert store.get(name).instance_count == 1


def test_wrong_bytes_are_removed_and_can_be_sent_again(store, tmp_path):
    name = _create(store)
    with store.receive(name, _sha256(b"right"), 5, 0) as upload:
        upload.write(b"wrong")
        with pytest.raises(ChecksumMismatch):
            store.finish(name, upload, _accept)
    assert store.instances(name) == ()
    assert _files(tmp_path) == []
    _send(store, name, b"right")
    assert store.complete(name, 1, read=_accept).instance_count == 1


def test_a_refused_file_is_removed_and_the_study_goes_on(store, tmp_path):
    name = _create(store)
    _send(store, name, b"good")
    with pytest.raises(NotDicom):
        _send(store, name, b"bad", check=_refuse)
    assert [state.sha256 for state in store.instances(name)] == [_sha256(b"good")]
    assert len(_files(tmp_path)) == 2
    assert store.complete(name, 1, read=_accept).complete


def test_more_bytes_than_announced_are_refused(store):
    name = _create(store)
    with store.receive(name, _sha256(b"abc"), 3, 0) as upload:
        upload.write(b"ab")
        with pytest.raises(InvalidRequest):
            upload.write(b"cd")
    assert store.instances(name) == ()


def test_a_size_that_was_named_wrong_can_be_corrected(store):
    name = _create(store)
    data = b"twelve bytes"
    with store.receive(name, _sha256(data), 100, 0) as upload:
        upload.write(data + b"and more")
    _send(store, name, data)
    assert store.complete(name, 1, read=_accept).size_bytes == len(data)


def test_quota_of_a_study(tmp_path):
    store = _new(tmp_path, quota_bytes_per_study=10)
    name = _create(store)
    _send(store, name, b"123456")
    with pytest.raises(QuotaExceeded) as caught:
        store.receive(name, _sha256(b"12345"), 5, 0)
    assert caught.value.metadata == {"scope": "study", "limit_bytes": "10"}
    with pytest.raises(QuotaExceeded):
        store.add(name, [b"123", b"45"], _accept)
    assert len(_files(tmp_path)) == 2
    _send(store, name, b"1234")
    assert store.complete(name, 2, read=_accept).size_bytes == 10


def test_quota_of_all_studies_is_given_back_by_deleting(tmp_path):
    store = _new(tmp_path, quota_bytes_total=10)
    first, second = _create(store), _create(store)
    _send(store, first, b"123456")
    with pytest.raises(QuotaExceeded) as caught:
        store.receive(second, _sha256(b"12345"), 5, 0)
    assert caught.value.metadata["scope"] == "total"
    store.delete(first)
    _send(store, second, b"12345")


def test_bytes_promised_but_not_sent_count(tmp_path):
    store = _new(tmp_path, quota_bytes_per_study=10)
    name = _create(store)
    with store.receive(name, _sha256(b"1" * 8), 8, 0), pytest.raises(QuotaExceeded):
        store.receive(name, _sha256(b"2" * 8), 8, 0)


def test_a_complete_study_takes_nothing_new_but_the_old_again(store):
    name = _create(store)
    _send(store, name, b"one")
    store.complete(name, 1, read=_accept)
    _send(store, name, b"one")
    store.add(name, [b"one"], _accept)
    for attempt in (lambda: _send(store, name, b"two"), lambda: store.add(name, [b"two"], _accept)):
        with pytest.raises(StudyAlreadyComplete):
            attempt()
    with pytest.raises(StudyAlreadyComplete):
        store.complete(name, 2, read=_accept)
    assert store.get(name).instance_count == 1


def test_completing_while_an_instance_is_on_its_way(store, tmp_path):
    name = _create(store)
    _send(store, name, b"one")
    with store.receive(name, _sha256(b"two"), 3, 0) as upload:
        upload.write(b"two")
        store.complete(name, 1, read=_accept)
        with pytest.raises(StudyAlreadyComplete):
            store.finish(name, upload, _accept)
    assert store.get(name).instance_count == 1
    assert len(_files(tmp_path)) == 3


@pytest.mark.parametrize("end", ["complete", "delete"])
def test_ending_a_study_at_the_last_moment_does_no_harm_to_another(store, tmp_path, monkeypatch, end):
    other, name = _create(store), _create(store)
    _send(store, other, b"shared")
    _send(store, name, b"own")
    take_file = ArtifactStore.take_file

    def take_and_end(self, *arguments):
        monkeypatch.undo()
        artifact = take_file(self, *arguments)
        store.complete(name, 1, read=_accept) if end == "complete" else store.delete(name)
        return artifact

    monkeypatch.setattr(ArtifactStore, "take_file", take_and_end)
    with pytest.raises(StudyAlreadyComplete if end == "complete" else StudyNotFound):
        _send(store, name, b"shared")
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    manifest = artifacts.read_document(store.complete(other, 1, read=_accept).manifest, StudyManifest)
    assert artifacts.read_bytes(manifest.instances[0].artifact) == b"shared"


def test_a_file_for_a_study_that_is_not_there(store, tmp_path):
    with pytest.raises(StudyNotFound):
        store.add("studies/none", [b"x"], _accept)
    name = _create(store)
    with pytest.raises(StudyNotFound):
        store.add(name, [b"x"], lambda _path: store.delete(name))
    assert _files(tmp_path) == []


def test_the_count_guards_against_a_lost_instance(store):
    name = _create(store)
    _send(store, name, b"one")
    with store.receive(name, _sha256(b"two"), 3, 0) as upload:
        upload.write(b"tw")
    with pytest.raises(StudyNotComplete) as caught:
        store.complete(name, 2, read=_accept)
    assert caught.value.metadata == {"arrived": "1", "expected": "2"}
    _send(store, name, b"two", offset=2)
    with pytest.raises(InvalidRequest):
        store.complete(name, 1, read=_accept)
    assert store.complete(name, 2, read=_accept).complete


def test_deleting_keeps_what_another_study_holds(store, tmp_path):
    first, second = _create(store), _create(store)
    for name in (first, second):
        _send(store, name, b"shared")
    _send(store, first, b"own")
    with store.receive(first, _sha256(b"part"), 4, 0) as upload:
        upload.write(b"pa")
    assert {store.complete(second, 1, read=_accept).manifest.sha256} == {store.get(second).manifest.sha256}
    store.delete(first)
    assert {path.read_bytes() for path in _files(tmp_path)} >= {b"shared"}
    assert len(_files(tmp_path)) == 3
    with pytest.raises(StudyNotFound):
        store.get(first)
    store.delete(second)
    assert _files(tmp_path) == []


def test_knowing_a_digest_does_not_give_the_instance_of_another_study(store):
    first, second = _create(store), _create(store)
    _send(store, first, b"secret")
    with store.receive(second, _sha256(b"secret"), 6, 0) as upload:
        assert upload.received_bytes == 0
    assert store.instances(second) == ()


def test_deleting_while_an_instance_is_on_its_way(store, tmp_path):
    name = _create(store)
    with store.receive(name, _sha256(b"two"), 3, 0) as upload:
        upload.write(b"two")
        store.delete(name)
        with pytest.raises(StudyNotFound):
            store.finish(name, upload, _accept)
    assert _files(tmp_path) == []


def test_one_stream_at_a_time_sends_an_instance(store):
    name = _create(store)
    with store.receive(name, _sha256(b"abc"), 3, 0) as upload:
        upload.write(b"a")
        with pytest.raises(Busy):
            store.receive(name, _sha256(b"abc"), 3, 0)
        upload.write(b"bc")
        store.finish(name, upload, _accept)
    assert store.receive(name, _sha256(b"abc"), 3, 0) is None


def test_pages_are_newest_first_and_without_gaps_while_studies_are_added(store):
    names = [_create(store) for _ in range(5)]
    page = store.list_page(2)
    seen = [study.name for study in page.studies]
    newer = _create(store)
    while page.next_token:
        page = store.list_page(2, page.next_token)
        seen += [study.name for study in page.studies]
    assert seen == names[::-1]
    assert store.list_page(1).studies[0].name == newer
    for token in ("x", "!!", "MTIz", "MQ==", "é"):
        with pytest.raises(InvalidRequest):
            store.list_page(2, token)


def test_a_full_disk_while_receiving_keeps_what_had_arrived(store, monkeypatch):
    name = _create(store)
    data = b"0123456789"
    with store.receive(name, _sha256(data), 10, 0) as upload:
        upload.write(data[:4])
        write, calls = os.write, []

        def half_then_full(descriptor: int, block: bytes) -> int:
            if calls:
                raise OSError(errno.ENOSPC, "No space left on device")
            calls.append(1)
            return write(descriptor, block[:2])

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half_then_full)
            with pytest.raises(DiskFull):
                upload.write(data[4:])
    assert [state.received_bytes for state in store.instances(name)] == [4]
    _send(store, name, data, offset=4)
    assert store.complete(name, 1, read=_accept).complete


def test_a_full_disk_is_noticed_before_the_first_byte(tmp_path):
    store = StudyStore(tmp_path, ArtifactStore(str(tmp_path / "artifacts"), 2**62), StudyQuota())
    name = _create(store)
    with pytest.raises(DiskFull):
        store.receive(name, _sha256(b"abc"), 3, 0)
    with pytest.raises(DiskFull):
        store.add(name, [b"abc"], _accept)
    assert all(path.stat().st_size == 0 for path in _files(tmp_path))


def test_a_full_database_is_a_full_disk(store, monkeypatch):
    connect = sqlite3.connect

    def small(*arguments, **named):
        connection = connect(*arguments, **named)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    names = [_create(store) for _ in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        with pytest.raises(DiskFull):
            for _ in range(500):
                _create(store)
    assert set(names) <= {study.name for study in store.list_page(1000).studies}


_KILLED_BEFORE_NOTING = """
import os, sys
from pathlib import Path
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_database import StudyTables
from oncoresponse.storage.study_store import StudyQuota, StudyStore
folder, name, digest = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
StudyTables.finish_instance = lambda *_: os._exit(9)
store = StudyStore(folder, ArtifactStore(str(folder / "artifacts")), StudyQuota())
upload = store.receive(name, digest, 4, 0)
upload.write(b"data")
store.finish(name, upload, lambda path: None)
"""


def test_killed_between_storing_and_noting_an_instance(store, tmp_path):
    name = _create(store)
    arguments = [sys.executable, "-c", _KILLED_BEFORE_NOTING, str(tmp_path), name, _sha256(b"data")]
    assert subprocess.run(arguments, env=_environment(), check=False).returncode == 9
    assert [path.parent.parent.parent.name for path in _files(tmp_path)] == ["artifacts"]
    store = _new(tmp_path)
    assert store.instances(name) == ()
    _send(store, name, b"data")
    assert store.complete(name, 1, read=_accept).instance_count == 1
    store.delete(name)
    assert _files(tmp_path) == []


def test_remains_of_unknown_studies_are_removed_at_start(tmp_path):
    _new(tmp_path)
    orphan = tmp_path / "studies" / "parts" / "gone" / "x.part"
    orphan.parent.mkdir()
    orphan.write_bytes(b"x")
    _new(tmp_path)
    assert not orphan.parent.exists()


def test_deleting_and_sending_the_same_instance_at_once_never_loses_it(tmp_path):
    store = _new(tmp_path)
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    for _ in range(10):
        old, new = _create(store), _create(store)
        _send(store, old, b"shared")
        barrier = threading.Barrier(2)

        def run(work, *arguments, barrier=barrier):
            barrier.wait()
            work(*arguments)

        with ThreadPoolExecutor(2) as threads:
            for job in [threads.submit(run, store.delete, old), threads.submit(run, _send, store, new, b"shared")]:
                job.result()
        manifest = artifacts.read_document(store.complete(new, 1, read=_accept).manifest, StudyManifest)
        assert artifacts.read_bytes(manifest.instances[0].artifact) == b"shared"
        store.delete(new)
        with pytest.raises(ArtifactNotFound):
            artifacts.read_bytes(manifest.instances[0].artifact)


def test_the_data_folder_is_readable_by_its_user_alone(store, tmp_path):
    name = _create(store)
    with store.receive(name, _sha256(b"abc"), 3, 0) as upload:
        upload.write(b"a")
    for path in (tmp_path / "studies").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_instances_at_hand_whole_make_the_same_study(store, tmp_path):
    files = [b"one", b"two", b"three"]
    names = [_create(store), _create(store)]
    for data in files:
        store.store(names[0], _sha256(data), data, _accept)
        _send(store, names[1], data)
    store.store(names[0], _sha256(b"two"), b"two", _accept)
    one, other = (store.complete(name, 3, read=_accept) for name in names)
    assert one.manifest == other.manifest
    assert (one.instance_count, one.size_bytes) == (3, 11)
    store.store(names[0], _sha256(b"two"), b"two", _accept)
    with pytest.raises(StudyAlreadyComplete):
        store.store(names[0], _sha256(b"four"), b"four", _accept)
    assert len([path for path in _files(tmp_path) if path.name == _sha256(b"four")]) == 0


def test_what_is_refused_whole_leaves_nothing(tmp_path):
    store = _new(tmp_path, quota_bytes_per_study=5)
    name = _create(store)
    with pytest.raises(ChecksumMismatch):
        store.store(name, _sha256(b"abc"), b"abd", _accept)
    with pytest.raises(NotDicom):
        store.store(name, _sha256(b"abc"), b"abc", _refuse)
    with pytest.raises(QuotaExceeded):
        store.store(name, _sha256(b"abcdef"), b"abcdef", _accept)
    with pytest.raises(StudyNotFound):
        store.store("studies/none", _sha256(b"abc"), b"abc", _accept)
    assert (_files(tmp_path), store.instances(name)) == ([], ())


def test_the_totals_are_those_of_the_instances(tmp_path):
    """Kept by triggers; whatever is done, they are what a count finds."""
    store = _new(tmp_path)
    first, second = _create(store), _create(store)
    for data in (b"one", b"two", b"three"):
        store.store(first, _sha256(data), data, _accept)
    _send(store, second, b"three")
    upload = store.receive(second, _sha256(b"fourth"), 6, 0)
    upload.write(b"fou")
    store.leave(second, upload)
    store.complete(first, 3, read=_accept)
    later = store.create(str(uuid.uuid4()), supersedes=first).name

    def check() -> None:
        with sqlite3.connect(tmp_path / "studies" / "studies.sqlite") as connection:
            for study, count, size, counted in connection.execute(
                "SELECT study_id, instance_count, size_bytes, counted_bytes FROM study"
            ):
                found = connection.execute(
                    "SELECT coalesce(sum(finished), 0), coalesce(sum(finished * size_bytes), 0), "
                    "coalesce(sum(size_bytes), 0) FROM instance WHERE study_id = ?",
                    (study,),
                ).fetchone()
                assert found == (count, size, counted)
            (total,) = connection.execute("SELECT counted_bytes FROM store_total").fetchone()
            assert connection.execute("SELECT coalesce(sum(size_bytes), 0) FROM instance").fetchone() == (total,)

    check()
    assert store.get(later).instance_count == 3
    for name in (second, later, first):
        store.delete(name)
        check()
