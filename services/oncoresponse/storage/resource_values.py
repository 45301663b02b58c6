"""The resources of a report's Bundle as they are kept for reading: each with its id, and by what it is found.

Plain functions of plain data: nothing here asks a database.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from oncoresponse.case.resource_search import (
    EVERY_TYPE,
    PARAMETERS,
    SHARED_TYPES,
    SORT_DATES,
    PatientName,
    SearchKind,
    SearchParameter,
)

Json = dict[str, Any]

_NAMESPACE = uuid.UUID("0d1f6a7e-3b0c-5a53-9c0e-6a3c0b6f2d47")
_LONGEST_INLINE = 8 * 1024
_LONGEST_VALUE = 250
_DATE_TIME = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d{2})(-(?P<day>\d{2})"
    r"(T(?P<hour>\d{2}):(?P<minute>\d{2})(:(?P<second>\d{2})(\.(?P<fraction>\d+))?)?(?P<zone>Z|[+-]\d{2}:\d{2})?)?)?)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_999
"""The years 1 to 9999: an open end of a period."""


@dataclass(frozen=True)
class Token:
    """A value of a token parameter; ``system`` is empty where it has none."""

    parameter: str
    system: str
    value: str


@dataclass(frozen=True)
class DateRange:
    """A value of a date parameter: its first and its last millisecond since 1970 (UTC)."""

    parameter: str
    low_ms: int
    high_ms: int


@dataclass(frozen=True)
class Reference:
    """A value of a reference parameter: ``Type/id``, or the URL of what another server has."""

    parameter: str
    target: str


@dataclass(frozen=True)
class IndexedResource:
    """A resource.

    Attributes:
        resource_type, id: What it is called.
        content: JSON without ``meta.versionId`` and ``meta.lastUpdated``, which belong to whoever keeps it.
        shared: It describes no patient; reports of several may refer to it.
        sort_ms: Its date; ``None`` where it has none.
        place: Where in the Bundle the bytes of a Binary are; empty for all others.
        digest: SHA-256 of what a reader gets.
        tokens, dates, references: By what it is found.
    """

    resource_type: str
    id: str
    content: str
    digest: str
    shared: bool = False
    sort_ms: int | None = None
    place: str = ""
    tokens: tuple[Token, ...] = ()
    dates: tuple[DateRange, ...] = ()
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class IndexedBundle:
    """All resources of a Bundle, and whose its report is."""

    resources: tuple[IndexedResource, ...]
    patients: tuple[PatientName, ...]


@dataclass
class _Entry:
    """A resource on its way."""

    resource: Json
    id: str
    shared: bool
    place: str = ""
    data: str = ""
    further: list[_Entry] = field(default_factory=list)


def indexed_bundle(bundle: bytes, assessment: str, tenant: str) -> IndexedBundle:
    """The resources of a transaction Bundle.

    Args:
        bundle: JSON.
        assessment: Whose report it is: the same resource of two assessments is two, but for what is shared.
        tenant: Of the assessment; what is shared is shared within it.

    Raises:
        ValueError: It is no Bundle.
    """
    read: Json = json.loads(bundle)
    entries: list[_Entry] = []
    names: dict[str, str] = {}
    names_of_shared: dict[str, str] = {}
    for number, entry in enumerate(read["entry"]):
        resource = entry["resource"]
        kind = resource["resourceType"]
        if kind not in PARAMETERS:
            continue
        shared = kind in SHARED_TYPES and "patient" not in resource
        scope = f"tenant {tenant}" if shared else f"assessment {assessment}"
        made = _Entry(resource, _id(scope, kind, _key(entry)), shared)
        names[entry["fullUrl"]] = f"{kind}/{made.id}"
        if shared:
            names_of_shared[entry["fullUrl"]] = f"{kind}/{made.id}"
        _move_data_out(made, number, scope)
        entries.append(made)
    found: dict[tuple[str, str], IndexedResource] = {}
    for entry in entries:
        for each in (entry, *entry.further):
            # What reports of several patients share leads to none of them: a Device names its model card by identifier.
            indexed = _indexed(each, names_of_shared if each.shared else names)
            found[indexed.resource_type, indexed.id] = indexed
    return IndexedBundle(tuple(found.values()), _patients(read))


def bytes_at(bundle: bytes, place: str) -> str:
    """The base64 text that :attr:`IndexedResource.place` says.

    Raises:
        ValueError, LookupError: It is not there.
    """
    number, *path = json.loads(place)
    found: Any = json.loads(bundle)["entry"][number]["resource"]
    for step in path:
        found = found[step]
    return str(found)


def date_range(text: str) -> tuple[int, int]:
    """First and last millisecond of a FHIR date, dateTime or instant; without a zone it is UTC.

    Raises:
        ValueError: It is none.
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError("not a date")
    part = {name: value for name, value in match.groupdict().items() if value is not None}
    year, month, day = int(part["year"]), int(part.get("month", 1)), int(part.get("day", 1))
    if "hour" not in part:
        low = datetime(year, month, day, tzinfo=UTC)
        last_month = int(part.get("month", 12))
        high = datetime(year, last_month, int(part.get("day", monthrange(year, last_month)[1])), tzinfo=UTC)
        return _ms(low), _ms(high) + 86_400_000 - 1
    offset = timedelta()
    if (zone := part.get("zone", "Z")) != "Z":
        sign = 1 if zone[0] == "+" else -1
        offset = sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    second = int(part.get("second", 0))
    # A leap second is the last one of its minute.
    low = datetime(year, month, day, int(part["hour"]), int(part["minute"]), min(second, 59), tzinfo=UTC) - offset
    if "second" not in part:
        return _ms(low), _ms(low) + 59_999
    if "fraction" not in part:
        return _ms(low), _ms(low) + 999
    milliseconds = int(part["fraction"][:3].ljust(3, "0"))
    return _ms(low) + milliseconds, _ms(low) + milliseconds


def token_value(text: str) -> str:
    """A value as it is kept: one that is too long for the index as its digest."""
    if len(text) <= _LONGEST_VALUE:
        return text
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _ms(time: datetime) -> int:
    return int((time - _EPOCH) / timedelta(milliseconds=1))


def _id(scope: str, kind: str, key: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{scope}\n{kind}\n{key}"))


def _key(entry: Json) -> str:
    """What stays the same in each version: the first identifier, the tag of what has none, or the fullUrl."""
    resource = entry["resource"]
    identifiers = resource.get("identifier")
    if isinstance(identifiers, list) and identifiers:
        return f"{identifiers[0].get('system', '')}|{identifiers[0].get('value', '')}"
    tags = resource.get("meta", {}).get("tag")
    if tags and resource["resourceType"] == "Provenance":
        return f"{tags[0].get('system', '')}|{tags[0].get('code', '')}"
    return str(entry["fullUrl"])


def _move_data_out(entry: _Entry, number: int, scope: str) -> None:
    """Make large attachments Binary resources of their own, whose bytes stay in the Bundle."""
    resource = entry.resource
    if resource["resourceType"] == "Binary":
        if "data" in resource:
            entry.resource = {name: value for name, value in resource.items() if name != "data"}
            entry.place, entry.data = json.dumps([number, "data"]), str(resource["data"])
        return

    def moved(value: Any, path: list[str | int]) -> Any:
        if isinstance(value, list):
            return [moved(item, [*path, index]) for index, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        data = value.get("data")
        if not (isinstance(data, str) and len(data) > _LONGEST_INLINE and "contentType" in value):
            return {name: moved(item, [*path, name]) for name, item in value.items()}
        binary_id = _id(scope, "Binary", json.dumps([entry.id, *path]))
        binary = {"resourceType": "Binary", "contentType": value["contentType"]}
        binary["securityContext"] = {"reference": f"{resource['resourceType']}/{entry.id}"}
        place = json.dumps([number, *path, "data"])
        entry.further.append(_Entry(binary, binary_id, entry.shared, place, data))
        kept = {name: item for name, item in value.items() if name != "data"}
        return {**kept, "url": f"Binary/{binary_id}"}

    entry.resource = moved(resource, [])


def _indexed(entry: _Entry, names: Mapping[str, str]) -> IndexedResource:
    resource = _with_local_references(entry.resource, names)
    kind = resource["resourceType"]
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    resource = {"resourceType": kind, "id": entry.id, "meta": meta} | {
        name: value for name, value in resource.items() if name not in ("resourceType", "id", "meta")
    }
    tokens: dict[Token, None] = {}
    dates: dict[DateRange, None] = {}
    references: dict[Reference, None] = {}
    for name, parameter in (*EVERY_TYPE.items(), *PARAMETERS[kind].items()):
        if parameter.is_patient:
            continue
        for value in _values(resource, parameter):
            if parameter.kind is SearchKind.TOKEN:
                tokens.update(dict.fromkeys(_tokens(f"{kind}.{name}", value)))
            elif parameter.kind is SearchKind.DATE:
                dates.update(dict.fromkeys(_dates(f"{kind}.{name}", value)))
            else:
                references.update(dict.fromkeys(_references(f"{kind}.{name}", value)))
    sort = next((each.low_ms for each in dates if each.parameter == f"{kind}.{SORT_DATES.get(kind)}"), None)
    content = json.dumps(resource, ensure_ascii=False, separators=(",", ":"))
    found = tuple(tokens), tuple(dates), tuple(references)
    digest = hashlib.sha256((content + entry.data).encode()).hexdigest()
    return IndexedResource(kind, entry.id, content, digest, entry.shared, sort, entry.place, *found)


def _with_local_references(value: Any, names: Mapping[str, str]) -> Any:
    """References to entries of the Bundle as ``Type/id``; one to what is not served keeps its words alone."""
    if isinstance(value, list):
        return [_with_local_references(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {}
    for name, item in value.items():
        if name in ("reference", "url") and isinstance(item, str) and item.startswith("urn:uuid:"):
            if item in names:
                changed[name] = names[item]
            elif name == "url":
                changed[name] = item
            continue
        changed[name] = _with_local_references(item, names)
    return changed


def _values(resource: Json, parameter: SearchParameter) -> Iterator[Any]:
    for path in parameter.paths:
        yield from _at(resource, path.split("."))


def _at(value: Any, path: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _at(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


def _tokens(parameter: str, value: Any) -> Iterator[Token]:
    """Of code, boolean, uri, Coding, CodeableConcept or Identifier (R4 section 3.1.1.4.10)."""
    if isinstance(value, bool):
        yield Token(parameter, "", str(value).lower())
    elif isinstance(value, str):
        yield Token(parameter, "", token_value(value))
    elif "coding" in value:
        for coding in value["coding"]:
            yield from _tokens(parameter, coding)
    elif "value" in value or "code" in value:
        yield Token(parameter, str(value.get("system", "")), token_value(str(value.get("value", value.get("code")))))


def _dates(parameter: str, value: Any) -> Iterator[DateRange]:
    try:
        if isinstance(value, str):
            yield DateRange(parameter, *date_range(value))
        else:
            low = date_range(value["start"])[0] if "start" in value else FIRST_MS
            yield DateRange(parameter, low, date_range(value["end"])[1] if "end" in value else LAST_MS)
    except ValueError:
        # A date that no calendar has is found by none.
        return


def _references(parameter: str, value: Any) -> Iterator[Reference]:
    if isinstance(value, dict) and isinstance(target := value.get("reference"), str):
        yield Reference(parameter, target)


def _patients(bundle: Json) -> tuple[PatientName, ...]:
    """Whom the report names, as ``DiagnosticReport.subject``."""
    found: dict[PatientName, None] = {}
    resources = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
    for resource in resources.values():
        if resource["resourceType"] != "DiagnosticReport":
            continue
        subject = resource.get("subject", {})
        reference = str(subject.get("reference", ""))
        identifiers = [subject.get("identifier", {}), *resources.get(reference, {}).get("identifier", [])]
        if reference and reference not in resources:
            found[PatientName("reference", "", reference)] = None
            # The EHR writes its own address before it or not.
            found[PatientName("reference", "", "/".join(reference.split("/")[-2:]))] = None
        for identifier in identifiers:
            if "value" in identifier:
                system, value = str(identifier.get("system", "")), str(identifier["value"])
                found[PatientName("identifier", system, value)] = None
    return tuple(found)
