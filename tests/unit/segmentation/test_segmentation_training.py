"""Training goes on after an interruption, splits by patient, and is evaluated out of fold."""

import json

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import read_volume, same_grid
from oncoresponse.errors import ConfigurationError, TrainingDataInvalid
from oncoresponse.segmentation.network import NetworkSettings, load_networks, read_network_description
from oncoresponse.segmentation.preprocessing import PreprocessingSettings
from oncoresponse.segmentation.training import training
from oncoresponse.segmentation.training.augmentation import PatchSampler
from oncoresponse.segmentation.training.cohort import (
    assign_folds,
    cohort_patients,
    read_patient,
    read_training_patients,
)
from oncoresponse.segmentation.training.evaluation import evaluate_segmentation
from oncoresponse.segmentation.training.fingerprint import Fingerprint
from oncoresponse.segmentation.training.training_settings import SegmentationTrainingSettings, read_training_settings

pytestmark = pytest.mark.slow
SETTINGS = SegmentationTrainingSettings(
    held_out_patients=("PATIENT_00",),
    folds=2,
    network=NetworkSettings(blocks_down=(1, 1), deep_supervision_levels=2),
    patch_size=16,
    iterations=6,
    warmup_iterations=2,
    checkpoint_every=2,
    validate_every=3,
    precision="float32",
    device="cpu",
    threads=1,
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, write_cohort):
    return write_cohort(tmp_path_factory.mktemp("cohort"), 5)


@pytest.fixture(scope="module", autouse=True)
def restored_torch_settings():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)


@pytest.fixture(scope="module")
def trained(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    description = training.train_segmentation(SETTINGS, cohort, folder / "run", folder / "segmentation")
    return folder, description


class Killed(BaseException):
    pass


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(cohort, trained, tmp_path, monkeypatch):
    steps = 0
    step = training._step

    def killed_at_the_ninth(*arguments):
        nonlocal steps
        steps += 1
        if steps == 9:
            raise Killed
        return step(*arguments)

    monkeypatch.setattr(training, "_step", killed_at_the_ninth)
    with pytest.raises(Killed):
        training.train_segmentation(SETTINGS, cohort, tmp_path / "run", tmp_path / "segmentation")
    monkeypatch.setattr(training, "_step", step)
    resumed = training.train_segmentation(SETTINGS, cohort, tmp_path / "run", tmp_path / "segmentation")
    folder, description = trained
    assert resumed == description
    for fold in range(2):
        name = f"fold_{fold}.csv"
        assert (tmp_path / "run" / name).read_bytes() == (folder / "run" / name).read_bytes()


def test_a_run_killed_in_its_first_minute_goes_on(cohort, trained, tmp_path, monkeypatch):
    """A step may take a second, and a hundred steps to the first checkpoint are too many to lose."""
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    seldom = SETTINGS.model_copy(update={"checkpoint_every": 1000})
    steps = []
    step = training._step

    def killed_at_the_fourth(settings, fold, state, *arguments):
        steps.append(state.iteration)
        if len(steps) == 4:
            raise Killed
        return step(settings, fold, state, *arguments)

    monkeypatch.setattr(training, "_step", killed_at_the_fourth)
    with pytest.raises(Killed):
        training.train_segmentation(seldom, cohort, tmp_path / "run", tmp_path / "segmentation")
    resumed = training.train_segmentation(seldom, cohort, tmp_path / "run", tmp_path / "segmentation")
    assert steps == [0, 1, 2, 3, 3, 4, 5, 0, 1, 2, 3, 4, 5]
    assert [weights.sha256 for weights in resumed.weights] == [weights.sha256 for weights in trained[1].weights]


def test_a_run_folder_holds_what_the_run_was(trained):
    folder, description = trained
    run = folder / "run"
    decided = read_training_settings(run / "config.yaml")
    fingerprint = Fingerprint.model_validate_json((folder / "segmentation" / "fingerprint.json").read_bytes())
    assert dict(decided) == dict(SETTINGS.decided(fingerprint))
    assert fingerprint.patients == 4
    assert fingerprint.pet_spacing_mm.maximum == 5.0
    assert fingerprint.spacing_mm == 4.5  # edge of a cube of 5 x 5 x 4 mm
    log = pd.read_csv(run / "fold_1.csv")
    assert log["iteration"].tolist() == [1, 2, 3, 4, 5, 6]
    assert log["validation_dice"].notna().tolist() == [False, False, True, False, False, True]
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert read_network_description(folder / "segmentation") == description
    assert description.training.patient_count == 4
    assert description.field_of_view.largest_mm == (80.0, 75.0, 72.0)
    first, second = load_networks(folder / "segmentation", description)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_other_settings_need_another_run_folder(cohort, trained):
    folder, _ = trained
    other = SETTINGS.model_copy(update={"learning_rate": 0.5})
    with pytest.raises(ConfigurationError, match="other settings"):
        training.train_segmentation(other, cohort, folder / "run", folder / "segmentation")


def test_evaluation_writes_one_row_a_patient_and_volumes_on_the_pet_grid(cohort, trained):
    folder, _ = trained
    summary = evaluate_segmentation(cohort, folder / "run", folder / "segmentation", folder / "figure.png")
    table = pd.read_csv(folder / "segmentation" / "evaluation.csv")
    assert table["patient"].tolist() == [f"PATIENT_{number:02d}" for number in range(1, 5)]
    assert summary["network"]["none"]["mean_dice"] == pytest.approx(table["dice"].mean(), abs=1e-3)
    assert json.loads((folder / "segmentation" / "evaluation.json").read_text(encoding="utf-8")) == summary
    # A uniform sphere is what a threshold was made for.
    assert summary["thresholds_of_clinics"]["41_percent_of_suv_max"]["mean_dice"] == 1.0
    baseline = summary["image_free_baseline"]
    assert baseline["mean_dice"] > 0.3
    assert baseline["mean_dice"] == pytest.approx(table["dice_image_free_ellipsoid"].mean(), abs=1e-3)
    assert table["margin_mm_image_free_ellipsoid"].between(5, 60).all()
    description = read_network_description(folder / "segmentation")
    for kind in ("none", "point", "box"):
        shipped = getattr(description.masks, kind)
        assert shipped.review_below_confidence == summary["network"][kind]["review_below_confidence"]
        assert shipped.volume_interval is not None
        assert shipped.threshold == summary["network"][kind]["shipped_threshold"]
    mask = read_volume(folder / "run" / "out_of_fold" / "PATIENT_03.nrrd")
    assert mask.quantity is Quantity.MASK
    assert same_grid(mask.image, read_patient(cohort, "PATIENT_03").pet)
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_evaluation_refuses_a_cohort_it_does_not_know(trained, write_cohort, tmp_path):
    folder, _ = trained
    with pytest.raises(TrainingDataInvalid, match="not the cohort"):
        evaluate_segmentation(write_cohort(tmp_path, 4), folder / "run", folder / "segmentation")


def test_held_out_patients_are_not_read(cohort):
    assert "PATIENT_00" not in cohort_patients(cohort, ["PATIENT_00"])


def test_folds_split_patients_evenly_and_by_seed():
    patients = [f"P{number:02d}" for number in range(38)]
    folds = assign_folds(patients, 5, 1)
    assert sorted(np.bincount(list(folds.values()))) == [7, 7, 8, 8, 8]
    assert folds == assign_folds(patients, 5, 1)
    assert folds != assign_folds(patients, 5, 2)
    with pytest.raises(TrainingDataInvalid):
        assign_folds(patients[:3], 5, 1)


def test_incomplete_cohorts_are_refused(tmp_path, write_cohort):
    with pytest.raises(TrainingDataInvalid, match="no patient folders"):
        cohort_patients(tmp_path, [])
    write_cohort(tmp_path, 1)
    directory = tmp_path / "PATIENT_00"
    tumor = sitk.ReadImage(str(directory / "PET_tumor.nii.gz"))
    sitk.WriteImage(tumor * 0, str(directory / "PET_tumor.nii.gz"))
    with pytest.raises(TrainingDataInvalid, match="empty"):
        read_patient(tmp_path, "PATIENT_00")
    sitk.WriteImage(tumor[1:], str(directory / "PET_tumor.nii.gz"))
    with pytest.raises(TrainingDataInvalid, match="grid"):
        read_patient(tmp_path, "PATIENT_00")
    (directory / "CT.nii.gz").unlink()
    with pytest.raises(TrainingDataInvalid, match="CT"):
        cohort_patients(tmp_path, [])


def test_settings_files_are_strict(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("iterations: 7\n", encoding="utf-8")
    assert read_training_settings(path) == SegmentationTrainingSettings(iterations=7)
    for text in ("iteration: 7\n", "patch_size: 47\n", "folds: [", "folds: 1\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigurationError):
            read_training_settings(path)
    with pytest.raises(ConfigurationError):
        read_training_settings(tmp_path / "absent.yaml")


def test_patches_keep_image_and_tumor_together_and_follow_the_random_state(cohort):
    ((_, patient),) = read_training_patients(cohort, ["PATIENT_02"], PreprocessingSettings())
    plain = {"tumor_center_probability": 1.0, "physiological_uptake_probability": 0.0, "without_ct_probability": 0.0}
    sampler = PatchSampler(16, 4.0, SETTINGS.augmentation.model_copy(update=plain))
    for seed in range(6):
        image, tumor = sampler.sample(patient, np.random.default_rng(seed))
        again, _ = sampler.sample(patient, np.random.default_rng(seed))
        assert torch.equal(image, again)
        assert image.shape == (4, 16, 16, 16)
        assert tumor.shape == (1, 16, 16, 16)
        assert set(tumor.unique().tolist()) <= {0.0, 1.0}
        # The sphere is the hot part of the PET: a flip or rotation of one without the other would separate them.
        hot, cold = image[0][tumor[0] > 0], image[0][tumor[0] == 0]
        assert hot.numel() > 100
        assert hot.mean() > cold.mean() + 0.8


def test_prompts_lie_about_the_tumor_and_uptake_is_pasted_beside_it(cohort):
    ((_, patient),) = read_training_patients(cohort, ["PATIENT_02"], PreprocessingSettings())
    always = {"tumor_center_probability": 1.0, "trim_probability": 0.0, "box_error_mm": 0.0}
    for prompt, channel in (({"box_probability": 1.0, "point_probability": 0.0}, 2), ({"point_probability": 1.0}, 3)):
        settings = SETTINGS.augmentation.model_copy(update=always | {"box_probability": 0.0} | prompt)
        image, tumor = PatchSampler(16, 4.0, settings).sample(patient, np.random.default_rng(3))
        inside, said = tumor[0] > 0, image[channel] > 0
        assert said.any()
        if channel == 2:
            corners = [(positions.min(), positions.max()) for positions in torch.nonzero(inside, as_tuple=True)]
            assert corners == [(found.min(), found.max()) for found in torch.nonzero(said, as_tuple=True)]
        else:
            assert (said & inside).any()
            assert said.sum() <= 33  # voxels of a ball of radius 2
    pasted = SETTINGS.augmentation.model_copy(update=always | {"physiological_uptake_probability": 1.0})
    without = SETTINGS.augmentation.model_copy(update=always | {"physiological_uptake_probability": 0.0})
    hot = cold = 0.0
    for seed in range(5):
        image, tumor = PatchSampler(16, 4.0, pasted).sample(patient, np.random.default_rng(seed))
        plain, _ = PatchSampler(16, 4.0, without).sample(patient, np.random.default_rng(seed))
        assert torch.equal(image[0][tumor[0] > 0], plain[0][tumor[0] > 0])
        hot += float(image[0][tumor[0] == 0].sum())
        cold += float(plain[0][tumor[0] == 0].sum())
    assert hot > cold


def test_folds_trained_apart_are_put_together(cohort, trained, tmp_path):
    _, description = trained
    for fold in (1, 0):
        arguments = (SETTINGS, cohort, tmp_path / "run", tmp_path / "segmentation")
        assert training.train_segmentation(*arguments, only_folds=[fold]) is None
    assert training.train_segmentation(*arguments) == description
    with pytest.raises(ConfigurationError, match="no fold 2"):
        training.train_segmentation(*arguments, only_folds=[2])
