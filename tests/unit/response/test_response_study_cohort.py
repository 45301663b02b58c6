"""From a folder of DICOM studies to a feature table, on the two real sample patients."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from oncoresponse import study_cohort
from oncoresponse.errors import ModelFolderInvalid, TrainingDataInvalid
from oncoresponse.response.model_template import write_template
from oncoresponse.response.task import ResponseTask
from oncoresponse.study_cohort import measure_studies

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
