"""What rules may ask of the series of a study, from its index."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from oncoresponse.case.study_index import IndexedSeries, StudyIndex
from oncoresponse.dicom.study_index import datasets_of_series
from oncoresponse.v1 import study_pb2

_LONGEST = 64


def series_facts(index: StudyIndex) -> list[study_pb2.StudySeries]:
    """One message a series, in the order of the index. What its objects do not say alike is left empty."""
    return [_facts(index, series) for series in index.series]


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
