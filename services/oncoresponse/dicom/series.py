"""Which instances belong together: series in one frame of reference, without what is no slice of a volume."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oncoresponse.dicom import attributes
from oncoresponse.dicom.reading import ENHANCED_SOP_CLASSES, SLICE_SOP_CLASSES, Instance, same_content
from oncoresponse.dicom.volumes_in_series import volumes_of_series
from oncoresponse.errors import DuplicateSlices, InvalidAttribute

# Image Type values 3 and later (PS3.3 C.7.6.1.1.2, C.8.2.1.1.1, C.8.9.4.1.2 and vendors' own): pictures for
# orientation, not slices.
_NOT_SLICES = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM", "MIP", "PROJECTION IMAGE", "PROJECTION", "SCREEN SAVE"})


@dataclass(frozen=True, eq=False)
class ImageSeries:
    """Slices of one series in one frame of reference, in no particular order.

    Of an MR series that holds several volumes, each is one.

    Attributes:
        modality: DICOM modality (CT, PT, MR).
        study_instance_uid: (0020,000D).
        series_instance_uid: (0020,000E).
        frame_of_reference_uid: (0020,0052), ``None`` when absent.
        slices: Single-frame instances, localizers and color images left out.
        is_enhanced: Whether the series is one of multi-frame objects, which are not read.
        volume: Which volume of the series it is, such as ``TemporalPositionIdentifier 2``; empty where it holds one.
    """

    modality: str
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str | None
    slices: tuple[Instance, ...]
    is_enhanced: bool = False
    volume: str = ""


def group_series(instances: Iterable[Instance]) -> tuple[ImageSeries, ...]:
    """Group CT, PET and MR slices by study, series and frame of reference.

    Localizers, projections, secondary captures, color images and every other kind of object fall out here.

    Returns:
        Ordered by modality, UID and volume, whatever the order of the input.
    """
    groups: dict[tuple[str, str, str, str], list[Instance]] = defaultdict(list)
    for instance in instances:
        if _is_slice(instance) or instance.sop_class_uid in ENHANCED_SOP_CLASSES:
            key = (
                instance.modality,
                instance.study_instance_uid,
                instance.series_instance_uid,
                instance.frame_of_reference_uid or "",
            )
            groups[key].append(instance)
    return tuple(
        ImageSeries(
            modality=modality,
            study_instance_uid=study,
            series_instance_uid=series,
            frame_of_reference_uid=frame or None,
            slices=slices,
            is_enhanced=any(member.sop_class_uid in ENHANCED_SOP_CLASSES for member in slices),
            volume=volume,
        )
        for (modality, study, series, frame), members in sorted(groups.items())
        for volume, slices in _volumes(modality, sorted(members, key=lambda member: member.sop_instance_uid))
    )


def _volumes(modality: str, slices: Sequence[Instance]) -> tuple[tuple[str, tuple[Instance, ...]], ...]:
    # Of CT and PET the phases of one series stay a defect: no model reads one of several.
    return volumes_of_series(slices) if modality == "MR" else (("", tuple(slices)),)


def without_repeats(instances: Iterable[Instance]) -> tuple[Instance, ...]:
    """Drop instances that were sent twice.

    Raises:
        DuplicateSlices: Two files claim one SOP Instance UID and hold different data.
    """
    kept: dict[str, Instance] = {}
    for instance in sorted(instances, key=lambda found: (found.sop_instance_uid, found.sha256)):
        other = kept.setdefault(instance.sop_instance_uid, instance)
        if other is not instance and not same_content(other, instance):
            raise DuplicateSlices(
                "Two files hold different data under one SOP Instance UID. Remove the outdated one and send the "
                "study again."
            )
    return tuple(kept.values())


def _is_slice(instance: Instance) -> bool:
    if instance.sop_class_uid != SLICE_SOP_CLASSES.get(instance.modality):
        return False
    if _NOT_SLICES & set(instance.image_type[2:]):
        return False
    try:
        # Series Type (PS3.3 C.8.9.1.1.1) says of a PET series whether it is one of projections.
        if "REPROJECTION" in attributes.texts(instance.dataset, "SeriesType")[1:]:
            return False
        samples = attributes.number(instance.dataset, "SamplesPerPixel")
        return samples in (None, 1.0)
    except InvalidAttribute:
        return False
