"""Accession numbers of studies that an earlier release has indexed, so that orders find them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from oncoresponse.case.study_index import StudyIndex
from oncoresponse.errors import ArtifactNotFound, ChecksumMismatch, DocumentVersionUnsupported
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_database import StudyDatabase


def note_older_accession_numbers(data_directory: Path, artifacts: ArtifactStore) -> int:
    """Note those of some studies. Blocks. A study whose index is lost or damaged is found by no order.

    Args:
        data_directory: As of :class:`~oncoresponse.storage.study_store.StudyStore`, which has made its folders.
        artifacts: Where the indexes are.

    Returns:
        How many studies there were; 0 when all are noted.
    """
    database = StudyDatabase(data_directory / "studies" / "studies.sqlite")
    with database.reading() as table:
        older = table.without_accession_numbers()
    for study in older:
        numbers: tuple[str, ...] = ()
        if study.index is not None:
            with suppress(ArtifactNotFound, ChecksumMismatch, DocumentVersionUnsupported):
                numbers = artifacts.read_document(study.index, StudyIndex).accession_numbers
        with database.writing() as table:
            table.note_accession_numbers(study.name.removeprefix("studies/"), numbers)
    return len(older)
