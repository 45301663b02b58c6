"""The residual network with deep supervision that segments: SegResNet (Myronenko 2018, arXiv:1810.11654).

It is the network that MONAI calls ``SegResNetDS``, for volumes of equal voxels: names of the weights, order of creation
and arithmetic are the same, so that weights fit both and give the same voxels. A test compares the two. MONAI itself is
not used where patients are served, because importing it takes longer than segmenting a study.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

Normalization = Literal["batch", "instance"]


class ResidualBlock(nn.Module):
    """Normalization, ReLU and convolution, twice, around which the input is added.

    Args:
        channels: Of input and output.
        normalization: Of both steps, with scale and offset that are learnt.
    """

    def __init__(self, channels: int, normalization: Normalization) -> None:
        super().__init__()
        self.norm1 = _normalization(channels, normalization)
        self.act1 = nn.ReLU(inplace=True)
        self.conv1 = _convolution(channels, channels)
        self.norm2 = _normalization(channels, normalization)
        self.act2 = nn.ReLU(inplace=True)
        self.conv2 = _convolution(channels, channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Axes and sizes stay."""
        changed = self.conv1(self.act1(self.norm1(features)))
        changed = self.conv2(self.act2(self.norm2(changed)))
        changed += features
        return changed  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Residual blocks at each resolution, with a convolution of stride 2 between one and the next.

    Args:
        in_channels: Of the input.
        initial_filters: Feature maps at full resolution; doubled at each level.
        blocks_down: Residual blocks at each resolution.
        normalization: Of the residual blocks.
    """

    def __init__(
        self, in_channels: int, initial_filters: int, blocks_down: Sequence[int], normalization: Normalization
    ) -> None:
        super().__init__()
        self.conv_init = _convolution(in_channels, initial_filters)
        self.layers = nn.ModuleList()
        for level, count in enumerate(blocks_down):
            channels = initial_filters * 2**level
            is_last = level == len(blocks_down) - 1
            self.layers.append(
                nn.ModuleDict(
                    {
                        "blocks": _blocks(count, channels, normalization),
                        "downsample": nn.Identity() if is_last else _convolution(channels, 2 * channels, stride=2),
                    }
                )
            )

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Features of each resolution, the finest first."""
        features = self.conv_init(image)
        found = []
        for level in self.layers:
            features = level["blocks"](features)  # type: ignore[index]
            found.append(features)
            features = level["downsample"](features)  # type: ignore[index]
        return found


class SegResNetDS(nn.Module):
    """Encoder, and a decoder of one residual block at each resolution that adds what the encoder found there.

    Args:
        in_channels: Of the input.
        out_channels: Logits of a voxel.
        initial_filters: Feature maps at full resolution; doubled at each level.
        blocks_down: Residual blocks at each resolution of the encoder; at least two resolutions.
        normalization: Of the residual blocks.
        deep_supervision_levels: Resolutions of the decoder, the finest first, that have an output in training.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        initial_filters: int,
        blocks_down: Sequence[int],
        normalization: Normalization,
        deep_supervision_levels: int,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, initial_filters, blocks_down, normalization)
        self.up_layers = nn.ModuleList()
        # The coarsest first, as it is run.
        for level in reversed(range(len(blocks_down) - 1)):
            channels = initial_filters * 2**level
            self.up_layers.append(
                nn.ModuleDict(
                    {
                        "upsample": _doubling(2 * channels, channels),
                        "blocks": _blocks(1, channels, normalization),
                        "head": nn.Conv3d(channels, out_channels, kernel_size=1)
                        if level < deep_supervision_levels
                        else nn.Identity(),
                    }
                )
            )
        self._supervised = min(deep_supervision_levels, len(self.up_layers))

    def forward(self, image: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Logits.

        Args:
            image: Axes (batch, channel, k, j, i); sizes are multiples of 2 to the power of the resolutions less one.

        Returns:
            In evaluation mode, and where one resolution is supervised, logits at full resolution, else those of each
            supervised resolution, the finest first.

        Raises:
            ValueError: A size is no such multiple.
        """
        stride = 2 ** len(self.up_layers)
        if any(count % stride for count in image.shape[2:]):
            raise ValueError(f"The sizes {tuple(image.shape[2:])} are not multiples of {stride}.")
        *finer, features = self.encoder(image)
        outputs: list[torch.Tensor] = []
        unsupervised = len(self.up_layers) - self._supervised
        for index, (level, skipped) in enumerate(zip(self.up_layers, reversed(finer), strict=True)):
            features = level["upsample"](features)  # type: ignore[index]
            features += skipped
            features = level["blocks"](features)  # type: ignore[index]
            if index >= unsupervised:
                outputs.append(level["head"](features))  # type: ignore[index]
        outputs.reverse()
        return outputs if self.training and len(outputs) > 1 else outputs[0]


def _normalization(channels: int, kind: Normalization) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm3d(channels)
    return nn.InstanceNorm3d(channels, affine=True)


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)


def _blocks(count: int, channels: int, normalization: Normalization) -> nn.Sequential:
    return nn.Sequential(*[ResidualBlock(channels, normalization) for _ in range(count)])


def _doubling(in_channels: int, out_channels: int) -> nn.Sequential:
    doubled = nn.Sequential()
    doubled.add_module(
        "deconv",
        nn.ConvTranspose3d(in_channels, out_channels, kernel_size=3, stride=2, padding=1, output_padding=1, bias=False),
    )
    return doubled
