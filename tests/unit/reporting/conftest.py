from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import yaml
from oncoradiomics.features import Feature, FeatureDocument, Measure
from oncoresponse.case.case import LesionMeasure
from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.case.prediction import (
    AbstainReason,
    Answer,
    BaselinePrediction,
    CallEvidence,
    Contribution,
    OutsideTrainingData,
    Prediction,
)
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.study_description import PatientIdentity, SeriesDescription, StudyDescription
from oncoresponse.case.volume import Volume
from oncoresponse.model.definition import ImageInput, ImagingResponse, parse_definition
from oncoresponse.reporting.compose import Report, compose_report
from oncoresponse.reporting.dicom_objects.archive_object import part10
from oncoresponse.reporting.fhir_bundle import fhir_bundle
from oncoresponse.reporting.lesion_map import lesion_map
from oncoresponse.reporting.report_content import ReportContext, ReportedLesion, SourceArtifact
from pydicom.dataset import Dataset

REPOSITORY = Path(__file__).resolve().parents[3]
STUDY = REPOSITORY / "examples" / "STS_019"
DIGEST = "0123456789abcdef" * 4
RESEARCH_USE = "Research use only. Not a cleared or approved medical device. Not for clinical decisions."


def read_series(folder: Path) -> list[Dataset]:
    """Image datasets of a folder in the order of their position."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Study ID of the sample is longer than SH allows
        datasets = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm")) if path.name != "RTSTRUCT.dcm"]
    return sorted(datasets, key=lambda dataset: float(dataset.ImagePositionPatient[2]))


def volume_of(datasets: Sequence[Dataset], quantity: Quantity) -> Volume:
    """A series as a volume; the sample PET is in GML, so its rescaled values are SUV."""
    pixels = np.stack(
        [
            item.pixel_array.astype(np.float64) * float(item.get("RescaleSlope", 1))
            + float(item.get("RescaleIntercept", 0))
            for item in datasets
        ]
    )
    image = sitk.GetImageFromArray(pixels.astype(np.float32))
    first, last = (np.array(datasets[index].ImagePositionPatient, float) for index in (0, -1))
    spacing = float(np.linalg.norm(last - first)) / (len(datasets) - 1)
    row, column = (float(value) for value in datasets[0].PixelSpacing)
    image.SetSpacing((column, row, spacing))
    image.SetOrigin(tuple(first))
    across, down = np.array(datasets[0].ImageOrientationPatient, float).reshape(2, 3)
    image.SetDirection(np.stack([across, down, np.cross(across, down)], axis=1).ravel().tolist())
    return Volume(image, quantity, str(datasets[0].FrameOfReferenceUID), str(datasets[0].SeriesInstanceUID))


@pytest.fixture(scope="session")
def pet_series() -> list[Dataset]:
    return read_series(STUDY / "PET")


@pytest.fixture(scope="session")
def pet(pet_series: list[Dataset]) -> Volume:
    return volume_of(pet_series, Quantity.SUV_BODY_WEIGHT)


@pytest.fixture(scope="session")
def ct() -> Volume:
    return volume_of(read_series(STUDY / "CT"), Quantity.HOUNSFIELD)


@pytest.fixture(scope="session")
def mask(pet: Volume) -> Volume:
    """Largest part of the sample PET above 41 % of its maximum."""
    threshold = 0.41 * float(np.asarray(pet.array).max())
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(pet.image > threshold))
    return pet.with_image(sitk.Cast(parts == 1, sitk.sitkUInt8), Quantity.MASK)


@pytest.fixture(scope="session")
def model() -> ImagingResponse:
    definition = parse_definition(yaml.safe_load((REPOSITORY / "models/sts-petct/model.yaml").read_bytes()))
    assert isinstance(definition, ImagingResponse)
    return definition


def features() -> FeatureDocument:
    measures = (
        ("lesion_volume", "Tumor volume", 214.8, "ml", "Sum of voxels", "YEKZ"),
        ("longest_axial_diameter", "Longest axial diameter", 87.3, "mm", "Longest diameter in an axial slice", None),
        (
            "perpendicular_axial_diameter",
            "Perpendicular axial diameter",
            61.2,
            "mm",
            "Longest diameter at right angles, same slice",
            None,
        ),
        ("maximum_3d_diameter", "Maximum 3D diameter", 104.6, "mm", "Longest line between two surface points", "L0JK"),
        ("suv_max", "SUVmax", 9.84, "g/mL", "Largest voxel", "84IY"),
        ("suv_peak", "SUVpeak", 8.21, "g/mL", "Mean of the 1 ml sphere with the highest mean", "0F91"),
        ("suv_mean", "SUVmean", 4.71, "g/mL", "Mean of the voxels", "Q4LE"),
        (
            "metabolic_tumor_volume",
            "Metabolic tumor volume (MTV)",
            198.4,
            "ml",
            "Volume of the voxels in the contour with at least 41 % of SUVmax.",
            None,
        ),
        (
            "total_lesion_glycolysis",
            "Total lesion glycolysis (TLG)",
            934.5,
            "g",
            "MTV times the mean SUV in it, with MTV at 41 % of SUVmax.",
            None,
        ),
    )
    return FeatureDocument(
        engine="pyradiomics",
        engine_version="3.0.1",
        settings_sha256=DIGEST,
        image_quantity="g/mL{SUVbw}",
        features=(
            Feature(name="original_shape_Sphericity", value=0.71, unit="1", ibsi_id="QCFX"),
            Feature(name="original_glcm_JointEntropy", value=7.9, unit="1", ibsi_id="TU9B"),
            Feature(name="wavelet-LLH_glcm_Contrast", value=13.1, unit="1", ibsi_id="ACUI"),
        ),
        measures=tuple(
            Measure(name=name, title=title, value=value, unit=unit, method=method, ibsi_id=ibsi)
            for name, title, value, unit, method, ibsi in measures
        ),
    )


def call_evidence(outcome: Answer) -> CallEvidence:
    return CallEvidence(
        outcome=outcome,
        patients=14,
        right=0.82,
        right_low=0.64,
        reference=0.53,
        required=0.7,
        allowed=True,
        text="In cross-validation 82 % of the 14 patients with this call had this outcome (80 % interval from 64 %).",
    )


def prediction(answer: Answer = Answer.FAVORABLE, **changes: Any) -> Prediction:
    texts = {
        Answer.FAVORABLE: "Pathologic complete response likely",
        Answer.UNFAVORABLE: "Recurrence or metastasis likely",
        Answer.INDETERMINATE: "Indeterminate: the evidence does not allow a call",
        Answer.OUT_OF_DISTRIBUTION: "Out of distribution: no call is made",
        Answer.NO_EVIDENCE: "No evidence for a prediction: this model only measures",
        Answer.MEASURED_ONLY: "Measured only: definition differs from training",
    }
    reasons = {
        Answer.INDETERMINATE: (
            AbstainReason(code="CONFORMAL_BOTH", text="Neither outcome can be ruled out for this patient."),
        ),
        Answer.OUT_OF_DISTRIBUTION: (
            AbstainReason(
                code="OUTSIDE_TRAINING_DATA",
                text="The measurements are unlike those of the 38 training patients (distance 9.1, limit 4.2).",
            ),
        ),
        Answer.NO_EVIDENCE: (
            AbstainReason(code="NO_EVIDENCE", text="Validation found no evidence that this outcome can be predicted."),
        ),
        Answer.MEASURED_ONLY: (
            AbstainReason(
                code="DEFINITION_DIFFERS",
                text="The extent of the tumor is not shown to be the same quantity as in the training data.",
            ),
        ),
    }
    conformal = {
        Answer.FAVORABLE: ("favorable",),
        Answer.UNFAVORABLE: ("unfavorable",),
        Answer.INDETERMINATE: ("favorable", "unfavorable"),
        Answer.OUT_OF_DISTRIBUTION: (),
        Answer.NO_EVIDENCE: (),
        Answer.MEASURED_ONLY: (),
    }
    inputs = (
        ("original_glcm_JointEntropy", "Heterogeneity of uptake (joint entropy)", 7.9, "1", 6.2, 4.1, 8.0, -0.61),
        ("lesion_volume", "Tumor volume", 214.8, "ml", 190.0, 14.0, 1210.0, 0.34),
        ("suv_peak", "SUVpeak", 8.21, "g/mL", 7.1, 2.9, 21.0, 0.22),
        ("original_shape_Sphericity", "Roundness of the tumor (sphericity)", 0.71, "1", 0.66, 0.42, 0.81, 0.11),
        ("wavelet-LLH_glcm_Contrast", "Contrast of fine texture (wavelet LLH)", 13.1, "1", 9.5, 2.2, 19.4, -0.05),
    )
    values: dict[str, Any] = {
        "model_name": "sts-petct",
        "model_version": "0.1.0",
        "model_sha256": DIGEST,
        "outcome_code": "pathologic-complete-response",
        "outcome_title": "Pathologic complete response",
        "answer": answer,
        "answer_text": texts[answer],
        "probability": 0.734,
        "interval_low": 0.512,
        "interval_high": 0.878,
        "interval_level": 0.9,
        "interval_method": "Bootstrap of the training patients, 200 refits",
        "conformal_set": conformal[answer],
        "conformal_coverage": 0.8,
        "conformal_coverage_measured": 0.82,
        "call_evidence": call_evidence(answer) if answer in (Answer.FAVORABLE, Answer.UNFAVORABLE) else None,
        "contributions": tuple(
            Contribution(
                input=name,
                title=title,
                value=value,
                unit=unit,
                training_median=median,
                training_low=low,
                training_high=high,
                log_odds=effect,
                direction="raises" if effect > 0 else "lowers",
            )
            for name, title, value, unit, median, low, high, effect in inputs
        ),
        "base_log_odds": 0.1,
        "margin_log_odds": 0.11,
        "outside": OutsideTrainingData(
            score=9.1 if answer is Answer.OUT_OF_DISTRIBUTION else 2.2,
            threshold=4.2,
            is_outside=answer is Answer.OUT_OF_DISTRIBUTION,
            inputs_outside_range=(),
        ),
        "abstain_reasons": reasons.get(answer, ()),
        "baseline": BaselinePrediction(name="Logistic regression on tumor volume, SUVpeak", probability=0.66),
        "limits": ("Cross-validated on 38 patients: area under the curve 0.71, 95 % interval 0.52 to 0.86.",),
        "research_use_statement": RESEARCH_USE,
        "booster_sha256": "b" * 64,
        "training_patients": 38,
        "training_data_sha256": "d" * 64,
        "seed": 20260101,
        "xgboost_version": "3.2.0",
    }
    if answer in (Answer.NO_EVIDENCE, Answer.MEASURED_ONLY):
        kept = {"model_name", "model_version", "model_sha256", "outcome_code", "outcome_title", "answer", "answer_text"}
        kept |= {"abstain_reasons", "limits", "research_use_statement"}
        values = {name: value for name, value in values.items() if name in kept}
    return Prediction.model_validate(values | changes)


@pytest.fixture
def make_prediction() -> Callable[..., Prediction]:
    return prediction


@pytest.fixture(scope="session")
def make_context(pet_series: list[Dataset], model: ImagingResponse) -> Callable[..., ReportContext]:
    """A context for the sample study; keyword arguments replace its fields, or those of its only lesion."""
    study = StudyDescription(
        study_instance_uid=str(pet_series[0].StudyInstanceUID),
        accession_number="2144184978610994",
        study_date_time="2001-11-27T16:53:31",
        patient=PatientIdentity(
            patient_id="STS_019", name="Doe^Jane^Q", birth_date="1953-04-02", sex="F", age_years=48.0, weight_kg=99.0
        ),
        series=(
            SeriesDescription(
                series_instance_uid=str(pet_series[0].SeriesInstanceUID),
                modality="PT",
                sop_class_uid=str(pet_series[0].SOPClassUID),
                frame_of_reference_uid=str(pet_series[0].FrameOfReferenceUID),
                manufacturer="GE MEDICAL SYSTEMS",
                manufacturer_model_name="Discovery ST",
                sop_instance_uids=tuple(str(item.SOPInstanceUID) for item in pet_series),
                instance_sha256=tuple(DIGEST for _ in pet_series),
            ),
        ),
    )
    summary = SegmentationSummary(
        method="automatic",
        volume_ml=214.8,
        component_count=1,
        touches_border=False,
        volume_low_ml=164.0,
        volume_high_ml=281.0,
        volume_level=0.8,
        prompt="none",
        mean_uncertainty=0.2,
        device="cpu",
        warnings=("The tumor reaches within 5 mm of the edge of the field of view.",),
        network_sha256="a" * 64,
    )
    defaults: dict[str, Any] = {
        "assessment_id": "0190b5c0-assessment",
        "issued": datetime(2026, 11, 23, 7, 30, tzinfo=UTC),
        "model": model,
        "model_sha256": DIGEST,
        "study": study,
        "prediction": prediction(),
        "software_version": "0.1.0",
        "planned_treatment": "neoadjuvant radiotherapy, then surgery",
        "artifacts": (SourceArtifact("features", "artifacts/features", "c" * 64),),
        "settings_sha256": (("reporting", "e" * 64),),
    }

    measured = features()

    def make(
        features: FeatureDocument = measured, segmentation: SegmentationSummary = summary, **changes: Any
    ) -> ReportContext:
        lesions = (ReportedLesion(1, "", features, segmentation),)
        return ReportContext(**(defaults | {"lesions": lesions} | changes))

    return make


@pytest.fixture(scope="session")
def report(
    make_context: Callable[..., ReportContext], pet: Volume, ct: Volume, mask: Volume, pet_series: list[Dataset]
) -> Report:
    return compose_report(make_context(), {"PT": pet, "CT": ct}, mask, pet_series)


@pytest.fixture(scope="session")
def abstaining_report(
    make_context: Callable[..., ReportContext], pet: Volume, ct: Volume, mask: Volume, pet_series: list[Dataset]
) -> Report:
    context = make_context(prediction=prediction(Answer.INDETERMINATE))
    return compose_report(context, {"PT": pet, "CT": ct}, mask, pet_series)


@pytest.fixture(scope="session")
def make_bundle() -> Callable[[ReportContext], dict[str, Any]]:
    """The Bundle of a context with the smallest files that it can refer to, as parsed JSON."""
    made = Dataset()
    made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID = "1.2.3", "1.2.3.1", "1.2.3.1.1"
    made.SOPClassUID, made.Modality = "1.2.840.10008.5.1.4.1.1.66.4", "SEG"
    objects = {"segmentation.dcm": part10(made)}

    def make(context: ReportContext) -> dict[str, Any]:
        data = fhir_bundle(
            context,
            html=b"<!DOCTYPE html>",
            pdf=b"%PDF",
            key_image=b"\x89PNG",
            key_image_size=(4, 3),
            objects=objects,
        )
        parsed: dict[str, Any] = json.loads(data)
        return parsed

    return make


@pytest.fixture
def bundle(report: Report) -> dict[str, Any]:
    """The Bundle as parsed JSON; each test gets its own copy."""
    parsed: dict[str, Any] = json.loads(report.bundle_json)
    return parsed


@pytest.fixture
def abstaining_bundle(abstaining_report: Report) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(abstaining_report.bundle_json)
    return parsed


@pytest.fixture(scope="session")
def two_lesions(mask: Volume) -> Volume:
    """The sample's lesion, and a box to the left of it as the second."""
    voxels = np.array(mask.array)
    k, j, i = (int(axis.max()) for axis in np.nonzero(voxels))
    second = np.zeros_like(voxels)
    second[k - 4 : k - 1, j - 4 : j, i + 3 : i + 7] = 1
    image = sitk.GetImageFromArray(second)
    image.CopyInformation(mask.image)
    return lesion_map([mask, mask.with_image(image, Quantity.MASK)])


@pytest.fixture(scope="session")
def make_two_lesions(make_context: Callable[..., ReportContext]) -> Callable[..., ReportContext]:
    """A network's contour and, smaller and at the border of the images, one drawn by hand; predicted from the first."""
    first = make_context().lesions[0]
    smaller = {"lesion_volume": 8.1, "longest_axial_diameter": 27.8, "metabolic_tumor_volume": 6.5}
    measures = tuple(
        item.model_copy(update={"value": smaller.get(item.name, item.value)}) for item in first.features.measures
    )
    by_hand = SegmentationSummary(
        method="supplied_rtstruct",
        supplied_algorithm_type="MANUAL",
        volume_ml=8.1,
        component_count=1,
        touches_border=True,
        volume_low_ml=8.1,
        volume_high_ml=9.9,
        volume_level=0.8,
        needs_review=True,
        review_reasons=("PET and CT lie at least 15 mm apart at the tumor.",),
        device="none",
    )
    second = ReportedLesion(2, "GTV-2", first.features.model_copy(update={"measures": measures}), by_hand)
    totals = (
        LesionMeasure(name="lesion_count", value=2, unit="1"),
        LesionMeasure(name="total_lesion_volume", value=222.9, unit="ml"),
        LesionMeasure(name="total_metabolic_tumor_volume", value=204.9, unit="ml"),
        LesionMeasure(name="total_lesion_glycolysis", value=1869.0, unit="g"),
        LesionMeasure(name="sum_of_longest_axial_diameters", value=115.1, unit="mm"),
    )

    def make(**changes: Any) -> ReportContext:
        said = {"predicted_from": "the largest lesion (number 1 of 2)", "totals": totals, "lesions": (first, second)}
        return make_context(**(said | changes))

    return make


@pytest.fixture(scope="session")
def two_lesion_report(
    make_two_lesions: Callable[..., ReportContext],
    pet: Volume,
    ct: Volume,
    two_lesions: Volume,
    pet_series: list[Dataset],
) -> Report:
    return compose_report(make_two_lesions(), {"PT": pet, "CT": ct}, two_lesions, pet_series)


@pytest.fixture(scope="session")
def mr_report(make_context: Callable[..., ReportContext]) -> Report:
    """The synthetic breast: two MR phases, a plan without a prediction, contoured and measured on the second."""
    phases = {phase: read_series(REPOSITORY / "examples/BREAST_DCE" / phase) for phase in ("pre", "post_1")}
    volumes = {phase: volume_of(found, Quantity.MR_SIGNAL) for phase, found in phases.items()}
    source = phases["post_1"]
    image = volumes["post_1"].image
    size = np.array(image.GetSize())
    voxels = np.zeros(size[::-1], np.uint8)
    voxels[tuple(slice(int(length) // 2 - 3, int(length) // 2 + 4) for length in size[::-1])] = 1
    mask = sitk.GetImageFromArray(voxels)
    mask.CopyInformation(image)
    inputs = tuple(
        ImageInput(role=phase, modality="MR", quantity=Quantity.MR_SIGNAL.value, purpose="Image") for phase in phases
    )
    context = make_context()
    model = context.model.model_copy(
        update={"inputs": inputs, "segment_on": "post_1", "features_from": "post_1", "show": ("post_1", "pre")}
    )
    document = context.lesions[0].features
    mean = Measure(
        name="mean_intensity",
        title="Mean intensity",
        value=460.2,
        unit="[arb'U]",
        method="Mean intensity of the voxels in the contour.",
        ibsi_id="Q4LE",
    )
    features = document.model_copy(
        update={"image_quantity": Quantity.MR_SIGNAL.value, "measures": (*document.measures[:4], mean)}
    )
    series = SeriesDescription(
        series_instance_uid=str(source[0].SeriesInstanceUID),
        modality="MR",
        input_role="post_1",
        sop_class_uid=str(source[0].SOPClassUID),
        frame_of_reference_uid=str(source[0].FrameOfReferenceUID),
        sequence_name="fl3d",
        contrast_agent="Gadobutrol",
        magnetic_field_strength_t=1.5,
        sop_instance_uids=tuple(str(item.SOPInstanceUID) for item in source),
        instance_sha256=tuple(DIGEST for _ in source),
    )
    study = context.study.model_copy(update={"series": (series,)})
    changed = make_context(
        features=features, model=model, study=study, prediction=None, predicted_lesions=(), planned_treatment=None
    )
    return compose_report(changed, volumes, volumes["post_1"].with_image(mask, Quantity.MASK), source)
