"""File names of what an assessment makes: keys of ``AssessmentResult.artifacts`` and names in the output folder."""

from __future__ import annotations

ARTIFACT_FILE_NAMES = frozenset(
    {
        "report.json",
        "report.pdf",
        "key-image.png",
        "segmentation.dcm",
        "segmentation.json",
        "mask.nrrd",
        "probability.nrrd",
        "features.json",
        "prediction.json",
        "timings.json",
        "lesion-candidates.json",
        "lesion-candidates.png",
    }
)
