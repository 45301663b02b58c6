from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from oncoresponse.cli.main import app
from oncoresponse.cohort.contour_measures import measure_contour
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.study import read_study
from oncoresponse.errors import AmbiguousSeries, ContourNotFound, MaskTouchesBorder, SeriesNotFound
from typer.testing import CliRunner

Write = Callable[..., object]


@pytest.fixture
def study(write_series: Write, write_contour: Write, tmp_path: Path) -> Path:
    """A sphere of 15 mm on an MR of 0.8 x 0.8 x 2.5 mm."""
    series = write_series(
        modality="MR", stored=np.zeros((20, 60, 60)), spacing_mm=(0.8, 0.8, 2.5), study="breast", directory=tmp_path
    )
    write_contour(series, 15.0, tmp_path / "contour.dcm")
    return tmp_path


def test_a_sphere_has_its_volume_and_its_extent(study: Path) -> None:
    found = measure_contour(read_study(study), "MR")
    assert found.volume_ml == pytest.approx(4 / 3 * np.pi * 1.5**3, rel=0.03)
    # Slice centers at odd multiples of 1.25 mm: the sphere reaches six on each side.
    assert found.slices == 12
    assert found.slice_extent_mm == pytest.approx(30.0)


def test_the_command_names_the_inputs_of_the_model(study: Path) -> None:
    shown = CliRunner().invoke(app, ["measure-contour", str(study), "--modality", "MR"]).stdout
    assert "tumor_slice_extent_mm  30.0000  (12 slices)" in shown
    assert "tumor_volume_ml" in shown
    assert "not shown to be the functional tumor volume" in shown


def test_what_cannot_be_measured_is_refused(study: Path, write_series: Write, tmp_path: Path) -> None:
    with pytest.raises(SeriesNotFound):
        measure_contour(read_study(study), "CT")
    with pytest.raises(ContourNotFound):
        measure_contour(read_study(study), "MR", contour=ContourRequest(structure_name="lymph node"))
    (tmp_path / "second").mkdir()
    late = write_series(modality="MR", shape=(20, 60, 60), study="breast", series="late", directory=tmp_path / "second")
    with pytest.raises(AmbiguousSeries):
        measure_contour(read_study(study), "MR")
    first = next(
        one.series_instance_uid
        for one in read_study(study).series
        if one.series_instance_uid != late.series_instance_uid
    )
    assert measure_contour(read_study(study), "MR", series_instance_uid=first).slices == 12


def test_a_contour_that_reaches_the_border_is_measured_as_at_least(
    write_series: Write, write_contour: Write, tmp_path: Path
) -> None:
    series = write_series(
        modality="MR", stored=np.zeros((12, 60, 60)), spacing_mm=(0.8, 0.8, 2.5), study="breast", directory=tmp_path
    )
    write_contour(series, 15.0, tmp_path / "contour.dcm")
    found = measure_contour(read_study(tmp_path), "MR")
    assert 0 < found.border_share < 0.1
    assert found.volume_high_ml is not None
    assert found.volume_ml < found.volume_high_ml
    assert found.slice_extent_high_mm is not None
    assert found.slice_extent_mm < found.slice_extent_high_mm
    shown = CliRunner().invoke(app, ["measure-contour", str(tmp_path), "--modality", "MR"]).stdout
    assert "tumor_slice_extent_mm  at least 30.0000  (12 slices)" in shown
    assert "80 % have as a whole at most" in " ".join(shown.split())
    assert f"tumor_volume_ml_high        {found.volume_high_ml:.4f}" in shown


def test_a_contour_mostly_beyond_the_images_is_refused(
    write_series: Write, write_contour: Write, tmp_path: Path
) -> None:
    series = write_series(
        modality="MR", stored=np.zeros((4, 60, 60)), spacing_mm=(0.8, 0.8, 2.5), study="breast", directory=tmp_path
    )
    write_contour(series, 15.0, tmp_path / "contour.dcm")
    with pytest.raises(MaskTouchesBorder):
        measure_contour(read_study(tmp_path), "MR")
