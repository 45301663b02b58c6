"""Pictures of the cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oncoresponse.segmentation.network import MaskSettingsByPrompt

_SHOWN_SUV = 10.0

_METHODS = {
    "dice_box": ("network, rough box", "D", "#1f9d55"),
    "dice": ("network, without prompt", "o", "#1f5fa8"),
    "dice_image_free_ellipsoid": ("ellipsoid, image-free", "+", "#7d3fb0"),
    "dice_suv_2_0": ("SUV >= 2.0", "^", "#d08a1d"),
    "dice_suv_2_5": ("SUV >= 2.5", "s", "#b5512c"),
    "dice_41_percent_of_suv_max": ("41 % of SUVmax", "x", "#7a7a7a"),
}


@dataclass(frozen=True, eq=False)
class Case:
    """One patient to draw: PET (SUVbw, g/mL), physician's and network's mask on its grid, and what to write above."""

    title: str
    pet: sitk.Image
    physician: sitk.Image
    network: sitk.Image


def draw_cases(cases: Sequence[Case], path: Path) -> None:
    """Axial and coronal PET plane through the middle of what either contour marks, with both contours.

    Args:
        cases: One column each.
        path: PNG to write.
    """
    figure = Figure(figsize=(2.6 * len(cases), 6.2), layout="constrained")
    axes = figure.subplots(2, len(cases), squeeze=False)
    for column, case in enumerate(cases):
        suv, physician, network = (
            sitk.GetArrayFromImage(sitk.DICOMOrient(image, "LPS")) for image in (case.pet, case.physician, case.network)
        )
        marked = np.argwhere((physician > 0) | (network > 0))
        k, j, _ = np.median(marked, axis=0).astype(int)
        across, along, through = sitk.DICOMOrient(case.pet, "LPS").GetSpacing()
        for row, (plane, aspect) in enumerate(((np.s_[k], along / across), (np.s_[:, j], through / across))):
            shown = axes[row, column]
            # Slice 0 is the lowest, rows run from anterior to posterior.
            shown.imshow(
                suv[plane], cmap="gray_r", vmin=0, vmax=_SHOWN_SUV, aspect=aspect, origin="lower" if row else "upper"
            )
            for mask, color in ((physician, "#1f9d55"), (network, "#d6336c")):
                if mask[plane].any():
                    shown.contour(mask[plane], levels=[0.5], colors=color, linewidths=1.2)
            shown.set_axis_off()
        axes[0, column].set_title(case.title, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def draw_cross_validation(table: pd.DataFrame, settings: MaskSettingsByPrompt, path: Path) -> None:
    """Dice of each patient by each method, volumes, and confidence against Dice.

    Args:
        table: Contents of ``evaluation.csv``.
        settings: For the review limit.
        path: PNG to write.
    """
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[1.1, 1])
    _draw_dice(figure.add_subplot(grid[0, :]), table)
    _draw_volumes(figure.add_subplot(grid[1, 0]), table)
    _draw_confidence(figure.add_subplot(grid[1, 1]), table, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _draw_dice(axes: Axes, table: pd.DataFrame) -> None:
    ordered = table.sort_values("dice", ascending=False)
    positions = range(len(ordered))
    for column, (title, marker, color) in _METHODS.items():
        label = f"{title} (mean {ordered[column].mean():.2f})"
        axes.plot(positions, ordered[column], marker=marker, color=color, linestyle="none", label=label)
    axes.set_xticks(list(positions), [name.removeprefix("STS_") for name in ordered["patient"]], fontsize=8)
    axes.set(xlabel="patient", ylabel="Dice with the physician's contour", ylim=(-0.03, 1))
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8, loc="lower left")


def _draw_volumes(axes: Axes, table: pd.DataFrame) -> None:
    axes.loglog(table["volume_ml"], table["predicted_volume_ml"].clip(lower=0.1), "o", color="#1f5fa8")
    limits = (table["volume_ml"].min() / 2, table["volume_ml"].max() * 2)
    axes.plot(limits, limits, color="#7a7a7a", linewidth=1)
    axes.set(xlabel="volume of the physician's contour (ml)", ylabel="volume of the network's mask (ml)")
    axes.grid(alpha=0.3)


def _draw_confidence(axes: Axes, table: pd.DataFrame, settings: MaskSettingsByPrompt) -> None:
    for suffix, title, color, limit in (
        ("", "without prompt", "#1f5fa8", settings.none.review_below_confidence),
        ("_box", "rough box", "#1f9d55", settings.box.review_below_confidence),
    ):
        axes.plot(table[f"confidence{suffix}"], table[f"dice{suffix}"], "o", color=color, markersize=4, label=title)
        if limit:
            axes.axvline(limit, color=color, linestyle="--", linewidth=1, label=f"needs review below {limit:g}")
    axes.set(xlabel="confidence (soft Dice of mask and probability)", ylabel="Dice", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left")
