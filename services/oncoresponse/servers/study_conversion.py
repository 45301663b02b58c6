"""ConvertStudy: the intake stage between references to artifacts."""

from __future__ import annotations

from contextlib import ExitStack

from oncoresponse.dicom.contours import ContourRequest
from oncoresponse.dicom.patient_identity import ExpectedPatient
from oncoresponse.dicom.selection import require_input_roles
from oncoresponse.dicom.study import convert_study, read_contour, read_study
from oncoresponse.errors import InvalidRequest
from oncoresponse.model_folder import ModelDefinition
from oncoresponse.storage.artifact_store import ArtifactStore, StoredArtifact
from oncoresponse.storage.study_manifest import StudyManifest
from oncoresponse.v1 import study_pb2


def convert(
    artifacts: ArtifactStore, model: ModelDefinition, request: study_pb2.ConvertStudyRequest
) -> study_pb2.ConvertStudyResponse:
    """Convert the series a model requires; see ConvertStudy in ``study.proto``. Blocks.

    Raises:
        ArtifactNotFound, ChecksumMismatch, InvalidRequest: The manifest or an instance is not in the store, or
            is not what the manifest says.
        DicomError, SuvError, ContourError: What the intake stage raises.
    """
    if not model.required_series:
        raise InvalidRequest(
            "This model reads no images. Predict from its covariates with PredictResponse, or from a table with "
            "'oncoresponse predict'.",
            field="model",
        )
    manifest = artifacts.read_document(StoredArtifact.from_message(request.study_manifest), StudyManifest)
    expected = None
    if request.HasField("expected_patient"):
        patient = request.expected_patient
        expected = ExpectedPatient(
            patient_id=patient.patient_id if patient.HasField("patient_id") else None,
            birth_date=patient.birth_date if patient.HasField("birth_date") else None,
            sex=patient.sex if patient.HasField("sex") else None,
        )
    with ExitStack() as stack:
        paths = [stack.enter_context(artifacts.local_path(instance.artifact)) for instance in manifest.instances]
        study = read_study(paths)
        modalities = [series.modality for series in model.required_series]
        require_input_roles(
            study.series, modalities, [(item.input_role, item.series_instance_uid) for item in request.series]
        )
        converted = convert_study(
            study,
            modalities,
            series_instance_uids=[item.series_instance_uid for item in request.series],
            preferences={series.modality: series.prefer for series in model.required_series},
            expected_patient=expected,
        )
        contour = None
        if request.HasField("contour"):
            wanted = ContourRequest(request.contour.sop_instance_uid, request.contour.structure_name)
            contour = read_contour(study, wanted, converted.volumes[model.contour_modality])
    response = study_pb2.ConvertStudyResponse(
        series=[
            study_pb2.ConvertedSeries(modality=modality, volume=artifacts.put_volume(volume).to_message())
            for modality, volume in converted.volumes.items()
        ],
        description=artifacts.put_document(converted.description).to_message(),
    )
    if contour is not None:
        response.contour_mask.CopyFrom(artifacts.put_volume(contour.mask).to_message())
        response.contour_kind = contour.kind
    return response
