"""What an oncologist knows about a lesion.

Volume and three diameters of any image; of PET also SUVmax, SUVpeak, SUVmean, MTV and TLG, of CT the mean density, of
another image the mean. No measure is given of a quantity that it is not named for. What few ask for is measured only
where it is asked for (:data:`MEASURES_ON_REQUEST`).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from oncoradiomics.errors import ExtractionError
from oncoradiomics.features import MEASURE_NAMES, SIZE_MEASURE_NAMES, Measure
from oncoradiomics.image_checks import lesion_region
from oncoradiomics.quantities import ImageQuantity, image_quantity

MEAN_DENSITY = "mean_density"
MEAN_INTENSITY = "mean_intensity"
SLICE_EXTENT = "slice_extent"
MEASURES_ON_REQUEST = (SLICE_EXTENT,)
"""Names of the measures that any image has and that are given only where they are asked for."""
PEAK_SPHERE_RADIUS_MM = (3.0 * 1000.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
"""Radius of a sphere of 1 ml, 6.204 mm."""
METABOLIC_THRESHOLD_FRACTION = 0.41
"""Of SUVmax; Boellaard et al. 2015, FDG PET/CT: EANM procedure guidelines 2.0, doi:10.1007/s00259-014-2961-x."""

_MM3_PER_ML = 1000.0
_TOUCHING = np.ones((3, 3, 3), dtype=bool)
_BoolArray = npt.NDArray[np.bool_]
_FloatArray = npt.NDArray[np.float64]


def measure_names(quantity: str) -> tuple[str, ...]:
    """Names of the measures that an image of a quantity has, in the order of a report.

    Raises:
        QuantityError: The quantity is not said.
    """
    what = image_quantity(quantity)
    if what.is_suv:
        return MEASURE_NAMES
    return (*SIZE_MEASURE_NAMES, MEAN_DENSITY if what.is_density else MEAN_INTENSITY)


def is_measure_of_another_quantity(name: str, quantity: str) -> bool:
    """Whether ``name`` is a measure that images of this quantity do not have, such as ``suv_max`` of CT.

    Raises:
        QuantityError: The quantity is not said.
    """
    return name in {*MEASURE_NAMES, MEAN_DENSITY, MEAN_INTENSITY} - set(measure_names(quantity))


def measure_lesion(
    image: sitk.Image, mask: sitk.Image, quantity: str, label: int = 1, *, also: Collection[str] = ()
) -> tuple[Measure, ...]:
    """All measures of one lesion.

    Args:
        image: Scalar volume, LPS mm.
        mask: Label map on the image's grid.
        quantity: What a voxel measures, as :func:`~oncoradiomics.quantities.image_quantity` reads it.
        label: The mask's value inside the lesion.
        also: Names of :data:`MEASURES_ON_REQUEST` that are wanted beside these; others are passed by.

    Returns:
        One measure for each name of :func:`measure_names`, in that order, then those asked for.

    Raises:
        QuantityError: The quantity is not said.
        GeometryError: Image and mask are on different grids.
        EmptyMaskError: No voxel has the label.
        ExtractionError: The highest SUV is not above zero, so the image is no PET in SUV.
    """
    what = image_quantity(quantity)
    region = lesion_region(image, mask, label)
    size = _size_measures(image, region)
    of_quantity = _suv_measures(image, region, what) if what.is_suv else (_mean(image, region, what),)
    return (*size, *of_quantity, *((_slice_extent(image, region),) if SLICE_EXTENT in also else ()))


def _size_measures(image: sitk.Image, region: _BoolArray) -> tuple[Measure, ...]:
    longest_mm, perpendicular_mm = axial_diameters_mm(region, image.GetSpacing(), image.GetDirection())
    return (
        Measure(
            name="lesion_volume",
            title="Tumor volume",
            value=int(region.sum()) * _voxel_ml(image),
            unit="ml",
            method="Number of voxels in the contour times the volume of a voxel.",
            ibsi_id="YEKZ",
        ),
        Measure(
            name="longest_axial_diameter",
            title="Longest axial diameter",
            value=longest_mm,
            unit="mm",
            method="Longest straight line between two points of the contour's outline in one axial slice (RECIST 1.1).",
        ),
        Measure(
            name="perpendicular_axial_diameter",
            title="Perpendicular axial diameter",
            value=perpendicular_mm,
            unit="mm",
            method="Longest line at a right angle to the longest axial diameter, in the same slice.",
        ),
        Measure(
            name="maximum_3d_diameter",
            title="Maximum 3D diameter",
            value=maximum_3d_diameter_mm(region, image.GetSpacing()),
            unit="mm",
            method="Longest straight line in space between two points on the surface of one connected part.",
            # IBSI measures across the gap between parts.
            ibsi_id="L0JK" if ndimage.label(region, structure=_TOUCHING)[1] == 1 else None,
        ),
    )


def _slice_extent(image: sitk.Image, region: _BoolArray) -> Measure:
    return Measure(
        name=SLICE_EXTENT,
        title="Extent along the slice axis",
        value=slice_extent_mm(region, image.GetSpacing()),
        unit="mm",
        method="Number of slices from the first to the last with tumor, times their distance.",
    )


def slice_extent_mm(region: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> float:
    """Slices from the first to the last with a voxel of the region, times their distance, in mm; 0 without any.

    Slices between them without the region count, so the gap between two parts does too.

    Args:
        region: Boolean, axes (k, j, i); k is the axis of the slices.
        spacing_mm: Along i, j, k.
    """
    slices = np.flatnonzero(region.any(axis=(1, 2)))
    return 0.0 if len(slices) == 0 else float(slices[-1] - slices[0] + 1) * spacing_mm[2]


def _voxel_ml(image: sitk.Image) -> float:
    return float(np.prod(image.GetSpacing())) / _MM3_PER_ML


def _mean(image: sitk.Image, region: _BoolArray, what: ImageQuantity) -> Measure:
    return Measure(
        name=MEAN_DENSITY if what.is_density else MEAN_INTENSITY,
        title="Mean density" if what.is_density else "Mean intensity",
        value=float(sitk.GetArrayViewFromImage(image)[region].astype(np.float64).mean()),
        unit=what.unit,
        method=f"Mean {'CT density' if what.is_density else 'intensity'} of the voxels in the contour.",
        ibsi_id="Q4LE",
    )


def _suv_measures(image: sitk.Image, region: _BoolArray, what: ImageQuantity) -> tuple[Measure, ...]:
    uptake = sitk.GetArrayViewFromImage(image)
    inside = uptake[region].astype(np.float64)
    suv_max = float(inside.max())
    if suv_max <= 0:
        raise ExtractionError("The highest SUV in the tumor is not above zero. Send PET in body-weight SUV, g/mL.")
    metabolic = inside[inside >= METABOLIC_THRESHOLD_FRACTION * suv_max]
    metabolic_ml = metabolic.size * _voxel_ml(image)
    percent = round(100 * METABOLIC_THRESHOLD_FRACTION)
    return (
        Measure(
            name="suv_max",
            title="SUVmax",
            value=suv_max,
            unit=what.unit,
            method="Highest SUV of a voxel in the contour.",
            ibsi_id="84IY",
        ),
        Measure(
            name="suv_peak",
            title="SUVpeak",
            value=suv_peak(uptake, region, image.GetSpacing()),
            unit=what.unit,
            method="Highest mean SUV in a sphere of 1 ml centered on a voxel of the contour.",
            ibsi_id="0F91",
        ),
        Measure(
            name="suv_mean",
            title="SUVmean",
            value=float(inside.mean()),
            unit=what.unit,
            method="Mean SUV of the voxels in the contour.",
            ibsi_id="Q4LE",
        ),
        Measure(
            name="metabolic_tumor_volume",
            title="Metabolic tumor volume (MTV)",
            value=metabolic_ml,
            unit="ml",
            method=f"Volume of the voxels in the contour with at least {percent} % of SUVmax.",
        ),
        Measure(
            name="total_lesion_glycolysis",
            title="Total lesion glycolysis (TLG)",
            value=float(metabolic.mean()) * metabolic_ml,
            unit="g",
            method=f"MTV times the mean SUV in it, with MTV at {percent} % of SUVmax.",
        ),
    )


def suv_peak(
    uptake: npt.NDArray[np.generic], region: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> float:
    """IBSI global intensity peak (0F91): highest mean in a 1 ml sphere centered on a voxel of the region.

    The mean is over the voxels whose centers lie in the sphere, whether in the region or not; what lies beyond the
    image is left out.

    Args:
        uptake: Axes (k, j, i).
        region: Boolean, same axes.
        spacing_mm: Along i, j, k.
    """
    step = np.asarray(spacing_mm[::-1], dtype=np.float64)
    reach = np.floor(PEAK_SPHERE_RADIUS_MM / step).astype(int)
    offsets = np.meshgrid(*(np.arange(-n, n + 1) * width for n, width in zip(reach, step, strict=True)), indexing="ij")
    sphere = (sum(offset**2 for offset in offsets) <= PEAK_SPHERE_RADIUS_MM**2).astype(np.float64)

    box = tuple(
        slice(max(part.start - margin, 0), part.stop + margin)
        for part, margin in zip(ndimage.find_objects(region.astype(np.uint8))[0], reach, strict=True)
    )
    values = uptake[box].astype(np.float64)
    total = ndimage.correlate(values, sphere, mode="constant", cval=0.0)
    voxels = ndimage.correlate(np.ones_like(values), sphere, mode="constant", cval=0.0)
    return float((total / voxels)[region[box]].max())


def axial_diameters_mm(
    region: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float], direction: tuple[float, ...]
) -> tuple[float, float]:
    """Longest axial diameter and the one at a right angle to it in the same slice, in mm.

    Axial slices are the grid planes whose normal is nearest to the patient's long axis (LPS z); on an oblique grid they
    are as oblique as the grid. In each slice each connected part is measured by itself, so the gap between two parts
    never counts. The outline runs half-way between a voxel inside and its neighbor outside (marching squares on the
    mask); the diameter is that of its convex hull and may leave a concave lesion.

    Args:
        region: Boolean, axes (k, j, i).
        spacing_mm: Along i, j, k.
        direction: Nine cosines, row-major; column n is the LPS direction of index axis n.

    Returns:
        (longest, perpendicular). Sources of the definitions: the longest as in RECIST 1.1, in the plane of acquisition,
        doi:10.1016/j.ejca.2008.10.026; the longest at a right angle to it as in the WHO criteria, Miller et al. 1981,
        doi:10.1002/1097-0142(19810101)47:1<207::AID-CNCR2820470134>3.0.CO;2-6.
    """
    normal_axis = int(np.argmax(np.abs(np.asarray(direction).reshape(3, 3)[2])))
    in_plane_mm = np.delete(np.asarray(spacing_mm, dtype=np.float64), normal_axis)[::-1]
    slices = np.moveaxis(region, 2 - normal_axis, 0)

    in_plane_neighbors = np.zeros((3, 3, 3), dtype=bool)
    in_plane_neighbors[1] = True
    parts, _ = ndimage.label(slices, structure=in_plane_neighbors)
    best = (0.0, 0.0)
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        outline = _hull_of_outline(parts[box][0] == number, in_plane_mm)
        # A part whose bounding box has a shorter diagonal cannot hold a longer line.
        if np.linalg.norm(np.ptp(outline, axis=0)) <= best[0]:
            continue
        distances = squareform(pdist(outline))
        first, second = np.unravel_index(int(np.argmax(distances)), distances.shape)
        if distances[first, second] > best[0]:
            along = (outline[second] - outline[first]) / distances[first, second]
            best = (float(distances[first, second]), _longest_perpendicular_chord(outline, along))
    return best


def maximum_3d_diameter_mm(region: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> float:
    """Greatest distance in space of two points on the surface of one connected part, in mm.

    The surface's points lie half-way between the centers of a voxel inside and a neighbor outside along a grid axis
    (vertices of marching cubes on the mask), so the diameter is neither that of voxel centers nor that of voxel
    corners; what lies beyond the image counts as outside. Of a region in one part it is the IBSI maximum 3D diameter
    (L0JK). Each part (voxels that share a face, an edge or a corner) is measured by itself, as by
    :func:`axial_diameters_mm`, whose points are among these: the gap between two parts never counts, and the longest
    axial diameter is never greater. It depends on no direction: distances are the same on an oblique grid.

    Args:
        region: Boolean, axes (k, j, i), with at least one voxel.
        spacing_mm: Along i, j, k.
    """
    # Loads compiled code, which those who only ask for names of measures do without.
    from oncoradiomics.native.morphology import mesh_diameters

    step = (spacing_mm[2], spacing_mm[1], spacing_mm[0])
    parts, _ = ndimage.label(region, structure=_TOUCHING)
    longest = 0.0
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        part = parts[box] == number
        # A part whose bounding box has a shorter diagonal cannot hold a longer line.
        if np.linalg.norm(np.multiply(part.shape, step)) > longest:
            longest = max(longest, mesh_diameters(np.pad(part, 1).astype(np.uint8), step)[3])
    return longest


def _hull_of_outline(part: _BoolArray, in_plane_mm: _FloatArray) -> _FloatArray:
    """Corners, counterclockwise, of the convex hull around the half-voxel outline; axes (row, column), mm."""
    centers = np.argwhere(part & ~ndimage.binary_erosion(part)).astype(np.float64)
    half = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])
    points = (centers[:, None, :] + half[None, :, :]).reshape(-1, 2) * in_plane_mm
    corners: _FloatArray = points[ConvexHull(points).vertices]
    return corners


def _longest_perpendicular_chord(corners: _FloatArray, along: _FloatArray) -> float:
    """Longest chord of a convex polygon at a right angle to the unit vector ``along``."""
    position = corners @ along
    height = corners @ np.array([-along[1], along[0]])
    start, end = int(np.argmin(position)), int(np.argmax(position))
    count = len(corners)
    lower = (start + np.arange((end - start) % count + 1)) % count
    upper = (end + np.arange((start - end) % count + 1)) % count
    # The chord's length is concave along the polygon and bends only at corners, so its maximum is at one.
    chord = np.interp(position, position[upper[::-1]], height[upper[::-1]]) - np.interp(
        position, position[lower], height[lower]
    )
    return float(np.abs(chord).max())
