from __future__ import annotations

from pathlib import Path

import pytest
from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.response.documentation import begin_mark, end_mark, write_documentation
from oncoresponse.response.training import TrainedResponse
from oncoresponse.response.validation import Evaluation

REPOSITORY = Path(__file__).parents[3]


def test_tables_are_written_between_the_marks(trained: TrainedResponse, tmp_path: Path) -> None:
    page = tmp_path / "response.md"
    begin, end = begin_mark("sts-petct"), end_mark("sts-petct")
    page.write_text(f"before\n{begin}\nstale figures\n{end}\nafter\n", encoding="utf-8")
    write_documentation(trained, "sts-petct", tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "stale figures" not in text
    assert trained.evaluation.booster.auc.text in text
    assert trained.document.booster_sha256 in text
    first = page.read_bytes()
    write_documentation(trained, "sts-petct", tmp_path)
    assert page.read_bytes() == first


def test_a_page_without_marks_is_refused(trained: TrainedResponse, tmp_path: Path) -> None:
    (tmp_path / "response.md").write_text("nothing", encoding="utf-8")
    with pytest.raises(TrainingDataInvalid, match="marks"):
        write_documentation(trained, "sts-petct", tmp_path)


@pytest.mark.parametrize("name", ["sts-petct", "breast-nac"])
def test_the_page_in_the_repository_shows_the_shipped_evaluation(name: str) -> None:
    evaluation = Evaluation.model_validate_json(
        (REPOSITORY / "models" / name / "response" / "evaluation.json").read_bytes()
    )
    text = (REPOSITORY / "docs" / "response.md").read_text(encoding="utf-8")
    shown = text.split(begin_mark(name))[1].split(end_mark(name))[0]
    for figure in (evaluation.booster.auc, evaluation.baseline.auc, evaluation.booster.calibration_slope):
        assert figure.text in shown
