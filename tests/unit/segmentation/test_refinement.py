"""The shipped interactive networks on a sample study that no training saw: a hand is followed, and heard."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.study import convert_study, read_contour, read_study
from oncoresponse.errors import (
    FrameOfReferenceMismatch,
    GeometryMismatch,
    InvalidRequest,
    ModelFolderInvalid,
    ModelHashMismatch,
    SeriesNotFound,
)
from oncoresponse.model.definition import ImageInput
from oncoresponse.segmentation.input_images import InputImages
from oncoresponse.segmentation.lesion_prompt import LesionBox, box_of_mask
from oncoresponse.segmentation.metrics import dice
from oncoresponse.segmentation.refinement import HandInput, OutlinedSlice, Refiner
from oncoresponse.segmentation.training.interactive_evaluation import largest_error_click, middle_slices

REPOSITORY = Path(__file__).parents[3]
REFINEMENT = REPOSITORY / "models" / "sts-petct" / "refinement"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def refiner() -> Refiner:
    return Refiner.open(REFINEMENT, CPU)


@pytest.fixture(scope="module")
def sample() -> tuple[InputImages, np.ndarray]:
    """PET and CT of STS_032, and the physician's contour, axes (k, j, i)."""
    study = read_study(REPOSITORY / "examples" / "STS_032")
    volumes = convert_study(study, ImageInput.any_of("PT", "CT")).volumes
    physician = read_contour(study, ContourRequest(), volumes["PT"]).mask
    return InputImages(volumes, "PT"), np.asarray(physician.array) > 0


def box_of(images: InputImages, truth: np.ndarray) -> LesionBox:
    mask = sitk.GetImageFromArray(truth.astype(np.uint8))
    mask.CopyInformation(images.contoured.image)
    return box_of_mask(mask)


def test_five_clicks_bring_the_contour_to_the_physicians(refiner, sample):
    images, truth = sample
    pet = images.contoured.image
    hand = HandInput(box=box_of(images, truth))
    contour = refiner.refine(images, hand)
    inside, outside = [], []
    found = [dice(contour.mask.array, truth)]
    for _ in range(5):
        click = largest_error_click(np.asarray(contour.mask.array) > 0, truth, pet.GetSpacing()[::-1])
        assert click is not None
        place, is_tumor, _ = click
        (inside if is_tumor else outside).append(pet.TransformIndexToPhysicalPoint(place[::-1]))
        contour = refiner.refine(
            images, HandInput(tuple(inside), tuple(outside), hand.box, earlier=contour.probability)
        )
        found.append(dice(contour.mask.array, truth))
        # A click is heard, whatever the network thinks.
        assert (np.asarray(contour.mask.array) > 0)[place] == is_tumor
    assert found[0] > 0.8
    assert found[5] > found[0]
    assert found[5] > 0.88


def test_outlined_slices_stay_and_the_rest_follows(refiner, sample):
    images, truth = sample
    outlines = tuple(OutlinedSlice(index, truth[index]) for index in middle_slices(truth, 5))
    contour = np.asarray(refiner.refine(images, HandInput(outlines=outlines)).mask.array) > 0
    for outline in outlines:
        np.testing.assert_array_equal(contour[outline.index], outline.inside)
    assert dice(contour, truth) > 0.92


def test_a_slice_outlined_as_empty_stays_empty(refiner, sample):
    images, truth = sample
    last = int(np.flatnonzero(truth.any(axis=(1, 2)))[-1])
    outlines = (OutlinedSlice(last - 6, truth[last - 6]), OutlinedSlice(last - 2, np.zeros(truth.shape[1:], bool)))
    contour = np.asarray(refiner.refine(images, HandInput(outlines=outlines)).mask.array) > 0
    assert contour.any() and not contour[last - 2].any()


def test_the_same_hand_gives_the_same_bytes(refiner, sample):
    images, truth = sample
    hand = HandInput(box=box_of(images, truth), outlines=(OutlinedSlice(20, truth[20]),))
    first, again = refiner.refine(images, hand), refiner.refine(images, hand)
    np.testing.assert_array_equal(first.probability.array, again.probability.array)
    np.testing.assert_array_equal(first.mask.array, again.mask.array)


@pytest.mark.parametrize("axes", [(True, False, False), (False, True, True)], ids=str)
def test_a_scan_stored_the_other_way_round_gives_the_same_contour(refiner, sample, axes):
    images, truth = sample
    pet = images.contoured
    flipped = pet.with_image(sitk.Flip(pet.image, list(axes)), pet.quantity)
    other = InputImages({**images.by_role, images.segment_on: flipped}, images.segment_on)
    turned = np.flip(truth, [2 - axis for axis, wanted in enumerate(axes) if wanted])
    hand = HandInput(box=box_of(images, truth), inside_mm=(pet.image.TransformIndexToPhysicalPoint((20, 20, 25)),))
    contour = refiner.refine(images, hand).mask
    mirrored = refiner.refine(other, hand).mask
    back = np.flip(np.asarray(mirrored.array), [2 - axis for axis, wanted in enumerate(axes) if wanted])
    assert dice(back, contour.array) > 0.999
    middle = middle_slices(turned, 1)[0]
    outlined = refiner.refine(other, HandInput(outlines=(OutlinedSlice(middle, turned[middle]),))).mask
    np.testing.assert_array_equal(np.asarray(outlined.array)[middle] > 0, turned[middle])


def test_what_cannot_be_meant_is_refused(refiner, sample):
    images, truth = sample
    pet = images.contoured
    with pytest.raises(InvalidRequest, match="outside the image"):
        refiner.refine(images, HandInput(inside_mm=((0.0, 0.0, 99_999.0),)))
    with pytest.raises(InvalidRequest, match="outlined twice"):
        refiner.refine(images, HandInput(outlines=(OutlinedSlice(3, truth[3]), OutlinedSlice(3, truth[3]))))
    with pytest.raises(InvalidRequest, match="the image has slices 0 to"):
        refiner.refine(images, HandInput(outlines=(OutlinedSlice(truth.shape[0], truth[0]),)))
    with pytest.raises(InvalidRequest, match="at most"):
        refiner.refine(images, HandInput(inside_mm=((0.0, 0.0, 0.0),) * 10_001))
    half = sitk.RegionOfInterest(pet.image, [10, 10, 10], [0, 0, 0])
    with pytest.raises(GeometryMismatch):
        refiner.refine(images, HandInput(earlier=pet.with_image(half, Quantity.MASK)))
    stranger = Volume(pet.image, Quantity.MASK, "1.2.3", pet.series_instance_uid)
    with pytest.raises(FrameOfReferenceMismatch):
        refiner.refine(images, HandInput(earlier=stranger))
    with pytest.raises(SeriesNotFound):
        refiner.refine(InputImages({"PT": pet}, "PT"), HandInput())


def test_changed_or_missing_weights_are_refused(tmp_path):
    folder = tmp_path / "refinement"
    shutil.copytree(REFINEMENT, folder)
    (folder / "fold_1.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ModelHashMismatch):
        Refiner.open(folder, CPU)
    (folder / "fold_1.safetensors").unlink()
    with pytest.raises(ModelFolderInvalid, match="fold_1"):
        Refiner.open(folder, CPU)
    (folder / "refinement.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelFolderInvalid, match="not valid"):
        Refiner.open(folder, CPU)


def test_the_samples_were_held_out(refiner):
    assert set(refiner.description.held_out_patients) == {"STS_019", "STS_032"}
