"""Codes of measurements in the structured report: DCM, SNOMED CT and IBSI where they exist, else those of the report.

A measure without a public code has one made from that of the FHIR report
(:mod:`oncoresponse.reporting.code_systems`), in the private scheme :data:`PRIVATE`, which the object identifies (PS3.3
C.12.1, Coding Scheme Identification Sequence).
"""

from __future__ import annotations

import hashlib
import textwrap
from dataclasses import dataclass

from highdicom.sr import CodedConcept
from oncoradiomics.features import Feature, Measure
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from oncoresponse.case.quantity import Quantity
from oncoresponse.reporting.code_systems import IBSI, LOCAL_CODES

PRIVATE = "99ONCORESPONSE"
_LONGEST_MEANING = 64
_LONGEST_CODE, _DIGEST = 16, 8


@dataclass(frozen=True, eq=False)
class MeasurementCode:
    """How a measure is named.

    Attributes:
        name: Concept Name of the NUM item.
        derivation: Statistic of it (PS3.16 TID 300, "Derivation"), where the concept leaves it open.
        method: Measurement Method, where a public code says it.
    """

    name: CodedConcept
    derivation: CodedConcept | None = None
    method: CodedConcept | None = None


_MEASURES = {
    "lesion_volume": codes.SCT.Volume,
    "longest_axial_diameter": codes.SCT.LongAxis,
    "perpendicular_axial_diameter": codes.SCT.ShortAxis,
    "suv_max": codes.DCM.Suvbw,
    "suv_peak": codes.DCM.Suvbw,
    "suv_mean": codes.DCM.Suvbw,
    "metabolic_tumor_volume": codes.DCM.MetabolicVolume,
    "total_lesion_glycolysis": codes.DCM.TotalLesionGlycolysis,
    "mean_density": codes.DCM.MeanAttenuationCoefficient,
}
_DERIVATIONS = {
    "suv_max": codes.SCT.Maximum,
    "suv_peak": codes.DCM.PeakValueWithinROI,
    "suv_mean": codes.SCT.Mean,
    "mean_intensity": codes.SCT.Mean,
}
_METHODS = {"lesion_volume": codes.DCM.SumOfSegmentedVoxelMethodForVolume}


def measure_code(measure: Measure, image_quantity: str) -> MeasurementCode:
    """Code of a measure: its public one, else that of IBSI, else ours.

    Args:
        measure: Of a lesion.
        image_quantity: What the voxels it was measured on mean.
    """
    public = _MEASURES.get(measure.name)
    if measure.name == "mean_intensity" and image_quantity == Quantity.MR_SIGNAL:
        public = codes.DCM.MRSignalIntensity
    if public is not None:
        name = CodedConcept.from_code(public)
    elif measure.ibsi_id:
        name = CodedConcept(measure.ibsi_id, "IBSI", meaning(measure.title))
    else:
        name = private(measure.name, measure.title)
    derivation, method = _DERIVATIONS.get(measure.name), _METHODS.get(measure.name)
    return MeasurementCode(
        name,
        None if derivation is None else CodedConcept.from_code(derivation),
        None if method is None else CodedConcept.from_code(method),
    )


def feature_code(feature: Feature, title: str) -> CodedConcept:
    """Code of a radiomic feature: of a filtered image the IBSI code names another quantity, so ours is used there."""
    if feature.ibsi_id and feature.name.startswith("original_"):
        return CodedConcept(feature.ibsi_id, "IBSI", meaning(title))
    return private(feature.name, title)


def private(code: str, title: str) -> CodedConcept:
    """A code of ours: that of the FHIR report where it fits, else its beginning and 32 bits of its SHA-256.

    Code Value holds 16 characters. Long Code Value would hold more, and readers stumble over it: highdicom 0.28 then
    does not find the referenced segment of a group.
    """
    code = code.replace("_", "-")
    if len(code) > _LONGEST_CODE:
        digest = hashlib.sha256(code.encode()).hexdigest()[:_DIGEST]
        code = f"{code[: _LONGEST_CODE - _DIGEST - 1]}-{digest}"
    return CodedConcept(code, PRIVATE, meaning(title))


def unit_code(unit: str) -> CodedConcept:
    """A unit in UCUM, with the code as its meaning; none is ``1``."""
    if unit in ("", "1"):
        return CodedConcept("1", "UCUM", "no units")
    return CodedConcept(unit, "UCUM", unit)


def meaning(text: str) -> str:
    """A text as Code Meaning: one line of at most 64 characters; what is left out after a word shows as ``...``."""
    return textwrap.shorten(text.replace("\\", "/"), _LONGEST_MEANING, placeholder=" ...")


AT_LEAST = private("at-least", "At least")
"""Qualifier of a number that is a lower bound."""


def coding_schemes() -> list[Dataset]:
    """Items of the Coding Scheme Identification Sequence for what is not of DICOM's own table."""
    named = (
        ("IBSI", IBSI.removeprefix("urn:oid:"), "Image Biomarker Standardisation Initiative"),
        (PRIVATE, "", f"OncoResponse, codes of its FHIR report: {LOCAL_CODES}"),
    )
    items = []
    for designator, uid, name in named:
        item = Dataset()
        item.CodingSchemeDesignator = designator
        if uid:
            item.CodingSchemeUID = uid
        item.CodingSchemeName = name
        items.append(item)
    return items
