"""Cross-validated figures of the segmentation, beside the thresholds that clinics use.

Each patient is segmented by the one network that was not trained on them. What is chosen on the cross-validation is
chosen, for the figures of a patient, without that patient (volume interval) or the patient's fold (probability
threshold, review limit, margin of the image-free ellipsoid); only the values shipped in ``network.json`` use everybody.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import SimpleITK as sitk
from rich.progress import Progress

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume, write_volume
from oncoresponse.segmentation.lesion_prompt import LesionPrompt, prompt_channels
from oncoresponse.segmentation.mask_checks import measure_mask
from oncoresponse.segmentation.mask_selection import mask_from_probability
from oncoresponse.segmentation.metrics import dice, volume_error_percent
from oncoresponse.segmentation.network import (
    NETWORK_FILE,
    MaskSettings,
    MaskSettingsByPrompt,
    NetworkDescription,
    read_network_description,
)
from oncoresponse.segmentation.training.cohort import training_cohort
from oncoresponse.segmentation.training.evaluation_figures import Case, draw_cases, draw_cross_validation
from oncoresponse.segmentation.training.image_free_baseline import ellipsoid_within_borders
from oncoresponse.segmentation.training.mean_dice import best_on_other_folds, interval_of_mean
from oncoresponse.segmentation.training.out_of_fold import BOX_ERROR_MM, OutOfFold, segment_out_of_fold
from oncoresponse.segmentation.training.surface_distance import hausdorff_95_mm
from oncoresponse.segmentation.training.thresholds import fixed_suv, share_of_maximum
from oncoresponse.segmentation.uncertainty import (
    UncertaintyMeasures,
    fit_volume_interval,
    needs_review_left_out,
    review_limit,
    uncertainty_measures,
    volume_coverage_left_out,
)

EVALUATION_TABLE = "evaluation.csv"
EVALUATION_SUMMARY = "evaluation.json"
OUT_OF_FOLD_FOLDER = "out_of_fold"

PROMPT_TITLES: Mapping[str, str] = {
    "none": "network, without prompt",
    "point": "network, prompt: the hottest point of the lesion",
    "box": f"network, prompt: a box with faces off by up to {BOX_ERROR_MM:.0f} mm",
}
THRESHOLD_TITLES: Mapping[str, str] = {
    "41_percent_of_suv_max": "41 % of SUVmax, whole image",
    "suv_2_5": "SUV >= 2.5 g/mL, whole image",
    "suv_2_0": "SUV >= 2.0 g/mL, whole image",
    "41_percent_of_suv_max_in_box": "41 % of SUVmax, inside the same box",
    "suv_2_5_in_box": "SUV >= 2.5 g/mL, inside the same box",
    "suv_2_0_in_box": "SUV >= 2.0 g/mL, inside the same box",
}

IMAGE_FREE_TITLE = "ellipsoid inside the borders of the cropped images, without looking at them"

_IMAGE_FREE = "image_free_ellipsoid"
_CANDIDATE_MARGINS_MM = tuple(range(5, 61))
_CANDIDATE_THRESHOLDS = tuple(round(0.30 + 0.05 * step, 2) for step in range(13))
_FOUND_DICE = 0.1
_POOR_DICE = 0.5
_VOLUME_LEVEL = 0.8
_SHOWN_CASES = 6


def evaluate_segmentation(
    data: Path,
    run_directory: Path,
    segmentation_directory: Path,
    figure: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate the fold networks out of fold, choose the thresholds, and write what was found.

    Writes ``evaluation.csv`` (one row a patient) and ``evaluation.json`` beside the weights and into the run
    folder, the chosen thresholds and limits and the volume intervals into ``network.json``, each
    out-of-fold mask and probability as NRRD on the PET grid below ``run_directory/out_of_fold``, and two pictures.

    Args:
        data: The cohort the networks were trained on.
        run_directory: Gets the out-of-fold volumes.
        segmentation_directory: ``segmentation/`` of the model folder.
        figure: Where the picture goes; ``run_directory/cross-validation.png`` when None. The patients with the lowest
            Dice are drawn beside it, in a file whose name ends in ``-lowest-dice.png``.
        progress: Shows a bar.

    Returns:
        The contents of ``evaluation.json``.

    Raises:
        TrainingDataInvalid: ``data`` is not the cohort that ``network.json`` names.
    """
    description = read_network_description(segmentation_directory)
    record = description.training
    patients = training_cohort(data, record.held_out_patients, record.cohort_sha256)
    predictions = list(segment_out_of_fold(data, patients, description, segmentation_directory, progress))
    table = pd.DataFrame({"patient": patients, "fold": [item.fold for item in predictions]})
    table["volume_ml"] = [measure_mask(item.images.tumor).volume_ml for item in predictions]
    table["physician_touches_border"] = [measure_mask(item.images.tumor).touches_border for item in predictions]
    found = {}
    coverage = {}
    masks = {}
    for kind in PROMPT_TITLES:
        found[kind], masks[kind], coverage[kind] = _evaluate_kind(kind, predictions, table)
    _add_field_of_view_checks(predictions, table)
    _add_thresholds(predictions, table)
    _add_image_free_baseline(predictions, table)
    for item, mask in zip(predictions, masks["none"], strict=True):
        _write_out_of_fold(item, mask, run_directory / OUT_OF_FOLD_FOLDER)
    description = description.model_copy(update={"masks": MaskSettingsByPrompt(**found)})
    summary = _summary(table, description, coverage)
    table.to_csv(segmentation_directory / EVALUATION_TABLE, index=False, float_format="%.4f")
    (segmentation_directory / EVALUATION_SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    (segmentation_directory / NETWORK_FILE).write_text(description.model_dump_json(indent=2) + "\n", encoding="utf-8")
    for name in (EVALUATION_TABLE, EVALUATION_SUMMARY):
        shutil.copyfile(segmentation_directory / name, run_directory / name)
    figure = figure or run_directory / "cross-validation.png"
    draw_cross_validation(table, description.masks, figure)
    lowest = [
        Case(f"{patients[row]}: Dice {table['dice'][row]:.2f}", item.images.pet, item.images.tumor, masks["none"][row])
        for row, item in ((row, predictions[row]) for row in table["dice"].nsmallest(_SHOWN_CASES).index)
    ]
    draw_cases(lowest, figure.with_name(f"{figure.stem}-lowest-dice.png"))
    return summary


def _evaluate_kind(
    kind: str, predictions: Sequence[OutOfFold], table: pd.DataFrame
) -> tuple[MaskSettings, list[sitk.Image], float]:
    """Add the columns of one prompt to the table; returns what ships, the masks, the coverage of the interval."""
    suffix = "" if kind == "none" else f"_{kind}"
    folds = table["fold"].to_numpy()
    dice_at = np.array([_dice_at_thresholds(item, kind) for item in predictions])
    masks: list[sitk.Image] = []
    measured: list[UncertaintyMeasures] = []
    rows: list[dict[str, float | bool]] = []
    for item in predictions:
        threshold = _best_threshold(dice_at[folds != item.fold])
        mask = mask_from_probability(item.probabilities[kind], threshold, item.prompts[kind])
        masks.append(mask)
        measured.append(uncertainty_measures(item.probabilities[kind], mask))
        measures = measure_mask(mask)
        rows.append(
            {"threshold": threshold}
            | _agreement(sitk.GetArrayFromImage(mask) > 0, item)
            | {"predicted_volume_ml": measures.volume_ml, "touches_border": measures.touches_border}
        )
    for name in rows[0]:
        table[f"{name}{suffix}"] = [row[name] for row in rows]
    real = table[f"dice{suffix}"].tolist()
    confidence = [item.confidence for item in measured]
    table[f"confidence{suffix}"] = confidence
    table[f"needs_review{suffix}"] = needs_review_left_out(confidence, real, folds.tolist(), _POOR_DICE)
    table[f"lesion_found{suffix}"] = np.array(real) >= _FOUND_DICE
    volumes = (table[f"predicted_volume_ml{suffix}"].tolist(), table["volume_ml"].tolist())
    settings = MaskSettings(
        threshold=_best_threshold(dice_at),
        review_below_confidence=review_limit(confidence, real, _POOR_DICE),
        volume_interval=fit_volume_interval(measured, *volumes, _VOLUME_LEVEL),
    )
    return settings, masks, volume_coverage_left_out(measured, *volumes, _VOLUME_LEVEL)


def _dice_at_thresholds(item: OutOfFold, kind: str) -> list[float]:
    tumor = sitk.GetArrayFromImage(item.images.tumor)
    masks = (
        mask_from_probability(item.probabilities[kind], threshold, item.prompts[kind])
        for threshold in _CANDIDATE_THRESHOLDS
    )
    return [dice(sitk.GetArrayFromImage(mask), tumor) for mask in masks]


def _best_threshold(dice_at: npt.NDArray[np.float64]) -> float:
    """The candidate with the highest mean Dice over the rows (patients)."""
    return _CANDIDATE_THRESHOLDS[int(dice_at.mean(axis=0).argmax())]


def _agreement(mask: npt.NDArray[np.bool_], item: OutOfFold) -> dict[str, float | bool]:
    tumor = sitk.GetArrayFromImage(item.images.tumor) > 0
    return {
        "dice": dice(mask, tumor),
        "hausdorff_95_mm": hausdorff_95_mm(mask, tumor, item.images.pet.GetSpacing()),
        "volume_error_percent": volume_error_percent(mask, tumor),
    }


def _add_field_of_view_checks(predictions: Sequence[OutOfFold], table: pd.DataFrame) -> None:
    trimmed, blind = [], []
    for item, threshold in zip(predictions, table["threshold"], strict=True):
        mask = mask_from_probability(item.trimmed, threshold)
        trimmed.append(dice(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(item.trimmed_lesion)))
        mask = mask_from_probability(item.without_ct, threshold)
        blind.append(dice(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(item.images.tumor)))
    table["dice_trimmed_field_of_view"] = trimmed
    table["dice_without_ct"] = blind


def _add_thresholds(predictions: Sequence[OutOfFold], table: pd.DataFrame) -> None:
    for name in THRESHOLD_TITLES:
        rows = []
        for item in predictions:
            suv = sitk.GetArrayFromImage(item.images.pet)
            region = _inside(item.prompts["box"], item) if name.endswith("_in_box") else np.ones(suv.shape, dtype=bool)
            if name.startswith("41_percent"):
                mask = share_of_maximum(suv, 0.41, region)
            else:
                mask = fixed_suv(suv, 2.5 if name.startswith("suv_2_5") else 2.0) & region
            rows.append(_agreement(mask, item))
        for column in rows[0]:
            table[f"{column}_{name}"] = [row[column] for row in rows]


def _add_image_free_baseline(predictions: Sequence[OutOfFold], table: pd.DataFrame) -> None:
    """The margin is chosen on the other folds, as the network's threshold is."""
    candidates = [
        [ellipsoid_within_borders(item.images.pet, margin) for margin in _CANDIDATE_MARGINS_MM] for item in predictions
    ]
    tumors = [sitk.GetArrayFromImage(item.images.tumor) for item in predictions]
    dice_at = np.array([[dice(mask, tumor) for mask in masks] for masks, tumor in zip(candidates, tumors, strict=True)])
    folds = table["fold"].to_numpy()
    chosen = best_on_other_folds(dice_at, folds)
    rows = [_agreement(candidates[row][best], predictions[row]) for row, best in enumerate(chosen)]
    for column in rows[0]:
        table[f"{column}_{_IMAGE_FREE}"] = [row[column] for row in rows]
    table[f"margin_mm_{_IMAGE_FREE}"] = [_CANDIDATE_MARGINS_MM[best] for best in chosen]


def _inside(prompt: LesionPrompt | None, item: OutOfFold) -> npt.NDArray[np.bool_]:
    return np.asarray(prompt_channels(prompt, item.images.pet)[0] > 0)


def _write_out_of_fold(item: OutOfFold, mask: sitk.Image, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    patient = item.images.patient
    # NIfTI knows no UIDs; the patient's folder name stands for both, so that the volumes can be read back.
    volume = Volume(mask, Quantity.MASK, patient, patient)
    write_volume(volume, folder / f"{patient}.nrrd")
    probability = replace(volume, image=item.probabilities["none"], quantity=Quantity.PROBABILITY)
    write_volume(probability, folder / f"{patient}_probability.nrrd")


def _summary(table: pd.DataFrame, description: NetworkDescription, coverage: Mapping[str, float]) -> dict[str, Any]:
    return {
        "patients": len(table),
        "folds": len(description.weights),
        "held_out_patients": list(description.training.held_out_patients),
        "method": "each patient segmented by the network of the fold that was not trained on them; "
        "threshold chosen on the other folds",
        "network": {
            kind: {"title": title}
            | _method_summary(table, "" if kind == "none" else f"_{kind}")
            | _uncertainty_summary(table, "" if kind == "none" else f"_{kind}")
            | {
                "volume_interval_level": _VOLUME_LEVEL,
                "volume_interval_coverage_leave_one_out": _rounded(coverage[kind]),
                "shipped_threshold": getattr(description.masks, kind).threshold,
                "review_below_confidence": getattr(description.masks, kind).review_below_confidence,
            }
            for kind, title in PROMPT_TITLES.items()
        },
        "network_on_trimmed_field_of_view_mean_dice": _rounded(table["dice_trimmed_field_of_view"].mean()),
        "network_without_ct_mean_dice": _rounded(table["dice_without_ct"].mean()),
        "physician_masks_touching_border": int(table["physician_touches_border"].sum()),
        "image_free_baseline": {"title": IMAGE_FREE_TITLE} | _method_summary(table, f"_{_IMAGE_FREE}"),
        "thresholds_of_clinics": {
            name: {"title": title} | _method_summary(table, f"_{name}") for name, title in THRESHOLD_TITLES.items()
        },
    }


def _method_summary(table: pd.DataFrame, suffix: str) -> dict[str, Any]:
    scores = table[f"dice{suffix}"].to_numpy()
    low, high = interval_of_mean(scores)
    return {
        "mean_dice": _rounded(scores.mean()),
        "mean_dice_95_percent_interval": [_rounded(low), _rounded(high)],
        "median_dice": _rounded(np.median(scores)),
        "lowest_dice": _rounded(scores.min()),
        "median_hausdorff_95_mm": _rounded(table[f"hausdorff_95_mm{suffix}"].median()),
        "median_absolute_volume_error_percent": _rounded(table[f"volume_error_percent{suffix}"].abs().median()),
    }


def _uncertainty_summary(table: pd.DataFrame, suffix: str) -> dict[str, Any]:
    real, confidence, review = (table[f"{name}{suffix}"] for name in ("dice", "confidence", "needs_review"))
    poor = real < _POOR_DICE
    return {
        "lesions_found": int(table[f"lesion_found{suffix}"].sum()),
        "masks_touching_border": int(table[f"touches_border{suffix}"].sum()),
        "patients_with_dice_below_0_5": int(poor.sum()),
        "patients_with_dice_below_0_5_not_flagged": int((poor & ~review).sum()),
        "patients_flagged_for_review": int(review.sum()),
        "confidence_rank_correlation_with_dice": _rounded(confidence.corr(real, method="spearman")),
    }


def _rounded(value: float) -> float:
    return round(float(value), 4)
