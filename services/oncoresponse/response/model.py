"""A trained response model: open it, check that it still computes what it computed, predict."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xgboost
from pydantic import ValidationError

from oncoresponse.errors import InvalidRequest, ModelFolderInvalid, ModelHashMismatch
from oncoresponse.model_folder import ModelFolder
from oncoresponse.response.booster import contributions, margins
from oncoresponse.response.cohort import FloatArray
from oncoresponse.response.conformal import conformal_p_values, conformal_sets
from oncoresponse.response.model_document import (
    BOOSTER_FILE,
    DOCUMENT_FILE,
    ENSEMBLE_FILE,
    TASK_FILE,
    ResponseDocument,
)
from oncoresponse.response.prediction import (
    AbstainReason,
    Answer,
    BaselinePrediction,
    ConformalOutcome,
    Contribution,
    OutsideTrainingData,
    Prediction,
)
from oncoresponse.response.probability_interval import Ensemble

_FOLDER = "response"
_RADIOMICS_SETTINGS = "radiomics/settings.yaml"
_TRANSFORM_TOLERANCE = 1e-6
_MARGIN_TOLERANCE = 1e-9


@dataclass(frozen=True)
class ResponseModel:
    """The response model of a model folder. Use :meth:`open`."""

    folder: ModelFolder
    document: ResponseDocument
    booster: xgboost.Booster
    ensemble: Ensemble

    @classmethod
    def open(cls, model_folder: ModelFolder) -> ResponseModel:
        """Read the model and recompute its golden vectors.

        Raises:
            ModelFolderInvalid: A file is missing or unreadable, or this version of XGBoost does not reproduce the
                golden vectors.
            ModelHashMismatch: The booster, the ensemble, the task or the radiomics settings are not those of the
                training run.
        """
        raw_booster = _read(model_folder, BOOSTER_FILE)
        raw_ensemble = _read(model_folder, ENSEMBLE_FILE)
        try:
            document = ResponseDocument.model_validate_json(_read(model_folder, DOCUMENT_FILE))
        except ValidationError as error:
            raise ModelFolderInvalid(f"{DOCUMENT_FILE} does not follow its schema. Install the model again.") from error
        for name, content, digest in (
            (BOOSTER_FILE, raw_booster, document.booster_sha256),
            (ENSEMBLE_FILE, raw_ensemble, document.ensemble_sha256),
            (TASK_FILE, _read(model_folder, TASK_FILE), document.task_sha256),
        ):
            if hashlib.sha256(content).hexdigest() != digest:
                raise ModelHashMismatch(
                    f"{name} is not the file {DOCUMENT_FILE} names. Install the model again, or train it again.",
                    file=name,
                )
        _require_same_radiomics(model_folder, document)
        booster = xgboost.Booster({"nthread": 1})
        try:
            booster.load_model(bytearray(raw_booster))
        except xgboost.core.XGBoostError as error:
            raise ModelFolderInvalid(
                f"This version of XGBoost cannot read {BOOSTER_FILE}. Install the pinned version."
            ) from error
        if tuple(booster.feature_names or ()) != document.input_names:
            raise ModelFolderInvalid(
                f"{BOOSTER_FILE} and {DOCUMENT_FILE} name different inputs. Train the model again."
            )
        model = cls(model_folder, document, booster, Ensemble.from_bytes(raw_ensemble, document.input_names))
        model._require_golden_vectors()
        return model

    def predict(self, values: Mapping[str, float], covariates: Mapping[str, float] | None = None) -> Prediction:
        """Predict the outcome of one patient.

        Args:
            values: Features and measures by name, in the units of the inputs; names that are no input are ignored.
            covariates: Clinical inputs by name.

        Returns:
            The prediction. It abstains, and says why, when an input is NaN or infinite, cannot be true, or lies too far
            from the training patients, and when the conformal set does not hold exactly one outcome.

        Raises:
            ModelFolderInvalid: A feature the model needs was not computed: the radiomics settings do not fit the model.
            InvalidRequest: A covariate the model needs was not given.
        """
        inputs = self.document.inputs
        row = self._row(values, covariates or {})
        transformed = np.array([entry.transformed(value) for entry, value in zip(inputs, row, strict=True)])
        finite = bool(np.isfinite(transformed).all())
        outside, reasons = self._outside(row, transformed)
        known = self._known(transformed.reshape(1, -1)) if finite else None
        if known is not None:
            reasons += _conformal_reasons(known)
        answer = _answer(outside.is_outside, reasons, known)
        definition, document = self.folder.definition, self.document
        return Prediction(
            model_name=definition.name,
            model_version=definition.version,
            model_sha256=self.folder.sha256,
            outcome_code=definition.outcome.code,
            outcome_title=definition.outcome.title,
            answer=answer,
            answer_text=self._answer_text(answer),
            probability=known.probability if known else None,
            interval_low=known.interval_low if known else None,
            interval_high=known.interval_high if known else None,
            interval_level=document.interval.level,
            interval_method=document.interval.method,
            conformal_set=known.conformal_set if known else (Answer.FAVOURABLE, Answer.UNFAVOURABLE),
            conformal_coverage=document.conformal.coverage,
            conformal_coverage_measured=document.conformal.measured,
            contributions=self._contributions(row, known.shap) if known else (),
            base_log_odds=known.base if known else None,
            margin_log_odds=known.margin if known else None,
            outside=outside,
            abstain_reasons=tuple(reasons),
            baseline=self._baseline(transformed),
            limits=self._limits(row),
            research_use_statement=definition.intended_use.device_status,
            booster_sha256=document.booster_sha256,
            training_patients=document.training_patients,
            training_data_sha256=document.training_data_sha256,
            seed=document.seed,
            xgboost_version=xgboost.__version__,
        )

    def _row(self, values: Mapping[str, float], covariates: Mapping[str, float]) -> list[float]:
        row = []
        for entry in self.document.inputs:
            table = values if entry.source == "features" else covariates
            if entry.name not in table:
                if entry.source == "clinical":
                    raise InvalidRequest(
                        f"The model needs the clinical covariate '{entry.name}' ({entry.unit}). Add it to the request; "
                        "a missing value is never guessed.",
                        field=entry.name,
                    )
                raise ModelFolderInvalid(
                    f"The response model needs the feature '{entry.name}', which the radiomics settings of the model "
                    "do not compute. Install the complete model.",
                    feature=entry.name,
                )
            row.append(float(table[entry.name]))
        return row

    def _known(self, transformed: FloatArray) -> _Known:
        document = self.document
        names = document.input_names
        margin = margins(self.booster, names, transformed)
        probability = document.calibration.sigmoid.probability(margin)
        low, high = self.ensemble.interval(
            transformed, probability, document.interval.level, document.interval.widening
        )
        p_favourable, p_unfavourable = conformal_p_values(*document.calibration.scores(), margin)
        kept = conformal_sets(p_favourable, p_unfavourable, document.conformal.coverage)[0]
        shap = contributions(self.booster, names, transformed)[0]
        return _Known(
            margin=float(margin[0]),
            probability=float(probability[0]),
            interval_low=float(low[0]),
            interval_high=float(high[0]),
            includes_favourable=bool(kept[0]),
            includes_unfavourable=bool(kept[1]),
            shap=shap[:-1],
            base=float(shap[-1]),
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
                        text=f"{entry.title} is {value:.3g} {entry.unit}; the model allows {entry.minimum:g} to "
                        f"{entry.maximum:g} {entry.unit}.",
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

    def _contributions(self, row: list[float], shap: FloatArray) -> tuple[Contribution, ...]:
        document = self.document
        found = [
            Contribution(
                input=entry.name,
                title=entry.title,
                value=value,
                unit=entry.unit,
                training_median=training.median,
                training_low=training.low,
                training_high=training.high,
                log_odds=float(log_odds),
                direction="raises" if log_odds >= 0 else "lowers",
            )
            for entry, value, training, log_odds in zip(document.inputs, row, document.training, shap, strict=True)
        ]
        return tuple(sorted(found, key=lambda entry: (-abs(entry.log_odds), entry.input)))

    def _baseline(self, transformed: FloatArray) -> BaselinePrediction | None:
        document = self.document
        regression = document.baseline.regression(document.input_names)
        if not np.isfinite(transformed[list(regression.columns)]).all():
            return None
        titles = {entry.name: _inside_sentence(entry.title) for entry in document.inputs}
        return BaselinePrediction(
            name="Logistic regression on " + " and ".join(titles[name] for name in document.baseline.inputs),
            probability=float(regression.probability(transformed.reshape(1, -1))[0]),
        )

    def _limits(self, row: list[float]) -> tuple[str, ...]:
        document = self.document
        own = [
            f"{entry.title} ({value:.3g} {entry.unit}) lies outside the training patients ({training.minimum:.3g} to "
            f"{training.maximum:.3g} {entry.unit}); the estimate extrapolates."
            for entry, value, training in zip(document.inputs, row, document.training, strict=True)
            if math.isfinite(value) and not training.minimum <= value <= training.maximum
        ]
        return (*own, *document.limits, *self.folder.definition.limitations)

    def _answer_text(self, answer: Answer) -> str:
        outcome = self.folder.definition.outcome
        return {
            Answer.FAVOURABLE: outcome.favourable_answer,
            Answer.UNFAVOURABLE: outcome.unfavourable_answer,
            Answer.INDETERMINATE: "Indeterminate: the evidence does not allow a call",
            Answer.OUTSIDE_EXPERIENCE: "Outside the model's experience: no call is made",
        }[answer]

    def _require_golden_vectors(self) -> None:
        document = self.document
        for vector in document.golden_vectors:
            transformed = np.array(
                [[entry.transformed(value) for entry, value in zip(document.inputs, vector.values, strict=True)]]
            )
            margin = float(margins(self.booster, document.input_names, transformed)[0])
            ensemble_mean = float(self.ensemble.probabilities(transformed).mean())
            close = (
                np.abs(transformed[0] - np.array(vector.transformed)).max() <= _TRANSFORM_TOLERANCE
                and abs(margin - vector.margin) <= _MARGIN_TOLERANCE
                and abs(ensemble_mean - vector.ensemble_mean) <= _TRANSFORM_TOLERANCE
            )
            if not close:
                raise ModelFolderInvalid(
                    "The response model does not reproduce its golden vectors here. Install the versions of XGBoost "
                    f"and NumPy it was trained with ({document.library_versions.get('xgboost', 'unknown')}, "
                    f"{document.library_versions.get('numpy', 'unknown')}), or train it again."
                )


@dataclass(frozen=True)
class _Known:
    """What follows from finite inputs."""

    margin: float
    probability: float
    interval_low: float
    interval_high: float
    includes_favourable: bool
    includes_unfavourable: bool
    shap: FloatArray
    base: float

    @property
    def conformal_set(self) -> tuple[ConformalOutcome, ...]:
        kept: list[ConformalOutcome] = []
        if self.includes_favourable:
            kept.append(Answer.FAVOURABLE)
        if self.includes_unfavourable:
            kept.append(Answer.UNFAVOURABLE)
        return tuple(kept)


def _conformal_reasons(known: _Known) -> list[AbstainReason]:
    if known.includes_favourable and known.includes_unfavourable:
        return [AbstainReason(code="CONFORMAL_BOTH", text="Neither outcome can be ruled out for this patient.")]
    if not known.includes_favourable and not known.includes_unfavourable:
        return [
            AbstainReason(
                code="CONFORMAL_NEITHER",
                text="The patient lies between the two groups of training patients and fits neither well.",
            )
        ]
    if known.includes_favourable != (known.probability >= 0.5):
        return [
            AbstainReason(
                code="SET_DISAGREES_WITH_PROBABILITY",
                text="The prediction set and the probability point to different outcomes.",
            )
        ]
    return []


def _answer(is_outside: bool, reasons: list[AbstainReason], known: _Known | None) -> Answer:
    if is_outside:
        return Answer.OUTSIDE_EXPERIENCE
    if reasons or known is None:
        return Answer.INDETERMINATE
    return Answer.FAVOURABLE if known.includes_favourable else Answer.UNFAVOURABLE


def _inside_sentence(title: str) -> str:
    """The title with a small first letter, unless it begins with an abbreviation."""
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


def _read(model_folder: ModelFolder, name: str) -> bytes:
    try:
        return model_folder.file(f"{_FOLDER}/{name}").read_bytes()
    except OSError as error:
        raise ModelFolderInvalid(f"{name} of the response model cannot be read. Install the model again.") from error


def _require_same_radiomics(model_folder: ModelFolder, document: ResponseDocument) -> None:
    trained_with = document.radiomics_settings_sha256
    if trained_with is not None and model_folder.manifest.files.get(_RADIOMICS_SETTINGS) != trained_with:
        raise ModelHashMismatch(
            "The radiomics settings are not those the response model was trained with. Install the complete model, or "
            "train the response model again.",
            file=_RADIOMICS_SETTINGS,
        )
