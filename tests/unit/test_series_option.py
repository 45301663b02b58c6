"""``--series`` of ``oncoresponse assess``, and the command that tells what to write there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from oncoresponse.cli.assess import selected_series
from oncoresponse.cli.main import app
from oncoresponse.errors import ConfigurationError
from typer.testing import CliRunner


def test_a_series_is_a_uid_or_a_uid_for_an_input() -> None:
    selected = selected_series(["1.2.3", "CT=1.2.4"])
    assert [(item.input_role, item.series_instance_uid) for item in selected] == [("", "1.2.3"), ("CT", "1.2.4")]


@pytest.mark.parametrize("item", ["", "PT=", "PT", "PET 2", "1.2.3=PT", "1.2.3,1.2.4", "1." * 33])
def test_what_is_no_uid_is_refused(item: str) -> None:
    with pytest.raises(ConfigurationError, match="Series Instance UID"):
        selected_series([item])


def test_the_series_of_a_folder_are_listed_as_messages_number_them(
    write_series: Callable[..., Any], tmp_path: Path
) -> None:
    kernels = {"one": "B30f", "other": "Doe^Jane"}
    written = {
        kernel: write_series(series=name, attributes={"ConvolutionKernel": kernel}, directory=tmp_path)
        for name, kernel in kernels.items()
    }
    result = CliRunner().invoke(app, ["series", str(tmp_path)], catch_exceptions=False)
    rows = [line.split() for line in result.output.splitlines()[1:] if line.startswith("CT")]
    assert "ConvolutionKernel (" in result.output.splitlines()[-1]
    ordered = sorted(written, key=lambda kernel: written[kernel].series_instance_uid)
    assert [row[1] for row in rows] == ["1", "2"]
    assert [row[-1] for row in rows] == [written[kernel].series_instance_uid for kernel in ordered]
    assert "B30f" in result.output
    assert "Doe" not in result.output
