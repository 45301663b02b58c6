"""Sends DICOM objects by C-STORE (PS3.4 annex B), and asks for storage commitment where it is wanted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from oncoresponse.edges.delivery.commitment import (
    STORAGE_COMMITMENT,
    CommitmentResults,
    ask_for_commitment,
    uncommitted,
)
from oncoresponse.edges.delivery.dicom_files import is_wanted
from oncoresponse.edges.delivery.sending import FileOutcome, Outcome, Parcel
from oncoresponse.edges.delivery.stow import of_failure
from oncoresponse.edges.dicom_association import associated, broke_off
from oncoresponse.errors import CommitmentOutstanding, DeliveryRefused, OncoResponseError
from oncoresponse.rpc.edge_settings import Destination
from oncoresponse.v1 import delivery_pb2

# PS3.4 table B.2-1: stored, with a remark.
_WARNINGS = (0xB000, 0xB006, 0xB007)
_SOP_CLASS_NOT_SUPPORTED = 0x0122


@dataclass(frozen=True)
class _Object:
    parcel: Parcel
    data_set: FileDataset

    @property
    def sop_class(self) -> str:
        return str(self.data_set.SOPClassUID)

    @property
    def sop_instance(self) -> str:
        return str(self.data_set.SOPInstanceUID)


class CStoreSender:
    """See :class:`~oncoresponse.edges.delivery.sending.DeliverySender`.

    Args:
        destination: Where to.
        results: Where answers to storage commitment are waited for.
    """

    def __init__(self, destination: Destination, results: CommitmentResults) -> None:
        self._destination = destination
        self._results = results

    def takes(self, file: delivery_pb2.DeliveryFile) -> bool:
        """DICOM objects that the settings name."""
        return is_wanted(file, self._destination)

    def send(self, delivery: delivery_pb2.Delivery, parcels: Sequence[Parcel]) -> Outcome:
        """Send what is not stored yet; then have all of it committed, where that is wanted."""
        del delivery
        files: dict[str, FileOutcome] = {}
        objects: list[_Object] = []
        for parcel in parcels:
            try:
                objects.append(_Object(parcel, dcmread(BytesIO(parcel.data))))
            except (InvalidDicomError, EOFError, ValueError):
                refused = DeliveryRefused("The object cannot be read as DICOM, so it is not sent by C-STORE.")
                files[parcel.file_name] = FileOutcome(error=refused, permanent=True)
        if not objects:
            return Outcome(files)
        try:
            association = self._associate(objects)
            try:
                self._store(association, objects, files)
                if self._destination.storage_commitment:
                    self._commit(association, objects, files)
            finally:
                if association.is_established:
                    association.release()
                else:
                    association.abort()
        except OncoResponseError as error:
            return Outcome(files, error)
        return Outcome(files)

    def _associate(self, objects: Sequence[_Object]) -> Association:
        pairs = {(item.sop_class, str(item.data_set.file_meta.TransferSyntaxUID)) for item in objects}
        contexts: list[tuple[str, str | None]] = [*sorted(pairs)]
        if self._destination.storage_commitment:
            contexts.append((STORAGE_COMMITMENT, None))
        handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, self._results.report)]
        return associated(self._destination, contexts, handlers)

    def _store(self, association: Association, objects: Sequence[_Object], files: dict[str, FileOutcome]) -> None:
        """Raises PeerUnavailable where the association ends before all are sent."""
        accepted = {
            (str(context.abstract_syntax), str(syntax))
            for context in association.accepted_contexts
            for syntax in _syntaxes(context)
        }
        for item in objects:
            name = item.parcel.file_name
            if item.parcel.stored:
                files[name] = FileOutcome(stored=True)
            elif (item.sop_class, str(item.data_set.file_meta.TransferSyntaxUID)) not in accepted:
                files[name] = of_failure(_SOP_CLASS_NOT_SUPPORTED)
            else:
                files[name] = self._stored(association, item)

    def _stored(self, association: Association, item: _Object) -> FileOutcome:
        if not association.is_established:
            raise broke_off()
        answer = association.send_c_store(item.data_set)
        if "Status" not in answer:
            raise broke_off()
        status = int(answer.Status)
        return FileOutcome(stored=True) if status == 0 or status in _WARNINGS else of_failure(status)

    def _commit(self, association: Association, objects: Sequence[_Object], files: dict[str, FileOutcome]) -> None:
        """Replaces what is stored by what is committed, or by why it is not."""
        stored = [item for item in objects if files[item.parcel.file_name].stored]
        if not stored:
            return
        if not any(context.abstract_syntax == STORAGE_COMMITMENT for context in association.accepted_contexts):
            raise CommitmentOutstanding(
                "The PACS does not offer storage commitment. Leave storage_commitment out of its settings, or let it "
                "offer that to this AE title.",
                cause="not_offered",
            )
        transaction = self._results.begin()
        begun = time.monotonic()
        status = ask_for_commitment(association, transaction, [(item.sop_class, item.sop_instance) for item in stored])
        if status != 0:
            self._results.wait(transaction, 0)
            raise CommitmentOutstanding("The PACS does not answer the request for storage commitment as it should.")
        left = self._destination.commitment_seconds - (time.monotonic() - begun)
        result = self._results.wait(transaction, max(left, 0.0))
        if result is None:
            raise CommitmentOutstanding(
                "The PACS has not answered the request for storage commitment in time (commitment_seconds). It is "
                "asked again. Check that it knows the address of this AE title, and that the receiver (pacs) runs "
                "beside this destination."
            )
        lacking = uncommitted(result, [item.sop_instance for item in stored])
        for item in stored:
            if item.sop_instance not in lacking:
                files[item.parcel.file_name] = FileOutcome(stored=True, committed=True)
                continue
            reason = result.failed.get(item.sop_instance, 0)
            # It is sent again at the next attempt.
            files[item.parcel.file_name] = FileOutcome(
                error=CommitmentOutstanding(
                    f"The PACS does not commit to keep the object (failure reason {reason:04X}).",
                    status=f"{reason:04X}",
                )
            )


def _syntaxes(context: PresentationContext) -> list[str]:
    return [str(syntax) for syntax in context.transfer_syntax or ()]
