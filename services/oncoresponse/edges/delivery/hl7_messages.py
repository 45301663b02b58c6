"""The report as HL7 v2.5.1: ORU^R01 (chapter 7) and MDM^T02, T10, T11 (chapter 9). Made of artifacts, without network.

The same version gives the same bytes, MSH-10 included: a receiver that had the message, and whose acknowledgement was
lost, knows it again.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oncoresponse.edges.delivery.document_reference import report_of
from oncoresponse.edges.delivery.hl7_observations import Observed, observed_of, withdrawn_of
from oncoresponse.edges.delivery.hl7_segments import (
    Component,
    Field,
    add_header,
    add_segment,
    empty_message,
    encoded,
    timestamp,
)
from oncoresponse.edges.delivery.http_exchange import Json
from oncoresponse.rpc.ehr_settings import MllpDestination

_SERVICE = ("18748-4", "Diagnostic imaging study", "LN")
_CONCLUSION = ("55110-1", "Conclusions", "LN")
# OBR-25, table 0123: a withdrawal corrects the results, and cancels no order (X). OBX-11, table 0085. W: "Post original
# as wrong".
_RESULT_STATUS = {"preliminary": "P", "final": "F", "amended": "C", "entered-in-error": "C"}
_OBSERVATION_STATUS = {"preliminary": "P", "final": "F", "amended": "C", "entered-in-error": "W"}
_NO_RESULT = "X"
_NULL = '""'  # Section 2.5.3: what the receiver has is deleted.
# TXA-17, table 0271; TXA-19, table 0273.
_COMPLETION = {"preliminary": "DO", "final": "AU", "amended": "AU", "entered-in-error": "AU"}
_AVAILABLE, _DELETED = "AV", "CA"
_DOCUMENT_TYPE = "DI"  # TXA-2, table 0270: diagnostic imaging


@dataclass(frozen=True)
class PatientInImages:
    """What the objects of the study say of the patient; what is empty is not known.

    Attributes:
        name: Person Name of DICOM: family, given, middle, prefix, suffix by ``^``.
        birth_date: ``YYYYMMDD``.
        sex: ``M``, ``F`` or ``O``.
        accession_number: Of the study.
    """

    name: str = ""
    birth_date: str = ""
    sex: str = ""
    accession_number: str = ""


@dataclass(frozen=True)
class ReportVersion:
    """What a message is made of.

    Attributes:
        delivery: Name of the delivery, the same for every attempt.
        assessment: ``assessments/ID``.
        version: Of the report.
        bundle: Of the version.
        pdf: Its page.
        patient: From the objects of the version.
    """

    delivery: str
    assessment: str
    version: int
    bundle: Json
    pdf: bytes
    patient: PatientInImages = PatientInImages()

    @property
    def report(self) -> Json:
        """The DiagnosticReport."""
        return report_of(self.bundle)

    @property
    def status(self) -> str:
        """Of the report, as FHIR calls it."""
        return str(self.report.get("status", "preliminary"))


def control_id(version: ReportVersion) -> str:
    """MSH-10, at most 20 characters: the same for every attempt."""
    return hashlib.sha256(version.delivery.encode()).hexdigest()[:20].upper()


def message_of(version: ReportVersion, destination: MllpDestination) -> bytes:
    """The message of the form that the destination takes."""
    make = _oru if destination.form == "oru" else _mdm
    return encoded(make(version, destination))


def _oru(version: ReportVersion, destination: MllpDestination) -> Any:
    message = _begun(version, destination, ("ORU", "R01", "ORU_R01"))
    add_segment(message, "PID", _patient(version, destination))
    placer, filler = _order(version), _filler(version)
    add_segment(message, "ORC", {1: "RE", 2: placer, 3: filler})
    fields: dict[int, Field] = {
        1: "1",
        2: placer,
        3: filler,
        4: _SERVICE,
        7: timestamp(str(version.report.get("effectiveDateTime", ""))),
        18: _accession(version),
        22: timestamp(str(version.report.get("issued", ""))),
        24: "RAD",
        25: _RESULT_STATUS.get(version.status, "P"),
    }
    if signer := _signer(version):
        # NDL: name as CNN, of which the identifier and the name are known.
        fields[32] = [list(signer)]
    add_segment(message, "OBR", fields)
    for number, each in enumerate(_results(version), start=1):
        add_segment(message, "OBX", _result(version, number, each))
    return message


def _mdm(version: ReportVersion, destination: MllpDestination) -> Any:
    withdrawn = version.status == "entered-in-error"
    event = "T02" if version.version == 1 else "T10"
    structure = "MDM_T02"
    if withdrawn and destination.withdraw_by == "T11":
        event, structure = "T11", "MDM_T01"
    message = _begun(version, destination, ("MDM", event, structure))
    issued = timestamp(str(version.report.get("issued", "")))
    add_segment(message, "EVN", {1: event, 2: issued})
    add_segment(message, "PID", _patient(version, destination))
    add_segment(message, "PV1", {1: "1", 2: "U"})
    signer = _signer(version)
    cancels = event == "T11"
    fields: dict[int, Field] = {
        1: "1",
        2: _DOCUMENT_TYPE,
        3: "AP",
        4: timestamp(str(version.report.get("effectiveDateTime", ""))),
        6: issued,
        12: _document(version, version.version - 1 if cancels else version.version),
        14: _order(version),
        15: _filler(version),
        17: _COMPLETION.get(version.status, "DO"),
        19: _DELETED if withdrawn else _AVAILABLE,
    }
    if version.version > 1 and not cancels:
        fields[13] = _document(version, version.version - 1)
    if signer:
        # PPN: who, and in the fifteenth component when.
        fields[22] = [*signer, *[""] * (14 - len(signer)), issued]
    add_segment(message, "TXA", fields)
    if not cancels:
        add_segment(message, "OBX", _result(version, 1, _page(version)))
    return message


def _begun(version: ReportVersion, destination: MllpDestination, kind: tuple[str, str, str]) -> Any:
    message = empty_message()
    header: dict[int, Field] = {
        3: destination.sending_application,
        4: destination.sending_facility,
        5: destination.receiving_application,
        6: destination.receiving_facility,
        # When the version was made, not when it is sent: a repeat is the same message.
        7: timestamp(str(version.report.get("issued", ""))),
        9: kind,
        10: control_id(version),
        11: destination.processing_id,
        12: "2.5.1",
        18: "UNICODE UTF-8",
    }
    add_header(message, header)
    return message


def _patient(version: ReportVersion, destination: MllpDestination) -> dict[int, Field]:
    identifier = version.report.get("subject", {}).get("identifier", {})
    images = version.patient
    name = images.name.partition("=")[0].split("^")
    # DICOM: family, given, middle, prefix, suffix. XPN: family, given, middle, suffix, prefix.
    family, given, middle, prefix, suffix = [*name, *[""] * 5][:5]
    return {
        1: "1",
        3: [
            str(identifier.get("value", "")),
            "",
            "",
            _authority(identifier, destination),
            "MR",
        ],
        # Required; where no name is known, its type says so (table 0200, U: unspecified).
        5: [family, given, middle, suffix, prefix, "", "L"] if images.name else ["", "", "", "", "", "", "U"],
        7: images.birth_date,
        8: images.sex,
    }


def _authority(identifier: Mapping[str, Any], destination: MllpDestination) -> Component:
    """HD of PID-3.4: as the settings say of the issuer, else the OID of the system, else the issuer itself.

    Issuer of Patient ID is the namespace of the assigning authority (IHE RAD TF-2, appendix D). What the settings say
    for identifiers without an issuer is never said of one that has another: the same number there is another patient.
    """
    issuer = str(identifier.get("assigner", {}).get("display", ""))
    if known := destination.assigning_authorities.get(issuer, ""):
        return known.split("&")
    system = str(identifier.get("system", ""))
    if system.startswith("urn:oid:"):
        return [issuer, system.removeprefix("urn:oid:"), "ISO"]
    if issuer:
        return [issuer, system, "URI"] if system else [issuer]
    return destination.assigning_authority.split("&") if destination.assigning_authority else ["", system, "URI"]


def _order(version: ReportVersion) -> Field:
    """Placer order number: the accession number, or the ServiceRequest that the request named."""
    for each in version.report.get("basedOn", []):
        if value := each.get("identifier", {}).get("value"):
            return str(value)
        if reference := str(each.get("reference", "")).partition("ServiceRequest/")[2]:
            return reference
    return version.patient.accession_number


def _accession(version: ReportVersion) -> Field:
    return version.patient.accession_number or _order(version)


def _filler(version: ReportVersion) -> Field:
    """The assessment: the same for all versions of its report."""
    return [version.assessment.removeprefix("assessments/"), "ONCORESPONSE"]


def _document(version: ReportVersion, number: int) -> Field:
    """Unique number of the document of one version."""
    return [f"{version.assessment.removeprefix('assessments/')}.{number}", "ONCORESPONSE"]


def _signer(version: ReportVersion) -> tuple[str, str] | None:
    """Identifier and name of who signed; ``None`` where nobody has."""
    for each in version.report.get("resultsInterpreter", []):
        return str(each.get("identifier", {}).get("value", "")), str(each.get("display", ""))
    return None


def _page(version: ReportVersion) -> Observed:
    """The PDF as ED: source, type (table 0191), subtype, encoding, data."""
    data = base64.b64encode(version.pdf).decode()
    return Observed("ED", _SERVICE, ("", "AP", "PDF", "Base64", data))


def _results(version: ReportVersion) -> Iterator[Observed]:
    """The page, the conclusion, and each value that the report lists; of a withdrawn version each without its value."""
    yield _page(version)
    if conclusion := str(version.report.get("conclusion", "")):
        yield Observed("FT", _CONCLUSION, conclusion)
    if version.status != "entered-in-error":
        yield from observed_of(version.bundle, version.report)
    else:
        # A receiver files values by code and part: one that is not named stays as it was.
        for each in withdrawn_of(version.bundle):
            yield Observed("ST", each.code, _NULL, part=each.part)


def _result(version: ReportVersion, number: int, observed: Observed) -> dict[int, Field]:
    status = _OBSERVATION_STATUS.get(version.status, "P")
    return {
        1: str(number),
        2: observed.value_type if observed.value else "",
        3: observed.code,
        4: observed.part,
        5: observed.value,
        6: observed.unit,
        11: status if observed.value else _NO_RESULT,
        14: timestamp(str(version.report.get("effectiveDateTime", ""))),
    }
