"""A dry run of the segmentation lists what is wrong with every patient folder."""

import shutil

import pytest
import SimpleITK as sitk
import yaml
from oncoresponse.cli.main import app
from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.segmentation.training.cohort import read_patient
from oncoresponse.segmentation.training.dry_run import check_segmentation_training
from oncoresponse.segmentation.training.training_settings import SegmentationTrainingSettings
from typer.testing import CliRunner

SETTINGS = SegmentationTrainingSettings(held_out_patients=("PATIENT_00",), folds=2)


@pytest.fixture
def cohort(tmp_path, write_cohort):
    return write_cohort(tmp_path / "cohort", 7)


def change(path, alter):
    image = sitk.ReadImage(str(path))
    sitk.WriteImage(alter(image), str(path))


def moved(image):
    image.SetOrigin((900.0, 0.0, 0.0))
    return image


def test_a_cohort_that_can_be_trained_on_has_no_fault(cohort):
    assert check_segmentation_training(SETTINGS, cohort) == (6, [])


def test_every_folder_with_a_fault_is_listed(cohort):
    shutil.rmtree(cohort / "PATIENT_00")
    (cohort / "PATIENT_01" / "CT.nii.gz").unlink()
    (cohort / "PATIENT_02" / "PET_tumor.nii.gz").write_bytes(b"no image")
    change(cohort / "PATIENT_03" / "PET_tumor.nii.gz", lambda image: image * 0)
    change(cohort / "PATIENT_04" / "PET.nii.gz", lambda image: image * 4000.0)
    change(cohort / "PATIENT_05" / "CT.nii.gz", moved)
    change(cohort / "PATIENT_06" / "PET_tumor.nii.gz", lambda image: sitk.Shrink(image, [2, 1, 1]))
    patients, faults = check_segmentation_training(SETTINGS.model_copy(update={"folds": 9}), cohort)
    assert patients == 6
    expected = (
        "PATIENT_01: lacks CT.nii.gz.",
        "PATIENT_02: PET_tumor.nii.gz cannot be read.",
        "PATIENT_03: PET_tumor.nii.gz is empty.",
        "PATIENT_04: PET.nii.gz: the highest value is 2.4e+04, which is no SUV in g/mL.",
        "PATIENT_05: PET.nii.gz and CT.nii.gz do not overlap",
        "PATIENT_06: PET_tumor.nii.gz is not on the grid of PET.nii.gz.",
        "6 patients cannot be split into 9 folds.",
    )
    assert len(faults) == len(expected), faults
    for fault, beginning in zip(faults, expected, strict=True):
        assert fault.startswith(beginning)


def test_the_command_lists_them_and_trains_nothing(cohort, tmp_path):
    (tmp_path / "short.yaml").write_text(yaml.safe_dump({"held_out_patients": ["PATIENT_00"], "folds": 2}))
    arguments = ["train", "segmentation", "--dry-run", "--data", str(cohort), "--config", str(tmp_path / "short.yaml")]
    arguments += ["--model", str(tmp_path / "model"), "--run", str(tmp_path / "run")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == ["6 patients.", "No fault found. Nothing was trained."]
    change(cohort / "PATIENT_03" / "PET_tumor.nii.gz", lambda image: image * 0)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "1 fault. Nothing was trained." in done.stdout
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "model").exists()


def test_an_empty_folder_is_a_fault(tmp_path):
    assert check_segmentation_training(SETTINGS, tmp_path)[1] == ["The data folder holds no patient folders."]


def test_an_image_that_breaks_off_is_a_fault_and_is_not_trained_on(cohort):
    for patient, name in (
        ("PATIENT_01", "PET.nii.gz"),
        ("PATIENT_02", "CT.nii.gz"),
        ("PATIENT_03", "PET_tumor.nii.gz"),
    ):
        path = cohort / patient / name
        path.write_bytes(path.read_bytes()[:-9])
    assert check_segmentation_training(SETTINGS, cohort)[1] == [
        "PATIENT_01: PET.nii.gz cannot be read to its end. Export it again.",
        "PATIENT_02: CT.nii.gz cannot be read to its end. Export it again.",
        "PATIENT_03: PET_tumor.nii.gz cannot be read to its end. Export it again.",
    ]
    with pytest.raises(TrainingDataInvalid, match=r"CT\.nii\.gz cannot be read to its end"):
        read_patient(cohort, "PATIENT_02")
