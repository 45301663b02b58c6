"""A training run in minutes to try data and settings. What it makes is not for use, and no service opens it."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from oncoresponse.response.task import ResponseTask

QUICK_FOLDER = "quick"
NOT_FOR_USE = "Quick trial run with few repeats: its figures say little, and the model is not for use."

_LEFT_OUT = ("manifest.json", "model-card*", "*.safetensors")
_VALIDATION = {
    "repeats": 2,
    "inner_repeats": 1,
    "permutations": 10,
    "permutation_repeats": 1,
    "bootstrap_samples": 200,
    "simulated_cohorts": 0,
}
_MEMBERS = 10
_SEGMENTATION = {"folds": 2, "iterations": 40, "warmup_iterations": 5, "checkpoint_every": 20, "validate_every": 40}


def quick_model(model: Path, run: Path) -> Path:
    """A copy of a model folder below the run folder that says in its definition that it is not for use.

    It has no manifest, so that no service opens it; the model folder itself is left alone.
    """
    copy = run / QUICK_FOLDER / model.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(model, copy, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    path = copy / "model.yaml"
    if path.is_file():
        definition = yaml.safe_load(path.read_bytes())
        definition["title"] = f"QUICK TRIAL, not for use: {definition.get('title', '')}"
        definition["limitations"] = [NOT_FOR_USE, *(definition.get("limitations") or ())]
        path.write_text(yaml.safe_dump(definition, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return copy


def quick_task(task: ResponseTask, model_copy: Path) -> Path:
    """The task with a small validation, in the copy of the model folder."""
    content = task.model_dump(mode="json", exclude_unset=True)
    content["validation"] = {**content.get("validation", {}), **_VALIDATION}
    content["uncertainty"] = {**content.get("uncertainty", {}), "ensemble_members": _MEMBERS}
    path = model_copy / "response" / "task.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# {NOT_FOR_USE}\n{yaml.safe_dump(content, sort_keys=False)}", encoding="utf-8")
    return path


def quick_segmentation_settings() -> dict[str, int]:
    """What replaces the settings of a segmentation run."""
    return dict(_SEGMENTATION)
