"""Networks whose preprocessing, windows and output are declared in ``external_network.json``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import torch

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.segmentation.device import gpu_memory_errors
from oncoresponse.segmentation.external.channel_sampling import (
    image_of_role,
    network_grid,
    probability_on_image,
    sample_channels,
)
from oncoresponse.segmentation.external.declaration import (
    Clip,
    IntensityStep,
    LogarithmOfOnePlus,
    Output,
    Preprocessing,
    Rescale,
    Windows,
)
from oncoresponse.segmentation.external.lesion_network import LesionNetwork
from oncoresponse.segmentation.input_images import InputImages
from oncoresponse.segmentation.sliding_window import sliding_window_logits

Predictor = Callable[[torch.Tensor], torch.Tensor]
"""Float32 of axes (1, channel, three of space) to the network's raw output on the same space axes."""

_SMALLEST_DEVIATION = 1e-8
_WARM_UP_VOXELS = 32
_ROUNDING = 1e-3


class DeclaredNetwork(LesionNetwork):
    """A function from window to output, with everything around it as declared.

    Args:
        predict: The network.
        preprocessing, windows, output: As declared.
        device: Where ``predict`` expects its windows.
    """

    def __init__(
        self, predict: Predictor, preprocessing: Preprocessing, windows: Windows, output: Output, device: torch.device
    ) -> None:
        self._predict = predict
        self._preprocessing = preprocessing
        self._windows = windows
        self._output = output
        self._device = device
        self.device_type = device.type

    def probability(self, images: InputImages) -> sitk.Image:
        """See :class:`LesionNetwork`."""
        settings = self._preprocessing
        reference = image_of_role(images, settings.reference).image
        grid = network_grid(reference, settings.orientation, settings.spacing_mm)
        raw = sample_channels(images, [(channel.input_role, channel.outside) for channel in settings.channels], grid)
        scaled = np.stack(
            [
                apply_intensity_steps(values, channel.intensity)
                for values, channel in zip(raw, settings.channels, strict=True)
            ]
        )
        inputs = scaled if settings.axis_order == "zyx" else scaled.transpose(0, 3, 2, 1)
        tumor = self._lesion_probability(np.ascontiguousarray(inputs))
        tumor = tumor if settings.axis_order == "zyx" else tumor.transpose(2, 1, 0)
        return probability_on_image(tumor, grid, images.contoured)

    def warm_up(self) -> None:
        """See :class:`LesionNetwork`."""
        step = self._windows.multiple_of
        size = self._windows.size or (-(-_WARM_UP_VOXELS // step) * step,) * 3
        self._lesion_probability(np.full((len(self._preprocessing.channels), *size), self._windows.padding, np.float32))

    def _lesion_probability(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with gpu_memory_errors(), torch.inference_mode():
            output = self._over_the_image(torch.from_numpy(inputs)[None])[0].float().cpu()
        return tumor_probability(output, self._output)

    def _over_the_image(self, inputs: torch.Tensor) -> torch.Tensor:
        size, shape = self._windows.size, inputs.shape[2:]
        if size is None:
            padding = [_padding(count, self._windows.multiple_of) for count in shape]
            # torch wants the last axis first.
            flat = [end for pair in reversed(padding) for end in pair]
            padded = torch.nn.functional.pad(inputs, flat, value=self._windows.padding).to(self._device)
            inside = [slice(before, before + count) for (before, _), count in zip(padding, shape, strict=True)]
            first, second, third = inside
            return self._checked(padded)[..., first, second, third]
        return sliding_window_logits(
            inputs.to(self._device),
            size,
            self._checked,
            overlap=self._windows.overlap,
            weighting=self._windows.weighting,
            padding=self._windows.padding,
        )

    def _checked(self, window: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self._device.type, torch.float16, enabled=self._device.type == "cuda"):
            found = self._predict(window)
        # Networks with deep supervision return the full resolution first.
        output = found[0] if isinstance(found, list | tuple) else found
        if not isinstance(output, torch.Tensor) or output.ndim != 5 or output.shape[2:] != window.shape[2:]:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise ModelFolderInvalid(
                f"The network gave {shape} for a window of {tuple(window.shape)}; it must give axes (1, channel, three "
                "of space) of the window's size. Check axis_order, windows and the number of channels."
            )
        return output.float()


def apply_intensity_steps(values: npt.NDArray[np.float32], steps: Sequence[IntensityStep]) -> npt.NDArray[np.float32]:
    """Take one channel from its unit to what the network sees, step by step."""
    array = values.astype(np.float32)
    for step in steps:
        if isinstance(step, Clip):
            array = np.clip(array, step.low, step.high)
        elif isinstance(step, Rescale):
            slope = (step.to_high - step.to_low) / (step.from_high - step.from_low)
            array = (array - step.from_low) * slope + step.to_low
        elif isinstance(step, LogarithmOfOnePlus):
            array = np.log1p(np.maximum(array, 0))
        elif step.mean is not None and step.standard_deviation is not None:
            array = (array - step.mean) / step.standard_deviation
        else:
            array = (array - array.mean()) / max(float(array.std()), _SMALLEST_DEVIATION)
    return array.astype(np.float32)


def tumor_probability(output: torch.Tensor, settings: Output) -> npt.NDArray[np.float32]:
    """Probability of tumor from a network's raw output.

    Args:
        output: float32, axes (channel, three of space).
        settings: Activation and which channels mean tumor.

    Returns:
        float32, 0 to 1, the three axes of space.

    Raises:
        ModelFolderInvalid: A channel that the declaration names is not there, or values are not what it says.
    """
    if max(settings.tumor_channels) >= output.shape[0]:
        raise ModelFolderInvalid(
            f"The network has {output.shape[0]} output channels and the declaration names channel "
            f"{max(settings.tumor_channels)}; channels count from 0."
        )
    if not torch.isfinite(output).all():
        raise ModelFolderInvalid("The network gave values that are not finite. Check the declared intensity steps.")
    if settings.activation == "softmax":
        probability = torch.softmax(output, dim=0)[list(settings.tumor_channels)].sum(dim=0)
    else:
        chosen = output[list(settings.tumor_channels)].amax(dim=0)
        probability = torch.sigmoid(chosen) if settings.activation == "sigmoid" else chosen
    if settings.activation == "none" and (probability.min() < -_ROUNDING or probability.max() > 1 + _ROUNDING):
        raise ModelFolderInvalid(
            "The network's output is declared to be a probability and leaves 0 to 1. Declare its activation."
        )
    array: npt.NDArray[np.float32] = probability.clamp(0, 1).numpy().astype(np.float32)
    return array


def _padding(count: int, multiple: int) -> tuple[int, int]:
    missing = -count % multiple
    return missing // 2, missing - missing // 2
