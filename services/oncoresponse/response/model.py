"""A trained response model: open it, check that it still computes what it computed, predict."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xgboost
from pydantic import ValidationError

from oncoresponse.case.prediction import (
    NO_EVIDENCE_TEXT,
    USED_IN_TRAINING,
    AbstainReason,
    Answer,
    AnswerChange,
    BaselinePrediction,
    CallEvidence,
    ConformalOutcome,
    ContourInterval,
    OutsideTrainingData,
    Prediction,
)
from oncoresponse.case.readable_numbers import inside_sentence, significant, spoken_value
from oncoresponse.errors import InvalidRequest, ModelFolderInvalid, ModelGoldenMismatch, ModelHashMismatch
from oncoresponse.model.folder import ModelFolder
from oncoresponse.response.answer_rule import answers
from oncoresponse.response.arrays import FloatArray
from oncoresponse.response.booster import open_booster
from oncoresponse.response.conformal import conformal_p_values, conformal_sets
from oncoresponse.response.explanation import (
    answer_changes,
    calibrated_contributions,
    explained_inputs,
    grouped,
    nearest_cases,
    three_sentences,
)
from oncoresponse.response.input_provenance import PROVENANCE_UNDECLARED, InputProvenance, undeclared_sentence
from oncoresponse.response.known_patient import KnownPatient, answer_of, conformal_reasons
from oncoresponse.response.model_document import (
    BOOSTER_FILE,
    DOCUMENT_FILE,
    ENSEMBLE_FILE,
    TASK_FILE,
    MeasuresOnlyDocument,
    ResponseDocument,
)
from oncoresponse.response.pipeline import ScoringModel
from oncoresponse.response.probability_interval import Ensemble
from oncoresponse.response.task import ResponseInput, with_derived
from oncoresponse.response.whole_lesion import BORDER_CHANGES_ANSWER

_FOLDER = "response"
_RADIOMICS_SETTINGS = "radiomics/settings.yaml"
_TRANSFORM_TOLERANCE = 1e-6
_MARGIN_TOLERANCE = 1e-9
_CALLS: tuple[ConformalOutcome, ConformalOutcome] = (Answer.FAVORABLE, Answer.UNFAVORABLE)


@dataclass(frozen=True)
class ResponseModel:
    """The response model of a model folder. Use :meth:`open`."""

    folder: ModelFolder
    # Not shown: they hold the training patients, without names, and are long.
    document: ResponseDocument = field(repr=False)
    scoring: ScoringModel = field(repr=False)
    ensemble: Ensemble = field(repr=False)

    @property
    def inputs(self) -> tuple[ResponseInput, ...]:
        """What a prediction needs."""
        return self.document.inputs

    @classmethod
    def open(cls, model_folder: ModelFolder) -> ResponseModel:
        """Read the model and recompute its golden vectors.

        Raises:
            ModelFolderInvalid: A file is missing or unreadable.
            ModelGoldenMismatch: This version of XGBoost does not reproduce the golden vectors.
            ModelHashMismatch: The booster, the ensemble, the task or the radiomics settings are not those of the
                training run.
        """
        raw_booster = _read(model_folder, BOOSTER_FILE)
        raw_ensemble = _read(model_folder, ENSEMBLE_FILE)
        try:
            document = ResponseDocument.model_validate_json(_read(model_folder, DOCUMENT_FILE))
        except ValidationError as error:
            raise ModelFolderInvalid(
                f"{DOCUMENT_FILE} does not follow its schema. Install the model again, or train it with this version."
            ) from error
        checked = [
            (BOOSTER_FILE, raw_booster, document.booster_sha256),
            (ENSEMBLE_FILE, raw_ensemble, document.ensemble_sha256),
            (TASK_FILE, _read(model_folder, TASK_FILE), document.task_sha256),
        ]
        for name, content, digest in checked:
            if hashlib.sha256(content).hexdigest() != digest:
                raise ModelHashMismatch(
                    f"{name} is not the file {DOCUMENT_FILE} names. Install the model again, or train it again.",
                    file=name,
                )
        require_same_radiomics(model_folder, document)
        booster = open_booster(raw_booster, BOOSTER_FILE, document.input_names)
        start = None if document.start is None else document.start.regression(document.input_names)
        model = cls(
            model_folder,
            document,
            ScoringModel(start, booster, document.calibration.sigmoid, document.input_names),
            Ensemble.from_bytes(raw_ensemble, document.input_names),
        )
        model._require_golden_vectors()
        return model

    def predict(
        self,
        values: Mapping[str, float],
        covariates: Mapping[str, float] | None = None,
        contour_variants: Sequence[Mapping[str, float]] = (),
        *,
        whole_lesion: Sequence[Mapping[str, float]] = (),
        contour_review_reasons: Sequence[str] = (),
        used_in_training: bool = False,
        provenance: InputProvenance | None = None,
    ) -> Prediction:
        """Predict the outcome of one patient.

        Args:
            values: Features and measures by name, in the units of the inputs; names that are no input are ignored.
            covariates: Clinical inputs by name. One that is measured in the images may be among ``values`` instead.
            contour_variants: The same features from other plausible contours of the same tumor.
            whole_lesion: What the inputs may be of the whole tumor where the images show a part of it; from
                :func:`~oncoresponse.response.whole_lesion.whole_lesion_variants`. They widen the interval as contours
                do, and a call is made only where it is the same for all of them.
            contour_review_reasons: Why the contour must not be believed before a physician has reviewed it.
            used_in_training: The patient was recognized as one the model was trained on.
            provenance: How the inputs were made; ``None`` where nobody says, and the prediction then says that.

        Returns:
            The prediction. It abstains, and says why, when an input is NaN or infinite, cannot be true, or lies too far
            from the training patients, when the conformal set does not hold exactly one outcome, when validation does
            not support calls of this kind, when a contour variant would give the opposite call, when the contour
            needs review, and when the model was trained on the patient.

        Raises:
            ModelFolderInvalid: A feature the model needs was not computed: the radiomics settings do not fit the model.
            InvalidRequest: A covariate the model needs was not given.
            QuantityMismatch, SettingsMismatch: The inputs were made otherwise than those of the training patients.
        """
        undeclared = undeclared_sentence(self.document, provenance)
        row = self._row(values, covariates or {})
        transformed = self._transformed(row)
        finite = bool(np.isfinite(transformed).all())
        outside, reasons = self._outside(row, transformed[0])
        known = self._known(transformed) if finite else None
        if known is not None and not outside.is_outside:  # beyond the training patients the set promises nothing
            reasons += conformal_reasons(known)
        answer = answer_of(outside.is_outside, reasons, known)
        evidence = self._call_evidence(answer)
        contours = None
        if known is not None and (contour_variants or whole_lesion):
            variants = [*contour_variants, *whole_lesion]
            contours = self._contour_interval(known.probability, answer, variants, covariates or {})
        if used_in_training:
            reasons.insert(0, USED_IN_TRAINING)
        if evidence is not None and not evidence.allowed:
            reasons.append(AbstainReason(code="CALL_NOT_SUPPORTED", text=evidence.text))
        border = (
            None if known is None else self._contour_interval(known.probability, answer, whole_lesion, covariates or {})
        )
        if border is not None and answer in _CALLS and set(border.calls) != {answer}:
            reasons.append(BORDER_CHANGES_ANSWER)
        if contours is not None and len(set(contours.calls) & set(_CALLS)) > 1 and answer in _CALLS:
            reasons.append(
                AbstainReason(
                    code="CONTOUR_CHANGES_ANSWER",
                    text=f"Another of {contours.variants} plausible contours of this tumor would give the opposite "
                    "answer.",
                )
            )
        reasons += [AbstainReason(code="CONTOUR_NEEDS_REVIEW", text=text) for text in contour_review_reasons]
        if reasons and answer in _CALLS:
            answer = Answer.INDETERMINATE
        interval = known.interval(contours) if known else (None, None)
        definition, document = self.folder.definition, self.document
        contributions = explained_inputs(document, row, known.shapley) if known else ()
        # Which of the kept cases the patient is, is not known: the model holds no link from a fingerprint to a case.
        nearest = nearest_cases(document, transformed) if finite and not used_in_training else ()
        changes: tuple[AnswerChange, ...] = ()
        if finite and not used_in_training:
            changes = answer_changes(document, self.scoring, row, answer, self._answer_texts)
        return Prediction(
            model_name=definition.name,
            model_version=definition.version,
            model_sha256=self.folder.sha256,
            outcome_code=definition.outcome.code,
            outcome_title=definition.outcome.title,
            answer=answer,
            answer_text=self._answer_texts[answer],
            probability=known.probability if known else None,
            interval_low=interval[0],
            interval_high=interval[1],
            interval_level=document.interval.level,
            interval_method=document.interval.method,
            conformal_set=known.conformal_set if known else _CALLS,
            conformal_coverage=document.conformal.coverage,
            conformal_coverage_measured=document.conformal.measured,
            call_evidence=evidence,
            used_in_training=used_in_training,
            contributions=contributions,
            grouped_contributions=grouped(contributions),
            sentences=three_sentences(
                outcome_title=definition.outcome.title,
                answer=answer,
                answer_text=self._answer_texts[answer],
                probability_text=known.text(document.interval.level, contours) if known else None,
                contributions=contributions,
                reasons=reasons,
                nearest=nearest,
                changes=changes,
            ),
            nearest_cases=nearest,
            changes=changes,
            contour_interval=contours,
            base_log_odds=known.base if known else None,
            margin_log_odds=known.log_odds if known else None,
            outside=outside,
            abstain_reasons=tuple(reasons),
            baseline=self._baseline(transformed[0]),
            limits=self._limits(row, answer, undeclared),
            provenance=PROVENANCE_UNDECLARED if undeclared else "DECLARED",
            research_use_statement=definition.intended_use.device_status,
            booster_sha256=document.booster_sha256,
            training_patients=document.training_patients,
            training_data_sha256=document.training_data_sha256,
            seed=document.seed,
            xgboost_version=xgboost.__version__,
        )

    def _transformed(self, row: Sequence[float]) -> FloatArray:
        return np.array([[entry.transformed(value) for entry, value in zip(self.document.inputs, row, strict=True)]])

    def _contour_interval(
        self,
        probability: float,
        answer: Answer,
        variants: Sequence[Mapping[str, float]],
        covariates: Mapping[str, float],
    ) -> ContourInterval | None:
        rows = [self._row(variant, covariates) for variant in variants]
        transformed = [self._transformed(row)[0] for row in rows]
        usable = [index for index, row in enumerate(transformed) if np.isfinite(row).all()]
        if not usable:
            return None
        inputs = np.array([transformed[index] for index in usable])
        found = self.scoring.probability(inputs)
        values = np.array([rows[index] for index in usable])
        calls = answers(self.document, self.scoring, values, inputs, only_supported=False)
        return ContourInterval(
            variants=len(usable),
            low=min(probability, float(found.min())),
            high=max(probability, float(found.max())),
            calls=tuple(sorted({answer, *calls})),
        )

    def _call_evidence(self, answer: Answer) -> CallEvidence | None:
        """Of the kind of call that the rule gives; ``None`` when it gives none."""
        for figures in self.document.calls:
            outcome: ConformalOutcome = Answer.FAVORABLE if figures.favorable else Answer.UNFAVORABLE
            if outcome is answer:
                return CallEvidence(
                    outcome=outcome,
                    patients=figures.patients,
                    right=figures.right,
                    right_low=figures.right_low,
                    reference=figures.reference,
                    required=figures.required,
                    allowed=figures.allowed,
                    text=figures.text,
                )
        return None

    def _row(self, values: Mapping[str, float], covariates: Mapping[str, float]) -> list[float]:
        covariates = with_derived(self.document.inputs, covariates)
        row = []
        for entry in self.document.inputs:
            # What the request gives goes before what was measured in its place.
            given = entry.source == "clinical" and (entry.name in covariates or entry.name not in values)
            table = covariates if given else values
            if entry.name not in table:
                if entry.source == "clinical":
                    raise InvalidRequest(
                        f"The model needs the clinical covariate {_named(entry)}. Add it to the request; a missing "
                        "value is never guessed.",
                        field=entry.name,
                    )
                raise ModelFolderInvalid(
                    f"The response model needs the feature '{entry.name}', which the radiomics settings of the model "
                    "do not compute. Install the complete model.",
                    feature=entry.name,
                )
            row.append(float(table[entry.name]))
        return row

    def _known(self, transformed: FloatArray) -> KnownPatient:
        document = self.document
        margin = self.scoring.margin(transformed)
        probability = self.scoring.sigmoid.probability(margin)
        low, high = self.ensemble.interval(
            transformed, probability, document.interval.level, document.interval.widening
        )
        p_favorable, p_unfavorable = conformal_p_values(
            *document.calibration.scores(),
            margin,
            document.calibration.stratum_of_each(),
            document.strata_of(transformed),
        )
        kept = conformal_sets(p_favorable, p_unfavorable, document.conformal.coverage)[0]
        base, shapley, log_odds = calibrated_contributions(self.scoring, transformed)
        return KnownPatient(
            log_odds=log_odds,
            probability=float(probability[0]),
            interval_low=float(low[0]),
            interval_high=float(high[0]),
            includes_favorable=bool(kept[0]),
            includes_unfavorable=bool(kept[1]),
            shapley=shapley,
            base=base,
        )

    def _outside(self, row: list[float], transformed: FloatArray) -> tuple[OutsideTrainingData, list[AbstainReason]]:
        document = self.document
        reasons: list[AbstainReason] = []
        beyond: list[str] = []
        impossible = False
        for entry, value, training in zip(document.inputs, row, document.training, strict=True):
            if not math.isfinite(value):
                reasons.append(AbstainReason(code="INPUT_NOT_FINITE", text=f"{entry.title} could not be computed."))
            elif not entry.minimum <= value <= entry.maximum:
                impossible = True
                reasons.append(
                    AbstainReason(
                        code="OUTSIDE_ALLOWED_RANGE",
                        text=f"{entry.title} is {spoken_value(value, entry.unit)}; the model allows "
                        f"{significant(entry.minimum)} to {spoken_value(entry.maximum, entry.unit)}.",
                    )
                )
            if math.isfinite(value) and not training.minimum <= value <= training.maximum:
                beyond.append(entry.name)
        score = None
        threshold = document.distance.threshold
        if np.isfinite(transformed).all():
            score = float(document.distance.distance.distance(transformed.reshape(1, -1))[0])
            if score > threshold:
                reasons.append(
                    AbstainReason(
                        code="OUTSIDE_TRAINING_DATA",
                        text=f"The measurements together are unlike those of the {document.training_patients} training "
                        f"patients (distance {score:.1f}, limit {threshold:.1f}).",
                    )
                )
        outside = OutsideTrainingData(
            score=score,
            threshold=threshold,
            is_outside=impossible or (score is not None and score > threshold),
            inputs_outside_range=tuple(beyond),
        )
        return outside, reasons

    def _baseline(self, transformed: FloatArray) -> BaselinePrediction | None:
        document = self.document
        regression = document.baseline.regression(document.input_names)
        if not np.isfinite(transformed[list(regression.columns)]).all():
            return None
        titles = {entry.name: inside_sentence(entry.title) for entry in document.inputs}
        *first, last = (titles[name] for name in document.baseline.inputs)
        measures = f"{', '.join(first)} and {last}" if first else last
        start = "" if document.start is None else ", from which the trees start"
        return BaselinePrediction(
            name=f"Logistic regression on {measures}{start}",
            probability=float(regression.probability(transformed.reshape(1, -1))[0]),
        )

    def _limits(self, row: list[float], answer: Answer, undeclared: str | None) -> tuple[str, ...]:
        document = self.document
        consequence = "; the probability extrapolates" if answer in _CALLS else ""
        own = [
            f"{entry.title} ({spoken_value(value, entry.unit)}) lies beyond every training patient (smallest "
            f"{significant(training.minimum)}, largest {spoken_value(training.maximum, entry.unit)}){consequence}."
            for entry, value, training in zip(document.inputs, row, document.training, strict=True)
            if math.isfinite(value) and not training.minimum <= value <= training.maximum
        ]
        if undeclared:
            own.append(undeclared)
        outside = self.folder.definition.outside_checks_of((document.booster_sha256,))
        return (*outside, *own, *document.limits, *self.folder.definition.limitations)

    @property
    def _answer_texts(self) -> Mapping[Answer, str]:
        outcome = self.folder.definition.outcome
        return {
            Answer.FAVORABLE: outcome.favorable_answer,
            Answer.UNFAVORABLE: outcome.unfavorable_answer,
            Answer.INDETERMINATE: "Indeterminate: the evidence does not allow a call",
            Answer.OUT_OF_DISTRIBUTION: "Out of distribution: no call is made",
            Answer.NO_EVIDENCE: NO_EVIDENCE_TEXT,
        }

    def _require_golden_vectors(self) -> None:
        document = self.document
        for vector in document.golden_vectors:
            transformed = self._transformed(vector.values)
            margin = float(self.scoring.margin(transformed)[0])
            ensemble_mean = float(self.ensemble.probabilities(transformed).mean())
            close = (
                np.abs(transformed[0] - np.array(vector.transformed)).max() <= _TRANSFORM_TOLERANCE
                and abs(margin - vector.margin) <= _MARGIN_TOLERANCE
                and abs(ensemble_mean - vector.ensemble_mean) <= _TRANSFORM_TOLERANCE
            )
            if not close:
                raise ModelGoldenMismatch(
                    "The response model does not reproduce its golden vectors here. Install the versions of XGBoost "
                    f"and NumPy it was trained with ({document.library_versions.get('xgboost', 'unknown')}, "
                    f"{document.library_versions.get('numpy', 'unknown')}), or train it again."
                )


def _named(entry: ResponseInput) -> str:
    return " and ".join(f"'{name}' ({unit})" for name, unit in entry.columns.items())


def _read(model_folder: ModelFolder, name: str) -> bytes:
    try:
        return model_folder.file(f"{_FOLDER}/{name}").read_bytes()
    except OSError as error:
        raise ModelFolderInvalid(f"{name} of the response model cannot be read. Install the model again.") from error


def require_same_radiomics(model_folder: ModelFolder, document: ResponseDocument | MeasuresOnlyDocument) -> None:
    """Refuse radiomics settings that mean something else than those of the training run.

    Raises:
        ModelHashMismatch: They do.
    """
    trained_with = document.radiomics_settings_sha256
    if trained_with is None or model_folder.manifest.files.get(_RADIOMICS_SETTINGS) == trained_with:
        return
    # Another file may mean the same: a comment was changed, or a default spelled out.
    if document.extraction is None or _settings_identity(model_folder) != document.extraction.settings_sha256:
        raise ModelHashMismatch(
            "The radiomics settings are not those the response model was trained with. Install the complete model, or "
            "train the response model again.",
            file=_RADIOMICS_SETTINGS,
        )


def _settings_identity(model_folder: ModelFolder) -> str | None:
    # Here, since reading settings loads pyradiomics, which opening a model does not need otherwise.
    from oncoradiomics.errors import SettingsError
    from oncoradiomics.settings import Settings

    try:
        return Settings.from_yaml(model_folder.path / _RADIOMICS_SETTINGS).sha256
    except SettingsError:
        return None
