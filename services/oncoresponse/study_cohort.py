"""A feature table from a folder of DICOM studies, by the same steps as an assessment.

One folder a patient, named as in the clinical table. Of each: read, convert, the contour that came with the study, the
measures and features of the model's radiomics settings. A patient that is done is kept on disk, so that a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from oncoradiomics.cohort import write_table
from oncoradiomics.errors import RadiomicsError
from oncoradiomics.extraction import describe_lesion
from oncoradiomics.features import FeatureDocument
from oncoradiomics.settings import Settings
from pydantic import ValidationError

from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.study import convert_study, read_contour, read_study
from oncoresponse.errors import ModelFolderInvalid, OncoResponseError, TrainingDataInvalid
from oncoresponse.model_folder import ModelDefinition
from oncoresponse.response.cohort import read_table
from oncoresponse.response.progress import Progress, no_progress
from oncoresponse.response.task import ResponseTask
from oncoresponse.segmentation.mask_checks import check_mask

FEATURES_FILE = "features.csv"

_DONE = "measured"

_Measured = tuple[FeatureDocument, tuple[str, ...]]


@dataclass(frozen=True)
class MeasuredCohort:
    """What came of the studies.

    Attributes:
        table: CSV with one row a patient.
        refused: By patient, why a study could not be measured; no table then.
        warnings: By patient, what was left out of the contour or repaired, and that it is AI-assisted.
    """

    table: Path
    refused: Mapping[str, str]
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
        clinical: CSV, one row a patient; patients held out or excluded by the task are not measured.
        task: The declared task.
        model_directory: ``model.yaml`` and ``radiomics/settings.yaml`` say what is read and measured.
        run_directory: Where the table and each patient's features go.
        progress: Told after each patient.

    Raises:
        TrainingDataInvalid: A patient of the table has no folder.
        ModelFolderInvalid: The model folder says nothing about images.
    """
    definition, settings = _model(model_directory)
    rows = read_table(clinical, task.patient_column)
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
    # What was measured with other settings is measured again.
    kept = run_directory / _DONE / settings.sha256[:16]
    kept.mkdir(parents=True, exist_ok=True)
    documents: dict[str, FeatureDocument] = {}
    refused: dict[str, str] = {}
    warnings: dict[str, tuple[str, ...]] = {}
    for index, patient in enumerate(patients):
        done = kept / f"{index:05d}.json"
        known = _known(done, patient)
        if known is None:
            try:
                known = _measure(studies / patient, definition, settings)
            except (OncoResponseError, RadiomicsError) as error:
                refused[patient] = f"{error.reason}: {error.message}"
            else:
                document, told = known
                content = {"patient": patient, "document": document.model_dump(mode="json"), "warnings": told}
                done.write_text(json.dumps(content), encoding="utf-8")
        if known is not None:
            documents[patient] = known[0]
            if known[1]:
                warnings[patient] = known[1]
        progress("measuring studies", (index + 1) / len(patients))
    table = run_directory / FEATURES_FILE
    if not refused:
        write_table(documents, table)
    return MeasuredCohort(table, refused, warnings)


def _measure(folder: Path, definition: ModelDefinition, settings: Settings) -> _Measured:
    study = read_study(folder)
    # The contour is needed on one series; the others would only make more studies fail.
    converted = convert_study(study, [definition.contour_modality])
    volume = converted.volumes[definition.contour_modality]
    contour = read_contour(study, ContourRequest(), volume)
    check_mask(contour.mask, definition.tumor_limits)
    return describe_lesion(volume.image, contour.mask.image, settings), contour.warnings


def _model(model_directory: Path) -> tuple[ModelDefinition, Settings]:
    try:
        definition = ModelDefinition.model_validate(yaml.safe_load((model_directory / "model.yaml").read_bytes()))
    except (OSError, ValidationError, yaml.YAMLError) as error:
        raise ModelFolderInvalid("Measuring studies needs a valid model.yaml in the model folder.") from error
    settings = model_directory / "radiomics" / "settings.yaml"
    if not settings.is_file():
        raise ModelFolderInvalid(
            "The model folder has no radiomics/settings.yaml, so studies cannot be measured. Add it, or train from a "
            "table."
        )
    return definition, Settings.from_yaml(settings)


def _known(done: Path, patient: str) -> _Measured | None:
    try:
        content = json.loads(done.read_bytes())
        if content["patient"] != patient:
            return None
        return FeatureDocument.model_validate(content["document"]), tuple(content["warnings"])
    except (OSError, ValueError, KeyError):
        return None
