"""Which series of a study a model works on: chosen by modality and geometry, never by description."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from oncoresponse.dicom.positron_emission import is_attenuation_corrected
from oncoresponse.dicom.series import ImageSeries
from oncoresponse.dicom.slice_geometry import MODALITY_NAMES, SliceStack, stack_slices
from oncoresponse.errors import (
    AmbiguousSeries,
    FrameOfReferenceMismatch,
    GeometryMismatch,
    InvalidAttribute,
    MissingAttribute,
    MixedOrientation,
    SeriesError,
    SeriesNotFound,
    TooFewSlices,
    UnsupportedSopClass,
)

# What fails so was never meant as a volume (a scout, a rotating projection). Any other failure is a volume
# with a defect, which must not silently give way to another series.
_NO_VOLUME = (TooFewSlices, MixedOrientation, MissingAttribute, InvalidAttribute)
_COVERAGE_TOLERANCE = 0.02
_COVERAGE_POINTS = 12
_LEAST_COVERAGE = 0.05
_PARALLEL_COSINE = 0.99
_SPACING_TOLERANCE_MM = 1e-3
# PET is the rarer series and the one the tumor is seen on; the others are fitted to it.
_ANCHOR_ORDER = ("PT", "CT", "MR")


@dataclass(frozen=True, eq=False)
class ChosenSeries:
    """A series that fits, its slices in order."""

    series: ImageSeries
    stack: SliceStack


@dataclass(frozen=True, eq=False)
class _Candidate:
    series: ImageSeries
    stack: SliceStack | None
    defect: SeriesError | None


def choose_series(
    series: Sequence[ImageSeries],
    required_modalities: Sequence[str],
    *,
    series_instance_uids: Collection[str] = (),
) -> tuple[dict[str, ChosenSeries], tuple[str, ...]]:
    """Choose one series for each required modality.

    The series must be of one study and one frame of reference, and overlap. PET without attenuation
    correction is never chosen. Of several CTs the one that covers the PET best is taken, then one with
    slices parallel to the PET's, then the one whose slice distance is nearest to the PET's.

    Args:
        series: All series of one patient.
        required_modalities: DICOM modalities.
        series_instance_uids: Series the request names; each modality that has one of them uses no other.

    Returns:
        The choice by modality, and warnings without PHI.

    Raises:
        SeriesNotFound: No series of a modality, or none in one study with the others.
        AmbiguousSeries: Two series, or two studies, fit equally well.
        FrameOfReferenceMismatch: The series share no frame of reference.
        MissingAttribute: A series names no frame of reference.
        GeometryMismatch: The series do not overlap.
        UnsupportedSopClass: The modality is there as enhanced multi-frame objects only.
        SeriesError: The series that fits is not one regular volume.
    """
    named = _keep_named(series, series_instance_uids)
    members = _choose_study(named, required_modalities)
    order = [modality for modality in _ANCHOR_ORDER if modality in required_modalities]
    chosen: dict[str, ChosenSeries] = {}
    warnings: list[str] = []
    for modality in order:
        candidates, left_out = _candidates([member for member in members if member.modality == modality], modality)
        warnings += left_out
        if chosen:
            candidates = _fitting(candidates, next(iter(chosen.values())), modality)
        chosen[modality] = _only(candidates, modality)
    return chosen, tuple(warnings)


def _keep_named(series: Sequence[ImageSeries], uids: Collection[str]) -> list[ImageSeries]:
    if not uids:
        return list(series)
    found = {member.series_instance_uid: member.modality for member in series if member.series_instance_uid in uids}
    if set(uids) - set(found):
        raise SeriesNotFound(
            "A series that the request names is not among the images. Check its UID, or send the series.",
            modality="named",
        )
    return [member for member in series if member.modality not in found.values() or member.series_instance_uid in uids]


def _choose_study(series: Sequence[ImageSeries], required: Sequence[str]) -> list[ImageSeries]:
    readable = [member for member in series if not member.is_enhanced]
    for modality in required:
        if any(member.modality == modality for member in readable):
            continue
        if any(member.modality == modality for member in series):
            raise UnsupportedSopClass(
                f"The {MODALITY_NAMES[modality]} is stored as enhanced multi-frame objects, which are not supported. "
                "Send it as single-frame images.",
                modality=modality,
            )
        raise SeriesNotFound(
            f"The study has no {MODALITY_NAMES[modality]} series, which the model needs. Send it with the study.",
            modality=modality,
        )
    studies: dict[str, list[ImageSeries]] = {}
    for member in readable:
        studies.setdefault(member.study_instance_uid, []).append(member)
    complete = [members for members in studies.values() if set(required) <= {member.modality for member in members}]
    if not complete:
        names = " and ".join(MODALITY_NAMES[modality] for modality in required)
        raise SeriesNotFound(
            f"The {names} series belong to different studies. Send the series of one examination.",
            modality=",".join(required),
        )
    if len(complete) > 1:
        raise AmbiguousSeries(
            f"{len(complete)} studies hold every series the model needs. Send one study.", candidates=len(complete)
        )
    return complete[0]


def _candidates(series: Sequence[ImageSeries], modality: str) -> tuple[list[_Candidate], list[str]]:
    warnings = []
    if modality == "PT":
        corrected = [member for member in series if is_attenuation_corrected(member.slices[0]) is not False]
        if not corrected:
            raise SeriesNotFound(
                "The only PET is not corrected for attenuation, so SUV cannot be computed. "
                "Send the attenuation-corrected PET.",
                modality=modality,
            )
        if len(corrected) < len(series):
            warnings.append("A PET series without attenuation correction was left out.")
        if any(is_attenuation_corrected(member.slices[0]) is None for member in corrected):
            warnings.append("A PET series does not say whether it is corrected for attenuation.")
        series = corrected
    volumes, no_volumes = [], []
    for member in series:
        try:
            volumes.append(_Candidate(member, stack_slices(member.slices), None))
        except _NO_VOLUME as error:
            no_volumes.append(error)
        except SeriesError as error:
            volumes.append(_Candidate(member, None, error))
    if not volumes:
        raise no_volumes[0]
    if no_volumes:
        warnings.append(f"{len(no_volumes)} {MODALITY_NAMES[modality]} series that are not volumes were left out.")
    return volumes, warnings


def _fitting(candidates: list[_Candidate], anchor: ChosenSeries, modality: str) -> list[_Candidate]:
    frame = anchor.series.frame_of_reference_uid
    name, anchor_name = MODALITY_NAMES[modality], MODALITY_NAMES[anchor.series.modality]
    if frame is None:
        raise _no_frame_of_reference(anchor.series.modality)
    if all(found.series.frame_of_reference_uid is None for found in candidates):
        raise _no_frame_of_reference(modality)
    sharing = [found for found in candidates if found.series.frame_of_reference_uid == frame]
    if not sharing:
        raise FrameOfReferenceMismatch(
            f"The {name} and the {anchor_name} have different frames of reference, so their positions cannot be "
            "compared. Send series of one examination."
        )
    stacks = [(found, found.stack) for found in sharing if found.stack is not None]
    if not stacks:
        return sharing
    coverage = [_coverage(anchor.stack, stack) for _, stack in stacks]
    best = max(coverage)
    if best < _LEAST_COVERAGE:
        raise GeometryMismatch(
            f"The {name} and the {anchor_name} show different parts of the body. Send series that overlap."
        )
    fitting = [pair for pair, covered in zip(stacks, coverage, strict=True) if covered >= best - _COVERAGE_TOLERANCE]
    normal = anchor.stack.index_to_patient[:3, 2] / anchor.stack.spacing_mm[2]
    parallel = [
        (found, stack)
        for found, stack in fitting
        if abs(stack.index_to_patient[:3, 2] @ normal) / stack.spacing_mm[2] > _PARALLEL_COSINE
    ]
    fitting = parallel or fitting
    differences = [abs(stack.spacing_mm[2] - anchor.stack.spacing_mm[2]) for _, stack in fitting]
    nearest = min(differences) + _SPACING_TOLERANCE_MM
    defective = [found for found in sharing if found.stack is None]
    return [
        *(found for (found, _), difference in zip(fitting, differences, strict=True) if difference <= nearest),
        *defective,
    ]


def _no_frame_of_reference(modality: str) -> MissingAttribute:
    return MissingAttribute(
        f"{MODALITY_NAMES[modality]}: DICOM attribute FrameOfReferenceUID is absent or empty, so positions cannot be "
        "compared with those of another series. Export the series again with it.",
        keyword="FrameOfReferenceUID",
        modality=modality,
    )


def _coverage(anchor: SliceStack, stack: SliceStack) -> float:
    """Fraction of the anchor's box that lies inside the other's box."""
    axes = [np.linspace(-0.5, count - 0.5, _COVERAGE_POINTS) for count in anchor.size]
    indices = np.stack([*(axis.ravel() for axis in np.meshgrid(*axes)), np.ones(_COVERAGE_POINTS**3)])
    found = np.linalg.solve(stack.index_to_patient, anchor.index_to_patient @ indices)[:3]
    limits = np.array(stack.size)[:, np.newaxis] - 0.5
    return float(np.mean(np.all((found >= -0.5) & (found <= limits), axis=0)))


def _only(candidates: list[_Candidate], modality: str) -> ChosenSeries:
    if len(candidates) > 1:
        raise AmbiguousSeries(
            f"{len(candidates)} {MODALITY_NAMES[modality]} series fit the model equally well. "
            "Send one of them, or name its Series Instance UID in the request.",
            modality=modality,
            candidates=len(candidates),
        )
    if candidates[0].stack is None:
        raise candidates[0].defect or SeriesNotFound(f"No {MODALITY_NAMES[modality]} series forms a volume.")
    return ChosenSeries(candidates[0].series, candidates[0].stack)
