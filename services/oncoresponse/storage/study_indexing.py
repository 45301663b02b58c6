"""The index of a complete study: read where its manifest names one, made from the files where an earlier release did
not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from oncoresponse.case.study_index import ObjectHeader, StudyIndex
from oncoresponse.errors import DocumentVersionUnsupported
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_manifest import ManifestInstance, StudyManifest

ReadObject = Callable[[Path | bytes], ObjectHeader]
"""Gives the header of one file, or of its bytes, to keep, or raises the error that says why it is no readable DICOM
instance."""


def index_of(artifacts: ArtifactStore, manifest: StudyManifest, read: ReadObject) -> StudyIndex:
    """The index of the instances of a manifest.

    Raises:
        ArtifactNotFound, ChecksumMismatch: The index or a file is not in the store, or is not what it should be.
        DicomError: There is no index, and a file cannot be read.
    """
    index = stored_index(artifacts, manifest)
    return StudyIndex.of(read_headers(artifacts, manifest.instances, read)) if index is None else index


def stored_index(artifacts: ArtifactStore, manifest: StudyManifest) -> StudyIndex | None:
    """The index that a manifest names; ``None`` where it names none, or one that only another release can read.

    Raises:
        ArtifactNotFound, ChecksumMismatch: The index is not in the store, or is not what it should be.
    """
    if manifest.index is None:
        return None
    try:
        return artifacts.read_document(manifest.index, StudyIndex)
    except DocumentVersionUnsupported:
        # What it says is in the files too.
        return None


def read_headers(
    artifacts: ArtifactStore, instances: Iterable[ManifestInstance], read: ReadObject
) -> Iterable[ObjectHeader]:
    """The header of each file, from the store."""
    for instance in instances:
        with artifacts.local_path(instance.artifact) as path:
            yield read(path)
