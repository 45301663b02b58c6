"""From a folder of DICOM studies to a feature table, on the two real sample patients."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import yaml
from oncoradiomics.settings import Settings
from oncoresponse.cohort import studies as study_cohort
from oncoresponse.cohort.studies import measure_studies
from oncoresponse.errors import ModelFolderInvalid, QuantityMismatch, TrainingDataInvalid
from oncoresponse.model.template import write_template
from oncoresponse.response.input_provenance import read_provenance
from oncoresponse.response.task import ResponseTask
from pydicom.uid import generate_uid

pytestmark = pytest.mark.slow

Write = Callable[..., object]
MakeTask = Callable[..., ResponseTask]

# Measured on the NIfTI files that the Image Biomarker Standardisation Initiative made of the same series and contours.
EXPECTED = {"STS_019": (17.2, 16.3), "STS_032": (111.0, 15.9)}


@pytest.fixture
def model(tmp_path: Path, examples: Path) -> Path:
    folder = tmp_path / "sts-petct"
    write_template(folder)
    shutil.copyfile(examples.parent / "models" / "sts-petct" / "model.yaml", folder / "model.yaml")
    return folder


@pytest.fixture
def clinical(tmp_path: Path) -> Path:
    path = tmp_path / "clinical.csv"
    path.write_text("patient_id,age,first_failure\nSTS_019,40,\nSTS_032,50,Mets\nNOBODY,17,\nHELD,60,\n")
    return path


def _task(make_task: MakeTask) -> ResponseTask:
    return make_task(
        exclusions=[{"column": "age", "when": "below", "value": 18, "reason": "Minor"}], held_out_patients=["HELD"]
    )


def test_a_folder_of_studies_becomes_the_table_of_its_tumors(
    model: Path,
    clinical: Path,
    examples: Path,
    make_task: MakeTask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[float] = []
    run = tmp_path / "run"
    measured = measure_studies(
        examples, clinical, _task(make_task), model, run, progress=lambda _, share: seen.append(share)
    )
    assert measured.refused == {}
    declared = read_provenance(measured.table, TrainingDataInvalid).extraction
    assert declared.image_quantity == "g/mL{SUVbw}"
    assert declared.settings_sha256 == Settings.from_yaml(model / "radiomics" / "settings.yaml").sha256
    assert seen == [0.5, 1.0]
    with measured.table.open(newline="") as stream:
        rows = {row["patient_id"]: row for row in csv.DictReader(stream)}
    assert set(rows) == set(EXPECTED), "who is held out or excluded is not measured"
    for patient, (volume, uptake) in EXPECTED.items():
        assert float(rows[patient]["lesion_volume"]) == pytest.approx(volume, rel=0.02)
        assert float(rows[patient]["suv_max"]) == pytest.approx(uptake, rel=0.02)
    # A run that was stopped goes on: nothing is measured twice.
    monkeypatch.setattr(study_cohort, "_measure", lambda *_: pytest.fail("measured again"))
    first = measured.table.read_bytes()
    assert measure_studies(examples, clinical, _task(make_task), model, run).table.read_bytes() == first


def test_a_study_that_cannot_be_measured_is_named_with_its_reason_and_there_is_no_table(
    model: Path, examples: Path, make_task: MakeTask, tmp_path: Path
) -> None:
    studies, clinical = tmp_path / "studies", tmp_path / "clinical.csv"
    (studies / "EMPTY").mkdir(parents=True)
    clinical.write_text("patient_id,age,first_failure\nEMPTY,40,\n")
    measured = measure_studies(studies, clinical, _task(make_task), model, tmp_path / "run")
    assert list(measured.refused) == ["EMPTY"]
    assert measured.refused["EMPTY"].startswith("NO_IMAGES")
    assert not measured.table.exists()
    with pytest.raises(TrainingDataInvalid, match="1 patients of the clinical table have no folder"):
        measure_studies(examples / "STS_019", clinical, _task(make_task), model, tmp_path / "run")


def test_what_is_said_of_a_contour_reaches_the_trainer_and_an_automatic_one_is_no_truth(
    model: Path, examples: Path, make_task: MakeTask, tmp_path: Path
) -> None:
    studies, clinical = tmp_path / "studies", tmp_path / "clinical.csv"
    clinical.write_text("patient_id,age,first_failure\nMACHINE,40,\nSTS_019,40,\n")
    for name in ("MACHINE", "STS_019"):
        shutil.copytree(examples / "STS_019" / "PET", studies / name)
        path = studies / name / "RTSTRUCT.dcm"
        dataset = pydicom.dcmread(path)
        if name == "MACHINE":
            dataset.StructureSetROISequence[0].ROIGenerationAlgorithm = "AUTOMATIC"
        else:
            contours = dataset.ROIContourSequence[0].ContourSequence
            contours.append(contours[3])
        dataset.save_as(path)
    measured = measure_studies(studies, clinical, _task(make_task), model, tmp_path / "run")
    assert measured.refused["MACHINE"].startswith("AUTOMATIC_CONTOUR")
    assert "1 contour stored more than once" in measured.warnings["STS_019"][0]
    # Of a patient that is kept from an earlier run, too.
    again = measure_studies(studies, clinical, _task(make_task), model, tmp_path / "run")
    assert again.warnings == measured.warnings


def test_a_model_without_radiomics_settings_measures_nothing(
    model: Path, clinical: Path, examples: Path, make_task: MakeTask, tmp_path: Path
) -> None:
    (model / "radiomics" / "settings.yaml").unlink()
    with pytest.raises(ModelFolderInvalid, match=r"radiomics/settings\.yaml"):
        measure_studies(examples, clinical, _task(make_task), model, tmp_path / "run")


def _measured_on_ct(model: Path) -> None:
    definition = yaml.safe_load((model / "model.yaml").read_text())
    definition |= {"segment_on": "CT", "features_from": "CT", "show": ["CT"]}
    (model / "model.yaml").write_text(yaml.safe_dump(definition))
    settings = (model / "radiomics" / "settings.yaml").read_text()
    (model / "radiomics" / "settings.yaml").write_text(settings.replace("binWidth: 0.25", "binWidth: 25"))


def test_a_task_on_ct_is_measured_in_hounsfield_units_and_has_no_suv(
    model: Path, examples: Path, make_task: MakeTask, tmp_path: Path
) -> None:
    _measured_on_ct(model)
    clinical = tmp_path / "one.csv"
    clinical.write_text("patient_id,age,first_failure\nSTS_019,40,\n")
    measured = measure_studies(examples, clinical, _task(make_task), model, tmp_path / "run")
    assert measured.refused == {}
    with measured.table.open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert 0 < float(row["mean_density"]) < 100, "soft tissue"
    assert not [name for name in row if "suv" in name or "metabolic" in name or "glycolysis" in name]
    assert read_provenance(measured.table, TrainingDataInvalid).extraction.image_quantity == "HU"


def test_a_task_that_asks_for_suv_of_ct_is_refused_before_anything_is_measured(
    model: Path, clinical: Path, examples: Path, make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _measured_on_ct(model)
    monkeypatch.setattr(study_cohort, "_measure", lambda *_: pytest.fail("measured"))
    uptake = {"name": "suv_max", "title": "SUVmax", "unit": "g/mL", "minimum": 0.1, "maximum": 100.0}
    fields = make_task(inputs=1, baseline_inputs=["m0"]).model_dump(mode="json")
    task = ResponseTask.model_validate(fields | {"inputs": [uptake], "baseline_inputs": ["suv_max"]})
    with pytest.raises(QuantityMismatch, match="'suv_max' does not exist for images in HU"):
        measure_studies(examples, clinical, task, model, tmp_path / "run")


def test_a_column_of_the_clinical_table_names_the_series_of_a_study_with_two(
    model: Path, examples: Path, make_task: MakeTask, tmp_path: Path
) -> None:
    studies = tmp_path / "studies"
    shutil.copytree(examples / "STS_019" / "PET", studies / "STS_019")
    second = generate_uid(entropy_srcs=["second reconstruction"])
    for number, path in enumerate(sorted(studies.rglob("*.dcm"))):
        dataset = pydicom.dcmread(path)
        if dataset.Modality == "PT":
            first = str(dataset.SeriesInstanceUID)
            dataset.SeriesInstanceUID = second
            dataset.SOPInstanceUID = generate_uid(entropy_srcs=["second", str(number)])
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.save_as(path.with_name(f"second-{number}.dcm"))
    clinical = tmp_path / "clinical.csv"
    for column, reason in (("", "AMBIGUOUS_SERIES"), (first, None), ("1.2.3", "REQUIRED_SERIES_MISSING")):
        clinical.write_text(f"patient_id,age,first_failure,series_instance_uid\nSTS_019,40,,{column}\n")
        measured = measure_studies(studies, clinical, _task(make_task), model, tmp_path / "run")
        assert [text.split(":")[0] for text in measured.refused.values()] == ([reason] if reason else [])


def test_a_contour_that_reaches_the_border_is_measured_and_told(
    model: Path, make_task: MakeTask, write_series: Write, write_contour: Write, tmp_path: Path
) -> None:
    studies, clinical = tmp_path / "studies", tmp_path / "clinical.csv"
    random = np.random.default_rng(1)
    for name, radius in (("CUT", 26.0), ("WHOLE", 15.0)):
        (studies / name).mkdir(parents=True)
        series = write_series(
            modality="PT",
            unit="GML",
            stored=random.integers(100, 900, (12, 16, 16)),
            spacing_mm=(4.0, 4.0, 4.0),
            patient_id=name,
            study=name,
            frame_of_reference=name,
            attributes={"RescaleSlope": "0.01", "SUVType": "BW"},
            directory=studies / name,
        )
        write_contour(series, radius, studies / name / "contour.dcm")
    clinical.write_text("patient_id,age,first_failure\nCUT,40,\nWHOLE,40,\n")
    measured = measure_studies(studies, clinical, _task(make_task), model, tmp_path / "run")
    assert measured.refused == {}
    assert list(measured.cut) == ["CUT"]
    assert 0 < measured.cut["CUT"] < 0.2
    # What is kept of a stopped run says it too.
    assert measure_studies(studies, clinical, _task(make_task), model, tmp_path / "run").cut == measured.cut


@pytest.mark.parametrize(("same", "source"), [(True, "features"), (False, "features"), (True, "clinical")])
def test_an_input_that_is_measured_under_another_name_is_so_in_training_too(
    examples: Path, make_task: MakeTask, tmp_path: Path, same: bool, source: str
) -> None:
    model = tmp_path / "breast-nac"
    shutil.copytree(examples.parent / "models" / "breast-nac", model)
    definition = yaml.safe_load((model / "model.yaml").read_text())
    for item in definition["measured_inputs"]:
        item["same_definition"] = same
    (model / "model.yaml").write_text(yaml.safe_dump(definition))
    clinical = tmp_path / "one.csv"
    clinical.write_text("patient_id,age,first_failure\nBREAST_DCE,47,\n")
    names = ("tumor_volume_ml", "tumor_slice_extent_mm")
    inputs = [
        {"name": name, "title": name, "unit": "1", "source": source, "minimum": 0.1, "maximum": 1000.0}
        for name in names
    ]
    fields = make_task(inputs=1, baseline_inputs=["m0"]).model_dump(mode="json")
    task = ResponseTask.model_validate(fields | {"inputs": inputs, "baseline_inputs": [names[0]]})
    if not same or source == "clinical":
        with pytest.raises(TrainingDataInvalid, match="not the same quantity" if not same else "source: features"):
            measure_studies(examples, clinical, task, model, tmp_path / "run")
        return
    measured = measure_studies(examples, clinical, task, model, tmp_path / "run")
    assert measured.refused == {}
    with measured.table.open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["tumor_volume_ml"] == row["lesion_volume"]
    assert float(row["tumor_slice_extent_mm"]) == pytest.approx(26.4)
