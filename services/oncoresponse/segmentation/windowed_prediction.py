"""Networks over a whole field of view: in one window where that fits, else by a sliding window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from oncoresponse.segmentation.cpu_network import CpuNetwork
from oncoresponse.segmentation.device import gpu_memory_errors
from oncoresponse.segmentation.network import InferenceSettings, NetworkSettings
from oncoresponse.segmentation.segresnet import SegResNetDS
from oncoresponse.segmentation.sliding_window import sliding_window_logits

MEMORY_FORMAT = torch.channels_last_3d
"""What tensor cores want, and twice as fast as the plain order in a bfloat16 training step on a CPU."""


def predict_probabilities(
    networks: Sequence[torch.nn.Module],
    array: npt.NDArray[np.float32],
    network_settings: NetworkSettings,
    settings: InferenceSettings,
    device: torch.device,
    minimum_size: int,
) -> npt.NDArray[np.float32]:
    """Tumor probability of each voxel by each network.

    Half precision is used on CUDA only: on CPUs its speed and rounding differ from one model to the next.

    Args:
        networks: On ``device``, in evaluation mode.
        array: Axes (channel, k, j, i); see :mod:`oncoresponse.segmentation.preprocessing` for the channels.
        network_settings: For the stride that sizes must be a multiple of.
        settings: Window sizes.
        device: Where the networks are.
        minimum_size: Smaller fields of view are padded with zeros ("nothing there") to this many voxels.

    Returns:
        float32, axes (network, k, j, i).

    Raises:
        OutOfMemory: The GPU's memory does not suffice.
    """
    shape = array.shape[1:]
    padding = padding_of(shape, network_settings.stride, minimum_size)
    padded = np.pad(array, [(0, 0), *padding])
    inside = inside_padding(padding, shape)
    with gpu_memory_errors():
        inputs = torch.from_numpy(padded)[None].to(device).contiguous(memory_format=MEMORY_FORMAT)
        with torch.inference_mode(), torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
            probabilities = [
                torch.sigmoid(_logits(network, inputs, settings).float())[0, 0].cpu().numpy()[inside]
                for network in networks
            ]
    return np.stack(probabilities)


def padding_of(shape: Sequence[int], stride: int, minimum: int) -> list[tuple[int, int]]:
    """Voxels before and after along each axis up to a multiple of a stride that is no smaller than a minimum."""
    padding = []
    for count in shape:
        missing = -(-max(count, minimum) // stride) * stride - count
        padding.append((missing // 2, missing - missing // 2))
    return padding


def inside_padding(padding: Sequence[tuple[int, int]], shape: Sequence[int]) -> tuple[slice, ...]:
    """Where an array of this shape lies in the padded one."""
    return tuple(slice(before, before + count) for (before, _), count in zip(padding, shape, strict=True))


def place_network(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """Move a network to a device, in the memory format that is fastest there; evaluation mode."""
    placed: torch.nn.Module = network.to(device, memory_format=MEMORY_FORMAT)  # type: ignore[call-overload]
    return placed.eval()


def fast_network(network: torch.nn.Module, device: torch.device, settings: NetworkSettings) -> torch.nn.Module:
    """A network as it is computed fastest in float32 on a CPU and in half precision on CUDA; evaluation mode only."""
    if device.type == "cpu" and isinstance(network, SegResNetDS):
        return CpuNetwork(network, settings.blocks_down, settings.normalization).eval()
    return place_network(network, device)


def compile_network(network: torch.nn.Module) -> torch.nn.Module:
    """A network that is compiled when it first sees a window, for windows of that size.

    torch 2.13 cannot compile these networks for sizes that are left open, so all windows must have one size:
    :func:`with_equal_windows`.
    """
    compiled: torch.nn.Module = torch.compile(network, dynamic=False)  # type: ignore[assignment]
    return compiled


def with_equal_windows(settings: InferenceSettings, size: int) -> InferenceSettings:
    """The same settings with every window of ``size`` voxels along each axis."""
    return settings.model_copy(update={"largest_window": size, "sliding_window": size})


def warm_up_shapes(settings: InferenceSettings, minimum_size: int, device: torch.device) -> list[tuple[int, int, int]]:
    """Fields of view, axes (k, j, i), that load everything :func:`predict_probabilities` needs on a device.

    One is a single window. CUDA loads its kernels at their first use, so there one more is long enough for the sliding
    window and else as small as can be.
    """
    one = (minimum_size, minimum_size, minimum_size)
    several = (settings.largest_window + 1, minimum_size, minimum_size)
    return [one, several] if device.type == "cuda" else [one]


def _logits(network: torch.nn.Module, inputs: torch.Tensor, settings: InferenceSettings) -> torch.Tensor:
    if max(inputs.shape[2:]) <= settings.largest_window:
        whole: torch.Tensor = network(inputs)
        return whole
    window = [min(count, settings.sliding_window) for count in inputs.shape[2:]]
    return sliding_window_logits(inputs, window, network, overlap=settings.sliding_overlap, weighting="gaussian")
