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
from oncoresponse.case.study_description import PatientIdentity, SeriesDescription, StudyDescription
from oncoresponse.case.volume import Quantity, Volume
from oncoresponse.model.definition import ModelDefinition, parse_definition
from oncoresponse.reporting.compose import Report, compose_report
from oncoresponse.reporting.report_content import ReportContext, SourceArtifact
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
    """Axial series as a volume; the sample PET is in GML, so its rescaled values are SUV."""
    pixels = np.stack(
        [
            item.pixel_array.astype(np.float64) * float(item.RescaleSlope) + float(item.RescaleIntercept)
            for item in datasets
        ]
    )
    image = sitk.GetImageFromArray(pixels.astype(np.float32))
    first, last = (np.array(datasets[index].ImagePositionPatient, float) for index in (0, -1))
    spacing = float(np.linalg.norm(last - first)) / (len(datasets) - 1)
    row, column = (float(value) for value in datasets[0].PixelSpacing)
    image.SetSpacing((column, row, spacing))
    image.SetOrigin(tuple(first))
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
def model() -> ModelDefinition:
    return parse_definition(yaml.safe_load((REPOSITORY / "models/sts-petct/model.yaml").read_bytes()))


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
    }
    conformal = {
        Answer.FAVORABLE: ("favorable",),
        Answer.UNFAVORABLE: ("unfavorable",),
        Answer.INDETERMINATE: ("favorable", "unfavorable"),
        Answer.OUT_OF_DISTRIBUTION: (),
        Answer.NO_EVIDENCE: (),
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
    if answer is Answer.NO_EVIDENCE:
        kept = {"model_name", "model_version", "model_sha256", "outcome_code", "outcome_title", "answer", "answer_text"}
        kept |= {"abstain_reasons", "limits", "research_use_statement"}
        values = {name: value for name, value in values.items() if name in kept}
    return Prediction.model_validate(values | changes)


@pytest.fixture
def make_prediction() -> Callable[..., Prediction]:
    return prediction


@pytest.fixture(scope="session")
def make_context(pet_series: list[Dataset], model: ModelDefinition) -> Callable[..., ReportContext]:
    """A context for the sample study; keyword arguments replace its fields."""
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
        "features": features(),
        "segmentation": summary,
        "prediction": prediction(),
        "software_version": "0.1.0",
        "planned_treatment": "neoadjuvant radiotherapy, then surgery",
        "artifacts": (SourceArtifact("features", "artifacts/features", "c" * 64),),
        "settings_sha256": (("reporting", "e" * 64),),
    }

    def make(**changes: Any) -> ReportContext:
        return ReportContext(**(defaults | changes))

    return make


@pytest.fixture(scope="session")
def report(
    make_context: Callable[..., ReportContext], pet: Volume, ct: Volume, mask: Volume, pet_series: list[Dataset]
) -> Report:
    return compose_report(make_context(), pet, ct, mask, pet_series)


@pytest.fixture(scope="session")
def abstaining_report(
    make_context: Callable[..., ReportContext], pet: Volume, ct: Volume, mask: Volume, pet_series: list[Dataset]
) -> Report:
    context = make_context(prediction=prediction(Answer.INDETERMINATE))
    return compose_report(context, pet, ct, mask, pet_series)


@pytest.fixture
def bundle(report: Report) -> dict[str, Any]:
    """The Bundle as parsed JSON; each test gets its own copy."""
    parsed: dict[str, Any] = json.loads(report.bundle_json)
    return parsed


@pytest.fixture
def abstaining_bundle(abstaining_report: Report) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(abstaining_report.bundle_json)
    return parsed
