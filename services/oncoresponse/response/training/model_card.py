"""``model-card.md``, ``model-card.json`` and their plots in the model folder, from the files of the training run.

Nothing is written by hand: the card is made of ``model.yaml``, ``task.yaml``, ``response.json`` and
``evaluation.json``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.model.definition import ImagingResponse, ModelDefinition, parse_definition
from oncoresponse.response.model_document import (
    BOOSTER_FILE,
    DOCUMENT_FILE,
    ENSEMBLE_FILE,
    EVALUATION_FILE,
    TASK_FILE,
    MeasuresOnlyDocument,
    ResponseDocument,
    read_document,
)
from oncoresponse.response.task import ResponseInput, ResponseTask, read_task
from oncoresponse.response.training.evaluation_figures import (
    CALIBRATION_IMAGE,
    DECISION_CURVE_IMAGE,
    ROC_IMAGE,
    write_figures,
)
from oncoresponse.response.training.evaluation_tables import detail_tables, summary_tables
from oncoresponse.response.training.segmentation_figures import segmentation_section
from oncoresponse.response.training.source_attributes import SourceAttribute, source_attributes
from oncoresponse.response.training.validation import Evaluation
from oncoresponse.response.training_fingerprints import FINGERPRINTS_FILE

CARD_MARKDOWN = "model-card.md"
CARD_JSON = "model-card.json"
CARD_FIGURES = "model-card-figures"
CARD_FILES = (
    CARD_MARKDOWN,
    CARD_JSON,
    *(f"{CARD_FIGURES}/{image}" for image in (ROC_IMAGE, CALIBRATION_IMAGE, DECISION_CURVE_IMAGE)),
)


class ModelCard(BaseModel):
    """Contents of ``model-card.json``.

    Attributes:
        name: Name of the model.
        version: Its version.
        title: Its title.
        device_status: The statement shown wherever a prediction is.
        source_attributes: The 31 attributes.
        files_sha256: Hashes of what the card describes, by file.
        training_data_sha256: Over inputs and outcomes of the training patients.
        library_versions: That fitted the model.
        evaluation: All figures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    title: str
    device_status: str
    source_attributes: tuple[SourceAttribute, ...]
    files_sha256: dict[str, str]
    training_data_sha256: str
    library_versions: dict[str, str]
    evaluation: Evaluation


def write_model_card(model_directory: Path) -> ModelCard:
    """Write the card of a trained model. Seal the folder afterwards.

    Raises:
        ModelFolderInvalid: A file of the model is missing or does not follow its schema.
    """
    folder = model_directory / "response"
    try:
        definition = parse_definition(yaml.safe_load((model_directory / "model.yaml").read_bytes()))
        document = read_document((folder / DOCUMENT_FILE).read_bytes())
        evaluation = Evaluation.model_validate_json((folder / EVALUATION_FILE).read_bytes())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelFolderInvalid(
            f"The model card needs model.yaml, {DOCUMENT_FILE} and {EVALUATION_FILE} of one training run. Train the "
            "model first."
        ) from error
    task = read_task(folder / TASK_FILE)
    card = ModelCard(
        name=definition.name,
        version=definition.version,
        title=definition.title,
        device_status=definition.intended_use.device_status,
        source_attributes=source_attributes(definition, document, evaluation),
        files_sha256={
            f"response/{name}": hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in (BOOSTER_FILE, ENSEMBLE_FILE, TASK_FILE, FINGERPRINTS_FILE)
            if (folder / name).is_file()
        },
        training_data_sha256=document.training_data_sha256 or "",
        library_versions=document.library_versions,
        evaluation=evaluation,
    )
    write_figures(evaluation, model_directory / CARD_FIGURES)
    text = json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False)
    (model_directory / CARD_JSON).write_text(text + "\n", encoding="utf-8")
    segmentation = segmentation_section(model_directory)
    markdown = _markdown(card, definition, task, document, segmentation)
    (model_directory / CARD_MARKDOWN).write_text(markdown, encoding="utf-8")
    return card


def _markdown(
    card: ModelCard,
    definition: ModelDefinition,
    task: ResponseTask,
    document: ResponseDocument | MeasuresOnlyDocument,
    segmentation: list[str],
) -> str:
    use, evaluation = definition.intended_use, card.evaluation
    lines = [
        f"# {card.title}",
        "",
        f"Model card of `{card.name}` {card.version}. **{card.device_status}**",
        "",
        "Written by the training command; not edited by hand.",
        "",
        "## What it is for",
        "",
        f"- **Purpose.** {use.purpose}",
        f"- **Patients.** {use.population}",
        f"- **User.** {use.user}",
        f"- **Role.** {use.role}",
        "- **Not for.** " + " ".join(use.contraindications),
        f"- **Predicts.** {definition.outcome.title}: {definition.outcome.definition}"
        if isinstance(document, ResponseDocument)
        else f"- **Predicts.** Nothing: it measures. {document.statement} Sought was: {definition.outcome.title} "
        f"({definition.outcome.definition})",
        f"- **Trained on.** {definition.training_data}",
        "",
        "## What goes in",
        "",
        *_input_table(document),
        "",
        f"Never an input: {', '.join(task.forbidden_columns) or 'nothing declared'}. A missing input is an error, "
        "not a guess.",
        "",
        *_image_lines(definition),
        "## How good it is",
        "",
        summary_tables(evaluation, document),
        f"![ROC curves]({CARD_FIGURES}/{ROC_IMAGE})",
        f"![Calibration]({CARD_FIGURES}/{CALIBRATION_IMAGE})",
        f"![Decision curve]({CARD_FIGURES}/{DECISION_CURVE_IMAGE})",
        "",
        detail_tables(evaluation),
        *segmentation,
        "## Limits",
        "",
        *(
            f"- {text}"
            for text in dict.fromkeys((*_outside(definition, document), *document.limits, *definition.limitations))
        ),
        "",
        "## Source attributes",
        "",
        "The 31 attributes of ONC HTI-1, 45 CFR 170.315(b)(11); what is not known is said to be unknown.",
        "",
    ]
    group = ""
    for attribute in card.source_attributes:
        if attribute.group != group:
            group = attribute.group
            lines += [f"### {group}", ""]
        said = attribute.value or f"**Unknown.** {attribute.unknown_because}"
        lines += [f"{attribute.number}. **{attribute.title}.** {said}", ""]
    return "\n".join(lines)


def _image_lines(definition: ModelDefinition) -> list[str]:
    """What is read of a study, which lesion the answer is about, and how inputs are measured."""
    if not isinstance(definition, ImagingResponse):
        return []
    lines = ["Of a study:", ""]
    for item in definition.inputs:
        rules = "; ".join(rule.text for rule in item.match)
        lines.append(
            f"- **{item.role}** ({item.modality}, {item.quantity}{'' if item.required else ', where there is one'}). "
            f"{item.purpose}.{f' Only if {rules}.' if rules else ''}"
        )
    lines += ["", f"Lesions are contoured on {definition.segment_on} and measured on {definition.features_from}."]
    if definition.predict_from == "the only lesion":
        lines += ["The answer is about one lesion; of a patient with several nothing is predicted.", ""]
    else:
        lines += [f"Of several lesions the answer is about {definition.predict_from}.", ""]
    for measured in definition.measured_inputs:
        taken = "is used" if measured.same_definition else "is reported and not used"
        lines.append(
            f"- `{measured.input}` comes with the request. Where it does not, `{measured.measure}` is measured in the "
            f"contour and {taken}. {measured.definition}"
        )
    return [*lines, ""] if definition.measured_inputs else lines


def _outside(definition: ModelDefinition, document: ResponseDocument | MeasuresOnlyDocument) -> tuple[str, ...]:
    if isinstance(document, ResponseDocument):
        return definition.outside_checks_of((document.booster_sha256,))
    return definition.outside_checks_of(document.candidate_boosters)


def _input_table(document: ResponseDocument | MeasuresOnlyDocument) -> list[str]:
    signs = {-1: "larger is never favorable", 0: "none", 1: "larger is never unfavorable"}
    if isinstance(document, MeasuresOnlyDocument):
        return [
            "| Sought in | Name | Unit | Kind | Allowed | Sign held |",
            "|---|---|---|---|---|---|",
            *(
                f"| {entry.title} | {_name(entry)} | {entry.unit} | {entry.physician_group} | {entry.minimum:g} to "
                f"{entry.maximum:g} | {signs[entry.favorable_sign]} |"
                for entry in document.inputs
            ),
        ]
    return [
        "| Input | Name | Unit | Kind | Allowed | Training patients, median (5th to 95th percentile) | Sign held |",
        "|---|---|---|---|---|---|---|",
        *_input_rows(document),
    ]


def _name(entry: ResponseInput) -> str:
    """Name of the input, or how it is derived."""
    if (change := entry.log_ratio) is None:
        return f"`{entry.name}`"
    at_least = f"each at least {change.at_least:g} {change.unit}"
    return f"`{entry.name}` = ln(`{change.later}` / `{change.earlier}`), {at_least}"


def _input_rows(document: ResponseDocument) -> list[str]:
    signs = {-1: "larger is never favorable", 0: "none", 1: "larger is never unfavorable"}
    return [
        f"| {entry.title} | {_name(entry)} | {entry.unit} | {entry.physician_group} | {entry.minimum:g} to "
        f"{entry.maximum:g} | {training.median:.3g} ({training.low:.3g} to {training.high:.3g}) | "
        f"{signs[entry.favorable_sign]} |"
        for entry, training in zip(document.inputs, document.training, strict=True)
    ]
