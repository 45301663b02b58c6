"""ConvertStudy: the intake stage between references to artifacts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from oncoresponse.case.case import SelectedSeries
from oncoresponse.case.left_out import LeftOutInstance, unreadable_sentence
from oncoresponse.case.study_description import StudyDescription
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.limits import DEFAULT_LIMITS, DicomLimits
from oncoresponse.dicom.patient_identity import ExpectedPatient
from oncoresponse.dicom.study import convert_study, read_contour, read_study
from oncoresponse.errors import ContourNotFound, NoImages, SeriesError, error_for_reason
from oncoresponse.model.definition import ImagingResponse
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_manifest import StudyManifest
from oncoresponse.v1 import study_pb2


def convert(
    artifacts: ArtifactStore,
    model: ImagingResponse,
    request: study_pb2.ConvertStudyRequest,
    limits: DicomLimits = DEFAULT_LIMITS,
) -> study_pb2.ConvertStudyResponse:
    """Convert the series a model requires; see ConvertStudy in ``study.proto``. Blocks.

    Raises:
        ArtifactNotFound, ChecksumMismatch, InvalidRequest: The manifest or an instance is not in the store, or
            is not what the manifest says.
        DicomError, SuvError, ContourError: What the intake stage raises.
    """
    manifest = artifacts.read_document(stored_artifact(request.study_manifest), StudyManifest)
    expected = None
    if request.HasField("expected_patient"):
        patient = request.expected_patient
        expected = ExpectedPatient(
            patient_id=patient.patient_id if patient.HasField("patient_id") else None,
            birth_date=patient.birth_date if patient.HasField("birth_date") else None,
            sex=patient.sex if patient.HasField("sex") else None,
        )
    with _true_cause(manifest.left_out), ExitStack() as stack:
        paths = [stack.enter_context(artifacts.local_path(instance.artifact)) for instance in manifest.instances]
        study = read_study(paths, limits)
        converted = convert_study(
            study,
            model.inputs,
            selected=[
                SelectedSeries(input_role=item.input_role, series_instance_uid=item.series_instance_uid)
                for item in request.series
            ],
            anchor=model.segment_on,
            expected_patient=expected,
        )
        _require_whole(converted.description, manifest.left_out)
        contour = None
        if request.HasField("contour"):
            wanted = ContourRequest(request.contour.sop_instance_uid, request.contour.structure_name)
            grid = converted.volumes[model.segment_on]
            contour = read_contour(study, wanted, grid, expected_patient=expected)
    description = converted.description
    if contour is not None:
        description = description.model_copy(update={"warnings": (*description.warnings, *contour.warnings)})
    response = study_pb2.ConvertStudyResponse(
        series=[
            study_pb2.ConvertedSeries(modality=input_role, volume=artifact_message(artifacts.put_volume(volume)))
            for input_role, volume in converted.volumes.items()
        ],
        description=artifact_message(artifacts.put_document(_with_warning(description, manifest.left_out))),
    )
    if contour is not None:
        response.contour_mask.CopyFrom(artifact_message(artifacts.put_volume(contour.mask)))
        response.contour_kind = contour.kind
        response.contour_algorithm_type = contour.algorithm_type or ""
    return response


@contextmanager
def _true_cause(left_out: Sequence[LeftOutInstance]) -> Iterator[None]:
    """Say of a study that lacks something that objects of it could not be read."""
    try:
        yield
    except (SeriesError, ContourNotFound, NoImages) as error:
        if not left_out:
            raise
        raise type(error)(f"{error.message} {unreadable_sentence(left_out)}", **error.metadata) from error


def _require_whole(description: StudyDescription, left_out: Sequence[LeftOutInstance]) -> None:
    """Refuse a volume of a series of which an object could not be read, also where the rest makes a regular volume."""
    used = {series.series_instance_uid: series.modality for series in description.series}
    for item in left_out:
        if item.series_instance_uid in used:
            raise error_for_reason(
                item.reason,
                f"Object number {item.number} of the import belongs to the {used[item.series_instance_uid]} series "
                "that the model needs, and cannot be read. Correct it in the archive, then import the study again.",
                {"modality": used[item.series_instance_uid]},
            )


def _with_warning(description: StudyDescription, left_out: Sequence[LeftOutInstance]) -> StudyDescription:
    if not left_out:
        return description
    return description.model_copy(update={"warnings": (*description.warnings, unreadable_sentence(left_out))})
