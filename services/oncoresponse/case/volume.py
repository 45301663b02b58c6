"""An image volume together with the geometry and the unit it must never be parted from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from oncoresponse.case.document import Tolerant
from oncoresponse.case.quantity import Quantity
from oncoresponse.errors import FrameOfReferenceMismatch, GeometryMismatch

# Two scanners' headers that describe one grid differ in the last printed digit of a DICOM DS (16
# characters); a tenth of a micrometre is far above that and far below anything anatomical.
_POSITION_TOLERANCE_MM = 1e-4
_DIRECTION_TOLERANCE = 1e-5
_FRAME_OF_REFERENCE_KEY = "frame_of_reference_uid"
_SERIES_KEY = "series_instance_uid"
_QUANTITY_KEY = "quantity"
_NRRD_MAGIC = b"NRRD"


class VolumeGeometry(Tolerant):
    """A voxel grid in the DICOM patient coordinate system (LPS, mm).

    Attributes:
        size: Voxels along i (columns), j (rows), k (slices).
        spacing_mm: Distance between voxel centres along i, j, k.
        origin_mm: LPS position of the centre of voxel (0, 0, 0).
        direction: Nine cosines, row-major; column n is the LPS direction of index axis n.
        frame_of_reference_uid: DICOM (0020,0052) that the positions belong to.
    """

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[float, float, float, float, float, float, float, float, float]
    frame_of_reference_uid: str

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in mm3."""
        return float(np.prod(self.spacing_mm))


class _MemoryOfImage:
    """Ties an array to the image it looks into: SimpleITK's own view dangles once the image is gone."""

    def __init__(self, image: sitk.Image) -> None:
        self._image = image
        self.__array_interface__ = sitk.GetArrayViewFromImage(image).__array_interface__


@dataclass(frozen=True, eq=False)
class Volume:
    """A SimpleITK image (LPS, mm) with its meaning.

    Attributes:
        image: Three-dimensional. ``sitk.GetArrayViewFromImage`` gives axes (k, j, i).
        quantity: What a voxel measures; decides the unit.
        frame_of_reference_uid: DICOM (0020,0052).
        series_instance_uid: The series the volume came from, or is drawn on (for a mask).
    """

    image: sitk.Image
    quantity: Quantity
    frame_of_reference_uid: str
    series_instance_uid: str

    @property
    def geometry(self) -> VolumeGeometry:
        """The grid as plain data."""
        return VolumeGeometry(
            size=self.image.GetSize(),
            spacing_mm=self.image.GetSpacing(),
            origin_mm=self.image.GetOrigin(),
            direction=self.image.GetDirection(),
            frame_of_reference_uid=self.frame_of_reference_uid,
        )

    @property
    def array(self) -> npt.NDArray[np.generic]:
        """A read-only view with axes (k, j, i): slice, row, column. It keeps the image's memory alive."""
        return np.asarray(_MemoryOfImage(self.image))

    def with_image(self, image: sitk.Image, quantity: Quantity) -> Volume:
        """A volume of another quantity in the same frame of reference and of the same series."""
        return Volume(image, quantity, self.frame_of_reference_uid, self.series_instance_uid)


def require_same_frame_of_reference(first: Volume, second: Volume) -> None:
    """Refuse two volumes whose positions cannot be compared.

    Raises:
        FrameOfReferenceMismatch: The two frame of reference UIDs differ.
    """
    if first.frame_of_reference_uid != second.frame_of_reference_uid:
        raise FrameOfReferenceMismatch(
            f"The {first.quantity} and the {second.quantity} volume have different frames of reference, so their "
            "positions cannot be compared. Send series of one examination, or register them first."
        )


def require_same_grid(first: Volume, second: Volume) -> None:
    """Refuse two volumes that do not share every voxel centre.

    Raises:
        FrameOfReferenceMismatch: The two frame of reference UIDs differ.
        GeometryMismatch: Size, spacing, origin or direction differ.
    """
    require_same_frame_of_reference(first, second)
    if not same_grid(first.image, second.image):
        raise GeometryMismatch(
            f"The {first.quantity} and the {second.quantity} volume are on different voxel grids. "
            "Draw or resample the mask on the image's own grid."
        )


def same_grid(first: sitk.Image, second: sitk.Image) -> bool:
    """Whether two images have the same voxel centres, within a tenth of a micrometre a voxel."""
    return (
        first.GetSize() == second.GetSize()
        and np.allclose(first.GetSpacing(), second.GetSpacing(), rtol=0, atol=_POSITION_TOLERANCE_MM / 10)
        and np.allclose(first.GetOrigin(), second.GetOrigin(), rtol=0, atol=_POSITION_TOLERANCE_MM)
        and np.allclose(first.GetDirection(), second.GetDirection(), rtol=0, atol=_DIRECTION_TOLERANCE)
    )


def resample_to(moving: sitk.Image, grid: sitk.Image, *, interpolator: int, outside: float) -> sitk.Image:
    """Sample ``moving`` at the voxel centres of ``grid``, both in LPS mm; ``outside`` fills what lies beyond."""
    return sitk.Resample(moving, grid, sitk.Transform(), interpolator, outside, moving.GetPixelID())


def write_volume(volume: Volume, path: Path) -> None:
    """Write a volume as gzip-compressed NRRD, which keeps LPS geometry in full double precision.

    The same volume gives the same bytes.
    """
    image = sitk.Image(volume.image)
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    image.SetMetaData(_FRAME_OF_REFERENCE_KEY, volume.frame_of_reference_uid)
    image.SetMetaData(_SERIES_KEY, volume.series_instance_uid)
    image.SetMetaData(_QUANTITY_KEY, volume.quantity.value)
    sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=1)


def read_volume(path: Path) -> Volume:
    """Read what :func:`write_volume` wrote.

    Raises:
        GeometryMismatch: The file has no frame of reference or quantity, so it cannot be placed.
    """
    image = sitk.ReadImage(str(path))
    keys = image.GetMetaDataKeys()
    if not {_FRAME_OF_REFERENCE_KEY, _SERIES_KEY, _QUANTITY_KEY} <= set(keys):
        raise GeometryMismatch(
            "The volume file does not say which frame of reference, series and quantity it holds. "
            "Use a volume written by this service."
        )
    return Volume(
        image,
        Quantity(image.GetMetaData(_QUANTITY_KEY)),
        image.GetMetaData(_FRAME_OF_REFERENCE_KEY),
        image.GetMetaData(_SERIES_KEY),
    )


def quantity_of_file(path: Path) -> Quantity | None:
    """What the voxels of a stored volume measure, from its header; ``None`` when it is no volume of this service."""
    with path.open("rb") as file:
        if file.read(len(_NRRD_MAGIC)) != _NRRD_MAGIC:
            return None
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return Quantity(reader.GetMetaData(_QUANTITY_KEY)) if reader.HasMetaDataKey(_QUANTITY_KEY) else None
