"""PET and CT in, mask out: positions, determinism, refusals, warnings."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume, require_same_grid
from oncoresponse.errors import (
    ConfigurationError,
    EmptyMask,
    FieldOfViewTooLarge,
    FrameOfReferenceMismatch,
    InvalidRequest,
    MaskTouchesBorder,
    OutOfMemory,
    TumorTooSmall,
)
from oncoresponse.model.definition import LesionLimits
from oncoresponse.segmentation.device import choose_device
from oncoresponse.segmentation.inference import Segmenter
from oncoresponse.segmentation.lesion_prompt import LesionBox, LesionPoint
from oncoresponse.segmentation.mask_selection import mask_from_probability
from oncoresponse.segmentation.metrics import dice
from oncoresponse.segmentation.network import InferenceSettings, NetworkSettings, build_network
from oncoresponse.segmentation.windowed_prediction import predict_probabilities, warm_up_shapes
from scipy.spatial.transform import Rotation

from .conftest import images_of

CENTER = (12.0, -20.0, 8.0)


def reference(draw_sphere, pet, center=CENTER, radius=25.0):
    return sitk.GetArrayFromImage(draw_sphere(pet.image, center, radius, 1, 0))


@pytest.mark.parametrize(
    ("angle", "flip", "spacing"),
    [
        ((0, 0, 0), (1, 1, 1), (4.7, 4.7, 3.27)),
        ((0, 0, 0), (1, 1, -1), (4.7, 4.7, 3.27)),
        ((25, -15, 30), (1, 1, 1), (3.9, 5.4, 3.27)),
        ((10, 20, -30), (-1, 1, -1), (5.47, 3.9, 2.5)),
    ],
)
def test_the_mask_lies_where_the_uptake_is(uptake_segmenter, pet_and_ct, grid_image, draw_sphere, angle, flip, spacing):
    matrix = Rotation.from_euler("xyz", angle, degrees=True).as_matrix() @ np.diag(flip)
    pet, ct = pet_and_ct(CENTER, pet_grid=grid_image((36, 34, 42), spacing, matrix))
    result = uptake_segmenter.segment(images_of(pet, ct))
    require_same_grid(result.mask, pet)
    require_same_grid(result.probability, pet)
    assert result.mask.quantity is Quantity.MASK
    assert result.mask.image.GetPixelID() == sitk.sitkUInt8
    assert result.probability.image.GetPixelID() == sitk.sitkFloat32
    assert dice(result.mask.array, reference(draw_sphere, pet)) > 0.93
    assert result.summary.volume_ml == pytest.approx(4 / 3 * np.pi * 2.5**3, rel=0.1)
    assert result.summary.volume_low_ml <= result.summary.volume_ml <= result.summary.volume_high_ml
    assert result.summary.warnings == ()


def test_the_same_study_gives_the_same_bytes(description, pet_and_ct):
    torch.manual_seed(3)
    networks = [build_network(description.network) for _ in range(2)]
    limits = LesionLimits(minimum_volume_ml=1e-6, maximum_volume_ml=1e6)
    array = np.random.default_rng(0).random((4, 20, 18, 22), dtype=np.float32)
    cpu = torch.device("cpu")
    arguments = (array, description.network, description.inference, cpu, description.patch_size)
    assert (
        predict_probabilities(networks, *arguments).tobytes() == predict_probabilities(networks, *arguments).tobytes()
    )
    segmenter = Segmenter(description, networks, limits, "0" * 64, cpu)
    segmenter.warm_up()


def test_the_same_uptake_gives_the_same_bytes(uptake_segmenter, pet_and_ct):
    first, second = (uptake_segmenter.segment(images_of(*pet_and_ct())) for _ in range(2))
    assert first.mask.array.tobytes() == second.mask.array.tobytes()
    assert first.probability.array.tobytes() == second.probability.array.tobytes()
    assert first.summary == second.summary


def test_sliding_windows_agree_with_one_window(description):
    class Local(torch.nn.Module):
        def forward(self, inputs):
            return inputs[:, :1] - 0.5 * inputs[:, 1:]

    array = np.random.default_rng(0).random((2, 40, 37, 50), dtype=np.float32)
    whole, windows = (
        predict_probabilities(
            [Local()],
            array,
            NetworkSettings(),
            InferenceSettings(largest_window=largest, sliding_window=24),
            torch.device("cpu"),
            16,
        )
        for largest in (96, 24)
    )
    assert whole.shape == (1, 40, 37, 50)
    np.testing.assert_allclose(windows, whole, atol=1e-5)


def test_a_small_field_of_view_is_padded_and_comes_back_in_place(description):
    class FirstChannel(torch.nn.Module):
        def forward(self, inputs):
            assert min(inputs.shape[2:]) >= 16
            return inputs[:, :1]

    array = np.random.default_rng(1).random((2, 5, 9, 13), dtype=np.float32)
    probability = predict_probabilities(
        [FirstChannel()], array, description.network, description.inference, torch.device("cpu"), 16
    )
    np.testing.assert_allclose(probability[0], 1 / (1 + np.exp(-array[0])), rtol=1e-5)


def test_no_uptake_is_an_empty_mask(uptake_segmenter, pet_and_ct):
    with pytest.raises(EmptyMask):
        uptake_segmenter.segment(images_of(*pet_and_ct(uptake=1.0)))


def test_a_tiny_tumor_is_refused(uptake_segmenter, pet_and_ct):
    with pytest.raises(TumorTooSmall):
        uptake_segmenter.segment(images_of(*pet_and_ct(radius=5.0, uptake=20.0)))


def test_a_tumor_mostly_beyond_the_scan_is_refused(uptake_segmenter, pet_and_ct):
    with pytest.raises(MaskTouchesBorder, match="edge of the images"):
        uptake_segmenter.segment(images_of(*pet_and_ct(center=(0.0, 0.0, 70.0))))


def test_a_tumor_that_reaches_the_edge_of_the_scan_is_a_lower_bound_with_a_wider_interval(uptake_segmenter, pet_and_ct):
    # The last slice center lies at 70.3 mm.
    inside, cut = (
        uptake_segmenter.segment(images_of(*pet_and_ct(center=(0.0, 0.0, height)))).summary for height in (0.0, 52.0)
    )
    assert not inside.volume_is_lower_bound
    assert inside.whole_volume_high_ml is None
    assert cut.volume_is_lower_bound
    assert 0 < cut.border_share < 0.2
    assert cut.volume_ml < inside.volume_ml
    # The network's own interval is as wide as before; what the border may have cut away comes on top of it.
    assert cut.volume_ml / cut.volume_low_ml == pytest.approx(inside.volume_ml / inside.volume_low_ml, rel=0.05)
    assert cut.whole_volume_high_ml / cut.volume_ml > 1.5 * inside.volume_high_ml / inside.volume_ml
    assert cut.asks_for_review
    assert "reaches the edge of the images" in cut.warnings[0]


def test_a_mask_cut_by_the_part_that_was_searched_is_a_lower_bound_too(uptake_segmenter, pet_and_ct, grid_image):
    """A tumor larger than all that is looked at around a prompt is not seen whole, though the scan goes on."""
    large = grid_image((40, 40, 130), (5.0, 5.0, 5.0))
    pet, ct = pet_and_ct(center=(0.0, 0.0, 0.0), radius=60.0, pet_grid=large, ct_grid=large)
    stretched = pet.image
    stretched.SetSpacing((5.0, 5.0, 12.0))
    stretched.SetOrigin((-97.5, -97.5, -774.0))
    ct.image.CopyInformation(stretched)
    middle = LesionBox((-5.0, -5.0, -5.0), (5.0, 5.0, 5.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uptake_segmenter, "_limits", LesionLimits(minimum_volume_ml=1.0, maximum_volume_ml=9000.0))
        summary = uptake_segmenter.segment(images_of(pet, ct), middle).summary
    assert summary.volume_is_lower_bound
    assert "the part of the scan that was searched" in summary.warnings[0]


def test_a_whole_body_scan_is_refused_with_advice(uptake_segmenter, pet_and_ct, grid_image):
    whole_body = grid_image((60, 60, 100), (5.5, 5.5, 8.0))
    with pytest.raises(FieldOfViewTooLarge, match="Give a point in the lesion") as caught:
        uptake_segmenter.segment(images_of(*pet_and_ct(pet_grid=whole_body)))
    assert caught.value.metadata["field_of_view_mm"] == "330 x 330 x 800 mm"


def test_the_field_of_view_is_measured_along_the_patient_not_the_array(description, uptake_segmenter, pet_and_ct):
    field = description.field_of_view.model_copy(update={"limit_mm": (300.0, 300.0, 100.0)})
    narrow = uptake_segmenter.description.model_copy(update={"field_of_view": field})
    uptake_segmenter.description = narrow
    with pytest.raises(FieldOfViewTooLarge):
        uptake_segmenter.segment(images_of(*pet_and_ct()))


def test_swapped_volumes_and_foreign_frames_are_refused(uptake_segmenter, pet_and_ct):
    pet, ct = pet_and_ct()
    with pytest.raises(InvalidRequest):
        uptake_segmenter.segment(images_of(ct, pet))
    with pytest.raises(FrameOfReferenceMismatch):
        uptake_segmenter.segment(images_of(pet, Volume(ct.image, ct.quantity, "1.2.3.9", "1.2")))


def test_uncertainty_and_missing_ct_are_said_in_the_summary(uptake_segmenter, pet_and_ct, grid_image):
    pet, ct = pet_and_ct(ct_grid=grid_image((110, 110, 40), (2.0, 2.0, 2.5), center=(0, 0, 10)))
    strict = uptake_segmenter.description.masks.none.model_copy(update={"review_below_confidence": 0.9999})
    masks = uptake_segmenter.description.masks.model_copy(update={"none": strict})
    uptake_segmenter.description = uptake_segmenter.description.model_copy(update={"masks": masks})
    summary = uptake_segmenter.segment(images_of(pet, ct)).summary
    assert summary.needs_review
    assert "CT covers" in summary.warnings[0]


def test_only_the_largest_part_stays_unless_another_one_is_meant():
    array = np.zeros((8, 9, 10), np.float32)
    array[1:4, 1:4, 1:4] = 0.9
    array[6:8, 6:8, 6:8] = 1.0
    image = sitk.GetImageFromArray(array)
    assert sitk.GetArrayViewFromImage(mask_from_probability(image, 0.5)).sum() == 27
    assert sitk.GetArrayViewFromImage(mask_from_probability(image, 0.5, LesionPoint((9.0, 8.0, 7.0)))).sum() == 8
    box = LesionBox((5.0, 5.0, 5.0), (9.0, 9.0, 9.0))
    assert sitk.GetArrayViewFromImage(mask_from_probability(image, 0.5, box)).sum() == 8


def test_a_gpu_out_of_memory_becomes_a_retryable_error(description):
    class Greedy(torch.nn.Module):
        def forward(self, inputs):
            raise torch.OutOfMemoryError("CUDA out of memory")

    array = np.zeros((2, 16, 16, 16), np.float32)
    with pytest.raises(OutOfMemory):
        predict_probabilities([Greedy()], array, description.network, description.inference, torch.device("cpu"), 16)


def test_warm_up_on_cuda_takes_one_window_and_several():
    settings = InferenceSettings(largest_window=64)
    one, several = warm_up_shapes(settings, 32, torch.device("cuda", 1))
    assert max(one) <= settings.largest_window < max(several)
    assert warm_up_shapes(settings, 32, torch.device("cpu")) == [one]


def test_compiled_networks_see_windows_of_one_size(description, pet_and_ct, monkeypatch):
    """Compiling takes minutes for each size of window, so there must be one; masks are those of uncompiled networks."""
    sizes = set()

    def compile_without_compiler(network, dynamic):
        assert dynamic is False

        def forward(inputs):
            sizes.add(tuple(inputs.shape))
            return network(inputs)

        return forward

    limits = LesionLimits(minimum_volume_ml=1.0, maximum_volume_ml=3000.0)
    plain = Segmenter(description, [UptakeNetwork()], limits, "0" * 64, torch.device("cpu"))
    monkeypatch.setattr(torch, "compile", compile_without_compiler)
    compiled = Segmenter(description, [UptakeNetwork()], limits, "0" * 64, torch.device("cpu"), torch_compile=True)
    compiled.warm_up()
    assert len(sizes) == 1
    masks = [segmenter.segment(images_of(*pet_and_ct())).mask.array for segmenter in (plain, compiled)]
    assert len(sizes) == 1
    assert dice(*masks) > 0.99


def test_machine_that_cannot_compile(description, monkeypatch):
    def no_compiler(_inputs):
        raise RuntimeError("InvalidCxxCompiler")

    monkeypatch.setattr(torch, "compile", lambda network, dynamic: no_compiler)
    limits = LesionLimits(minimum_volume_ml=1.0, maximum_volume_ml=3000.0)
    segmenter = Segmenter(description, [UptakeNetwork()], limits, "0" * 64, torch.device("cpu"), torch_compile=True)
    with pytest.raises(ConfigurationError, match="leave torch_compile off"):
        segmenter.warm_up()


class UptakeNetwork(torch.nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 8.0 * (inputs[:, :1] - float(np.log1p(3.0)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_is_asked_for_and_not_there():
    assert choose_device("auto").type == "cpu"
    with pytest.raises(ConfigurationError):
        choose_device("cuda")


@pytest.mark.parametrize("turned", [False, True])
def test_a_prompt_finds_its_lesion_in_a_whole_body_scan(
    uptake_segmenter, grid_image, draw_sphere, volume, pet_and_ct, turned
):
    matrix = Rotation.from_euler("xyz", (20, -10, 35), degrees=True).as_matrix() if turned else np.eye(3)
    whole_body = grid_image((70, 60, 110), (5.5, 5.5, 8.0), matrix)
    lesion, bladder = (40.0, -30.0, -250.0), (0.0, 20.0, 150.0)
    uptake = draw_sphere(whole_body, lesion, 22.0, 6.0, 0.4) + draw_sphere(whole_body, bladder, 40.0, 30.0, 0.0)
    _, ct = pet_and_ct(ct_grid=grid_image((100, 90, 130), (4.5, 4.5, 7.0), matrix))
    pet = volume(uptake, Quantity.SUV_BODY_WEIGHT)
    assert uptake_segmenter.needs_prompt(images_of(pet))
    truth = reference(draw_sphere, pet, lesion, 22.0)
    box = LesionBox(tuple(np.array(lesion) - 25), tuple(np.array(lesion) + 25))
    for prompt in (LesionPoint(lesion), box):
        result = uptake_segmenter.segment(images_of(pet, ct), prompt)
        require_same_grid(result.mask, pet)
        assert dice(result.mask.array, truth) > 0.9
        assert result.summary.prompt == ("point" if isinstance(prompt, LesionPoint) else "box")
    with pytest.raises(InvalidRequest, match="outside the image"):
        uptake_segmenter.segment(images_of(pet, ct), LesionPoint((0.0, 0.0, 5000.0)))


def test_the_region_grows_until_it_holds_the_lesion(uptake_segmenter, pet_and_ct, grid_image, draw_sphere):
    whole_body = grid_image((80, 80, 100), (5.5, 5.5, 6.0))
    ct_grid = grid_image((110, 110, 110), (5.0, 5.0, 6.0))
    pet, ct = pet_and_ct((0.0, 0.0, 0.0), radius=85.0, pet_grid=whole_body, ct_grid=ct_grid)
    # The box is 40 mm wide; its surroundings end at 70 mm, inside the lesion.
    result = uptake_segmenter.segment(images_of(pet, ct), LesionBox((-20.0, -20.0, -20.0), (20.0, 20.0, 20.0)))
    assert dice(result.mask.array, reference(draw_sphere, pet, (0.0, 0.0, 0.0), 85.0)) > 0.95


def test_candidates_are_ranked_and_lie_where_the_uptake_is(
    uptake_segmenter, grid_image, draw_sphere, volume, pet_and_ct
):
    whole_body = grid_image((70, 60, 110), (5.5, 5.5, 8.0))
    faint, hot = (40.0, -30.0, -250.0), (0.0, 20.0, 150.0)
    uptake = draw_sphere(whole_body, faint, 30.0, 4.0, 0.4) + draw_sphere(whole_body, hot, 40.0, 30.0, 0.0)
    _, ct = pet_and_ct(ct_grid=grid_image((100, 90, 130), (4.5, 4.5, 7.0)))
    candidates = uptake_segmenter.find_candidates(images_of(volume(uptake, Quantity.SUV_BODY_WEIGHT), ct))
    assert [item.number for item in candidates] == [1, 2]
    assert candidates[0].confidence > candidates[1].confidence
    for item, center in zip(candidates, (hot, faint), strict=True):
        assert all(low < at < high for low, at, high in zip(item.low_mm, center, item.high_mm, strict=True))
    assert candidates[0].suv_max == pytest.approx(30.4, abs=0.1)
    assert candidates[1].volume_ml == pytest.approx(4 / 3 * np.pi * 27, rel=0.15)


def test_variants_have_the_volumes_of_the_interval(uptake_segmenter, pet_and_ct):
    result = uptake_segmenter.segment(images_of(*pet_and_ct()))
    voxel_ml = np.prod(result.mask.image.GetSpacing()) / 1000
    assert set(result.variants) == {"smaller", "larger", "network_1", "network_2"}
    assert result.summary.volume_level == 0.8
    for name, wanted in (("smaller", result.summary.volume_low_ml), ("larger", result.summary.volume_high_ml)):
        variant = result.variants[name]
        require_same_grid(variant, result.mask)
        assert variant.array.sum() * voxel_ml == pytest.approx(wanted, abs=voxel_ml)
    assert np.all(result.variants["smaller"].array <= result.mask.array)
    assert np.all(result.variants["larger"].array >= result.mask.array)
