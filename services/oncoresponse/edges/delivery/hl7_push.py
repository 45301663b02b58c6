"""Sends to an interface engine by HL7 v2.5.1: ORU^R01, or MDM^T02 and what follows it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue

from oncoresponse.edges.delivery.fhir_push import BUNDLE, PDF, read_bundle
from oncoresponse.edges.delivery.hl7_messages import PatientInImages, ReportVersion, control_id, message_of
from oncoresponse.edges.delivery.mllp import Acknowledgement, exchange_message
from oncoresponse.edges.delivery.sending import AttemptEnded, FileOutcome, Outcome, Parcel
from oncoresponse.errors import (
    DeliveryRefused,
    DestinationAnswerRefused,
    PatientNotFoundAtDestination,
    PeerUnavailable,
)
from oncoresponse.rpc.ehr_settings import MllpDestination
from oncoresponse.v1 import delivery_pb2

# Objects that hold the patient's name, and are small; of a version there is at least one.
_OF_PATIENT = ("encapsulated-report.dcm", "rejection-note.dcm")
_TAGS = ("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "SpecificCharacterSet")
_ACCEPTED, _ERROR, _REJECTED = ("AA", "CA"), ("AE", "CE"), ("AR", "CR")
# Table 0357: what the receiver will not take however often it is sent; what it may take later; what it does not know.
_NEVER = ("200", "201", "202", "203")
_LATER = ("206", "207")
_UNKNOWN_KEY = "204"


class Hl7Sender:
    """See :class:`~oncoresponse.edges.delivery.sending.DeliverySender`.

    Args:
        destination: Where to, and in which form.
    """

    def __init__(self, destination: MllpDestination) -> None:
        self._destination = destination

    def takes(self, file: delivery_pb2.DeliveryFile) -> bool:
        """What a message is made of: the Bundle, the page, and who the patient is."""
        return file.file_name in (BUNDLE, PDF, *_OF_PATIENT)

    def send(self, delivery: delivery_pb2.Delivery, parcels: Sequence[Parcel]) -> Outcome:
        """Send the message, the same at each attempt, and take its acknowledgement."""
        held = {parcel.file_name: parcel for parcel in parcels}
        if not held or all(parcel.stored for parcel in parcels):
            return Outcome({name: FileOutcome(stored=True) for name in held})
        try:
            version = _version(delivery, held)
            acknowledgement = exchange_message(self._destination, message_of(version, self._destination))
            _require_accepted(acknowledgement, control_id(version))
        except AttemptEnded as ended:
            return ended.outcome()
        return Outcome({name: FileOutcome(stored=True) for name in held}, receipt={"MSH-10": control_id(version)})


def _version(delivery: delivery_pb2.Delivery, held: Mapping[str, Parcel]) -> ReportVersion:
    if BUNDLE not in held or PDF not in held:
        raise AttemptEnded(DeliveryRefused("This version of the report has no page to send."), permanent=True)
    version = ReportVersion(
        delivery.name,
        delivery.assessment,
        delivery.report_version,
        read_bundle(held[BUNDLE].data),
        held[PDF].data,
        _patient(held),
    )
    if not version.report.get("subject", {}).get("identifier", {}).get("value"):
        raise AttemptEnded(
            PatientNotFoundAtDestination(
                "The report names no patient identifier, so no message can be filed. Nothing was sent."
            ),
            hold=True,
        )
    return version


def _patient(held: Mapping[str, Parcel]) -> PatientInImages:
    for name in _OF_PATIENT:
        if name not in held:
            continue
        try:
            with warnings.catch_warnings():
                # Values of the study that break DICOM's rules are passed on as they are.
                warnings.simplefilter("ignore")
                found = dcmread(BytesIO(held[name].data), stop_before_pixels=True, specific_tags=list(_TAGS))
        except (InvalidDicomError, EOFError, ValueError):
            continue
        return PatientInImages(*(_text(found, tag) for tag in _TAGS[:4]))
    return PatientInImages()


def _text(found: Dataset, tag: str) -> str:
    """A value; of several the first, which is not what DICOM allows here."""
    value = found.get(tag, None)
    return str((value[0] if isinstance(value, MultiValue) and value else value) or "")


def _require_accepted(acknowledgement: Acknowledgement, sent: str) -> None:
    """Raises AttemptEnded where the message was not taken. HL7 v2.5.1 section 2.9.2."""
    code, errors = acknowledgement.code, acknowledgement.error_codes
    if acknowledgement.control_id != sent or code not in (*_ACCEPTED, *_ERROR, *_REJECTED):
        raise AttemptEnded(
            DestinationAnswerRefused(
                "The destination acknowledges another message than the one that was sent. Check what listens at the "
                "address; it is sent again under the same MSH-10."
            )
        )
    if code in _ACCEPTED:
        return
    known = [each for each in errors if each.isascii() and each.isdigit() and len(each) == 3]
    told = f" (ERR-3 {', '.join(known)})" if known else ""
    if _UNKNOWN_KEY in known and "PID" in acknowledgement.segments:
        raise AttemptEnded(
            PatientNotFoundAtDestination(
                "The destination does not know the patient identifier. Register the patient there, or correct the "
                "assigning authority in the settings (destinations), then resend."
            ),
            hold=True,
        )
    # AR may have nothing to do with the message: the receiver is down. AE is about what it holds.
    passing = any(each in _LATER for each in known) or (code in _REJECTED and not any(each in _NEVER for each in known))
    if passing:
        raise AttemptEnded(
            PeerUnavailable(f"The destination answers {code}{told}: it cannot take the message now.", code=code)
        )
    raise AttemptEnded(
        DeliveryRefused(
            f"The destination answers {code}{told}: it does not accept what the message holds. Look at its log, "
            "correct it there or in the settings (destinations), then resend.",
            code=code,
        ),
        permanent=True,
    )
