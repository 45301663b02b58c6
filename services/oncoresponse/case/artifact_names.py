"""File names of what an assessment makes: keys of ``AssessmentResult.artifacts`` and names in the output folder."""

from __future__ import annotations

import re

REPORT_BUNDLE = "report.json"
REJECTION_NOTE = "rejection-note.dcm"
PATIENT_PAGE, BUNDLE_R5, IMR_BUNDLE = "patient-page.html", "report.fhir-r5.json", "imr-bundle.fhir.json"
_OF_PATIENT = frozenset(
    {
        REPORT_BUNDLE,
        "report.pdf",
        "report-page.json",
        "key-image.png",
        "segmentation.dcm",
        "structured-report.dcm",
        "encapsulated-report.dcm",
        "key-image.dcm",
        REJECTION_NOTE,
        PATIENT_PAGE,
        BUNDLE_R5,
        IMR_BUNDLE,
        "bone-surface.dcm",
        "surfaces.glb",
        "distances.json",
        "prediction.json",
        "record.json",
        "timings.json",
        "lesion-candidates.json",
        "lesion-candidates.png",
    }
)
_OF_LESION = frozenset(
    {"segmentation.json", "mask.nrrd", "probability.nrrd", "features.json", "lesion-surface.dcm", "margin-surface.dcm"}
)


def lesion_file_name(name: str, number: int, count: int) -> str:
    """Name of a file of one lesion: as it is where there is one, with its number before the ending among several."""
    if count == 1:
        return name
    stem, _, ending = name.rpartition(".")
    return f"{stem}-{number}.{ending}"


def is_segmentation_summary(name: str) -> bool:
    """Whether a file says of a lesion how its mask came to be and how far it may be believed."""
    return re.fullmatch(r"segmentation(-[1-9][0-9]?)?\.json", name) is not None


def is_artifact_name(name: str) -> bool:
    """Whether an assessment makes a file of this name."""
    return name in _OF_PATIENT or re.sub(r"-[1-9][0-9]?(?=\.[a-z]+$)", "", name) in _OF_LESION
