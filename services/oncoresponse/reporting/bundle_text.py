"""From the composed Bundle to its text and back: large attachments, the language, and the local names of the site.

Reports are composed with the names of :mod:`~oncoresponse.reporting.code_systems`; a site that has a domain puts its
own in their place. A later version of a report reads them off the one before, so that a change of the setting changes
no report that was made.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from oncoresponse.reporting.binaries import move_to_binaries
from oncoresponse.reporting.code_systems import ENTRY_TAG, LOCAL_BASE, Json
from oncoresponse.reporting.fhir_elements import LANGUAGE

_TAG = ENTRY_TAG.removeprefix(LOCAL_BASE)


def finish(bundle: Json, inline_bytes: int, always: Collection[str] = ()) -> None:
    """Name the language of a composed Bundle, and put its large attachments into Binaries.

    Args:
        bundle: Changed in place.
        inline_bytes: Largest attachment inside a resource.
        always: ``fullUrl`` of Binaries that hold an attachment however small it is.
    """
    for entry in bundle["entry"]:
        if "text" in entry["resource"]:
            entry["resource"]["language"] = LANGUAGE
    move_to_binaries(bundle, inline_bytes, always)


def written(bundle: Json, local_base: str) -> bytes:
    """A Bundle with the local names of the site, UTF-8 JSON."""
    text = json.dumps(bundle, ensure_ascii=False, indent=2)
    return (text.replace(LOCAL_BASE, local_base) + "\n").encode()


def read_bundle(data: bytes) -> tuple[Json, str]:
    """A Bundle that :func:`written` wrote, with the names of the software again, and the names of its site."""
    text = data.decode()
    bundle: Json = json.loads(text)
    base = local_base_of(bundle)
    return (bundle if base == LOCAL_BASE else json.loads(text.replace(base, LOCAL_BASE))), base


def local_base_of(bundle: Json) -> str:
    """Base URL of the local names: that of the tag by which its Provenance is found."""
    for entry in bundle["entry"]:
        for tag in entry["resource"].get("meta", {}).get("tag", []):
            if tag.get("system", "").endswith(_TAG):
                return str(tag["system"]).removesuffix(_TAG)
    return LOCAL_BASE
