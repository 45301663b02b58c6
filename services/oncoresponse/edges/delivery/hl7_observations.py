"""Observations of the Bundle as values of OBX segments (HL7 v2.5.1 section 7.4.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from oncoresponse.edges.delivery.hl7_segments import Field
from oncoresponse.edges.delivery.http_exchange import Json

# Table 0396.
_CODING_SYSTEMS = {
    "http://loinc.org": "LN",
    "http://snomed.info/sct": "SCT",
    "http://dicom.nema.org/resources/ontology/DCM": "DCM",
    # Has none there.
    "urn:oid:1.2.840.10008.2.16.13": "99IBSI",
}
_LOCAL = "99ONCORESPONSE"
# DCM 125007: the inputs of the model, tens of them; they stand in the Bundle and in the SR.
_MEASUREMENT_GROUP = "125007"


@dataclass(frozen=True)
class Observed:
    """A value of an OBX.

    Attributes:
        value_type: OBX-2.
        code: OBX-3, as CE: code, text, system, and the same of an alternate.
        value: OBX-5; empty where there is none.
        unit: OBX-6, UCUM.
        part: OBX-4: tells values of the same code apart.
    """

    value_type: str
    code: Field
    value: Field
    unit: Field = ""
    part: str = ""


def observed_of(bundle: Json, report: Json) -> Iterator[Observed]:
    """Values of the Observations that a report lists, in its order, each with those of its components."""
    resources = {entry.get("fullUrl"): entry.get("resource", {}) for entry in bundle["entry"]}
    seen: Counter[str] = Counter()
    for reference in report.get("result", []):
        resource = resources.get(reference.get("reference"))
        if resource is None or _is_group(resource):
            continue
        part = _part(resource, seen)
        components = resource.get("component", [])
        # One without a value says so, whatever stands beside it.
        if _value(resource) or not components or "dataAbsentReason" in resource:
            yield _observed(resource, part)
        for each in components:
            yield _observed(each, part)


def withdrawn_of(bundle: Json) -> Iterator[Observed]:
    """Code and part of all that :func:`observed_of` may have named of an earlier version, from the withdrawn one.

    The withdrawn report lists no result; its Observations stand in the order of before, and keep codes alone. Whether
    one with components had a value of its own is not known any more, so it is named too.
    """
    seen: Counter[str] = Counter()
    for entry in bundle["entry"]:
        resource = entry.get("resource", {})
        if resource.get("resourceType") != "Observation" or _is_group(resource):
            continue
        part = _part(resource, seen)
        yield from (_observed(each, part) for each in (resource, *resource.get("component", [])))


def _part(resource: Json, seen: Counter[str]) -> str:
    """How many of this code have come by now."""
    first = str(resource.get("code", {}).get("coding", [{}])[0].get("code", ""))
    seen[first] += 1
    return str(seen[first])


def _is_group(resource: Json) -> bool:
    return any(each.get("code") == _MEASUREMENT_GROUP for each in resource.get("code", {}).get("coding", []))


def _observed(element: Json, part: str) -> Observed:
    value_type, value, unit = _value(element) or ("", "", "")
    return Observed(value_type, _coded(element.get("code", {})), value, unit, part)


def _value(element: Json) -> tuple[str, Field, Field] | None:
    """OBX-2, OBX-5 and OBX-6; ``None`` where the element has no value that HL7 has a type for."""
    if (quantity := element.get("valueQuantity")) is not None and "value" in quantity:
        unit = [str(quantity.get("code", quantity.get("unit", ""))), str(quantity.get("unit", "")), "UCUM"]
        number = _number(quantity["value"])
        if comparator := quantity.get("comparator"):
            return "SN", [str(comparator), number], unit
        return "NM", number, unit
    if "valueInteger" in element:
        return "NM", _number(element["valueInteger"]), ""
    if concept := element.get("valueCodeableConcept"):
        return "CE", _coded(concept), ""
    if "valueString" in element:
        return "ST", str(element["valueString"]), ""
    if "valueBoolean" in element:
        return "ST", "yes" if element["valueBoolean"] else "no", ""
    return None


def _number(value: object) -> str:
    """NM has no exponent (section 2.A.47)."""
    return f"{value:f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _coded(concept: Json) -> list[str]:
    """CE of a CodeableConcept: its first two codings, a standard one first, with the words of the report."""
    codings = sorted(concept.get("coding", []), key=lambda each: each.get("system") not in _CODING_SYSTEMS)[:2]
    text = str(concept.get("text", ""))
    made: list[str] = []
    for number, each in enumerate(codings):
        shown = str(each.get("display", "")) or text
        words = text if number == 0 and text else shown
        made += [str(each.get("code", "")), words, _CODING_SYSTEMS.get(each.get("system", ""), _LOCAL)]
    return made or ["", text, ""]
