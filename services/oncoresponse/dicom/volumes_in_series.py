"""MR series that hold several volumes at one place: phases, echoes, diffusion weightings, parts of a complex signal.

Each becomes a series of its own for the choice of series, told apart by the attribute in which the volumes differ, so
that the rules of a model (``match``, ``prefer``) can name it. Sources: DICOM PS3.3 C.8.3.1 (Echo Numbers, Temporal
Position Identifier, Trigger Time), C.8.13.5.9 (Diffusion b-value, which single-frame images carry as an extension),
C.7.6.1 (Image Type, Acquisition Number and times).
"""

from __future__ import annotations

from collections.abc import Sequence

from oncoresponse.dicom import attributes
from oncoresponse.dicom.reading import Instance
from oncoresponse.errors import InvalidAttribute

# By definition each value of these is one image of every slice.
_VOLUME_KEYWORDS = ("TemporalPositionIdentifier", "EchoNumbers", "EchoTime", "DiffusionBValue")
# These may also number or time single slices; they count where each value has an image at every place.
_OTHER_KEYWORDS = (
    "ImageType",
    "InversionTime",
    "DiffusionGradientOrientation",
    "TriggerTime",
    "AcquisitionNumber",
    "AcquisitionTime",
    "ContentTime",
)
# A clock time may identify an examination, so it is never shown.
_CLOCK_TIMES = ("AcquisitionTime", "ContentTime")
NOT_TOLD_APART = f"{', '.join(_VOLUME_KEYWORDS[:-1])} and {_VOLUME_KEYWORDS[-1]} do not tell these images apart."
"""Why a series with several images at one place was not split."""

_Place = tuple[float, ...]


def volumes_of_series(slices: Sequence[Instance]) -> tuple[tuple[str, tuple[Instance, ...]], ...]:
    """The volumes that a series holds.

    Args:
        slices: Single-frame slices of one series and frame of reference.

    Returns:
        For each volume its name, such as ``TemporalPositionIdentifier 2``, and its slices, in ascending order of the
        value. One without a name where no two slices lie in one place, or where no attribute tells them apart.
    """
    places = [_place(instance) for instance in slices]
    if None in places or len(set(places)) == len(places):
        return (("", tuple(slices)),)
    for keyword in (*_VOLUME_KEYWORDS, *_OTHER_KEYWORDS):
        groups = _by_value(slices, keyword)
        if len(groups) < 2:
            continue
        everywhere = {_place(instance) for instance in slices}
        if keyword in _OTHER_KEYWORDS and any({_place(each) for each in group} != everywhere for _, group in groups):
            continue
        return tuple(
            (", ".join(filter(None, (_name(keyword, value, number), rest))), volume)
            for number, (value, group) in enumerate(groups, start=1)
            for rest, volume in volumes_of_series(group)
        )
    return (("", tuple(slices)),)


def _name(keyword: str, value: tuple[str, ...], number: int) -> str:
    return f"{keyword} no. {number}" if keyword in _CLOCK_TIMES else f"{keyword} {'/'.join(value)}"


def _by_value(slices: Sequence[Instance], keyword: str) -> list[tuple[tuple[str, ...], list[Instance]]]:
    """Slices by the value of an attribute; nothing where one of them has none."""
    groups: dict[tuple[str, ...], list[Instance]] = {}
    for instance in slices:
        try:
            value = attributes.texts(instance.dataset, keyword)
        except InvalidAttribute:
            return []
        if not any(value):
            return []
        groups.setdefault(value, []).append(instance)
    return sorted(groups.items(), key=lambda group: _order(group[0]))


def _order(value: tuple[str, ...]) -> tuple[tuple[float, ...], tuple[str, ...]]:
    try:
        return tuple(float(part) for part in value), value
    except ValueError:
        return (), value


def _place(instance: Instance) -> _Place | None:
    """Position and orientation as they are printed, to a hundredth of a millimeter; ``None`` where one is unknown."""
    try:
        position = attributes.numbers(instance.dataset, "ImagePositionPatient", 3)
        cosines = attributes.numbers(instance.dataset, "ImageOrientationPatient", 6)
    except InvalidAttribute:
        return None
    if position is None or cosines is None:
        return None
    # adding 0.0 makes -0.0 and 0.0 one value
    return tuple(round(value, 2) + 0.0 for value in (*position, *cosines))
