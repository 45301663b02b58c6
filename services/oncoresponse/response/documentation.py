"""The evaluation in ``docs/response.md``, written by the training command so that it cannot differ from it."""

from __future__ import annotations

from pathlib import Path

from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.response.evaluation_tables import summary_tables
from oncoresponse.response.training import TrainedResponse


def begin_mark(model: str) -> str:
    """Before the tables of a model."""
    return f"<!-- written by oncoresponse train response, {model}: begin -->"


def end_mark(model: str) -> str:
    """After the tables of a model."""
    return f"<!-- written by oncoresponse train response, {model}: end -->"


def write_documentation(trained: TrainedResponse, model: str, docs_directory: Path) -> None:
    """Write the tables between the marks of the model in ``response.md``.

    Raises:
        TrainingDataInvalid: ``response.md`` lacks the marks.
    """
    page = docs_directory / "response.md"
    text = page.read_text(encoding="utf-8")
    begin, end = begin_mark(model), end_mark(model)
    if begin not in text or end not in text:
        raise TrainingDataInvalid(
            f"response.md lacks the marks between which the evaluation of {model} is written. Add them, or leave "
            "--docs out."
        )
    before, after = text.split(begin)[0], text.split(end)[1]
    tables = summary_tables(trained.evaluation, trained.document)
    page.write_text(f"{before}{begin}\n\n{tables}\n{end}{after}", encoding="utf-8")
