"""Small synthetic cohorts with a known truth, and a model trained on one of them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from oncoresponse.model.folder import ModelFolder, seal_model_folder
from oncoresponse.response.task import ResponseTask
from oncoresponse.response.training.training import TrainedResponse, train_response

REPOSITORY = Path(__file__).parents[3]


NOTHING_REQUIRED = {
    "lowest_auc": 0,
    "lowest_concordance": 0,
    "lowest_scaled_brier": -1000,
    "calibration_slope": [-1000, 1000],
    "largest_calibration_intercept": 1000,
    "largest_permutation_p": 1,
}


def _input(name: str, sign: int) -> dict[str, object]:
    return {
        "name": name,
        "title": f"Measure {name}",
        "unit": "ml",
        "transform": "log",
        "favorable_sign": sign,
        "minimum": 1e-4,
        "maximum": 1e6,
    }


@pytest.fixture(scope="session")
def task_fields() -> Callable[..., dict[str, object]]:
    """Contents of a task file that fits quickly; keyword arguments replace entries."""

    def build(inputs: int = 3, sign: int = -1, **changes: object) -> dict[str, object]:
        fields: dict[str, object] = {
            "outcome": {"column": "first_failure", "favorable_when": "empty", "definition": "No failure."},
            "inputs": [_input(f"m{index}", sign) for index in range(inputs)],
            "baseline_inputs": ["m0"],
            "forbidden_columns": ["treatment", "status"],
            "held_out_patients": ["P000", "P001"],
            "booster": {
                "max_depth": [1, 2],
                "rounds": [10, 20],
                "learning_rate": 0.2,
                "row_fraction": 0.7,
                "column_fraction": 0.7,
            },
            "validation": {
                "folds": 4,
                "repeats": 2,
                "inner_repeats": 1,
                "permutations": 3,
                "bootstrap_samples": 500,
                "simulated_cohorts": 2,
            },
            "uncertainty": {"ensemble_members": 10},
            # A cohort of fifty with three permutations is evidence of nothing; what it would predict is tested here.
            "evidence": NOTHING_REQUIRED,
            "calls": {"lowest_right": 0, "level": 0.51},
            "seed": 11,
        }
        return {**fields, **changes}

    return build


@pytest.fixture(scope="session")
def make_task(task_fields: Callable[..., dict[str, object]]) -> Callable[..., ResponseTask]:
    def build(inputs: int = 3, sign: int = -1, **changes: object) -> ResponseTask:
        return ResponseTask.model_validate(task_fields(inputs, sign, **changes))

    return build


@pytest.fixture(scope="session")
def draw_cohort() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Transformed inputs (patients, inputs) and outcomes whose log-odds fall by ``strength`` with the first input."""

    def draw(patients: int, inputs: int = 3, strength: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        values = random.normal(size=(patients, inputs))
        chance = 1 / (1 + np.exp(strength * values[:, 0]))
        return values, (random.random(patients) < chance).astype(np.int64)

    return draw


@dataclass(frozen=True)
class TrainingFiles:
    task: Path
    features: Path
    clinical: Path
    model: Path
    features_automatic: Path


@pytest.fixture(scope="session")
def write_training_files(
    task_fields: Callable[..., dict[str, object]], draw_cohort: Callable[..., tuple[np.ndarray, np.ndarray]]
) -> Callable[[Path], TrainingFiles]:
    """Tables and a model folder without a response model, below a directory."""

    def write(directory: Path) -> TrainingFiles:
        model = directory / "sts-petct"
        (model / "response").mkdir(parents=True)
        (model / "radiomics").mkdir()
        (model / "radiomics" / "settings.yaml").write_text("binWidth: 0.5\n", encoding="utf-8")
        definition = (REPOSITORY / "models" / "sts-petct" / "model.yaml").read_bytes()
        (model / "model.yaml").write_bytes(definition)
        task = model / "response" / "task.yaml"
        task.write_text(yaml.safe_dump(task_fields()), encoding="utf-8")
        values, favorable = draw_cohort(50, seed=4)
        features, clinical = directory / "features.csv", directory / "clinical.csv"
        with features.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["patient_id", "m0", "m1", "m2", "unused"])
            writer.writerows([f"P{row:03d}", *map(repr, map(float, np.exp(values[row]))), "x"] for row in range(50))
        with clinical.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["patient_id", "treatment", "first_failure"])
            writer.writerows([f"P{row:03d}", "R", "" if favorable[row] else "Mets"] for row in range(50))
        # Automatic contours a tenth larger; one failed, one patient is not in the table.
        automatic = directory / "features-automatic.csv"
        with automatic.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["patient_id", "m0", "m1", "m2"])
            for row in range(2, 49):
                cells = ["", "", ""] if row == 7 else [repr(float(value)) for value in 1.1 * np.exp(values[row])]
                writer.writerow([f"P{row:03d}", *cells])
        return TrainingFiles(task, features, clinical, model, automatic)

    return write


@pytest.fixture(scope="session")
def training_files(
    tmp_path_factory: pytest.TempPathFactory, write_training_files: Callable[[Path], TrainingFiles]
) -> TrainingFiles:
    return write_training_files(tmp_path_factory.mktemp("response"))


@pytest.fixture(scope="session")
def trained(training_files: TrainingFiles, tmp_path_factory: pytest.TempPathFactory) -> TrainedResponse:
    return train_response(
        training_files.task,
        training_files.features,
        training_files.clinical,
        training_files.model,
        tmp_path_factory.mktemp("run"),
        features_automatic_csv=training_files.features_automatic,
    )


@pytest.fixture(scope="session")
def trained_folder(trained: TrainedResponse, training_files: TrainingFiles) -> ModelFolder:
    return seal_model_folder(training_files.model)
