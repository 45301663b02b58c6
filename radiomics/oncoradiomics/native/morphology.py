"""Shape of a lesion (IBSI 3.1): mesh by marching cubes, diameters of the mesh, principal axes of the voxels."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from oncoradiomics.native.compiled import compiled
from oncoradiomics.native.marching_cubes_table import CONFIGURATION_OF_TRIANGLE, EDGE_MIDDLES, EDGES_OF_TRIANGLE


@compiled("int64[:,::1](uint8[:,:,::1])")
def _configurations(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How often each of the 256 cubes occurs and the sum of its places: rows of (count, k, j, i)."""
    out = np.zeros((256, 4), np.int64)
    planes, rows, columns = mask.shape
    for k in range(planes - 1):
        for j in range(rows - 1):
            # The four corners at the higher i are the lower ones of the next cube.
            next_bits = 0
            for c in range(4):
                next_bits |= mask[k + (c >> 1), j + (c & 1), 0] << (2 * c)
            for i in range(columns - 1):
                bits = next_bits
                next_bits = 0
                for c in range(4):
                    next_bits |= mask[k + (c >> 1), j + (c & 1), i + 1] << (2 * c)
                bits |= next_bits << 1
                if bits not in (0, 255):
                    out[bits, 0] += 1
                    out[bits, 1] += k
                    out[bits, 2] += j
                    out[bits, 3] += i
    return out


def mesh_area_and_volume(padded: npt.NDArray[np.uint8], spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """Area (mm2) and volume (mm3) inside the marching-cubes surface.

    The sums over triangles are sums over the 256 configurations, so the time is that of one pass over the voxels.

    Args:
        padded: 1 inside and 0 outside, axes (k, j, i), with a margin of zeros.
        spacing_mm: (k, j, i).
    """
    found = _configurations(padded)
    spacing = np.array(spacing_mm)
    first, second, third = (EDGE_MIDDLES[EDGES_OF_TRIANGLE] * spacing).transpose(1, 0, 2)
    areas = np.linalg.norm(np.cross(first - third, second - third), axis=1) / 2
    volumes = np.einsum("td,td->t", np.cross(first, second), third) / 6
    # Moving a triangle by t changes its signed volume to the origin by t times its vector area over 3.
    vector_areas = (np.cross(first, second) + np.cross(second, third) + np.cross(third, first)) / 6
    cubes = found[CONFIGURATION_OF_TRIANGLE]
    area = float(cubes[:, 0] @ areas)
    volume = float(cubes[:, 0] @ volumes + ((cubes[:, 1:] * spacing) * vector_areas).sum())
    return area, volume


@compiled("void(uint8[:,:,::1], int64[:,:,::1], int64[:,:,::1])")
def _surface_extents(
    mask: npt.NDArray[np.uint8], along_i: npt.NDArray[np.int64], along_j: npt.NDArray[np.int64]
) -> None:
    """First and last vertex of the mesh on each line, in half voxels.

    Vertices lie half-way between voxels inside and outside. ``along_i`` gets lines of constant (k, j), ``along_j``
    lines of constant (k, i); both come filled with a last vertex before the first.
    """
    planes, rows, columns = mask.shape
    for k in range(planes):
        for j in range(rows):
            for i in range(columns):
                inside = mask[k, j, i]
                for axis in range(3):
                    k2, j2, i2 = k + (axis == 0), j + (axis == 1), i + (axis == 2)
                    if k2 == planes or j2 == rows or i2 == columns or mask[k2, j2, i2] == inside:
                        continue
                    plane, row, column = k + k2, j + j2, i + i2
                    along_i[plane, row, 0] = min(along_i[plane, row, 0], column)
                    along_i[plane, row, 1] = max(along_i[plane, row, 1], column)
                    along_j[plane, column, 0] = min(along_j[plane, column, 0], row)
                    along_j[plane, column, 1] = max(along_j[plane, column, 1], row)


@compiled("int64(int64[:,:], int64[:,::1])")
def _hull(extents: npt.NDArray[np.int64], out: npt.NDArray[np.int64]) -> int:
    """Corners (line, place) of the convex hull of the extents of parallel lines; how many there are."""
    number = 0
    for side in range(2):
        start = number
        for line in range(extents.shape[0]):
            place = extents[line, side]
            if extents[line, 0] > extents[line, 1]:
                continue
            while number - start >= 2:
                before, last = out[number - 2], out[number - 1]
                turn = (last[0] - before[0]) * (place - before[1]) - (last[1] - before[1]) * (line - before[0])
                if (turn <= 0) if side == 0 else (turn >= 0):
                    number -= 1
                else:
                    break
            out[number, 0] = line
            out[number, 1] = place
            number += 1
    return number


@compiled("float64(float64[:,:])")
def _longest_square(points: npt.NDArray[np.float64]) -> float:
    longest = 0.0
    for a in range(points.shape[0]):
        for b in range(a):
            square = 0.0
            for axis in range(points.shape[1]):
                square += (points[a, axis] - points[b, axis]) ** 2
            longest = max(longest, square)
    return longest


def mesh_diameters(
    padded: npt.NDArray[np.uint8], spacing_mm: tuple[float, float, float]
) -> tuple[float, float, float, float]:
    """Greatest distance of two mesh vertices in one plane of constant k, j or i, and in space (mm).

    Only corners of convex hulls can lie farthest apart: the hull of each plane, and in space the points that are
    corners in all their planes.

    Args:
        padded: 1 inside and 0 outside, axes (k, j, i), with a margin of zeros.
        spacing_mm: (k, j, i).
    """
    half = np.array(spacing_mm) / 2
    planes, rows, columns = (2 * size for size in padded.shape)
    nothing = np.array([np.iinfo(np.int64).max, -1])
    along_i, along_j = np.tile(nothing, (planes, rows, 1)), np.tile(nothing, (planes, columns, 1))
    _surface_extents(padded, along_i, along_j)
    # (lines by plane, axis of the planes, axis of the lines, axis along the lines)
    views = (
        (along_i, 0, 1, 2),
        (along_i.transpose(1, 0, 2), 1, 0, 2),
        (along_j.transpose(1, 0, 2), 2, 0, 1),
    )
    longest = []
    corners: npt.NDArray[np.int64] | None = None
    size = np.array([rows * columns, columns, 1])
    for extents, plane_axis, line_axis, axis in views:
        found = np.empty((2 * extents.shape[1], 2), np.int64)
        square = 0.0
        here: list[npt.NDArray[np.int64]] = []
        for plane in range(extents.shape[0]):
            number = _hull(extents[plane], found)
            if number == 0:
                continue
            points = np.empty((number, 3), np.int64)
            points[:, plane_axis], points[:, line_axis], points[:, axis] = plane, found[:number, 0], found[:number, 1]
            square = max(square, _longest_square(points * half))
            here.append(points)
        longest.append(math.sqrt(square))
        in_planes = np.concatenate(here) @ size if here else np.empty(0, np.int64)
        corners = in_planes if corners is None else np.intersect1d(corners, in_planes)
    assert corners is not None  # noqa: S101
    everywhere = np.stack(np.unravel_index(corners, (planes, rows, columns)), axis=1) * half
    return longest[0], longest[1], longest[2], math.sqrt(_longest_square(everywhere))


def shape_features(
    region: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float], *, unbiased_axes: bool = False
) -> dict[str, float]:
    """Shape features of the lesion.

    Args:
        region: The lesion, axes (k, j, i).
        spacing_mm: (k, j, i).
        unbiased_axes: Divide the covariance of the voxel centers by one less than their number, which IBSI's reference
            values of the axis lengths need.
    """
    padded = np.pad(region, 1).astype(np.uint8)
    area, volume = mesh_area_and_volume(padded, spacing_mm)
    in_slice, in_column, in_row, diameter = mesh_diameters(padded, spacing_mm)
    centers = np.argwhere(padded) * np.array(spacing_mm)
    voxels = len(centers)
    deviations = centers - centers.mean(axis=0)
    covariance = deviations.T @ deviations / (max(voxels - 1, 1) if unbiased_axes else voxels)
    eigenvalues = np.linalg.eigvalsh(covariance)
    eigenvalues[(eigenvalues < 0) & (eigenvalues > -1e-10)] = 0
    with np.errstate(invalid="ignore", divide="ignore"):
        least, minor, major = np.sqrt(eigenvalues)
        sphere = (36 * np.pi * volume**2) ** (1 / 3)
        return {
            "Compactness1": float(np.divide(volume, area**1.5 * np.sqrt(np.pi))),
            "Compactness2": float(np.divide(36 * np.pi * volume**2, area**3)),
            "Elongation": float(np.sqrt(eigenvalues[1] / eigenvalues[2])),
            "Flatness": float(np.sqrt(eigenvalues[0] / eigenvalues[2])),
            "LeastAxisLength": float(4 * least),
            "MajorAxisLength": float(4 * major),
            "Maximum2DDiameterColumn": in_column,
            "Maximum2DDiameterRow": in_row,
            "Maximum2DDiameterSlice": in_slice,
            "Maximum3DDiameter": diameter,
            "MeshVolume": volume,
            "MinorAxisLength": float(4 * minor),
            "Sphericity": float(sphere / area),
            "SphericalDisproportion": float(area / sphere),
            "SurfaceArea": area,
            "SurfaceVolumeRatio": float(np.divide(area, volume)),
            "VoxelVolume": voxels * float(np.prod(spacing_mm)),
        }
