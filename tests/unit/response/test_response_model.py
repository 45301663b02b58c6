from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.case.prediction import ABSTAIN_CODES, Answer, Prediction
from oncoresponse.errors import InvalidRequest, ModelFolderInvalid, ModelHashMismatch, TrainingDataInvalid
from oncoresponse.model.folder import ModelFolder, seal_model_folder
from oncoresponse.response.model import ResponseModel
from oncoresponse.response.training.training import TrainedResponse, train_response

TYPICAL = {"m0": 1.0, "m1": 1.0, "m2": 1.0}


@pytest.fixture(scope="session")
def model(trained_folder: ModelFolder) -> ResponseModel:
    return ResponseModel.open(trained_folder)


@pytest.fixture
def copied(trained_folder: ModelFolder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_folder.path, tmp_path / trained_folder.path.name))


def test_training_twice_gives_the_same_bytes(
    trained: TrainedResponse, write_training_files: Callable[[Path], object], tmp_path: Path
) -> None:
    files = write_training_files(tmp_path)
    again = train_response(
        files.task,
        files.features,
        files.clinical,
        files.model,
        tmp_path / "run",
        features_automatic_csv=files.features_automatic,
    )
    for name in ("booster.ubj", "ensemble.zip", "response.json", "evaluation.json"):
        assert (again.model_directory / name).read_bytes() == (trained.run_directory / name).read_bytes(), name


def test_automatic_contours_are_reported_for_the_patients_that_have_one(trained: TrainedResponse) -> None:
    figures = trained.evaluation.automatic_contours
    assert figures is not None
    assert (figures.patients, figures.patients_without) == (46, 2)
    assert 0 < figures.mean_absolute_change < 0.2
    assert figures.figures.auc.text in " ".join(trained.document.limits)


def test_no_patient_is_named_in_the_model(trained: TrainedResponse) -> None:
    for name in ("response.json", "booster.ubj"):
        assert b"P0" not in (trained.model_directory / name).read_bytes()
    assert "P004" in (trained.run_directory / "out-of-fold.csv").read_text()


def test_training_refuses_a_booster_that_learned_nothing(
    write_training_files: Callable[[Path], object], tmp_path: Path
) -> None:
    files = write_training_files(tmp_path)
    files.task.write_text(files.task.read_text().replace("column_fraction", "min_child_weight: 30\n  column_fraction"))
    with pytest.raises(TrainingDataInvalid, match="same answer"):
        train_response(files.task, files.features, files.clinical, files.model, tmp_path / "run")


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.floats(0.05, 20.0) for _ in TYPICAL]))
def test_contributions_add_up_and_the_probability_is_inside_its_interval(
    model: ResponseModel, values: tuple[float, ...]
) -> None:
    found = model.predict(dict(zip(TYPICAL, values, strict=True)))
    total = found.base_log_odds + sum(entry.log_odds for entry in found.contributions)
    assert total == pytest.approx(found.margin_log_odds, abs=1e-12)
    assert found.probability == pytest.approx(1 / (1 + math.exp(-found.margin_log_odds)), abs=1e-12)
    assert sum(entry.log_odds for entry in found.grouped_contributions) == pytest.approx(
        total - found.base_log_odds, abs=1e-12
    )
    assert found.interval_low <= found.probability <= found.interval_high
    sizes = [abs(entry.log_odds) for entry in found.contributions]
    assert sizes == sorted(sizes, reverse=True)
    assert all((entry.direction == "raises") == (entry.log_odds >= 0) for entry in found.contributions)
    assert found.abstains == bool(found.abstain_reasons)
    assert {reason.code for reason in found.abstain_reasons} <= set(ABSTAIN_CODES)
    assert Prediction.model_validate_json(found.model_dump_json()) == found


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.floats(0.05, 20.0) for _ in TYPICAL]), st.sampled_from(list(TYPICAL)), st.floats(1.0, 10.0))
def test_a_larger_value_never_raises_the_probability(
    model: ResponseModel, values: tuple[float, ...], name: str, factor: float
) -> None:
    patient = dict(zip(TYPICAL, values, strict=True))
    larger = patient | {name: patient[name] * factor}
    assert model.predict(larger).probability <= model.predict(patient).probability


def test_the_margin_is_that_of_plain_xgboost(model: ResponseModel, trained_folder: ModelFolder) -> None:
    booster = xgboost.Booster(model_file=str(trained_folder.path / "response" / "booster.ubj"))
    data = xgboost.DMatrix(np.log([[0.3, 2.0, 1.5]]), feature_names=list(TYPICAL))
    found = model.predict({"m0": 0.3, "m1": 2.0, "m2": 1.5, "not_an_input": 7.0})
    margin = float(booster.predict(data, output_margin=True)[0])
    line = model.document.calibration
    assert found.margin_log_odds == pytest.approx(line.slope * margin + line.intercept, abs=1e-9)


def test_a_clear_patient_gets_a_call_and_a_middling_one_does_not(model: ResponseModel) -> None:
    good, bad = (model.predict(TYPICAL | {"m0": value}) for value in (0.2, 5.0))
    outcome = model.folder.definition.outcome
    assert (good.answer, good.answer_text) == (Answer.FAVORABLE, outcome.favorable_answer)
    assert (bad.answer, bad.answer_text) == (Answer.UNFAVORABLE, outcome.unfavorable_answer)
    assert good.conformal_set == (Answer.FAVORABLE,)
    assert good.probability > 0.5 > bad.probability
    assert good.baseline.probability > 0.5 > bad.baseline.probability
    middling = [model.predict(TYPICAL | {"m0": value}) for value in np.geomspace(0.3, 3, 15)]
    abstained = [found for found in middling if found.abstains]
    assert abstained
    assert {found.answer for found in abstained} == {Answer.INDETERMINATE}
    codes = {reason.code for found in abstained for reason in found.abstain_reasons}
    assert codes <= {"CONFORMAL_BOTH", "CONFORMAL_NEITHER", "SET_DISAGREES_WITH_PROBABILITY"}


def test_a_patient_unlike_the_cohort_is_outside(model: ResponseModel) -> None:
    found = model.predict({"m0": 900.0, "m1": 0.002, "m2": 500.0})
    assert found.answer is Answer.OUT_OF_DISTRIBUTION
    assert found.outside.is_outside
    assert found.outside.score > found.outside.threshold
    assert found.outside.inputs_outside_range == ("m0", "m1", "m2")
    assert found.abstain_reasons[0].code == "OUTSIDE_TRAINING_DATA"
    assert sum("lies beyond every training patient" in limit for limit in found.limits) == 3
    assert "extrapolates" not in " ".join(found.limits), "where there is no call there is no probability to speak of"


def test_most_patients_of_the_same_kind_are_inside(model: ResponseModel) -> None:
    values = np.exp(np.random.default_rng(77).normal(size=(80, 3)))
    outside = sum(model.predict(dict(zip(TYPICAL, row, strict=True))).outside.is_outside for row in values)
    assert outside <= 10


@pytest.mark.parametrize("value", [0.0, -3.0, 1e7])
def test_a_value_that_cannot_be_true_is_outside(model: ResponseModel, value: float) -> None:
    found = model.predict(TYPICAL | {"m1": value})
    assert found.answer is Answer.OUT_OF_DISTRIBUTION
    assert found.abstain_reasons[0].code == "OUTSIDE_ALLOWED_RANGE"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_input_that_could_not_be_computed_makes_it_abstain(model: ResponseModel, value: float) -> None:
    found = model.predict(TYPICAL | {"m0": value})
    assert found.answer is Answer.INDETERMINATE
    assert found.abstain_reasons[0].code == "INPUT_NOT_FINITE"
    assert found.probability is None
    assert found.baseline is None
    assert found.contributions == ()
    assert model.predict(TYPICAL | {"m2": value}).baseline is not None


def test_a_feature_that_was_not_computed_is_an_error(model: ResponseModel) -> None:
    with pytest.raises(ModelFolderInvalid, match="'m2'"):
        model.predict({"m0": 1.0, "m1": 1.0})


def test_a_clinical_input_comes_from_the_covariates(model: ResponseModel) -> None:
    inputs = (*model.document.inputs[:2], model.document.inputs[2].model_copy(update={"source": "clinical"}))
    clinical = replace(model, document=model.document.model_copy(update={"inputs": inputs}))
    assert clinical.predict({"m0": 1.0, "m1": 1.0}, {"m2": 1.0}).probability == model.predict(TYPICAL).probability
    with pytest.raises(InvalidRequest, match="'m2'"):
        clinical.predict({"m0": 1.0, "m1": 1.0}, {})


def test_the_limits_are_those_of_the_evaluation_and_the_definition(
    model: ResponseModel, trained: TrainedResponse
) -> None:
    found = model.predict(TYPICAL)
    text = " ".join(found.limits)
    assert trained.evaluation.booster.auc.text in text
    assert "not better than a logistic regression" in text
    assert set(model.folder.definition.limitations) <= set(found.limits)
    assert "Research use only" in found.research_use_statement
    assert found.model_sha256 == model.folder.sha256


def test_no_answer_directs_a_treatment(model: ResponseModel) -> None:
    for value in (0.01, 0.2, 1.0, 5.0, 900.0):
        found = model.predict(TYPICAL | {"m0": value})
        words = " ".join([found.answer_text, *(reason.text for reason in found.abstain_reasons)]).lower().split()
        assert not {"start", "stop", "change", "switch", "continue"} & set(words)


def _edit_document(folder: Path, edit: Callable[[dict[str, object]], None]) -> ModelFolder:
    path = folder / "response" / "response.json"
    document = json.loads(path.read_bytes())
    edit(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    return seal_model_folder(folder)


@pytest.mark.parametrize(("field", "shift"), [("margin", 1e-6), ("ensemble_mean", 1e-3), ("transformed", 1e-4)])
def test_a_golden_vector_that_is_not_reproduced_is_refused(copied: Path, field: str, shift: float) -> None:
    def edit(document: dict[str, object]) -> None:
        vector = document["golden_vectors"][2]
        vector[field] = [value + shift for value in vector[field]] if field == "transformed" else vector[field] + shift

    with pytest.raises(ModelFolderInvalid, match="golden vectors"):
        ResponseModel.open(_edit_document(copied, edit))


@pytest.mark.parametrize("name", ["booster.ubj", "ensemble.zip", "task.yaml"])
def test_another_file_in_place_of_the_trained_one_is_refused(copied: Path, name: str) -> None:
    path = copied / "response" / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ModelHashMismatch, match=name):
        ResponseModel.open(seal_model_folder(copied))


def test_other_radiomics_settings_are_refused(copied: Path) -> None:
    (copied / "radiomics" / "settings.yaml").write_text("binWidth: 25\n", encoding="utf-8")
    with pytest.raises(ModelHashMismatch, match="radiomics settings"):
        ResponseModel.open(seal_model_folder(copied))


@pytest.mark.parametrize("name", ["booster.ubj", "ensemble.zip", "response.json"])
def test_a_missing_file_is_refused(copied: Path, name: str) -> None:
    (copied / "response" / name).unlink()
    with pytest.raises(ModelFolderInvalid, match=name):
        ResponseModel.open(seal_model_folder(copied))


@pytest.mark.parametrize(("name", "field"), [("booster.ubj", "booster_sha256"), ("ensemble.zip", "ensemble_sha256")])
def test_an_unreadable_file_is_refused_even_when_its_hash_fits(copied: Path, name: str, field: str) -> None:
    (copied / "response" / name).write_bytes(b"{not a model")
    digest = hashlib.sha256(b"{not a model").hexdigest()
    with pytest.raises(ModelFolderInvalid, match=r"ensemble|booster"):
        ResponseModel.open(_edit_document(copied, lambda document: document.update({field: digest})))


def test_a_document_of_another_schema_is_refused(copied: Path) -> None:
    with pytest.raises(ModelFolderInvalid, match="schema"):
        ResponseModel.open(_edit_document(copied, lambda document: document.update({"sed": 1})))
