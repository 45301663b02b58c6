"""Instance Availability Notification (PS3.4 annex R): an archive says which instances a study has.

With it a study is whole when the last of them has come, and nobody waits for the quiet time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.events import Event

# PS3.4 section R.4.
INSTANCE_AVAILABILITY = UID("1.2.840.10008.5.1.4.33")
# PS3.7 annex C.
_SUCCESS, _INVALID_VALUE, _NOT_AUTHORIZED = 0x0000, 0x0106, 0x0124
# A study with more is larger than any that is assessed.
_MOST_INSTANCES = 100_000

Announced = Callable[[str, str, frozenset[str]], None]
"""Takes the calling AE title, a Study Instance UID and the SOP Instance UIDs that it has there."""

_log = logging.getLogger(__name__)


def take_announcement(event: Event, announced: Announced) -> tuple[int, Dataset | None]:
    """Takes an N-CREATE of pynetdicom; gives the status of the answer and the attributes as they were taken."""
    request: Any = event.request
    if request.AffectedSOPClassUID != INSTANCE_AVAILABILITY:
        return _NOT_AUTHORIZED, None
    try:
        information = event.attribute_list
        study = str(information.StudyInstanceUID)
        instances = frozenset(
            str(item.ReferencedSOPInstanceUID)
            for series in information.ReferencedSeriesSequence
            for item in series.ReferencedSOPSequence
        )
    except Exception:
        # Whatever a damaged data set makes the parser do; its words may quote values.
        _log.warning("an announcement of instances cannot be read")
        return _INVALID_VALUE, None
    if not study or not instances or len(instances) > _MOST_INSTANCES:
        return _INVALID_VALUE, None
    requestor: Any = event.assoc.requestor
    announced(str(requestor.ae_title), study, instances)
    return _SUCCESS, information
