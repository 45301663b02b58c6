"""Studies from their index: no file is opened but for pixels and contours that are used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from pydicom.dataset import Dataset

from oncoresponse.case.study_index import ObjectHeader, StudyIndex
from oncoresponse.dicom.limits import DEFAULT_LIMITS, DicomLimits
from oncoresponse.dicom.reading import read_instance
from oncoresponse.dicom.study import DicomStudy
from oncoresponse.dicom.study_index import datasets_of_series, read_object, study_from_index
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_indexing import ReadObject, index_of, stored_index
from oncoresponse.storage.study_manifest import StudyManifest


def header_reader(limits: DicomLimits) -> ReadObject:
    """What storage has headers read with."""

    def read(source: Path | bytes) -> ObjectHeader:
        return read_object(source, limits)

    return read


def indexed_study(
    artifacts: ArtifactStore,
    manifest: StudyManifest,
    stack: ExitStack,
    limits: DicomLimits = DEFAULT_LIMITS,
    index: StudyIndex | None = None,
) -> DicomStudy:
    """The study of a manifest.

    Args:
        artifacts: Holds the files.
        manifest: Of a complete study.
        stack: Files that are opened stay fetched until it is closed.
        limits: How large a file may be and become.
        index: Of the study; ``None``: the one that the manifest names, or one that is made now.

    Raises:
        ArtifactNotFound, ChecksumMismatch: As :func:`~oncoresponse.storage.study_indexing.index_of`; and later, when a
            file is opened.
        DicomError: As :func:`~oncoresponse.dicom.study_index.study_from_index`.
    """
    if index is None:
        index = index_of(artifacts, manifest, header_reader(limits))
    return study_from_index(index, _files(artifacts, manifest, stack), limits)


def headers_of_images(
    artifacts: ArtifactStore, manifest: StudyManifest, series_instance_uid: str, digests: Sequence[str]
) -> list[Dataset]:
    """Headers of images of one series, in the order of the digests, without pixel data.

    Files are read only where the study has no index.

    Raises:
        ArtifactNotFound, ChecksumMismatch: The index or a file is not in the store, or is not what it should be.
        DicomError: There is no index, and a file cannot be read.
    """
    index = stored_index(artifacts, manifest)
    known = {} if index is None else datasets_of_series(index, series_instance_uid)
    if set(digests) <= set(known):
        return [known[digest] for digest in digests]
    with ExitStack() as stack:
        file_of = _files(artifacts, manifest, stack)
        return [read_instance(file_of(digest)).dataset for digest in digests]


def _files(artifacts: ArtifactStore, manifest: StudyManifest, stack: ExitStack) -> Callable[[str], Path]:
    by_digest = {instance.sha256: instance.artifact for instance in manifest.instances}

    @cache
    def file_of(sha256: str) -> Path:
        return stack.enter_context(artifacts.local_path(by_digest[sha256]))

    return file_of
