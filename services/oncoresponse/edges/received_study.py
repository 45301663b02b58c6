"""Studies that come in piece by piece: in which study of the front door the pieces go, and when it is whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from oncoresponse.edges.front_door import Metadata
from oncoresponse.edges.instance_header import InstanceHeader


@dataclass(frozen=True)
class Sender:
    """Who sends.

    Attributes:
        name: Stable and unique: of the caller, or ``ae:`` or ``fetched:`` and a title.
        metadata: Of the calls that are made for them.
    """

    name: str
    metadata: Metadata = field(repr=False)


class StudyIntake(Protocol):
    """Gathers the pieces. What one sender sends of one Study Instance UID becomes one study."""

    async def open(self, sender: Sender, study_instance_uid: str) -> str:
        """The study of the front door, ``studies/...``, that takes instances of this UID now.

        It is not completed before :meth:`received` has been called as often as this.

        Raises:
            grpc.RpcError: The front door makes none.
        """

    def conflict(self, sender: Sender, header: InstanceHeader, sha256: str) -> str:
        """Reason code where an instance is no part of the study that is open; empty where it is to be stored now.

        ``PATIENT_MISMATCH``: the study is another patient's. ``DUPLICATE_INSTANCE``: it has other content under the
        same SOP Instance UID.
        """

    def refused(self, sender: Sender, header: InstanceHeader) -> None:
        """An instance that had no conflict was not stored all the same; another try may have other content."""

    def announced(self, sender_name: str, study_instance_uid: str, sop_instance_uids: frozenset[str]) -> None:
        """A sender says which instances a study has; it is whole when the last of them has come."""

    async def received(self, sender: Sender, study_instance_uid: str) -> None:
        """What was to be sent now has been; the study is whole when nothing more comes for a while."""
