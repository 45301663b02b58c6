"""Files of ``torch.save``, read without ever running what a pickle asks for.

``torch.load(weights_only=True)`` refuses every class and function but tensors and plain containers. nnU-Net also stores
numbers of numpy beside the weights. They are read by two small stand-ins of ours, which build nothing but numbers, so
that numpy's own constructors stay out of reach of the file.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from oncoresponse.errors import ModelFolderInvalid

_NUMBER_TYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
_PREFIXES = ("module.", "_orig_mod.")


class _NumberType:
    """Stands for ``numpy.dtype`` in a checkpoint."""

    def __init__(self, code: object, _align: object = False, _copy: object = True) -> None:
        if code not in _NUMBER_TYPES:
            raise pickle.UnpicklingError("a numpy type that is not a number")
        self.code = str(code)
        self.byte_order: Literal["<", ">"] = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.byte_order = ">" if state[1] == ">" else "<"


def _number(kind: object, content: object) -> float | int | bool:
    """Stands for ``numpy.core.multiarray.scalar`` in a checkpoint."""
    if not isinstance(kind, _NumberType) or not isinstance(content, bytes):
        raise pickle.UnpicklingError("a numpy value that is not a number")
    number: float | int | bool = np.frombuffer(content, np.dtype(kind.code).newbyteorder(kind.byte_order))[0].item()
    return number


_STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_NumberType, "numpy.dtype"),
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
]


def load_checkpoint(content: bytes, name: str) -> dict[str, Any]:
    """The dictionary in a file of ``torch.save``, on the CPU.

    Args:
        content: The file.
        name: For error messages.

    Raises:
        ModelFolderInvalid: The file asks for anything but tensors, containers, text and numbers, or is unreadable.
    """
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise ModelFolderInvalid(f"{name} is refused: it is not a file that torch.save of torch 1.6 or later wrote.")
    try:
        with torch.serialization.safe_globals(_STAND_INS):
            found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFolderInvalid(
            f"{name} holds more than tensors, containers, text and numbers, and is refused, because reading it could "
            "run code. Save the weights alone (torch.save of the state dictionary, or safetensors)."
        ) from error
    except (RuntimeError, EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError, OSError) as error:
        raise ModelFolderInvalid(f"{name} is not a complete file of torch.save.") from error
    if not isinstance(found, dict):
        raise ModelFolderInvalid(f"{name} does not hold a dictionary.")
    return found


def load_state_dictionary(content: bytes, name: str) -> dict[str, torch.Tensor]:
    """Weights from safetensors or a file of ``torch.save``, bare or below ``state_dict``, ``model`` or ``network``.

    Raises:
        ModelFolderInvalid: The file is unreadable or holds no weights.
    """
    if name.endswith(".safetensors"):
        try:
            return dict(load_safetensors(content))
        except SafetensorError as error:
            raise ModelFolderInvalid(f"{name} is not a safetensors file.") from error
    found = load_checkpoint(content, name)
    for key in ("state_dict", "model", "network"):
        if isinstance(found.get(key), dict):
            found = found[key]
    return only_tensors(found, name)


def only_tensors(found: dict[str, Any], name: str) -> dict[str, torch.Tensor]:
    """The state dictionary without the prefixes that DataParallel and torch.compile put before each name.

    Raises:
        ModelFolderInvalid: It is empty or holds something else than tensors.
    """
    if not found or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ModelFolderInvalid(f"{name} does not hold a state dictionary of tensors.")
    return {_without_prefix(key): value for key, value in found.items()}


def load_weights(network: torch.nn.Module, weights: dict[str, torch.Tensor], name: str) -> torch.nn.Module:
    """Put weights into a network, every one of them, as float32; evaluation mode.

    Raises:
        ModelFolderInvalid: They belong to another architecture.
    """
    try:
        network.load_state_dict(
            {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}
        )
    except RuntimeError as error:
        raise ModelFolderInvalid(f"{name} does not hold weights of the architecture that is declared.") from error
    return network.eval()


def _without_prefix(key: str) -> str:
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return key
