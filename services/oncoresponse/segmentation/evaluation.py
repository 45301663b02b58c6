"""Cross-validated figures of the segmentation, beside the thresholds that clinics use.

Each patient is segmented by the one network that was not trained on them. What is chosen on the cross-validation (the
probability threshold, the line from confidence to expected Dice) is chosen, for the figures of a patient, without that
patient; only the values shipped in ``network.json`` use everybody.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import SimpleITK as sitk
import torch
from rich.progress import Progress

from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.segmentation.cohort import CohortImages, assign_folds, cohort_patients, cohort_sha256, read_patient
from oncoresponse.segmentation.evaluation_figures import Case, draw_cases, draw_cross_validation
from oncoresponse.segmentation.inference import mask_from_probability
from oncoresponse.segmentation.mask_checks import measure_mask
from oncoresponse.segmentation.metrics import dice, hausdorff_95_mm, soft_dice_confidence, volume_error_percent
from oncoresponse.segmentation.network import (
    NETWORK_FILE,
    ExpectedDiceCalibration,
    InferenceSettings,
    NetworkDescription,
    load_networks,
    read_network_description,
)
from oncoresponse.segmentation.preprocessing import prepare, probability_on_image
from oncoresponse.segmentation.thresholds import box_around, fixed_suv, share_of_maximum
from oncoresponse.segmentation.windowed_prediction import predict_probabilities
from oncoresponse.volume import Quantity, Volume, write_volume

EVALUATION_TABLE = "evaluation.csv"
EVALUATION_SUMMARY = "evaluation.json"
OUT_OF_FOLD_FOLDER = "out_of_fold"

THRESHOLD_TITLES: Mapping[str, str] = {
    "41_percent_of_suv_max": "41 % of SUVmax, whole image",
    "41_percent_of_suv_max_in_box": "41 % of SUVmax, inside a box 1 cm about the physician's contour",
    "suv_2_5": "SUV >= 2.5 g/mL, whole image",
    "suv_2_0": "SUV >= 2.0 g/mL, whole image",
}

_CANDIDATE_THRESHOLDS = tuple(round(0.30 + 0.05 * step, 2) for step in range(13))
_BOX_MARGIN_MM = 10.0
_TRIM_LARGEST_MM = 40.0
_TRIM_KEPT_MARGIN_MM = 10.0
_FOUND_DICE = 0.1
_POOR_DICE = 0.5
_BOOTSTRAP_SAMPLES = 10_000
_SHOWN_CASES = 6


@dataclass(frozen=True, eq=False)
class _Prediction:
    images: CohortImages
    fold: int
    probability: sitk.Image
    trimmed_probability: sitk.Image
    trimmed_tumor: sitk.Image


def evaluate_segmentation(
    data: Path,
    run_directory: Path,
    segmentation_directory: Path,
    figure: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate the fold networks out of fold, choose the threshold, and write what was found.

    Writes ``evaluation.csv`` (one row a patient) and ``evaluation.json`` beside the weights, the chosen threshold and
    the expected-Dice line into ``network.json``, each out-of-fold mask and probability as NRRD on the PET grid below
    ``run_directory/out_of_fold``, and two pictures.

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
    patients = cohort_patients(data, description.training.held_out_patients)
    if cohort_sha256(data, patients) != description.training.cohort_sha256:
        raise TrainingDataInvalid(
            "The data folder is not the cohort these networks were trained on, so which network has not seen which "
            "patient is unknown. Give the training cohort, or train again."
        )
    predictions = _predict_out_of_fold(data, patients, description, segmentation_directory, progress)
    dice_at = np.array([_dice_at_thresholds(prediction, description.inference) for prediction in predictions])
    folds = np.array([prediction.fold for prediction in predictions])
    rows = []
    for index, prediction in enumerate(predictions):
        nested = _best_threshold(dice_at[folds != prediction.fold])
        inference = description.inference.model_copy(update={"threshold": nested})
        rows.append(_evaluate_patient(prediction, inference, run_directory / OUT_OF_FOLD_FOLDER))
        rows[-1]["patient"] = patients[index]
    table = pd.DataFrame(rows)
    table["expected_dice"] = _leave_one_out_expectation(table["confidence"], table["dice"])
    table["needs_review"] = table["expected_dice"] < description.inference.review_below_expected_dice
    chosen = description.inference.model_copy(update={"threshold": _best_threshold(dice_at)})
    description = description.model_copy(update={"inference": chosen, "expected_dice": _calibration(table)})
    summary = _summary(table, description)
    table.insert(0, "patient", table.pop("patient"))
    table.to_csv(segmentation_directory / EVALUATION_TABLE, index=False, float_format="%.4f")
    (segmentation_directory / EVALUATION_SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    (segmentation_directory / NETWORK_FILE).write_text(description.model_dump_json(indent=2) + "\n", encoding="utf-8")
    figure = figure or run_directory / "cross-validation.png"
    draw_cross_validation(table, chosen, figure)
    draw_cases(_lowest_cases(table, predictions, description), figure.with_name(f"{figure.stem}-lowest-dice.png"))
    return summary


def _lowest_cases(
    table: pd.DataFrame, predictions: Sequence[_Prediction], description: NetworkDescription
) -> list[Case]:
    cases = []
    for index in table["dice"].nsmallest(_SHOWN_CASES).index:
        images = predictions[index].images
        settings = description.inference.model_copy(update={"threshold": float(table["threshold"][index])})
        mask = mask_from_probability(predictions[index].probability, settings)
        cases.append(Case(f"{images.patient}: Dice {table['dice'][index]:.2f}", images.pet, images.tumor, mask))
    return cases


def _predict_out_of_fold(
    data: Path,
    patients: Sequence[str],
    description: NetworkDescription,
    segmentation_directory: Path,
    progress: Progress | None,
) -> list[_Prediction]:
    networks = load_networks(segmentation_directory, description)
    folds = assign_folds(patients, len(networks), description.training.seed)
    random = np.random.default_rng(description.training.seed)
    task = progress.add_task("out-of-fold evaluation", total=len(patients)) if progress is not None else None
    predictions = []
    for patient in patients:
        images = read_patient(data, patient)
        network = networks[folds[patient]]
        low, high = _random_trim(images, random)
        trimmed_pet = sitk.RegionOfInterest(images.pet, (high - low).tolist(), low.tolist())
        predictions.append(
            _Prediction(
                images,
                folds[patient],
                _probability(network, images.pet, images.ct, description),
                _probability(network, trimmed_pet, images.ct, description),
                sitk.RegionOfInterest(images.tumor, (high - low).tolist(), low.tolist()),
            )
        )
        if progress is not None and task is not None:
            progress.advance(task)
    return predictions


def _probability(
    network: torch.nn.Module, pet: sitk.Image, ct: sitk.Image, description: NetworkDescription
) -> sitk.Image:
    inputs = prepare(pet, ct, description.preprocessing)
    probability = predict_probabilities(
        [network],
        inputs.array,
        description.network,
        description.inference,
        torch.device("cpu"),
        description.patch_size,
    )[0]
    return probability_on_image(probability, inputs.grid, pet)


def _random_trim(
    images: CohortImages, random: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Bounds (i, j, k) of a field of view cut unevenly, at least 1 cm away from the contour.

    The cohort's images end at nearly the same distance from the contour on every side. A network that had learned
    that distance would do worse here.
    """
    spacing = np.array(images.pet.GetSpacing())
    size = np.array(images.pet.GetSize())
    tumor = np.argwhere(sitk.GetArrayFromImage(images.tumor))[:, ::-1]
    largest = np.floor(_TRIM_LARGEST_MM / spacing)
    kept = np.ceil(_TRIM_KEPT_MARGIN_MM / spacing)
    room_low = np.clip(np.minimum(tumor.min(axis=0) - kept, largest), 0, None)
    room_high = np.clip(np.minimum(size - 1 - tumor.max(axis=0) - kept, largest), 0, None)
    low = np.floor(random.random(3) * (room_low + 1)).astype(np.int64)
    high = size - np.floor(random.random(3) * (room_high + 1)).astype(np.int64)
    return low, high


# Arrays here are copies: a view does not keep alive the image it looks at, and most images here are short-lived.


def _dice_at_thresholds(prediction: _Prediction, settings: InferenceSettings) -> list[float]:
    tumor = sitk.GetArrayFromImage(prediction.images.tumor)
    return [
        dice(
            sitk.GetArrayFromImage(
                mask_from_probability(prediction.probability, settings.model_copy(update={"threshold": threshold}))
            ),
            tumor,
        )
        for threshold in _CANDIDATE_THRESHOLDS
    ]


def _best_threshold(dice_at: npt.NDArray[np.float64]) -> float:
    """The candidate with the highest mean Dice over the rows (patients)."""
    return _CANDIDATE_THRESHOLDS[int(dice_at.mean(axis=0).argmax())]


def _evaluate_patient(prediction: _Prediction, settings: InferenceSettings, volumes: Path) -> dict[str, Any]:
    images = prediction.images
    tumor = sitk.GetArrayFromImage(images.tumor)
    suv = sitk.GetArrayFromImage(images.pet)
    spacing = images.pet.GetSpacing()
    mask_image = mask_from_probability(prediction.probability, settings)
    mask = sitk.GetArrayFromImage(mask_image)
    probability = sitk.GetArrayFromImage(prediction.probability)
    measures = measure_mask(mask_image)
    trimmed = sitk.GetArrayFromImage(mask_from_probability(prediction.trimmed_probability, settings))
    _write_out_of_fold(images, mask_image, prediction.probability, volumes)
    margin = [int(np.ceil(_BOX_MARGIN_MM / step)) for step in reversed(spacing)]
    box = box_around(tumor, (margin[0], margin[1], margin[2]))
    masks = {
        "network": mask,
        "41_percent_of_suv_max": share_of_maximum(suv, 0.41),
        "41_percent_of_suv_max_in_box": share_of_maximum(suv, 0.41, box),
        "suv_2_5": fixed_suv(suv, 2.5),
        "suv_2_0": fixed_suv(suv, 2.0),
    }
    row: dict[str, Any] = {
        "fold": prediction.fold,
        "threshold": settings.threshold,
        "volume_ml": measure_mask(images.tumor).volume_ml,
        "predicted_volume_ml": measures.volume_ml,
        "component_count": measures.component_count,
        "touches_border": measures.touches_border,
        "physician_touches_border": measure_mask(images.tumor).touches_border,
        "confidence": soft_dice_confidence(probability, mask),
        "dice_trimmed_field_of_view": dice(trimmed, sitk.GetArrayFromImage(prediction.trimmed_tumor)),
    }
    for name, found in masks.items():
        suffix = "" if name == "network" else f"_{name}"
        row[f"dice{suffix}"] = dice(found, tumor)
        row[f"hausdorff_95_mm{suffix}"] = hausdorff_95_mm(found, tumor, spacing)
        row[f"volume_error_percent{suffix}"] = volume_error_percent(found, tumor)
    row["lesion_found"] = row["dice"] >= _FOUND_DICE
    return row


def _write_out_of_fold(images: CohortImages, mask: sitk.Image, probability: sitk.Image, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # NIfTI knows no UIDs; the patient's folder name stands for both, so that the volumes can be read back.
    for image, quantity, name in (
        (mask, Quantity.MASK, f"{images.patient}.nrrd"),
        (probability, Quantity.PROBABILITY, f"{images.patient}_probability.nrrd"),
    ):
        write_volume(Volume(image, quantity, images.patient, images.patient), folder / name)


def _leave_one_out_expectation(confidence: pd.Series, real: pd.Series) -> list[float]:
    expected = []
    for index in confidence.index:
        others = confidence.index != index
        slope, intercept = _line(confidence[others].to_numpy(), real[others].to_numpy())
        expected.append(float(np.clip(intercept + slope * confidence[index], 0, 1)))
    return expected


def _line(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Least-squares slope and intercept; slope 0 where x does not vary."""
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 0 else 0.0
    return slope, float(y.mean() - slope * x.mean())


def _calibration(table: pd.DataFrame) -> ExpectedDiceCalibration:
    slope, intercept = _line(table["confidence"].to_numpy(), table["dice"].to_numpy())
    residual = float(np.sqrt(np.mean((table["expected_dice"] - table["dice"]) ** 2)))
    return ExpectedDiceCalibration(
        slope=round(slope, 6),
        intercept=round(intercept, 6),
        residual_standard_deviation=round(residual, 6),
        patient_count=len(table),
    )


def _summary(table: pd.DataFrame, description: NetworkDescription) -> dict[str, Any]:
    poor = table["dice"] < _POOR_DICE
    return {
        "patients": len(table),
        "folds": len(description.weights),
        "held_out_patients": list(description.training.held_out_patients),
        "method": "each patient segmented by the network of the fold that was not trained on them; "
        "threshold chosen on the other folds",
        "network": _method_summary(table, ""),
        "network_on_trimmed_field_of_view_mean_dice": _rounded(table["dice_trimmed_field_of_view"].mean()),
        "lesions_found": int(table["lesion_found"].sum()),
        "patients_with_dice_below_0_5": int(poor.sum()),
        "patients_with_dice_below_0_5_not_flagged": int((poor & ~table["needs_review"]).sum()),
        "patients_flagged_for_review": int(table["needs_review"].sum()),
        "masks_touching_border": int(table["touches_border"].sum()),
        "physician_masks_touching_border": int(table["physician_touches_border"].sum()),
        "expected_dice_correlation_leave_one_out": _rounded(table["expected_dice"].corr(table["dice"])),
        "expected_dice_mean_absolute_error_leave_one_out": _rounded(
            (table["expected_dice"] - table["dice"]).abs().mean()
        ),
        "shipped_threshold": description.inference.threshold,
        "thresholds_of_clinics": {
            name: {"title": title} | _method_summary(table, f"_{name}") for name, title in THRESHOLD_TITLES.items()
        },
    }


def _method_summary(table: pd.DataFrame, suffix: str) -> dict[str, Any]:
    scores = table[f"dice{suffix}"].to_numpy()
    random = np.random.default_rng(0)
    means = scores[random.integers(len(scores), size=(_BOOTSTRAP_SAMPLES, len(scores)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {
        "mean_dice": _rounded(scores.mean()),
        "mean_dice_95_percent_interval": [_rounded(low), _rounded(high)],
        "median_dice": _rounded(np.median(scores)),
        "lowest_dice": _rounded(scores.min()),
        "median_hausdorff_95_mm": _rounded(table[f"hausdorff_95_mm{suffix}"].median()),
        "median_absolute_volume_error_percent": _rounded(table[f"volume_error_percent{suffix}"].abs().median()),
    }


def _rounded(value: float) -> float:
    return round(float(value), 4)
