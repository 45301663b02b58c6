"""The networks as OpenVINO computes them against torch's own arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from oncoresponse.segmentation.cpu_network import CpuNetwork
from oncoresponse.segmentation.network import (
    INPUT_CHANNELS,
    NetworkSettings,
    build_network,
    load_networks,
    read_network_description,
)
from oncoresponse.segmentation.windowed_prediction import fast_network

SHIPPED = Path(__file__).parents[3] / "models/sts-petct/segmentation"
ROUNDING = 1e-4
"""Of a probability: the two sum in different orders."""


@pytest.mark.parametrize("normalization", ["instance", "batch"])
@pytest.mark.parametrize("blocks_down", [(1, 2), (1, 2, 2, 4), (2, 1, 1)], ids=str)
def test_any_network_gives_what_torch_gives(normalization, blocks_down):
    torch.manual_seed(3)
    settings = NetworkSettings(initial_filters=4, blocks_down=blocks_down, normalization=normalization)
    network = build_network(settings)
    # Batch normalization shall have statistics other than those it begins with.
    network.train()(torch.randn(2, INPUT_CHANNELS, 16, 16, 16) * 3 + 1)
    network.eval()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "norm" in name:
                weight.add_(torch.randn_like(weight))
    fast = CpuNetwork(network, blocks_down, normalization)
    for shape in ((16, 8, 24), (8, 16, 16)):
        image = torch.randn(1, INPUT_CHANNELS, *shape)
        with torch.inference_mode():
            expected, found = torch.sigmoid(network(image)), torch.sigmoid(fast(image))
        assert found.shape == expected.shape
        assert float((found - expected).abs().max()) < ROUNDING


def test_shipped_networks_give_the_same_voxels():
    """Not one voxel on the other side of the threshold that makes masks."""
    description = read_network_description(SHIPPED)
    generator = torch.Generator().manual_seed(8)
    image = torch.rand(1, INPUT_CHANNELS, 32, 24, 40, generator=generator).float()
    for network in load_networks(SHIPPED, description):
        fast = fast_network(network, torch.device("cpu"), description.network)
        assert isinstance(fast, CpuNetwork)
        with torch.inference_mode():
            expected, found = torch.sigmoid(network(image)), torch.sigmoid(fast(image))
        assert float((found - expected).abs().max()) < ROUNDING
        threshold = description.masks.none.threshold
        assert torch.equal(found >= threshold, expected >= threshold)


def test_one_network_gives_the_same_bytes_each_time():
    torch.manual_seed(4)
    settings = NetworkSettings(initial_filters=4)
    fast = fast_network(build_network(settings).eval(), torch.device("cpu"), settings)
    image = torch.randn(1, INPUT_CHANNELS, 24, 16, 16)
    first = fast(image)
    fast(torch.randn(1, INPUT_CHANNELS, 16, 16, 16))
    assert torch.equal(first, fast(image))


def test_sizes_that_are_no_multiple_are_refused():
    settings = NetworkSettings(initial_filters=4)
    fast = fast_network(build_network(settings), torch.device("cpu"), settings)
    with pytest.raises(ValueError, match="not multiples of 8"):
        fast(torch.zeros(1, INPUT_CHANNELS, 12, 8, 8))
