"""ONNX files, run by onnxruntime (the optional extra ``onnx``)."""

from __future__ import annotations

from pathlib import Path

import torch

from oncoresponse.errors import ConfigurationError, ModelFolderInvalid
from oncoresponse.segmentation.external.declaration import OnnxDeclaration, read_declared_file, require_single_file
from oncoresponse.segmentation.external.declared_network import DeclaredNetwork
from oncoresponse.segmentation.external.lesion_network import LesionNetwork

_CUDA = "CUDAExecutionProvider"


def open_onnx(
    directory: Path, declaration: OnnxDeclaration, device: torch.device, *, device_is_a_must: bool
) -> LesionNetwork:
    """Load an ONNX network.

    Only operators that onnxruntime itself holds are available: no library of operators is ever loaded.

    Args:
        directory: ``segmentation/`` of a model folder.
        declaration: What the network is.
        device: Where it should run. onnxruntime's ordinary package knows only the CPU.
        device_is_a_must: Whether the administrator asked for this device, or it was chosen automatically.

    Raises:
        ModelFolderInvalid: The file is missing or not an ONNX network with one input.
        ModelHashMismatch: It is not the file that was declared.
        ConfigurationError: onnxruntime is not installed, or CUDA was asked for and its package has none.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigurationError(
            "This model's network is an ONNX file, which needs onnxruntime. Install it: "
            "pip install 'oncoresponse[onnx]'."
        ) from error
    name = require_single_file(declaration)
    content = read_declared_file(directory, declaration.files, name)
    providers: list[str | tuple[str, dict[str, str]]] = ["CPUExecutionProvider"]
    on_cuda = device.type == "cuda" and _CUDA in onnxruntime.get_available_providers()
    if on_cuda:
        providers.insert(0, (_CUDA, {"device_id": str(device.index or 0)}))
    elif device.type == "cuda" and device_is_a_must:
        raise ConfigurationError(
            "The settings ask for CUDA, and the installed onnxruntime has only the CPU. Install onnxruntime-gpu in its "
            "place, or set the device to auto or cpu."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # onnxruntime's own exceptions derive from nothing narrower
        raise ModelFolderInvalid(f"{directory.name}/{name} is not an ONNX file that onnxruntime reads.") from error
    if len(session.get_inputs()) != 1:
        raise ModelFolderInvalid(f"{directory.name}/{name} has {len(session.get_inputs())} inputs; one is expected.")
    input_name, output_name = session.get_inputs()[0].name, session.get_outputs()[0].name

    def predict(window: torch.Tensor) -> torch.Tensor:
        (found,) = session.run([output_name], {input_name: window.cpu().numpy()})
        return torch.from_numpy(found).to(window.device)

    where = device if on_cuda else torch.device("cpu")
    return DeclaredNetwork(predict, declaration.preprocessing, declaration.windows, declaration.output, where)
