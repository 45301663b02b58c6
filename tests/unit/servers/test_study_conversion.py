"""ConvertStudy, without a server around it."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
import yaml
from oncoresponse.case.study_description import StudyDescription
from oncoresponse.errors import AutomaticContour
from oncoresponse.model.definition import ModelDefinition
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.servers.study_conversion import convert
from oncoresponse.storage.artifact_store import DICOM_MEDIA_TYPE, ArtifactStore
from oncoresponse.storage.study_manifest import ManifestInstance, StudyManifest
from oncoresponse.v1 import study_pb2


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "store"))


@pytest.fixture
def definition(examples: Path) -> ModelDefinition:
    content = yaml.safe_load((examples.parent / "models" / "sts-petct" / "model.yaml").read_bytes())
    content["required_series"] = [item for item in content["required_series"] if item["modality"] == "PT"]
    return ModelDefinition.model_validate(content)


def _request(
    store: ArtifactStore, files: list[Path], contour: study_pb2.SuppliedContour
) -> study_pb2.ConvertStudyRequest:
    stored = [store.put_file(file, DICOM_MEDIA_TYPE) for file in files]
    manifest = StudyManifest(
        instances=tuple(ManifestInstance(sha256=item.sha256, size_bytes=item.size_bytes) for item in stored)
    )
    return study_pb2.ConvertStudyRequest(
        study_manifest=artifact_message(store.put_document(manifest)), model="models/sts-petct", contour=contour
    )


def test_what_is_said_of_a_contour_travels_with_the_description(
    store: ArtifactStore, definition: ModelDefinition, examples: Path, tmp_path: Path
) -> None:
    folder = examples / "STS_019" / "PET"
    structures = pydicom.dcmread(folder / "RTSTRUCT.dcm")
    structures.StructureSetROISequence[0].ROIGenerationAlgorithm = "AUTOMATIC"
    contours = structures.ROIContourSequence[0].ContourSequence
    contours.append(contours[3])
    structures.save_as(tmp_path / "structures")
    files = [*(file for file in folder.iterdir() if file.name != "RTSTRUCT.dcm"), tmp_path / "structures"]
    with pytest.raises(AutomaticContour):
        convert(store, definition, _request(store, files, study_pb2.SuppliedContour()))
    named = study_pb2.SuppliedContour(sop_instance_uid=structures.SOPInstanceUID, structure_name="#1")
    response = convert(store, definition, _request(store, files, named))
    assert (response.contour_kind, response.contour_algorithm_type) == ("rtstruct", "AUTOMATIC")
    description = store.read_document(stored_artifact(response.description), StudyDescription)
    automatic, repeated = description.warnings[-2:]
    assert "no physician drew or corrected it" in automatic
    assert "1 contour stored more than once" in repeated
