"""Tables of the cross-validation, written by the training command so that they cannot differ from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.segmentation.training.evaluation import EVALUATION_SUMMARY, EVALUATION_TABLE

BEGIN = "<!-- written by oncoresponse train segmentation: begin -->"
END = "<!-- written by oncoresponse train segmentation: end -->"
PAGE = "segmentation.md"
_IMAGES = {
    "cross-validation.png": "segmentation-cross-validation.png",
    "cross-validation-lowest-dice.png": "segmentation-cross-validation-lowest-dice.png",
}


def write_documentation(segmentation_directory: Path, run_directory: Path, docs_directory: Path) -> None:
    """Write the tables between the marks of ``segmentation.md`` and the pictures of the run to ``images/``.

    Args:
        segmentation_directory: ``segmentation/`` of the model folder, evaluated.
        run_directory: Holds the pictures of the evaluation.
        docs_directory: Holds ``segmentation.md``.

    Raises:
        TrainingDataInvalid: ``segmentation.md`` lacks the marks.
    """
    write_between_marks(docs_directory / PAGE, BEGIN, END, evaluation_tables(segmentation_directory))
    images = docs_directory / "images"
    images.mkdir(parents=True, exist_ok=True)
    for source, target in _IMAGES.items():
        shutil.copyfile(run_directory / source, images / target)


def write_between_marks(page: Path, begin: str, end: str, written: str) -> None:
    """Write text between two marks of a Markdown page, in place of what is there.

    Raises:
        TrainingDataInvalid: The page lacks the marks.
    """
    text = page.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise TrainingDataInvalid(f"{page.name} lacks the marks between which the evaluation is written. Restore them.")
    before, after = text.split(begin)[0], text.split(end)[1]
    page.write_text(f"{before}{begin}\n\n{written}\n{end}{after}", encoding="utf-8")


def evaluation_tables(segmentation_directory: Path) -> str:
    """The cross-validation as Markdown."""
    summary = json.loads((segmentation_directory / EVALUATION_SUMMARY).read_text(encoding="utf-8"))
    table = pd.read_csv(segmentation_directory / EVALUATION_TABLE)
    held_out = ", ".join(summary["held_out_patients"]) or "nobody"
    lines = [
        f"{summary['patients']} patients, {summary['folds']} folds by patient; kept out of everything: {held_out}. "
        "95 % intervals by bootstrap over patients.",
        "",
        "| Method | Mean Dice (95 % interval) | Median | Lowest | Median HD95 (mm) | Median absolute volume error |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_method_row(item) for item in methods(summary)]
    lines += [
        "",
        f"Without the CT and without prompt the networks reach a mean Dice of "
        f"{summary['network_without_ct_mean_dice']:.2f}; on a field of view cut unevenly by up to 4 cm a side, "
        f"{summary['network_on_trimmed_field_of_view_mean_dice']:.2f}. "
        f"{summary['physician_masks_touching_border']} of the physicians' contours touch the border of the image.",
        "",
        "| Prompt | none | a point | a box |",
        "|---|---|---|---|",
    ]
    kinds = [summary["network"][kind] for kind in ("none", "point", "box")]
    rows: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
        ("Lesions found (Dice at least 0.1)", lambda kind: f"{kind['lesions_found']} of {summary['patients']}"),
        ("Masks with Dice below 0.5", lambda kind: str(kind["patients_with_dice_below_0_5"])),
        (
            "... of these not marked for review by the limit of the other folds",
            lambda kind: str(kind["patients_with_dice_below_0_5_not_flagged"]),
        ),
        (
            "Masks marked for review by the limit of the other folds",
            lambda kind: str(kind["patients_flagged_for_review"]),
        ),
        ("Shipped limit: marked below a confidence of", lambda kind: f"{kind['review_below_confidence']:.2f}"),
        (
            "Confidence, rank correlation with the Dice",
            lambda kind: f"{kind['confidence_rank_correlation_with_dice']:.2f}",
        ),
        (
            f"Coverage of the {kinds[0]['volume_interval_level']:.0%} volume interval, patient left out",
            lambda kind: f"{kind['volume_interval_coverage_leave_one_out']:.0%}",
        ),
        ("Masks that touch the border", lambda kind: str(kind["masks_touching_border"])),
        ("Probability from which a voxel is tumor", lambda kind: f"{kind['shipped_threshold']:.2f}"),
    )
    lines += [f"| {title} | " + " | ".join(show(kind) for kind in kinds) + " |" for title, show in rows]
    lines += [
        "",
        "The patients with the lowest Dice:",
        "",
        "| Patient | Volume (ml) | Network, without prompt (ml) | Dice, without prompt | Dice, point | Dice, box |",
        "|---|---|---|---|---|---|",
    ]
    for _, row in table.nsmallest(8, "dice").iterrows():
        lines.append(
            f"| {row['patient']} | {row['volume_ml']:.0f} | {row['predicted_volume_ml']:.0f} | {row['dice']:.2f} | "
            f"{row['dice_point']:.2f} | {row['dice_box']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def methods(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The methods of ``evaluation.json`` in the order of its tables: network, image-free baseline, thresholds."""
    return [*summary["network"].values(), summary["image_free_baseline"], *summary["thresholds_of_clinics"].values()]


def _method_row(item: dict[str, Any]) -> str:
    low, high = item["mean_dice_95_percent_interval"]
    return (
        f"| {item['title']} | {item['mean_dice']:.2f} ({low:.2f} to {high:.2f}) | {item['median_dice']:.2f} | "
        f"{item['lowest_dice']:.2f} | {item['median_hausdorff_95_mm']:.1f} | "
        f"{item['median_absolute_volume_error_percent']:.0f} % |"
    )
