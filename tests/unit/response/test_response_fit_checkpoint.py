"""A training run that was killed goes on where it was, and what comes out is the same to the byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from oncoresponse.response import pipeline
from oncoresponse.response.fit_checkpoint import FITS_FILE, FitCheckpoint, keep_fits
from oncoresponse.response.training.training import TrainedResponse, train_response

from .conftest import TrainingFiles


class Killed(BaseException):
    """Stands for the signal: no handler of ours catches it."""


def _train(files: TrainingFiles, run: Path, progress: Callable[[str, float], None]) -> TrainedResponse:
    with keep_fits(run):
        return train_response(
            files.task,
            files.features,
            files.clinical,
            files.model,
            run,
            features_automatic_csv=files.features_automatic,
            progress=progress,
        )


@pytest.mark.slow
def test_a_killed_training_goes_on_and_gives_the_same_bytes(
    trained: TrainedResponse,
    write_training_files: Callable[[Path], TrainingFiles],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files, run = write_training_files(tmp_path), tmp_path / "run"

    def kill_in_simulation(stage: str, _fraction: float) -> None:
        if stage == "interval simulation":
            raise Killed

    with pytest.raises(Killed):
        _train(files, run, kill_in_simulation)
    kept = FitCheckpoint(run / FITS_FILE)
    assert len(kept) > 8  # two repeats of four folds are behind it
    kept.close()

    fits = []
    monkeypatch.setattr(
        pipeline, "_fit_pipeline", lambda *given, really=pipeline._fit_pipeline: (fits.append(1), really(*given))[1]
    )
    _train(files, run, lambda _stage, _fraction: None)
    assert len(fits) < 0.7 * _fits_of_a_whole_run(files, tmp_path / "whole", fits)
    assert not (run / FITS_FILE).exists()
    for name in ("booster.ubj", "ensemble.zip", "evaluation.json", "response.json", "out-of-fold.csv"):
        assert (run / name).read_bytes() == (trained.run_directory / name).read_bytes(), name


def _fits_of_a_whole_run(files: TrainingFiles, run: Path, fits: list[int]) -> int:
    before = len(fits)
    _train(files, run, lambda _stage, _fraction: None)
    return len(fits) - before


def test_a_file_that_is_no_database_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / FITS_FILE).write_bytes(b"not a database, but long enough to be looked at as one" * 100)
    with keep_fits(tmp_path) as kept:
        assert len(kept) == 0
        kept.keep("a", b"fit")
        assert kept.get("a") == b"fit"
