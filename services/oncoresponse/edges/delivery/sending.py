"""What a sender is given and what it says, whatever protocol it speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from oncoresponse.case.artifact_names import is_segmentation_summary
from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.errors import DeliveryRefused, OncoResponseError
from oncoresponse.v1 import delivery_pb2


@dataclass(frozen=True)
class Parcel:
    """One file to be sent.

    Attributes:
        file_name: Key of the artifact.
        data: Its bytes.
        stored: The destination took it at an earlier attempt; it is not sent again.
    """

    file_name: str
    data: bytes = field(repr=False)
    stored: bool = False


@dataclass(frozen=True)
class FileOutcome:
    """What came of one file.

    Attributes:
        stored: The destination has it.
        committed: It has promised to keep it.
        error: Why not; ``None`` where nothing is wrong.
        permanent: Whether trying again cannot help.
    """

    stored: bool = False
    committed: bool = False
    error: OncoResponseError | None = None
    permanent: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt.

    Attributes:
        files: By name, of those that were tried.
        error: What ended the attempt as a whole; ``None`` where nothing did.
        permanent: Whether trying again cannot help, of ``error``.
        retry_after_seconds: When the destination asked to be tried again; ``None`` where it did not.
        receipt: What the destination calls what it holds.
        hold: Somebody has to mend something at the destination before it is tried again, of ``error``.
    """

    files: Mapping[str, FileOutcome]
    error: OncoResponseError | None = None
    permanent: bool = False
    retry_after_seconds: float | None = None
    receipt: Mapping[str, str] = field(default_factory=dict)
    hold: bool = False


REPORT_BUNDLE, LESION_CANDIDATES = "report.json", "lesion-candidates.json"
"""File names by which a delivery tells that there is a report, or that a physician has to choose a lesion."""


_LATER_EVENTS = {
    delivery_pb2.DELIVERY_EVENT_SIGNED: "report.signed",
    delivery_pb2.DELIVERY_EVENT_AMENDED: "report.amended",
    delivery_pb2.DELIVERY_EVENT_WITHDRAWN: "report.withdrawn",
}


def tells_what_happened(file: delivery_pb2.DeliveryFile) -> bool:
    """Whether :func:`events_of` reads a file."""
    return file.file_name in (REPORT_BUNDLE, LESION_CANDIDATES) or is_segmentation_summary(file.file_name)


def events_of(delivery: delivery_pb2.Delivery, parcels: Sequence[Parcel]) -> tuple[str, ...]:
    """What a delivery tells: a report is ready, signed, amended or withdrawn, or a physician is needed.

    A physician is needed where a lesion has to be chosen, and beside the report where a contour asks for review. That
    is read from what is delivered: the assessment itself may end a moment after its report is sent.

    Args:
        delivery: What happened.
        parcels: Its files of which :func:`tells_what_happened`.
    """
    if (later := _LATER_EVENTS.get(delivery.event)) is not None:
        return (later,)
    if all(parcel.file_name != REPORT_BUNDLE for parcel in parcels):
        return ("physician.needed",)
    asked = any(
        SegmentationSummary.model_validate_json(parcel.data).needs_review
        for parcel in parcels
        if is_segmentation_summary(parcel.file_name)
    )
    return ("report.ready", "physician.needed") if asked else ("report.ready",)


class AttemptEnded(Exception):
    """An attempt goes no further.

    Args:
        error: Why.
        permanent: Whether trying again cannot help.
        retry_after_seconds: When the destination asked to be tried again; ``None`` where it did not.
        hold: Somebody has to mend something at the destination first.
    """

    def __init__(
        self,
        error: OncoResponseError,
        *,
        permanent: bool = False,
        retry_after_seconds: float | None = None,
        hold: bool = False,
    ) -> None:
        super().__init__(error.message)
        self.error, self.permanent, self.hold = error, permanent, hold
        self.retry_after_seconds = retry_after_seconds

    def outcome(self, files: Mapping[str, FileOutcome] | None = None) -> Outcome:
        """What is told of it."""
        return Outcome(files or {}, self.error, self.permanent, self.retry_after_seconds, hold=self.hold)


class DeliverySender(Protocol):
    """Sends to one destination. What it is asked may block."""

    def takes(self, file: delivery_pb2.DeliveryFile) -> bool:
        """Whether a file is for this destination."""

    def send(self, delivery: delivery_pb2.Delivery, parcels: Sequence[Parcel]) -> Outcome:
        """Send what is not stored yet. Raises nothing that belongs to the destination: the outcome says it."""


def settlement(leased: delivery_pb2.LeasedDelivery, outcome: Outcome) -> delivery_pb2.SettleDeliveryRequest:
    """An outcome as the service is told it.

    An attempt failed where it as a whole, or any file, did. Where nothing but refusals for good is left, so is the
    delivery.
    """
    request = delivery_pb2.SettleDeliveryRequest(
        name=leased.delivery.name, lease_token=leased.lease_token, receipt=dict(outcome.receipt)
    )
    for name, file in outcome.files.items():
        told = request.files.add(file_name=name, stored=file.stored, committed=file.committed)
        if file.error is not None:
            told.reason = file.error.message
    failed = [file for file in outcome.files.values() if file.error is not None]
    error, permanent = outcome.error, outcome.permanent
    if error is None and failed:
        passing = [file for file in failed if not file.permanent]
        error = (passing or failed)[0].error
        permanent = not passing
        if permanent:
            error = DeliveryRefused(
                f"The destination refuses {len(failed)} of {len(leased.delivery.files)} files. The delivery says which "
                "and why; correct the destination, then resend, or leave these files out (omit).",
                refused=len(failed),
            )
    if error is not None:
        request.failure.reason, request.failure.message, request.failure.permanent = (
            error.reason,
            error.message[:1000],
            permanent,
        )
        request.failure.hold = outcome.hold
        if outcome.retry_after_seconds is not None:
            request.failure.retry_after.FromMilliseconds(int(1000 * outcome.retry_after_seconds))
    return request
