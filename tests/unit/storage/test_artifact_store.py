from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
import tempfile
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.volume import Volume
from oncoresponse.errors import (
    ArtifactNotFound,
    ChecksumMismatch,
    ConfigurationError,
    DiskFull,
    GeometryMismatch,
    InvalidRequest,
)
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.storage.artifact_store import ArtifactStore
from pydantic import BaseModel, ConfigDict


class _Finding(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float


@pytest.fixture(params=["folder", "file", "memory"])
def store(request, tmp_path):
    urls = {"folder": str(tmp_path / "a"), "file": (tmp_path / "a").as_uri(), "memory": f"memory://{uuid.uuid4()}"}
    return ArtifactStore(urls[request.param])


@pytest.fixture
def folder_store(tmp_path):
    return ArtifactStore(str(tmp_path / "store"))


def _files(folder: Path) -> list[Path]:
    """But locks, which are empty."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name not in ("lock", ".lock")]


def _oblique_volume() -> Volume:
    image = sitk.GetImageFromArray(np.random.default_rng(7).normal(size=(5, 4, 3)).astype(np.float32))
    image.SetSpacing((0.9765625, 1.3, 3.27))
    image.SetOrigin((-123.4567, 78.9, -1000.25))
    turn = sitk.VersorTransform((0.36, 0.48, 0.8), 0.4321)
    # A left-handed direction, as from slices sorted head to foot.
    image.SetDirection((np.array(turn.GetMatrix()).reshape(3, 3) @ np.diag([1, 1, -1])).ravel())
    return Volume(image, Quantity.SUV_BODY_WEIGHT, "1.2.3", "1.2.4")


def test_bytes_come_back_under_their_digest(store):
    artifact = store.put_bytes(b"some bytes", "text/plain")
    assert artifact.sha256 == hashlib.sha256(b"some bytes").hexdigest()
    assert artifact.uri == f"artifact:sha256/{artifact.sha256}"
    assert store.read_bytes(artifact) == b"some bytes"
    with store.open(artifact) as file:
        assert file.read(4) == b"some"


def test_a_stored_file_is_a_copy_and_has_the_same_reference_as_its_bytes(store, tmp_path):
    path = tmp_path / "input"
    path.write_bytes(b"abc" * 1000)
    artifact = store.put_file(path, "text/plain")
    assert artifact == store.put_bytes(b"abc" * 1000, "text/plain")
    assert path.read_bytes() == b"abc" * 1000
    with store.local_path(artifact) as local:
        assert local.read_bytes() == b"abc" * 1000


def test_a_deleted_artifact_is_not_found_and_deleting_it_again_is_harmless(store):
    artifact = store.put_bytes(b"x", "text/plain")
    store.delete(artifact)
    store.delete(artifact)
    with pytest.raises(ArtifactNotFound):
        store.read_bytes(artifact)


def test_a_reference_with_another_size_is_a_mismatch(store):
    artifact = store.put_bytes(b"x", "text/plain")
    with pytest.raises(ChecksumMismatch):
        store.read_bytes(artifact.model_copy(update={"size_bytes": 2}))


def test_changed_bytes_are_noticed_and_storing_them_again_repairs(folder_store):
    artifact = folder_store.put_bytes(b"truth", "text/plain")
    with folder_store.local_path(artifact) as path:
        path.write_bytes(b"trush")
    with pytest.raises(ChecksumMismatch), folder_store.local_path(artifact):
        pass
    folder_store.put_bytes(b"truth", "text/plain")
    assert folder_store.read_bytes(artifact) == b"truth"


def test_a_folder_store_is_readable_by_its_user_alone(folder_store, tmp_path):
    source = tmp_path / "readable"
    source.write_bytes(b"patient")
    source.chmod(0o644)
    folder_store.put_file(source, "application/dicom")
    folder_store.put_volume(_oblique_volume())
    (tmp_path / "readable").unlink()
    for path in (tmp_path / "store", *(tmp_path / "store").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_folder_store_is_two_levels_deep(folder_store, tmp_path):
    digest = folder_store.put_bytes(b"x", "text/plain").sha256
    assert [path.relative_to(tmp_path / "store") for path in _files(tmp_path / "store")] == [
        Path(digest[:2], digest[2:4], digest)
    ]


@pytest.mark.parametrize("call", ["fsync", "replace", "write"])
def test_a_full_disk_leaves_nothing_half_written(folder_store, tmp_path, monkeypatch, call):
    def no_space(*_args, **_named):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if call == "fsync":
            patch.setattr(os, "fsync", no_space)
        elif call == "replace":
            patch.setattr(Path, "replace", no_space)
        else:
            patch.setattr(Path, "write_bytes", no_space)
        with pytest.raises(DiskFull):
            folder_store.put_bytes(b"x" * 1000, "text/plain")
    assert _files(tmp_path / "store") == []
    assert folder_store.read_bytes(folder_store.put_bytes(b"x" * 1000, "text/plain")) == b"x" * 1000


def test_the_minimum_of_free_space_is_kept(tmp_path):
    store = ArtifactStore(str(tmp_path), minimum_free_bytes=2**62)
    with pytest.raises(DiskFull):
        store.put_bytes(b"x", "text/plain")
    with pytest.raises(DiskFull):
        store.put_volume(_oblique_volume())
    assert _files(tmp_path) == []


_KILLED_BEFORE_RENAMING = """
import os, sys
from pathlib import Path
from oncoresponse.storage.artifact_store import ArtifactStore
Path.replace = lambda *_: os._exit(9)
ArtifactStore(sys.argv[1]).put_bytes(b"half", "text/plain")
"""


def test_a_writer_that_is_killed_leaves_no_artifact(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, "-c", _KILLED_BEFORE_RENAMING, str(tmp_path / "store")]
    assert subprocess.run(arguments, env=environment, check=False).returncode == 9
    assert [path.parents[2].name for path in _files(tmp_path / "store")] == ["scratch"]
    digest = hashlib.sha256(b"half").hexdigest()
    store = ArtifactStore(str(tmp_path / "store"))
    with pytest.raises(ArtifactNotFound):
        store.read_bytes(StoredArtifact(sha256=digest, size_bytes=4, media_type="text/plain"))


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no second file system to move a file from")
def test_a_file_of_another_disk_is_taken_over(folder_store, tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        path = Path(other) / "file"
        path.write_bytes(b"from afar")
        artifact = folder_store.take_file(path, hashlib.sha256(b"from afar").hexdigest(), "text/plain")
        assert not path.exists()
    assert folder_store.read_bytes(artifact) == b"from afar"
    assert len(_files(tmp_path / "store")) == 1


def test_what_a_killed_process_left_is_removed_at_the_next_start_and_what_a_living_one_writes_is_not(tmp_path):
    code = (
        "import sys; from oncoresponse.storage.byte_store import FolderByteStore; from pathlib import Path\n"
        "with FolderByteStore(Path(sys.argv[1]), 0).scratch_folder(1) as folder:\n"
        "    (folder / 'half').write_bytes(b'image'); print(folder, flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    writers = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    killed, living = (Path(writer.stdout.readline().strip()) for writer in writers)
    writers[0].kill()
    writers[0].communicate()
    of_an_earlier_release = tmp_path / "scratch" / "0" / "part"
    of_an_earlier_release.parent.mkdir()
    of_an_earlier_release.write_bytes(b"x")
    assert (killed / "half").is_file()
    ArtifactStore(str(tmp_path))
    assert not killed.parent.exists()
    assert not of_an_earlier_release.parent.exists()
    assert (living / "half").read_bytes() == b"image"
    writers[1].communicate("")
    assert not living.parent.exists()


def test_many_writers_and_readers_of_the_same_content(folder_store, tmp_path):
    barrier = threading.Barrier(8)

    def work(number: int) -> bytes:
        barrier.wait()
        for _ in range(20):
            artifact = folder_store.put_bytes(b"same" * 50_000, "text/plain")
            folder_store.put_bytes(str(number).encode(), "text/plain")
            data = folder_store.read_bytes(artifact)
        return data

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(work, range(8))) == {b"same" * 50_000}
    assert len(_files(tmp_path / "store")) == 9


def test_a_volume_comes_back_with_its_place_in_the_patient(store):
    volume = _oblique_volume()
    artifact = store.put_volume(volume)
    assert artifact.grid == volume.geometry
    assert artifact.media_type == "application/x-nrrd"
    again = store.read_volume(stored_artifact(artifact_message(artifact)))
    np.testing.assert_array_equal(again.array, volume.array)
    np.testing.assert_allclose(again.image.GetDirection(), volume.image.GetDirection(), atol=1e-12)
    np.testing.assert_allclose(again.image.GetOrigin(), volume.image.GetOrigin(), atol=1e-12)
    assert again.frame_of_reference_uid == "1.2.3"
    assert store.put_volume(again).sha256 == store.put_volume(again).sha256


@pytest.mark.parametrize(
    "change",
    [
        {"origin_mm": (-123.4567, 78.9, -1000.26)},
        {"spacing_mm": (0.9765625, 1.3, 3.28)},
        {"size": (4, 3, 5)},
        {"frame_of_reference_uid": "1.2.33"},
        {"direction": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)},
    ],
)
def test_a_reference_with_another_grid_is_refused(folder_store, change):
    artifact = folder_store.put_volume(_oblique_volume())
    assert artifact.grid is not None
    for grid in (artifact.grid.model_copy(update=change), None):
        with pytest.raises(GeometryMismatch):
            folder_store.read_volume(artifact.model_copy(update={"grid": grid}))


def test_what_is_no_volume_or_one_of_another_quantity_is_refused(store):
    volume = store.put_volume(_oblique_volume())
    for other in (store.put_document(_Finding(name="a", value=1.0)), store.put_bytes(b"", "text/plain")):
        with pytest.raises(InvalidRequest, match="not a volume"):
            store.read_volume(other.model_copy(update={"grid": volume.grid}))
    with pytest.raises(InvalidRequest, match="volume of mask"), store.local_volume(volume, Quantity.MASK):
        pass
    with store.local_volume(volume, Quantity.SUV_BODY_WEIGHT) as path:
        assert sitk.ReadImage(str(path)).GetSize() == (3, 4, 5)


def test_documents_come_back_and_another_kind_is_refused_without_quoting_it(store):
    finding = _Finding(name="Doe^Jane", value=1.5)
    artifact = store.put_document(finding)
    assert store.read_document(artifact, _Finding) == finding
    assert store.put_document(_Finding(value=1.5, name="Doe^Jane")) == artifact
    other = store.put_bytes(b'{"name": "Doe^Jane"}', "application/json")
    with pytest.raises(InvalidRequest) as caught:
        store.read_document(other, _Finding)
    assert "Doe" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_reference_survives_the_wire_and_a_false_one_is_refused():
    artifact = StoredArtifact(
        sha256="ab" * 32, size_bytes=3, media_type="application/x-nrrd", grid=_oblique_volume().geometry
    )
    message = artifact_message(artifact)
    assert stored_artifact(message) == artifact
    message.uri = "artifact:sha256/" + "cd" * 32
    with pytest.raises(InvalidRequest):
        stored_artifact(message)


def test_an_unknown_protocol_is_a_configuration_error():
    with pytest.raises(ConfigurationError):
        ArtifactStore("nosuchprotocol://somewhere")
