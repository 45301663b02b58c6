"""The list of instances of a complete study: what an assessment of the study is an assessment of."""

from __future__ import annotations

import datetime

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


class IdentityCorrection(Tolerant):
    """That an administrator said whose the study is, against its files. Holds no identity: the index has the right one.

    Attributes:
        corrected: Date (UTC).
        other_person: Whether the files name another person, and not the same one by an identifier that was given up.
        reason: As the administrator gave it.
    """

    corrected: datetime.date
    other_person: bool
    reason: str

    @property
    def sentence(self) -> str:
        """What a report says of it."""
        if self.other_person:
            what = "The images were stored under another patient; an administrator moved the study to this patient"
        else:
            what = "The images carry an earlier identifier of this patient; an administrator joined the two"
        return f"{what} on {self.corrected.isoformat()}."


class StudyManifest(Tolerant):
    """All instances, ordered by digest, so that the same instances give the same manifest.

    Attributes:
        left_out: Objects that came with them and were damaged.
        index: The :class:`~oncoresponse.case.study_index.StudyIndex`; ``None`` in a manifest of a release before 0.3.
        corrections: Of the identity that the files give, in their order.
    """

    instances: tuple[ManifestInstance, ...]
    left_out: tuple[LeftOutInstance, ...] = ()
    index: StoredArtifact | None = None
    corrections: tuple[IdentityCorrection, ...] = ()
