"""Fields that say nothing about the tumor, the simulated user, and a run that is interrupted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from oncoresponse.segmentation.hand_channels import BOX, CHANNELS, EARLIER, INSIDE, OUTLINED, OUTLINES, OUTSIDE
from oncoresponse.segmentation.training.field_sampler import FieldPatient, FieldSampler, FieldSettings, random_faces
from oncoresponse.segmentation.training.honest_fields import random_field
from oncoresponse.segmentation.training.interactive_cohort import read_field_patients, write_field_patients
from oncoresponse.segmentation.training.interactive_evaluation import largest_error_click, middle_slices
from oncoresponse.segmentation.training.interactive_training import (
    InteractiveTrainingSettings,
    interactive_loss,
    train_interactive_fold,
)
from oncoresponse.segmentation.training.simulated_user import SimulatedUser, UserSettings

CPU = torch.device("cpu")
PLAIN = FieldSettings(
    patch_size=24,
    affine_probability=0,
    elastic_probability=0,
    intensity_probability=0,
    gamma_probability=0,
    noise_probability=0,
    smooth_probability=0,
    uptake_probability=0,
    without_ct_probability=0,
)


def patient(name: str, shape: tuple[int, int, int], center: tuple[int, int, int], value: float) -> FieldPatient:
    """A ball of four voxels; PET and CT hold a value by which the patient is known."""
    axes = np.ogrid[tuple(slice(count) for count in shape)]
    tumor = (sum((axis - at) ** 2 for axis, at in zip(axes, center, strict=True)) <= 16).astype(np.float32)
    return FieldPatient(name, np.full((2, *shape), value, dtype=np.float32), tumor)


@pytest.fixture
def patients() -> list[FieldPatient]:
    return [
        patient("A", (30, 24, 26), (15, 12, 10), 1.0),
        patient("B", (22, 28, 24), (11, 14, 12), 2.0),
        patient("C", (26, 26, 32), (12, 12, 20), 3.0),
    ]


def test_faces_move_both_ways_and_never_beyond_what_the_other_patient_gives():
    random = np.random.default_rng(3)
    size, margins = np.array([40, 40, 40]), np.array([[3, 8], [8, 3], [8, 8]])
    faces = np.array([np.stack(random_faces(size, margins, 8.0, random)) for _ in range(300)])
    low, high = faces[:, 0], faces[:, 1]
    assert (low >= -margins[:, 0]).all() and (high <= size + margins[:, 1]).all()
    assert low.min() == -8 and low.max() == 8
    assert high.min() == 32 and high.max() == 48
    assert abs(np.median(low[:, 2])) <= 1, "as often inwards as outwards"


def test_a_field_is_filled_with_the_other_patients_margin_and_never_with_their_tumor(patients):
    random = np.random.default_rng(4)
    for _ in range(40):
        images, tumor = random_field(patients[0], patients[1], 6.0, random)
        assert set(np.unique(images)) <= {1.0, 2.0}
        assert (images[0][tumor > 0] == 1.0).all()
        assert tumor.sum() <= patients[0].tumor.sum()
        own = np.argwhere(images[0] == 1.0)
        assert (own.max(axis=0) - own.min(axis=0) < patients[0].tumor.shape).all()


def test_patches_have_the_tumor_where_the_patient_has_it(patients):
    sampler = FieldSampler(patients, PLAIN, CPU)
    images, tumor, inside = sampler.sample(16, np.random.default_rng(2))
    assert images.shape == (16, 2, 24, 24, 24) and tumor.shape == inside.shape == (16, 1, 24, 24, 24)
    assert not images[~inside.expand_as(images)].any(), "nothing outside the field"
    whole = tumor.sum(dim=(1, 2, 3, 4))
    assert float(whole.max()) == pytest.approx(float(patients[0].tumor.sum()), rel=0.02)
    assert float(tumor[images[:, :1] == 0].sum()) == 0
    again = FieldSampler(patients, PLAIN, CPU).sample(16, np.random.default_rng(2))
    assert torch.equal(images, again[0]) and torch.equal(tumor, again[1])


def test_varied_patches_stay_numbers(patients):
    varied = FieldSettings(patch_size=24)
    images, tumor, _ = FieldSampler(patients, varied, CPU).sample(8, np.random.default_rng(9))
    assert bool(torch.isfinite(images).all())
    assert float(tumor.min()) >= 0 and float(tumor.max()) == pytest.approx(1)


def one_tumor() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    tumor = torch.zeros((1, 1, 20, 20, 20))
    tumor[..., 6:14, 5:13, 8:15] = 1
    return torch.rand((1, 2, 20, 20, 20)), tumor, torch.ones_like(tumor, dtype=torch.bool)


def test_a_click_goes_to_the_middle_of_what_is_missing_and_of_what_is_too_much():
    settings = UserSettings(0, 0, 0, 0, careless_probability=0)
    user = SimulatedUser(*one_tumor(), settings, np.random.default_rng(1))
    assert not user.channels[:, BOX:].any(), "nothing was said"
    missing = one_tumor()[1].clone()
    missing[..., 6:14, 5:13, 8:15] = 0
    user.click(missing)
    assert user.channels[0, INSIDE, 9:11, 8:10, 11].max() == 1
    assert not user.channels[:, OUTSIDE].any()
    too_much = one_tumor()[1].clone()
    too_much[..., 15:20, 15:20, 0:5] = 1
    user.click(too_much)
    assert user.channels[0, OUTSIDE, 17, 17, 2] == 1
    assert torch.equal(user.channels[:, EARLIER], too_much[:, 0])


def test_a_careless_click_is_still_in_the_error():
    settings = UserSettings(0, 0, 0, 0, careless_probability=1)
    for seed in range(10):
        user = SimulatedUser(*one_tumor(), settings, np.random.default_rng(seed))
        user.click(torch.zeros((1, 1, 20, 20, 20)))
        place = np.unravel_index(int(user.channels[0, INSIDE].argmax()), (20, 20, 20))
        assert one_tumor()[1][0, 0][place] == 1


def test_a_right_contour_is_not_clicked():
    user = SimulatedUser(*one_tumor(), UserSettings(0, 0, 0, 0), np.random.default_rng(1))
    user.click(one_tumor()[1])
    assert not user.channels[:, INSIDE].any() and not user.channels[:, OUTSIDE].any()


def test_a_box_is_off_by_no_more_than_is_said():
    for seed in range(20):
        settings = UserSettings(1, 0, 0, 0, box_error_voxels=2)
        box = SimulatedUser(*one_tumor(), settings, np.random.default_rng(seed)).channels[0, BOX]
        found = np.argwhere(box.numpy())
        assert (np.abs(found.min(axis=0) - [6, 5, 8]) <= 2).all()
        assert (np.abs(found.max(axis=0) - [13, 12, 14]) <= 2).all()


def test_outlined_slices_are_the_tumors_own():
    for seed in range(10):
        settings = UserSettings(0, 0, 1, 0)
        channels = SimulatedUser(*one_tumor(), settings, np.random.default_rng(seed)).channels[0]
        planes = np.flatnonzero((channels[OUTLINED] == 1).all(dim=(1, 2)))
        assert planes.size and planes.min() >= 6 and planes.max() <= 13
        for plane in planes:
            assert torch.equal(channels[OUTLINES, plane] > 0, one_tumor()[1][0, 0, plane] > 0)


def test_the_loss_is_smallest_for_the_truth():
    tumor = one_tumor()[1]
    levels = [torch.where(tumor > 0, 9.0, -9.0), torch.where(tumor[..., ::2, ::2, ::2] > 0, 9.0, -9.0)]
    right = interactive_loss(levels[:1], tumor)
    assert float(right) < 0.01
    assert float(interactive_loss([-levels[0]], tumor)) > 1
    assert float(interactive_loss(levels, tumor)) > float(right), "coarse levels count too"


def test_an_interrupted_run_gives_the_weights_of_an_uninterrupted_one(patients, tmp_path):
    settings = InteractiveTrainingSettings(
        iterations=3, batch_size=2, initial_filters=2, warmup_iterations=1, fields=replace(PLAIN, patch_size=16)
    )
    told: list[int] = []
    whole = train_interactive_fold(patients, 0, settings, CPU, tmp_path / "whole.pt", lambda step, _: told.append(step))
    assert told == [3]
    # The learning rate follows the length of the run, so that the first part is one of the same settings.
    stopped = tmp_path / "parts.pt"

    def stop(step: int, _: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_interactive_fold(patients, 0, settings, CPU, stopped, stop)
    again = train_interactive_fold(patients, 0, settings, CPU, stopped, lambda *_: None)
    for one, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_cohort_file_gives_back_what_was_written(patients, tmp_path):
    path = tmp_path / "cohort.npz"
    write_field_patients(patients, {"A": 0, "B": 1, "C": 0}, path)
    again, folds = read_field_patients(path)
    assert folds == {"A": 0, "B": 1, "C": 0}
    for one, other in zip(patients, again, strict=True):
        assert one.patient == other.patient
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.tumor, other.tumor)


def test_the_robot_clicks_in_the_largest_part_of_the_error():
    truth = np.zeros((20, 20, 20), dtype=bool)
    truth[2:9, 2:9, 2:9] = True
    mask = truth.copy()
    mask[3:8, 3:8, 3:8] = False
    mask[15:18, 15:18, 15:18] = True
    assert largest_error_click(mask, truth, (1.0, 1.0, 1.0)) == ((5, 5, 5), True, 3.0)
    mask[2:9, 2:9, 2:9] = True
    place, is_tumor, _ = largest_error_click(mask, truth, (1.0, 1.0, 1.0)) or ((0, 0, 0), True, 0.0)
    assert (place, is_tumor) == ((16, 16, 16), False)
    assert largest_error_click(truth, truth, (1.0, 1.0, 1.0)) is None


def test_slices_to_outline_are_the_middles_of_equal_parts():
    truth = np.zeros((40, 4, 4), dtype=bool)
    truth[10:31] = True
    assert middle_slices(truth, 3) == [13, 20, 27]
    assert middle_slices(truth, 5) == [12, 16, 20, 24, 28]
    truth[20] = False
    assert middle_slices(truth, 3) == [13, 27], "a slice without tumor is not outlined"


def test_channels_are_as_many_as_the_network_reads(patients):
    images, tumor, inside = FieldSampler(patients, PLAIN, CPU).sample(1, np.random.default_rng(0))
    assert SimulatedUser(images, tumor, inside, UserSettings(), np.random.default_rng(0)).channels.shape[1] == CHANNELS
