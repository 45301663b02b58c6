"""What rules may ask of the series of a study, from its index."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from oncoresponse.case.directory_walk import files_below
from oncoresponse.case.study_index import IndexedSeries, ObjectHeader, StudyIndex
from oncoresponse.dicom.file_kind import HEAD_BYTES, is_dicom, is_media_directory
from oncoresponse.dicom.limits import DEFAULT_LIMITS, DicomLimits
from oncoresponse.dicom.study_index import datasets_of_series, read_object
from oncoresponse.v1 import study_pb2

_LONGEST = 64


def series_facts(index: StudyIndex) -> list[study_pb2.StudySeries]:
    """One message a series, in the order of the index. What its objects do not say alike is left empty."""
    return [_facts(index, series) for series in index.series]


def series_facts_of_folder(folder: Path, limits: DicomLimits = DEFAULT_LIMITS) -> list[list[study_pb2.StudySeries]]:
    """The same of files that have not been sent: one list a study, ordered by Study Instance UID. Blocks.

    Raises:
        DicomError: A file cannot be read.
    """
    headers: dict[str, dict[str, ObjectHeader]] = defaultdict(dict)
    for path in files_below(folder):
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            if not is_dicom(head) or is_media_directory(head):
                continue
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        header = read_object(path, limits)
        headers[header.series.study_instance_uid][sha256] = header
    return [series_facts(StudyIndex.of(found.values())) for _, found in sorted(headers.items())]


def _facts(index: StudyIndex, series: IndexedSeries) -> study_pb2.StudySeries:
    datasets = datasets_of_series(index, series.series_instance_uid)
    # Of what is no image the index has little; what is not in it is not said.
    dataset = next((datasets[each.sha256] for each in series.objects if each.sha256 in datasets), Dataset())

    def text(keyword: str) -> str:
        if f"{int(Tag(keyword)):08X}" not in series.common:
            return ""
        return _text(dataset, keyword)

    codes = dataset.get("ProcedureCodeSequence") if text("ProcedureCodeSequence") else None
    return study_pb2.StudySeries(
        modality=series.modality,
        body_part_examined=text("BodyPartExamined"),
        series_description=text("SeriesDescription"),
        study_description=text("StudyDescription"),
        procedure_codes=[value for code in codes or () if (value := _text(code, "CodeValue"))],
        accession_number=text("AccessionNumber"),
        instance_count=len(series.objects),
    )


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword, ""))[:_LONGEST].strip()
