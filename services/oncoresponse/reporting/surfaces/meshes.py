"""Closed triangle meshes of what a voxel grid holds, in LPS mm, and their files: GLB and binary STL."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import trimesh
from skimage.measure import marching_cubes

Points = npt.NDArray[np.float64]
Triangles = npt.NDArray[np.int64]

STL_HEADER = b"OncoResponse; coordinates: LPS (DICOM patient), unit: mm; research use only"
"""STL knows no unit and no frame; a header that does not begin with ``solid`` may say both (80 bytes)."""

# glTF 2.0, 3.6.1.3: metres, +Y up, +Z forward, -X right. From LPS mm: left, up, and against posterior.
_GLTF_FROM_LPS_MM = np.array([[1e-3, 0, 0, 0], [0, 0, 1e-3, 0], [0, -1e-3, 0, 0], [0, 0, 0, 1]])
_COLORS = {"lesion": (213, 94, 0, 255), "margin": (230, 159, 0, 90), "bone": (236, 230, 214, 255)}
"""By the first word of a name."""


def surface(inside: npt.NDArray[np.bool_], grid: sitk.Image, *, smoothing_steps: int = 0) -> trimesh.Trimesh:
    """The closed surface around voxels, halfway between the centres of those inside and those outside.

    Its triangles face outwards whatever the handedness of the grid, so that the signed volume is positive. What reaches
    the border of the grid ends half a voxel beyond its outermost centres.

    Args:
        inside: Axes (k, j, i).
        grid: Gives spacing, origin and direction.
        smoothing_steps: Pairs of Taubin steps, which keep the volume to about 1 %; 0 for the exact surface.

    Raises:
        ValueError: No voxel is inside.
    """
    where = np.argwhere(inside)
    if not len(where):
        raise ValueError("no voxel is inside")
    low, high = where.min(axis=0), where.max(axis=0) + 1
    part = inside[tuple(slice(first, last) for first, last in zip(low, high, strict=True))]
    vertices, faces, _, _ = marching_cubes(np.pad(part, 1).astype(np.float32), 0.5)  # type: ignore[no-untyped-call]
    mesh = trimesh.Trimesh(index_to_lps(vertices + low - 1, grid), faces, process=True)
    if mesh.volume < 0:
        mesh.invert()
    if smoothing_steps:
        trimesh.smoothing.filter_taubin(mesh, iterations=2 * smoothing_steps)  # type: ignore[no-untyped-call]
    return mesh


def index_to_lps(points: npt.NDArray[np.floating], grid: sitk.Image) -> Points:
    """Positions on a grid, axes (k, j, i), in LPS mm."""
    matrix = np.array(grid.GetDirection()).reshape(3, 3) @ np.diag(grid.GetSpacing())
    return np.asarray(points[:, ::-1] @ matrix.T + np.array(grid.GetOrigin()))


def lps_to_index(points: Points, grid: sitk.Image) -> Points:
    """The other way round."""
    matrix = np.array(grid.GetDirection()).reshape(3, 3) @ np.diag(grid.GetSpacing())
    return np.asarray((points - np.array(grid.GetOrigin())) @ np.linalg.inv(matrix).T)[:, ::-1]


def stl(mesh: trimesh.Trimesh) -> bytes:
    """Binary STL in LPS mm."""
    data = bytes(trimesh.exchange.stl.export_stl(mesh))
    return STL_HEADER.ljust(80) + data[80:]


def glb(meshes: Mapping[str, trimesh.Trimesh]) -> bytes:
    """One GLB scene. Vertices are in LPS mm; the node above them turns them to glTF's metres with the head up.

    Args:
        meshes: By names such as ``lesion-1``, ``bone``.
    """
    scene = trimesh.Scene()
    scene.metadata = {"vertices": "LPS (DICOM patient), mm", "use": "Research use only"}
    for name, mesh in meshes.items():
        shown = mesh.copy()
        color = _COLORS.get(name.split("-")[0], (128, 128, 128, 255))
        shown.visual = trimesh.visual.TextureVisuals(  # type: ignore[no-untyped-call]
            material=trimesh.visual.material.PBRMaterial(  # type: ignore[no-untyped-call]
                name=name,
                baseColorFactor=color,
                metallicFactor=0.0,
                roughnessFactor=0.8,
                alphaMode="BLEND" if color[3] < 255 else "OPAQUE",
            )
        )
        scene.add_geometry(shown, node_name=name, geom_name=name, transform=_GLTF_FROM_LPS_MM)
    return bytes(scene.export(file_type="glb", include_normals=False))  # type: ignore[no-untyped-call]
