"""A feature table from a folder of DICOM studies, by the same steps as an assessment.

One folder a patient, named as in the clinical table. Of each: read, convert, the contour that came with the study, the
measures and features of the model's radiomics settings. A patient that is done is kept on disk, so that a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml
from oncoradiomics.cohort import write_provenance, write_table
from oncoradiomics.errors import RadiomicsError
from oncoradiomics.extraction import describe_lesion, engine_version
from oncoradiomics.features import Feature, FeatureDocument, Measure
from oncoradiomics.settings import Settings
from pydantic import BaseModel

from oncoresponse.case.case import SelectedSeries
from oncoresponse.case.resampling import mask_on_grid
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.study import convert_study, read_contour, read_study
from oncoresponse.errors import ModelFolderInvalid, OncoResponseError, TrainingDataInvalid
from oncoresponse.model.definition import ImagingResponse, MeasuredInput, parse_definition
from oncoresponse.response.input_provenance import SIDECAR_SUFFIX, require_measures_of
from oncoresponse.response.progress import Progress, no_progress
from oncoresponse.response.task import ResponseTask
from oncoresponse.response.training.cohort import read_table
from oncoresponse.segmentation.mask_checks import check_mask

FEATURES_FILE = "features.csv"
SERIES_COLUMN = "series_instance_uid"
"""Column of the clinical table that names the series to measure, where a study holds several that fit; may be empty."""

_DONE = "measured"
_Record = TypeVar("_Record", Feature, Measure)


class _Measured(BaseModel):
    """One patient: features and measures, the share of the contour's surface on the border, what was said of it."""

    document: FeatureDocument
    border_share: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class MeasuredCohort:
    """What came of the studies.

    Attributes:
        table: CSV with one row a patient.
        refused: By patient, why a study could not be measured; no table then.
        cut: Patients whose contour reaches the border of the images, with the share of its surface there. They are
            measured as a patient of the service would be: what is seen enters the table, as a lower bound.
        warnings: By patient, what was left out of the contour or repaired, and that it is AI-assisted.
    """

    table: Path
    refused: Mapping[str, str]
    cut: Mapping[str, float]
    warnings: Mapping[str, tuple[str, ...]]


def measure_studies(
    studies: Path,
    clinical: Path,
    task: ResponseTask,
    model_directory: Path,
    run_directory: Path,
    *,
    progress: Progress = no_progress,
) -> MeasuredCohort:
    """Measure each patient of the clinical table inside the contour that the study holds.

    Args:
        studies: Folder with one folder a patient.
        clinical: CSV, one row a patient; patients held out or excluded by the task are not measured. A column
            ``series_instance_uid`` names the series to measure.
        task: The declared task.
        model_directory: ``model.yaml`` and ``radiomics/settings.yaml`` say what is read and measured.
        run_directory: Where the table, the declaration of how it was made, and each patient's features go.
        progress: Told after each patient.

    Raises:
        TrainingDataInvalid: A patient of the table has no folder, or an input is measured as another quantity.
        ModelFolderInvalid: The model folder says nothing about images, or predicts from all lesions of a patient.
        QuantityMismatch: An input does not exist for the quantity of the model's images, such as SUVmax of CT.
    """
    definition, settings = _model(model_directory)
    require_measures_of(task.inputs, str(definition.measured_quantity))
    rows = read_table(clinical, task.patient_column)
    renamed = _renamed(task, definition, {column for row in rows.values() for column in row})
    patients = [
        patient
        for patient in sorted(set(rows) - set(task.held_out_patients))
        if not any(rule.applies(rows[patient].get(rule.column, "")) for rule in task.exclusions)
    ]
    if absent := [patient for patient in patients if not (studies / patient).is_dir()]:
        raise TrainingDataInvalid(
            f"{len(absent)} patients of the clinical table have no folder of DICOM files. Name each folder as the "
            "table names the patient.",
            patients=len(absent),
        )
    # What was measured otherwise, or on a series chosen otherwise, is measured again.
    what = [
        settings.sha256,
        engine_version("native"),
        definition.model_dump_json(include={"inputs", "segment_on", "features_from"}),
        *definition.wanted_measures,
    ]
    kept = run_directory / _DONE / hashlib.sha256("\n".join(what).encode()).hexdigest()[:16]
    kept.mkdir(parents=True, exist_ok=True)
    documents: dict[str, FeatureDocument] = {}
    refused: dict[str, str] = {}
    cut: dict[str, float] = {}
    warnings: dict[str, tuple[str, ...]] = {}
    for index, patient in enumerate(patients):
        done = kept / f"{index:05d}.json"
        series = rows[patient].get(SERIES_COLUMN, "").strip()
        known = _known(done, patient, series)
        if known is None:
            try:
                known = _measure(studies / patient, definition, settings, series)
            except (OncoResponseError, RadiomicsError) as error:
                refused[patient] = f"{error.reason}: {error.message}"
            else:
                content = {"patient": patient, "series": series} | known.model_dump(mode="json")
                done.write_text(json.dumps(content), encoding="utf-8")
        if known is not None:
            documents[patient] = _with_inputs(known.document, renamed)
            if known.border_share:
                cut[patient] = known.border_share
            if known.warnings:
                warnings[patient] = known.warnings
        progress("measuring studies", (index + 1) / len(patients))
    table = run_directory / FEATURES_FILE
    if not refused:
        write_table(documents, table)
        if documents:
            write_provenance(
                documents, definition.features_from, "contour of the study", (), table.with_suffix(SIDECAR_SUFFIX)
            )
    return MeasuredCohort(table, refused, cut, warnings)


def _measure(folder: Path, definition: ImagingResponse, settings: Settings, series: str) -> _Measured:
    study = read_study(folder)
    # The series that is contoured and the one that is measured; others would only make more studies fail.
    needed = (definition.segment_on, definition.features_from)
    converted = convert_study(
        study,
        [item for item in definition.inputs if item.role in needed],
        selected=[SelectedSeries(input_role=definition.features_from, series_instance_uid=series)] if series else [],
        anchor=definition.segment_on,
    )
    contour = read_contour(study, ContourRequest(), converted.volumes[definition.segment_on])
    measures = check_mask(contour.mask, definition.tumor_limits)
    volume = converted.volumes[definition.features_from]
    mask = mask_on_grid(contour.mask, volume)
    document = describe_lesion(
        volume.image, mask.image, settings, volume.quantity.value, also=definition.wanted_measures
    )
    return _Measured(document=document, border_share=measures.border_share, warnings=contour.warnings)


def _renamed(task: ResponseTask, definition: ImagingResponse, clinical: set[str]) -> tuple[MeasuredInput, ...]:
    """Inputs that are measured under another name, and that the table of features therefore has to hold by their own.

    One that is a column of the clinical table is taken from there.

    Raises:
        TrainingDataInvalid: An input would be measured as another quantity than the model says it is.
        ModelFolderInvalid: The model predicts from totals of several lesions.
    """
    if definition.predict_from == "all lesions":
        raise ModelFolderInvalid(
            "The model predicts from all lesions of a patient, and a study is measured here in one contour. Measure "
            "the totals and train from a table."
        )
    sources = {entry.name: entry.source for entry in task.inputs}
    wanted = [
        item
        for item in definition.measured_inputs
        if item.input in sources and not (sources[item.input] == "clinical" and item.input in clinical)
    ]
    for item in wanted:
        if not item.same_definition:
            raise TrainingDataInvalid(
                f"measured_inputs in model.yaml says that '{item.measure}' of a contour is not the same quantity as "
                f"the input '{item.input}', so studies cannot give it. Add it as a column of the clinical table, or, "
                "for a model that is trained on contours, say same_definition: true and what is measured.",
                input=item.input,
            )
        if sources[item.input] == "clinical":
            raise TrainingDataInvalid(
                f"Input '{item.input}' is measured in the studies (measured_inputs in model.yaml), and the task says "
                "that it is clinical. Say source: features in task.yaml, or add it as a column of the clinical table.",
                input=item.input,
            )
    return tuple(wanted)


def _with_inputs(document: FeatureDocument, renamed: Sequence[MeasuredInput]) -> FeatureDocument:
    """The document with each input by its own name, too; what is undefined for a lesion stays so."""
    measures = {item.name: item for item in document.measures}
    features = {item.name: item for item in document.features}
    return document.model_copy(
        update={
            "measures": (*document.measures, *_by_input(measures, renamed)),
            "features": (*document.features, *_by_input(features, renamed)),
        }
    )


def _by_input(records: Mapping[str, _Record], renamed: Sequence[MeasuredInput]) -> list[_Record]:
    return [
        records[item.measure].model_copy(update={"name": item.input}) for item in renamed if item.measure in records
    ]


def _model(model_directory: Path) -> tuple[ImagingResponse, Settings]:
    try:
        definition = parse_definition(yaml.safe_load((model_directory / "model.yaml").read_bytes()))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelFolderInvalid("Measuring studies needs a valid model.yaml in the model folder.") from error
    if not isinstance(definition, ImagingResponse):
        raise ModelFolderInvalid(
            "The model reads no images (inputs in model.yaml), so studies cannot be measured. Name the inputs, or "
            "train from a table."
        )
    settings = model_directory / "radiomics" / "settings.yaml"
    if not settings.is_file():
        raise ModelFolderInvalid(
            "The model folder has no radiomics/settings.yaml, so studies cannot be measured. Add it, or train from a "
            "table."
        )
    return definition, Settings.from_yaml(settings)


def _known(done: Path, patient: str, series: str) -> _Measured | None:
    try:
        content = json.loads(done.read_bytes())
        if (content.pop("patient"), content.pop("series")) != (patient, series):
            return None
        return _Measured.model_validate(content)
    except (OSError, ValueError, KeyError):
        return None
