"""How inputs were made: declared beside a table, kept at training, compared at prediction, and said where unknown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from oncoradiomics.extraction import ENGINE_NAMES, engine_version
from oncoradiomics.features import ExtractionIdentity
from oncoradiomics.settings import Settings
from oncoresponse.cli.main import app
from oncoresponse.errors import PredictionTableInvalid, QuantityMismatch, SettingsMismatch, TrainingDataInvalid
from oncoresponse.model.folder import ModelFolder, seal_model_folder
from oncoresponse.response.batch_prediction import predict_table, read_prediction_table
from oncoresponse.response.input_provenance import (
    NOT_DECLARED,
    PROVENANCE_UNDECLARED,
    TRAINING_NOT_DECLARED,
    InputProvenance,
    read_provenance,
    training_extraction,
)
from oncoresponse.response.measures_only import open_response_model
from oncoresponse.response.model import ResponseModel
from oncoresponse.response.task import ResponseTask, read_task
from typer.testing import CliRunner

MODELS = Path(__file__).parents[3] / "models"
SARCOMA = MODELS / "sts-petct"
PATIENT = {"lesion_volume": 60.0, "suv_max": 4.0}


@pytest.fixture(scope="module")
def sarcoma(models_that_predict: Path) -> ResponseModel:
    return ResponseModel.open(ModelFolder.open(models_that_predict / "sts-petct"))


@pytest.fixture
def identity() -> dict[str, str]:
    """What 'oncoradiomics cohort' writes beside a table made with the settings of sts-petct."""
    return {
        "engine": ENGINE_NAMES["native"],
        "engine_version": engine_version("native"),
        "settings_sha256": Settings.from_yaml(SARCOMA / "radiomics" / "settings.yaml").sha256,
        "image_quantity": "g/mL{SUVbw}",
    }


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "inputs.csv"
    path.write_text("id,lesion_volume [ml],suv_max [g/mL]\n1,60,4.0\n")
    return path


def declare(table: Path, content: object) -> None:
    table.with_suffix(".provenance.json").write_text(json.dumps(content))


def test_the_shipped_model_was_validated_on_what_the_service_measures(identity: dict[str, str]) -> None:
    shipped = open_response_model(ModelFolder.open(SARCOMA, verify=False))
    assert shipped.document.extraction == ExtractionIdentity(**identity)
    assert shipped.folder.definition.measured_quantity == identity["image_quantity"]


def test_a_table_without_a_declaration_is_predicted_and_each_answer_says_so(
    sarcoma: ResponseModel, table: Path
) -> None:
    (prediction,) = predict_table(sarcoma, read_prediction_table(table, sarcoma.document.inputs))
    assert prediction.provenance == PROVENANCE_UNDECLARED
    assert NOT_DECLARED in prediction.limits


def test_a_declared_table_is_predicted_and_the_output_says_so(
    sarcoma: ResponseModel, models_that_predict: Path, table: Path, identity: dict[str, str], tmp_path: Path
) -> None:
    declare(table, identity | {"patients": 1, "excluded": []})
    (prediction,) = predict_table(sarcoma, read_prediction_table(table, sarcoma.document.inputs))
    assert prediction.provenance == "DECLARED"
    assert NOT_DECLARED not in prediction.limits
    out = tmp_path / "out.csv"
    arguments = ["predict", "--model", "sts-petct", "--table", str(table), "--out", str(out)]
    result = CliRunner().invoke(app, [*arguments, "--models-dir", str(models_that_predict)], catch_exceptions=False)
    assert result.exit_code == 0
    assert ",DECLARED," in out.read_text().splitlines()[1]


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"settings_sha256": "0" * 64}, SettingsMismatch),
        ({"engine_version": "0.9"}, SettingsMismatch),
        ({"image_quantity": "HU"}, QuantityMismatch),
    ],
)
def test_a_table_made_otherwise_than_that_of_the_training_is_refused(
    sarcoma: ResponseModel, table: Path, identity: dict[str, str], changed: dict[str, str], error: type[Exception]
) -> None:
    declare(table, identity | changed)
    with pytest.raises(error):
        predict_table(sarcoma, read_prediction_table(table, sarcoma.document.inputs))


@pytest.mark.parametrize("content", [{}, {"engine": "x"}, {"measured_by": " "}, [1], {"settings_sha256": "short"}])
def test_a_declaration_that_is_not_understood_is_refused(sarcoma: ResponseModel, table: Path, content: object) -> None:
    declare(table, content)
    with pytest.raises(PredictionTableInvalid, match="measured_by"):
        read_prediction_table(table, sarcoma.document.inputs)


def test_words_do_for_what_no_engine_computed_and_not_for_features(sarcoma: ResponseModel) -> None:
    words = InputProvenance(measured_by="Volume of the functional tumor on DCE-MRI")
    breast = ResponseModel.open(ModelFolder.open(MODELS / "breast-nac"))
    middle = {
        entry.name: found.median for entry, found in zip(breast.document.inputs, breast.document.training, strict=True)
    }
    assert breast.predict({}, middle, provenance=words).provenance == "DECLARED"
    assert breast.predict({}, middle).provenance == PROVENANCE_UNDECLARED
    assert sarcoma.predict(PATIENT, provenance=words).provenance == PROVENANCE_UNDECLARED


def test_training_without_a_declaration_is_said_with_every_prediction(
    trained_folder: ModelFolder, identity: dict[str, str]
) -> None:
    model = ResponseModel.open(trained_folder)
    assert model.document.extraction is None
    found = model.predict(
        dict.fromkeys(("m0", "m1", "m2"), 1.0), provenance=InputProvenance(extraction=ExtractionIdentity(**identity))
    )
    assert found.provenance == PROVENANCE_UNDECLARED
    assert TRAINING_NOT_DECLARED in found.limits


def test_training_keeps_a_declaration_that_fits_the_model_and_refuses_another(
    tmp_path: Path, identity: dict[str, str]
) -> None:
    task, features = read_task(SARCOMA / "response" / "task.yaml"), tmp_path / "features.csv"
    assert training_extraction(task, features, SARCOMA) is None
    declare(features, identity)
    assert training_extraction(task, features, SARCOMA) == ExtractionIdentity(**identity)
    automatic = tmp_path / "automatic.csv"
    declare(automatic, identity | {"engine_version": "0.9"})
    with pytest.raises(SettingsMismatch):
        training_extraction(task, features, SARCOMA, also=automatic)
    for changed, error in (
        ({"settings_sha256": "0" * 64}, SettingsMismatch),
        ({"engine": "pyradiomics", "engine_version": "3.0.1"}, SettingsMismatch),
        ({"image_quantity": "HU"}, QuantityMismatch),
        ({"engine": ""}, TrainingDataInvalid),
    ):
        declare(features, identity | changed)
        with pytest.raises(error):
            training_extraction(task, features, SARCOMA)


def test_a_task_of_clinical_columns_alone_needs_no_declaration(tmp_path: Path) -> None:
    task = read_task(MODELS / "breast-nac" / "response" / "task.yaml")
    assert training_extraction(task, tmp_path / "cohort.csv", MODELS / "breast-nac") is None


def test_there_is_no_declaration_without_a_file(table: Path) -> None:
    assert read_provenance(table, PredictionTableInvalid) is None


def test_a_comment_in_the_settings_makes_no_other_model_and_another_value_does(
    models_that_predict: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sts-petct"
    left_out = shutil.ignore_patterns("segmentation", "model-card*")
    shutil.copytree(models_that_predict / "sts-petct", folder, ignore=left_out)
    settings = folder / "radiomics" / "settings.yaml"
    text = settings.read_text()
    settings.write_text("# The same settings.\n" + text.replace("binWidth: 0.25", "binWidth: 0.250"))
    assert ResponseModel.open(seal_model_folder(folder)).predict(PATIENT).probability is not None
    settings.write_text(text.replace("binWidth: 0.25", "binWidth: 0.5"))
    with pytest.raises(Exception, match="not those the response model was trained with"):
        ResponseModel.open(seal_model_folder(folder))


def test_bands_without_a_unit_are_refused(make_task: Callable[..., ResponseTask]) -> None:
    with pytest.raises(ValueError, match="bands need a unit"):
        make_task(audit_groups=[{"title": "Age", "column": "age", "bands": [50]}])
