"""Either the earlier result or the new one, whole; never files of both, never anybody else's."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from oncoresponse.cli.output_folder import output_folder, require_writable_folder, written_whole
from oncoresponse.errors import ConfigurationError


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def earlier(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    write(folder, report_json="old", mask_nrrd="old", timings_json='{"stage_seconds": {}}', notes_txt="theirs")
    return folder


def test_the_new_result_takes_the_place_of_the_whole_earlier_one(earlier):
    with output_folder(earlier) as folder:
        assert folder.had_result
        write(folder.incomplete, report_json="new", timings_json="{}")
        assert "old" in content_of_files(earlier)
        assert [path.name for path in folder.complete()] == ["report.json", "timings.json"]
    assert content(earlier) == {"report.json": "new", "timings.json": "{}", "notes.txt": "theirs"}


def content_of_files(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.iterdir() if path.is_file()]


def test_a_failure_while_the_files_are_moved_puts_the_earlier_result_back(earlier):
    before = content(earlier)
    with pytest.raises(OSError), output_folder(earlier) as folder:
        write(folder.incomplete, report_json="new", zzz_json="new")
        # A folder where a file should go: the second move fails.
        (earlier / "zzz.json").mkdir()
        (earlier / "zzz.json" / "file").touch()
        folder.complete()
    (earlier / "zzz.json" / "file").unlink()
    (earlier / "zzz.json").rmdir()
    assert content(earlier) == before


def test_a_signal_while_the_files_are_moved_waits_for_the_end(earlier, monkeypatch):
    arrived = []
    former = signal.signal(signal.SIGTERM, lambda *_: arrived.append(content(earlier)))
    move = Path.rename

    def move_and_interrupt(self: Path, target: Path) -> Path:
        if self.name == "report.json":
            os.kill(os.getpid(), signal.SIGTERM)
        return move(self, target)

    monkeypatch.setattr(Path, "rename", move_and_interrupt)
    try:
        with output_folder(earlier) as folder:
            write(folder.incomplete, report_json="new")
            folder.complete()
    finally:
        signal.signal(signal.SIGTERM, former)
    assert [state["report.json"] for state in arrived] == ["new"] * len(arrived)
    assert arrived


def test_folders_made_for_a_result_that_did_not_come_about_go(tmp_path):
    with pytest.raises(RuntimeError), output_folder(tmp_path / "a" / "b"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "table.csv").write_text("old")
    with pytest.raises(RuntimeError), written_whole(tmp_path / "table.csv") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert content(tmp_path) == {"table.csv": "old"}
    with written_whole(tmp_path / "table.csv") as partial:
        partial.write_text("new")
    assert content(tmp_path) == {"table.csv": "new"}


def test_a_folder_that_cannot_be_made_is_said_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="Not a directory"):
        require_writable_folder(tmp_path / "file" / "docs")
    with (
        pytest.raises(ConfigurationError, match="lies in the folder of the study"),
        output_folder(tmp_path / "study" / "out", study=tmp_path / "study"),
    ):
        pass
