"""A model folder to fill in: what a hospital's physicist has to decide before anything is fitted."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from oncoresponse.case.schema_faults import schema_faults
from oncoresponse.errors import ModelFolderInvalid, TrainingDataInvalid
from oncoresponse.model.definition import ImagingResponse, ModelDefinition, parse_definition
from oncoresponse.model.plan import require_plan

PLACEHOLDER = "FILL IN"
"""Stands where a person has to write something; training refuses a folder that still holds it."""

_READ_BY_STAGE = {"features": "radiomics/settings.yaml", "prediction": "response/response.json"}
"""Files without which a stage cannot run, by the stage. Without a network lesions come as contours."""

_MODEL = """\
# Who may use the model, on whom, for what. Replace every FILL IN; 'oncoresponse models show' and the report show it.
name: {name}
version: 0.1.0
title: "FILL IN: disease, outcome and image, in one line"
manufacturer: "FILL IN: your hospital or group"
intended_use:
  purpose: "FILL IN: what estimate is supported"
  population: "FILL IN: which patients"
  user: "FILL IN: who reads the answer"
  role: Informs. The physician decides; the estimate neither starts, stops nor chooses a therapy.
  contraindications:
    - "FILL IN: when it must not be used; one line each"
  device_status: Research use only. Not a cleared or approved medical device. Not for clinical decisions.
kind: imaging response
# The images that are read, each by its input role: the name by which requests and the lines below speak of it. A series
# has to fulfil all rules under match; where several do, prefer says which one is meant, such as
#   match: [{{keyword: BodyPartExamined, equals: LEG}}]
#   prefer: [{{keyword: ReconstructionMethod, matches: "^OSEM"}}, {{keyword: SliceThickness, nearest: 3.27}}]
inputs:
  - role: PT
    modality: PT
    quantity: "g/mL{{SUVbw}}"
    purpose: "Contour, features and prediction"
    match: []
    prefer: []
segment_on: PT        # lesions are contoured on its grid
features_from: PT     # and measured in it
show: [PT]            # the key image
stages: [conversion, segmentation, features, prediction, report]
# Where a patient has several lesions: the only lesion (several: nothing is predicted), the largest lesion, the lesion
# with the highest uptake (PET), or all lesions (the inputs are totals, such as total_lesion_volume).
predict_from: the only lesion
# Inputs that task.yaml calls otherwise than the measure that gives them, such as
#   - {{input: tumor_volume_ml, measure: lesion_volume, same_definition: true, definition: "How it was measured"}}
measured_inputs: []
# Clinical inputs of the task (source: clinical) have to be named here too, such as
#   - {{name: age_years, title: Age, unit: a, minimum: 18, maximum: 100, required: true}}
covariates: []
# Contours outside are refused.
tumor_limits:
  minimum_volume_ml: 1.0
  maximum_volume_ml: 3000.0
outcome:
  code: response
  title: "FILL IN: the outcome, such as Complete metabolic response"
  definition: "FILL IN: how and when it is decided"
  favorable_answer: Response likely
  unfavorable_answer: Failure likely
limitations:
  - "FILL IN: what the model cannot do; one line each"
training_data: "FILL IN: which patients, from when to when, with whose permission"
# What no training run can know, for the model card. Names: see docs/train-your-own.md.
source_attributes: {{}}
"""

_TASK = """\
# Everything that is decided before the first fit. Do not change it after the results are seen.
patient_column: patient_id
outcome:
  column: responded            # column of the clinical table: 1 favorable, 0 not
  favorable_when: one         # or 'zero': favorable when it is 0; or 'empty': favorable when the cell is empty
  definition: "FILL IN: the rule in words"
# Few, robust inputs. source: features (measured on the image) or clinical (a column). favorable_sign: -1 where a
# larger value can only make the favorable outcome less likely, 1 the other way round, 0 where physiology is silent.
# group: size, uptake (of PET), intensity (of CT or MR), heterogeneity, shape or patient. Values outside minimum to
# maximum cannot be true and are refused.
inputs:
  - name: lesion_volume
    title: Tumor volume
    unit: ml
    source: features
    group: size
    transform: log
    favorable_sign: -1
    minimum: 0.5
    maximum: 3000
  - name: suv_max
    title: Highest uptake (SUVmax)
    unit: g/mL
    source: features
    group: uptake
    transform: log
    favorable_sign: 0
    minimum: 0.3
    maximum: 100
# The logistic regression that is computed beside, and that the trees start from.
baseline_inputs: [lesion_volume, suv_max]
# Columns known only after the scan, or decided with knowledge of what followed. No input may be one or a copy of one.
forbidden_columns: [treatment, status, responded]
# Patients left out by rule, such as
#   - {column: age_years, when: below, value: 18, reason: Younger than 18}
exclusions: []
# Subgroups of the evaluation. A column of the clinical table, or an input; with bands for a number.
audit_groups:
  - {title: Tumor volume, column: lesion_volume, bands: [50], unit: ml}
# Patients kept out of everything, for a last look.
held_out_patients: []
# Trained on the smaller half, tested on the larger: how far the promises hold for other patients.
shift: {input: lesion_volume}
booster:
  start: logistic
  max_depth: [1]
  rounds: [10, 20, 40]
  learning_rate: 0.05
  l2_penalty: 5.0
  min_child_weight: 1.0
  row_fraction: 0.7
  column_fraction: 1.0
validation:
  folds: 5
  repeats: 20
  inner_repeats: 3
  permutations: 200
  bootstrap_samples: 2000
  simulated_cohorts: 40
  thresholds: [0.3, 0.5, 0.7]
uncertainty:
  conformal_coverage: 0.8
  interval_level: 0.9
  ensemble_members: 100
seed: 1
"""

_SETTINGS = """\
# pyradiomics parameter file: what is measured in the image that features_from names. A trained model belongs to one
# file. The widths are for PET in body-weight SUV (g/mL); for CT take a binWidth in HU such as 25, for MR, whose signal
# has no scale, a binCount such as 32 in its place.
imageType:
  Original: {}
featureClass:
  shape:
  firstorder:
setting:
  label: 1
  binWidth: 0.25
  resampledPixelSpacing: [4.0, 4.0, 4.0]
  interpolator: sitkBSpline
  padDistance: 12
  minimumROIDimensions: 3
  minimumROISize: 10
"""


def write_template(folder: Path) -> tuple[Path, ...]:
    """Write the files of a new model; returns those that a person has to edit.

    Raises:
        TrainingDataInvalid: The folder exists, or its name is no name of a model.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{1,62}", folder.name):
        raise TrainingDataInvalid("A model's name has small letters, digits and hyphens, such as lung-petct.")
    if folder.exists():
        raise TrainingDataInvalid("The folder exists already. Choose another name; nothing was written.")
    (folder / "response").mkdir(parents=True)
    (folder / "radiomics").mkdir()
    written = {
        folder / "model.yaml": _MODEL.format(name=folder.name),
        folder / "response" / "task.yaml": _TASK,
        folder / "radiomics" / "settings.yaml": _SETTINGS,
    }
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    return tuple(written)


def require_filled_in(folder: Path) -> ModelDefinition:
    """Refuse to train for minutes what could not be used afterwards; returns what ``model.yaml`` declares.

    Raises:
        TrainingDataInvalid: model.yaml is missing, or a person has not yet decided something.
        ModelFolderInvalid: model.yaml does not follow its schema.
    """
    definition, task = folder / "model.yaml", folder / "response" / "task.yaml"
    if not definition.is_file():
        raise TrainingDataInvalid("The model folder has no model.yaml. Make one with 'oncoresponse train new-model'.")
    for path in (definition, task):
        if not path.is_file():
            continue  # --task may name another file
        stripped = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        lines = [line for line in stripped if PLACEHOLDER in line and not line.startswith("#")]
        if lines:
            raise TrainingDataInvalid(
                f"{path.name} still says {PLACEHOLDER} in {len(lines)} places, first: {lines[0][:80]}. Write what is "
                "meant.",
            )
    try:
        return parse_definition(yaml.safe_load(definition.read_bytes()))
    except (ValueError, yaml.YAMLError) as error:
        raise ModelFolderInvalid(f"model.yaml is not valid: {schema_faults(error)}") from error


def require_complete(folder: Path) -> None:
    """Refuse to seal what the first patient would show to be unfinished.

    Raises:
        TrainingDataInvalid: model.yaml is missing, or a person has not yet decided something.
        ModelFolderInvalid: The plan cannot be run, or a file that a stage of it reads is not there.
    """
    definition = require_filled_in(folder)
    stages = require_plan(definition.stages) if isinstance(definition, ImagingResponse) else ("prediction",)
    for stage, file in _READ_BY_STAGE.items():
        if stage in stages and not (folder / file).is_file():
            raise ModelFolderInvalid(
                f"The model has the stage {stage} and no {file}, which that stage reads. Train or write it. "
                "A model that only measures leaves prediction out of the stages in model.yaml."
            )
