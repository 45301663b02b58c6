"""The whole run of the interactive networks: prepare the cohort, train, evaluate, describe, document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from oncoresponse.case.file_digest import file_sha256
from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.segmentation.network import NetworkSettings, WeightsFile
from oncoresponse.segmentation.preprocessing import PreprocessingSettings, mask_share_on_grid
from oncoresponse.segmentation.refinement import (
    DESCRIPTION_FILE,
    RefinementDescription,
    read_refinement_description,
)
from oncoresponse.segmentation.training.cohort import (
    assign_folds,
    cohort_patients,
    cohort_sha256,
    read_training_patients,
    training_cohort,
)
from oncoresponse.segmentation.training.documentation import write_between_marks
from oncoresponse.segmentation.training.field_sampler import FieldPatient
from oncoresponse.segmentation.training.honest_fields import FIELDS_SUMMARY, evaluate_fields
from oncoresponse.segmentation.training.interactive_cohort import write_field_patients
from oncoresponse.segmentation.training.interactive_evaluation import (
    CLICKS,
    EVALUATION_SUMMARY,
    OUTLINES,
    evaluate_refinement,
)
from oncoresponse.segmentation.training.interactive_run import train_folds
from oncoresponse.segmentation.training.interactive_training import (
    BLOCKS_DOWN,
    DEEP_SUPERVISION_LEVELS,
    InteractiveTrainingSettings,
)

FOLDS = 5
COHORT_FILE = "cohort.npz"
TRAINING_FILE = "training.json"
BEGIN = "<!-- written by oncoresponse train refinement: begin -->"
END = "<!-- written by oncoresponse train refinement: end -->"
SMALLEST_SIZE = 48
_THRESHOLD = 0.5
_FIRST_OUTLINE_WEIGHT = 0.6


def prepare_cohort(
    data: Path, held_out: Sequence[str], settings: InteractiveTrainingSettings, preprocessing: PreprocessingSettings
) -> tuple[list[FieldPatient], dict[str, int]]:
    """Patients on the common grid, and the fold in which each is validated.

    Raises:
        TrainingDataInvalid: The cohort is incomplete or inconsistent.
    """
    names = cohort_patients(data, held_out)
    prepared = []
    for images, patient in read_training_patients(data, names, preprocessing):
        tumor = mask_share_on_grid(images.tumor, patient.inputs.grid)
        prepared.append(FieldPatient(patient.patient, patient.inputs.array, tumor))
    return prepared, assign_folds(names, FOLDS, settings.seed)


def train_refinement(
    data: Path,
    held_out: Sequence[str],
    run_directory: Path,
    directory: Path,
    settings: InteractiveTrainingSettings,
    preprocessing: PreprocessingSettings,
) -> RefinementDescription:
    """Train the networks of all folds and write them with ``refinement.json`` and ``training.json``.

    A killed run goes on where it stopped.

    Args:
        data: Cohort folder, as :func:`~oncoresponse.segmentation.training.training.train_segmentation` reads it.
        held_out: Patients that are not read.
        run_directory: Checkpoints and logs; created if need be.
        directory: ``refinement/`` of the model folder.
        settings: The run.
        preprocessing: Common grid and CT window; its spacing is that of the patches.

    Raises:
        TrainingDataInvalid: The cohort is incomplete or inconsistent, or a fold's process failed.
    """
    run_directory.mkdir(parents=True, exist_ok=True)
    directory.mkdir(parents=True, exist_ok=True)
    settings = replace(settings, fields=replace(settings.fields, spacing_mm=preprocessing.spacing_mm))
    patients, folds = prepare_cohort(data, held_out, settings, preprocessing)
    write_field_patients(patients, folds, run_directory / COHORT_FILE)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not train_folds(run_directory / COHORT_FILE, run_directory, settings, device, range(FOLDS)):
        raise TrainingDataInvalid("A fold was not trained to its end. Its log in the run folder says how far it came.")
    weights = []
    for fold in range(FOLDS):
        name = f"fold_{fold}.safetensors"
        (directory / name).write_bytes((run_directory / name).read_bytes())
        weights.append(WeightsFile(file=name, sha256=file_sha256(directory / name)))
    (directory / TRAINING_FILE).write_bytes((run_directory / "settings.json").read_bytes())
    description = RefinementDescription(
        network=NetworkSettings(
            initial_filters=settings.initial_filters,
            blocks_down=BLOCKS_DOWN,
            deep_supervision_levels=DEEP_SUPERVISION_LEVELS,
        ),
        preprocessing=preprocessing,
        smallest_size=SMALLEST_SIZE,
        threshold=_THRESHOLD,
        outline_weight=_FIRST_OUTLINE_WEIGHT,
        weights=tuple(weights),
        training_settings_sha256=file_sha256(directory / TRAINING_FILE),
        cohort_sha256=cohort_sha256(data, cohort_patients(data, held_out)),
        held_out_patients=tuple(held_out),
    )
    _write(description, directory)
    return description


def evaluate(data: Path, model: Path, progress: Progress | None = None) -> None:
    """Evaluate the networks of ``refinement/`` by hand, and those of ``segmentation/`` in honest fields.

    Raises:
        TrainingDataInvalid: ``data`` is not the cohort that ``refinement.json`` names.
    """
    directory = model / "refinement"
    description = read_refinement_description(directory)
    training_cohort(data, description.held_out_patients, description.cohort_sha256)
    seed = json.loads((directory / TRAINING_FILE).read_text(encoding="utf-8"))["seed"]
    summary = evaluate_refinement(data, directory, description, seed, progress)
    _write(description.model_copy(update={"outline_weight": summary["outline_weight"]}), directory)
    evaluate_fields(data, model / "segmentation", progress)


def write_tables(model: Path, page: Path) -> None:
    """Write the figures between the marks of ``segmentation.md``.

    Raises:
        TrainingDataInvalid: The page lacks the marks.
    """
    write_between_marks(page, BEGIN, END, tables(model))


def tables(model: Path) -> str:
    """Honest fields, clicks and outlined slices as Markdown."""
    fields = json.loads((model / "segmentation" / FIELDS_SUMMARY).read_text(encoding="utf-8"))
    found = json.loads((model / "refinement" / EVALUATION_SUMMARY).read_text(encoding="utf-8"))
    scores = found["dice"]
    above = fields["network_above_ellipsoid"]
    lines = [
        f"Automatic, {fields['patients']} patients with {fields['fields_a_patient']} random fields each:",
        "",
        "| Method | Mean Dice (95 % interval) | Lowest patient |",
        "|---|---|---|",
        *(
            f"| {title} | {_interval(fields['dice'][name])} | {fields['dice'][name]['lowest']:.2f} |"
            for name, title in (
                ("network", "network, without prompt"),
                ("ellipsoid", "ellipsoid inside the borders of the same fields, without looking at them"),
                ("suv_2_5", "SUV >= 2.5 g/mL, whole field"),
                ("41_percent_of_suv_max", "41 % of SUVmax, whole field"),
            )
        ),
        "",
        f"The network is {above['mean']:.2f} ({above['mean_95_percent_interval'][0]:.2f} to "
        f"{above['mean_95_percent_interval'][1]:.2f}) above the ellipsoid.",
        "",
        f"By hand, {found['patients']} patients:",
        "",
        "| Clicks | " + " | ".join(str(number) for number in range(CLICKS + 1)) + " |",
        "|---" * (CLICKS + 2) + "|",
    ]
    for name, title in (
        ("box", "network, from a box, click at the centre of the largest error"),
        ("box_varied", "network, from a box, click anywhere in the largest error"),
        ("nothing", "network, from nothing, click at the centre of the largest error"),
    ):
        lines.append(
            f"| {title} | " + " | ".join(f"{scores[f'{name}_{n}']['mean']:.3f}" for n in range(CLICKS + 1)) + " |"
        )
    balls = [f"{scores[f'box_ball_{number}']['mean']:.3f}" for number in range(1, CLICKS + 1)]
    lines += [
        f"| from the same box, a ball of the error's inscribed radius at each click | {scores['box_0']['mean']:.3f} | "
        + " | ".join(balls)
        + " |",
        f"| SUV >= 2.5 g/mL inside the same box | {scores['suv_2_5_in_box']['mean']:.3f} |" + " |" * CLICKS,
        "",
        "| Axial slices outlined | " + " | ".join(str(count) for count in OUTLINES) + " |",
        "|---" * (len(OUTLINES) + 1) + "|",
        "| network and interpolation together | "
        + " | ".join(_with_lowest(scores[f"outlines_{count}"]) for count in OUTLINES)
        + " |",
        "| shape-based interpolation alone | "
        + " | ".join(_with_lowest(scores[f"interpolation_{count}"]) for count in OUTLINES)
        + " |",
    ]
    return "\n".join(lines) + "\n"


def _interval(score: dict[str, Any]) -> str:
    low, high = score["mean_95_percent_interval"]
    return f"{score['mean']:.2f} ({low:.2f} to {high:.2f})"


def _with_lowest(score: dict[str, Any]) -> str:
    low, high = score["mean_95_percent_interval"]
    return f"{score['mean']:.3f} ({low:.3f} to {high:.3f}), lowest {score['lowest']:.2f}"


def _write(description: RefinementDescription, directory: Path) -> None:
    (directory / DESCRIPTION_FILE).write_text(description.model_dump_json(indent=2) + "\n", encoding="utf-8")
