"""An object that cannot be read, described by what of its header can."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from pydicom import dcmread

from oncoresponse.case.document import Tolerant
from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.errors import DicomError


class LeftOutInstance(Tolerant):
    """An object of an import that is no part of the study, and why.

    Attributes:
        number: Its place in the order in which the objects came, from 1.
        reason: Reason code of the error.
        modality: (0008,0060), empty where that cannot be read either.
        series_instance_uid: (0020,000E), likewise.
        sop_instance_uid: (0008,0018), likewise.
    """

    number: int
    reason: str
    modality: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""

    @property
    def sentence_part(self) -> str:
        """Number, modality and reason, without UIDs."""
        return f"number {self.number} ({f'{self.modality}, ' if self.modality else ''}{self.reason})"


def left_out_instance(number: int, data: bytes, error: DicomError) -> LeftOutInstance:
    """Describe an object that ``error`` refused."""
    found: dict[str, str] = {}
    keywords = {
        "Modality": "modality",
        "SeriesInstanceUID": "series_instance_uid",
        "SOPInstanceUID": "sop_instance_uid",
    }
    try:
        with without_pydicom_messages():
            dataset = dcmread(BytesIO(data), force=True, stop_before_pixels=True, specific_tags=list(keywords))
            for keyword, name in keywords.items():
                value = dataset.get(keyword)
                if isinstance(value, str) and len(value) <= 64 and value.isascii() and value.isprintable():
                    found[name] = str(value)
    except Exception:  # noqa: S110  (anything may stand in an object that is refused; less is known of it then)
        pass
    return LeftOutInstance(number=number, reason=error.reason, **found)


def unreadable_sentence(items: Sequence[LeftOutInstance]) -> str:
    """How many objects were left out, and the first of them, without UIDs."""
    named = ", ".join(item.sentence_part for item in items[:5])
    more = f" and {len(items) - 5} more" if len(items) > 5 else ""
    return f"{len(items)} object(s) of the import could not be read and were left out: {named}{more}."
