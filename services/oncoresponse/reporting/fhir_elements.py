"""FHIR R4 elements that several resources of the report share."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from oncoresponse.reporting.code_systems import AI_ASSERTED, Json


def ai_asserted() -> Json:
    """``meta`` of a resource that an algorithm asserted (security label AIAST)."""
    return {"security": [AI_ASSERTED.coding]}


LANGUAGE = "en"
"""Language of every word of a report."""


def narrative(text: str) -> Json:
    """``text``: the resource in words, a paragraph for each line, in the language of the report (R4 dom-6)."""
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in text.split("\n"))
    div = f'<div xmlns="http://www.w3.org/1999/xhtml" xml:lang="{LANGUAGE}" lang="{LANGUAGE}">{paragraphs}</div>'
    return {"status": "generated", "div": div}


def attachment(data: bytes, content_type: str, title: str, *, embed: bool = True) -> Json:
    """FHIR Attachment: size in bytes before encoding, and the SHA-1 that R4 prescribes for ``hash``."""
    element: Json = {
        "contentType": content_type,
        "language": LANGUAGE,
        "size": len(data),
        "hash": base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode("ascii"),
        "title": title,
    }
    if embed:
        element["data"] = base64.b64encode(data).decode("ascii")
    return element
