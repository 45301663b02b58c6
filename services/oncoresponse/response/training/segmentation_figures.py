"""The figures of the model's segmentation, as its evaluation wrote them, for the model card."""

from __future__ import annotations

import json
from pathlib import Path

from oncoresponse.errors import ModelFolderInvalid

EVALUATION = Path("segmentation") / "evaluation.json"


def segmentation_section(model_directory: Path) -> list[str]:
    """Lines of Markdown: network, image-free baseline and thresholds side by side; none for a model without images.

    Raises:
        ModelFolderInvalid: ``segmentation/evaluation.json`` is of another version.
    """
    file = model_directory / EVALUATION
    if not file.is_file():
        return []
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        methods = [*found["network"].values(), found["image_free_baseline"], *found["thresholds_of_clinics"].values()]
        rows = [
            f"| {item['title']} | {item['mean_dice']:.2f} ({low:.2f} to {high:.2f}) | {item['lowest_dice']:.2f} | "
            f"{item['median_absolute_volume_error_percent']:.0f} % |"
            for item in methods
            for low, high in [item["mean_dice_95_percent_interval"]]
        ]
        return [
            "## Segmentation",
            "",
            f"{found['patients']} patients, cross-validated over {found['folds']} folds; kept out: "
            f"{', '.join(found['held_out_patients']) or 'nobody'}; no patient of another institution. The images end "
            "at about one distance from the tumor, so their borders give its place and size away: the ellipsoid "
            "shows how much. 95 % intervals by bootstrap over patients.",
            "",
            "| Method | Mean Dice (95 % interval) | Lowest | Median absolute volume error |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFolderInvalid(
            f"{EVALUATION.as_posix()} is of another version. Evaluate the segmentation again with its training command."
        ) from error
