"""What training says where there is no terminal."""

import io
import logging
import re

from oncoresponse.cli.line_progress import LineProgress, training_progress
from rich.console import Console


def test_lines_come_at_most_every_few_seconds_but_first_and_last_always(caplog):
    caplog.set_level(logging.INFO, "oncoresponse")
    with LineProgress(Console(file=io.StringIO()), seconds_between_lines=60) as bar:
        task = bar.add_task("fold 1 of 5", total=1000)
        for _ in range(1000):
            bar.advance(task)
        bar.update(task, completed=1000)
    assert [message.split(",")[0] for message in caplog.messages] == ["fold 1 of 5: 0 %", "fold 1 of 5: 100 %"]


def test_lines_say_how_far_and_how_long(caplog):
    caplog.set_level(logging.INFO, "oncoresponse")
    with LineProgress(Console(file=io.StringIO()), seconds_between_lines=0) as bar:
        task = bar.add_task("interval simulation", total=1.0)
        for done in (0.25, 0.5, 1.0):
            bar.update(task, completed=done)
    assert [message.split(":")[1].split(",")[0] for message in caplog.messages] == [" 0 %", " 25 %", " 50 %", " 100 %"]
    assert re.search(r"done in \d+ s$", caplog.messages[-1])


def test_the_log_of_the_run_has_the_time_and_is_closed(tmp_path, capsys):
    with training_progress(tmp_path / "run") as bar:
        bar.update(bar.add_task("permutation test", total=1.0), completed=1.0)
    with training_progress(tmp_path / "run") as bar:  # a run that goes on appends
        bar.update(bar.add_task("interval ensemble", total=1.0), completed=1.0)
    lines = (tmp_path / "run" / "training.log").read_text().splitlines()
    assert [line.split(" ", 2)[2].split(":")[0] for line in lines] == ["permutation test"] * 2 + [
        "interval ensemble"
    ] * 2
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", line) for line in lines)
    assert capsys.readouterr().err.splitlines() == lines
