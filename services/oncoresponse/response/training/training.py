"""Train a response model: tables and a task file in, a validated model in the model folder out."""

from __future__ import annotations

import csv
import hashlib
import json
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy
import sklearn
import xgboost
from pydantic import BaseModel

from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.response.arrays import FloatArray
from oncoresponse.response.conformal import stratum_of
from oncoresponse.response.input_provenance import training_extraction
from oncoresponse.response.model_document import (
    BOOSTER_FILE,
    DOCUMENT_FILE,
    ENSEMBLE_FILE,
    EVALUATION_FILE,
    TASK_FILE,
    BaselineDocument,
    CalibrationDocument,
    ConformalDocument,
    DistanceDocument,
    GoldenVector,
    IntervalDocument,
    MeasuresOnlyDocument,
    ResponseDocument,
    TrainingCase,
    TrainingDistribution,
)
from oncoresponse.response.pipeline import FittedPipeline, fit_baseline, fit_pipeline
from oncoresponse.response.probability_interval import (
    Ensemble,
    IntervalCoverage,
    ensemble_seed,
    fit_ensemble,
    simulate_interval_coverage,
)
from oncoresponse.response.progress import Progress, no_progress
from oncoresponse.response.task import Candidate, ResponseTask, read_task
from oncoresponse.response.training.cohort import (
    Cohort,
    input_values,
    read_cohort,
    read_robustness,
    read_table,
    transform,
    without_fragile_inputs,
)
from oncoresponse.response.training.distribution_shift import judge_under_shift
from oncoresponse.response.training.evidence import EvidenceFigures, ValidatedCandidate, decide
from oncoresponse.response.training.model_limits import limits_from
from oncoresponse.response.training.optimism import OptimismCorrection, correct_optimism
from oncoresponse.response.training.survival import describe_follow_up
from oncoresponse.response.training.validation import Evaluation, OutOfFold, evaluate
from oncoresponse.response.training_distance import fit_training_distance
from oncoresponse.response.training_fingerprints import FINGERPRINTS_FILE, TrainingFingerprints

PREDICTIONS_FILE = "out-of-fold.csv"
INTERVAL_FILE = "interval-simulation.json"

_RADIOMICS_SETTINGS = Path("radiomics") / "settings.yaml"
_NO_LONGER_MADE = ("time-to-failure.ubj",)
_COMPUTED_TOMOGRAPHY = "CT.nii.gz"
_GOLDEN_PERCENTILES = (5.0, 25.0, 50.0, 75.0, 95.0)


@dataclass(frozen=True)
class TrainedResponse:
    """What a training run made.

    Attributes:
        document: Contents of ``response.json``; :class:`MeasuresOnlyDocument` where there is no evidence.
        evaluation: Contents of ``evaluation.json``.
        interval: What the simulation of the interval found; ``None`` when the task asks for none.
        run_directory: Everything, with the out-of-fold predictions by patient.
        model_directory: The ``response`` folder of the model.
    """

    document: ResponseDocument | MeasuresOnlyDocument
    evaluation: Evaluation
    interval: IntervalCoverage | None
    run_directory: Path
    model_directory: Path


def train_response(
    task_file: Path,
    features_csv: Path,
    clinical_csv: Path | None,
    model_directory: Path,
    run_directory: Path,
    *,
    features_automatic_csv: Path | None = None,
    robustness_csv: Path | None = None,
    fingerprint_key: bytes | None = None,
    fingerprint_images: Path | None = None,
    progress: Progress = no_progress,
) -> TrainedResponse:
    """Validate the candidates on the cohort, fit the one that holds to all of it, write both.

    Where none meets the rule of the task the model measures and does not predict: no booster is written then.

    The same tables and task give the same bytes. The caller writes the model card and seals the folder afterwards.

    Args:
        task_file: The declared task, usually ``MODEL/response/task.yaml``.
        features_csv: One row a patient; features and measures of the physician's contour as columns.
        clinical_csv: One row a patient; the outcome and clinical inputs as columns. ``None``: ``features_csv`` holds
            them too.
        model_directory: The model folder; files go to its ``response`` folder.
        run_directory: New or existing folder for everything the run makes.
        features_automatic_csv: The same columns as ``features_csv`` from automatic contours of patients that the
            segmentation network had not seen; evaluated, never trained on.
        robustness_csv: Columns ``feature`` and ``icc``, from ``oncoradiomics robustness``; needed where the task
            declares ``minimum_icc``.
        fingerprint_key: The site's key, under which identifiers are kept as fingerprints; without one none are.
        fingerprint_images: Folder with a folder a patient that holds ``CT.nii.gz`` in HU, for fingerprints of pixels.
        progress: Told the stage and the share of it that is done.

    Raises:
        TrainingDataInvalid: A table or the task is refused, or the booster learned nothing.
        QuantityMismatch, SettingsMismatch: The features are not those that the model's own settings give.
    """
    declared = read_task(task_file)
    robustness = None if robustness_csv is None else read_robustness(robustness_csv)
    task, dropped = without_fragile_inputs(declared, robustness)
    extraction = training_extraction(task, features_csv, model_directory, also=features_automatic_csv)
    cohort = read_cohort(task, features_csv, clinical_csv)
    automatic = None
    if features_automatic_csv is not None:
        automatic = _automatic_inputs(task, cohort, features_automatic_csv, clinical_csv or features_csv)
    tried = [_try(task, candidate, cohort, automatic, progress) for candidate in task.every_candidate]
    evidence = decide(task, [item.validated for item in tried], cohort.favorable, cohort.follow_up)
    chosen = next((item for item in tried if item.validated.candidate.name == evidence.chosen), None)
    # Without evidence the figures shown are those of the candidate that uses most.
    shown = chosen or tried[-1]
    evaluation = _completed(shown, evidence)
    interval = None
    document: ResponseDocument | MeasuresOnlyDocument
    written: dict[str, bytes] = {}
    if chosen is None:
        document = _measures_only(task, shown, evaluation, evidence)
    else:
        _require_not_constant(chosen.fitted, chosen.cohort)
        interval, ensemble = _uncertainty(chosen, progress)
        evaluation = evaluation.model_copy(update={"optimism": _optimism(chosen, ensemble)})
        raw_booster, raw_ensemble = bytes(chosen.fitted.booster.save_raw("ubj")), ensemble.to_bytes()
        written = {BOOSTER_FILE: raw_booster, ENSEMBLE_FILE: raw_ensemble}
        document = _document(chosen.task, chosen.cohort, chosen.fitted, ensemble, evaluation, interval, dropped)
        document = document.model_copy(
            update={
                "booster_sha256": hashlib.sha256(raw_booster).hexdigest(),
                "ensemble_sha256": hashlib.sha256(raw_ensemble).hexdigest(),
            }
        )
    document = document.model_copy(
        update={
            "task_sha256": hashlib.sha256(task_file.read_bytes()).hexdigest(),
            "radiomics_settings_sha256": _sha256_if_present(model_directory / _RADIOMICS_SETTINGS),
            "extraction": extraction,
        }
    )
    written[DOCUMENT_FILE] = _json(document)
    written[EVALUATION_FILE] = _json(evaluation)
    written[TASK_FILE] = task_file.read_bytes()
    images = () if fingerprint_images is None else _computed_tomography(fingerprint_images, cohort)
    fingerprints = TrainingFingerprints.of_patients(cohort.patients, fingerprint_key, images)
    written[FINGERPRINTS_FILE] = _json(fingerprints.of_rows(shown.cohort.values))
    run_directory.mkdir(parents=True, exist_ok=True)
    for name, content in written.items():
        (run_directory / name).write_bytes(content)
    if interval is not None:
        (run_directory / INTERVAL_FILE).write_bytes(_json(interval))
    _write_predictions(run_directory / PREDICTIONS_FILE, cohort, shown.found)
    installed = model_directory / "response"
    installed.mkdir(parents=True, exist_ok=True)
    for name in (BOOSTER_FILE, ENSEMBLE_FILE, *_NO_LONGER_MADE):
        if name not in written:  # of an earlier version
            (installed / name).unlink(missing_ok=True)
    for name in written:
        if (installed / name).resolve() != task_file.resolve():
            shutil.copyfile(run_directory / name, installed / name)
    return TrainedResponse(document, evaluation, interval, run_directory, installed)


@dataclass(frozen=True)
class _Tried:
    """A candidate fitted to everybody and validated."""

    task: ResponseTask
    cohort: Cohort
    fitted: FittedPipeline
    evaluation: Evaluation
    found: OutOfFold
    validated: ValidatedCandidate


def _try(
    task: ResponseTask, candidate: Candidate, cohort: Cohort, automatic: FloatArray | None, progress: Progress
) -> _Tried:
    own, chosen = task.of_candidate(candidate), cohort.of_inputs(task, candidate.inputs)
    columns = [index for index, name in enumerate(task.input_names) if name in candidate.inputs]

    def show(stage: str, fraction: float) -> None:
        progress(f"{stage}: {candidate.name}" if task.candidates else stage, fraction)

    fitted = fit_pipeline(own, chosen.transformed, chosen.favorable, seed=own.seed)
    if (
        not task.candidates
    ):  # before minutes of validation; among candidates one that is constant is refused by the rule
        _require_not_constant(fitted, chosen)
    evaluation, found = evaluate(
        own,
        chosen.transformed,
        chosen.favorable,
        automatic=None if automatic is None else automatic[:, columns],
        subgroups=chosen.subgroups,
        progress=show,
    )
    validated = ValidatedCandidate(
        candidate=Candidate(name=candidate.name, inputs=own.input_names),
        figures=evaluation.booster,
        permutation_p=None if evaluation.permutation is None else evaluation.permutation.p_value,
        probability=found.probability,
        booster_sha256=hashlib.sha256(bytes(fitted.booster.save_raw("ubj"))).hexdigest(),
    )
    return _Tried(own, chosen, fitted, evaluation, found, validated)


def _require_not_constant(fitted: FittedPipeline, cohort: Cohort) -> None:
    if fitted.is_constant(cohort.transformed):
        raise TrainingDataInvalid(
            "The booster gives every patient the same answer. Lower min_child_weight, or add patients; with few of "
            "them no tree may be able to split."
        )


def _completed(item: _Tried, evidence: EvidenceFigures) -> Evaluation:
    """The evaluation with what needs more than inputs and outcome."""
    task, cohort = item.task, item.cohort
    follow_up = None
    if cohort.follow_up is not None and task.follow_up is not None:
        follow_up = describe_follow_up(task.follow_up, cohort.follow_up)
    return item.evaluation.model_copy(
        update={
            "excluded": dict(cohort.excluded),
            "shift": judge_under_shift(task, cohort.values, cohort.transformed, cohort.favorable),
            "follow_up": follow_up,
            "evidence": evidence,
        }
    )


def _uncertainty(item: _Tried, progress: Progress) -> tuple[IntervalCoverage | None, Ensemble]:
    task, inputs, favorable = item.task, item.cohort.transformed, item.cohort.favorable
    interval = None
    if task.validation.simulated_cohorts:
        interval = simulate_interval_coverage(task, inputs, favorable, progress)
    members, seed = task.uncertainty.ensemble_members, ensemble_seed(task)
    return interval, fit_ensemble(task, inputs, favorable, members=members, seed=seed, progress=progress)


def _computed_tomography(folder: Path, cohort: Cohort) -> list[Path]:
    """CT of each training patient that has one."""
    return [path for name in cohort.patients if (path := folder / name / _COMPUTED_TOMOGRAPHY).is_file()]


def _optimism(item: _Tried, ensemble: Ensemble) -> OptimismCorrection:
    inputs, favorable = item.cohort.transformed, item.cohort.favorable
    return correct_optimism(item.task, inputs, favorable, item.fitted, ensemble, seed=ensemble_seed(item.task))


def _contoured(task: ResponseTask) -> bool:
    """Whether measurements come from contours: a change between visits is derived from columns of a table alone."""
    return all(entry.log_ratio is None for entry in task.inputs)


def _measures_only(
    task: ResponseTask, item: _Tried, evaluation: Evaluation, evidence: EvidenceFigures
) -> MeasuresOnlyDocument:
    return MeasuresOnlyDocument(
        evidence="none",
        statement=evidence.sentence,
        inputs=task.inputs,
        candidate_boosters=tuple(candidate.booster_sha256 for candidate in evidence.candidates),
        limits=limits_from(evaluation, None, contoured=_contoured(task)),
        training_patients=len(item.cohort.patients),
        training_favorable=int(item.cohort.favorable.sum()),
        training_data_sha256=item.cohort.sha256,
        seed=task.seed,
        library_versions=_library_versions(),
    )


def _document(
    task: ResponseTask,
    cohort: Cohort,
    fitted: FittedPipeline,
    ensemble: Ensemble,
    evaluation: Evaluation,
    interval: IntervalCoverage | None,
    dropped: dict[str, float],
) -> ResponseDocument:
    distance = fit_training_distance(cohort.transformed, task.uncertainty.outside_quantile)
    baseline = fit_baseline(task, cohort.transformed, cohort.favorable)
    return ResponseDocument(
        inputs=task.inputs,
        training=tuple(_distribution(column) for column in cohort.values.T),
        max_depth=fitted.max_depth,
        rounds=fitted.rounds,
        calibration=CalibrationDocument(
            chosen=fitted.calibration,
            method="on out-of-fold margins of the inner cross-validation, by log loss on patients left out among "
            + ", ".join(task.uncertainty.calibration),
            slope=fitted.sigmoid.slope,
            intercept=fitted.sigmoid.intercept,
            out_of_fold_margins=tuple(_floats(row) for row in fitted.out_of_fold),
            favorable=tuple(int(value) for value in cohort.favorable),
            out_of_fold_probabilities=_floats(fitted.sigmoid.probability(fitted.out_of_fold).mean(axis=0)),
            strata=()
            if task.strata is None
            else tuple(int(index) for index in stratum_of(task.strata, task.inputs, cohort.transformed)),
        ),
        conformal=ConformalDocument(
            coverage=evaluation.conformal.promised,
            measured=evaluation.conformal.covered,
            measured_favorable=evaluation.conformal.covered_favorable,
            measured_unfavorable=evaluation.conformal.covered_unfavorable,
            groups=evaluation.coverage_by_group,
            strata=task.strata,
        ),
        calls=evaluation.calls,
        interval=IntervalDocument(
            method=f"percentiles of {task.uncertainty.ensemble_members} patient bootstraps of the whole pipeline"
            + (
                ""
                if interval is None
                else f", widened {interval.widening:.2f} times on the log-odds scale as simulated cohorts require"
            ),
            level=task.uncertainty.interval_level,
            members=task.uncertainty.ensemble_members,
            widening=1.0 if interval is None else interval.widening,
            simulated_coverage=None if interval is None else interval.covered,
        ),
        distance=DistanceDocument(
            center=_floats(distance.center),
            scale=_floats(distance.scale),
            precision=tuple(_floats(row) for row in distance.precision),
            threshold=distance.threshold,
            quantile=task.uncertainty.outside_quantile,
        ),
        baseline=BaselineDocument.of(baseline, task.input_names),
        start=None if fitted.start is None else BaselineDocument.of(fitted.start, task.input_names),
        cases=_cases(cohort) if task.keep_training_cases else (),
        dropped_inputs=dropped,
        golden_vectors=_golden_vectors(task, cohort, fitted, ensemble),
        limits=limits_from(evaluation, interval, contoured=_contoured(task)),
        seed=task.seed,
        training_patients=len(cohort.patients),
        training_favorable=int(cohort.favorable.sum()),
        training_data_sha256=cohort.sha256,
        task_sha256="",
        radiomics_settings_sha256=None,
        booster_sha256="",
        ensemble_sha256="",
        library_versions=_library_versions(),
    )


def _library_versions() -> dict[str, str]:
    return {
        "numpy": np.__version__,
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "scipy": scipy.__version__,
        "xgboost": xgboost.__version__,
    }


def _golden_vectors(
    task: ResponseTask, cohort: Cohort, fitted: FittedPipeline, ensemble: Ensemble
) -> tuple[GoldenVector, ...]:
    # Percentiles of each input, rounded: no patient's values, and away from split points, which lie between patients.
    values = np.percentile(cohort.values, _GOLDEN_PERCENTILES, axis=0)
    values = np.array([[float(f"{value:.6g}") for value in row] for row in values])
    transformed = transform(task, values)
    found = fitted.margin(transformed)
    means = ensemble.probabilities(transformed).mean(axis=0)
    return tuple(
        GoldenVector(
            values=_floats(values[row]),
            transformed=_floats(transformed[row]),
            margin=float(found[row]),
            ensemble_mean=float(means[row]),
        )
        for row in range(len(values))
    )


def _distribution(column: FloatArray) -> TrainingDistribution:
    percentiles = _floats(np.percentile(column, np.arange(101)))
    return TrainingDistribution(
        minimum=percentiles[0],
        low=percentiles[5],
        median=percentiles[50],
        high=percentiles[95],
        maximum=percentiles[100],
        percentiles=percentiles,
    )


def _cases(cohort: Cohort) -> tuple[TrainingCase, ...]:
    # Sorted by value, so that not even the order of the table says who is who.
    found = [
        TrainingCase(values=tuple(float(f"{value:.4g}") for value in row), favorable=bool(favorable))
        for row, favorable in zip(cohort.values, cohort.favorable, strict=True)
    ]
    return tuple(sorted(found, key=lambda case: (case.values, case.favorable)))


def _automatic_inputs(
    task: ResponseTask, cohort: Cohort, features_automatic_csv: Path, clinical_csv: Path
) -> FloatArray:
    """Transformed inputs (patients, inputs) from automatic contours, NaN for patients the table does not hold.

    A row with an empty cell stands for a failed contour and counts as absent.
    """
    rows = read_table(features_automatic_csv, task.patient_column)
    clinical = read_table(clinical_csv, task.patient_column)
    automatic = np.full(cohort.values.shape, np.nan)
    needed = [entry.name for entry in task.inputs if entry.source == "features"]
    for index, patient in enumerate(cohort.patients):
        if patient in rows and all(rows[patient].get(name, "absent") != "" for name in needed):
            automatic[index] = transform(task, input_values(task, [patient], rows, clinical))[0]
    return automatic


def _write_predictions(path: Path, cohort: Cohort, found: OutOfFold) -> None:
    """Out-of-fold predictions by patient, for the run folder only: they name patients."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["patient_id", "favorable", "probability", "probability_baseline"])
        for row in np.argsort(np.array(cohort.patients)):
            cells = (found.probability[:, row].mean(), found.baseline[:, row].mean())
            writer.writerow([cohort.patients[row], int(cohort.favorable[row]), *(f"{value:.6f}" for value in cells)])


def _floats(values: Sequence[float] | FloatArray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _sha256_if_present(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _json(document: BaseModel) -> bytes:
    return (json.dumps(document.model_dump(mode="json"), indent=1) + "\n").encode()
