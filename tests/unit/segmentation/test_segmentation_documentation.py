"""The page shows the evaluation that ships, and nothing else."""

from pathlib import Path

import pytest
from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.segmentation.training.documentation import BEGIN, END, evaluation_tables, write_documentation

REPOSITORY = Path(__file__).parents[3]
SEGMENTATION = REPOSITORY / "models" / "sts-petct" / "segmentation"


@pytest.fixture
def run_directory(tmp_path):
    for name in ("cross-validation.png", "cross-validation-lowest-dice.png"):
        (tmp_path / name).write_bytes(b"\x89PNG")
    return tmp_path


def test_the_page_in_the_repository_shows_the_shipped_evaluation():
    page = (REPOSITORY / "docs" / "segmentation.md").read_text(encoding="utf-8")
    assert page.split(BEGIN)[1].split(END)[0].strip() == evaluation_tables(SEGMENTATION).strip()


def test_tables_are_written_between_the_marks(run_directory, tmp_path):
    page = tmp_path / "segmentation.md"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    write_documentation(SEGMENTATION, run_directory, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "stale" not in text
    assert "STS_019, STS_032" in text
    assert (tmp_path / "images" / "segmentation-cross-validation.png").is_file()


def test_a_page_without_marks_is_refused(run_directory, tmp_path):
    (tmp_path / "segmentation.md").write_text("nothing", encoding="utf-8")
    with pytest.raises(TrainingDataInvalid, match="marks"):
        write_documentation(SEGMENTATION, run_directory, tmp_path)
