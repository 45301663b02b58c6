"""Image files that are whole. ITK reads a NIfTI file that breaks off as zeros from there on, without an error."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import SimpleITK as sitk

from oncoradiomics.errors import ImageFileError

_NIFTI = "NiftiImageIO"
_BLOCK_BYTES = 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"


def read_image(path: Path) -> sitk.Image:
    """Read a volume in any format SimpleITK knows; LPS, mm.

    Raises:
        ImageFileError: The file cannot be read as an image, or ends before its last voxel.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        image: sitk.Image = reader.Execute()
    except RuntimeError:
        # SimpleITK's message holds the path, which may hold a patient's name.
        raise ImageFileError(
            "The image or the mask cannot be read. Send NRRD, NIfTI or another format SimpleITK reads."
        ) from None
    if reader.GetImageIOFromFileName(str(path)) == _NIFTI and not _holds_all_voxels(path, reader):
        raise ImageFileError(
            "The image or the mask ends before its last voxel, or is damaged. Copy or export the file again."
        )
    return image


def _holds_all_voxels(path: Path, reader: sitk.ImageFileReader) -> bool:
    # NIfTI-1: data begin at vox_offset of the same file, except in pairs of .hdr and .img, where it is 0.
    first = float(reader.GetMetaData("vox_offset"))
    if first == 0:
        return True
    wanted: float = first + math.prod(reader.GetSize()) * int(reader.GetMetaData("bitpix")) / 8
    try:
        return _inflated_bytes(path) >= wanted
    except (EOFError, OSError, zlib.error):
        return False


def _inflated_bytes(path: Path) -> int:
    """Length of the file, without compression. gzip's own check sum is compared at the end (RFC 1952)."""
    with path.open("rb") as file:
        if file.read(len(_GZIP_MAGIC)) != _GZIP_MAGIC:
            return path.stat().st_size
        file.seek(0)
        with gzip.open(file) as inflated:
            return sum(len(block) for block in iter(lambda: inflated.read(_BLOCK_BYTES), b""))
