"""Check the DICOM intake against NIfTI files that others made of the same patients.

``python -m benchmarks.compare_with_nifti --dicom DIR --nifti DIR`` prints the tables of
``docs/dicom-intake.md``. DIR holds one folder for each patient; a DICOM folder named ``NAME_suffix`` is compared
with the NIfTI folder ``NAME``, which holds CT.nii.gz, PET.nii.gz, CT_tumor.nii.gz and PET_tumor.nii.gz.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from oncoresponse.case.volume import Volume, VolumeGeometry, resample_to
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.slice_geometry import grid_affine
from oncoresponse.dicom.study import convert_study, read_contour, read_study
from oncoresponse.errors import SeriesNotFound
from oncoresponse.model.definition import ImageInput

_FILES = {"PT": "PET", "CT": "CT"}


@dataclass(frozen=True)
class Comparison:
    """One image of one patient.

    Attributes:
        folder: DICOM folder.
        modality: PT or CT.
        voxels: Voxels compared, all those of the NIfTI image.
        grid_distance_mm: Largest distance between a NIfTI voxel centre and the nearest DICOM voxel centre.
        largest_difference: In SUV (g/mL) or HU.
        dice: Overlap of the RTSTRUCT's mask with the NIfTI mask.
        differing_voxels: Voxels that are in one mask only.
        mask_voxels: Voxels of the NIfTI mask.
    """

    folder: str
    modality: str
    voxels: int
    grid_distance_mm: float
    largest_difference: float
    dice: float
    differing_voxels: int
    mask_voxels: int


def compare(dicom: Path, nifti: Path) -> Iterator[Comparison]:
    """Compare every patient that is in both folders.

    Raises:
        OncoResponseError: A study cannot be converted.
    """
    for folder in sorted(entry for entry in dicom.iterdir() if entry.is_dir()):
        found = re.match(r"[A-Za-z]+_\d+", folder.name)
        reference = nifti / (found[0] if found else folder.name)
        if not reference.is_dir():
            continue
        study = read_study(folder)
        for modality, name in _FILES.items():
            try:
                volume = convert_study(study, ImageInput.any_of(modality)).volumes[modality]
            except SeriesNotFound:
                continue
            mask = read_contour(study, ContourRequest(), volume).mask
            yield _compare_image(folder.name, modality, volume, mask, reference, name)


def _compare_image(folder: str, modality: str, volume: Volume, mask: Volume, reference: Path, name: str) -> Comparison:
    # SimpleITK turns the RAS affine of NIfTI into LPS.
    image = sitk.ReadImage(str(reference / f"{name}.nii.gz"))
    tumor = np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(reference / f"{name}_tumor.nii.gz"))), bool)
    ours = _sampled(volume.image, image)
    drawn = _sampled(mask.image, image).astype(bool)
    difference = np.abs(ours.astype(np.float64) - sitk.GetArrayFromImage(image))
    return Comparison(
        folder=folder,
        modality=modality,
        voxels=int(difference.size),
        grid_distance_mm=_grid_distance(volume.with_image(image, volume.quantity).geometry, volume.geometry),
        largest_difference=float(difference.max()),
        dice=2 * float(np.sum(drawn & tumor)) / float(drawn.sum() + tumor.sum()),
        differing_voxels=int(np.sum(drawn ^ tumor)),
        mask_voxels=int(tumor.sum()),
    )


def _sampled(image: sitk.Image, grid: sitk.Image) -> npt.NDArray[np.generic]:
    sampled: npt.NDArray[np.generic] = sitk.GetArrayFromImage(
        resample_to(image, grid, interpolator=sitk.sitkNearestNeighbor, outside=0)
    )
    return sampled


def _grid_distance(inner: VolumeGeometry, outer: VolumeGeometry) -> float:
    """Largest distance of the corners of one grid from the nearest voxel centres of another, in mm."""
    corners = np.array(np.meshgrid(*([0, size - 1] for size in inner.size), [1])).reshape(4, -1)
    points = grid_affine(inner.spacing_mm, inner.origin_mm, inner.direction) @ corners
    affine = grid_affine(outer.spacing_mm, outer.origin_mm, outer.direction)
    nearest = np.rint(np.linalg.solve(affine, points))
    return float(np.linalg.norm((points - affine @ nearest)[:3], axis=0).max())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the comparison as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dicom", type=Path, required=True, metavar="DIR")
    parser.add_argument("--nifti", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    lines = [
        "| DICOM | image | voxels | grids apart (mm) | largest difference | mask voxels | in one mask only | Dice |",
        "|---|---|---|---|---|---|---|---|",
    ]
    found = list(compare(options.dicom, options.nifti))
    for row in found:
        unit = "SUV" if row.modality == "PT" else "HU"
        lines.append(
            f"| {row.folder} | {_FILES[row.modality]} | {row.voxels} | {row.grid_distance_mm:.4f} "
            f"| {row.largest_difference:.5f} {unit} | {row.mask_voxels} | {row.differing_voxels} | {row.dice:.4f} |"
        )
    if found:
        lines += ["", f"Mean Dice {np.mean([row.dice for row in found]):.4f} of {len(found)} masks."]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
