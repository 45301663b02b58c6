"""What ships: a sarcoma model that measures, a breast model that predicts, and the evaluations that say why."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from oncoresponse.case.prediction import Answer
from oncoresponse.model.folder import ModelFolder, seal_model_folder
from oncoresponse.response.answer_rule import answers
from oncoresponse.response.measures_only import MeasuresOnlyModel, open_response_model
from oncoresponse.response.model import ResponseModel
from oncoresponse.response.task import read_task
from oncoresponse.response.training.model_limits import limits_from
from oncoresponse.response.training.validation import Evaluation
from oncoresponse.response.training_fingerprints import TrainingFingerprints
from scipy.special import logit

REPOSITORY = Path(__file__).parents[3]
MODELS = REPOSITORY / "models"
SMALL_AND_COLD = {"lesion_volume": 60.0, "suv_max": 4.0}
LARGE_AND_HOT = {"lesion_volume": 800.0, "suv_max": 24.0}


def _evaluation(name: str) -> Evaluation:
    return Evaluation.model_validate_json((MODELS / name / "response" / "evaluation.json").read_bytes())


@pytest.fixture(scope="session")
def sarcoma(tmp_path_factory: pytest.TempPathFactory) -> ResponseModel | MeasuresOnlyModel:
    # Only the parts this stage owns or checks: another stage's file must not decide about this test.
    model = MODELS / "sts-petct"
    folder = tmp_path_factory.mktemp("shipped") / model.name
    shutil.copytree(model / "response", folder / "response")
    shutil.copyfile(model / "model.yaml", folder / "model.yaml")
    shutil.copytree(model / "radiomics", folder / "radiomics")
    return open_response_model(seal_model_folder(folder))


@pytest.fixture(scope="session")
def breast() -> ResponseModel:
    return ResponseModel.open(ModelFolder.open(MODELS / "breast-nac"))


@pytest.fixture(scope="session")
def simulated(models_that_predict: Path) -> ResponseModel:
    return ResponseModel.open(ModelFolder.open(models_that_predict / "sts-petct", verify=False))


@pytest.mark.parametrize("name", ["sts-petct", "breast-nac"])
def test_what_ships_is_what_the_declared_rule_decides(name: str) -> None:
    """Recomputed from the figures in the evaluation and the limits in the task."""
    evaluation, rule = _evaluation(name), read_task(MODELS / name / "response" / "task.yaml").evidence
    assert evaluation.evidence is not None
    figures, last = evaluation.booster, evaluation.evidence.candidates[-1]
    low, high = rule.calibration_slope
    most = rule.largest_calibration_intercept
    met = [
        figures.auc.low >= rule.lowest_auc,
        last.concordance is None or last.concordance.low >= rule.lowest_concordance,
        figures.scaled_brier.low > rule.lowest_scaled_brier,
        low <= figures.calibration_slope.low and figures.calibration_slope.high <= high,
        -most <= figures.calibration_intercept.low and figures.calibration_intercept.high <= most,
        evaluation.permutation is not None and evaluation.permutation.p_value <= rule.largest_permutation_p,
    ]
    assert all(met) is last.passes
    assert (MODELS / name / "response" / "booster.ubj").is_file() is (evaluation.evidence.chosen is not None)
    opened = open_response_model(ModelFolder.open(MODELS / name, verify=False))
    assert isinstance(opened, ResponseModel) is (evaluation.evidence.chosen is not None)


def test_both_models_are_held_to_the_same_rule() -> None:
    first, second = (read_task(MODELS / name / "response" / "task.yaml") for name in ("sts-petct", "breast-nac"))
    assert first.calls == second.calls
    assert first.evidence == second.evidence


@pytest.mark.parametrize("name", ["sts-petct", "breast-nac"])
def test_a_kind_of_call_is_made_only_where_validation_bears_it_out(name: str) -> None:
    for figures in _evaluation(name).calls:
        right = figures.right is not None and figures.right >= 0.7
        assert figures.allowed is bool(right and figures.right_low > figures.reference)
        assert figures.reference >= 0.5


def test_no_evidence_ships_as_measures_only(sarcoma: ResponseModel | MeasuresOnlyModel) -> None:
    assert isinstance(sarcoma, MeasuresOnlyModel), "what 38 patients show changed: adapt README and known-limits.md"
    found = sarcoma.predict(LARGE_AND_HOT)
    assert found.answer is Answer.NO_EVIDENCE
    assert found.probability is None
    said = " ".join(found.limits)
    for part in ("Internal validation only", "38 patients", "6 were followed for less than 730 days", "458 days"):
        assert part in said
    assert "11 further patients" in found.limits[0], "what was found outside comes first"
    assert "0.2.3, 2026-11; outside check, not reproducible from this repository" in found.limits[0]


def test_the_breast_sets_hold_their_promise_in_each_outcome_and_stratum() -> None:
    """0.55 and 0.57 instead of 0.80 before the sets had strata."""
    cells = _evaluation("breast-nac").coverage_by_group
    assert {(cell.stratum, cell.favorable) for cell in cells} == {
        (f"hormone receptor {status}", favorable) for status in ("negative", "positive") for favorable in (True, False)
    }
    for cell in cells:
        assert not cell.too_small
        assert cell.covered.value == pytest.approx(0.8, abs=0.05), cell


@pytest.mark.slow
def test_a_call_that_is_not_supported_is_not_made(breast: ResponseModel) -> None:
    random = np.random.default_rng(0)
    allowed = {Answer.FAVORABLE if found.favorable else Answer.UNFAVORABLE: found for found in breast.document.calls}
    given = set()
    for _ in range(150):
        row = {
            entry.name: float(random.choice(training.percentiles))
            for entry, training in zip(breast.inputs, breast.document.training, strict=True)
        }
        found = breast.predict({}, row)
        given.add(found.answer)
        if found.call_evidence is not None:
            assert found.call_evidence.allowed is allowed[found.call_evidence.outcome].allowed
        codes = {reason.code for reason in found.abstain_reasons}
        if found.answer in allowed:
            assert allowed[found.answer].allowed
            assert codes == set()
        elif found.call_evidence is not None and not found.call_evidence.allowed:
            assert "CALL_NOT_SUPPORTED" in codes
    assert given <= {
        Answer.INDETERMINATE,
        Answer.OUT_OF_DISTRIBUTION,
        *(name for name in allowed if allowed[name].allowed),
    }


def test_training_patients_of_both_models_leave_fingerprints_and_no_identifier() -> None:
    for name, rows in (("sts-petct", 38), ("breast-nac", 778)):
        found = TrainingFingerprints.of_model(ModelFolder.open(MODELS / name, verify=False))
        assert len(found.rows) == rows
        assert found.identifiers == (), "a published model has no site key"
        assert bool(found.slices) is (name == "sts-petct")


def test_the_samples_are_no_training_patients(sample_tomography: list[np.ndarray]) -> None:
    found = TrainingFingerprints.of_model(ModelFolder.open(MODELS / "sts-petct", verify=False))
    for array in sample_tomography:
        assert not found.knows_slices(array)


@pytest.fixture(scope="module")
def sample_tomography() -> list[np.ndarray]:
    from oncoresponse.dicom.study import convert_study, read_study
    from oncoresponse.model.definition import ImageInput

    arrays = []
    for name in ("STS_019", "STS_032"):
        study = read_study(REPOSITORY / "examples" / name)
        arrays.append(np.asarray(convert_study(study, ImageInput.any_of("CT")).volumes["CT"].array))
    return arrays


def test_a_small_tumor_of_low_uptake_does_better_than_a_large_avid_one(simulated: ResponseModel) -> None:
    good, bad = simulated.predict(SMALL_AND_COLD), simulated.predict(LARGE_AND_HOT)
    assert good.answer is Answer.FAVORABLE
    assert bad.answer is Answer.UNFAVORABLE
    for found in (good, bad):
        assert logit(found.interval_high) - logit(found.interval_low) > 0.2
        assert {entry.input for entry in found.contributions} == set(SMALL_AND_COLD)
        assert found.baseline is not None
        assert found.baseline.name.endswith(", from which the trees start")


def test_it_abstains_somewhere_between(simulated: ResponseModel) -> None:
    share = np.linspace(0, 1, 2001)[:, None]
    names = simulated.document.input_names
    low, high = (np.log([patient[name] for name in names]) for patient in (SMALL_AND_COLD, LARGE_AND_HOT))
    between = (1 - share) * low + share * high
    found = set(answers(simulated.document, simulated.scoring, np.exp(between), between))
    assert found == {Answer.FAVORABLE, Answer.UNFAVORABLE, Answer.INDETERMINATE}


def test_a_whole_body_of_uptake_is_out_of_distribution(simulated: ResponseModel) -> None:
    found = simulated.predict({"lesion_volume": 2900.0, "suv_max": 70.0})
    assert found.answer is Answer.OUT_OF_DISTRIBUTION


def test_numbers_in_sentences_are_those_of_a_report(simulated: ResponseModel) -> None:
    """'27.9 to 2.34e+03 ml' and '2.34e+03 ml' once stood on the page."""
    training = simulated.document.training[simulated.document.input_names.index("lesion_volume")]
    volume = min(2999.0, float(round(training.maximum + 5)))
    found = simulated.predict({"lesion_volume": volume, "suv_max": 12.0})
    assert found.limits[0].startswith(f"Tumor volume ({volume:.0f} ml) lies beyond every training patient")
    said = " ".join((*found.sentences, *found.limits, *(reason.text for reason in found.abstain_reasons)))
    assert "e+0" not in said
    impossible = simulated.predict({"lesion_volume": 123456.0, "suv_max": 12.0})
    assert "the model allows 1 to 3000 ml" in impossible.abstain_reasons[0].text


@pytest.mark.parametrize("name", ["sts-petct", "breast-nac", "breast-early-response-first-cycle"])
def test_the_limits_are_what_the_code_makes_of_the_evaluation(name: str) -> None:
    opened = open_response_model(ModelFolder.open(MODELS / name, verify=False))
    made = limits_from(_evaluation(name), None, contoured="early" not in name)
    assert [text for text in opened.document.limits if "simulated cohorts" not in text] == list(made)
    said = " ".join((*opened.document.limits, *opened.folder.definition.limitations))
    assert "the estimate" not in said, "a page may show no number"
    assert "beside it" not in said


def test_the_samples_were_kept_out_and_the_evaluation_is_whole() -> None:
    evaluation = _evaluation("sts-petct")
    assert {"STS_019", "STS_032"} <= set(evaluation.held_out_patients)
    assert evaluation.patients == 38
    assert evaluation.constant_boosters == 0
    assert evaluation.permutation is not None
    assert evaluation.permutation.permutations >= 100


def test_the_breast_model_keeps_what_was_asked_of_it() -> None:
    """Its evaluation against the goals; the AUC of 0.73 was missed at the third digit and is not here."""
    evaluation = _evaluation("breast-nac")
    assert evaluation.patients == 778
    assert evaluation.excluded == {"Age not recorded": 3}
    assert evaluation.booster.auc.value >= evaluation.baseline.auc.value
    assert 0.8 <= evaluation.booster.calibration_slope.value <= 1.25
    assert abs(evaluation.conformal.covered - evaluation.conformal.promised) <= 0.03
    groups = [figures for figures in evaluation.subgroups if figures.group in ("Race", "Age")]
    assert len(groups) == 7
    for figures in groups:
        assert abs(figures.coverage.value - evaluation.conformal.promised) <= 0.08, figures.subgroup


@pytest.mark.parametrize("name", ["sts-petct", "breast-nac"])
def test_the_model_is_small(name: str) -> None:
    assert sum(file.stat().st_size for file in (MODELS / name / "response").iterdir()) < 2_000_000
