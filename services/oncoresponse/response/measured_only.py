"""The answer where the images were measured and nothing is predicted from them: the reasons, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from oncoresponse.case.prediction import USED_IN_TRAINING, AbstainReason, Answer, Prediction
from oncoresponse.case.readable_numbers import inside_sentence, spoken_value
from oncoresponse.model.definition import MeasuredInput
from oncoresponse.model.folder import ModelFolder
from oncoresponse.response.input_provenance import PROVENANCE_UNDECLARED, InputProvenance
from oncoresponse.response.input_sources import InputSources
from oncoresponse.response.task import ResponseInput

_TEXTS = {
    "DEFINITION_DIFFERS": "Measured only: definition differs from training",
    "SEVERAL_LESIONS": "Measured only: the model predicts from a single lesion",
    "CLINICAL_INPUTS_MISSING": "Measured only: clinical inputs missing",
}
"""The answer by its first reason."""


def definition_differs(item: MeasuredInput, inputs: Sequence[ResponseInput]) -> AbstainReason:
    """That an input was measured as another quantity."""
    title = next(entry.title for entry in inputs if entry.name == item.input)
    return AbstainReason(code="DEFINITION_DIFFERS", text=f"{title}: {item.definition}")


def several_lesions(count: int) -> AbstainReason:
    """That the model predicts from one lesion."""
    return AbstainReason(
        code="SEVERAL_LESIONS", text=f"The model predicts from a single lesion, and {count} were measured."
    )


def clinical_inputs_missing(missing: Sequence[ResponseInput]) -> AbstainReason:
    """That nobody gave what cannot be measured."""
    titles = ", ".join(inside_sentence(entry.title) for entry in missing)
    return AbstainReason(
        code="CLINICAL_INPUTS_MISSING",
        text=f"Clinical inputs missing: {titles}. Nothing is predicted without them; a missing value is never guessed.",
    )


def measured_only(
    folder: ModelFolder,
    reasons: Sequence[AbstainReason],
    inputs: Sequence[ResponseInput],
    sources: InputSources,
    *,
    provenance: InputProvenance | None,
    used_in_training: bool,
) -> Prediction:
    """The answer, without any number that looks like a prediction.

    Args:
        folder: The model.
        reasons: Why, the first one first; at least one.
        inputs: Of the response model.
        sources: What was measured of them.
        provenance: How it was measured; ``None`` where nothing was, or no lesion is predicted from.
        used_in_training: Whether the patient was recognized.
    """
    definition = folder.definition
    measured = [
        f"{inside_sentence(entry.title)} {spoken_value(sources.values[entry.name], entry.unit)}"
        for entry in inputs
        if entry.name in sources.values
    ]
    text = _TEXTS[reasons[0].code]
    sentences = [f"{text}; no probability is given."]
    if measured:
        sentences.append(f"Measured in the contour: {', '.join(measured)}.")
    return Prediction(
        model_name=definition.name,
        model_version=definition.version,
        model_sha256=folder.sha256,
        outcome_code=definition.outcome.code,
        outcome_title=definition.outcome.title,
        answer=Answer.MEASURED_ONLY,
        answer_text=text,
        used_in_training=used_in_training,
        provenance=PROVENANCE_UNDECLARED if provenance is None else "DECLARED",
        sentences=tuple(sentences),
        abstain_reasons=(*((USED_IN_TRAINING,) if used_in_training else ()), *reasons),
        limits=definition.limitations,
        research_use_statement=definition.intended_use.device_status,
    )
