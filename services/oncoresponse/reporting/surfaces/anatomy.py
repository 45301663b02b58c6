"""Bone and body by thresholds on CT, and how far a lesion is from them.

Rules, which every result states:

- Bone: voxels of at least 250 HU, parts of at least 1 ml. Contrast medium, metal and calcification may be among them,
  thin or demineralized bone may be missing. Only what lies within 100 mm of the box around the lesions is looked at.
- Skin: border of the largest part of at least -300 HU that holds at least half of the lesion (limbs may be apart),
  cavities filled slice by slice, where it does not leave the image. Clothes, table and immobilization that touch the
  patient count as patient. Not for head and neck (:mod:`~oncoresponse.reporting.surfaces.body_region`), where airways
  and cavities open to the outside, and a surface would show the face: no mesh of the skin is ever made.
- A distance is the shortest straight line between surfaces. Where an image ends nearer to the lesion than what was
  found, that may go on beyond, so that the distance is "at least" the one to the end of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume, require_same_frame_of_reference
from oncoresponse.errors import InvalidRequest
from oncoresponse.reporting.lesion_distances import Relation
from oncoresponse.reporting.surfaces.meshes import Points, index_to_lps, lps_to_index

BONE_HU, BODY_HU = 250.0, -300.0
SEARCH_MM = 100.0
SKIN_PIXEL_MM = 2.0
_SMALLEST_BONE_MM3 = 1000.0
_FIRST_LOOK = 64  # points
_SMALLEST_BODY_PART = 0.05  # of the largest: a limb, not a nodule in a lung that the image cuts open


@dataclass(frozen=True)
class Distance:
    """How far a lesion is from something.

    Attributes:
        mm: Shortest distance between the surfaces; 0 where they touch or overlap; ``None`` where it is unknown.
        relation: ``at least`` where the image ends before; ``unknown`` where the lesion itself reaches its end, and for
            skin where it lies in nothing that counts as patient.
    """

    mm: float | None
    relation: Relation


@dataclass(frozen=True, eq=False)
class Tissue:
    """Voxels of something in a part of a CT.

    Attributes:
        inside: Axes (k, j, i).
        grid: Of that part.
    """

    inside: npt.NDArray[np.bool_]
    grid: sitk.Image


def part_around(ct: Volume, points: Points, margin_mm: float = SEARCH_MM) -> sitk.Image:
    """The part of a CT around points, with a margin, as far as the image goes.

    Raises:
        InvalidRequest: The volume is no CT, or no point lies near it.
    """
    if ct.quantity is not Quantity.HOUNSFIELD:
        raise InvalidRequest("Bone and skin are found by Hounsfield units. Pass a CT.")
    index = lps_to_index(points, ct.image)[:, ::-1]
    margin = margin_mm / np.array(ct.image.GetSpacing())
    size = np.array(ct.image.GetSize())
    low = np.clip(np.floor(index.min(axis=0) - margin), 0, size - 1).astype(int)
    high = np.clip(np.ceil(index.max(axis=0) + margin), 0, size - 1).astype(int) + 1
    if (index.max(axis=0) < 0).any() or (index.min(axis=0) > size - 1).any():
        raise InvalidRequest("The lesion lies outside the CT.")
    part: sitk.Image = ct.image[tuple(slice(int(first), int(last)) for first, last in zip(low, high, strict=True))]
    return part


def bone(part: sitk.Image) -> Tissue:
    """Bone by threshold."""
    found = sitk.GetArrayViewFromImage(part) >= BONE_HU
    labels, count = ndimage.label(found)
    if count:
        volumes = np.bincount(labels.ravel()) * float(np.prod(part.GetSpacing()))
        kept = volumes >= _SMALLEST_BONE_MM3
        kept[0] = False
        found = kept[labels]
    return Tissue(found, part)


def bodies(ct: Volume, lesions: Sequence[Points]) -> list[Tissue | None]:
    """The patient around each lesion by threshold, cavities filled in each plane of the image.

    Limbs may be apart: it is the largest part that holds at least half of the lesion. Only planes within 100 mm of the
    lesions are looked at, and in them pixels of up to 2 mm.

    Args:
        ct: In Hounsfield units.
        lesions: Centres of the voxels of each.

    Returns:
        In the order of the lesions; ``None`` for one that lies in no part.
    """
    index = lps_to_index(np.concatenate(lesions), ct.image)[:, 0]
    margin = SEARCH_MM / ct.image.GetSpacing()[2]
    first = int(np.clip(np.floor(index.min() - margin), 0, ct.image.GetSize()[2] - 1))
    last = int(np.clip(np.ceil(index.max() + margin), 0, ct.image.GetSize()[2] - 1)) + 1
    steps = [max(int(SKIN_PIXEL_MM // spacing), 1) for spacing in ct.image.GetSpacing()[:2]]
    part = ct.image[:: steps[0], :: steps[1], first:last]
    labels, _ = ndimage.label(sitk.GetArrayViewFromImage(part) >= BODY_HU)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    large = [
        int(label)
        for label in np.argsort(-sizes, kind="stable")
        if sizes[label] > 0 and sizes[label] >= _SMALLEST_BODY_PART * sizes.max()
    ]

    @cache
    def filled(label: int) -> Tissue:
        return Tissue(np.stack([ndimage.binary_fill_holes(plane) for plane in labels == label]), part)

    def around(lesion: Points) -> Tissue | None:
        held = (label for label in large if 2 * np.count_nonzero(_sampled(lesion, filled(label))) >= len(lesion))
        label = next(held, None)
        return None if label is None else filled(label)

    return [around(lesion) for lesion in lesions]


def distance_to_bone(lesion: Points, inside: Points, tissue: Tissue, whole: sitk.Image) -> Distance:
    """Distance of a lesion to bone.

    Args:
        lesion: Points of its surface, LPS mm.
        inside: Centres of its voxels.
        tissue: From :func:`bone`, in the part of the CT around the lesion.
        whole: The CT.
    """
    return _distance(lesion, tissue, whole, touches=_any_inside(inside, tissue))


def distance_to_skin(lesion: Points, inside: Points, tissue: Tissue | None, whole: sitk.Image) -> Distance:
    """Distance of a lesion to the skin, from within the body; 0 for one that is not wholly in it, unknown without one.

    Args:
        lesion: Points of its surface, LPS mm.
        inside: Centres of its voxels.
        tissue: From :func:`bodies`, in the planes around the lesion.
        whole: The CT.
    """
    if tissue is None:
        return Distance(None, "unknown")
    return _distance(lesion, tissue, whole, touches=not _all_inside(inside, tissue))


def _distance(lesion: Points, tissue: Tissue, whole: sitk.Image, *, touches: bool) -> Distance:
    to_end = _to_end_of_image(lesion, whole)
    if to_end <= 0:
        return Distance(None, "unknown")
    if touches:
        return Distance(0.0, "exact")
    border = _border(tissue)
    # Beyond the search margin nothing was looked at, though the image may go on.
    known = min(to_end, SEARCH_MM)
    nearest = _nearest(lesion, border) if len(border) else np.inf
    if nearest <= known:
        return Distance(round(nearest, 1), "exact")
    # Down, as more than this is not known.
    return Distance(math.floor(10 * float(known) + 1e-6) / 10, "at least")


def _nearest(some: Points, others: Points) -> float:
    """Shortest distance between two sets of points.

    Going to and fro between the sets gives a bound close to the answer, with which the tree leaves out nearly
    everything. Without it a CT of a whole chest takes many seconds.
    """
    of_some, of_others = cKDTree(some), cKDTree(others)
    bound, starts = np.inf, some[:: max(len(some) // _FIRST_LOOK, 1)]
    while True:
        apart, places = of_others.query(starts)
        if apart.min() >= bound:
            break
        bound = float(apart.min())
        starts = some[of_some.query(others[places])[1]]
    low, high = some.min(axis=0), some.max(axis=0)
    to_box = np.linalg.norm(np.maximum(np.maximum(low - others, others - high), 0), axis=1)
    candidates = others[to_box <= bound]
    return min(bound, float(of_some.query(candidates, distance_upper_bound=bound)[0].min(initial=np.inf)))


def _border(tissue: Tissue) -> Points:
    """Points of the surface halfway between voxels inside and outside; none where the image ends."""
    inside = tissue.inside
    if not inside.any() or inside.all() or min(inside.shape) < 2:
        return np.zeros((0, 3))
    vertices = marching_cubes(inside.astype(np.float32), 0.5)[0]  # type: ignore[no-untyped-call]
    return index_to_lps(vertices, tissue.grid)


def _to_end_of_image(points: Points, grid: sitk.Image) -> float:
    """Shortest distance to the outermost voxel centres, 0 or less at them: a surface is seen between centres only."""
    index = lps_to_index(points, grid)
    size = np.array(grid.GetSize()[::-1])
    spacing = np.array(grid.GetSpacing()[::-1])
    return float(min((index * spacing).min(), ((size - 1 - index) * spacing).min()))


def _any_inside(points: Points, tissue: Tissue) -> bool:
    return bool(_sampled(points, tissue).any())


def _all_inside(points: Points, tissue: Tissue) -> bool:
    return bool(_sampled(points, tissue).all())


def _sampled(points: Points, tissue: Tissue) -> npt.NDArray[np.bool_]:
    """What the nearest voxel of each point holds, of points on the grid."""
    nearest = np.rint(lps_to_index(points, tissue.grid)).astype(int)
    on_grid = ((nearest >= 0) & (nearest < tissue.inside.shape)).all(axis=1)
    found: npt.NDArray[np.bool_] = tissue.inside[tuple(nearest[on_grid].T)]
    return found


def margin_shell(
    inside: npt.NDArray[np.bool_], lesion: Volume, ct: Volume, width_mm: float
) -> tuple[npt.NDArray[np.bool_], sitk.Image]:
    """Voxels of a lesion and of everything within a width of it, on a grid that holds all of them.

    Args:
        inside: Voxels of the lesion, axes (k, j, i).
        lesion: Map of lesions, whose grid they are on.
        ct: In the same frame of reference: a margin is planned on CT alone, where distances are those of the body.
        width_mm: More than 0.

    Raises:
        InvalidRequest: The width is not above 0, or the image is no CT.
        FrameOfReferenceMismatch: Lesion and CT cannot be compared.
    """
    require_same_frame_of_reference(lesion, ct)
    if not 0 < width_mm <= SEARCH_MM or ct.quantity is not Quantity.HOUNSFIELD:
        raise InvalidRequest("A margin is more than 0 and at most 100 mm wide, and planned on CT.")
    spacing = np.array(lesion.image.GetSpacing())
    pad = np.ceil(width_mm / spacing).astype(int) + 1
    where = np.argwhere(inside)
    low, high = where.min(axis=0), where.max(axis=0) + 1
    part = inside[tuple(slice(first, last) for first, last in zip(low, high, strict=True))]
    around = np.pad(part, [(int(each), int(each)) for each in pad[::-1]])
    grid = sitk.Image([int(each) for each in around.shape[::-1]], sitk.sitkUInt8)
    grid.SetSpacing(lesion.image.GetSpacing())
    grid.SetDirection(lesion.image.GetDirection())
    first = [float(each) for each in (low - pad[::-1])[::-1]]
    grid.SetOrigin(lesion.image.TransformContinuousIndexToPhysicalPoint(first))
    apart = ndimage.distance_transform_edt(~around, sampling=spacing[::-1])
    # From the surface, which lies half a voxel outside the centres that the transform counts from.
    return apart <= width_mm + spacing.mean() / 2, grid
