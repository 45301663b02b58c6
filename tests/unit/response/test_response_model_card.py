from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from oncoresponse.errors import ModelFolderInvalid, TrainingDataInvalid
from oncoresponse.model.template import require_filled_in, write_template
from oncoresponse.response.task import read_task
from oncoresponse.response.training.model_card import ModelCard, write_model_card
from oncoresponse.response.training.segmentation_figures import segmentation_section
from oncoresponse.response.training.source_attributes import ATTRIBUTES
from oncoresponse.response.training.training import TrainedResponse

MODELS = Path(__file__).parents[3] / "models"


@pytest.fixture
def folder(trained: TrainedResponse, training_files: object, tmp_path: Path) -> Path:
    assert trained.model_directory.is_dir()
    return Path(shutil.copytree(training_files.model, tmp_path / "sts-petct"))


def test_the_card_has_every_attribute_and_says_what_is_unknown(folder: Path, trained: TrainedResponse) -> None:
    card = write_model_card(folder)
    assert len(card.source_attributes) == 31
    assert [attribute.number for attribute in card.source_attributes] == list(range(1, 32))
    by_name = {attribute.identifier: attribute for attribute in card.source_attributes}
    assert trained.evaluation.booster.auc.text in by_name["validity_same_source"].value
    assert "No external validation" in by_name["external_data"].unknown_because
    assert by_name["funding"].unknown_because
    assert ModelCard.model_validate_json((folder / "model-card.json").read_bytes()) == card
    text = (folder / "model-card.md").read_text(encoding="utf-8")
    for attribute in card.source_attributes:
        assert f"{attribute.number}. **{attribute.title}.**" in text
    assert card.device_status in text
    assert trained.evaluation.power.sentence in text
    for image in ("roc", "calibration", "decision-curve"):
        assert f"model-card-figures/{image}.png" in text
        assert (folder / "model-card-figures" / f"{image}.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_model_gives_the_same_card(folder: Path) -> None:
    write_model_card(folder)
    names = ("model-card.md", "model-card.json", "model-card-figures/roc.png")
    first = [(folder / name).read_bytes() for name in names]
    write_model_card(folder)
    assert [(folder / name).read_bytes() for name in names] == first


def test_an_attribute_can_be_stated_and_a_misspelled_one_is_refused(folder: Path) -> None:
    definition = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
    definition["source_attributes"] = {"funding": "Nobody paid for it."}
    (folder / "model.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    funding = next(item for item in write_model_card(folder).source_attributes if item.identifier == "funding")
    assert (funding.value, funding.unknown_because) == ("Nobody paid for it.", None)
    definition["source_attributes"] = {"fundin": "x"}
    (folder / "model.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    with pytest.raises(ModelFolderInvalid, match="'fundin'"):
        write_model_card(folder)


def test_an_untrained_model_has_no_card(folder: Path) -> None:
    (folder / "response" / "evaluation.json").unlink()
    with pytest.raises(ModelFolderInvalid, match="Train the model"):
        write_model_card(folder)


@pytest.mark.parametrize("name", ["sts-petct", "breast-nac", "breast-early-response"])
def test_the_shipped_card_is_that_of_the_shipped_model(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    shutil.copytree(MODELS / name / "response", folder / "response")
    shutil.copy(MODELS / name / "model.yaml", folder)
    if (segmentation := MODELS / name / "segmentation" / "evaluation.json").is_file():
        (folder / "segmentation").mkdir()
        shutil.copy(segmentation, folder / "segmentation")
    write_model_card(folder)
    for file in ("model-card.md", "model-card.json"):
        assert (folder / file).read_bytes() == (MODELS / name / file).read_bytes()
    card = json.loads((MODELS / name / "model-card.json").read_bytes())
    manifest = json.loads((MODELS / name / "manifest.json").read_bytes())
    assert manifest["version"] == card["version"]
    assert {"model-card.md", "model-card.json", "model-card-figures/roc.png"} <= set(manifest["files"])
    for file, digest in card["files_sha256"].items():
        assert manifest["files"][file] == digest


def test_the_card_shows_the_segmentation_beside_what_needs_no_image() -> None:
    found = json.loads((MODELS / "sts-petct" / "segmentation" / "evaluation.json").read_bytes())
    lines = segmentation_section(MODELS / "sts-petct")
    for item in (found["network"]["none"], found["image_free_baseline"], found["thresholds_of_clinics"]["suv_2_5"]):
        assert any(item["title"] in line and f"{item['mean_dice']:.2f}" in line for line in lines)
    assert segmentation_section(MODELS / "breast-nac") == []


def test_an_evaluation_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "segmentation").mkdir()
    (tmp_path / "segmentation" / "evaluation.json").write_text('{"network": {}}', encoding="utf-8")
    with pytest.raises(ModelFolderInvalid, match="another version"):
        segmentation_section(tmp_path)


def test_the_attributes_are_those_of_the_regulation() -> None:
    assert len(ATTRIBUTES) == len({identifier for identifier, _, _ in ATTRIBUTES}) == 31
    assert len({group for _, group, _ in ATTRIBUTES}) == 9


def test_a_template_is_refused_until_it_is_filled_in(tmp_path: Path) -> None:
    folder = tmp_path / "lung-petct"
    written = write_template(folder)
    assert {path.name for path in written} == {"model.yaml", "task.yaml", "settings.yaml"}
    with pytest.raises(TrainingDataInvalid, match=r"model.yaml still says FILL IN"):
        require_filled_in(folder)
    for path in written:
        path.write_text(path.read_text(encoding="utf-8").replace("FILL IN", "Stated"), encoding="utf-8")
    require_filled_in(folder)
    definition = (folder / "model.yaml").read_text(encoding="utf-8")
    (folder / "model.yaml").write_text(definition + "colour: blue\n", encoding="utf-8")
    with pytest.raises(ModelFolderInvalid, match="colour"):
        require_filled_in(folder)
    assert read_task(folder / "response" / "task.yaml").input_names == ("lesion_volume", "suv_max")
    with pytest.raises(TrainingDataInvalid, match="exists"):
        write_template(folder)
    with pytest.raises(TrainingDataInvalid, match="small letters"):
        write_template(tmp_path / "Lung PETCT")
