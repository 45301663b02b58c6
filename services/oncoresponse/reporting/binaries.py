"""Attachments that are too large to stand in their resource, as Binary resources of the same Bundle.

R4 leaves it open where the bytes of an Attachment are (``data`` or ``url``); EHRs limit the size of a resource. A
Binary can be searched by nothing (R4 Binary has no search parameters, and Medplum's server finds it by no tag), so a
conditional create would make another one each time. Its id is ours instead, a name-based UUID, and it is written by
``PUT Binary/id`` (R4 RESTful API, 3.1.0.4.1 update as create). It is the same one in every version of a report: what a
version shows takes the place of what the one before showed, and a withdrawn one leaves nothing to read.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator

from oncoresponse.case.identifiers import derived_uuid
from oncoresponse.reporting.code_systems import Json
from oncoresponse.reporting.fhir_identifiers import full_url


def move_to_binaries(bundle: Json, limit: int, always: Collection[str] = ()) -> None:
    """Move large attachments of the entries of a transaction Bundle into Binary entries before their resources.

    Args:
        bundle: Changed in place.
        limit: Bytes that may stay in a resource.
        always: ``fullUrl`` of Binaries to which an attachment moves however small it is.
    """
    moved: dict[str, str] = {}
    entries: list[Json] = []
    for entry in bundle["entry"]:
        resource = entry["resource"]
        for attachment in attachments(resource):
            parts = _parts(resource, attachment)
            url = full_url(*parts)
            if "data" not in attachment or (attachment["size"] <= limit and url not in always):
                continue
            entries.append(_entry(entry, attachment, parts))
            moved[attachment["hash"]] = attachment["url"] = url
            del attachment["data"]
        entries.append(entry)
    for entry in entries:
        # The same bytes are shown by several resources, and held once.
        for attachment in attachments(entry["resource"]):
            if "data" not in attachment and "url" not in attachment and attachment.get("hash") in moved:
                attachment["url"] = moved[attachment["hash"]]
    bundle["entry"] = entries


def emptied(entry: Json, text: str) -> Json:
    """The entry of a Binary with a text instead of what it held."""
    data = base64.b64encode(text.encode()).decode("ascii")
    return {**entry, "resource": {**entry["resource"], "contentType": "text/plain", "data": data}}


def attachments(resource: Json) -> Iterator[Json]:
    """Every Attachment of the resources that a report has."""
    match resource["resourceType"]:
        case "DiagnosticReport":
            yield from resource.get("presentedForm", [])
        case "Media":
            yield resource["content"]
        case "DocumentReference":
            yield from (content["attachment"] for content in resource["content"])


def _parts(resource: Json, attachment: Json) -> tuple[str, ...]:
    return ("binary", resource["identifier"][0]["value"], attachment.get("contentType", ""))


def _entry(owner: Json, attachment: Json, parts: tuple[str, ...]) -> Json:
    meta: Json = {}
    if security := owner["resource"].get("meta", {}).get("security"):
        meta["meta"] = {"security": security}
    return {
        "fullUrl": full_url(*parts),
        "resource": {
            "resourceType": "Binary",
            "id": str(derived_uuid(*parts)),
            **meta,
            "contentType": attachment["contentType"],
            "securityContext": {"reference": owner["fullUrl"], "type": owner["resource"]["resourceType"]},
            "data": attachment["data"],
        },
        "request": {"method": "PUT", "url": f"Binary/{derived_uuid(*parts)}"},
    }
