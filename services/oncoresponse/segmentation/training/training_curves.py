"""Learning curves of a training run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

_SMOOTHING_STEPS = 50


def draw_training_curves(logs: Sequence[Path], run_directory: Path) -> Path:
    """Draw loss (running mean) and validation Dice of each fold into ``curves.png``."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss_axes, dice_axes = figure.subplots(1, 2)
    for fold, log in enumerate(logs):
        table = pd.read_csv(log)
        window = min(_SMOOTHING_STEPS, len(table))
        running = np.convolve(table["loss"], np.ones(window) / window, mode="valid")
        loss_axes.plot(table["iteration"][window - 1 :], running, linewidth=1, label=f"fold {fold + 1}")
        validated = table.dropna(subset=["validation_dice"])
        dice_axes.plot(validated["iteration"], validated["validation_dice"], marker="o", linewidth=1)
    loss_axes.set(xlabel="step", ylabel="Dice + cross-entropy loss (training)")
    loss_axes.legend(fontsize=8)
    dice_axes.set(xlabel="step", ylabel="mean Dice (fold's validation patients)", ylim=(0, 1))
    path = run_directory / "curves.png"
    figure.savefig(path, dpi=120)
    return path
