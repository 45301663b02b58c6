from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.response.task import AuditGroup, Exclusion, ResponseInput, ResponseTask, read_task
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


@pytest.mark.parametrize("name", ["days_failure", "days_follow_up"])
def test_a_time_of_the_outcome_is_no_input(name: str, make_task: Callable[..., ResponseTask]) -> None:
    declared = {"failure_column": "days_failure", "follow_up_column": "days_follow_up"}
    task = make_task(follow_up=declared | {"horizon": 1.0, "unit": "d"}).model_dump()
    task["inputs"][0]["name"] = name
    task["baseline_inputs"] = [name]
    with pytest.raises(ValidationError, match=name):
        ResponseTask.model_validate(task)


@pytest.mark.parametrize(
    ("rule", "cell", "left_out"),
    [
        ({"when": "empty"}, " ", True),
        ({"when": "empty"}, "3", False),
        ({"when": "below", "value": 18}, "17.5", True),
        ({"when": "below", "value": 18}, "18", False),
        ({"when": "below", "value": 18}, "", False),
        ({"when": "above", "value": 90}, "91", True),
        ({"when": "equals", "value": "Other"}, "Other", True),
        ({"when": "equals", "value": 2}, "2", True),
    ],
)
def test_an_exclusion_applies_as_it_says(rule: dict[str, object], cell: str, left_out: bool) -> None:
    assert Exclusion.model_validate({"column": "c", "reason": "r", **rule}).applies(cell) is left_out


@pytest.mark.parametrize("rule", [{"when": "below"}, {"when": "below", "value": "x"}, {"when": "empty", "value": 1}])
def test_an_exclusion_that_cannot_be_decided_is_refused(rule: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="Exclusion"):
        Exclusion.model_validate({"column": "c", "reason": "r", **rule})


@pytest.mark.parametrize(
    ("cell", "name"),
    [("39.9", "below 40 a"), ("40", "40 to 60 a"), ("60", "60 a or more"), ("", "not recorded")],
)
def test_a_number_falls_into_its_band(cell: str, name: str) -> None:
    assert AuditGroup(title="Age", column="age", bands=(40, 60), unit="a").subgroup(cell) == name


@pytest.mark.parametrize(
    ("name", "unit", "source", "group"),
    [
        ("lesion_volume", "ml", "features", "size"),
        ("suv_max", "g/mL", "features", "uptake"),
        ("original_firstorder_Mean", "g/mL", "features", "uptake"),
        ("original_firstorder_Mean", "HU", "features", "intensity"),
        ("mean_density", "HU", "features", "intensity"),
        ("mean_intensity", "[arb'U]", "features", "intensity"),
        ("original_glcm_JointEntropy", "1", "features", "heterogeneity"),
        ("original_shape_Sphericity", "1", "features", "shape"),
        ("age_years", "a", "clinical", "patient"),
    ],
)
def test_an_input_belongs_to_something_a_physician_knows(name: str, unit: str, source: str, group: str) -> None:
    entry = ResponseInput.model_validate(
        {"name": name, "title": name, "unit": unit, "source": source, "minimum": 0, "maximum": 1}
    )
    assert entry.physician_group == group


def test_both_shipped_tasks_declare_their_audit_and_shift() -> None:
    for name in ("sts-petct", "breast-nac"):
        task = read_task(REPOSITORY / "models" / name / "response" / "task.yaml")
        assert task.audit_groups
        assert task.shift is not None
        assert task.validation.permutations >= 100
    assert "race" in read_task(REPOSITORY / "models" / "breast-nac" / "response" / "task.yaml").forbidden_columns
