"""Which artifacts belong to something that lives, and which to nobody.

An artifact is referred to by its SHA-256, in rows of databases and in JSON documents of the store. So whatever looks
like a digest in a row or in a document is taken for a reference: what is no artifact is not in the store, and no
reference is missed because a document of another release names it in another field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from oncoresponse.storage.artifact_store import ArtifactStore

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def digests_in(text: str | bytes) -> set[str]:
    """Whatever looks like a SHA-256 in hexadecimal."""
    data = text.encode() if isinstance(text, str) else text
    return {found.decode() for found in _DIGEST.findall(data)}


def reachable(artifacts: ArtifactStore, roots: Iterable[str], known: Iterable[str] = ()) -> set[str]:
    """Artifacts of the store that the roots refer to, directly or by way of documents.

    Args:
        artifacts: The store.
        roots: Digests; those of nothing in the store are left out.
        known: Digests that are reached already and whose references are known too; they are not looked into.
    """
    seen = set(known)
    found: set[str] = set()
    waiting = [digest for digest in roots if digest not in seen]
    seen.update(waiting)
    while waiting:
        digest = waiting.pop()
        document = artifacts.document_bytes(digest)
        if document is None:
            continue
        found.add(digest)
        for other in digests_in(document):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return found
