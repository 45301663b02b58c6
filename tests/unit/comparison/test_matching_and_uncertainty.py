"""Lesions of two scans put together, and what of a change is measurement error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.comparison.change_uncertainty import (
    DIAMETER_CT,
    VOLUME_CT,
    Measured,
    category_stability,
    change_interval,
)
from oncoresponse.comparison.lesion_matching import match_lesions
from oncoresponse.errors import InvalidRequest

SPACING = (3.0, 1.0, 1.0)


def box(k, j, i, size=(2, 6, 6)):
    mask = np.zeros((20, 60, 60), bool)
    mask[k : k + size[0], j : j + size[1], i : i + size[2]] = True
    return mask


EARLIER = {
    "stays": box(2, 5, 5),
    "splits": box(2, 25, 5, (2, 6, 20)),
    "left": box(8, 5, 5),
    "right": box(8, 5, 15),
    "moves": box(14, 5, 5),
    "goes": box(14, 50, 50),
}
LATER = {
    "a": box(2, 5, 8),
    "b": box(2, 25, 5),
    "c": box(2, 25, 19),
    "d": box(8, 5, 8, (2, 6, 10)),
    "e": box(14, 5, 20),
    "f": box(2, 50, 50),
}


def test_pairs_split_merged_new_and_vanished_are_named():
    found = {match.earlier + match.later: match for match in match_lesions(EARLIER, LATER, SPACING)}
    assert {names: match.kind for names, match in found.items()} == {
        ("stays", "a"): "pair",
        ("splits", "b", "c"): "split",
        ("left", "right", "d"): "merged",
        ("moves", "e"): "pair",
        ("goes",): "vanished",
        ("f",): "new",
    }
    assert found["stays", "a"].score == pytest.approx(0.5)  # three of six columns
    moved = found["moves", "e"]
    assert moved.distance_mm == pytest.approx(10.0)  # column 10 to column 20
    assert moved.score == pytest.approx(0.5 * (1 - 10 / 15))
    nearer = match_lesions(EARLIER, LATER, SPACING, largest_distance_mm=9.9)
    assert {match.kind for match in nearer if "moves" in match.earlier} == {"vanished"}


@settings(max_examples=20)
@given(st.permutations(list(EARLIER)), st.permutations(list(LATER)))
def test_the_order_of_lesions_does_not_matter(earlier, later):
    expected = set(match_lesions(EARLIER, LATER, SPACING))
    assert set(match_lesions({n: EARLIER[n] for n in earlier}, {n: LATER[n] for n in later}, SPACING)) == expected


def test_masks_that_fit_nothing_are_refused():
    for earlier, spacing in (({"a": np.zeros((20, 60, 60), bool)}, SPACING), ({"a": box(1, 1, 1)[1:]}, SPACING)):
        with pytest.raises(InvalidRequest):
            match_lesions(earlier, LATER, spacing)
    with pytest.raises(InvalidRequest):
        match_lesions(EARLIER, LATER, (1.0, 1.0))


def exact(value):
    return Measured(value=value, low=value, high=value)


@pytest.mark.parametrize(
    ("limits", "percent", "beyond"),
    # A change is beyond where it leaves the limits that the repeated scans of an unchanged tumor had.
    [
        (DIAMETER_CT, -7.2, False),
        (DIAMETER_CT, -7.4, True),
        (DIAMETER_CT, 6.1, False),
        (DIAMETER_CT, 6.3, True),
        (VOLUME_CT, -12.0, False),
        (VOLUME_CT, -12.2, True),
        (VOLUME_CT, 13.3, False),
        (VOLUME_CT, 13.5, True),
    ],
)
def test_changes_of_a_same_day_repeat_are_no_change(limits, percent, beyond):
    change = change_interval(exact(50), exact(50 * (1 + percent / 100)), limits)
    assert change.beyond_measurement_error is beyond
    assert change.sentence.startswith("Changed" if beyond else "No change beyond measurement error")


def test_interval_against_a_simulation():
    """Both contours and both scans drawn as the intervals say: 95 % of the changes lie within."""
    random = np.random.default_rng(20261126)
    earlier, later = Measured(value=40, low=38, high=42.1), Measured(value=30, low=27, high=33.3)
    change = change_interval(earlier, later, VOLUME_CT)

    def draw(low, high, level_quantile, size=200_000):
        z = random.standard_normal(size)
        return np.where(z < 0, -z * np.log(low) / level_quantile, z * np.log(high) / level_quantile)

    log_ratio = (
        np.log(30 / 40)
        + draw(27 / 30, 33.3 / 30, 1.6449)
        - draw(38 / 40, 42.1 / 40, 1.6449)
        - draw(1 - 0.121, 1.134, 1.96)
    )
    low, high = 100 * np.expm1(np.quantile(log_ratio, [0.025, 0.975]))
    assert (change.low_percent, change.high_percent) == pytest.approx((low, high), abs=1.0)
    assert change.contour_low_percent > change.low_percent
    assert change.contour_high_percent < change.high_percent


@pytest.mark.parametrize(
    ("later", "contour", "hangs", "word"),
    [(28, 0.08, True, "contour"), (28.2, 0.001, False, "measurement error"), (20, 0.05, False, "holds")],
)
def test_a_category_that_hangs_on_the_contour_says_so(later, contour, hangs, word):
    measured = Measured(value=later, low=later * (1 - contour), high=later * (1 + contour))
    change = change_interval(exact(40), measured, DIAMETER_CT)
    found = category_stability(change, lambda percent: "PR" if percent <= -30 else "SD")
    assert found.hangs_on_contour is hangs
    assert word in found.sentence


@given(st.floats(1, 300), st.floats(0.2, 5), st.floats(0.001, 1000))
def test_a_change_does_not_depend_on_the_unit(size, ratio, unit):
    first, second = (
        change_interval(exact(size * scale), exact(size * ratio * scale), DIAMETER_CT) for scale in (1.0, unit)
    )
    assert first.low_percent == pytest.approx(second.low_percent, abs=1e-6)
    assert first.high_percent == pytest.approx(second.high_percent, abs=1e-6)
