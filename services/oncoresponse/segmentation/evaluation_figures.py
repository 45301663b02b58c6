"""Pictures of the cross-validation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oncoresponse.segmentation.network import InferenceSettings

_METHODS = {
    "dice": ("network, out of fold", "o", "#1f5fa8"),
    "dice_suv_2_0": ("SUV >= 2.0", "^", "#d08a1d"),
    "dice_suv_2_5": ("SUV >= 2.5", "s", "#b5512c"),
    "dice_41_percent_of_suv_max": ("41 % of SUVmax", "x", "#7a7a7a"),
}


def draw_cross_validation(table: pd.DataFrame, settings: InferenceSettings, path: Path) -> None:
    """Dice of each patient by each method, volumes, and expected against real Dice.

    Args:
        table: Contents of ``evaluation.csv``.
        settings: For the review limit.
        path: PNG to write.
    """
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[1.1, 1])
    _draw_dice(figure.add_subplot(grid[0, :]), table)
    _draw_volumes(figure.add_subplot(grid[1, 0]), table)
    _draw_expected(figure.add_subplot(grid[1, 1]), table, settings)
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


def _draw_expected(axes: Axes, table: pd.DataFrame, settings: InferenceSettings) -> None:
    axes.plot(table["expected_dice"], table["dice"], "o", color="#1f5fa8")
    axes.plot((0, 1), (0, 1), color="#7a7a7a", linewidth=1)
    limit = settings.review_below_expected_dice
    axes.axvline(limit, color="#b5512c", linestyle="--", linewidth=1, label=f"needs review below {limit:g}")
    axes.set(xlabel="expected Dice (patient left out of the fit)", ylabel="real Dice", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left")
