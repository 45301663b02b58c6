"""A quick trial: trained in a moment, marked in every word, and opened by nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from oncoresponse.cli.main import app
from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.model.folder import ModelFolder
from typer.testing import CliRunner

from .conftest import TrainingFiles


@pytest.mark.slow
def test_a_quick_trial_leaves_the_model_alone_and_is_not_for_use(
    write_training_files: Callable[[Path], TrainingFiles], tmp_path: Path
) -> None:
    files, run = write_training_files(tmp_path), tmp_path / "run"
    before = {path: path.read_bytes() for path in files.model.rglob("*") if path.is_file()}
    arguments = ["train", "response", "--quick", "--features", str(files.features), "--clinical", str(files.clinical)]
    done = CliRunner().invoke(app, [*arguments, "--model", str(files.model), "--run", str(run)])
    assert done.exit_code == 0, done.output
    assert "the model is not for use" in done.stdout
    assert "sealed" not in done.stdout
    assert {path: path.read_bytes() for path in files.model.rglob("*") if path.is_file()} == before
    trial = run / "quick" / "sts-petct"
    card = (trial / "model-card.md").read_text()
    assert card.startswith("# QUICK TRIAL, not for use")
    assert "its figures say little, and the model is not for use" in card
    with pytest.raises(ModelFolderInvalid):
        ModelFolder.open(trial)
    # No terminal here: lines with the time, on standard error and in the log.
    log = (run / "quick" / "training.log").read_text()
    for text in (log, done.stderr):
        assert "nested cross-validation: 100 %, done in" in text
    assert logging.getLogger("oncoresponse").handlers == []
