"""Where networks run: the setting ``device`` as a torch device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from oncoresponse.errors import ConfigurationError, OutOfMemory

DEVICE_PATTERN = r"^(auto|cpu|cuda|cuda:[0-9]{1,2})$"
"""``auto`` is CUDA where there is a device, else the CPU; ``cuda:1`` is the second CUDA device."""


def choose_device(device: str) -> torch.device:
    """The torch device of a setting.

    Args:
        device: See :data:`DEVICE_PATTERN`.

    Raises:
        ConfigurationError: It is not a device name, or names a CUDA device that is not there.
    """
    if not re.fullmatch(DEVICE_PATTERN, device):
        raise ConfigurationError(f"No device is called {device[:20]!r}. Use auto, cpu, cuda, or cuda:0, cuda:1...")
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device != "cpu" and not torch.cuda.is_available():
        raise ConfigurationError("The settings ask for CUDA, and this machine has no CUDA device. Use auto or cpu.")
    chosen = torch.device(device)
    if chosen.index is not None and chosen.index >= torch.cuda.device_count():
        raise ConfigurationError(
            f"The settings ask for {device}, and this machine has {torch.cuda.device_count()} CUDA devices, counted "
            "from cuda:0."
        )
    return chosen


def device_in_words(device: str) -> str:
    """Where networks run, for a record: ``cpu``, or ``cuda`` with the name of the GPU and the version of CUDA."""
    chosen = choose_device(device)
    if chosen.type != "cuda":
        return chosen.type
    return f"cuda ({torch.cuda.get_device_name(chosen)}, CUDA {torch.version.cuda})"


@contextmanager
def gpu_memory_errors() -> Iterator[None]:
    """Turn torch's report of a full GPU into an error that says what to do, and free what torch has cached.

    Raises:
        OutOfMemory: The GPU's memory did not suffice.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise OutOfMemory(
            "The GPU ran out of memory during segmentation. Try again when other work on it has finished, or run the "
            "segmentation on the CPU."
        ) from error
