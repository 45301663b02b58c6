"""Storage commitment (PS3.4 annex J): an archive promises to keep what it has taken."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid
from pynetdicom.association import Association
from pynetdicom.events import Event

# PS3.4 section J.3.5: the class, and the one instance of it that there is.
STORAGE_COMMITMENT = UID("1.2.840.10008.1.20.1")
_INSTANCE = UID("1.2.840.10008.1.20.1.1")
_REQUEST_COMMITMENT = 1
_SUCCESS, _PROCESSING_FAILURE, _NO_SUCH_EVENT = 0x0000, 0x0110, 0x0113
_ALL_COMMITTED, _SOME_NOT = 1, 2


@dataclass(frozen=True)
class CommitmentResult:
    """What an archive answers.

    Attributes:
        committed: SOP Instance UIDs that it keeps.
        failed: Those that it does not, with its Failure Reason (0008,1197).
    """

    committed: frozenset[str]
    failed: dict[str, int]


class CommitmentResults:
    """Where answers are waited for: they come on the association that asked, or on one of their own to the receiver.

    Any thread may use it.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._results: dict[str, CommitmentResult | None] = {}

    def begin(self) -> str:
        """Transaction UID of a new question."""
        uid = generate_uid()
        with self._change:
            self._results[uid] = None
        return uid

    def wait(self, transaction_uid: str, seconds: float) -> CommitmentResult | None:
        """The answer; ``None`` where it does not come in time. Nobody waits for it afterwards."""
        with self._change:
            self._change.wait_for(lambda: self._results[transaction_uid] is not None, timeout=seconds)
            return self._results.pop(transaction_uid)

    def report(self, event: Event) -> tuple[int, Dataset | None]:
        """Takes an N-EVENT-REPORT of pynetdicom; gives the status of the answer (PS3.7 section 10.1.1.1).

        What nobody waits for, for instance after a restart, is acknowledged: the archive is asked again then.
        """
        request: Any = event.request
        if request.EventTypeID not in (_ALL_COMMITTED, _SOME_NOT):
            return _NO_SUCH_EVENT, None
        try:
            information = event.event_information
            transaction = str(information.TransactionUID)
            result = CommitmentResult(
                frozenset(
                    str(item.ReferencedSOPInstanceUID) for item in information.get("ReferencedSOPSequence", None) or ()
                ),
                {
                    str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason", 0) or 0)
                    for item in information.get("FailedSOPSequence", None) or ()
                },
            )
        except (AttributeError, ValueError, TypeError, KeyError):
            return _PROCESSING_FAILURE, None
        with self._change:
            if transaction in self._results:
                self._results[transaction] = result
                self._change.notify_all()
        return _SUCCESS, None


def ask_for_commitment(
    association: Association, transaction_uid: str, references: Sequence[tuple[str, str]]
) -> int | None:
    """Send N-ACTION (PS3.4 section J.3.2); gives the status, ``None`` where there is no answer.

    Args:
        association: Has accepted the class.
        transaction_uid: Of :meth:`CommitmentResults.begin`.
        references: SOP class and SOP instance UIDs.
    """
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [_reference(*reference) for reference in references]
    status, _ = association.send_n_action(information, _REQUEST_COMMITMENT, STORAGE_COMMITMENT, _INSTANCE)
    return int(status.Status) if "Status" in status else None


def uncommitted(result: CommitmentResult, wanted: Collection[str]) -> set[str]:
    """Those that an archive does not keep, or says nothing of."""
    return set(wanted) - result.committed | set(result.failed)


def _reference(sop_class: str, sop_instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    return item
