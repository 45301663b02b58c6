"""Our network and our sliding window against MONAI's, to the last bit: weights of one are weights of the other."""

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers.utils import sliding_window_inference
from monai.networks.nets.segresnet_ds import SegResNetDS
from oncoresponse.segmentation.network import (
    INPUT_CHANNELS,
    NETWORK_FILE,
    NetworkSettings,
    build_network,
    load_networks,
    read_network_description,
)
from oncoresponse.segmentation.sliding_window import sliding_window_logits
from oncoresponse.segmentation.windowed_prediction import MEMORY_FORMAT, place_network

MODELS = Path(__file__).parents[3] / "models"
SHIPPED = sorted(file.parent for file in MODELS.glob(f"*/segmentation/{NETWORK_FILE}"))
OTHERS = [
    NetworkSettings(initial_filters=4, blocks_down=(1, 1), deep_supervision_levels=1),
    NetworkSettings(initial_filters=4, blocks_down=(2, 1, 3), normalization="batch", deep_supervision_levels=2),
    NetworkSettings(initial_filters=6, blocks_down=(1, 2, 2, 4), deep_supervision_levels=9),
]
SETTINGS = [*(read_network_description(folder).network for folder in SHIPPED), *OTHERS]


def monais(settings: NetworkSettings) -> torch.nn.Module:
    return SegResNetDS(
        spatial_dims=3,
        init_filters=settings.initial_filters,
        in_channels=INPUT_CHANNELS,
        out_channels=1,
        norm=settings.normalization,
        blocks_down=settings.blocks_down,
        dsdepth=settings.deep_supervision_levels,
    )


def test_models_with_networks_are_compared():
    assert "sts-petct" in [folder.parent.name for folder in SHIPPED]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_same_seed_makes_the_same_network(settings):
    """Names, shapes, order and first values of the weights: a training repeats as it did with MONAI's class."""
    torch.manual_seed(7)
    ours = build_network(settings).state_dict()
    torch.manual_seed(7)
    theirs = monais(settings).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("strides", [(1, 1, 1), (3, 1, 2)], ids=str)
@pytest.mark.parametrize("memory_format", [MEMORY_FORMAT, torch.contiguous_format], ids=str)
def test_outputs_are_equal(settings, strides, memory_format):
    """In training with the gradients, then in evaluation with what training left in the batch statistics."""
    torch.manual_seed(11)
    ours, theirs = build_network(settings), monais(settings)
    theirs.load_state_dict(ours.state_dict())
    size = [max(settings.stride * count, 2 * settings.stride) for count in strides]
    image = torch.randn(1, INPUT_CHANNELS, *size).contiguous(memory_format=memory_format)
    ours, theirs = ours.to(memory_format=memory_format), theirs.to(memory_format=memory_format)
    for network in (ours, theirs):
        outputs = network.train()(image)
        (outputs if isinstance(outputs, torch.Tensor) else sum(level.mean() for level in outputs)).sum().backward()
    for (name, one), (other_name, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == other_name
        assert torch.equal(one.grad, other.grad), name
    trained, expected = ours(image), theirs(image)
    assert isinstance(trained, list) == isinstance(expected, list)
    for one, other in zip(trained, expected, strict=True):
        assert torch.equal(one, other)
    with torch.inference_mode():
        assert torch.equal(ours.eval()(image), theirs.eval()(image))


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.parent.name)
def test_shipped_weights_give_what_monai_gives(folder):
    """Each network of each model, in one window and over sliding windows, as patients are served."""
    description = read_network_description(folder)
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(1, INPUT_CHANNELS, 16, 8, 24, generator=generator).contiguous(memory_format=MEMORY_FORMAT)
    for network in load_networks(folder, description):
        theirs = monais(description.network)
        theirs.load_state_dict(network.state_dict(), strict=True)
        network, theirs = (place_network(each, torch.device("cpu")) for each in (network, theirs))
        with torch.inference_mode():
            assert torch.equal(network(image), theirs(image))
            windows = sliding_window_logits(image, (16, 8, 16), network, overlap=0.25, weighting="gaussian")
            expected = sliding_window_inference(image, (16, 8, 16), 1, theirs, overlap=0.25, mode="gaussian")
        assert torch.equal(windows, expected)


def test_the_network_is_traced_whole_for_torch_compile():
    """As ``compile_network`` does it, in one graph; the C++ compiler itself is left out, which takes minutes."""
    torch.manual_seed(2)
    network = place_network(build_network(NetworkSettings(initial_filters=4)), torch.device("cpu"))
    image = torch.randn(1, INPUT_CHANNELS, 16, 16, 8).contiguous(memory_format=MEMORY_FORMAT)
    traced = torch.compile(network, dynamic=False, fullgraph=True, backend="aot_eager")
    with torch.inference_mode():
        assert torch.equal(traced(image), network(image))


def test_sizes_that_are_no_multiple_are_refused_as_by_monai():
    settings = NetworkSettings(initial_filters=4)
    for network in (build_network(settings), monais(settings)):
        with pytest.raises(ValueError, match=r"divisible|multiples"):
            network(torch.zeros(1, INPUT_CHANNELS, 16, 20, 16))


def a_network(window: torch.Tensor) -> torch.Tensor:
    """Two channels that depend on the place in the window, so that a window at another place is seen."""
    ramp = torch.linspace(-1, 1, window[0, 0].numel()).reshape(window.shape[2:])
    return torch.cat([window.mean(dim=1, keepdim=True) + ramp, window[:, :1] * ramp], dim=1)


@pytest.mark.parametrize("weighting", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((17, 17, 17), (17, 17, 17)),
        ((17, 23, 31), (8, 23, 16)),
        ((33, 9, 13), (7, 9, 5)),
        ((5, 21, 12), (8, 8, 13)),
        ((3, 4, 5), (8, 7, 6)),
        ((16, 32, 48), (16, 16, 16)),
        ((5, 6, 4), (4, 3, 2)),  # 0.8 of it leaves steps below one voxel
    ],
    ids=str,
)
def test_sliding_window_gives_what_monai_gives(shape, window, overlap, weighting):
    generator = torch.Generator().manual_seed(5)
    image = torch.randn(1, 3, *shape, generator=generator)
    expected = sliding_window_inference(
        image.clone(), window, 1, a_network, overlap=overlap, mode=weighting, padding_mode="constant", cval=-2.5
    )
    found = sliding_window_logits(image, window, a_network, overlap=overlap, weighting=weighting, padding=-2.5)
    assert found.shape == expected.shape
    assert torch.equal(found, expected)


def test_half_precision_is_summed_as_by_monai():
    """On CUDA networks give half precision, and the sum is single: the same here without a GPU."""
    image = torch.randn(1, 3, 21, 13, 17, generator=torch.Generator().manual_seed(9))
    found, expected = (
        way(image, (8, 8, 8), lambda window: a_network(window).half())
        for way in (
            lambda *given: sliding_window_logits(*given, overlap=0.25, weighting="gaussian"),
            lambda image, window, predict: sliding_window_inference(
                image, window, 1, predict, overlap=0.25, mode="gaussian"
            ),
        )
    )
    assert found.dtype == expected.dtype == torch.float32
    assert np.array_equal(found.numpy(), expected.numpy())


def test_what_a_network_returns_is_not_changed():
    """A network may return its input itself, as a scripted one can."""
    image = torch.randn(1, 1, 12, 8, 8, generator=torch.Generator().manual_seed(1))
    before = image.clone()
    found = sliding_window_logits(image, (8, 8, 8), lambda window: window, overlap=0.5, weighting="gaussian")
    assert torch.equal(image, before)
    assert torch.allclose(found, image, atol=1e-6)
