"""Features of many patients: one folder a patient in, one table out."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oncoradiomics.errors import ImageFileError, RadiomicsError
from oncoradiomics.extraction_processes import ExtractionProcesses
from oncoradiomics.features import FeatureDocument
from oncoradiomics.settings import Settings

PATIENT_COLUMN = "patient_id"


@dataclass(frozen=True)
class CohortFeatures:
    """What came of a cohort.

    Attributes:
        documents: By patient, in the order of the names.
        errors: By patient, for those without a document.
    """

    documents: Mapping[str, FeatureDocument]
    errors: Mapping[str, RadiomicsError]


def cohort_patients(data: Path, image: str, mask: str, excluded: Sequence[str]) -> list[str]:
    """Names of the folders below ``data`` that hold both files, sorted, without ``excluded``.

    Raises:
        ImageFileError: There are none, or one that is not excluded lacks a file.
    """
    folders = sorted(entry.name for entry in data.iterdir() if entry.is_dir()) if data.is_dir() else []
    patients = [name for name in folders if name not in excluded]
    if not patients:
        raise ImageFileError("The data folder holds no patient folders. Give the folder with one folder a patient.")
    for name in patients:
        for file in (image, mask):
            if not (data / name / file).is_file():
                raise ImageFileError(f"Patient folder {name} has no {file}. Complete or exclude it.")
    return patients


async def extract_cohort(
    data: Path,
    patients: Sequence[str],
    image: str,
    mask: str,
    settings: Settings,
    *,
    processes: int,
    on_patient_done: Callable[[str], None],
) -> CohortFeatures:
    """Features and measures of each patient; an error of one does not stop the others.

    Args:
        data: Folder with one folder a patient.
        patients: Names of the folders.
        image: File name of the PET (SUV, g/mL) in each folder.
        mask: File name of the label map on the same grid.
        settings: What to compute and how.
        processes: How many child processes; 0 for one a core.
        on_patient_done: Called with the name after each patient.
    """
    outcomes: dict[str, FeatureDocument | RadiomicsError] = {}

    async with ExtractionProcesses(processes) as extraction:

        async def extract(patient: str) -> None:
            folder = data / patient
            try:
                outcomes[patient] = await extraction.extract(folder / image, folder / mask, settings)
            except RadiomicsError as error:
                outcomes[patient] = error
            on_patient_done(patient)

        async with asyncio.TaskGroup() as tasks:
            for patient in patients:
                tasks.create_task(extract(patient))

    ordered = [(patient, outcomes[patient]) for patient in patients]
    return CohortFeatures(
        {patient: outcome for patient, outcome in ordered if isinstance(outcome, FeatureDocument)},
        {patient: outcome for patient, outcome in ordered if isinstance(outcome, RadiomicsError)},
    )


def write_table(documents: Mapping[str, FeatureDocument], path: Path) -> None:
    """Write a CSV with one row a patient: ``patient_id``, the measures, the features.

    Numbers are written so that reading them gives the same double. A feature that is undefined for a patient is empty.
    """
    columns: dict[str, None] = {}
    for document in documents.values():
        columns |= dict.fromkeys(measure.name for measure in document.measures)
    for document in documents.values():
        columns |= dict.fromkeys(feature.name for feature in document.features)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [PATIENT_COLUMN, *columns], restval="", lineterminator="\n")
        writer.writeheader()
        for patient, document in documents.items():
            writer.writerow({PATIENT_COLUMN: patient, **document.values()})


def write_provenance(
    documents: Mapping[str, FeatureDocument], image: str, mask: str, excluded: Sequence[str], path: Path
) -> None:
    """Write beside the table what made it: engine, version, settings hash, and who was left out."""
    first = next(iter(documents.values()))
    content = {
        "engine": first.engine,
        "engine_version": first.engine_version,
        "settings_sha256": first.settings_sha256,
        "image_quantity": first.image_quantity,
        "image": image,
        "mask": mask,
        "patients": len(documents),
        "excluded": sorted(excluded),
        "undefined_features": {
            name: list(doc.undefined_features) for name, doc in documents.items() if doc.undefined_features
        },
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
