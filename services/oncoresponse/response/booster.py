"""XGBoost as this project uses it: exact trees, one thread, monotone constraints, fixed seed, same bytes each time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xgboost

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.task import ResponseTask

CONSTANT_BELOW = 1e-6
"""Range of margins (log-odds) under which a booster counts as a constant."""


def fit_booster(
    task: ResponseTask,
    inputs: FloatArray,
    favorable: IntArray,
    *,
    max_depth: int,
    rounds: int,
    start: FloatArray | None = None,
) -> xgboost.Booster:
    """Fit a booster to transformed inputs.

    Args:
        task: Hyper-parameters, signs and seed.
        inputs: Float (patients, inputs), transformed.
        favorable: Int (patients,).
        max_depth: Depth of a tree.
        rounds: Number of trees.
        start: Float (patients,), log-odds the trees add to (XGBoost ``base_margin``); 0 when not given.
    """
    settings = task.booster
    parameters = {
        "objective": "binary:logistic",
        # The intercept starts at exactly 0 log-odds, so the margin is a plain sum of leaves on every machine.
        "base_score": 0.5,
        "tree_method": "exact",
        "max_depth": max_depth,
        "eta": settings.learning_rate,
        "lambda": settings.l2_penalty,
        "min_child_weight": settings.min_child_weight,
        "subsample": settings.row_fraction,
        "colsample_bytree": settings.column_fraction,
        "monotone_constraints": "(" + ",".join(str(entry.favorable_sign) for entry in task.inputs) + ")",
        "nthread": 1,
        "seed": task.seed,
        "verbosity": 0,
    }
    data = xgboost.DMatrix(inputs, label=favorable, feature_names=list(task.input_names), nthread=1)
    if start is not None:
        data.set_base_margin(start)
    return xgboost.train(parameters, data, num_boost_round=rounds)


def open_booster(raw: bytes, name: str, inputs: Sequence[str]) -> xgboost.Booster:
    """A stored booster of a model with these inputs, in order.

    Raises:
        ModelFolderInvalid: This version of XGBoost cannot read it, or it was fitted to other inputs.
    """
    booster = xgboost.Booster({"nthread": 1})
    try:
        booster.load_model(bytearray(raw))
    except xgboost.core.XGBoostError as error:
        raise ModelFolderInvalid(f"This version of XGBoost cannot read {name}. Install the pinned version.") from error
    if tuple(booster.feature_names or ()) != tuple(inputs):
        raise ModelFolderInvalid(f"{name} and the model's document name different inputs. Train the model again.")
    return booster


def margins(booster: xgboost.Booster, names: Sequence[str], inputs: FloatArray, rounds: int = 0) -> FloatArray:
    """Log-odds (patients,) before calibration that the first ``rounds`` trees add (0: all)."""
    data = xgboost.DMatrix(inputs, feature_names=list(names), nthread=1)
    predicted = booster.predict(data, output_margin=True, iteration_range=(0, rounds))
    return np.asarray(predicted, dtype=np.float64)


def contributions(booster: xgboost.Booster, names: Sequence[str], inputs: FloatArray) -> FloatArray:
    """SHAP values (patients, inputs + 1) of the trees in log-odds, the last column the base.

    Each row sums to the margin of the trees, up to XGBoost's single precision.

    TreeSHAP as built into XGBoost (Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9).
    """
    data = xgboost.DMatrix(inputs, feature_names=list(names), nthread=1)
    return np.asarray(booster.predict(data, pred_contribs=True), dtype=np.float64)


def is_constant(predicted: FloatArray) -> bool:
    """Whether a booster gives every patient the same margin: it has not learned anything."""
    return float(np.ptp(predicted)) < CONSTANT_BELOW
