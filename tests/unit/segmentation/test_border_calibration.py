"""The bound of a tumor that the border cuts, shown right by cutting whole tumors."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.segmentation.border_interval import border_calibration, border_surface
from oncoresponse.segmentation.training.border_calibration import (
    CONTACTS,
    calibrate,
    coverage_left_out,
    fit_automatic_bands,
    fit_bands,
    mean_coverage,
    measure_cuts,
    write_border_tables,
)

pytestmark = pytest.mark.slow


def ellipsoid(random, spacing):
    radii = random.uniform(14, 30, 3) * np.array([1.6, 1, 1])
    steps = np.array(spacing)[::-1]
    size = np.ceil(2 * radii / steps).astype(int) + 5
    grid = (np.indices(size) - (size.reshape(3, 1, 1, 1) - 1) / 2) * steps.reshape(3, 1, 1, 1)
    image = sitk.GetImageFromArray((((grid / radii.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) <= 1).astype(np.uint8))
    image.SetSpacing(spacing)
    return image


@pytest.fixture(scope="module")
def cuts():
    """Cuts of twenty ellipsoids, and of twenty others."""
    random = np.random.default_rng(8)
    return [
        pd.DataFrame(
            [
                row
                for number in range(20)
                for row in measure_cuts(f"{group}{number}", "PET", ellipsoid(random, (4.0, 4.0, 4.0)), random)
            ]
        )
        for group in "ab"
    ]


def test_a_box_cut_in_half_has_twice_the_volume():
    box = np.zeros((14, 12, 12), np.uint8)
    box[2:12, 2:10, 2:10] = 1
    image = sitk.GetImageFromArray(box)
    image.SetSpacing((3.0, 3.0, 3.0))
    found = pd.DataFrame(measure_cuts("box", "PET", image, np.random.default_rng(1)))
    one_plane = found[(found["kind"] == "one plane") & (found["contact"] == "slice_ends")]
    # Ten slices: ten places from either side, of which the last takes nothing away.
    assert sorted(one_plane["volume"].round(6)) == sorted(round(10 / seen, 6) for seen in range(1, 11) for _ in "ab")
    half = one_plane[one_plane["volume"] == 2]
    np.testing.assert_allclose(half["slice_extent"], 2)
    np.testing.assert_allclose(half["share"], 64 / (64 + 64 + 4 * 8 * 5))


def test_the_bound_holds_the_whole_lesion_as_often_as_declared(cuts):
    """In every kind of border, for tumors that nothing was fitted on."""
    fitted, new = cuts
    bands = fit_bands(fitted)
    for contact in CONTACTS:
        for low, (high, factor, extent_factor, _) in zip(
            [0.0, *(b[0] for b in bands[contact])], bands[contact], strict=False
        ):
            judged = new[(new["contact"] == contact) & (new["share"] > low) & (new["share"] <= high)]
            low = high
            if judged["patient"].nunique() < 10:
                continue
            held = judged.assign(volume=judged["volume"] <= factor, extent=judged["slice_extent"] <= extent_factor)
            assert mean_coverage(held, "volume") >= 0.65, (contact, high)  # 0.8 less the chance of twenty tumors
            assert mean_coverage(held, "extent") >= 0.65, (contact, high)
    whole = coverage_left_out(fitted)
    assert mean_coverage(whole, "volume_held") == pytest.approx(0.82, abs=0.06)
    # What is seen alone is no bound: the truth lies above it in nearly all of the cuts.
    assert (fitted["volume"] <= 1.0).mean() < 0.2


def test_no_patient_judges_a_bound_that_was_fitted_on_them(cuts):
    fitted, _ = cuts
    strange = fitted[fitted["patient"] == "a0"].assign(volume=lambda rows: 50 * rows["volume"])
    held = coverage_left_out(pd.concat([fitted[fitted["patient"] != "a0"], strange]))
    assert held[held["patient"] == "a0"]["volume_held"].mean() == 0


def test_too_few_tumors_are_no_calibration():
    random = np.random.default_rng(2)
    few = {f"p{number}": {"PET": ellipsoid(random, (4.0, 4.0, 4.0))} for number in range(5)}
    with pytest.raises(TrainingDataInvalid, match="5 whole tumors are too few"):
        calibrate(few, 0, "synthetic", "")


def test_bounds_of_a_network_count_what_it_misses_at_the_border():
    random = np.random.default_rng(4)
    images = pd.DataFrame(
        {"patient": [f"p{row % 30}" for row in range(600)], "share": random.uniform(0.01, 0.1, 600), "weight": 1.0}
    ).assign(grid="PET", low=50.0, high=100.0, real=lambda rows: 100 * np.exp(random.uniform(-0.2, 1, len(rows))))
    (band,) = fit_automatic_bands(images)
    # exp(U(-0.2, 1)): 80 % lie below exp(0.76).
    assert band.volume_factor == pytest.approx(np.exp(0.8 * 1.2 - 0.2), rel=0.1)
    assert band.volume_coverage >= 0.78
    # An interval whose lower end is already too high is held by no factor, so the upper end has to make up for it.
    (wider,) = fit_automatic_bands(images.assign(low=np.where(np.arange(600) % 20 == 0, 400.0, 50.0)))
    assert wider.volume_factor > band.volume_factor


def test_the_shipped_calibration_holds_in_every_band_and_says_on_whom():
    known = border_calibration()
    assert known.level == 0.8
    assert known.patients == 34
    for contact in CONTACTS:
        bands = known.bands[contact]
        assert bands[-1].share_up_to == known.refuse_above
        for band in bands:
            assert band.volume_coverage >= known.level, (contact, band)
            assert band.slice_extent_coverage >= known.level, (contact, band)
            assert band.volume_factor <= known.largest_factor
        factors = [band.volume_factor for band in bands]
        assert factors == sorted(factors)
    assert known.automatic_bands[-1].share_up_to == known.automatic_refuse_above
    for band in known.automatic_bands:
        assert band.volume_coverage >= known.level, band
    assert known.band("slice_ends", known.refuse_above + 0.01) is None


def test_a_surface_with_a_hole_counts_the_hole():
    array = np.zeros((9, 9, 9), np.uint8)
    array[0:7, 1:8, 1:8] = 1
    array[3, 4, 4] = 0
    share, contact = border_surface(sitk.GetImageFromArray(array))
    assert contact == "slice_ends"
    assert share == pytest.approx(49 / (6 * 49 + 6))


def test_the_documented_tables_are_those_of_the_shipped_calibration(tmp_path):
    page = Path(__file__).parents[3] / "docs" / "segmentation.md"
    copy = tmp_path / "segmentation.md"
    copy.write_text(page.read_text())
    write_border_tables(border_calibration(), copy)
    assert copy.read_text() == page.read_text()
