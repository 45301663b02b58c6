"""Predictions as the response stage gives them, and a small model to compare them with."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import numpy as np
import pytest
from oncoresponse.monitoring.records import MonitoredCase, OutcomeRecord, PredictionRecord
from oncoresponse.monitoring.report import MonitoredModel, MonitoringReport, monitoring_report
from oncoresponse.monitoring.training_reference import PROBABILITY, TrainingReference

CREATED = datetime.datetime(2026, 3, 31, 23, 30, tzinfo=datetime.UTC)
RESEARCH_USE = "Research use only."


@pytest.fixture(scope="session")
def record() -> Callable[..., PredictionRecord]:
    """Factory: a record, with what the keywords say changed."""

    def make(number: int = 0, **changes: object) -> PredictionRecord:
        values: dict[str, object] = {
            "assessment": f"assessments/{number:04d}",
            "month": "2026-03",
            "model_name": "sts-petct",
            "model_version": "1.0.0",
            "model_sha256": "a" * 64,
            "inputs": {"size": 10.0},
            "answer": "favorable",
            "abstained": False,
            "probability": 0.7,
            "interval_low": 0.5,
            "interval_high": 0.9,
            "outside_score": 0.4,
            "abstain_codes": (),
            "baseline_probability": 0.6,
            "groups": {"sex": "female"},
        }
        return PredictionRecord(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def model() -> MonitoredModel:
    """One input, normal with mean 10 and deviation 2 in 200 training patients; probabilities spread evenly."""
    random = np.random.default_rng(3)
    return MonitoredModel(
        "sts-petct",
        "1.0.0",
        "a" * 64,
        RESEARCH_USE,
        200,
        (
            TrainingReference.of_values("size", "Tumor size", "ml", random.normal(10, 2, 200)),
            TrainingReference.of_values(PROBABILITY, "Predicted probability", "1", random.uniform(0, 1, 200)),
        ),
    )


@pytest.fixture(scope="session")
def draw_cases(record) -> Callable[..., list[MonitoredCase]]:
    """Factory: patients whose outcome follows ``truth(probability)``, by default as predicted."""

    def draw(
        patients: int,
        *,
        shift: float = 0.0,
        truth: Callable[[np.ndarray], np.ndarray] = lambda p: p,
        outcomes: bool = True,
        seed: int = 0,
    ) -> list[MonitoredCase]:
        random = np.random.default_rng(seed)
        sizes = random.normal(10 + shift, 2, patients)
        probabilities = random.uniform(0, 1, patients)
        happened = random.random(patients) < truth(probabilities)
        cases = []
        for number, (size, probability, favorable) in enumerate(zip(sizes, probabilities, happened, strict=True)):
            unsure = abs(probability - 0.5) < 0.1
            kept = record(
                number,
                month=f"2026-{1 + number % 3:02d}",
                inputs={"size": float(size)},
                answer="indeterminate" if unsure else "favorable" if probability > 0.5 else "unfavorable",
                abstained=bool(unsure),
                abstain_codes=("CONFORMAL_BOTH",) if unsure else (),
                probability=float(probability),
                baseline_probability=float(probability),
                groups={"sex": "male" if number % 3 else "female"},
            )
            outcome = OutcomeRecord(kept.assessment, bool(favorable), 24) if outcomes else None
            cases.append(MonitoredCase(kept, outcome))
        return cases

    return draw


@pytest.fixture(scope="session")
def cases(draw_cases) -> list[MonitoredCase]:
    """300 patients without drift, each with an outcome."""
    return draw_cases(300)


@pytest.fixture(scope="session")
def report(model, cases) -> MonitoringReport:
    """The report on them."""
    return monitoring_report(model, cases)
