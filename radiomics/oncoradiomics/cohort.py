"""Features of many patients: one folder a patient in, one table out."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oncoradiomics.errors import ImageFileError, RadiomicsError
from oncoradiomics.extraction import Engine, engine_version
from oncoradiomics.extraction_processes import ExtractionProcesses
from oncoradiomics.features import FeatureDocument
from oncoradiomics.quantities import image_quantity
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
    quantity: str,
    *,
    processes: int,
    engine: Engine = "native",
    finished: Path | None = None,
    on_patient_done: Callable[[str], None],
) -> CohortFeatures:
    """Features and measures of each patient; an error of one does not stop the others.

    Args:
        data: Folder with one folder a patient.
        patients: Names of the folders.
        image: File name of the image in each folder.
        mask: File name of the label map on the same grid.
        settings: What to compute and how.
        quantity: What a voxel of the images measures, as for :func:`~oncoradiomics.extraction.describe_lesion`.
        processes: How many child processes; 0 for one a core.
        engine: As for :func:`~oncoradiomics.extraction.extract`.
        finished: Folder that keeps the document of each patient. One that is there already, from the same files,
            settings and engine, is not computed again.
        on_patient_done: Called with the name after each patient.

    Raises:
        QuantityError: The quantity is not said.
    """
    image_quantity(quantity)
    outcomes: dict[str, FeatureDocument | RadiomicsError] = {}
    what = f"{settings.sha256} {engine} {engine_version(engine)} {quantity}"

    async def document_of(image_path: Path, mask_path: Path) -> FeatureDocument:
        if finished is None:
            return await extraction.extract(image_path, mask_path, settings, quantity, engine)
        key = await asyncio.to_thread(_fingerprint, what, image_path, mask_path)
        kept = finished / f"{key}.json"
        if kept.is_file():
            with contextlib.suppress(ValueError):
                return FeatureDocument.model_validate_json(kept.read_bytes())
        document = await extraction.extract(image_path, mask_path, settings, quantity, engine)
        finished.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".partial")
        partial.write_text(document.model_dump_json(), encoding="utf-8")
        partial.replace(kept)
        return document

    async with ExtractionProcesses(processes) as extraction:

        async def extract(patient: str) -> None:
            files = (data / patient / image, data / patient / mask)
            try:
                outcomes[patient] = await document_of(*files)
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


def _fingerprint(what: str, *files: Path) -> str:
    digest = hashlib.sha256(what.encode())
    for file in files:
        # A file that cannot be read is reported by the extraction itself.
        digest.update(hashlib.sha256(file.read_bytes() if file.is_file() else b"").digest())
    return digest.hexdigest()


def write_table(documents: Mapping[str, FeatureDocument], path: Path) -> None:
    """Write a CSV or, by the ending ``.parquet``, a Parquet file with one row a patient.

    Columns: ``patient_id``, the measures, the features. Numbers are written so that reading them gives the same double.
    A feature that is undefined for a patient is empty.
    """
    columns: dict[str, None] = {}
    for document in documents.values():
        columns |= dict.fromkeys(measure.name for measure in document.measures)
    for document in documents.values():
        columns |= dict.fromkeys(feature.name for feature in document.features)
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        rows = [document.values() for document in documents.values()]
        table = {PATIENT_COLUMN: pyarrow.array(list(documents), pyarrow.string())}
        table |= {name: pyarrow.array([row.get(name) for row in rows], pyarrow.float64()) for name in columns}
        pyarrow.parquet.write_table(pyarrow.table(table), path)
        return
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
