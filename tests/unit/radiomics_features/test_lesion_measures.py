"""Measures of a lesion against analytic bodies, brute force and scikit-image."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oncoradiomics.errors import EmptyMaskError, ExtractionError, GeometryError
from oncoradiomics.features import MEASURE_NAMES, SIZE_MEASURE_NAMES, Measure
from oncoradiomics.lesion_measures import (
    PEAK_SPHERE_RADIUS_MM,
    axial_diameters_mm,
    maximum_3d_diameter_mm,
    measure_lesion,
    suv_peak,
)
from oncoradiomics.quantities import SUV_BODY_WEIGHT
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from skimage.measure import find_contours, marching_cubes

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def ellipsoid(direction: np.ndarray, spacing: tuple[float, float, float], semi_axes_mm: tuple[float, float, float]):
    """Mask of an ellipsoid whose axes are the patient's (LPS), on a grid with any spacing and direction."""
    size = 64
    index = np.stack(np.meshgrid(*(np.arange(size),) * 3, indexing="ij"))[::-1].reshape(3, -1)
    offset = (index - (size - 1) / 2) * np.array(spacing)[:, None]
    inside = (((direction @ offset) / np.array(semi_axes_mm)[:, None]) ** 2).sum(axis=0) <= 1
    return inside.reshape(size, size, size)


def values(image: sitk.Image, mask: sitk.Image) -> dict[str, float]:
    return {measure.name: measure.value for measure in measure_lesion(image, mask, SUV_BODY_WEIGHT)}


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.6, 1.6, 3.0), (1.3, 2.1, 1.7)])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flip", [1, -1])
def test_diameters_of_an_ellipsoid_whatever_axis_the_slices_follow(spacing, order, flip):
    direction = np.eye(3)[:, list(order)] * np.array([1, flip, 1])
    region = ellipsoid(direction, spacing, (28.0, 17.0, 31.0))
    longest, perpendicular = axial_diameters_mm(region, spacing, tuple(direction.ravel()))
    # The 62 mm along the patient's axis must not count. A staircase is off by up to half a voxel at each end.
    assert longest == pytest.approx(56.0, abs=max(spacing))
    assert perpendicular == pytest.approx(34.0, abs=max(spacing))


def test_diameters_of_a_sphere_on_an_oblique_anisotropic_grid():
    angle = np.deg2rad(25)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    spacing = (1.2, 0.9, 2.0)
    region = ellipsoid(tilt, spacing, (22.0, 22.0, 22.0))
    longest, perpendicular = axial_diameters_mm(region, spacing, tuple(tilt.ravel()))
    assert longest == pytest.approx(44.0, abs=1.2)
    assert perpendicular == pytest.approx(44.0, abs=1.2)


def test_a_rotated_rectangle_has_its_chord_not_its_shadow():
    """Longest line: the diagonal. At a right angle to it the longest chord is shorter than the shadow (Feret width)."""
    region = np.zeros((1, 40, 40), bool)
    region[0, 5:25, 5:35] = True
    longest, perpendicular = axial_diameters_mm(region, (1.0, 1.0, 1.0), IDENTITY)
    # Outline of a 30 x 20 rectangle with corners cut by half a voxel.
    assert longest == pytest.approx(np.hypot(30, 20), abs=1.0)
    assert perpendicular == pytest.approx(20 * np.hypot(30, 20) / 30, abs=1.0)


def test_two_parts_in_one_slice_are_not_joined():
    region = np.zeros((3, 30, 30), bool)
    region[1, 2:6, 2:6] = region[1, 20:28, 20:22] = True
    longest, _ = axial_diameters_mm(region, (1.0, 1.0, 1.0), IDENTITY)
    assert longest == pytest.approx(8.06, abs=0.3)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    fill=st.floats(0.3, 0.9),
    spacing=st.tuples(st.floats(0.5, 6), st.floats(0.5, 6)),
)
def test_longest_diameter_is_that_of_the_marching_squares_contour(seed, fill, spacing):
    plane = np.random.default_rng(seed).random((9, 9)) < fill
    parts, count = ndimage.label(plane, structure=np.ones((3, 3)))
    assume(count)
    expected = 0.0
    for number in range(1, count + 1):
        contours = find_contours(np.pad(parts == number, 1).astype(float), 0.5)
        points = np.concatenate(contours) * np.array(spacing[::-1])
        expected = max(expected, pdist(points).max())
    longest, perpendicular = axial_diameters_mm(plane[None], (*spacing, 3.0), IDENTITY)
    assert longest == pytest.approx(expected)
    assert 0 < perpendicular <= longest * (1 + 1e-12)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.6, 1.6, 3.0), (1.3, 2.1, 1.7)])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_maximum_3d_diameter_of_an_ellipsoid_is_its_longest_axis_whatever_axis_the_slices_follow(spacing, order):
    direction = np.eye(3)[:, list(order)]
    region = ellipsoid(direction, spacing, (28.0, 17.0, 31.0))
    assert maximum_3d_diameter_mm(region, spacing) == pytest.approx(62.0, abs=max(spacing))


def test_maximum_3d_diameter_does_not_see_how_the_grid_lies_where_the_axial_one_does():
    angle = np.deg2rad(40)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    spacing = (1.2, 0.9, 2.0)
    region = ellipsoid(tilt, spacing, (12.0, 10.0, 26.0))
    longest, perpendicular = axial_diameters_mm(region, spacing, tuple(tilt.ravel()))
    assert maximum_3d_diameter_mm(region, spacing) == pytest.approx(52.0, abs=2.0)
    # The section of the ellipsoid with the acquired plane, 40 degrees from axial: semi-axes of 12 mm along x and
    # 1 / sqrt((cos 40 / 10)^2 + (sin 40 / 26)^2) mm across.
    across = 2 / np.hypot(np.cos(angle) / 10, np.sin(angle) / 26)
    assert (longest, perpendicular) == pytest.approx((max(24.0, across), min(24.0, across)), abs=1.5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.5, 2.5)])
def test_three_diameters_of_a_box_are_its_diagonals_without_the_cut_corners(spacing):
    region = np.zeros((30, 40, 50), bool)
    region[5:25, 5:30, 5:35] = True
    sides = np.array([30, 25, 20]) * spacing
    longest, perpendicular = axial_diameters_mm(region, spacing, IDENTITY)
    # A vertex of the mesh next to a corner is half a voxel away from it along all axes but one.
    assert longest == pytest.approx(np.hypot(*sides[:2]), abs=max(spacing))
    short, long = sorted(sides[:2])
    assert perpendicular == pytest.approx(short * np.hypot(*sides[:2]) / long, abs=max(spacing))
    assert maximum_3d_diameter_mm(region, spacing) == pytest.approx(np.linalg.norm(sides), abs=np.linalg.norm(spacing))


def test_one_voxel_is_as_long_as_its_longest_side():
    region = np.zeros((3, 4, 5), bool)
    region[1, 2, 3] = True
    for spacing in itertools.permutations((1.0, 2.0, 3.0)):
        assert maximum_3d_diameter_mm(region, spacing) == pytest.approx(3.0)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    fill=st.floats(0.05, 0.9),
    spacing=st.tuples(*(st.floats(0.5, 6) for _ in range(3))),
)
def test_maximum_3d_diameter_is_that_of_the_marching_cubes_mesh_of_a_part_also_at_the_edge(seed, fill, spacing):
    region = np.random.default_rng(seed).random((5, 6, 7)) < fill
    assume(region.any())
    parts, count = ndimage.label(region, structure=np.ones((3, 3, 3)))
    expected = 0.0
    for number in range(1, count + 1):
        padded = np.pad(parts == number, 1).astype(float)
        vertices, *_ = marching_cubes(padded, 0.5, spacing=spacing[::-1], allow_degenerate=False)
        expected = max(expected, pdist(vertices[ConvexHull(vertices).vertices]).max())
    found = maximum_3d_diameter_mm(region, spacing)
    assert found == pytest.approx(expected, rel=1e-5)
    assert found >= axial_diameters_mm(region, spacing, IDENTITY)[0] * (1 - 1e-12)


def test_two_parts_are_not_joined_in_space_and_their_diameter_is_not_called_that_of_ibsi(make_image):
    """Two lesions in one mask, one above the other: a line across both is the size of neither."""
    mask = np.zeros((30, 20, 20), np.uint8)
    mask[2:8, 4:10, 4:10] = 1
    uptake = np.full(mask.shape, 2.0)

    def measured() -> Measure:
        images = (make_image(array, spacing=(1, 1, 1)) for array in (uptake, mask))
        return next(item for item in measure_lesion(*images, SUV_BODY_WEIGHT) if item.name == "maximum_3d_diameter")

    one = measured()
    mask[22:26, 4:8, 4:8] = 1
    two = measured()
    assert two.value == one.value == pytest.approx(6 * np.sqrt(3), abs=1.5)
    assert (one.ibsi_id, two.ibsi_id) == ("L0JK", None)
    mask[8, 10, 10] = mask[9, 11, 11] = 1
    assert measured().value > one.value, "what touches at a corner is one part"


def test_diameters_of_a_large_mask_take_no_time():
    """A second is far above what it takes, and far below all pairs of 50,000 vertices."""
    axes = np.ogrid[-50:50, -50:50, -50:50]
    region = sum(axis**2 for axis in axes) <= 48**2
    maximum_3d_diameter_mm(region, (1.0, 1.0, 1.0))
    start = time.process_time()
    assert maximum_3d_diameter_mm(region, (1.0, 1.0, 1.0)) == pytest.approx(96.0, abs=1.5)
    assert time.process_time() - start < 1.0


def peak_by_brute_force(uptake: np.ndarray, region: np.ndarray, spacing: tuple[float, float, float]) -> float:
    centers = np.stack(np.meshgrid(*(np.arange(size) for size in uptake.shape), indexing="ij"), axis=-1)
    centers = centers * np.array(spacing[::-1])
    means = []
    for center in centers[region]:
        near = np.linalg.norm(centers - center, axis=-1) <= PEAK_SPHERE_RADIUS_MM
        means.append(uptake[near].mean())
    return max(means)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spacing=st.tuples(*(st.sampled_from([1.9, 3.27, 4.69, 7.0]) for _ in range(3))))
def test_suv_peak_equals_brute_force_also_at_the_edge_of_the_image(seed, spacing):
    random = np.random.default_rng(seed)
    uptake = random.gamma(2.0, 2.0, (6, 7, 8))
    region = random.random(uptake.shape) < 0.1
    region[0, 0, 0] = True
    assert suv_peak(uptake, region, spacing) == pytest.approx(peak_by_brute_force(uptake, region, spacing))


def test_suv_peak_of_uniform_and_of_linear_uptake():
    spacing = (4.07, 4.07, 3.0)
    region = np.zeros((20, 20, 20), bool)
    region[6:14, 6:14, 6:14] = True
    assert suv_peak(np.full(region.shape, 5.0), region, spacing) == pytest.approx(5.0)
    gradient = np.broadcast_to(1.0 + 0.1 * np.arange(20), region.shape)
    # A sphere is symmetric, so the mean of a linear function is its value at the center.
    assert suv_peak(gradient, region, spacing) == pytest.approx(gradient[region].max())


def test_measures_of_a_block_with_a_hot_core(make_image):
    uptake = np.full((20, 20, 20), 1.0)
    uptake[5:15, 5:15, 5:15] = 4.0
    uptake[8:12, 8:12, 8:12] = 10.0
    mask = np.zeros(uptake.shape, np.uint8)
    mask[5:15, 5:15, 5:15] = 1
    found = values(make_image(uptake, spacing=(2, 2, 2)), make_image(mask, spacing=(2, 2, 2)))
    assert tuple(found) == MEASURE_NAMES
    assert found["lesion_volume"] == pytest.approx(8.0)
    assert found["suv_max"] == 10.0
    assert found["suv_mean"] == pytest.approx((936 * 4 + 64 * 10) / 1000)
    # 41 % of 10 is above 4, so only the core counts: 64 voxels of 8 mm3.
    assert found["metabolic_tumor_volume"] == pytest.approx(0.512)
    assert found["total_lesion_glycolysis"] == pytest.approx(5.12)
    # A 1 ml sphere does not fit in the core of 0.5 ml.
    assert 4.0 < found["suv_peak"] < 10.0


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(0.05, 40), seed=st.integers(0, 2**32 - 1))
def test_uptake_measures_scale_with_suv_and_sizes_do_not(factor, seed):
    random = np.random.default_rng(seed)
    uptake = random.gamma(2.0, 2.0, (7, 8, 9))
    mask = sitk.GetImageFromArray((random.random(uptake.shape) < 0.5).astype(np.uint8))
    first = values(sitk.GetImageFromArray(uptake), mask)
    second = values(sitk.GetImageFromArray(uptake * factor), mask)
    for name in ("suv_max", "suv_peak", "suv_mean"):
        assert second[name] == pytest.approx(first[name] * factor)
    for name in SIZE_MEASURE_NAMES:
        assert second[name] == first[name]


def test_suv_order(lesion):
    found = values(*lesion)
    assert found["suv_max"] >= found["suv_peak"] >= found["suv_mean"] > 0
    assert found["lesion_volume"] >= found["metabolic_tumor_volume"]


def test_what_cannot_be_measured_is_refused(lesion):
    image, mask = lesion
    with pytest.raises(EmptyMaskError):
        measure_lesion(image, mask * 0, SUV_BODY_WEIGHT)
    with pytest.raises(GeometryError):
        measure_lesion(image, sitk.Flip(mask, [False, True, False]), SUV_BODY_WEIGHT)
    with pytest.raises(ExtractionError, match="not above zero"):
        measure_lesion(image * 0, mask, SUV_BODY_WEIGHT)


def test_the_extent_along_the_slices_is_measured_where_it_is_asked_for() -> None:
    region = np.zeros((9, 5, 5), np.uint8)
    region[1, 2, 2] = region[2, 2, 2] = region[6, 3, 3] = 1
    mask = sitk.GetImageFromArray(region)
    mask.SetSpacing((1.0, 1.5, 2.4))
    image = sitk.Cast(mask, sitk.sitkFloat32)
    (found,) = (item for item in measure_lesion(image, mask, "[arb'U]", also=["slice_extent"]) if "extent" in item.name)
    assert (found.value, found.unit) == (pytest.approx(6 * 2.4), "mm"), "the gap between two parts counts"
    assert not [item for item in measure_lesion(image, mask, "[arb'U]") if "extent" in item.name]
