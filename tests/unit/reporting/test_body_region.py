"""A distance to skin is never given for head and neck: what studies say, and what images show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.study_description import CodedRegion, PatientIdentity, SeriesDescription, StudyDescription
from oncoresponse.case.volume import Volume
from oncoresponse.dicom.study import convert_study, read_study
from oncoresponse.model.definition import ImageInput
from oncoresponse.reporting.lesion_distances import LesionDistances
from oncoresponse.reporting.surfaces.body_region import BodyRegion, stated_region
from oncoresponse.reporting.surfaces.surface_models import surface_models
from pydicom.dataset import Dataset

REPOSITORY = Path(__file__).resolve().parents[3]
SPACING = (4.0, 4.0, 5.0)


def _study(description: str = "", **series: Any) -> StudyDescription:
    said = {"series_instance_uid": "1", "modality": "CT", "sop_class_uid": "1", "frame_of_reference_uid": "1"}
    ct = SeriesDescription(**(said | {"sop_instance_uids": (), "instance_sha256": ()} | series))
    pet = ct.model_copy(update={"modality": "PT", "body_part_examined": None, "anatomic_regions": ()})
    return StudyDescription(
        study_instance_uid="1", description=description, patient=PatientIdentity(patient_id="1"), series=(pet, ct)
    )


@pytest.mark.parametrize(
    "said",
    [
        {"body_part_examined": "HEAD"},
        {"body_part_examined": "HEADNECK"},
        {"body_part_examined": "Head and Neck"},
        {"body_part_examined": "NECKCHESTABDPELV"},
        {"body_part_examined": "CHEST", "description": "CT Thorax/Hals"},
        {"body_part_examined": "CHEST", "anatomic_regions": (CodedRegion(value="45048000", scheme="SCT"),)},
        {"anatomic_regions": (CodedRegion(value="T-D1100", scheme="SRT", meaning="Head"),)},
        {"sequence_name": "5.1 Neck routine"},
        {"description": "頭頸部CT"},
        {"description": "КТ головы"},
    ],
)
def test_one_word_of_head_or_neck_is_enough(said: dict[str, Any]) -> None:
    assert stated_region(_study(**said)) is BodyRegion.HEAD_OR_NECK


def test_the_description_of_the_study_counts_too() -> None:
    assert stated_region(_study("PET/CT HNSCC staging", body_part_examined="CHEST")) is BodyRegion.HEAD_OR_NECK


@pytest.mark.parametrize(
    "said",
    [
        {"body_part_examined": "EXTREMITY"},
        {"body_part_examined": "CHEST"},
        {"body_part_examined": "LOWER LEG", "description": "femoral head, head first supine"},
        {"anatomic_regions": (CodedRegion(value="68367000", scheme="SCT", meaning="Thigh"),)},
    ],
)
def test_another_part_of_the_body_that_is_named(said: dict[str, Any]) -> None:
    assert stated_region(_study(**said)) is BodyRegion.ELSEWHERE


@pytest.mark.parametrize("part", [None, "", "WHOLEBODY", "BODY", "SOMETHING", "12"])
def test_no_part_or_all_of_them_is_not_known(part: str | None) -> None:
    assert stated_region(_study("PET/CT", body_part_examined=part)) is BodyRegion.NOT_KNOWN


def _torso(lesion_at_mm: float, *, lung_hu: int = -820, lung_mm: float = 45.0, turned: bool = False) -> LesionDistances:
    """A body of 300 x 200 mm with two lungs of 80 mm in its upper half, and a lesion in it or below."""
    size = [90, 60, 80]
    image = sitk.Image(size, sitk.sitkInt16)
    image.SetSpacing(SPACING)
    k, j, i = np.meshgrid(*(np.arange(length) for length in size[::-1]), indexing="ij")
    x, y, z = ((each - (each.max()) / 2) * step for each, step in zip((i, j, k), SPACING, strict=True))
    if turned:  # stored from head to feet
        image.SetDirection([1, 0, 0, 0, 1, 0, 0, 0, -1])
        z = -z
    image.SetOrigin([0, 0, 0])
    values = np.full(x.shape, -1000, np.int16)
    values[(np.abs(x) <= 150) & (np.abs(y) <= 100)] = 40
    for middle in (-70, 70):
        values[(np.hypot(x - middle, y) <= lung_mm) & (z >= 40) & (z <= 120)] = lung_hu
    lesion = np.linalg.norm(np.stack([x, y, z - lesion_at_mm]), axis=0) <= 12
    values[lesion] = 40
    made = [sitk.GetImageFromArray(array) for array in (lesion.astype(np.uint8), values)]
    for each in made:
        each.CopyInformation(image)
    models = surface_models(
        Volume(made[0], Quantity.MASK, "1.2.3", "1.2.4"),
        Volume(made[1], Quantity.HOUNSFIELD, "1.2.3", "1.2.4"),
        research_use_statement="x",
    )
    assert models.distances is not None
    return models.distances.lesions[0]


@pytest.mark.parametrize("turned", [False, True])
def test_lungs_above_a_lesion_show_that_it_is_no_head_or_neck(turned: bool) -> None:
    found = _torso(-80.0, turned=turned)
    assert (found.skin, found.skin_not_computed) == ("exact", "")
    assert found.skin_mm == pytest.approx(100 - 12, abs=4)


@pytest.mark.parametrize(
    "phantom",
    [
        {"lesion_at_mm": 135.0},  # above the lungs, as in the neck
        {"lesion_at_mm": 100.0},  # beside the top of the lungs
        {"lesion_at_mm": -80.0, "lung_hu": -1000},  # air, as in a mouth or between arms
        {"lesion_at_mm": -80.0, "lung_mm": 25.0},  # no larger than cavities of the head
        {"lesion_at_mm": -80.0, "lung_hu": 40},  # a limb
    ],
)
def test_without_lungs_above_no_distance_to_skin_is_given(phantom: dict[str, Any]) -> None:
    found = _torso(**phantom)
    assert (found.skin, found.skin_mm, found.skin_not_computed) == ("not computed", None, "may be head or neck")
    assert re.fullmatch("at least|exact", found.bone)


def test_head_and_neck_has_no_skin_even_below_lungs() -> None:
    models = surface_models(*_empty_pair(), region=BodyRegion.HEAD_OR_NECK, research_use_statement="x")
    assert models.distances is not None
    entry = models.distances.lesions[0]
    assert (entry.skin, entry.skin_mm, entry.skin_not_computed) == ("not computed", None, "head or neck")


def _empty_pair() -> tuple[Volume, Volume]:
    image = sitk.Image([20, 20, 20], sitk.sitkInt16) + 40
    lesion = sitk.Image([20, 20, 20], sitk.sitkUInt8)
    lesion[10, 10, 10] = 1
    return Volume(lesion, Quantity.MASK, "1.2.3", "1"), Volume(image, Quantity.HOUNSFIELD, "1.2.3", "1")


def test_region_and_description_come_from_the_files(tmp_path: Path) -> None:
    for number, path in enumerate(sorted((REPOSITORY / "examples/STS_019/CT").glob("*.dcm"))):
        image = pydicom.dcmread(path)
        region = Dataset()
        region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "774007", "SCT", "Head and Neck"
        image.AnatomicRegionSequence = [region]
        image.StudyDescription = "Planning"
        image.save_as(tmp_path / f"{number}.dcm")
    needed = [ImageInput(role="ct", modality="CT", quantity=Quantity.HOUNSFIELD.value, purpose="Image")]
    described = convert_study(read_study(tmp_path), needed).description
    assert described.description == "Planning"
    assert described.series[0].anatomic_regions == (CodedRegion(value="774007", scheme="SCT", meaning="Head and Neck"),)
    assert stated_region(described) is BodyRegion.HEAD_OR_NECK
