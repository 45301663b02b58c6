"""The list of instances of a complete study: what an assessment of the study is an assessment of."""

from __future__ import annotations

from oncoresponse.case.document import Tolerant
from oncoresponse.case.left_out import LeftOutInstance
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.storage.artifact_store import DICOM_MEDIA_TYPE


class ManifestInstance(Tolerant):
    """One DICOM file of the study."""

    sha256: str
    size_bytes: int

    @property
    def artifact(self) -> StoredArtifact:
        """Where the file is."""
        return StoredArtifact(sha256=self.sha256, size_bytes=self.size_bytes, media_type=DICOM_MEDIA_TYPE)


class StudyManifest(Tolerant):
    """All instances, ordered by digest, so that the same instances give the same manifest.

    Attributes:
        left_out: Objects that came with them and were damaged.
        index: The :class:`~oncoresponse.case.study_index.StudyIndex`; ``None`` in a manifest of a release before 0.3.
    """

    instances: tuple[ManifestInstance, ...]
    left_out: tuple[LeftOutInstance, ...] = ()
    index: StoredArtifact | None = None
