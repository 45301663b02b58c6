"""What an HL7 v2 message asks for: orders (ORM^O01, OML^O21) and patient merges (ADT^A40), v2.3 to v2.8. No network.

Read by python-hl7 as plain values. HL7 v2.5.1 chapters 3 (ADT), 4 (orders), 7; IHE RAD TF-2 for the accession number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import hl7

from oncoresponse.v1 import order_pb2

# Table 0119, ORC-1.
_NEW = ("NW", "XO", "RF")
_CANCEL = ("CA", "DC", "OC", "OD")
_NO_ACTION = ("SC", "SN", "NA", "OK", "OE", "PR", "CR", "RE", "RU", "ZR", "ZC", "ZU", "HD", "RL", "OH", "OR")
# Table 0357.
_SEGMENT_SEQUENCE, _FIELD_MISSING, _DATA_TYPE, _TABLE_VALUE = "100", "101", "102", "103"
_UNSUPPORTED_TYPE, _UNSUPPORTED_EVENT = "200", "201"
_ACCESSION_FIELDS = {"IPC-1": ("IPC", 1), "OBR-18": ("OBR", 18), "OBR-3": ("OBR", 3), "ORC-2": ("ORC", 2)}
# Table 0211; what a sender leaves out is ASCII, of which UTF-8 is a superset.
_CHARACTER_SETS = {"": "utf-8", "ASCII": "ascii", "UNICODE UTF-8": "utf-8", "UNICODE": "utf-8"}
_ISO_8859 = re.compile(r"8859/(1|2|3|4|5|6|7|8|9|15)")
_SEXES = {"M": "M", "F": "F", "O": "O"}


class MessageRefused(Exception):
    """A message that is not carried out.

    Attributes:
        code: ERR-3, table 0357.
        where: ERR-2: segment, or segment and field, as ``PID^1^3``.
        what: Said of it; no patient data.
    """

    def __init__(self, code: str, where: str, what: str) -> None:
        super().__init__(what)
        self.code, self.where, self.what = code, where, what


@dataclass(frozen=True)
class Header:
    """Of a message.

    Attributes:
        sender: MSH-3 and MSH-4, with a bar between.
        receiver: MSH-5 and MSH-6, likewise.
        kind: MSH-9.1 and MSH-9.2, as ``ORM^O01``.
        control_id: MSH-10.
        processing_id: MSH-11.
        version: MSH-12.
    """

    sender: str
    receiver: str
    kind: str
    control_id: str
    processing_id: str
    version: str


@dataclass(frozen=True)
class PatientId:
    """A Patient ID and its issuer, as DICOM has them."""

    patient_id: str
    issuer_of_patient_id: str


@dataclass(frozen=True)
class Asked:
    """What a message asks for.

    Attributes:
        orders: To keep.
        cancelled: To cancel.
        merges: Patients to merge: the one that is given up, and the one that stays.
    """

    orders: tuple[order_pb2.Order, ...] = ()
    cancelled: tuple[order_pb2.Order, ...] = ()
    merges: tuple[tuple[PatientId, PatientId], ...] = ()


@dataclass(frozen=True)
class Hl7Reading:
    """How a site writes its messages.

    Attributes:
        issuers: DICOM Issuer of Patient ID by assigning authority (PID-3.4.1, else its universal ID); one that is not
            here is the issuer itself.
        accession_field: Where the accession number is: ``IPC-1``, ``OBR-18``, ``OBR-3`` or ``ORC-2``; empty for the
            first of the former two that has a value.
    """

    issuers: Mapping[str, str] = field(default_factory=dict)
    accession_field: str = ""


def decoded(block: bytes, encoding: str = "") -> Any:
    """The message of a block, as python-hl7 reads it.

    Args:
        block: Without the bytes around it.
        encoding: Of it; when not given, what MSH-18 says.

    Raises:
        MessageRefused: It is none, or in a character set that is not known or does not hold.
    """
    first = block.split(b"\r", 1)[0].decode("latin-1")
    if not first.startswith("MSH") or len(first) < 8:
        raise MessageRefused(_SEGMENT_SEQUENCE, "MSH", "no MSH segment")
    fields = first.split(first[3])
    name = fields[17].split(first[5] if len(first) > 5 else "~")[0].strip() if len(fields) > 17 else ""
    iso = _ISO_8859.fullmatch(name)
    encoding = encoding or (f"iso8859-{iso[1]}" if iso else _CHARACTER_SETS.get(name, ""))
    if not encoding:
        raise MessageRefused(_TABLE_VALUE, "MSH^1^18", "a character set that is not known")
    try:
        text = block.decode(encoding)
    except UnicodeDecodeError:
        raise MessageRefused(_DATA_TYPE, "MSH^1^18", "characters that are not of the character set in MSH-18") from None
    try:
        return hl7.parse(text.replace("\r\n", "\r").replace("\n", "\r"))
    except (hl7.HL7Exception, ValueError, IndexError, KeyError, TypeError):
        raise MessageRefused(_SEGMENT_SEQUENCE, "MSH", "not readable as HL7 v2") from None


def header_of(message: Any) -> Header:
    """Of a message of :func:`decoded`.

    Raises:
        MessageRefused: It has no type, or no control ID.
    """
    msh = _segments(message)[0][1]
    kind = f"{_value(message, msh, 9)}^{_value(message, msh, 9, 2)}"
    found = Header(
        sender=f"{_value(message, msh, 3)}|{_value(message, msh, 4)}",
        receiver=f"{_value(message, msh, 5)}|{_value(message, msh, 6)}",
        kind=kind,
        control_id=_value(message, msh, 10),
        processing_id=_value(message, msh, 11),
        version=_value(message, msh, 12),
    )
    if not found.control_id or len(found.control_id) > 199:
        raise MessageRefused(_FIELD_MISSING, "MSH^1^10", "no control ID")
    return found


def asked_of(message: Any, header: Header, reading: Hl7Reading) -> Asked:
    """What a message asks for.

    Args:
        message: Of :func:`decoded`.
        header: Of it.
        reading: How the site writes.

    Raises:
        MessageRefused: It is of another type, or lacks what cannot be done without.
    """
    if header.kind in ("ORM^O01", "OML^O21"):
        return _orders(message, f"hl7:{header.sender}", reading)
    if header.kind == "ADT^A40":
        return Asked(merges=tuple(_merges(message, reading)))
    known_type = header.kind.partition("^")[0] in ("ORM", "OML", "ADT")
    code, where = (_UNSUPPORTED_EVENT, "MSH^1^9^1^2") if known_type else (_UNSUPPORTED_TYPE, "MSH^1^9^1^1")
    raise MessageRefused(code, where, "only ORM^O01, OML^O21 and ADT^A40 are taken")


def _orders(message: Any, source: str, reading: Hl7Reading) -> Asked:
    segments = _segments(message)
    pid = next((each for name, each in segments if name == "PID"), None)
    if pid is None:
        raise MessageRefused(_SEGMENT_SEQUENCE, "PID", "no PID segment")
    patient = _patient(message, pid, 3, reading, "PID^1^3")
    birth_date = _value(message, pid, 7)[:8]
    sex = _value(message, pid, 8)
    orders, cancelled = [], []
    for group in _groups(segments):
        control = _value(message, group["ORC"], 1)
        if control in _NO_ACTION:
            continue
        if control not in (*_NEW, *_CANCEL):
            raise MessageRefused(_TABLE_VALUE, "ORC^1^1", "an order control code that is not taken")
        order = order_pb2.Order(
            source=source[:120],
            order_number=_order_number(message, group),
            accession_number=_accession(message, group, reading)[:64],
            patient_id=patient.patient_id,
            issuer_of_patient_id=patient.issuer_of_patient_id,
            birth_date=birth_date if re.fullmatch("[0-9]{8}", birth_date) else "",
            sex=_SEXES.get(sex, ""),
            codes=_codes(message, group),
        )
        if control in _CANCEL:
            cancelled.append(order)
            continue
        if not order.accession_number:
            where = reading.accession_field or "OBR-18"
            raise MessageRefused(_FIELD_MISSING, where.replace("-", "^1^"), f"no accession number in {where}")
        orders.append(order)
    return Asked(tuple(orders), tuple(cancelled))


def _groups(segments: Sequence[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
    """ORC with the first OBR and IPC that follow it."""
    group: dict[str, Any] = {}
    for name, segment in segments:
        if name == "ORC":
            if group:
                yield group
            group = {"ORC": segment}
        elif group and name in ("OBR", "IPC"):
            group.setdefault(name, segment)
    if not group:
        raise MessageRefused(_SEGMENT_SEQUENCE, "ORC", "no ORC segment")
    yield group


def _order_number(message: Any, group: Mapping[str, Any]) -> str:
    """Placer order number with its namespace: ORC-2, else OBR-2."""
    for name in ("ORC", "OBR"):
        if name in group and (number := _value(message, group[name], 2)):
            return "^".join(filter(None, (number, _value(message, group[name], 2, 2))))[:200]
    raise MessageRefused(_FIELD_MISSING, "ORC^1^2", "no placer order number")


def _accession(message: Any, group: Mapping[str, Any], reading: Hl7Reading) -> str:
    fields = (reading.accession_field,) if reading.accession_field else ("IPC-1", "OBR-18")
    for each in fields:
        name, number = _ACCESSION_FIELDS[each]
        if name in group and (value := _value(message, group[name], number)):
            return value
    return ""


def _codes(message: Any, group: Mapping[str, Any]) -> list[str]:
    """OBR-4, Universal Service Identifier: its code and the alternate one."""
    if "OBR" not in group:
        return []
    found = (_value(message, group["OBR"], 4, component)[:64] for component in (1, 4))
    return list(dict.fromkeys(filter(None, found)))


def _merges(message: Any, reading: Hl7Reading) -> Iterator[tuple[PatientId, PatientId]]:
    """Each MRG with the PID before it."""
    pid: Any = None
    found = False
    for name, segment in _segments(message):
        if name == "PID":
            pid = segment
        elif name == "MRG":
            if pid is None:
                raise MessageRefused(_SEGMENT_SEQUENCE, "PID", "no PID segment before MRG")
            given_up = _patient(message, segment, 1, reading, "MRG^1^1")
            yield given_up, _patient(message, pid, 3, reading, "PID^1^3")
            found = True
    if not found:
        raise MessageRefused(_SEGMENT_SEQUENCE, "MRG", "no MRG segment")


def _patient(message: Any, segment: Any, number: int, reading: Hl7Reading, where: str) -> PatientId:
    """The identifier of type MR, else the only one that has no type: another type is of another kind of number.

    Raises:
        MessageRefused: There is none, or more than one.
    """
    found = []
    for repetition in range(1, _repetitions(segment, number) + 1):
        identifier = _value(message, segment, number, 1, repetition)
        authority = _value(message, segment, number, 4, repetition) or _value(
            message, segment, number, 4, repetition, 2
        )
        kind = _value(message, segment, number, 5, repetition)
        if identifier:
            found.append((kind, PatientId(identifier, reading.issuers.get(authority, authority)[:64])))
    records = [patient for kind, patient in found if kind == "MR"]
    chosen = records or [patient for kind, patient in found if not kind]
    if len(chosen) != 1 or len(chosen[0].patient_id) > 64:
        raise MessageRefused(_FIELD_MISSING, where, "no patient identifier of type MR, or several")
    return chosen[0]


def _segments(message: Any) -> list[tuple[str, Any]]:
    """Name and segment, in their order."""
    return [(str(segment[0]), segment) for segment in message]


def _repetitions(segment: Any, number: int) -> int:
    return len(segment[number]) if number < len(segment) else 0


def _value(
    message: Any, segment: Any, number: int, component: int = 1, repetition: int = 1, subcomponent: int = 1
) -> str:
    """A value, unescaped; empty where there is none, and for the HL7 null (two quotes)."""
    try:
        found = segment.extract_field(1, number, repetition, component, subcomponent)
    except (IndexError, KeyError):
        return ""
    text = str(message.unescape(str(found or ""))).strip()
    return "" if text == '""' else text
