"""Whether a lesion may lie in head or neck, where no distance to skin is measured.

There airways and cavities open to the outside, so that the border of the body is not its skin. Nothing is guessed the
other way: a distance to skin needs a study that names another part of the body and nothing of head or neck, or lungs
that the images show above the lesion. A study of the whole body names no part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from scipy import ndimage

from oncoresponse.case.study_description import StudyDescription
from oncoresponse.case.volume import Volume
from oncoresponse.reporting.surfaces.meshes import Points


class BodyRegion(StrEnum):
    """What a study says of the part of the body it shows."""

    HEAD_OR_NECK = "head or neck"
    ELSEWHERE = "elsewhere"
    NOT_KNOWN = "may be head or neck"


# Body Part Examined (PS3.16 Annex L) and words of descriptions, without what is no letter.
_HEAD_OR_NECK = frozenset(
    {"head", "neck", "headneck", "headandneck", "headneckchest", "neckchest", "neckchestabdomen", "neckchestabdpelv"}
    | {"neckchestabdpelvis", "brain", "skull", "face", "facial", "jaw", "orbit", "orbits", "orbita", "sinus", "sinuses"}
    | {"tongue", "mouth", "pharynx", "nasopharynx", "oropharynx", "hypopharynx", "larynx", "thyroid", "parotid", "tmj"}
    | {"maxilla", "mandible", "ear", "iac", "eye", "nose", "cspine", "ctspine", "cervicalspine", "teeth", "salivary"}
    | {"hn", "hnscc", "hno", "ent", "orl", "kopf", "hals", "schädel", "schaedel", "gesicht", "kiefer", "gehirn"}
    | {"tête", "tete", "cou", "crâne", "crane", "visage", "cabeza", "cuello", "cerebro", "testa", "collo", "hoofd"}
    | {"carotid", "choroidplexus", "pituitary", "sella", "zygoma", "occipital", "nasal", "neckvessels", "headvessels"}
)
_ELSEWHERE = frozenset(
    {"abdomen", "abdomenpelvis", "adrenal", "ankle", "anus", "arm", "axilla", "back", "bladder", "breast", "buttock"}
    | {"calcaneus", "calf", "chest", "chestabdomen", "chestabdpelvis", "clavicle", "coccyx", "colon", "duodenum"}
    | {"elbow", "extremity", "femur", "fibula", "finger", "foot", "forearm", "gallbladder", "groin", "hand", "heart"}
    | {"hip", "humerus", "ileum", "ilium", "kidney", "knee", "leg", "liver", "lowerextremity", "lowerleg", "lowerlimb"}
    | {"lspine", "lumbarspine", "lung", "mediastinum", "ovary", "pancreas", "patella", "pelvis", "penis", "perineum"}
    | {"prostate", "radius", "rectum", "rib", "sacrum", "scapula", "scrotum", "shoulder", "spleen", "sspine"}
    | {"sternum", "stomach", "testis", "thigh", "thorax", "tibia", "toe", "tlspine", "lsspine", "tspine", "ulna"}
    | {"thoracicspine", "upperarm", "upperextremity", "upperlimb", "uterus", "vagina", "wrist", "trunk"}
)
_OTHER_SCRIPTS = re.compile("頭|頸|頚|脳|顔|голов|шея|шеи|череп|мозг", re.IGNORECASE)
_OTHER_HEADS = re.compile(
    r"\bhead first\b|\b(femoral|humeral|radial|fibular|metatarsal|metacarpal|pancreatic) heads?\b|"
    r"\bheads? of (the )?(femur|humerus|radius|fibula|pancreas)\b",
    re.IGNORECASE,
)
# Of Anatomic Region Sequence (0008,2218), in SNOMED CT; the meanings of others are read as words.
_HEAD_OR_NECK_CODES = frozenset(
    {"69536005", "45048000", "774007", "12738006", "89546000", "89545001", "661005", "117590005", "81745001"}
    | {"45206002", "363654007", "2095001", "122494005", "54066008", "4596009", "21974007", "69748006", "70925003"}
    | {"91609006", "123851003", "45289007", "385294005", "71836000", "31389004", "81502006", "417437006", "416152001"}
    | {"416319003"}
)

_ABOVE_MM, _PLANE_MM, _PIXEL_MM = 20.0, 10.0, 4.0
_LUNG_LOW_HU, _LUNG_HIGH_HU, _BODY_HU = -900.0, -500.0, -300.0
_LUNG_MM2 = 5000.0  # paranasal sinuses and pharynx have less in one plane
_STEEPEST = 0.8  # cosine between the planes' normal and the axis of the body


def stated_region(study: StudyDescription) -> BodyRegion:
    """What Body Part Examined, Anatomic Region Sequence and descriptions say; one word of head or neck is enough."""
    parts = {_letters(series.body_part_examined or "") for series in study.series}
    coded = [region for series in study.series for region in series.anatomic_regions]
    described = [study.description, *(text for each in study.series for text in (each.description, each.sequence_name))]
    meanings = [region.meaning for region in coded]
    if (
        parts & _HEAD_OR_NECK
        or any(region.value in _HEAD_OR_NECK_CODES for region in coded)
        or any(_names_head_or_neck(text) for text in (*described, *meanings) if text)
    ):
        return BodyRegion.HEAD_OR_NECK
    if (parts | {_letters(meaning) for meaning in meanings}) & _ELSEWHERE:
        return BodyRegion.ELSEWHERE
    return BodyRegion.NOT_KNOWN


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalpha())


def _names_head_or_neck(text: str) -> bool:
    words = {_letters(word) for word in re.split(r"[\W\d_]+", _OTHER_HEADS.sub(" ", text))}
    return bool(words & _HEAD_OR_NECK) or _OTHER_SCRIPTS.search(text) is not None


def lungs_lie_above(ct: Volume, lesions: Sequence[Points]) -> list[bool]:
    """Of each lesion, whether the images show lungs at least 20 mm nearer to the head: it lies in no head or neck.

    Lungs are what lies in the body by -900 to -500 HU, at least 50 cm² of it in each of two planes 10 mm apart. Air
    around the patient is below, and cavities of the head are smaller.

    Args:
        ct: In Hounsfield units.
        lesions: Centres of the voxels of each, LPS mm.
    """
    direction = np.array(ct.image.GetDirection()).reshape(3, 3)[:, 2]
    if abs(direction[2]) < _STEEPEST:
        return [False for _ in lesions]
    spacing = ct.image.GetSpacing()
    steps = [max(int(size // spacing[axis]), 1) for axis, size in enumerate((_PIXEL_MM, _PIXEL_MM, _PLANE_MM))]
    planes = ct.array[:: steps[2], :: steps[1], :: steps[0]]
    pixel_mm2 = spacing[0] * steps[0] * spacing[1] * steps[1]
    heights = ct.image.GetOrigin()[2] + direction[2] * spacing[2] * steps[2] * np.arange(len(planes))
    with_lung = np.array([_lung_pixels(np.asarray(plane)) * pixel_mm2 >= _LUNG_MM2 for plane in planes])
    lasting = with_lung & (np.roll(with_lung, 1) | np.roll(with_lung, -1)) if len(planes) > 2 else with_lung & False
    highest = float(heights[lasting].max()) if lasting.any() else -np.inf
    return [bool(highest >= lesion[:, 2].max() + _ABOVE_MM) for lesion in lesions]


def _lung_pixels(plane: np.ndarray) -> int:
    labels, count = ndimage.label(plane >= _BODY_HU)
    if not count:
        return 0
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    body = ndimage.binary_fill_holes(labels == int(sizes.argmax()))
    lung = (plane >= _LUNG_LOW_HU) & (plane <= _LUNG_HIGH_HU) & body
    return int(np.count_nonzero(ndimage.binary_opening(lung)))
