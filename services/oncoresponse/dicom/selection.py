"""Which series of a study a model works on: for each of its inputs the one that the request names, else by the model's
rules, by geometry and by its preference.

Rules are the model's, on attributes (:mod:`oncoresponse.model.series_rules`); nothing here looks at a description by
itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oncoresponse.case.case import SelectedSeries
from oncoresponse.dicom import attributes
from oncoresponse.dicom.positron_emission import is_attenuation_corrected
from oncoresponse.dicom.series import ImageSeries
from oncoresponse.dicom.series_differences import found_text, series_differences, setting_text
from oncoresponse.dicom.slice_geometry import MODALITY_NAMES, SliceStack, stack_slices
from oncoresponse.dicom.volumes_in_series import NOT_TOLD_APART
from oncoresponse.errors import (
    AmbiguousSeries,
    DuplicateSlices,
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
from oncoresponse.model.definition import ImageInput
from oncoresponse.model.series_rules import SeriesRule, preferred, unfulfilled

# What fails so was never meant as a volume (a scout, a rotating projection). Any other failure is a volume
# with a defect, which must not silently give way to another series.
_NO_VOLUME = (TooFewSlices, MixedOrientation, MissingAttribute, InvalidAttribute)
_COVERAGE_TOLERANCE = 0.02
_COVERAGE_POINTS = 12
_LEAST_COVERAGE = 0.05
_PARALLEL_COSINE = 0.99
_SPACING_TOLERANCE_MM = 1e-3


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
class SeriesSelection:
    """The series that a model works on.

    Attributes:
        chosen: By input role, the anchor first; optional inputs may lack.
        warnings: What was left out, in sentences without PHI.
    """

    chosen: Mapping[str, ChosenSeries]
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Candidate:
    series: ImageSeries
    stack: SliceStack | None
    defect: SeriesError | None


def choose_series(
    series: Sequence[ImageSeries],
    inputs: Sequence[ImageInput],
    *,
    selected: Sequence[SelectedSeries] = (),
    anchor: str | None = None,
) -> SeriesSelection:
    """Choose one series for each input of a model. No pixel is looked at.

    The series must be of one study and one frame of reference, and overlap; no series serves two inputs. A series that
    does not fulfil the rules of an input (``match``) is never used for it, nor is PET without attenuation correction.
    Of several for the anchor the one that the model prefers is taken. Of several for another input the one that covers
    the anchor best is taken, then one with slices parallel to the anchor's, then what the model prefers, then the one
    whose slice distance is nearest to the anchor's. An optional input whose series fit nowhere stays empty, with a
    warning.

    Args:
        series: All series of one patient.
        inputs: Of the model, at least one of them required.
        selected: Series that the request names for inputs; an input that is named has no other.
        anchor: Input role of the image that is segmented on, to which the others are fitted; ``None``: the first.

    Raises:
        SeriesNotFound: No series of a modality, none that fulfils the rules of an input, none in one study with the
            others, or a named one is not there.
        InvalidRequest: As :func:`require_input_roles`.
        AmbiguousSeries: Two series, or two studies, fit equally well.
        FrameOfReferenceMismatch: The series share no frame of reference.
        MissingAttribute: A series names no frame of reference.
        GeometryMismatch: The series do not overlap.
        UnsupportedSopClass: The modality is there as enhanced multi-frame objects only.
        SeriesError: The series that fits is not one regular volume.
    """
    named = require_input_roles(series, inputs, selected)
    members = _choose_study(series, inputs, named)
    first = anchor or inputs[0].role
    order = sorted(inputs, key=lambda item: item.role != first)
    chosen: dict[str, ChosenSeries] = {}
    warnings: list[str] = []
    for item in order:
        used = [found.series for found in chosen.values()]
        fitting = [member for member in _fulfilling(members, item, named) if member not in used]
        name = _input_name(item, inputs)
        if not fitting:
            if item.required:
                raise SeriesNotFound(
                    f"The only {name} series that fits is used for another input already. Send one series for each.",
                    modality=item.modality,
                    input_role=item.role,
                )
            continue
        fitted_to = next(iter(chosen.values()), None)
        try:
            candidates, left_out = _candidates(fitting, item.modality)
            anchor_name = "" if fitted_to is None else _input_name(order[0], inputs)
            kept, rules = _fitting(candidates, fitted_to, (name, anchor_name), item)
        except (SeriesNotFound, FrameOfReferenceMismatch, GeometryMismatch) as error:
            if item.required or item.role in named:
                raise
            warnings.append(f"The optional input {item.role} was left out. {error.message}")
            continue
        warnings += left_out
        only = _only(kept, item.modality, name)
        of_modality = sum(member.modality == item.modality for member in members)
        reason = _reason(item, name, fitted_to, rules, len(candidates), of_modality, is_named=item.role in named)
        chosen[item.role] = replace(only, reason=reason)
        if item.role not in named:
            warnings += _unmet_preferences(only.series, item.prefer, name)
    return SeriesSelection(chosen, tuple(warnings))


def _reason(
    item: ImageInput,
    name: str,
    fitted_to: ChosenSeries | None,
    rules: Sequence[SeriesRule],
    fitting: int,
    of_modality: int,
    *,
    is_named: bool,
) -> str | None:
    """Why a series was chosen, where there were others."""
    if is_named:
        return f"The {name} series is the one that the request names."
    if rules:
        decided = ", then ".join(rule.text for rule in rules)
        return f"Of {fitting} {name} series the model's preference chose one: {decided}."
    if fitting > 1 and fitted_to is not None:
        return (
            f"Of {fitting} {name} series the one was chosen whose extent and slices fit the "
            f"{MODALITY_NAMES[fitted_to.series.modality]} best."
        )
    if item.match and of_modality > 1:
        rule = " and ".join(rule.text for rule in item.match)
        of_all = f"Of {of_modality} {MODALITY_NAMES[item.modality]} series"
        return f"{of_all} the one for {item.role} fulfils the model's rule: {rule}."
    return None


def _unmet_preferences(series: ImageSeries, rules: Sequence[SeriesRule], name: str) -> list[str]:
    """That the number the model prefers is another one, such as a late phase where the first was not sent."""
    found = []
    for rule in rules:
        values = _values(series, rule.keyword)
        if rule.nearest is None or not values or rule.is_met_by(values):
            continue
        found.append(
            f"The {name} series has {rule.keyword} {setting_text(series, rule.keyword)}; the model prefers "
            f"{rule.nearest:g}."
        )
    return found


def require_input_roles(
    series: Sequence[ImageSeries], inputs: Sequence[ImageInput], selected: Sequence[SelectedSeries]
) -> dict[str, str]:
    """Refuse a selection of series that does not fit the inputs of the model.

    Args:
        series: All series of the study.
        inputs: Of the model.
        selected: In the order of the request. The input role may be empty where one input alone takes the modality.

    Returns:
        Series Instance UID by input role.

    Raises:
        InvalidRequest: An input role is none of the model, is given twice or lacks where several inputs take the
            modality, a series is named twice, or is of another modality than its input.
        SeriesNotFound: A series is not among the images of the study.
    """
    roles = [item.input_role for item in selected if item.input_role]
    uids = [item.series_instance_uid for item in selected]
    declared = {item.role: item for item in inputs}
    if unknown := [role for role in roles if role not in declared]:
        raise InvalidRequest(
            f"The model has no input '{unknown[0]}'; it has {', '.join(declared)}. Correct the selection of series.",
            field="series",
        )
    # A series that holds several volumes, such as the phases of a dynamic MR, may serve as many inputs.
    volumes = Counter(member.series_instance_uid for member in series)
    if len(set(roles)) < len(roles) or any(uids.count(uid) > max(volumes[uid], 1) for uid in uids):
        raise InvalidRequest(
            "A selection of series names one input or one series twice. Name each once.", field="series"
        )
    modality_of = {member.series_instance_uid: member.modality for member in series}
    by_role: dict[str, str] = {}
    for item in selected:
        modality = modality_of.get(item.series_instance_uid)
        if modality is None:
            raise SeriesNotFound(
                "A series that the request names is not among the images of the study. Check its Series Instance UID, "
                "or send the series.",
                modality="named",
            )
        role = item.input_role or _role_of_modality(modality, inputs)
        if declared[role].modality != modality:
            raise InvalidRequest(
                f"The series selected for {role} is a {MODALITY_NAMES[modality]} series. Check its Series "
                "Instance UID.",
                field="series",
            )
        if role in by_role:
            raise InvalidRequest("The request names two series of one modality. Name one of them.", field="series")
        by_role[role] = item.series_instance_uid
    return by_role


def _role_of_modality(modality: str, inputs: Sequence[ImageInput]) -> str:
    taking = [item.role for item in inputs if item.modality == modality]
    if not taking:
        read = " and ".join(dict.fromkeys(item.modality for item in inputs))
        raise InvalidRequest(
            f"The request names a {MODALITY_NAMES[modality]} series, and the model reads {read}. Name a series of one "
            "of these.",
            field="series",
        )
    if len(taking) > 1:
        raise InvalidRequest(
            f"The request names a {MODALITY_NAMES[modality]} series without saying for which input of the model: "
            f"{', '.join(taking)}. Name the input with it.",
            field="series",
        )
    return taking[0]


def _input_name(item: ImageInput, inputs: Sequence[ImageInput]) -> str:
    """What people call the modality, with the input role where several inputs are of it."""
    name = MODALITY_NAMES[item.modality]
    is_only = sum(other.modality == item.modality for other in inputs) == 1
    return name if is_only else f"{name} ({item.role})"


def _fulfilling(series: Sequence[ImageSeries], item: ImageInput, named: Mapping[str, str]) -> list[ImageSeries]:
    """Series that may be used for an input: of its modality, not named for another one, and by the model's rules."""
    volumes = Counter(member.series_instance_uid for member in series)
    wanted = named.get(item.role)
    return [
        member
        for member in series
        if member.modality == item.modality
        and (
            member.series_instance_uid == wanted
            if wanted
            else member.series_instance_uid not in named.values() or volumes[member.series_instance_uid] > 1
        )
        and _meets(member, item.match)
    ]


def _meets(series: ImageSeries, rules: Sequence[SeriesRule]) -> bool:
    return not unfulfilled(rules, lambda keyword: _values(series, keyword))


def _choose_study(
    series: Sequence[ImageSeries], inputs: Sequence[ImageInput], named: Mapping[str, str]
) -> list[ImageSeries]:
    readable = [member for member in series if not member.is_enhanced]
    required = [item for item in inputs if item.required or item.role in named]
    for item in required:
        if any(member.modality == item.modality for member in readable):
            continue
        if any(member.modality == item.modality for member in series):
            raise UnsupportedSopClass(
                f"The {MODALITY_NAMES[item.modality]} is stored as enhanced multi-frame objects, which are not "
                "supported. Send it as single-frame images.",
                modality=item.modality,
            )
        raise SeriesNotFound(
            f"The study has no {MODALITY_NAMES[item.modality]} series, which the model needs. Send it with the study.",
            modality=item.modality,
        )
    for item in required:
        if not _fulfilling(readable, item, named):
            raise _no_match(readable, item, named.get(item.role))
    studies: dict[str, list[ImageSeries]] = {}
    for member in readable:
        studies.setdefault(member.study_instance_uid, []).append(member)
    complete = [members for members in studies.values() if all(_fulfilling(members, item, named) for item in required)]
    if not complete:
        names = " and ".join(dict.fromkeys(MODALITY_NAMES[item.modality] for item in required))
        raise SeriesNotFound(
            f"The {names} series belong to different studies. Send the series of one examination.",
            modality=",".join(dict.fromkeys(item.modality for item in required)),
        )
    if len(complete) > 1:
        raise AmbiguousSeries(
            f"{len(complete)} studies hold every series the model needs. Send one study.", candidates=len(complete)
        )
    return complete[0]


def _no_match(series: Sequence[ImageSeries], item: ImageInput, named: str | None) -> SeriesNotFound:
    of_modality = [member for member in series if member.modality == item.modality]
    meant = [member for member in of_modality if named is None or member.series_instance_uid == named]
    name = MODALITY_NAMES[item.modality]
    rule = " and ".join(rule.text for rule in item.match)
    if named is not None:
        what = f"The {name} series that the request names for the input {item.role} does not fulfil the model's rule"
    else:
        what = f"No {name} series of the study fulfils the model's rule for its input {item.role}"
    found = found_text(meant or of_modality, [rule.keyword for rule in item.match])
    return SeriesNotFound(
        f"{what}: {rule or 'one series for each input'}. {found}Send the series that is meant, or use a model that was "
        "made for these images.",
        modality=item.modality,
        input_role=item.role,
    )


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
        except DuplicateSlices as error:
            told = f"{error.message} {NOT_TOLD_APART}" if modality == "MR" else error.message
            volumes.append(_Candidate(member, None, DuplicateSlices(told, **error.metadata)))
        except SeriesError as error:
            volumes.append(_Candidate(member, None, error))
    if not volumes:
        raise no_volumes[0]
    if no_volumes:
        warnings.append(f"{len(no_volumes)} {MODALITY_NAMES[modality]} series that are not volumes were left out.")
    return volumes, warnings


def _values(series: ImageSeries, keyword: str) -> tuple[str, ...]:
    try:
        return attributes.texts(series.slices[0].dataset, keyword)
    except InvalidAttribute:
        return ()


def _preferred(
    candidates: Sequence[_Candidate], rules: Sequence[SeriesRule]
) -> tuple[list[_Candidate], tuple[SeriesRule, ...]]:
    return preferred(candidates, rules, lambda candidate, keyword: _values(candidate.series, keyword))


def _fitting(
    candidates: list[_Candidate], anchor: ChosenSeries | None, names: tuple[str, str], item: ImageInput
) -> tuple[list[_Candidate], tuple[SeriesRule, ...]]:
    """The candidates that are left, and the model's rules that decided; ``names`` are of the input and the anchor."""
    modality, rules = item.modality, item.prefer
    if anchor is None:
        return _preferred(candidates, rules)
    frame = anchor.series.frame_of_reference_uid
    name, anchor_name = names
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
        return _preferred(sharing, rules)
    coverage = [_coverage(anchor.stack, stack) for _, stack in stacks]
    best = max(coverage)
    overlap = best
    if "MR" in (modality, anchor.series.modality):
        # An MR of one region may lie inside a scan of the whole body, of which it then covers little.
        overlap = max(best, *(_coverage(stack, anchor.stack) for _, stack in stacks))
    if overlap < _LEAST_COVERAGE:
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
    kept, decided = _preferred(fit, rules)
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


def _only(candidates: list[_Candidate], modality: str, name: str) -> ChosenSeries:
    if len(candidates) > 1:
        differences = series_differences([candidate.series for candidate in candidates])
        if len({candidate.series.series_instance_uid for candidate in candidates}) > 1:
            how = (
                "Name the Series Instance UID of one (CreateAssessmentRequest.series, or --series on the command line; "
                "'oncoresponse series' lists them), or let the model prefer one by an attribute (prefer in model.yaml)."
            )
        else:
            how = (
                "They are volumes of one series, so no UID tells them apart. Send each as a series of its own, or let "
                "the model prefer one by an attribute (prefer in model.yaml)."
            )
        raise AmbiguousSeries(
            f"{len(candidates)} {name} series fit the model equally well. {differences} {how}",
            modality=modality,
            candidates=len(candidates),
        )
    if candidates[0].stack is None:
        raise candidates[0].defect or SeriesNotFound(f"No {name} series forms a volume.")
    return ChosenSeries(candidates[0].series, candidates[0].stack)
