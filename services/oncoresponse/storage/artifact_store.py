"""The artifact store: bytes known by their SHA-256, passed between services by reference (claim check)."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from oncoresponse.case.file_digest import file_sha256
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.volume import Volume, VolumeGeometry, quantity_of_file, read_volume, write_volume
from oncoresponse.errors import ArtifactNotFound, ChecksumMismatch, GeometryMismatch, InvalidRequest
from oncoresponse.storage.artifact_kind import ArtifactKind, artifact_kind
from oncoresponse.storage.byte_store import StoredBytes, open_byte_store
from oncoresponse.storage.disk_space import require_free_space

DICOM_MEDIA_TYPE = "application/dicom"
NRRD_MEDIA_TYPE = "application/x-nrrd"
JSON_MEDIA_TYPE = "application/json"

# NRRD stores spacing times direction, so both come back with the last bits changed.
_SPACING_TOLERANCE_MM = 1e-5
_POSITION_TOLERANCE_MM = 1e-4
_DIRECTION_TOLERANCE = 1e-5
_NRRD_HEADER_BYTES = 4096

_Document = TypeVar("_Document", bound=BaseModel)


class ArtifactStore:
    """Content-addressed store. The same content twice is stored once; every read checks size and digest.

    All methods block; call them from a thread. They may be called from several threads and processes.

    Args:
        url: fsspec URL or path: a folder by default, or ``memory://...``, ``s3://...`` and so on.
        minimum_free_bytes: Writing to a folder is refused when less would be left on its disk.

    Raises:
        ConfigurationError: The URL's protocol is not installed.
    """

    def __init__(self, url: str, minimum_free_bytes: int = 0) -> None:
        self.minimum_free_bytes = minimum_free_bytes
        self._bytes = open_byte_store(url, minimum_free_bytes)

    def put_bytes(self, data: bytes, media_type: str, grid: VolumeGeometry | None = None) -> StoredArtifact:
        """Store bytes.

        Raises:
            DiskFull: There is no room; nothing is stored.
        """
        digest = hashlib.sha256(data).hexdigest()
        with self._bytes.scratch_folder(len(data)) as scratch:
            path = scratch / digest
            path.write_bytes(data)
            self._bytes.take(digest, path)
        return StoredArtifact(sha256=digest, size_bytes=len(data), media_type=media_type, grid=grid)

    def put_file(self, path: Path, media_type: str, grid: VolumeGeometry | None = None) -> StoredArtifact:
        """Store a copy of a file.

        Raises:
            DiskFull: There is no room; nothing is stored.
        """
        with self._bytes.scratch_folder(path.stat().st_size) as scratch:
            copy = scratch / "copy"
            shutil.copyfile(path, copy)
            return self.take_file(copy, file_sha256(copy), media_type, grid)

    def take_file(self, path: Path, sha256: str, media_type: str, grid: VolumeGeometry | None = None) -> StoredArtifact:
        """Store a file that the caller has hashed and will not use again; on the same disk without a copy.

        Raises:
            DiskFull: There is no room; nothing is stored.
        """
        size_bytes = path.stat().st_size
        self._bytes.take(sha256, path)
        return StoredArtifact(sha256=sha256, size_bytes=size_bytes, media_type=media_type, grid=grid)

    @contextmanager
    def local_path(self, artifact: StoredArtifact) -> Iterator[Path]:
        """A local file with the checked bytes, to be read only; in a folder store the stored file itself.

        Raises:
            ArtifactNotFound: The store does not hold it.
            ChecksumMismatch: The stored bytes are not those the reference names.
        """
        with ExitStack() as stack:
            try:
                path = stack.enter_context(self._bytes.local_path(artifact.sha256))
                intact = path.stat().st_size == artifact.size_bytes and file_sha256(path) == artifact.sha256
            except FileNotFoundError as error:
                raise ArtifactNotFound(
                    "The store does not hold this artifact. It was deleted, or belongs to another server."
                ) from error
            if not intact:
                raise ChecksumMismatch(
                    "A stored artifact is not the one its reference names. Make or send it again; "
                    "if that does not help, check the server's disk."
                )
            yield path

    def stored_file(self, sha256: str) -> AbstractContextManager[Path]:
        """A local file with the stored bytes, unchecked, to be read only.

        Raises:
            FileNotFoundError: The store does not hold it.
        """
        return self._bytes.local_path(sha256)

    @contextmanager
    def open(self, artifact: StoredArtifact) -> Iterator[BinaryIO]:
        """A binary file over the checked bytes. Raises what :meth:`local_path` raises, before the first byte."""
        with self.local_path(artifact) as path, path.open("rb") as file:
            yield file

    def read_bytes(self, artifact: StoredArtifact) -> bytes:
        """All bytes, checked. Raises what :meth:`local_path` raises."""
        with self.local_path(artifact) as path:
            return path.read_bytes()

    def delete(self, artifact: StoredArtifact) -> None:
        """Remove an artifact; nothing happens when it is gone already."""
        self._bytes.delete(artifact.sha256)

    def remove(self, sha256: str) -> None:
        """As :meth:`delete`, by the digest alone."""
        self._bytes.delete(sha256)

    def look(self, sha256: str) -> StoredBytes | None:
        """Length and age of an artifact, without reading it; ``None`` where the store does not hold it."""
        return self._bytes.look(sha256)

    def everything(self) -> Iterator[StoredBytes]:
        """All artifacts. What comes or goes meanwhile may be given or not."""
        return self._bytes.everything()

    def delete_unless_newer(self, sha256: str, since: float) -> bool:
        """Remove an artifact that nobody has written since a time, in seconds since 1970 (UTC).

        Who writes the same content again brings it back to life: it is newer then.

        Returns:
            Whether it is gone.
        """
        found = self._bytes.look(sha256)
        if found is not None and found.written >= since:
            return False
        self._bytes.delete(sha256)
        return True

    def kind(self, sha256: str) -> ArtifactKind | None:
        """What an artifact is, by its first bytes; ``None`` where the store does not hold it."""
        try:
            with self._bytes.local_path(sha256) as path:
                return artifact_kind(path)
        except FileNotFoundError:
            return None

    def document_bytes(self, sha256: str) -> bytes | None:
        """A JSON document whole, of anything else no byte; ``None`` where the store does not hold it."""
        try:
            with self._bytes.local_path(sha256) as path:
                return path.read_bytes() if artifact_kind(path) is ArtifactKind.DOCUMENT else b""
        except FileNotFoundError:
            return None

    def put_volume(self, volume: Volume) -> StoredArtifact:
        """Store a volume as NRRD, its grid in the reference.

        Raises:
            DiskFull: There is no room; nothing is stored.
        """
        raw_bytes = volume.array.nbytes + _NRRD_HEADER_BYTES
        with self._bytes.scratch_folder(raw_bytes) as scratch:
            path = scratch / "volume.nrrd"
            try:
                write_volume(volume, path)
            except RuntimeError:
                # SimpleITK has one error for everything; a disk that filled up meanwhile is the likely cause.
                require_free_space(scratch, raw_bytes, 0)
                raise
            return self.take_file(path, file_sha256(path), NRRD_MEDIA_TYPE, volume.geometry)

    @contextmanager
    def local_volume(self, artifact: StoredArtifact, quantity: Quantity | None = None) -> Iterator[Path]:
        """A local NRRD file of a stored volume, to be read only.

        Args:
            artifact: The reference.
            quantity: What its voxels must measure; ``None`` for anything.

        Raises:
            ArtifactNotFound, ChecksumMismatch: See :meth:`local_path`.
            InvalidRequest: The artifact is no volume, or one of another quantity.
        """
        with self.local_path(artifact) as path, self._bytes.scratch_folder(0) as scratch:
            found = quantity_of_file(path)
            if found is None or quantity not in (None, found):
                raise InvalidRequest(
                    f"The artifact is not a volume{f' of {quantity}' if quantity else ''}. "
                    "Check which reference goes into which field."
                )
            # SimpleITK recognizes NRRD by the ending of the name, and a stored file has none.
            link = scratch / "volume.nrrd"
            link.symlink_to(path)
            yield link

    def read_volume(self, artifact: StoredArtifact) -> Volume:
        """Read what :meth:`put_volume` stored.

        Raises:
            ArtifactNotFound, ChecksumMismatch: See :meth:`local_path`.
            InvalidRequest: The artifact is no volume.
            GeometryMismatch: The grid of the reference is missing or is not the file's.
        """
        with self.local_volume(artifact) as path:
            volume = read_volume(path)
        if artifact.grid is None or not _same_grid(artifact.grid, volume.geometry):
            raise GeometryMismatch(
                "The voxel grid in the reference is not the grid of the stored volume. Pass references on unchanged."
            )
        return volume

    def put_document(self, document: BaseModel) -> StoredArtifact:
        """Store a pydantic model as JSON; equal models give equal bytes."""
        return self.put_bytes((document.model_dump_json(indent=2) + "\n").encode(), JSON_MEDIA_TYPE)

    def read_document(self, artifact: StoredArtifact, kind: type[_Document]) -> _Document:
        """Read what :meth:`put_document` stored.

        Raises:
            ArtifactNotFound, ChecksumMismatch: See :meth:`local_path`.
            InvalidRequest: The artifact is a document of another kind.
        """
        try:
            return kind.model_validate_json(self.read_bytes(artifact))
        except ValidationError:
            # The validator's own words quote the document, so they are not passed on.
            raise InvalidRequest(
                f"The artifact is not a {kind.__name__} document. Check which reference goes into which field."
            ) from None


def _same_grid(first: VolumeGeometry, second: VolumeGeometry) -> bool:
    return (
        first.size == second.size
        and first.frame_of_reference_uid == second.frame_of_reference_uid
        and np.allclose(first.spacing_mm, second.spacing_mm, rtol=0, atol=_SPACING_TOLERANCE_MM)
        and np.allclose(first.origin_mm, second.origin_mm, rtol=0, atol=_POSITION_TOLERANCE_MM)
        and np.allclose(first.direction, second.direction, rtol=0, atol=_DIRECTION_TOLERANCE)
    )
