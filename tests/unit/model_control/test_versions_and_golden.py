"""Versions that are kept beside the installed one, and models that do not compute what they did."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from oncoradiomics.features import Feature, FeatureDocument
from oncoresponse.cli.training import app as training_app
from oncoresponse.errors import ModelFolderInvalid, ModelGoldenMismatch, ModelStateInvalid
from oncoresponse.model.cache import ModelCache
from oncoresponse.model.folder import ModelFolder, installed_model_names, seal_model_folder
from oncoresponse.model.golden import golden_vectors
from oncoresponse.model.versions import install_version, restore_version, versions_on_disk
from oncoresponse.response.model import ResponseModel
from oncoresponse.servers.golden_features import require_golden_features
from oncoresponse.servers.golden_making import golden_vectors_are_current
from typer.testing import CliRunner

SHIPPED = Path(__file__).parents[3] / "models"


def version_of(folder: Path, version: str) -> Path:
    """A copy of a folder that says it is another version."""
    definition = folder / "model.yaml"
    lines = definition.read_text().splitlines()
    definition.write_text("\n".join(f"version: {version}" if x.startswith("version:") else x for x in lines) + "\n")
    seal_model_folder(folder)
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED / "breast-early-response", tmp_path / "models" / "breast-early-response")
    return tmp_path / "models"


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED / "breast-early-response", tmp_path / "new" / "breast-early-response")
    return version_of(tmp_path / "new" / "breast-early-response", "9.0.0")


def test_what_is_pinned_to_an_earlier_version_still_finds_it_and_rollback_puts_it_back(models: Path, newer: Path):
    name = "breast-early-response"
    cache = ModelCache(models, lambda folder: folder.definition.version)
    pinned = cache.get(f"models/{name}")[0].sha256
    installed = install_version(models, newer)
    assert installed_model_names(models) == [name]
    assert cache.get(f"models/{name}")[1] == "9.0.0"
    folder, version = cache.get(f"models/{name}", pinned)
    assert (folder.sha256, version != "9.0.0") == (pinned, True)
    assert {item.sha256: item.installed for item in versions_on_disk(models, name)} == {
        installed.sha256: True,
        pinned: False,
    }
    assert restore_version(models, name).sha256 == pinned
    assert cache.get(f"models/{name}")[0].sha256 == pinned
    assert cache.get(f"models/{name}", installed.sha256)[1] == "9.0.0"
    assert restore_version(models, name).sha256 == installed.sha256
    assert [path.name for path in (models / ".versions").glob(".arriving*")] == []


def test_without_an_earlier_version_there_is_no_way_back_and_an_unsealed_folder_is_not_installed(models, newer):
    with pytest.raises(ModelStateInvalid):
        restore_version(models, "breast-early-response")
    (newer / "extra.txt").write_text("x")
    with pytest.raises(ModelFolderInvalid):
        install_version(models, newer)
    assert ModelFolder.open(models / "breast-early-response").definition.version != "9.0.0"


def test_one_changed_threshold_of_one_tree_is_seen_though_every_hash_fits(models: Path):
    folder = models / "breast-early-response"
    ResponseModel.open(ModelFolder.open(folder))
    import xgboost

    booster = xgboost.Booster(model_file=folder / "response" / "booster.ubj")
    trees = json.loads(booster.save_raw("json"))
    leaves = trees["learner"]["gradient_booster"]["model"]["trees"][0]["split_conditions"]
    leaves[-1] += 1e-3
    booster.load_model(bytearray(json.dumps(trees).encode()))
    raw = bytes(booster.save_raw("ubj"))
    (folder / "response" / "booster.ubj").write_bytes(raw)
    document = json.loads((folder / "response" / "response.json").read_text())
    document["booster_sha256"] = hashlib.sha256(raw).hexdigest()
    (folder / "response" / "response.json").write_text(json.dumps(document))
    with pytest.raises(ModelGoldenMismatch):
        ResponseModel.open(seal_model_folder(folder))


def test_one_feature_that_comes_out_otherwise_is_seen_and_so_are_vectors_of_other_settings(tmp_path: Path):
    folder = ModelFolder.open(SHIPPED / "breast-nac", verify=False)
    golden = golden_vectors(folder).features
    assert golden is not None

    def measured(factor: float) -> FeatureDocument:
        first, *others = golden.values.items()
        return FeatureDocument(
            engine="e",
            engine_version="1",
            settings_sha256="0" * 64,
            image_quantity="1",
            features=tuple(
                Feature(name=name, value=value, unit="1") for name, value in ((first[0], first[1] * factor), *others)
            ),
            measures=(),
        )

    require_golden_features(folder, measured(1 + 1e-8), golden)
    with pytest.raises(ModelGoldenMismatch, match="do not reproduce"):
        require_golden_features(folder, measured(1 + 1e-5), golden)
    with pytest.raises(ModelGoldenMismatch, match="another radiomics"):
        require_golden_features(folder, measured(1.0), golden.model_copy(update={"made_for": "0" * 64}))


def test_a_folder_without_golden_vectors_is_refused_only_where_they_are_required(models: Path):
    folder = ModelFolder.open(models / "breast-early-response")
    assert golden_vectors(folder).networks is None
    with pytest.raises(ModelGoldenMismatch, match="models golden"):
        golden_vectors(folder, required=True)


def test_what_training_seals_has_golden_vectors_of_what_it_sealed(tmp_path):
    """A model card written anew after a change of the settings: the folder loads where golden vectors are required."""
    folder = tmp_path / "breast-nac"
    shutil.copytree(SHIPPED / "breast-nac", folder)
    assert golden_vectors_are_current(ModelFolder.open(folder))
    settings = folder / "radiomics" / "settings.yaml"
    settings.write_text(settings.read_text() + "# Read by two physicists.\n")
    done = CliRunner().invoke(training_app, ["model-card", "--model", str(folder)])
    assert done.exit_code == 0, done.output
    sealed = ModelFolder.open(folder)
    assert golden_vectors_are_current(sealed)
    assert golden_vectors(sealed, required=True).features.made_for == sealed.manifest.files["radiomics/settings.yaml"]
    assert sealed.definition.version != ModelFolder.open(SHIPPED / "breast-nac").definition.version
