"""The 31 source attributes of a predictive decision support intervention (ONC HTI-1, 45 CFR 170.315(b)(11)(iv)).

What the evaluation and ``model.yaml`` say is filled in; what nobody has measured or stated is said to be unknown, and
why. Nothing is left empty.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, model_validator

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.model.definition import ModelDefinition
from oncoresponse.response.model_document import MeasuresOnlyDocument, ResponseDocument
from oncoresponse.response.training.evaluation_tables import baseline_verdict
from oncoresponse.response.training.validation import Evaluation

_NOT_STATED = "Not stated in source_attributes of model.yaml."
_NO_EXTERNAL = "No external validation has been done: every patient comes from the source of the training data."
_NO_LOCAL = "Known only at the hospital that uses the model: predict its own patients and record their outcomes."

ATTRIBUTES: tuple[tuple[str, str, str], ...] = (
    ("developer", "Details and output", "Name and contact of the developer"),
    ("funding", "Details and output", "Funding of the technical implementation"),
    ("output_value", "Details and output", "Description of the output value"),
    ("output_type", "Details and output", "Type of output"),
    ("intended_use", "Purpose", "Intended use"),
    ("intended_population", "Purpose", "Intended patient population"),
    ("intended_users", "Purpose", "Intended users"),
    ("decision_role", "Purpose", "Intended decision-making role"),
    ("out_of_scope", "Out of scope", "Tasks, situations and populations to avoid"),
    ("known_risks", "Out of scope", "Known risks, inappropriate settings and uses, limitations"),
    ("training_inclusion", "Development", "Inclusion and exclusion criteria of the training data"),
    ("demographic_inputs", "Development", "Use of demographic and health-status variables as inputs"),
    ("training_demographics", "Development", "Demographic representativeness of the training data"),
    ("training_relevance", "Development", "Relevance of the training data to the deployed setting"),
    ("fairness_approach", "Fairness", "Approach to ensure that the output is fair"),
    ("bias_management", "Fairness", "Approaches to manage, reduce or eliminate bias"),
    ("external_data", "External validation", "Data source and setting of external validation"),
    ("external_party", "External validation", "Party that conducted external validation"),
    ("external_demographics", "External validation", "Demographic representativeness of external data"),
    ("external_process", "External validation", "Process of external validation"),
    ("validity_same_source", "Quantitative measures", "Validity on test data of the same source"),
    ("fairness_same_source", "Quantitative measures", "Fairness on test data of the same source"),
    ("validity_external", "Quantitative measures", "Validity on external data"),
    ("fairness_external", "Quantitative measures", "Fairness on external data"),
    ("outcome_studies", "Quantitative measures", "References to evaluations of use on outcomes"),
    ("validity_monitoring", "Maintenance", "Process and frequency of monitoring validity"),
    ("validity_local", "Maintenance", "Validity in local data"),
    ("fairness_monitoring", "Maintenance", "Process and frequency of monitoring fairness"),
    ("fairness_local", "Maintenance", "Fairness in local data"),
    ("update_process", "Updates", "Process and frequency of updates"),
    ("correction_process", "Updates", "Frequency of correction when risks to validity or fairness are found"),
)
"""Identifier, group and title of each attribute, in the order of the regulation."""

_UNKNOWN_BECAUSE = {
    "external_data": _NO_EXTERNAL,
    "external_party": _NO_EXTERNAL,
    "external_demographics": _NO_EXTERNAL,
    "external_process": _NO_EXTERNAL,
    "validity_external": _NO_EXTERNAL,
    "fairness_external": _NO_EXTERNAL,
    "outcome_studies": "No study has measured what using the model does to patients.",
    "validity_local": _NO_LOCAL,
    "fairness_local": _NO_LOCAL,
}


class SourceAttribute(BaseModel):
    """One attribute: either a value or why it is unknown.

    Attributes:
        number: 1 to 31.
        identifier: Stable name, also the key in ``model.yaml``.
        group: Group of the regulation.
        title: What it is.
        value: What is known.
        unknown_because: Why it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    identifier: str
    group: str
    title: str
    value: str | None
    unknown_because: str | None

    @model_validator(mode="after")
    def _said_or_unknown(self) -> SourceAttribute:
        if bool(self.value) == bool(self.unknown_because):
            raise ValueError(f"Attribute '{self.identifier}' needs a value or a reason why it is unknown.")
        return self


def source_attributes(
    definition: ModelDefinition, document: ResponseDocument | MeasuresOnlyDocument, evaluation: Evaluation
) -> tuple[SourceAttribute, ...]:
    """All 31 attributes of a model.

    Raises:
        ModelFolderInvalid: ``model.yaml`` states an attribute that does not exist.
    """
    known = {identifier for identifier, _, _ in ATTRIBUTES}
    if strangers := sorted(set(definition.source_attributes) - known):
        raise ModelFolderInvalid(
            f"model.yaml states the source attribute '{strangers[0]}', which does not exist. The names are: "
            f"{', '.join(sorted(known))}."
        )
    found = _from_training(definition, document, evaluation) | dict(definition.source_attributes)
    return tuple(
        SourceAttribute(
            number=number,
            identifier=identifier,
            group=group,
            title=title,
            value=found.get(identifier) or None,
            unknown_because=None if found.get(identifier) else _UNKNOWN_BECAUSE.get(identifier, _NOT_STATED),
        )
        for number, (identifier, group, title) in enumerate(ATTRIBUTES, start=1)
    )


def _from_training(
    definition: ModelDefinition, document: ResponseDocument | MeasuresOnlyDocument, evaluation: Evaluation
) -> dict[str, str]:
    use, outcome, conformal = definition.intended_use, definition.outcome, evaluation.conformal
    groups = ", ".join(dict.fromkeys(figures.group for figures in evaluation.subgroups))
    demographics = [
        f"{figures.group} {figures.subgroup}: {figures.patients}"
        for figures in evaluation.subgroups
        if figures.group.casefold() in ("sex", "age", "race", "ethnicity", "language")
    ]
    names = ", ".join(entry.title for entry in document.inputs)
    excluded = "; ".join(f"{reason}: {count}" for reason, count in evaluation.excluded.items()) or "none"
    found = {
        "output_value": f"Probability of '{outcome.title}' ({outcome.definition}) with a "
        f"{document.interval.level:.0%} interval, a prediction set that promises {conformal.promised:.0%} coverage in "
        "each outcome, contributions of the inputs, and the distance from the training patients; or no call, with the "
        "reasons."
        if isinstance(document, ResponseDocument)
        else "Measures of the tumor, and the statement that there is no evidence for a prediction.",
        "output_type": "Prediction (probability and call), which may be 'indeterminate' or 'out of distribution'"
        if isinstance(document, ResponseDocument)
        else "Measures only ('no evidence for a prediction')",
        "intended_use": use.purpose,
        "intended_population": use.population,
        "intended_users": use.user,
        "decision_role": use.role,
        "out_of_scope": " ".join(use.contraindications),
        "known_risks": " ".join((use.device_status, *document.limits, *definition.limitations)),
        "training_inclusion": f"{definition.training_data} {document.training_patients} patients. Left out by rule: "
        f"{excluded}. Kept out as samples: {len(evaluation.held_out_patients)}.",
        "demographic_inputs": f"Inputs: {names}. Race, ethnicity, language, sexual orientation, gender identity and "
        "social determinants of health are no inputs.",
        "fairness_approach": f"The evaluation is repeated by {groups}; a group too small to say is said to be so."
        if groups
        else "",
        "validity_same_source": f"Nested cross-validation: AUC {evaluation.booster.auc.text}, Brier "
        f"{evaluation.booster.brier.text}, calibration slope {evaluation.booster.calibration_slope.text}; coverage "
        f"{conformal.covered:.0%}. Logistic regression: AUC {evaluation.baseline.auc.text}. "
        f"{baseline_verdict(evaluation).replace('**', '')}",
        "fairness_same_source": _fairness(evaluation),
        "validity_monitoring": "'oncoresponse monitor' compares inputs with the training data and probabilities with "
        "recorded outcomes; how often it is run is the hospital's decision.",
        "fairness_monitoring": "'oncoresponse monitor' does the same by subgroup.",
    }
    if demographics:
        absent = [
            name for name in ("sex", "age", "race") if not any(d.casefold().startswith(name) for d in demographics)
        ]
        missing = f" Not audited: {', '.join(absent)}." if absent else ""
        found["training_demographics"] = f"{'; '.join(demographics)}.{missing}"
    return found


def _fairness(evaluation: Evaluation) -> str:
    said = [figures.sentence for figures in evaluation.subgroups if not figures.too_small]
    small = [f"{figures.group} {figures.subgroup}" for figures in evaluation.subgroups if figures.too_small]
    if small:
        said.append(f"Too few patients to say anything: {'; '.join(small)}.")
    return " ".join(said)
