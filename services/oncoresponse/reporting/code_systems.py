"""Codes the report uses, each from the list named beside it; a local code where no public one exists.

SNOMED CT and DCM codes are those of pydicom's copy of DICOM PS3.16; the LOINC codes of tumor size are those of the
mCODE Tumor Size profile. LOINC 97509-4 (cancer disease status) is a clinician's judgment and never used here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# RFC 2606 keeps ".example" free, so nobody else can own these names; docs/fhir-report.md says how a site sets its own.
LOCAL_BASE = "https://oncoresponse.example/fhir"
LOCAL_CODES = f"{LOCAL_BASE}/CodeSystem/oncoresponse"
LOCAL_MEASURES = f"{LOCAL_BASE}/CodeSystem/lesion-measure"
LOCAL_TOTALS = f"{LOCAL_BASE}/CodeSystem/patient-total"
SHA256 = f"{LOCAL_BASE}/NamingSystem/sha256"
ENTRY_TAG = f"{LOCAL_BASE}/NamingSystem/report-entry"
REPORT_VERSION = f"{LOCAL_BASE}/NamingSystem/report-version"
CALLER = f"{LOCAL_BASE}/NamingSystem/caller"

URI = "urn:ietf:rfc:3986"
DICOM_UID = "urn:dicom:uid"
LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
IBSI = "urn:oid:1.2.840.10008.2.16.13"  # Image Biomarker Standardisation Initiative, DICOM PS3.6 Table A-1
UCUM = "http://unitsofmeasure.org"
OBSERVATION_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
DATA_ABSENT_REASON = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
OBSERVATION_VALUE = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
DATA_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
PARTICIPANT_TYPE = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
DIAGNOSTIC_SERVICE = "http://terminology.hl7.org/CodeSystem/v2-0074"
IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
ENDPOINT_CONNECTION = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
# AI Transparency on FHIR (R4), as balloted in January 2026.
_AI_TRANSPARENCY = "http://hl7.org/fhir/uv/aitransparency"
AI_DEVICE_TYPE = f"{_AI_TRANSPARENCY}/CodeSystem/AIdeviceTypeCS"
AI_INPUTS = f"{_AI_TRANSPARENCY}/CodeSystem/AIinputsCS"
AI_KIND = f"{_AI_TRANSPARENCY}/StructureDefinition/aitransparency.AIKind"
MODEL_CARD_DESCRIPTION = f"{_AI_TRANSPARENCY}/StructureDefinition/aitransparency.modelCardDescription"
AI_CONFIDENCE = f"{_AI_TRANSPARENCY}/StructureDefinition/AIconfidence"

Json = dict[str, Any]
"""A FHIR element as the JSON object it becomes."""


@dataclass(frozen=True)
class Code:
    """One code of one system, with the display the system gives it; ``None`` where we do not know that."""

    system: str
    code: str
    display: str | None

    @property
    def coding(self) -> Json:
        """FHIR Coding."""
        named: Json = {"system": self.system, "code": self.code}
        return named if self.display is None else {**named, "display": self.display}


AI_ASSERTED = Code(OBSERVATION_VALUE, "AIAST", "Artificial Intelligence asserted")
ARTIFICIAL_INTELLIGENCE = Code(AI_DEVICE_TYPE, "Artificial-Intelligence", "All kinds of Artificial Intelligence")
ARTIFICIAL_INTELLIGENCE_DCM = Code(DCM, "123110", "Artificial Intelligence")
DEEP_LEARNING = Code(AI_DEVICE_TYPE, "Deep-Learning-Models", "Deep Learning Models")
MACHINE_LEARNING = Code(AI_DEVICE_TYPE, "Machine-Learning-Models", "Machine Learning Models")
MODEL_CARD = Code(AI_INPUTS, "AIModelCard", "AI Model-Card")
MODEL_CARD_MARKDOWN = Code(AI_INPUTS, "AIModelCardMarkdownFormat", "Markdown Format")
WADO_RS = Code(ENDPOINT_CONNECTION, "dicom-wado-rs", "DICOM WADO-RS")
CATEGORY_IMAGING = Code(OBSERVATION_CATEGORY, "imaging", "Imaging")
RADIOLOGY_LOINC = Code(LOINC, "LP29684-5", "Radiology")
RADIOLOGY = Code(DIAGNOSTIC_SERVICE, "RAD", "Radiology")
DIAGNOSTIC_IMAGING_STUDY = Code(LOINC, "18748-4", "Diagnostic imaging study")

UNKNOWN = Code(DATA_ABSENT_REASON, "unknown", "Unknown")
NOT_PERFORMED = Code(DATA_ABSENT_REASON, "not-performed", "Not Performed")

VOLUME = Code(SNOMED, "118565006", "Volume")
SUV_BODY_WEIGHT = Code(DCM, "126401", "SUVbw")
METABOLIC_VOLUME = Code(DCM, "126032", "Metabolic Volume")
TOTAL_LESION_GLYCOLYSIS = Code(DCM, "126033", "Total Lesion Glycolysis")
MEAN_ATTENUATION = Code(DCM, "112181", "Mean Attenuation Coefficient")
MR_SIGNAL_INTENSITY = Code(DCM, "110852", "MR signal intensity")
LESION_COUNT = Code(SNOMED, "246206008", "Number of lesions (observable entity)")
DERIVATION = Code(DCM, "121401", "Derivation")
MAXIMUM = Code(SNOMED, "56851009", "Maximum")
MEAN = Code(SNOMED, "373098007", "Mean")
PEAK_WITHIN_ROI = Code(DCM, "126031", "Peak Value Within ROI")
SUM_OF_VOXELS = Code(DCM, "126030", "Sum of segmented voxel method for volume")
MEASUREMENT_GROUP = Code(DCM, "125007", "Measurement Group")
TRACKING_IDENTIFIER = Code(DCM, "112039", "Tracking Identifier")
TRACKING_UID = Code(DCM, "112040", "Tracking Unique Identifier")

IMAGING_MEASUREMENT_REPORT = Code(DCM, "126000", "Imaging Measurement Report")
STUDY = Code(DCM, "113014", "Study")
STUDY_INSTANCE_UID = Code(DCM, "110180", "Study Instance UID")

TUMOR_SIZE = Code(LOINC, "21889-1", "Size Tumor")
TUMOR_LARGEST_DIMENSION = Code(LOINC, "33728-7", "Size.maximum dimension in Tumor")
TUMOR_OTHER_DIMENSION = Code(LOINC, "33729-5", "Size additional dimension in Tumor")

MODALITIES = {
    "PT": Code(DCM, "PT", "Positron emission tomography"),
    "CT": Code(DCM, "CT", "Computed Tomography"),
    "MR": Code(DCM, "MR", "Magnetic Resonance"),
    "SEG": Code(DCM, "SEG", "Segmentation"),
    "SR": Code(DCM, "SR", "Structured Report Document"),
    "DOC": Code(DCM, "DOC", "Document"),
    "OT": Code(DCM, "OT", "Other Modality"),
    "M3D": Code(DCM, "M3D", "Model for 3D Manufacturing"),
}

PREDICTED_RESPONSE = Code(LOCAL_CODES, "predicted-response-probability", "Predicted probability of response")
PREDICTED_ANSWER = Code(LOCAL_CODES, "predicted-response-answer", "Answer of the model")
INTERVAL_LOW = Code(LOCAL_CODES, "probability-interval-low", "Lower end of the probability interval")
INTERVAL_HIGH = Code(LOCAL_CODES, "probability-interval-high", "Upper end of the probability interval")
CONFORMAL_SET = Code(LOCAL_CODES, "conformal-set", "Outcomes that cannot be ruled out")
PHYSICIAN_JUDGEMENT = Code(LOCAL_CODES, "physician-judgement", "Physician's own judgement")
NO_PREDICTION = Code(LOCAL_CODES, "no-prediction", "No response prediction was made")
NOT_CONFIRMED = Code(
    LOCAL_CODES, "result-not-confirmed", "The signing physician does not confirm the result of the software"
)
OUTSIDE_TRAINING_DATA = Code(LOCAL_CODES, "outside-training-data", "Patient lies outside the training data")


def local(code: str, display: str) -> Code:
    """A code of our own; underscores become hyphens, as FHIR code systems write them."""
    return Code(LOCAL_CODES, code.replace("_", "-"), display)


def lesion_measure(name: str, title: str) -> Code:
    """A measure of :mod:`oncoradiomics.lesion_measures`."""
    return Code(LOCAL_MEASURES, name.replace("_", "-"), title)


def patient_total(name: str, title: str) -> Code:
    """A total of :mod:`oncoresponse.case.totals`: a system of its own, as a sum is no measure of a lesion."""
    return Code(LOCAL_TOTALS, name.replace("_", "-"), title)


def ibsi(identifier: str) -> Code:
    """A feature definition of IBSI; its own names are not ours, so none is shown."""
    return Code(IBSI, identifier, None)


def radiomic_feature(engine: str, name: str, title: str) -> Code:
    """A feature by the name its engine gives it; each engine has a code system of its own."""
    slug = re.sub(r"[^a-z0-9]+", "-", engine.lower()).strip("-")
    return Code(f"{LOCAL_BASE}/CodeSystem/{slug}-feature", name, title)


def concept(*codes: Code, text: str | None = None) -> Json:
    """FHIR CodeableConcept."""
    element: Json = {"coding": [code.coding for code in codes]} if codes else {}
    if text:
        element["text"] = text
    return element


def quantity(value: float, unit: str, ucum: str) -> Json:
    """FHIR Quantity in UCUM; six significant digits, which is more than any of these measures holds."""
    return {"value": float(f"{value:.6g}"), "unit": unit, "system": UCUM, "code": ucum}
