"""Meshes and distances on phantoms whose answers are known, on straight, flipped, oblique and anisotropic grids."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import trimesh
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.errors import InvalidRequest
from oncoresponse.reporting.surfaces.anatomy import _nearest, margin_shell
from oncoresponse.reporting.surfaces.body_region import BodyRegion
from oncoresponse.reporting.surfaces.meshes import STL_HEADER, index_to_lps, lps_to_index, stl, surface
from oncoresponse.reporting.surfaces.surface_models import SurfaceModels, surface_models
from scipy.spatial import cKDTree

ELSEWHERE = BodyRegion.ELSEWHERE
FRAME, SERIES = "1.2.3", "1.2.3.4"
OBLIQUE = np.array(sitk.VersorTransform((0.3, -0.5, 0.8), 0.7).GetMatrix()).reshape(3, 3)
GRIDS = {
    "straight": (np.eye(3), (1.0, 1.0, 1.0)),
    "anisotropic": (np.eye(3), (0.8, 0.8, 3.0)),
    "flipped": (np.diag([-1.0, 1.0, -1.0]), (1.0, 1.0, 2.0)),
    "mirrored": (np.diag([1.0, 1.0, -1.0]), (1.0, 1.0, 2.0)),
    "oblique": (OBLIQUE, (0.9, 1.1, 2.5)),
}


def grid(name: str, size_mm: tuple[float, float, float] = (90.0, 90.0, 90.0)) -> sitk.Image:
    """An empty grid around the origin, whose centre lies at (10, -20, 30)."""
    direction, spacing = GRIDS[name]
    image = sitk.Image([round(length / step) for length, step in zip(size_mm, spacing, strict=True)], sitk.sitkInt16)
    image.SetSpacing(spacing)
    image.SetDirection(direction.ravel().tolist())
    middle = direction @ np.diag(spacing) @ ((np.array(image.GetSize()) - 1) / 2)
    image.SetOrigin((np.array([10.0, -20.0, 30.0]) - middle).tolist())
    return image


def places(image: sitk.Image) -> np.ndarray:
    """Along the axes of the grid from its middle, in mm; last axis (k, j, i) of the array, then x, y, z of the grid."""
    size, spacing = np.array(image.GetSize()), np.array(image.GetSpacing())
    axes = [(np.arange(length) - (length - 1) / 2) * step for length, step in zip(size, spacing, strict=True)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    return np.stack([x, y, z], axis=-1)


def filled(image: sitk.Image, values: np.ndarray, quantity: Quantity) -> Volume:
    made = sitk.GetImageFromArray(values)
    made.CopyInformation(image)
    return Volume(made, quantity, FRAME, SERIES)


def phantom(name: str, *, open_end: bool = False) -> tuple[Volume, Volume]:
    """A lesion of radius 8 mm in a body of 80 mm, between two slabs of bone; one at 12 mm, the other at 20 mm."""
    image = grid(name)
    where = places(image)
    lesion = np.linalg.norm(where, axis=-1) <= 8
    values = np.full(lesion.shape, -1000, np.int16)
    half = 60.0 if open_end else 38.0
    values[(np.abs(where) <= half).all(axis=-1)] = 40
    values[(where[..., 0] >= 20) & (where[..., 0] <= 26) & (np.abs(where[..., 1:]) <= 30).all(axis=-1)] = 800
    values[(where[..., 0] <= -28) & (where[..., 0] >= -34) & (np.abs(where[..., 1:]) <= 30).all(axis=-1)] = 800
    return filled(image, lesion.astype(np.uint8), Quantity.MASK), filled(image, values, Quantity.HOUNSFIELD)


def made(name: str, **changes: object) -> SurfaceModels:
    lesion, ct = phantom(name)
    changes = {"region": ELSEWHERE, "research_use_statement": "Research use only."} | changes
    return surface_models(lesion, ct, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", GRIDS)
def test_distances_of_the_phantom_are_right_to_one_voxel(name: str) -> None:
    found = made(name).distances
    assert found is not None
    entry, voxel = found.lesions[0], max(GRIDS[name][1])
    assert (entry.bone, entry.skin) == ("exact", "exact")
    assert entry.bone_mm == pytest.approx(12, abs=voxel)
    assert entry.skin_mm == pytest.approx(30, abs=max(voxel, 2.0))


def test_the_nearest_of_many_points_is_found() -> None:
    numbers = np.random.default_rng(3)
    for _ in range(20):
        some, others = numbers.normal(0, 5, (500, 3)), numbers.normal(20, 5, (700, 3))
        every = np.linalg.norm(some[:, None] - others[None], axis=-1)
        assert _nearest(some, others) == pytest.approx(every.min(), abs=1e-12)


@pytest.mark.parametrize("name", GRIDS)
def test_a_sphere_has_its_volume_and_box(name: str) -> None:
    image = grid(name)
    inside = np.linalg.norm(places(image), axis=-1) <= 20
    mesh = surface(inside, image)
    assert mesh.is_watertight
    voxels = np.count_nonzero(inside) * float(np.prod(image.GetSpacing()))
    assert mesh.volume == pytest.approx(voxels, rel=0.05)
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.05)
    centres = index_to_lps(np.argwhere(inside).astype(float), image)
    voxel = max(image.GetSpacing())
    assert np.allclose(mesh.bounds, [centres.min(axis=0), centres.max(axis=0)], atol=voxel)
    assert np.allclose(mesh.bounds, [np.array([10, -20, 30]) - 20, np.array([10, -20, 30]) + 20], atol=voxel)
    smooth = surface(inside, image, smoothing_steps=5)
    assert smooth.volume == pytest.approx(mesh.volume, rel=0.03)


@pytest.mark.parametrize("name", GRIDS)
def test_a_box_lies_half_a_voxel_around_its_centres(name: str) -> None:
    image = grid(name, (40.0, 40.0, 40.0))
    inside = np.zeros(image.GetSize()[::-1], bool)
    inside[3:7, 5:20, 8:12] = True
    mesh = surface(inside, image)
    index = lps_to_index(np.asarray(mesh.vertices), image)
    assert np.allclose([index.min(axis=0), index.max(axis=0)], [[2.5, 4.5, 7.5], [6.5, 19.5, 11.5]], atol=1e-6)
    # Marching cubes cut the edges of a box, so that it holds less than its voxels, and never more.
    voxels = np.count_nonzero(inside) * float(np.prod(image.GetSpacing()))
    assert 0.85 * voxels < mesh.volume < voxels


def test_a_lesion_in_the_corner_of_the_image_is_closed() -> None:
    image = grid("oblique", (20.0, 20.0, 20.0))
    inside = np.zeros(image.GetSize()[::-1], bool)
    inside[:3, :3, :3] = True
    mesh = surface(inside, image)
    assert mesh.is_watertight
    assert mesh.volume > 0


@pytest.mark.parametrize("other", ["anisotropic", "oblique", "flipped"])
def test_lesion_and_ct_may_be_on_different_grids(other: str) -> None:
    _, ct = phantom("straight")
    image = grid(other)
    where = index_to_lps(np.argwhere(np.ones(image.GetSize()[::-1], bool)).astype(float), image)
    inside = np.linalg.norm(where - np.array([10.0, -20.0, 30.0]), axis=1).reshape(image.GetSize()[::-1]) <= 8
    lesion = filled(image, inside.astype(np.uint8), Quantity.MASK)
    found = surface_models(lesion, ct, region=ELSEWHERE, research_use_statement="x").distances
    assert found is not None
    assert found.lesions[0].bone_mm == pytest.approx(12, abs=max(GRIDS[other][1]))


def test_where_the_image_ends_first_it_is_at_least_that() -> None:
    lesion, ct = phantom("straight", open_end=True)
    values = np.array(ct.array)
    values[values > 250] = 40
    found = surface_models(
        lesion, filled(ct.image, values, Quantity.HOUNSFIELD), region=ELSEWHERE, research_use_statement="x"
    ).distances
    assert found is not None
    entry = found.lesions[0]
    assert (entry.bone, entry.skin) == ("at least", "at least")
    assert entry.bone_mm == entry.skin_mm == pytest.approx(44.5 - 8, abs=1)


def test_bone_beyond_the_end_of_the_image_may_be_nearer_than_what_is_seen() -> None:
    lesion, ct = phantom("straight")
    shifted = np.asarray(lesion.array)
    moved = filled(lesion.image, np.roll(shifted, 30, axis=1), Quantity.MASK)  # 6.5 mm before the end of the image
    found = surface_models(moved, ct, region=ELSEWHERE, research_use_statement="x").distances
    assert found is not None
    assert found.lesions[0].bone == "at least"
    assert found.lesions[0].bone_mm == pytest.approx(6.5, abs=1)


def test_of_a_lesion_that_the_image_cuts_nothing_is_known() -> None:
    lesion, ct = phantom("straight")
    cut = filled(lesion.image, np.roll(np.asarray(lesion.array), 40, axis=0), Quantity.MASK)
    found = surface_models(cut, ct, region=ELSEWHERE, research_use_statement="x").distances
    assert found is not None
    assert (found.lesions[0].bone, found.lesions[0].bone_mm) == ("unknown", None)
    assert (found.lesions[0].skin, found.lesions[0].skin_mm) == ("unknown", None)


def test_a_lesion_in_bone_touches_it() -> None:
    lesion, ct = phantom("straight")
    inside = filled(lesion.image, np.roll(np.asarray(lesion.array), 20, axis=2), Quantity.MASK)
    found = surface_models(inside, ct, region=ELSEWHERE, research_use_statement="x").distances
    assert found is not None
    assert (found.lesions[0].bone, found.lesions[0].bone_mm) == ("exact", 0.0)


def legs(*, lesion_at: float) -> SurfaceModels:
    """Two legs that are apart, of radius 30 mm at -38 mm and 26 mm at 38 mm, and a lesion of radius 6 mm."""
    image = grid("straight", (150.0, 90.0, 60.0))
    where = places(image)
    values = np.full(where.shape[:-1], -1000, np.int16)
    values[np.hypot(where[..., 0] + 38, where[..., 1]) <= 30] = 40
    values[np.hypot(where[..., 0] - 38, where[..., 1]) <= 26] = 40
    lesion = np.linalg.norm(where - np.array([lesion_at, 0, 0]), axis=-1) <= 6
    return surface_models(
        filled(image, lesion.astype(np.uint8), Quantity.MASK),
        filled(image, values, Quantity.HOUNSFIELD),
        region=ELSEWHERE,
        research_use_statement="x",
    )


@pytest.mark.parametrize(("lesion_at", "to_skin"), [(-38.0, 24.0), (38.0, 20.0)])
def test_skin_is_that_of_the_limb_that_the_lesion_is_in(lesion_at: float, to_skin: float) -> None:
    found = legs(lesion_at=lesion_at).distances
    assert found is not None
    assert found.lesions[0].skin == "exact"
    assert found.lesions[0].skin_mm == pytest.approx(to_skin, abs=2)


@pytest.mark.parametrize(("lesion_at", "expected"), [(60.0, ("exact", 0.0)), (66.5, ("unknown", None))])
def test_a_lesion_that_reaches_out_of_the_limb_touches_skin_and_one_outside_has_none(
    lesion_at: float, expected: tuple[str, float | None]
) -> None:
    found = legs(lesion_at=lesion_at).distances
    assert found is not None
    assert (found.lesions[0].skin, found.lesions[0].skin_mm) == expected


def test_a_nodule_in_the_lung_is_in_the_chest_and_not_a_body_of_its_own() -> None:
    image = grid("straight")
    where = places(image)
    values = np.full(where.shape[:-1], -1000, np.int16)
    values[(np.abs(where) <= 38).all(axis=-1)] = 40
    values[(np.abs(where) <= 25).all(axis=-1)] = -850
    nodule = np.linalg.norm(where, axis=-1) <= 8
    values[nodule] = 30
    found = surface_models(
        filled(image, nodule.astype(np.uint8), Quantity.MASK),
        filled(image, values, Quantity.HOUNSFIELD),
        region=ELSEWHERE,
        research_use_statement="x",
    ).distances
    assert found is not None
    assert (found.lesions[0].skin, found.lesions[0].skin_mm) == ("exact", pytest.approx(30, abs=2))


def test_the_mesh_of_bone_lies_within_two_millimetres_of_what_distances_are_measured_to() -> None:
    image = grid("anisotropic")
    where = places(image)
    ring = np.hypot(where[..., 0], where[..., 1])
    values = np.full(ring.shape, 40, np.int16)
    values[(ring >= 20) & (ring <= 30)] = 900
    lesion = filled(image, (np.linalg.norm(where, axis=-1) <= 8).astype(np.uint8), Quantity.MASK)
    ct = filled(image, values, Quantity.HOUNSFIELD)
    shown = surface_models(lesion, ct, region=ELSEWHERE, research_use_statement="x").meshes["bone"]
    exact = surface(values >= 250, image)
    assert len(shown.faces) < len(exact.faces)
    apart, _ = cKDTree(np.asarray(exact.vertices)).query(np.asarray(shown.vertices))
    assert apart.max() < 2.0


def test_no_mesh_is_ever_made_of_the_skin() -> None:
    assert set(made("straight", margin_mm=5.0).meshes) == {"lesion-1", "margin-1", "bone"}


@pytest.mark.parametrize("name", GRIDS)
def test_a_margin_shell_is_as_wide_as_it_was_chosen(name: str) -> None:
    lesion, ct = phantom(name)
    inside, around = margin_shell(np.asarray(lesion.array) > 0, lesion, ct, 10.0)
    mesh = surface(inside, around)
    voxel = max(GRIDS[name][1])
    centre = np.array([10.0, -20.0, 30.0])
    assert np.allclose(np.linalg.norm(np.asarray(mesh.vertices) - centre, axis=1), 18, atol=voxel)
    for width in (0.0, -1.0, float("nan")):
        with pytest.raises(InvalidRequest):
            margin_shell(np.asarray(lesion.array) > 0, lesion, ct, width)


def test_without_a_ct_in_the_same_frame_only_lesions_are_made() -> None:
    lesion, ct = phantom("straight")
    elsewhere = Volume(ct.image, ct.quantity, "1.2.9", SERIES)
    for image in (None, elsewhere):
        models = surface_models(lesion, image, margin_mm=5.0, region=ELSEWHERE, research_use_statement="x")
        assert list(models.meshes) == ["lesion-1"]
        assert models.distances is None


def test_files_read_back_in_their_coordinates() -> None:
    models = made("oblique")
    mesh = models.meshes["lesion-1"]
    data = stl(mesh)
    assert data.startswith(STL_HEADER)
    read = trimesh.load(io.BytesIO(data), file_type="stl")
    assert np.allclose(read.bounds, mesh.bounds, atol=1e-4)
    scene = trimesh.load(io.BytesIO(models.scene), file_type="glb")
    assert set(scene.geometry) == {"lesion-1", "bone"}
    assert np.allclose(scene.geometry["lesion-1"].bounds, mesh.bounds, atol=1e-4)
    # As a viewer of glTF shows it: metres, head up (+Y), front of the patient forward (+Z).
    left, posterior, head = mesh.centroid
    matrix, _ = scene.graph["lesion-1"]
    shown = trimesh.transform_points([mesh.centroid], matrix)[0]
    assert np.allclose(shown, [left / 1000, head / 1000, -posterior / 1000], atol=1e-6)


def test_the_same_arguments_give_the_same_bytes() -> None:
    one, other = (made("oblique", margin_mm=4.0) for _ in range(2))
    assert one.scene == other.scene
    assert all(stl(a) == stl(b) for a, b in itertools.zip_longest(one.meshes.values(), other.meshes.values()))
