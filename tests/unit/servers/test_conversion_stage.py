"""The conversion stage, without a server around it."""

from __future__ import annotations

import datetime
from pathlib import Path

import pydicom
import pytest
import yaml
from oncoresponse.case.case import Case, LesionRequest, NamedContour, Order
from oncoresponse.case.study_description import StudyDescription
from oncoresponse.errors import AutomaticContour
from oncoresponse.model.definition import ImagingResponse, parse_definition
from oncoresponse.servers.conversion_stage import converted
from oncoresponse.storage.artifact_store import DICOM_MEDIA_TYPE, ArtifactStore
from oncoresponse.storage.study_manifest import ManifestInstance, StudyManifest


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "store"))


@pytest.fixture
def definition(examples: Path) -> ImagingResponse:
    content = yaml.safe_load((examples.parent / "models" / "sts-petct" / "model.yaml").read_bytes())
    content["inputs"] = [item for item in content["inputs"] if item["role"] == "PT"]
    content["show"] = ["PT"]
    parsed = parse_definition(content)
    assert isinstance(parsed, ImagingResponse)
    return parsed


def _case(store: ArtifactStore, files: list[Path], contour: NamedContour) -> Case:
    stored = [store.put_file(file, DICOM_MEDIA_TYPE) for file in files]
    manifest = StudyManifest(
        instances=tuple(ManifestInstance(sha256=item.sha256, size_bytes=item.size_bytes) for item in stored)
    )
    issued = datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC)
    order = Order(report_id="one", issued=issued, lesions=(LesionRequest(contour=contour),))
    return Case(order=order, study_manifest=store.put_document(manifest))


def test_what_is_said_of_a_contour_travels_with_the_description(
    store: ArtifactStore, definition: ImagingResponse, examples: Path, tmp_path: Path
) -> None:
    folder = examples / "STS_019" / "PET"
    structures = pydicom.dcmread(folder / "RTSTRUCT.dcm")
    structures.StructureSetROISequence[0].ROIGenerationAlgorithm = "AUTOMATIC"
    contours = structures.ROIContourSequence[0].ContourSequence
    contours.append(contours[3])
    structures.save_as(tmp_path / "structures")
    files = [*(file for file in folder.iterdir() if file.name != "RTSTRUCT.dcm"), tmp_path / "structures"]
    with pytest.raises(AutomaticContour):
        converted(_case(store, files, NamedContour()), definition, store)
    named = NamedContour(sop_instance_uid=structures.SOPInstanceUID, structure_name="#1")
    case = converted(_case(store, files, named), definition, store)
    (lesion,) = case.lesions
    assert (lesion.supplied_kind, lesion.supplied_algorithm_type) == ("rtstruct", "AUTOMATIC")
    assert case.study is not None
    description = store.read_document(case.study, StudyDescription)
    automatic, repeated = description.warnings[-2:]
    assert "no physician drew or corrected it" in automatic
    assert "1 contour stored more than once" in repeated
