"""Copies of the sample study that no two of are the same bytes, so that nothing is stored once for several.

The store keeps equal content once. A hospital's studies are never equal, so each copy has its own UIDs, Patient ID and
one other value in each slice.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from pydicom import dcmread

_UID_KEYWORDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")


def write_copies(study: Path, folder: Path, first: int, count: int) -> list[Path]:
    """Write copies of a study.

    Args:
        study: Folder of uncompressed CT and PET slices; objects without pixels are left out.
        folder: Where the copies are written to, a folder each.
        first: Number of the first copy.
        count: How many.

    Returns:
        The folders.
    """
    read = [dcmread(path) for path in sorted(study.rglob("*")) if path.is_file()]
    datasets = [dataset for dataset in read if "PixelData" in dataset]
    originals = [[str(dataset[keyword].value) for keyword in _UID_KEYWORDS] for dataset in datasets]
    pixels = [bytes(dataset.PixelData) for dataset in datasets]
    folders = []
    for number in range(first, first + count):
        target = folder / f"study-{number}"
        target.mkdir(parents=True)
        for position, dataset in enumerate(datasets):
            for keyword, original in zip(_UID_KEYWORDS, originals[position], strict=True):
                setattr(dataset, keyword, f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{original}/{number}').int}")
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.PatientID = f"SCALE-{number}"
            # The voxel in the first corner, air, gets one of 256 values.
            dataset.PixelData = bytes([(pixels[position][0] + number) % 256]) + pixels[position][1:]
            dataset.save_as(target / f"{position:04d}.dcm")
        folders.append(target)
    return folders
