"""How the interactive networks follow a hand, and what contours without one are worth in honest fields of view.

Every patient is contoured by the one network that was not trained on them. The robot's clicks are the best there are:
at the centre of the largest error. People's vary (arXiv:2404.01816), so a second robot clicks anywhere in that error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import SimpleITK as sitk
import torch
from rich.progress import Progress
from scipy import ndimage

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.segmentation.input_images import InputImages
from oncoresponse.segmentation.lesion_prompt import Coordinates, prompt_channels
from oncoresponse.segmentation.metrics import dice
from oncoresponse.segmentation.refinement import (
    HandInput,
    OutlinedSlice,
    RefinementDescription,
    Refiner,
    load_refinement_networks,
    shape_based_interpolation,
)
from oncoresponse.segmentation.training.cohort import CohortImages, assign_folds, cohort_patients, read_patient
from oncoresponse.segmentation.training.mean_dice import best_on_other_folds, mean_dice
from oncoresponse.segmentation.training.out_of_fold import rough_box

EVALUATION_TABLE = "evaluation.csv"
EVALUATION_SUMMARY = "evaluation.json"
CLICKS = 5
OUTLINES = (3, 5)
OUTLINE_WEIGHTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_CPU = torch.device("cpu")


def evaluate_refinement(
    data: Path, directory: Path, description: RefinementDescription, seed: int, progress: Progress | None = None
) -> dict[str, Any]:
    """Follow the robots through all patients, each with the network that has not seen them.

    Writes ``evaluation.csv`` (one row a patient) and ``evaluation.json`` beside the weights.

    Args:
        data: The cohort the networks were trained on.
        directory: Where the weights are.
        description: Its ``outline_weight`` is not used: it is chosen on the other folds.
        seed: Of the folds and of the boxes and clicks.
        progress: Shows a bar.

    Returns:
        The contents of ``evaluation.json``.
    """
    networks = load_refinement_networks(directory, description)
    patients = cohort_patients(data, description.held_out_patients)
    folds = assign_folds(patients, len(networks), seed)
    task = progress.add_task("a hand on every patient", total=len(patients)) if progress is not None else None
    rows, by_weight = [], []
    for number, patient in enumerate(patients):
        images = read_patient(data, patient)
        refiner = Refiner(description, [networks[folds[patient]]], _CPU)
        random = np.random.default_rng([seed, number])
        row: dict[str, Any] = {"patient": patient, "fold": folds[patient]}
        row |= _clicked(refiner, images, random)
        found, scores = _outlined(refiner, images)
        rows.append(row | found)
        by_weight.append(scores)
        if progress is not None and task is not None:
            progress.advance(task)
    table = pd.DataFrame(rows)
    scores_at = np.array(by_weight)
    # One weight for all numbers of outlines.
    chosen = best_on_other_folds(scores_at.mean(axis=1), table["fold"].to_numpy())
    for position, count in enumerate(OUTLINES):
        table[f"outlines_{count}"] = [scores_at[row, position, best] for row, best in enumerate(chosen)]
    weight = OUTLINE_WEIGHTS[int(scores_at.mean(axis=(0, 1)).argmax())]
    summary = _summary(table, weight)
    table.to_csv(directory / EVALUATION_TABLE, index=False, float_format="%.4f")
    (directory / EVALUATION_SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return summary


def largest_error_click(
    mask: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.bool_],
    spacing: Sequence[float],
    random: np.random.Generator | None = None,
) -> tuple[tuple[int, int, int], bool, float] | None:
    """Where a robot clicks: at the place deepest in the largest face-connected part of the error.

    Args:
        mask: Axes (k, j, i).
        truth: Same axes.
        spacing: Along k, j and i (mm).
        random: Clicks anywhere in that part instead.

    Returns:
        Voxel (k, j, i), whether it is tumor, and its distance to the surface of the error (mm); None without an error.
    """
    labels, count = ndimage.label(mask != truth)
    if count == 0:
        return None
    largest = labels == int(np.bincount(labels.ravel())[1:].argmax()) + 1
    depth = ndimage.distance_transform_edt(np.pad(largest, 1), spacing)[1:-1, 1:-1, 1:-1]
    if random is None:
        place = np.unravel_index(int(depth.argmax()), depth.shape)
    else:
        found = np.argwhere(largest)
        place = tuple(found[random.integers(len(found))])
    k, j, i = (int(value) for value in place)
    return (k, j, i), bool(truth[k, j, i]), float(depth[k, j, i])


def middle_slices(truth: npt.NDArray[np.bool_], count: int) -> list[int]:
    """The middle slices of ``count`` equal parts of the tumor along k, those without tumor left out."""
    shown = np.flatnonzero(truth.any(axis=(1, 2)))
    positions = shown[0] + (np.arange(count) + 0.5) / count * (shown[-1] - shown[0])
    return sorted({int(index) for index in np.rint(positions) if truth[int(index)].any()})


def input_images(images: CohortImages) -> InputImages:
    """A patient of the cohort as a study's images; NIfTI knows no UIDs, so the patient's name stands for them."""
    name = images.patient
    return InputImages(
        {
            "PET": Volume(images.pet, Quantity.SUV_BODY_WEIGHT, name, name),
            "CT": Volume(images.ct, Quantity.HOUNSFIELD, name, name),
        },
        "PET",
    )


def _clicked(refiner: Refiner, images: CohortImages, random: np.random.Generator) -> dict[str, float]:
    truth = sitk.GetArrayFromImage(images.tumor) > 0
    spacing = images.pet.GetSpacing()[::-1]
    study = input_images(images)
    box = rough_box(images, random)
    row: dict[str, float] = {}
    for title, hand, robot in (
        ("box", HandInput(box=box), None),
        ("box_varied", HandInput(box=box), random),
        ("nothing", HandInput(), None),
    ):
        inside: list[Coordinates] = []
        outside: list[Coordinates] = []
        contour = refiner.refine(study, hand)
        mask = np.asarray(contour.mask.array) > 0
        row[f"{title}_0"] = dice(mask, truth)
        balls = mask.copy()
        row_ball = f"{title}_ball"
        for number in range(1, CLICKS + 1):
            if title == "box":
                balls = _with_ball(balls, truth, spacing)
                row[f"{row_ball}_{number}"] = dice(balls, truth)
            click = largest_error_click(mask, truth, spacing, robot)
            if click is not None:
                place, is_tumor, _ = click
                x, y, z = images.pet.TransformIndexToPhysicalPoint(place[::-1])
                (inside if is_tumor else outside).append((x, y, z))
            hand = HandInput(tuple(inside), tuple(outside), hand.box, earlier=contour.probability)
            contour = refiner.refine(study, hand)
            mask = np.asarray(contour.mask.array) > 0
            row[f"{title}_{number}"] = dice(mask, truth)
    region = prompt_channels(box, images.pet)[0] > 0
    row["suv_2_5_in_box"] = dice((sitk.GetArrayFromImage(images.pet) >= 2.5) & region, truth)
    return row


def _with_ball(
    mask: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_], spacing: Sequence[float]
) -> npt.NDArray[np.bool_]:
    """What needs no network: a ball of the error's inscribed radius at the click takes on what the click says."""
    click = largest_error_click(mask, truth, spacing)
    if click is None:
        return mask
    place, is_tumor, radius = click
    axes = np.ogrid[tuple(slice(count) for count in mask.shape)]
    squared = sum(((axis - center) * step) ** 2 for axis, center, step in zip(axes, place, spacing, strict=True))
    return np.where(squared <= radius**2, is_tumor, mask)


def _outlined(refiner: Refiner, images: CohortImages) -> tuple[dict[str, float], list[list[float]]]:
    """Dice of shape-based interpolation alone, and of the network by number of outlines and by weight."""
    truth = sitk.GetArrayFromImage(images.tumor) > 0
    study = input_images(images)
    spacing = images.pet.GetSpacing()
    row: dict[str, float] = {}
    scores = []
    for count in OUTLINES:
        outlines = tuple(OutlinedSlice(index, truth[index]) for index in middle_slices(truth, count))
        k, j, i = truth.shape
        alone = shape_based_interpolation(outlines, (k, j, i), (spacing[2], spacing[1], spacing[0]), 1.0)[0] > 0
        row[f"interpolation_{count}"] = dice(alone, truth)
        at = []
        for weight in OUTLINE_WEIGHTS:
            weighted = refiner.with_outline_weight(weight)
            contour = weighted.refine(study, HandInput(outlines=outlines))
            at.append(dice(np.asarray(contour.mask.array) > 0, truth))
        scores.append(at)
    return row, scores


def _summary(table: pd.DataFrame, weight: float) -> dict[str, Any]:
    columns = [name for name in table.columns if name not in ("patient", "fold")]
    return {
        "patients": len(table),
        "method": "each patient by the network of the fold that was not trained on them; outline weight chosen on the "
        "other folds; threshold 0.5, not chosen",
        "outline_weight": weight,
        "dice": {name: mean_dice(table[name].to_numpy(dtype=float)) for name in columns},
    }
