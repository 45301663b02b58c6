"""Trained folders of nnU-Net v2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from oncoresponse.case.quantity import Quantity
from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.segmentation.device import gpu_memory_errors
from oncoresponse.segmentation.external.channel_sampling import (
    image_of_role,
    network_grid,
    probability_on_image,
    sample_channels,
)
from oncoresponse.segmentation.external.declaration import NnunetDeclaration, read_declared_file
from oncoresponse.segmentation.external.lesion_network import LesionNetwork
from oncoresponse.segmentation.external.nnunet_plans import Plans, build_nnunet, read_plans
from oncoresponse.segmentation.external.nnunet_preprocessing import (
    logits_on_image,
    predict_in_windows,
    preprocess,
    undo_crop_and_transpose,
)
from oncoresponse.segmentation.external.torch_checkpoint import load_checkpoint, load_weights, only_tensors
from oncoresponse.segmentation.input_images import InputImages
from oncoresponse.segmentation.windowed_prediction import place_network


def open_nnunet(directory: Path, declaration: NnunetDeclaration, device: torch.device) -> LesionNetwork:
    """Load all folds of a trained folder.

    Raises:
        ModelFolderInvalid: A file is missing, unreadable or asks for what is not read.
        ModelHashMismatch: A file is not the one that was declared.
        ConfigurationError: The extra ``nnunet`` is not installed.
    """
    plans = read_plans(
        read_declared_file(directory, declaration.files, f"{declaration.folder}/plans.json"),
        read_declared_file(directory, declaration.files, f"{declaration.folder}/dataset.json"),
        declaration.configuration,
    )
    if plans.channel_count != len(declaration.channels):
        raise ModelFolderInvalid(
            f"dataset.json has {plans.channel_count} input channels and the declaration names "
            f"{len(declaration.channels)}."
        )
    networks, mirrored = [], []
    for name in declaration.checkpoints:
        checkpoint = load_checkpoint(read_declared_file(directory, declaration.files, name), name)
        weights = checkpoint.get("network_weights")
        if not isinstance(weights, dict):
            raise ModelFolderInvalid(f"{name} has no network_weights, so it is not a checkpoint of nnU-Net v2.")
        networks.append(place_network(load_weights(build_nnunet(plans), only_tensors(weights, name), name), device))
        mirrored.append(checkpoint.get("inference_allowed_mirroring_axes") or ())
    return NnunetNetwork(declaration, plans, networks, mirrored[0], device)


class NnunetNetwork(LesionNetwork):
    """The folds of one configuration. Outputs of the folds are averaged before the softmax, as nnU-Net does."""

    def __init__(
        self,
        declaration: NnunetDeclaration,
        plans: Plans,
        networks: Sequence[torch.nn.Module],
        mirrored_axes: Sequence[int],
        device: torch.device,
    ) -> None:
        self._declaration = declaration
        self._plans = plans
        self._networks = networks
        self._mirrored_axes = tuple(mirrored_axes) if declaration.mirroring else ()
        self._tumor_channels = plans.output_channels(declaration.tumor_labels)
        self._device = device
        self.device_type = device.type

    def probability(self, images: InputImages) -> sitk.Image:
        """See :class:`LesionNetwork`."""
        declared = self._declaration
        reference = image_of_role(images, declared.reference).image
        grid = network_grid(reference, declared.orientation, declared.spacing_mm)
        channels = [
            (role, declared.outside_ct_hu if image_of_role(images, role).quantity is Quantity.HOUNSFIELD else 0.0)
            for role in declared.channels
        ]
        image = preprocess(sample_channels(images, channels, grid), grid.GetSpacing()[::-1], self._plans)
        logits = torch.from_numpy(logits_on_image(self._predict(image.array), image, self._plans))
        if not torch.isfinite(logits).all():
            raise ModelFolderInvalid("The network gave values that are not finite. Check channels and their order.")
        if self._plans.region_based:
            tumor = torch.sigmoid(logits[self._tumor_channels].amax(dim=0))
        else:
            tumor = torch.softmax(logits, dim=0)[self._tumor_channels].sum(dim=0)
        whole = undo_crop_and_transpose(tumor.numpy(), image, self._plans)
        return probability_on_image(np.clip(whole, 0, 1), grid, images.contoured)

    def warm_up(self) -> None:
        """See :class:`LesionNetwork`."""
        settings = self._plans.configuration
        self._predict(np.zeros((self._plans.channel_count, *settings.patch_size), dtype=np.float32))

    def _predict(
        self, array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        with gpu_memory_errors():
            return predict_in_windows(
                self._networks,
                array,
                self._plans.configuration.patch_size,
                self._declaration.overlap,
                self._mirrored_axes,
                self._device,
            )
