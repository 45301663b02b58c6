"""``oncoradiomics robustness``: ICC against published values, and what the variants of a contour are."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from oncoradiomics.command_line import app
from oncoradiomics.errors import ExtractionError
from oncoradiomics.robustness import COLUMNS, contour_variants, intraclass_correlation, robust_features
from typer.testing import CliRunner


def test_icc_of_shrout_and_fleiss():
    """The example of Shrout and Fleiss 1979, table 2: six targets, four judges, ICC(1,1) = 0.17."""
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    icc, low = intraclass_correlation(np.array(ratings, float))
    assert icc == pytest.approx(0.17, abs=0.005)
    # The interval that R's psych::ICC gives for the same table.
    assert low == pytest.approx(-0.133, abs=0.001)
    assert intraclass_correlation(np.array([[1.0, 1.0], [3.0, 3.0]])) == (1.0, 1.0)
    assert np.isnan(intraclass_correlation(np.ones((1, 4)))).all()


def test_contours_differ_by_about_the_deviation_and_keep_the_lesion():
    k, j, i = np.meshgrid(*(np.arange(40) - 20,) * 3, indexing="ij")
    mask = sitk.GetImageFromArray((k**2 + j**2 + i**2 < 12**2).astype(np.uint8) * 3)
    mask.SetSpacing((1.0, 1.0, 1.0))
    given, *others = (sitk.GetArrayFromImage(m) > 0 for m in contour_variants(mask, 3, 6, 1.0, seed=4))
    assert np.array_equal(given, sitk.GetArrayViewFromImage(mask) == 3)
    radii = [np.cbrt(3 * other.sum() / (4 * np.pi)) for other in others]
    assert np.mean(radii) == pytest.approx(12, abs=0.7)
    for other in others:
        assert not np.array_equal(other, given)
        dice = 2 * (other & given).sum() / (other.sum() + given.sum())
        assert 0.8 < dice < 0.99
    again = sitk.GetArrayFromImage(contour_variants(mask, 3, 6, 1.0, seed=4)[1]) > 0
    assert np.array_equal(again, others[0])


def test_the_command_writes_a_table_that_training_can_filter_by(tmp_path):
    data = tmp_path / "cohort"
    random = np.random.default_rng(5)
    k, j, i = np.meshgrid(*(np.arange(24) - 12,) * 3, indexing="ij")
    for number, radius in enumerate((4.0, 6.0, 8.0)):
        folder = data / f"P{number}"
        folder.mkdir(parents=True)
        inside = k**2 + j**2 + i**2 < radius**2
        uptake = inside * (2.0 + radius) + random.random(inside.shape)
        for name, array in (("image", uptake.astype(np.float32)), ("mask", inside.astype(np.uint8))):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((4.0, 4.0, 4.0))
            sitk.WriteImage(image, str(folder / f"{name}.nrrd"))
    shutil.copytree(data / "P2", data / "P3")
    (data / "P3" / "mask.nrrd").write_bytes(b"no image")
    settings = tmp_path / "settings.yaml"
    settings.write_text("setting: {binWidth: 0.5}\nfeatureClass: {shape: [MeshVolume], glcm: [Idm]}\n")
    output = tmp_path / "robustness.csv"
    arguments = ["robustness", str(data), "--settings", str(settings), "--output", str(output), "--processes", "1"]
    arguments += ["--image", "image.nrrd", "--mask", "mask.nrrd", "--contours", "2", "--quantity", "g/mL{SUVbw}"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1, result.output
    assert "P3: FEATURE_EXTRACTION_FAILED" in result.output
    with output.open(newline="", encoding="utf-8") as file:
        rows = {row["feature"]: row for row in csv.DictReader(file)}
    assert {"original_shape_MeshVolume", "original_glcm_Idm", "suv_max", "lesion_volume"} <= set(rows)
    # Measures are taken on the image's own grid.
    assert float(rows["lesion_volume"]["icc_resampling"]) == 1
    assert all(row["icc"] == min(row["icc_contour"], row["icc_resampling"], key=float) for row in rows.values())
    volume = rows["original_shape_MeshVolume"]
    assert tuple(volume) == COLUMNS
    assert (volume["lesions"], volume["variants"]) == ("3", "6")
    assert float(volume["icc_resampling"]) > 0.95
    assert float(volume["icc_resampling_low"]) < float(volume["icc_resampling"])
    assert "original_shape_MeshVolume" in robust_features(output, 0.5)
    assert robust_features(output, 1.1) == frozenset()
    output.write_text("a,b\n1,2\n")
    with pytest.raises(ExtractionError, match="other columns"):
        robust_features(output)
