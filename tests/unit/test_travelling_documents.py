"""Documents that services pass to each other are read with fields that a newer release added, at any depth."""

from __future__ import annotations

import datetime
import json

import pytest
from oncoradiomics.features import Feature, FeatureDocument, Measure
from oncoresponse.case.assessment_record import AssessmentRecord
from oncoresponse.case.case import Case, CaseImage, Lesion, LesionMeasure, LesionRequest, NamedContour, Order
from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.case.left_out import LeftOutInstance
from oncoresponse.case.prediction import AbstainReason, Answer, Prediction
from oncoresponse.case.stage_software import StageSoftware
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.study_description import PatientIdentity, SeriesDescription, StudyDescription
from oncoresponse.case.volume import VolumeGeometry
from oncoresponse.errors import DocumentVersionUnsupported
from oncoresponse.storage.study_manifest import ManifestInstance, StudyManifest

GRID = VolumeGeometry(
    size=(4, 4, 4),
    spacing_mm=(1.0, 1.0, 2.0),
    origin_mm=(0.0, 0.0, 0.0),
    direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    frame_of_reference_uid="1.2.3",
)
STORED = StoredArtifact(sha256="0" * 64, size_bytes=2, media_type="application/x-nrrd", grid=GRID)
CASE = Case(
    order=Order(
        report_id="a-1",
        issued=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        lesions=(LesionRequest(contour=NamedContour()),),
    ),
    study_manifest=STORED,
    images=(CaseImage(input_role="PT", modality="PT", series_instance_uid="1.2.4", volume=STORED),),
    lesions=(Lesion(number=1, mask=STORED, measures=(LesionMeasure(name="lesion_volume", value=1.0, unit="ml"),)),),
)
DOCUMENTS = [
    CASE,
    AssessmentRecord(
        assessment="a-1",
        model="models/m",
        model_sha256="0" * 64,
        stages=("conversion",),
        study_manifest=STORED,
        begun_with=STORED,
        ended_with=STORED,
    ),
    StageSoftware(processor="p"),
    StudyManifest(
        instances=(ManifestInstance(sha256="0" * 64, size_bytes=2),),
        left_out=(LeftOutInstance(number=1, reason="NOT_DICOM"),),
    ),
    StudyDescription(
        study_instance_uid="1.2.5",
        patient=PatientIdentity(patient_id="P"),
        series=(
            SeriesDescription(
                series_instance_uid="1.2.4",
                modality="PT",
                sop_class_uid="1.2.840.10008.5.1.4.1.1.128",
                frame_of_reference_uid="1.2.3",
                sop_instance_uids=("1.2.6",),
                instance_sha256=("0" * 64,),
            ),
        ),
    ),
    SegmentationSummary(method="automatic", volume_ml=1.0, component_count=1, touches_border=False, device="cpu"),
    Prediction(
        model_name="m",
        model_version="1.0.0",
        model_sha256="0" * 64,
        outcome_code="o",
        outcome_title="O",
        answer=Answer.NO_EVIDENCE,
        answer_text="No",
        abstain_reasons=(AbstainReason(code="NO_EVIDENCE", text="None."),),
        limits=(),
        research_use_statement="Research use only.",
    ),
    FeatureDocument(
        engine="e",
        engine_version="1",
        settings_sha256="0" * 64,
        image_quantity="HU",
        features=(Feature(name="original_shape_Sphericity", value=0.5, unit="1"),),
        measures=(Measure(name="lesion_volume", title="Volume", value=1.0, unit="ml", method="Counted."),),
    ),
]


def of_a_newer_release(content: object) -> object:
    """The same with one more field in every object that has fields."""
    if isinstance(content, dict):
        more = {"added_later": {"by": "a newer release"}} if content else {}
        return {name: of_a_newer_release(value) for name, value in content.items()} | more
    return [of_a_newer_release(item) for item in content] if isinstance(content, list) else content


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: type(document).__name__)
def test_fields_that_a_newer_release_added_are_ignored(document):
    newer = of_a_newer_release(json.loads(document.model_dump_json()))
    assert type(document).model_validate_json(json.dumps(newer)) == document


def test_another_major_version_is_refused_before_its_fields_are_looked_at():
    with pytest.raises(DocumentVersionUnsupported) as caught:
        Case.model_validate_json('{"document_version": "2.1", "tumors": []}')
    assert caught.value.metadata == {"document": "Case", "version": "2.1"}
