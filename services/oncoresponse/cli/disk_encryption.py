"""Whether a folder lies on an encrypted disk, as far as Linux can tell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_BLOCK_DEVICES = Path("/sys/dev/block")


def encryption_of(folder: Path, block_devices: Path = _BLOCK_DEVICES) -> bool | None:
    """Whether all disks below the file system of a folder are dm-crypt (LUKS) devices.

    Args:
        folder: An existing one.
        block_devices: Where Linux lists block devices by their numbers (sysfs).

    Returns:
        ``None`` where nobody can tell from here: no Linux, a network or container file system, or a disk that somebody
        else encrypts, such as the volume of a cloud.
    """
    number = folder.stat().st_dev
    device = block_devices / f"{os.major(number)}:{os.minor(number)}"
    if not device.exists():
        return None
    return all(_is_crypt(path) for path in _bottom(device)) or None


def _bottom(device: Path) -> Iterator[Path]:
    """The device itself when it is a dm-crypt one, else those it is made of, such as a volume of LVM on LUKS."""
    slaves = device / "slaves"
    below = list(slaves.iterdir()) if slaves.is_dir() else []
    if _is_crypt(device) or not below:
        yield device
        return
    for path in below:
        yield from _bottom(path)


def _is_crypt(device: Path) -> bool:
    try:
        return (device / "dm" / "uuid").read_text(encoding="ascii").startswith("CRYPT-")
    except OSError:
        return False
