"""What a shipped model refuses: anything that is not what was trained, and anything it would have to guess."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from oncoresponse.errors import InvalidRequest, ModelFolderInvalid, ModelHashMismatch
from oncoresponse.model.folder import ModelFolder, seal_model_folder
from oncoresponse.response.model import ResponseModel

MODELS = Path(__file__).parents[3] / "models"


def _copy(model: Path, to: Path) -> Path:
    folder = to / model.name
    shutil.copytree(model / "response", folder / "response")
    shutil.copyfile(model / "model.yaml", folder / "model.yaml")
    shutil.copytree(model / "radiomics", folder / "radiomics")
    return folder


def _edited(folder: Path, edit: Callable[[dict[str, object]], None]) -> ModelFolder:
    path = folder / "response" / "response.json"
    document = json.loads(path.read_bytes())
    edit(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    return seal_model_folder(folder)


def test_a_byte_that_changed_after_sealing_is_refused(models_that_predict: Path, tmp_path: Path) -> None:
    folder = _copy(models_that_predict / "sts-petct", tmp_path)
    seal_model_folder(folder)
    ResponseModel.open(ModelFolder.open(folder))
    path = folder / "response" / "booster.ubj"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ModelHashMismatch, match=r"booster\.ubj"):
        ModelFolder.open(folder)


def test_other_radiomics_settings_than_those_of_the_training_are_refused(
    models_that_predict: Path, tmp_path: Path
) -> None:
    folder = _copy(models_that_predict / "sts-petct", tmp_path)
    settings = folder / "radiomics" / "settings.yaml"
    settings.write_text(settings.read_text().replace("binWidth: 0.25", "binWidth: 0.5"))
    with pytest.raises(ModelHashMismatch, match="radiomics settings"):
        ResponseModel.open(seal_model_folder(folder))


def test_another_regression_to_start_from_is_not_reproduced(models_that_predict: Path, tmp_path: Path) -> None:
    def edit(document: dict[str, object]) -> None:
        document["start"]["coefficients"][0] += 1e-6

    with pytest.raises(ModelFolderInvalid, match="golden vectors"):
        ResponseModel.open(_edited(_copy(models_that_predict / "sts-petct", tmp_path), edit))


def test_no_missing_input_is_guessed() -> None:
    breast = ResponseModel.open(ModelFolder.open(MODELS / "breast-nac"))
    whole = {
        entry.name: training.median
        for entry, training in zip(breast.document.inputs, breast.document.training, strict=True)
    }
    assert breast.predict({}, whole).probability is not None
    for name in whole:
        with pytest.raises(InvalidRequest, match=f"'{name}'"):
            breast.predict({}, {other: value for other, value in whole.items() if other != name})


def test_a_prediction_names_the_model_its_version_and_its_hashes() -> None:
    folder = ModelFolder.open(MODELS / "breast-nac")
    model = ResponseModel.open(folder)
    found = model.predict({}, {entry.name: entry.maximum for entry in model.document.inputs})
    assert (found.model_name, found.model_version) == ("breast-nac", folder.definition.version)
    assert found.model_sha256 == folder.sha256
    assert found.booster_sha256 == folder.manifest.files["response/booster.ubj"]
    assert len(found.training_data_sha256) == 64
