"""Figures on the pages of the documentation, written by the training command so that they cannot differ from it."""

from __future__ import annotations

from pathlib import Path

from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.response.training.evaluation_tables import overview_table, summary_tables
from oncoresponse.response.training.training import TrainedResponse

_EVALUATION, _LIMITS, _FIRST_PAGE = "response.md", "known-limits.md", "README.md"


def begin_mark(model: str) -> str:
    """Before what is written of a model."""
    return f"<!-- written by oncoresponse train response, {model}: begin -->"


def end_mark(model: str) -> str:
    """After what is written of a model."""
    return f"<!-- written by oncoresponse train response, {model}: end -->"


def write_documentation(trained: TrainedResponse, model: str, docs_directory: Path) -> None:
    """Write between the marks of the model: its tables in ``response.md``, and, where these pages have the marks, its
    limits in ``known-limits.md`` and its figures in the ``README.md`` beside the folder.

    Raises:
        TrainingDataInvalid: ``response.md`` lacks the marks.
    """
    pages = {
        docs_directory / _EVALUATION: summary_tables(trained.evaluation, trained.document),
        docs_directory / _LIMITS: "\n".join(f"- {text}" for text in trained.document.limits) + "\n",
        docs_directory.parent / _FIRST_PAGE: overview_table(trained.evaluation, model) + "\n",
    }
    begin, end = begin_mark(model), end_mark(model)
    for page, written in pages.items():
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        if begin not in text or end not in text:
            if page.name == _EVALUATION:
                raise TrainingDataInvalid(
                    f"response.md lacks the marks between which the evaluation of {model} is written. Add them, or "
                    "leave --docs out."
                )
            continue
        before, after = text.split(begin)[0], text.split(end)[1]
        page.write_text(f"{before}{begin}\n\n{written}\n{end}{after}", encoding="utf-8")
