"""A sealed model folder is used only while every byte is the sealed one."""

import shutil
from pathlib import Path

import pytest
from oncoresponse.cli.models import app
from oncoresponse.errors import ModelFolderInvalid, ModelHashMismatch, ModelNotFound
from oncoresponse.model.folder import (
    ModelFolder,
    find_model,
    installed_model_names,
    raise_version_if_changed,
    seal_model_folder,
    seal_version,
)
from oncoresponse.model.template import write_template
from typer.testing import CliRunner

DEFINITION = Path(__file__).parents[2] / "models" / "sts-petct" / "model.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "sts-petct"
    (path / "response").mkdir(parents=True)
    shutil.copy(DEFINITION, path / "model.yaml")
    (path / "response" / "response.json").write_text("{}")
    seal_model_folder(path)
    return path


def test_sealed_folder_opens_and_names_its_files(folder: Path):
    opened = ModelFolder.open(folder)
    assert set(opened.manifest.files) == {"model.yaml", "response/response.json"}
    assert opened.file("response/response.json").read_text() == "{}"


def test_changed_file_is_refused(folder: Path):
    (folder / "response" / "response.json").write_text("{ }")
    with pytest.raises(ModelHashMismatch, match=r"response/response\.json"):
        ModelFolder.open(folder)


def test_extra_file_is_refused(folder: Path):
    (folder / "weights.safetensors").write_bytes(b"1")
    with pytest.raises(ModelFolderInvalid, match="does not name"):
        ModelFolder.open(folder)


def test_missing_file_is_refused(folder: Path):
    (folder / "response" / "response.json").unlink()
    with pytest.raises(ModelFolderInvalid, match="lacks"):
        ModelFolder.open(folder)


def test_unknown_key_in_the_definition_is_refused(folder: Path):
    with (folder / "model.yaml").open("a") as file:
        file.write("colour: blue\n")
    with pytest.raises(ModelFolderInvalid, match="colour"):
        ModelFolder.open(folder)


def test_identity_changes_with_any_file(folder: Path):
    before = ModelFolder.open(folder).sha256
    (folder / "response" / "response.json").write_text("{ }")
    assert seal_model_folder(folder).sha256 != before


def test_name_cannot_leave_the_models_directory(folder: Path):
    assert installed_model_names(folder.parent) == ["sts-petct"]
    for name in ("other", "../sts-petct", ".", ""):
        with pytest.raises(ModelNotFound):
            find_model(folder.parent, name)


def test_a_version_is_never_sealed_twice_with_different_files(folder: Path):
    version = ModelFolder.open(folder).definition.version
    assert seal_version(folder).manifest.version == version  # nothing changed
    (folder / "response" / "response.json").write_text("{ }")
    with pytest.raises(ModelFolderInvalid, match="Raise the version"):
        seal_version(folder)


def test_a_changed_model_gets_the_next_version_and_an_unchanged_one_keeps_its_own(folder: Path):
    version = ModelFolder.open(folder).definition.version
    assert raise_version_if_changed(folder) is None
    (folder / "response" / "response.json").write_text("{ }")
    first, second, third = version.split(".")
    expected = f"{first}.{second}.{int(third) + 1}"
    assert raise_version_if_changed(folder) == expected
    sealed = seal_version(folder)
    assert sealed.definition.version == sealed.manifest.version == expected
    assert raise_version_if_changed(folder) is None


def test_a_folder_knows_which_parts_it_has(folder: Path):
    opened = ModelFolder.open(folder)
    assert opened.has("response")
    assert opened.has("response/response.json")
    assert not opened.has("respon")
    assert not opened.has("segmentation")


def test_a_folder_that_no_patient_could_be_assessed_with_is_not_sealed(tmp_path: Path):
    folder = tmp_path / "lung-ct"
    write_template(folder)

    def seal() -> str:
        return str(CliRunner().invoke(app, ["seal", str(folder)]).exception or "")

    def replace(name: str, old: str, new: str) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    assert "FILL IN" in seal()
    for name in ("model.yaml", "response/task.yaml"):
        replace(name, "FILL IN", "Stated")
    assert "no response/response.json" in seal()
    replace("model.yaml", "features, prediction, report", "prediction, features, report")
    assert "A plan begins with" in seal()
    replace("model.yaml", "segment_on: PT ", "segment_on: PET")
    assert seal() == "model.yaml is not valid: segment_on names PET, which is not among the inputs."
    replace("model.yaml", "segment_on: PET", "segment_on: PT ")
    replace("model.yaml", "prediction, features, report", "features, report")
    (folder / "radiomics" / "settings.yaml").rename(tmp_path / "settings.yaml")
    assert "no radiomics/settings.yaml" in seal()
    assert not (folder / "manifest.json").exists()
    (tmp_path / "settings.yaml").rename(folder / "radiomics" / "settings.yaml")
    assert seal() == ""
    assert ModelFolder.open(folder).imaging.stages == ("conversion", "segmentation", "features", "report")
