"""What the page of a report was set from, kept beside it: a signed version is the same page with the signature on it.

The model may be another one by then, or gone; the page needs neither it nor the images.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Self

from oncoresponse.case.document import VersionedDocument
from oncoresponse.reporting.typesetting import set_pdf

Json = dict[str, Any]


class ReportPage(VersionedDocument):
    """A page before it is set. Holds what the page shows, the patient's identity too.

    Attributes:
        content: What the template ``report.typ`` is filled with.
        pictures: PNG files that it refers to, by name, in base64.
    """

    content: Json
    pictures: dict[str, str]

    @classmethod
    def of(cls, content: Json, pictures: Mapping[str, bytes]) -> Self:
        """The page of a content and its pictures."""
        encoded = {name: base64.b64encode(data).decode("ascii") for name, data in pictures.items()}
        return cls(content=content, pictures=encoded)

    def pdf(self, **changes: Any) -> bytes:
        """Set it. The same page gives the same bytes.

        Args:
            **changes: Content to set instead, or besides.
        """
        pictures = {name: base64.b64decode(data) for name, data in self.pictures.items()}
        return set_pdf("report.typ", {**self.content, **changes}, pictures)

    def to_json(self) -> bytes:
        """UTF-8; equal pages give equal bytes."""
        return (self.model_dump_json(indent=1) + "\n").encode()
