"""The headers of the instances of studies that are open, kept from the only parsing of each until the index is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from oncoresponse.case.study_index import ObjectHeader
from oncoresponse.errors import DocumentVersionUnsupported
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_indexing import ReadObject, read_headers
from oncoresponse.storage.study_manifest import ManifestInstance

_SUFFIX = ".header.json"


class KeptHeaders:
    """All methods block.

    Args:
        folder: Has a folder for each study that is open.
        artifacts: Where the instances are.
    """

    def __init__(self, folder: Path, artifacts: ArtifactStore) -> None:
        self._folder = folder
        self._artifacts = artifacts

    def keep(self, study_id: str, sha256: str, header: ObjectHeader) -> None:
        """Keep one. Where it cannot be kept, it is read again when it is needed."""
        with suppress(OSError):
            kept = self._path(study_id, sha256)
            kept.touch(mode=0o600)
            kept.write_text(header.model_dump_json(), encoding="utf-8")

    def of(self, study_id: str, instances: Iterable[ManifestInstance], read: ReadObject) -> Iterator[ObjectHeader]:
        """Those of instances, in their order.

        Args:
            study_id: The study.
            instances: Of it.
            read: Reads the header of a file again where the one that was kept is lost.
        """
        for instance in instances:
            try:
                header = ObjectHeader.model_validate_json(self._path(study_id, instance.sha256).read_bytes())
            except (FileNotFoundError, ValidationError, DocumentVersionUnsupported):
                # Lost with the power, of an earlier version of the study, or of a release that kept none.
                yield from read_headers(self._artifacts, [instance], read)
            else:
                yield header

    def _path(self, study_id: str, sha256: str) -> Path:
        return self._folder / study_id / f"{sha256}{_SUFFIX}"
