"""Everything in three dimensions of one assessment: meshes, one scene, and distances with the rules they follow by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk
import trimesh

from oncoresponse.case.document import Tolerant
from oncoresponse.case.volume import Volume
from oncoresponse.reporting.lesion_distances import NOT_COMPUTED, LesionDistances
from oncoresponse.reporting.surfaces.anatomy import (
    BODY_HU,
    BONE_HU,
    SEARCH_MM,
    SKIN_PIXEL_MM,
    Distance,
    bodies,
    bone,
    distance_to_bone,
    distance_to_skin,
    margin_shell,
    part_around,
)
from oncoresponse.reporting.surfaces.body_region import BodyRegion, lungs_lie_above
from oncoresponse.reporting.surfaces.meshes import Points, glb, index_to_lps, surface

_SMOOTHING_STEPS = 5
_SHOWN_BONE_PIXEL_MM = 2.0
RULES = (
    f"Bone: at least {BONE_HU:.0f} HU, parts of at least 1 ml, within {SEARCH_MM:.0f} mm; contrast medium, metal and "
    "calcification may be among it, thin bone may be missing.",
    f"Skin: border of the largest part of at least {BODY_HU:.0f} HU that holds at least half of the lesion; clothes "
    "and table that touch count as patient. Not computed in head and neck, nor where the lesion may lie there.",
    "Distance: shortest straight line between surfaces, to one voxel, of skin to one of at most "
    f"{SKIN_PIXEL_MM:.0f} mm; 'at least' where the image or the search ends nearer; 'unknown' where the lesion reaches "
    "the border of the CT, and for skin where it lies outside the patient.",
    f"Mesh of bone: made in pixels of {_SHOWN_BONE_PIXEL_MM:.0f} mm, lies within about {_SHOWN_BONE_PIXEL_MM:.0f} mm "
    "of the surface that distances are measured to, and lacks what is thinner.",
    "The position of the CT is that of the scan. For planning, not for navigation.",
)


class DistanceDocument(Tolerant):
    """Contents of ``distances.json``.

    Attributes:
        unit: Of all distances.
        lesions: One entry for each.
        margin_mm: Width of the margin shell; ``None`` where none was asked for.
        rules: What counts as bone, skin and distance, for a reader.
        research_use_statement: Shown wherever a distance is shown.
    """

    unit: Literal["mm"]
    lesions: tuple[LesionDistances, ...]
    margin_mm: float | None = None
    rules: tuple[str, ...] = RULES
    research_use_statement: str


@dataclass(frozen=True, eq=False)
class SurfaceModels:
    """Meshes and distances.

    Attributes:
        meshes: ``lesion-1`` and so on; ``margin-1`` where one was asked for; ``bone`` where a CT shows some.
        scene: All of them as GLB.
        distances: ``None`` without a CT in the frame of reference of the lesions.
    """

    meshes: Mapping[str, trimesh.Trimesh]
    scene: bytes
    distances: DistanceDocument | None


def surface_models(
    lesions: Volume,
    ct: Volume | None,
    *,
    region: BodyRegion = BodyRegion.NOT_KNOWN,
    margin_mm: float | None = None,
    research_use_statement: str,
) -> SurfaceModels:
    """Make them. The same arguments give the same bytes.

    Args:
        lesions: From :func:`~oncoresponse.reporting.lesion_map.lesion_map`.
        ct: In Hounsfield units, on any grid; ``None``, or one in another frame of reference: lesions alone.
        region: What the study says of the part of the body. In head or neck no skin is looked for; where it is not
            known, only around lesions with lungs above them.
        margin_mm: Width of a shell around each lesion, above 0; made only with a CT.
        research_use_statement: Goes into the document.

    Raises:
        InvalidRequest: The margin is not above 0.
    """
    numbers = np.asarray(lesions.array)
    meshes: dict[str, trimesh.Trimesh] = {}
    found = sorted(int(number) for number in np.unique(numbers[numbers > 0]))
    for number in found:
        meshes[f"lesion-{number}"] = surface(numbers == number, lesions.image, smoothing_steps=_SMOOTHING_STEPS)
    distances: list[LesionDistances] = []
    if ct is not None and ct.frame_of_reference_uid == lesions.frame_of_reference_uid:
        everything = index_to_lps(np.argwhere(numbers > 0).astype(float), lesions.image)
        if _meets(everything, ct.image):
            part = part_around(ct, everything)
            hard = bone(part)
            voxels = [index_to_lps(np.argwhere(numbers == number).astype(float), lesions.image) for number in found]
            regions = _regions(region, ct, voxels)
            has_skin = [each is BodyRegion.ELSEWHERE for each in regions]
            patients = bodies(ct, voxels) if any(has_skin) else []
            for place, number in enumerate(found):
                if margin_mm is not None:
                    inside, grid = margin_shell(numbers == number, lesions, ct, margin_mm)
                    meshes[f"margin-{number}"] = surface(inside, grid, smoothing_steps=_SMOOTHING_STEPS)
                exact = np.asarray(surface(numbers == number, lesions.image).vertices)
                to_bone = distance_to_bone(exact, voxels[place], hard, ct.image)
                to_skin = None
                if has_skin[place]:
                    to_skin = distance_to_skin(exact, voxels[place], patients[place], ct.image)
                distances.append(_entry(number, to_bone, to_skin, regions[place]))
            if hard.inside.any() and (shown := _shown_bone(part)) is not None:
                meshes["bone"] = shown
    document = None
    if distances:
        document = DistanceDocument(
            unit="mm",
            lesions=tuple(distances),
            margin_mm=margin_mm,
            research_use_statement=research_use_statement,
        )
    return SurfaceModels(meshes, glb(meshes), document)


def _regions(stated: BodyRegion, ct: Volume, lesions: Sequence[Points]) -> list[BodyRegion]:
    if stated is not BodyRegion.NOT_KNOWN:
        return [stated for _ in lesions]
    return [BodyRegion.ELSEWHERE if is_below else BodyRegion.NOT_KNOWN for is_below in lungs_lie_above(ct, lesions)]


def _entry(number: int, to_bone: Distance, to_skin: Distance | None, region: BodyRegion) -> LesionDistances:
    return LesionDistances(
        lesion=number,
        bone_mm=to_bone.mm,
        bone=to_bone.relation,
        skin_mm=None if to_skin is None else to_skin.mm,
        skin=NOT_COMPUTED if to_skin is None else to_skin.relation,
        skin_not_computed=region.value if to_skin is None else "",
    )


def _meets(points: Points, image: sitk.Image) -> bool:
    """Whether the box around the points and the image have something in common."""
    index = np.array([image.TransformPhysicalPointToContinuousIndex(point.tolist()) for point in _corners(points)])
    return bool((index.max(axis=0) >= 0).all() and (index.min(axis=0) <= np.array(image.GetSize()) - 1).all())


def _corners(points: Points) -> Points:
    low, high = points.min(axis=0), points.max(axis=0)
    return np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])


def _shown_bone(part: sitk.Image) -> trimesh.Trimesh | None:
    """Bone in pixels of about 2 mm: a viewer turns it, and the archive keeps it; distances are those of the CT."""
    factors = [max(int(_SHOWN_BONE_PIXEL_MM // spacing), 1) for spacing in part.GetSpacing()]
    tissue = bone(sitk.BinShrink(sitk.Cast(part, sitk.sitkFloat32), factors))
    return surface(tissue.inside, tissue.grid) if tissue.inside.any() else None
