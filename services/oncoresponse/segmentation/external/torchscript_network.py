"""TorchScript files."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.segmentation.external.declaration import (
    TorchScriptDeclaration,
    read_declared_file,
    require_single_file,
)
from oncoresponse.segmentation.external.declared_network import DeclaredNetwork
from oncoresponse.segmentation.external.lesion_network import LesionNetwork


def open_torchscript(directory: Path, declaration: TorchScriptDeclaration, device: torch.device) -> LesionNetwork:
    """Load a TorchScript network.

    A TorchScript file is a program in a language of its own. It is not unpickled as Python and cannot import anything,
    but it is run: install files of people you trust only.

    Raises:
        ModelFolderInvalid: The file is missing or not TorchScript.
        ModelHashMismatch: It is not the file that was declared.
    """
    name = require_single_file(declaration)
    content = read_declared_file(directory, declaration.files, name)
    try:
        with warnings.catch_warnings():
            # torch recommends torch.export for new files; those of hospitals exist and torch still reads them.
            warnings.filterwarnings("ignore", message=".*torch.jit.load.* is deprecated", category=DeprecationWarning)
            module = torch.jit.load(io.BytesIO(content), map_location=device)
    except (RuntimeError, ValueError) as error:
        raise ModelFolderInvalid(
            f"{directory.name}/{name} is not a TorchScript file that this version of torch reads."
        ) from error
    network = module.eval()

    def predict(window: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = network(window)
        return output

    return DeclaredNetwork(predict, declaration.preprocessing, declaration.windows, declaration.output, device)
