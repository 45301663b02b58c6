"""The two models that learn from the first change: what they may see, and what validation says of the change."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from oncoresponse.cli.main import app
from oncoresponse.response.task import read_task
from oncoresponse.response.training.validation import Evaluation
from typer.testing import CliRunner

MODELS = Path(__file__).parents[3] / "models"
INTER, FIRST = "breast-early-response", "breast-early-response-first-cycle"
TABLE = """patient_id,age_years,race,hormone_receptor_positive,her2_positive,longest_diameter_baseline_mm,\
longest_diameter_after_first_cycle_mm,longest_diameter_inter_regimen_mm,longest_diameter_before_surgery_mm
A,45,Caucasian,0,0,60,55,0,0
B,45,Asian,0,0,60,60,60,50
C,45,,0,0,60,,,
"""


@pytest.mark.parametrize("name", [INTER, FIRST])
def test_the_visit_before_surgery_and_later_ones_are_forbidden(name: str) -> None:
    task = read_task(MODELS / name / "response" / "task.yaml")
    seen = {column for entry in task.inputs for column in entry.columns}
    later = {"longest_diameter_before_surgery_mm", "residual_cancer_burden_class", "recurrence"}
    if name == FIRST:
        later.add("longest_diameter_inter_regimen_mm")
    assert later <= set(task.forbidden_columns)
    assert not seen & set(task.forbidden_columns)


@pytest.mark.parametrize("name", [INTER, FIRST])
def test_the_card_says_whether_the_change_adds_anything(name: str) -> None:
    evaluation = Evaluation.model_validate_json((MODELS / name / "response" / "evaluation.json").read_bytes())
    assert evaluation.evidence is not None
    with_change = evaluation.evidence.candidates[1]
    assert with_change.gain is not None
    card = (MODELS / name / "model-card.md").read_text(encoding="utf-8")
    assert f"AUC of With the change minus AUC of Without the change: {with_change.gain.value:+.3f}" in card
    if name == FIRST:
        assert with_change.gain.low <= 0
        assert not any(calls.allowed for calls in evaluation.calls)


def test_a_table_is_predicted_as_it_is(tmp_path: Path) -> None:
    table, out = tmp_path / "table.csv", tmp_path / "out.csv"
    table.write_text(TABLE, encoding="utf-8")
    command = ["predict", "--model", INTER, "--models-dir", str(MODELS), "--table", str(table), "--out", str(out)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert "not looked at: race, longest_diameter_after_first_cycle_mm, longest_diameter_before_surgery_mm" in " ".join(
        result.output.split()
    )
    with out.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == ["A", "B", "C"]
    assert float(rows[0]["probability"]) > float(rows[1]["probability"])  # gone against unchanged
    assert rows[2]["probability"] == ""  # nothing is guessed
