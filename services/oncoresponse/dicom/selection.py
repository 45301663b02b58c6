"""Which series of a study a model works on: the one the request names, else by modality, geometry and preference.

A preference is a rule of the model on an attribute (:mod:`oncoresponse.model.series_rules`); nothing here looks at a
description by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from oncoresponse.dicom import attributes
from oncoresponse.dicom.positron_emission import is_attenuation_corrected
from oncoresponse.dicom.series import ImageSeries
from oncoresponse.dicom.series_differences import series_differences
from oncoresponse.dicom.slice_geometry import MODALITY_NAMES, SliceStack, stack_slices
from oncoresponse.errors import (
    AmbiguousSeries,
    FrameOfReferenceMismatch,
    GeometryMismatch,
    InvalidAttribute,
    InvalidRequest,
    MissingAttribute,
    MixedOrientation,
    SeriesError,
    SeriesNotFound,
    TooFewSlices,
    UnsupportedSopClass,
)
from oncoresponse.model.series_rules import SeriesRule, preferred

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
    """A series that fits, its slices in order.

    Attributes:
        series: The series.
        stack: Its slices on a regular grid.
        reason: Why it and no other of its modality, in one sentence without PHI; ``None`` where it is the only one.
    """

    series: ImageSeries
    stack: SliceStack
    reason: str | None = None


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
    preferences: Mapping[str, Sequence[SeriesRule]] = MappingProxyType({}),
) -> tuple[dict[str, ChosenSeries], tuple[str, ...]]:
    """Choose one series for each required modality.

    The series must be of one study and one frame of reference, and overlap. PET without attenuation
    correction is never chosen. Of several CTs the one that covers the PET best is taken, then one with
    slices parallel to the PET's, then what the model prefers, then the one whose slice distance is nearest to the
    PET's. Of several PETs the one that the model prefers is taken.

    Args:
        series: All series of one patient.
        required_modalities: DICOM modalities.
        series_instance_uids: Series the request names; each modality that has one of them uses no other.
        preferences: By modality, which of several that fit is taken.

    Returns:
        The choice by modality, and warnings without PHI.

    Raises:
        SeriesNotFound: No series of a modality, none in one study with the others, or a named one is not there.
        InvalidRequest: A named series is of a modality that is not required, or two of one modality are named.
        AmbiguousSeries: Two series, or two studies, fit equally well.
        FrameOfReferenceMismatch: The series share no frame of reference.
        MissingAttribute: A series names no frame of reference.
        GeometryMismatch: The series do not overlap.
        UnsupportedSopClass: The modality is there as enhanced multi-frame objects only.
        SeriesError: The series that fits is not one regular volume.
    """
    named = _keep_named(series, required_modalities, series_instance_uids)
    members = _choose_study(named, required_modalities)
    order = [modality for modality in _ANCHOR_ORDER if modality in required_modalities]
    chosen: dict[str, ChosenSeries] = {}
    warnings: list[str] = []
    for modality in order:
        candidates, left_out = _candidates([member for member in members if member.modality == modality], modality)
        warnings += left_out
        several = len(candidates)
        anchor = next(iter(chosen.values()), None)
        kept, rules = _fitting(candidates, anchor, modality, preferences.get(modality, ()))
        only = _only(kept, modality)
        name = MODALITY_NAMES[modality]
        reason = None
        if only.series.series_instance_uid in series_instance_uids:
            reason = f"The {name} series is the one that the request names."
        elif rules:
            reason = (
                f"Of {several} {name} series the model's preference chose one: "
                f"{', then '.join(rule.text for rule in rules)}."
            )
        elif several > 1 and anchor is not None:
            reason = (
                f"Of {several} {name} series the one was chosen whose extent and slices fit the "
                f"{MODALITY_NAMES[anchor.series.modality]} best."
            )
        chosen[modality] = replace(only, reason=reason)
    return chosen, tuple(warnings)


def require_input_roles(
    series: Sequence[ImageSeries], required_modalities: Sequence[str], selected: Sequence[tuple[str, str]]
) -> None:
    """Refuse a selection of series that does not fit the inputs of the model.

    Args:
        series: All series of the study.
        required_modalities: Inputs of the model; the modality is the input role.
        selected: (input role, Series Instance UID) in the order of the request; the role may be empty.

    Raises:
        InvalidRequest: A role is none of the model, is given twice, or the series is of another modality.
    """
    roles = [role for role, _ in selected if role]
    uids = [uid for _, uid in selected]
    if unknown := [role for role in roles if role not in required_modalities]:
        raise InvalidRequest(
            f"The model has no input '{unknown[0]}'; it has {', '.join(required_modalities)}. Correct the selection of "
            "series.",
            field="series",
        )
    if len(set(roles)) < len(roles) or len(set(uids)) < len(uids):
        raise InvalidRequest(
            "A selection of series names one input or one series twice. Name each once.", field="series"
        )
    modality_of = {member.series_instance_uid: member.modality for member in series}
    for role, uid in selected:
        if role and modality_of.get(uid, role) != role:
            raise InvalidRequest(
                f"The series selected for {role} is a {MODALITY_NAMES[modality_of[uid]]} series. Check its Series "
                "Instance UID.",
                field="series",
            )


def _keep_named(series: Sequence[ImageSeries], required: Sequence[str], uids: Collection[str]) -> list[ImageSeries]:
    if not uids:
        return list(series)
    found = {member.series_instance_uid: member.modality for member in series if member.series_instance_uid in uids}
    if set(uids) - set(found):
        raise SeriesNotFound(
            "A series that the request names is not among the images of the study. Check its Series Instance UID, or "
            "send the series.",
            modality="named",
        )
    modalities = list(found.values())
    if surplus := [modality for modality in modalities if modality not in required]:
        raise InvalidRequest(
            f"The request names a {MODALITY_NAMES[surplus[0]]} series, and the model reads {' and '.join(required)}. "
            "Name a series of one of these.",
            field="series",
        )
    if len(set(modalities)) < len(modalities):
        raise InvalidRequest("The request names two series of one modality. Name one of them.", field="series")
    return [member for member in series if member.modality not in modalities or member.series_instance_uid in uids]


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
                "No PET that may be used is corrected for attenuation, so SUV cannot be computed. "
                "Send the attenuation-corrected PET, or name that.",
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


def _values(candidate: _Candidate, keyword: str) -> tuple[str, ...]:
    try:
        return attributes.texts(candidate.series.slices[0].dataset, keyword)
    except InvalidAttribute:
        return ()


def _fitting(
    candidates: list[_Candidate], anchor: ChosenSeries | None, modality: str, rules: Sequence[SeriesRule]
) -> tuple[list[_Candidate], tuple[SeriesRule, ...]]:
    """The candidates that are left, and the model's rules that decided."""
    if anchor is None:
        return preferred(candidates, rules, _values)
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
        return preferred(sharing, rules, _values)
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
    # A series with a defect stays a candidate: it must not silently give way to another one.
    fit = [found for found, _ in parallel or fitting] + [found for found in sharing if found.stack is None]
    kept, decided = preferred(fit, rules, _values)
    spacing_mm = anchor.stack.spacing_mm[2]
    differences = [abs(found.stack.spacing_mm[2] - spacing_mm) for found in kept if found.stack is not None]
    nearest = min(differences, default=0.0) + _SPACING_TOLERANCE_MM
    return [
        found for found in kept if found.stack is None or abs(found.stack.spacing_mm[2] - spacing_mm) <= nearest
    ], decided


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
        differences = series_differences([candidate.series for candidate in candidates])
        raise AmbiguousSeries(
            f"{len(candidates)} {MODALITY_NAMES[modality]} series fit the model equally well. {differences} Name the "
            "Series Instance UID of one (CreateAssessmentRequest.series, or --series on the command line; "
            "'oncoresponse series' lists them), or let the model prefer one by an attribute (prefer in model.yaml).",
            modality=modality,
            candidates=len(candidates),
        )
    if candidates[0].stack is None:
        raise candidates[0].defect or SeriesNotFound(f"No {MODALITY_NAMES[modality]} series forms a volume.")
    return ChosenSeries(candidates[0].series, candidates[0].stack)
