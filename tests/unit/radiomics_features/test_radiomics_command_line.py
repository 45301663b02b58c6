"""``oncoradiomics extract`` and ``oncoradiomics cohort``."""

from __future__ import annotations

import csv
import json
import shutil

import pandas
import pytest
import SimpleITK as sitk
from oncoradiomics.command_line import app, run
from oncoradiomics.extraction import describe_lesion
from oncoradiomics.features import FeatureDocument
from oncoradiomics.image_files import read_image
from oncoradiomics.quantities import SUV_BODY_WEIGHT
from oncoradiomics.settings import Settings
from typer.testing import CliRunner

SUV = ("--quantity", SUV_BODY_WEIGHT)


@pytest.fixture
def settings_file(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("setting: {binWidth: 0.5}\nfeatureClass: {shape: , firstorder: [Mean]}\n", encoding="utf-8")
    return file


def test_extract_writes_the_document(lesion_files, settings_file, tmp_path):
    output = tmp_path / "features.json"
    arguments = ["extract", *map(str, lesion_files), "--settings", str(settings_file), *SUV, "--output", str(output)]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    document = FeatureDocument.model_validate_json(output.read_bytes())
    assert len(document.features) == 15
    assert document.image_quantity == "g/mL{SUVbw}"


def test_cohort_writes_one_row_a_patient_and_says_who_failed(lesion_files, settings_file, tmp_path):
    data = tmp_path / "cohort"
    for patient in ("P1", "P2", "P3"):
        (data / patient).mkdir(parents=True)
        shutil.copy(lesion_files[0], data / patient / "image.nrrd")
        shutil.copy(lesion_files[1], data / patient / "mask.nrrd")
    (data / "P2" / "mask.nrrd").write_bytes(b"not an image")
    output = tmp_path / "features.csv"
    arguments = ["cohort", str(data), "--settings", str(settings_file), "--output", str(output), "--exclude", "P3"]
    arguments += [*SUV, "--image", "image.nrrd", "--mask", "mask.nrrd", "--processes", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "P2: FEATURE_EXTRACTION_FAILED" in result.output
    with output.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row.pop("patient_id") == "P1"
    settings = Settings.from_yaml(settings_file)
    expected = describe_lesion(*map(read_image, lesion_files), settings, SUV_BODY_WEIGHT).values()
    assert {name: float(value) for name, value in row.items()} == expected
    provenance = json.loads(output.with_suffix(".provenance.json").read_text(encoding="utf-8"))
    assert provenance["excluded"] == ["P3"]
    assert provenance["settings_sha256"] == settings.sha256


def test_an_intended_error_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(
        "sys.argv", ["oncoradiomics", "extract", "a", "b", *SUV, "--settings", str(tmp_path / "absent.yaml")]
    )
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_stopped_cohort_goes_on_where_it_stopped_and_writes_parquet(
    lesion_files, settings_file, tmp_path, monkeypatch
):
    data = tmp_path / "cohort"
    for patient in ("P1", "P2"):
        (data / patient).mkdir(parents=True)
        shutil.copy(lesion_files[0], data / patient / "image.nrrd")
        shutil.copy(lesion_files[1], data / patient / "mask.nrrd")
    sitk.WriteImage(read_image(lesion_files[0]) * 2, str(data / "P2" / "image.nrrd"))
    whole = (data / "P2" / "mask.nrrd").read_bytes()
    (data / "P2" / "mask.nrrd").write_bytes(b"not an image")
    output = tmp_path / "features.parquet"
    arguments = ["cohort", str(data), "--settings", str(settings_file), "--output", str(output), "--processes", "1"]
    arguments += ["--image", "image.nrrd", "--mask", "mask.nrrd", "--quantity", "HU"]
    assert CliRunner().invoke(app, arguments).exit_code == 1
    (kept,) = output.with_suffix(".finished").iterdir()
    # Marked, so that a patient computed anew would show.
    document = FeatureDocument.model_validate_json(kept.read_bytes())
    marked = document.features[0].model_copy(update={"value": 12345.0})
    kept.write_text(document.model_copy(update={"features": (marked, *document.features[1:])}).model_dump_json())
    (data / "P2" / "mask.nrrd").write_bytes(whole)
    assert CliRunner().invoke(app, arguments).exit_code == 0
    table = pandas.read_parquet(output).set_index("patient_id")
    assert table.loc["P1", document.features[0].name] == 12345.0
    mean = document.values()["original_firstorder_Mean"]
    assert table.loc["P2", "original_firstorder_Mean"] == pytest.approx(2 * mean)
    assert "suv_max" not in table.columns
    assert not output.with_suffix(".finished").exists()


def test_the_reference_engine_can_be_asked_for(lesion_files, settings_file, tmp_path):
    output = tmp_path / "features.json"
    arguments = ["extract", *map(str, lesion_files), "--settings", str(settings_file), *SUV, "--output", str(output)]
    CliRunner().invoke(app, [*arguments, "--engine", "pyradiomics"], catch_exceptions=False)
    assert FeatureDocument.model_validate_json(output.read_bytes()).engine == "pyradiomics"


def test_precompile_says_when_the_engine_is_ready():
    assert "ready" in CliRunner().invoke(app, ["precompile"], catch_exceptions=False).output
