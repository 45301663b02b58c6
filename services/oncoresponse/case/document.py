"""Documents that services of one installation pass to each other, perhaps of different releases.

What users write (``model.yaml``, ``task.yaml``, settings) is read strictly instead: there an unknown key is a slip.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from oncoresponse.errors import DocumentVersionUnsupported


class Tolerant(BaseModel):
    """A frozen document in which fields of a newer minor version are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class VersionedDocument(Tolerant):
    """A document that services of different releases pass to each other.

    Attributes:
        document_version: ``major.minor`` of the release that wrote it.

    Raises:
        DocumentVersionUnsupported: It was written under another major version.
    """

    VERSION: ClassVar[str] = "1.0"

    document_version: str = Field(default="", pattern=r"^(|\d+\.\d+)$")

    @model_validator(mode="before")
    @classmethod
    def _of_this_major_version(cls, content: object) -> object:
        # Before the fields are read: in another major version they may be others.
        version = content.get("document_version") if isinstance(content, Mapping) else None
        known = cls.VERSION.split(".")[0]
        if isinstance(version, str) and re.fullmatch(r"\d+\.\d+", version) and version.split(".")[0] != known:
            raise DocumentVersionUnsupported(
                f"A {cls.__name__} document of version {version} came in, and this release reads {known}.x. Bring the "
                "services of this installation to one release.",
                document=cls.__name__,
                version=version,
            )
        return content

    @model_validator(mode="after")
    def _states_its_version(self) -> Self:
        if not self.document_version:
            # The document is frozen, and a new one states the version of its class.
            object.__setattr__(self, "document_version", self.VERSION)
        return self
