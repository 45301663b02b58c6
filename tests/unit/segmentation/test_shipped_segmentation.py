"""The shipped networks on a sample study that no training saw, against the physician's contour."""

from pathlib import Path

import pytest
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.study import convert_study, read_contour, read_study
from oncoresponse.model.definition import ImageInput, LesionLimits
from oncoresponse.model.folder import ModelFolder
from oncoresponse.segmentation.device import choose_device
from oncoresponse.segmentation.inference import Segmenter
from oncoresponse.segmentation.input_images import InputImages
from oncoresponse.segmentation.lesion_prompt import box_of_mask
from oncoresponse.segmentation.metrics import dice
from oncoresponse.segmentation.network import load_networks, read_network_description

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]
SEGMENTATION = REPOSITORY / "models" / "sts-petct" / "segmentation"


@pytest.fixture(scope="module")
def shipped_segmenter():
    description = read_network_description(SEGMENTATION)
    limits = LesionLimits(minimum_volume_ml=1.0, maximum_volume_ml=3000.0)
    return Segmenter(description, load_networks(SEGMENTATION, description), limits, "", choose_device("cpu"))


@pytest.mark.parametrize(
    # PET and CT of STS_019 lie apart, docs/segmentation.md.
    ("patient", "lowest_dice", "lowest_dice_in_box"),
    [("STS_019", 0.3, 0.5), ("STS_032", 0.75, 0.85)],
)
def test_the_sample_tumors_are_found(shipped_segmenter, patient, lowest_dice, lowest_dice_in_box):
    study = read_study(REPOSITORY / "examples" / patient)
    volumes = convert_study(study, ImageInput.any_of("PT", "CT")).volumes
    images = InputImages(volumes, "PT")
    physician = read_contour(study, ContourRequest(), volumes["PT"]).mask
    result = shipped_segmenter.segment(images)
    agreement = dice(result.mask.array, physician.array)
    assert agreement > lowest_dice
    assert agreement > 0.5 or result.summary.needs_review
    in_box = shipped_segmenter.segment(images, box_of_mask(physician.image))
    assert dice(in_box.mask.array, physician.array) > lowest_dice_in_box


def test_the_samples_were_held_out(shipped_segmenter):
    assert set(shipped_segmenter.description.training.held_out_patients) == {"STS_019", "STS_032"}
    assert len(shipped_segmenter.description.weights) == 5


def test_the_weights_are_small():
    assert sum(file.stat().st_size for file in SEGMENTATION.glob("*.safetensors")) < 40e6


def test_a_model_folder_opens_as_a_segmenter():
    assert Segmenter.open(ModelFolder.open(SEGMENTATION.parent), "cpu").network_sha256
