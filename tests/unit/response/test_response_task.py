from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.response.task import ResponseInput, ResponseTask, read_task
from pydantic import ValidationError

REPOSITORY = Path(__file__).parents[3]
SHIPPED = REPOSITORY / "models" / "sts-petct" / "response" / "task.yaml"


@pytest.mark.parametrize("name", ["treatment", "Treatment", "status", "first_failure", "patient_id"])
def test_an_input_known_after_the_scan_is_refused(
    name: str, task_fields: Callable[..., dict[str, object]], tmp_path: Path
) -> None:
    fields = task_fields(1)
    fields["inputs"][0]["name"] = name
    fields["baseline_inputs"] = [name]
    path = tmp_path / "task.yaml"
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    with pytest.raises(TrainingDataInvalid, match=f"'{name}'"):
        read_task(path)


@pytest.mark.parametrize("column", ["treatment", "status", "lung_metastasis", "days_diagnosis_to_first_failure"])
def test_the_shipped_task_forbids_what_happened_after_the_scan(column: str) -> None:
    task = read_task(SHIPPED)
    assert column in task.forbidden_columns
    assert {"STS_019", "STS_032"} <= set(task.held_out_patients)
    with pytest.raises(ValidationError, match=column):
        ResponseTask.model_validate(
            task.model_dump()
            | {"inputs": [task.inputs[0].model_dump() | {"name": column}], "baseline_inputs": [column]}
        )


def test_an_unknown_key_is_refused(task_fields: Callable[..., dict[str, object]], tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(yaml.safe_dump(task_fields(learning_rat=1)), encoding="utf-8")
    with pytest.raises(TrainingDataInvalid, match="learning_rat"):
        read_task(path)


@pytest.mark.parametrize("content", ["{", "- 1", "a: b"])
def test_a_file_that_is_no_task_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TrainingDataInvalid):
        read_task(path)


def test_an_absent_task_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataInvalid, match="cannot be read"):
        read_task(tmp_path / "task.yaml")


def test_a_logarithm_needs_a_positive_range() -> None:
    with pytest.raises(ValidationError, match="above 0"):
        ResponseInput(name="a", title="A", unit="ml", transform="log", minimum=0, maximum=1)


def test_a_baseline_input_must_be_an_input(make_task: Callable[..., ResponseTask]) -> None:
    with pytest.raises(ValidationError, match="Baseline"):
        make_task(baseline_inputs=["m9"])
