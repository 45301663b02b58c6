"""The same Bundle in FHIR R5 (5.0.0), for readers that ask for it: a change of shape, nothing added, nothing left out.

It follows the differences that R5 lists against R4 ("R4 Diff" of each resource). Media is gone in R5: the key image is
a DocumentReference. Where R5 has no element for what R4 said, it stands in the extension that HL7 defines for elements
of another version (``http://hl7.org/fhir/4.0/StructureDefinition/extension-...``, R5 section 2.1.0.14).
"""

from __future__ import annotations

import json
from collections.abc import Callable

from oncoresponse.reporting.code_systems import Json

FHIR_VERSION = "5.0.0"
_OF_R4 = "http://hl7.org/fhir/4.0/StructureDefinition/extension-"
# R5 knows no derivation: what was turned into the result is its source.
_ENTITY_ROLES = {"derivation": "source"}


def r5_bundle(bundle: bytes) -> bytes:
    """The Bundle in R5. The same Bundle gives the same bytes.

    Args:
        bundle: FHIR R4 Bundle of a version of a report, UTF-8 JSON.

    Returns:
        UTF-8 JSON.
    """
    read: Json = json.loads(bundle)
    read["entry"] = [_entry(entry) for entry in read["entry"]]
    return (json.dumps(_everywhere(read), ensure_ascii=False, indent=2) + "\n").encode()


def _entry(entry: Json) -> Json:
    resource = dict(entry["resource"])
    change = _CHANGES.get(resource["resourceType"])
    request = entry["request"]
    if resource["resourceType"] == "Media":
        request = {**request, "url": request["url"].replace("Media", "DocumentReference", 1)}
    return {**entry, "resource": change(resource) if change else resource, "request": request}


def _everywhere(value: object) -> object:
    """What is another in every resource: integer64 is a JSON string (R5 section 2.1.28.0.1), and Media has no type."""
    if isinstance(value, list):
        return [_everywhere(item) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _everywhere(item) for key, item in value.items()}
    if "contentType" in changed and isinstance(changed.get("size"), int):
        changed["size"] = str(changed["size"])
    if "reference" in changed and changed.get("type") == "Media":
        changed["type"] = "DocumentReference"
    return changed


def _report(resource: Json) -> Json:
    return _renamed(resource, {"imagingStudy": "study"})


def _study(resource: Json) -> Json:
    changed = dict(resource)
    if "modality" in changed:
        changed["modality"] = [_concept(coding) for coding in changed["modality"]]
    changed["series"] = [_series(item) for item in changed.get("series", [])]
    if "contained" in changed:
        changed["contained"] = [_endpoint(item) for item in changed["contained"]]
    return changed


def _series(series: Json) -> Json:
    changed = {**series, "modality": _concept(series["modality"])}
    if "bodySite" in series:
        changed["bodySite"] = {"concept": _concept(series["bodySite"])}
    if "laterality" in series:
        changed["laterality"] = _concept(series["laterality"])
    return changed


def _endpoint(resource: Json) -> Json:
    changed = dict(resource)
    changed["connectionType"] = [_concept(changed["connectionType"])]
    changed["payload"] = [{"type": changed.pop("payloadType"), "mimeType": changed.pop("payloadMimeType")}]
    return changed


def _body_structure(resource: Json) -> Json:
    """R5 asks for a structure; where R4 had no location, it is said that none is asserted."""
    changed = dict(resource)
    structure = changed.pop("location", None) or {"text": "Anatomical site not asserted"}
    return {**changed, "includedStructure": [{"structure": structure}]}


def _device(resource: Json) -> Json:
    changed = dict(resource)
    names = changed.pop("deviceName")
    # R5 moved the R4 name type "model-name" to modelNumber, and knows it no more.
    changed["name"] = [{"value": item["name"], "type": "user-friendly-name", "display": True} for item in names]
    changed["type"] = [changed["type"]]
    return changed


def _provenance(resource: Json) -> Json:
    changed = dict(resource)
    if "reason" in changed:
        changed["authorization"] = [{"concept": item} for item in changed.pop("reason")]
    changed["entity"] = [
        {**item, "role": _ENTITY_ROLES.get(item["role"], item["role"])} for item in changed.get("entity", [])
    ]
    return changed


def _document(resource: Json) -> Json:
    changed = dict(resource)
    if "masterIdentifier" in changed:
        changed["identifier"] = [*changed.get("identifier", []), changed.pop("masterIdentifier")]
    changed["content"] = [_content(item) for item in changed["content"]]
    around = changed.pop("context", {})
    if "encounter" in around:
        changed["context"] = around["encounter"]
    if "related" in around:
        changed["extension"] = [
            *changed.get("extension", []),
            *(
                {"url": f"{_OF_R4}DocumentReference.context.related", "valueReference": item}
                for item in around["related"]
            ),
        ]
    if "authenticator" in changed:
        party = changed.pop("authenticator")
        changed["attester"] = [{"mode": _ATTESTED, "party": party}]
    return changed


_ATTESTED: Json = {
    "coding": [
        {
            "system": "http://hl7.org/fhir/composition-attestation-mode",
            "code": "professional",
            "display": "Professional",
        }
    ]
}


def _content(content: Json) -> Json:
    changed = dict(content)
    if "format" in changed:
        changed["profile"] = [{"valueCoding": changed.pop("format")}]
    return changed


def _key_image(resource: Json) -> Json:
    """Media as DocumentReference, with the size of the image in its attachment."""
    content = dict(resource["content"])
    for name in ("width", "height"):
        if name in resource:
            content[name] = resource[name]
    withdrawn = resource["status"] == "entered-in-error"
    shared = ("meta", "language", "text", "identifier", "subject")
    kept: Json = {name: resource[name] for name in shared if name in resource}
    made: Json = {
        "resourceType": "DocumentReference",
        **kept,
        "status": "entered-in-error" if withdrawn else "current",
        "content": [{"attachment": content}],
    }
    if "createdDateTime" in resource:
        made["date"] = resource["createdDateTime"]
    return made


def _renamed(resource: Json, names: dict[str, str]) -> Json:
    return {names.get(key, key): value for key, value in resource.items()}


def _concept(coding: Json) -> Json:
    return {"coding": [coding]}


_CHANGES: dict[str, Callable[[Json], Json]] = {
    "BodyStructure": _body_structure,
    "Device": _device,
    "DiagnosticReport": _report,
    "DocumentReference": _document,
    "ImagingStudy": _study,
    "Media": _key_image,
    "Provenance": _provenance,
}
