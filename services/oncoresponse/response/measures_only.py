"""A model without evidence for a prediction: the chain measures, and the answer says that nothing is predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from oncoresponse.case.prediction import (
    MEASURES_USED_IN_TRAINING,
    NO_EVIDENCE_TEXT,
    AbstainReason,
    Answer,
    Prediction,
)
from oncoresponse.case.readable_numbers import inside_sentence
from oncoresponse.errors import ModelFolderInvalid, ModelHashMismatch
from oncoresponse.model.folder import ModelFolder
from oncoresponse.response.input_provenance import PROVENANCE_UNDECLARED, InputProvenance
from oncoresponse.response.model import ResponseModel, require_same_radiomics
from oncoresponse.response.model_document import DOCUMENT_FILE, TASK_FILE, MeasuresOnlyDocument
from oncoresponse.response.task import ResponseInput

_DOCUMENT = f"response/{DOCUMENT_FILE}"


@dataclass(frozen=True)
class MeasuresOnlyModel:
    """The response part of a model that does not predict."""

    folder: ModelFolder
    document: MeasuresOnlyDocument

    @property
    def inputs(self) -> tuple[ResponseInput, ...]:
        """What the outcome was sought in; none of it is needed to say that nothing is predicted."""
        return self.document.inputs

    def predict(
        self,
        values: Mapping[str, float],  # noqa: ARG002 - the same call as that of a model that predicts
        covariates: Mapping[str, float] | None = None,  # noqa: ARG002
        contour_variants: Sequence[Mapping[str, float]] = (),  # noqa: ARG002
        *,
        whole_lesion: Sequence[Mapping[str, float]] = (),  # noqa: ARG002
        provenance: InputProvenance | None = None,
        used_in_training: bool = False,
    ) -> Prediction:
        """``no_evidence``, whatever the patient."""
        document, definition = self.document, self.folder.definition
        title = definition.outcome.title
        return Prediction(
            model_name=definition.name,
            model_version=definition.version,
            model_sha256=self.folder.sha256,
            outcome_code=definition.outcome.code,
            outcome_title=title,
            answer=Answer.NO_EVIDENCE,
            answer_text=NO_EVIDENCE_TEXT,
            used_in_training=used_in_training,
            provenance=PROVENANCE_UNDECLARED if provenance is None else "DECLARED",
            sentences=(
                f"No evidence that this model can predict {inside_sentence(title)}: it measures and does not predict.",
            ),
            abstain_reasons=(
                *((MEASURES_USED_IN_TRAINING,) if used_in_training else ()),
                AbstainReason(code="NO_EVIDENCE", text=document.statement),
            ),
            limits=(
                *definition.outside_checks_of(document.candidate_boosters),
                *document.limits,
                *definition.limitations,
            ),
            research_use_statement=definition.intended_use.device_status,
            training_patients=document.training_patients,
            training_data_sha256=document.training_data_sha256,
            seed=document.seed,
        )


def open_response_model(folder: ModelFolder) -> ResponseModel | MeasuresOnlyModel:
    """The response part of a model folder, with or without evidence for a prediction.

    Raises:
        ModelFolderInvalid: See :meth:`ResponseModel.open`.
        ModelHashMismatch: See there.
    """
    try:
        content = folder.file(_DOCUMENT).read_bytes()
    except OSError as error:
        raise ModelFolderInvalid(f"{DOCUMENT_FILE} cannot be read. Install the model again.") from error
    try:
        document = MeasuresOnlyDocument.model_validate_json(content)
    except ValidationError:
        return ResponseModel.open(folder)
    task = f"response/{TASK_FILE}"
    if document.task_sha256 is not None and folder.manifest.files.get(task) != document.task_sha256:
        raise ModelHashMismatch(
            f"{task} is not the file {DOCUMENT_FILE} names. Install the model again, or train it again.", file=task
        )
    require_same_radiomics(folder, document)
    return MeasuresOnlyModel(folder, document)
