"""Golden vectors of the shipped networks: a network that computes otherwise is seen, by the small input too."""

from pathlib import Path

import pytest
import torch
from oncoresponse.errors import ModelFolderInvalid, ModelGoldenMismatch
from oncoresponse.model.folder import ModelFolder
from oncoresponse.model.golden import GoldenNetworks, golden_vectors
from oncoresponse.segmentation.golden import require_golden_networks
from oncoresponse.segmentation.inference import SEGMENTATION_FOLDER, Segmenter
from oncoresponse.segmentation.network import load_networks, read_network_description

SHIPPED = Path(__file__).parents[3] / "models" / "sts-petct"


@pytest.fixture(scope="module")
def folder() -> ModelFolder:
    return ModelFolder.open(SHIPPED)


@pytest.fixture
def segmenter(folder) -> Segmenter:
    return Segmenter.open(folder, "cpu")


@pytest.fixture
def golden(folder) -> GoldenNetworks:
    vectors = golden_vectors(folder).networks
    assert vectors is not None
    return vectors


def test_the_shipped_networks_reproduce_the_small_and_the_large_input(folder, segmenter, golden):
    """The large one is looked at where vectors have no small one, as they were made before."""
    assert golden.small is not None
    require_golden_networks(folder, segmenter, golden)
    require_golden_networks(folder, segmenter, golden.model_copy(update={"small": None}))


@pytest.mark.parametrize("member", range(5))
@pytest.mark.parametrize(
    "weights",
    [
        "encoder.layers.1.blocks.0.norm2.weight",
        "encoder.layers.3.blocks.3.conv2.weight",
        "up_layers.2.head.bias",
    ],
)
def test_a_network_that_computes_otherwise_is_seen(folder, segmenter, golden, member, weights):
    """Weights off by a tenth in any part of any network of the ensemble, by the small input."""
    directory = folder.path / SEGMENTATION_FOLDER
    description = read_network_description(directory)
    networks = load_networks(directory, description)
    with torch.no_grad():
        networks[member].get_parameter(weights).mul_(1.1)
    limits = folder.imaging.tumor_limits
    segmenter = Segmenter(description, networks, limits, segmenter.network_sha256, torch.device("cpu"))
    with pytest.raises(ModelGoldenMismatch):
        require_golden_networks(folder, segmenter, golden)


def test_vectors_of_others_are_refused(folder, segmenter, golden):
    with pytest.raises(ModelGoldenMismatch):
        require_golden_networks(folder, segmenter, golden.model_copy(update={"made_for": "0" * 64}))
    assert golden.small is not None
    with pytest.raises(ModelFolderInvalid, match="Make them anew"):
        require_golden_networks(folder, segmenter, golden.model_copy(update={"small": golden.small[:4]}))
