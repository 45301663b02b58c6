"""Where each input of a response model comes from: the request, or what was measured, under its own or another name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.model.definition import MeasuredInput
from oncoresponse.response.task import ResponseInput


@dataclass(frozen=True)
class InputSources:
    """The inputs of one patient.

    Attributes:
        values: What was measured, by name; inputs that a measure of another name gives are there by their own, too.
        differing: Inputs that were measured, and not given, as a quantity not shown to be that of the training data.
        missing: Clinical inputs that were neither given nor measured.
    """

    values: Mapping[str, float]
    differing: tuple[MeasuredInput, ...]
    missing: tuple[ResponseInput, ...]


def needs_lesion(
    inputs: Sequence[ResponseInput], measured_inputs: Sequence[MeasuredInput], given: Mapping[str, float]
) -> bool:
    """Whether an input has to be measured in images, because the request does not give it."""
    measured = {item.input for item in measured_inputs}
    return any(entry.source == "features" or (entry.name in measured and entry.name not in given) for entry in inputs)


def input_sources(
    inputs: Sequence[ResponseInput],
    measured_inputs: Sequence[MeasuredInput],
    measured: Mapping[str, float] | None,
    given: Mapping[str, float],
) -> InputSources:
    """Look for every input.

    Args:
        inputs: Of the response model.
        measured_inputs: As the model declares them.
        measured: Features and measures of what is predicted from, by name; empty where lesions were measured and none
            is predicted from; ``None`` where nothing was measured.
        given: Clinical inputs of the request; they go before what was measured.

    Raises:
        ModelFolderInvalid: A measure that the model declares was not measured.
    """
    wanted = [item for item in measured_inputs if item.input not in given] if measured is not None else []
    values = dict(measured or {})
    for item in wanted if values else ():
        if item.measure not in values:
            raise ModelFolderInvalid(
                f"measured_inputs of the model names '{item.measure}', which was not measured. Name a measure, a "
                "feature of radiomics/settings.yaml, or, for a model that predicts from all lesions, a total.",
                feature=item.measure,
            )
        values[item.input] = values[item.measure]
    found = {*given, *(item.input for item in wanted)}
    return InputSources(
        values=values,
        differing=tuple(item for item in wanted if not item.same_definition),
        missing=tuple(entry for entry in inputs if entry.source == "clinical" and entry.name not in found),
    )
