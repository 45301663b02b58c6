"""The segmentation of a model folder, whichever kind of network it holds."""

from __future__ import annotations

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.model.folder import ModelFolder
from oncoresponse.segmentation.external.declaration import EXTERNAL_NETWORK_FILE
from oncoresponse.segmentation.external.external_segmenter import ExternalSegmenter
from oncoresponse.segmentation.inference import SEGMENTATION_FOLDER, Segmenter
from oncoresponse.segmentation.network import NETWORK_FILE


def open_segmenter(
    model: ModelFolder, device: str = "auto", *, torch_compile: bool = False
) -> Segmenter | ExternalSegmenter:
    """Load what segments: the built-in ensemble (``network.json``) or a network from elsewhere
    (``external_network.json``).

    Args:
        model: An opened, and so verified, model folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        torch_compile: Compile the built-in ensemble; networks from elsewhere run as they are.

    Raises:
        ModelFolderInvalid: There is neither, or both, or one that cannot be used.
        ModelHashMismatch: A file is not the one that was declared.
        ConfigurationError: The device is not there, or an optional package is not installed.
    """
    directory = model.path / SEGMENTATION_FOLDER
    external = (directory / EXTERNAL_NETWORK_FILE).is_file()
    if external and (directory / NETWORK_FILE).is_file():
        raise ModelFolderInvalid(
            f"Model '{model.definition.name}' has both {NETWORK_FILE} and {EXTERNAL_NETWORK_FILE} in "
            f"{SEGMENTATION_FOLDER}/. Remove one and seal the model."
        )
    if external:
        return ExternalSegmenter.open(model, device)
    return Segmenter.open(model, device, torch_compile=torch_compile)
