"""The built-in networks on a CPU, by OpenVINO.

torch computes one small volume with kernels that are about ten times slower (docs/segmentation.md, speed). The graph is
written down from the weights, node by node, in float32: tracing it from torch takes longer than segmenting a hundred
studies. A test compares the voxels of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import openvino
import torch
from openvino import opset13 as ops

from oncoresponse.segmentation.segresnet import Normalization, SegResNetDS

_EPSILON = 1e-5
"""Added to the variance, as torch's normalizations do."""

_AXES_OF_SPACE = (2, 3, 4)


class CpuNetwork(torch.nn.Module):
    """A network in evaluation mode that is computed by OpenVINO; input and output as :class:`SegResNetDS` has them.

    Safe to use from one thread at a time.

    Args:
        network: Whose weights are taken.
        blocks_down: Residual blocks at each resolution of its encoder.
        normalization: Of its residual blocks.
    """

    def __init__(self, network: SegResNetDS, blocks_down: Sequence[int], normalization: Normalization) -> None:
        super().__init__()
        weights = {name: value.detach().float().numpy() for name, value in network.state_dict().items()}
        model = _Graph(weights, normalization).model(blocks_down)
        self._stride = 2 ** (len(blocks_down) - 1)
        self._request = (
            openvino.Core()
            .compile_model(
                model,
                "CPU",
                # Fewer bits than float32 would be faster on some CPUs and give other voxels there.
                {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()},
            )
            .create_infer_request()
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits, axes (1, 1, k, j, i), of an image with axes (1, channel, k, j, i).

        Raises:
            ValueError: A size is no multiple of 2 to the power of the resolutions less one.
        """
        if any(count % self._stride for count in image.shape[2:]):
            raise ValueError(f"The sizes {tuple(image.shape[2:])} are not multiples of {self._stride}.")
        found = self._request.infer([np.ascontiguousarray(image.numpy(), dtype=np.float32)])
        return torch.from_numpy(next(iter(found.values())).copy())


class _Graph:
    """The nodes of one network, named as its weights are."""

    def __init__(self, weights: Mapping[str, npt.NDArray[np.float32]], normalization: Normalization) -> None:
        self._weights = weights
        self._normalization = normalization

    def model(self, blocks_down: Sequence[int]) -> openvino.Model:
        channels = self._weights["encoder.conv_init.weight"].shape[1]
        image = ops.parameter(openvino.PartialShape([1, channels, -1, -1, -1]), np.float32)
        features = self._convolution(image, "encoder.conv_init")
        finer = []
        for level, count in enumerate(blocks_down):
            name = f"encoder.layers.{level}"
            features = self._blocks(features, f"{name}.blocks", count)
            if level < len(blocks_down) - 1:
                finer.append(features)
                features = self._convolution(features, f"{name}.downsample", stride=2)
        for level, skipped in enumerate(reversed(finer)):
            name = f"up_layers.{level}"
            features = ops.add(self._doubling(features, f"{name}.upsample.deconv"), skipped)
            features = self._blocks(features, f"{name}.blocks", 1)
        last = f"up_layers.{len(finer) - 1}.head"
        bias = self._weights[f"{last}.bias"].reshape(1, -1, 1, 1, 1)
        return openvino.Model([ops.add(self._convolution(features, last), bias)], [image])

    def _blocks(self, features: openvino.Node, name: str, count: int) -> openvino.Node:
        for number in range(count):
            changed = features
            for half in (1, 2):
                changed = ops.relu(self._normalized(changed, f"{name}.{number}.norm{half}"))
                changed = self._convolution(changed, f"{name}.{number}.conv{half}")
            features = ops.add(changed, features)
        return features

    def _normalized(self, features: openvino.Node, name: str) -> openvino.Node:
        scale, offset = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        if self._normalization == "batch":
            scale = scale / np.sqrt(self._weights[f"{name}.running_var"] + _EPSILON)
            offset = offset - scale * self._weights[f"{name}.running_mean"]
        else:
            axes = np.array(_AXES_OF_SPACE)
            features = ops.mvn(features, axes, normalize_variance=True, eps=_EPSILON, eps_mode="INSIDE_SQRT")
        return ops.add(ops.multiply(features, scale.reshape(1, -1, 1, 1, 1)), offset.reshape(1, -1, 1, 1, 1))

    def _convolution(self, features: openvino.Node, name: str, stride: int = 1) -> openvino.Node:
        kernel = self._weights[f"{name}.weight"]
        padding = [(size - 1) // 2 for size in kernel.shape[2:]]
        return ops.convolution(features, kernel, [stride] * 3, padding, padding, [1, 1, 1])

    def _doubling(self, features: openvino.Node, name: str) -> openvino.Node:
        kernel = self._weights[f"{name}.weight"]
        return ops.convolution_backprop_data(
            features, kernel, strides=[2, 2, 2], pads_begin=[1, 1, 1], pads_end=[1, 1, 1], output_padding=[1, 1, 1]
        )
