"""Single slices to one regular grid, or the reason why they are none.

DICOM PS3.3 C.7.6.2.1.1: Image Orientation (Patient) gives the direction of a row (along which the column
index grows) and then of a column; Pixel Spacing gives the distance between rows first, then between
columns. The volume's index axes are therefore i = along the row direction with the *second* spacing,
j = along the column direction with the *first*, k = along their cross product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.dicom import attributes
from oncoresponse.dicom.reading import Instance
from oncoresponse.errors import (
    DicomError,
    DuplicateSlices,
    GantryTilt,
    InvalidAttribute,
    MissingSlices,
    MixedOrientation,
    TooFewSlices,
    UnevenSlices,
)

Vector = npt.NDArray[np.float64]

MODALITY_NAMES = {"PT": "PET", "CT": "CT", "MR": "MR"}
"""What people call a DICOM modality."""

MINIMUM_SLICES = 3
_UNIT_LENGTH_TOLERANCE = 1e-3
_ORIENTATION_TOLERANCE = 1e-3
_PIXEL_SPACING_TOLERANCE_MM = 1e-3
_SAME_POSITION_MM = 0.01
# Scanners print positions with two decimals, and where one bed position ends and the next begins a step may
# be off by 2 to 3 % (GE Discovery ST: 3.19 among 3.27 mm). What counts is that no slice lies elsewhere than
# the regular grid says, so the distance of each slice from the grid is held to the same bound.
_STEP_TOLERANCE_FRACTION = 0.05
_STEP_TOLERANCE_MM = 0.05
# Half a pixel over the whole stack: beyond it, a voxel would be drawn in the wrong place.
_SHEAR_TOLERANCE_PIXELS = 0.5


@dataclass(frozen=True, eq=False)
class SlicePlane:
    """Where one slice lies in the patient (LPS, mm).

    Attributes:
        position: Centre of the pixel in the first row and first column.
        row_direction: Unit vector along which the column index grows.
        column_direction: Unit vector along which the row index grows.
        row_spacing_mm: Distance between rows.
        column_spacing_mm: Distance between columns.
        rows: Number of rows.
        columns: Number of columns.
    """

    position: Vector
    row_direction: Vector
    column_direction: Vector
    row_spacing_mm: float
    column_spacing_mm: float
    rows: int
    columns: int

    @property
    def normal(self) -> Vector:
        """Unit vector of the index axis k."""
        return np.cross(self.row_direction, self.column_direction)


@dataclass(frozen=True, eq=False)
class SliceStack:
    """Slices in the order of index axis k, and the regular grid they form (LPS, mm).

    Attributes:
        instances: One for each slice.
        size: Voxels along i, j, k.
        spacing_mm: Along i, j, k.
        origin_mm: Centre of voxel (0, 0, 0).
        direction: Nine cosines, row-major; column n belongs to index axis n.
    """

    instances: tuple[Instance, ...]
    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[float, ...]

    @property
    def index_to_patient(self) -> npt.NDArray[np.float64]:
        """Affine, shape (4, 4): homogeneous (i, j, k) to LPS mm."""
        return grid_affine(self.spacing_mm, self.origin_mm, self.direction)


def grid_affine(
    spacing_mm: Sequence[float], origin_mm: Sequence[float], direction: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Affine, shape (4, 4), of a grid: homogeneous (i, j, k) to LPS mm; direction as in :class:`SliceStack`."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(direction, (3, 3)) * spacing_mm
    affine[:3, 3] = origin_mm
    return affine


def volume_of_stack(stack: SliceStack, array: npt.NDArray[np.generic], quantity: Quantity) -> Volume:
    """Join voxel values with the grid of their slices.

    Args:
        stack: The grid.
        array: Axes (k, j, i), as many voxels as the grid.
        quantity: What the values measure.

    Raises:
        MissingAttribute: The series has no frame of reference, so the volume could not be compared with any other.
    """
    first = stack.instances[0]
    if first.frame_of_reference_uid is None:
        raise attributes.missing("FrameOfReferenceUID")
    image = sitk.GetImageFromArray(array)
    place_image(image, stack.spacing_mm, stack.origin_mm, stack.direction)
    return Volume(image, quantity, first.frame_of_reference_uid, first.series_instance_uid)


def place_image(
    image: sitk.Image, spacing_mm: Sequence[float], origin_mm: Sequence[float], direction: Sequence[float]
) -> None:
    """Give an image its grid (LPS, mm), as :class:`SliceStack` describes one."""
    image.SetSpacing(spacing_mm)
    image.SetOrigin(origin_mm)
    image.SetDirection(direction)


def slice_plane(instance: Instance) -> SlicePlane:
    """Read where a slice lies.

    Raises:
        MissingAttribute: Position, orientation, spacing or size is absent.
        InvalidAttribute: One of them cannot be true.
    """
    dataset = instance.dataset
    position = attributes.required_numbers(dataset, "ImagePositionPatient", 3)
    cosines = np.array(attributes.required_numbers(dataset, "ImageOrientationPatient", 6))
    spacing = attributes.required_numbers(dataset, "PixelSpacing", 2)
    rows = attributes.required_number(dataset, "Rows")
    columns = attributes.required_number(dataset, "Columns")
    row, column = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if (
        max(abs(length - 1) for length in lengths) > _UNIT_LENGTH_TOLERANCE
        or abs(float(row @ column)) > _UNIT_LENGTH_TOLERANCE
    ):
        raise InvalidAttribute(
            "ImageOrientationPatient does not hold two perpendicular unit vectors. Correct it at the source.",
            keyword="ImageOrientationPatient",
        )
    if min(spacing) <= 0:
        raise InvalidAttribute("PixelSpacing must be above zero. Correct it at the source.", keyword="PixelSpacing")
    if min(rows, columns) < 1:
        raise InvalidAttribute("Rows and Columns must be above zero. Export the image again.", keyword="Rows")
    row = row / lengths[0]
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return SlicePlane(np.array(position), row, column, spacing[0], spacing[1], int(rows), int(columns))


def stack_slices(instances: Sequence[Instance]) -> SliceStack:
    """Sort slices along their normal and make sure that they form one regular grid.

    Args:
        instances: Single-frame slices of one series and frame of reference, in any order.

    Raises, each with the modality in message and metadata:
        TooFewSlices: Fewer than three.
        MixedOrientation: Slices differ in orientation, matrix size or pixel spacing.
        DuplicateSlices: Two slices lie in one place.
        MissingSlices: A gap is a whole multiple of the slice distance.
        UnevenSlices: The slice distance varies otherwise, or slices are shifted within their plane.
        GantryTilt: Slices lean: the stack is sheared.
        MissingAttribute, InvalidAttribute: As :func:`slice_plane`.
    """
    try:
        return _stack(instances)
    except DicomError as error:
        # A study holds several series; the UID, which would tell them apart, must not reach a log.
        modality = instances[0].modality
        name = MODALITY_NAMES.get(modality, modality)
        raise type(error)(f"{name}: {error.message}", **{**error.metadata, "modality": modality}) from None


def _stack(instances: Sequence[Instance]) -> SliceStack:
    if len(instances) < MINIMUM_SLICES:
        raise TooFewSlices(
            f"The series has {len(instances)} slice(s); a volume needs at least {MINIMUM_SLICES}. "
            "Send the complete series.",
            slices=len(instances),
        )
    planes = [slice_plane(instance) for instance in instances]
    _require_alike(planes)
    normal = planes[0].normal
    distances = np.array([plane.position @ normal for plane in planes])
    # Equal distances are refused below; the UID only makes the order independent of the input until then.
    order = sorted(range(len(planes)), key=lambda n: (distances[n], instances[n].sop_instance_uid))
    ordered = [planes[n] for n in order]
    spacing = _slice_spacing(distances[order])
    _require_straight(ordered, normal)
    first = ordered[0]
    return SliceStack(
        instances=tuple(instances[n] for n in order),
        size=(first.columns, first.rows, len(ordered)),
        spacing_mm=(first.column_spacing_mm, first.row_spacing_mm, spacing),
        origin_mm=(float(first.position[0]), float(first.position[1]), float(first.position[2])),
        direction=tuple(np.column_stack([first.row_direction, first.column_direction, normal]).ravel().tolist()),
    )


def _require_alike(planes: list[SlicePlane]) -> None:
    first = planes[0]
    for plane in planes[1:]:
        if (plane.rows, plane.columns) != (first.rows, first.columns):
            differing = "matrix size"
        elif (
            abs(plane.row_spacing_mm - first.row_spacing_mm) > _PIXEL_SPACING_TOLERANCE_MM
            or abs(plane.column_spacing_mm - first.column_spacing_mm) > _PIXEL_SPACING_TOLERANCE_MM
        ):
            differing = "pixel spacing"
        elif (
            np.abs(plane.row_direction - first.row_direction).max() > _ORIENTATION_TOLERANCE
            or np.abs(plane.column_direction - first.column_direction).max() > _ORIENTATION_TOLERANCE
        ):
            differing = "orientation"
        else:
            continue
        raise MixedOrientation(
            f"The slices of the series differ in {differing}, so they are not one volume. "
            "Send scouts and reformatted views as series of their own.",
            differing=differing,
        )


def _slice_spacing(distances: Vector) -> float:
    """Slice distance in mm of ascending positions along the normal."""
    steps = np.diff(distances)
    if np.any(steps < _SAME_POSITION_MM):
        count = int(np.count_nonzero(steps < _SAME_POSITION_MM))
        raise DuplicateSlices(
            f"{count} slice(s) lie in the same place as another one. Send one phase, gate or reconstruction as "
            "one series.",
            slices=count,
        )
    typical = float(np.median(steps))
    tolerance = max(_STEP_TOLERANCE_MM, _STEP_TOLERANCE_FRACTION * typical)
    odd = np.abs(steps - typical) > tolerance
    if np.any(odd):
        multiples = np.rint(steps[odd] / typical)
        whole = np.abs(steps[odd] - multiples * typical) <= tolerance * np.maximum(multiples, 1)
        if np.all(whole & (multiples >= 2)):
            count = int(np.sum(multiples - 1))
            raise MissingSlices(f"{count} slice(s) of the series are missing. Send the complete series.", slices=count)
        raise _uneven(steps)
    spacing = float(distances[-1] - distances[0]) / (len(distances) - 1)
    grid = distances[0] + spacing * np.arange(len(distances))
    if np.abs(distances - grid).max() > tolerance:
        raise _uneven(steps)
    return spacing


def _uneven(steps: Vector) -> UnevenSlices:
    return UnevenSlices(
        "The distance between slices varies, so the series is not one regular volume. "
        "Send a reconstruction with even slice distance.",
        smallest_mm=round(float(steps.min()), 3),
        largest_mm=round(float(steps.max()), 3),
    )


def _require_straight(planes: list[SlicePlane], normal: Vector) -> None:
    first = planes[0]
    offsets = np.array([plane.position - first.position for plane in planes])
    lateral = offsets - np.outer(offsets @ normal, normal)
    lengths = np.linalg.norm(lateral, axis=1)
    tolerance = _SHEAR_TOLERANCE_PIXELS * min(first.row_spacing_mm, first.column_spacing_mm)
    if lengths.max() <= tolerance:
        return
    straight_line = np.outer(offsets @ normal / (offsets[-1] @ normal), lateral[-1])
    if np.linalg.norm(lateral - straight_line, axis=1).max() <= tolerance:
        degrees = float(np.degrees(np.arctan2(lengths[-1], abs(float(offsets[-1] @ normal)))))
        raise GantryTilt(
            f"The slices lean by {degrees:.1f} degrees (gantry tilt). Send a series that was corrected for the tilt.",
            degrees=round(degrees, 1),
        )
    raise UnevenSlices(
        "Slices are shifted against each other within their plane, so the series is not one regular volume. "
        "Send the original reconstruction."
    )
