"""Reference to bytes in the artifact store: what travels in place of voxels and documents (claim check)."""

from __future__ import annotations

from pydantic import Field

from oncoresponse.case.document import Tolerant
from oncoresponse.case.volume import VolumeGeometry

URI_PREFIX = "artifact:sha256/"


class StoredArtifact(Tolerant):
    """Reference to bytes in the store.

    Attributes:
        sha256: Lower-case hexadecimal digest of the bytes.
        size_bytes: Length.
        media_type: RFC 6838.
        grid: Voxel grid (LPS, mm) of a volume or a mask, else ``None``.
    """

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)
    media_type: str = Field(min_length=3, max_length=100)
    grid: VolumeGeometry | None = None

    @property
    def uri(self) -> str:
        """``artifact:sha256/<digest>``."""
        return URI_PREFIX + self.sha256
