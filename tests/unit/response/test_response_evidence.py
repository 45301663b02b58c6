"""Whether anything may be predicted is decided by a rule declared before the validation is run."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from oncoresponse.case.prediction import Answer
from oncoresponse.errors import ModelHashMismatch
from oncoresponse.model.folder import seal_model_folder
from oncoresponse.response.batch_prediction import PredictionTable, predict_table
from oncoresponse.response.figures_of_merit import bootstrap_weights, figures_of_merit
from oncoresponse.response.measures_only import MeasuresOnlyModel, open_response_model
from oncoresponse.response.model_document import MeasuresOnlyDocument
from oncoresponse.response.task import Candidate, ResponseTask
from oncoresponse.response.training.evidence import ValidatedCandidate, decide
from oncoresponse.response.training.model_card import write_model_card
from oncoresponse.response.training.training import train_response

pytestmark = pytest.mark.slow

MakeTask = Callable[..., ResponseTask]
Draw = Callable[..., tuple[np.ndarray, np.ndarray]]


def _candidate(name: str, probability: np.ndarray, favorable: np.ndarray, p_value: float = 0.01) -> ValidatedCandidate:
    figures = figures_of_merit(probability, favorable, bootstrap_weights(favorable, 500, 1))
    return ValidatedCandidate(Candidate(name=name, inputs=("m0",)), figures, p_value, probability, "0" * 64)


def _cohort(patients: int, strength: float, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Perfectly calibrated probabilities (1, patients) and outcomes."""
    random = np.random.default_rng(seed)
    probability = 1 / (1 + np.exp(-strength * random.normal(size=patients)))
    return probability[None, :], (random.random(patients) < probability).astype(np.int64)


def test_a_large_cohort_with_a_signal_is_evidence(make_task: MakeTask) -> None:
    probability, favorable = _cohort(600, 1.5)
    found = decide(make_task(evidence={}), [_candidate("one", probability, favorable)], favorable, None)
    assert found.chosen == "one"
    assert all(criterion.met for criterion in found.candidates[0].criteria)


def test_the_same_signal_in_few_patients_is_not(make_task: MakeTask) -> None:
    """The ranking may be good; what a percentage means is not known, and percentages are what is shown."""
    probability, favorable = _cohort(40, 3.0)
    found = decide(make_task(evidence={}), [_candidate("one", probability, favorable)], favorable, None)
    assert found.chosen is None
    missed = {criterion.name for criterion in found.candidates[0].criteria if not criterion.met}
    assert "Calibration-in-the-large" in missed
    assert "Discrimination (AUC)" not in missed
    assert "Calibration-in-the-large".lower() in found.sentence.lower()
    assert "what a percentage would mean is not known" in found.sentence
    assert "[" not in found.sentence, "figures in log-odds are for the card, not for a physician"


def test_noise_is_no_evidence(make_task: MakeTask) -> None:
    _, favorable = _cohort(600, 1.5)
    noise = np.random.default_rng(0).uniform(0.3, 0.7, size=(1, 600))
    found = decide(make_task(evidence={}), [_candidate("noise", noise, favorable, 0.6)], favorable, None)
    assert found.chosen is None
    missed = {criterion.name for criterion in found.candidates[0].criteria if not criterion.met}
    assert {"Discrimination (AUC)", "Permutation test"} <= missed


def test_the_simpler_candidate_is_taken_unless_the_larger_ranks_better(make_task: MakeTask) -> None:
    probability, favorable = _cohort(800, 2.0)
    random = np.random.default_rng(3)
    log_odds = np.log(probability / (1 - probability))
    same = 1 / (1 + np.exp(-(log_odds + 0.01 * random.normal(size=log_odds.shape))))
    task = make_task(evidence={"calibration_slope": [0.1, 10], "largest_calibration_intercept": 3})
    first, second = _candidate("simple", probability, favorable), _candidate("larger", same, favorable)
    assert decide(task, [first, second], favorable, None).chosen == "simple"
    worse = 1 / (1 + np.exp(-(log_odds + 2.0 * random.normal(size=log_odds.shape)) / 2))
    found = decide(
        task, [_candidate("simple", worse, favorable), _candidate("larger", probability, favorable)], favorable, None
    )
    assert found.chosen == "larger"
    assert found.candidates[1].gain is not None
    assert found.candidates[1].gain.low > 0


@pytest.fixture(scope="module")
def measures_only(
    tmp_path_factory: pytest.TempPathFactory,
    task_fields: Callable[..., dict[str, object]],
    write_training_files: Callable[[Path], object],
) -> MeasuresOnlyModel:
    """Trained on outcomes that have nothing to do with the inputs, under the rule as it stands."""
    directory = tmp_path_factory.mktemp("no-evidence")
    files = write_training_files(directory)
    fields = task_fields(
        evidence={},
        candidates=[{"name": "first", "inputs": ["m0"]}, {"name": "all", "inputs": ["m0", "m1", "m2"]}],
        follow_up={"failure_column": "failed", "follow_up_column": "seen", "unit": "d", "horizon": 500},
    )
    files.task.write_text(yaml.safe_dump(fields), encoding="utf-8")
    random = np.random.default_rng(9)
    with files.clinical.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["patient_id", "treatment", "first_failure", "failed", "seen"])
        for row in range(50):
            failed = bool(random.random() < 0.5)
            days = int(random.integers(100, 900))
            writer.writerow([f"P{row:03d}", "R", "Mets" if failed else "", days if failed else "", days])
    found = train_response(files.task, files.features, files.clinical, files.model, directory / "run")
    assert isinstance(found.document, MeasuresOnlyDocument)
    write_model_card(files.model)
    opened = open_response_model(seal_model_folder(files.model))
    assert isinstance(opened, MeasuresOnlyModel)
    return opened


def test_without_evidence_the_model_measures_and_says_so(measures_only: MeasuresOnlyModel) -> None:
    found = measures_only.predict({"m0": 1.0, "m1": 1.0, "m2": 1.0})
    assert found.answer is Answer.NO_EVIDENCE
    assert found.abstains
    assert [reason.code for reason in found.abstain_reasons] == ["NO_EVIDENCE"]
    assert "what was required in advance" in found.abstain_reasons[0].text
    assert (found.probability, found.interval_low, found.conformal_set, found.contributions) == (None, None, (), ())
    assert "48 patients" in " ".join(found.limits)
    assert "followed for less than" in " ".join(found.limits)


def test_without_evidence_no_booster_ships_and_the_card_says_why(measures_only: MeasuresOnlyModel) -> None:
    folder = measures_only.folder
    assert not folder.has("response/booster.ubj")
    assert not folder.has("response/ensemble.zip")
    card = folder.file("model-card.md").read_text(encoding="utf-8")
    assert "no evidence for a prediction: measures only" in card
    assert "Uno's concordance" in card
    evaluation = json.loads(folder.file("response/evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["evidence"]["chosen"] is None
    assert [found["name"] for found in evaluation["evidence"]["candidates"]] == ["first", "all"]


def test_a_table_is_answered_row_by_row_without_evidence(measures_only: MeasuresOnlyModel) -> None:
    rows = ({"m0": 1.0, "m1": 1.0, "m2": 1.0}, {"m0": 2.0, "m1": 1.0, "m2": 1.0})
    table = PredictionTable(("a", "b"), rows, highs=({}, {}))
    assert {found.answer for found in predict_table(measures_only, table)} == {Answer.NO_EVIDENCE}


def test_a_folder_without_evidence_is_sealed_with_its_task(measures_only: MeasuresOnlyModel) -> None:
    task = measures_only.folder.path / "response" / "task.yaml"
    before = task.read_bytes()
    try:
        task.write_bytes(before + b"\n")
        with pytest.raises(ModelHashMismatch, match=r"task\.yaml"):
            open_response_model(seal_model_folder(measures_only.folder.path))
    finally:
        task.write_bytes(before)
        seal_model_folder(measures_only.folder.path)


def test_a_model_that_was_never_meant_to_predict_says_so_in_two_lines(measures_only: MeasuresOnlyModel) -> None:
    document = MeasuresOnlyDocument(evidence="none", statement="Nothing was validated.")
    found = MeasuresOnlyModel(measures_only.folder, document).predict({})
    assert found.answer is Answer.NO_EVIDENCE
    assert found.abstain_reasons[0].text == "Nothing was validated."
    assert found.training_patients is None
