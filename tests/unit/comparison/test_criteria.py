"""PERCIST, lean body mass, Choi and volume: the thresholds of the papers from both sides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oncoresponse.comparison import choi, percist, volume_response
from oncoresponse.comparison.answer import NOT_EVALUABLE
from oncoresponse.comparison.lean_body_mass import lean_body_mass_kg, sul_from_suv
from oncoresponse.errors import InvalidRequest

NE = NOT_EVALUABLE
LIVER = {"liver_mean_sul": 1.6, "liver_sd_sul": 0.2, "uptake_minutes": 60, "formula": "Janmahasatian"}


@pytest.mark.parametrize(
    ("before", "after", "changes", "expected"),
    [
        (10, 7.01, {}, "SMD"),
        (10, 7.0, {}, "PMR"),
        (2.8, 2.0, {}, "SMD"),  # 0.8, but 28.6 %
        (2.8, 1.96, {}, "PMR"),  # 30 % and 0.84
        (10, 12.99, {}, "SMD"),
        (10, 13.0, {}, "PMD"),
        (2.8, 3.65, {}, "PMD"),
        (2.8, 3.63, {}, "SMD"),
        (10, 5, {"new_lesions": True}, "PMD"),
        (10, 5, {"new_lesions": None}, NE),
        (10, 10, {"total_lesion_glycolysis": 174.9}, "SMD"),
        (10, 10, {"total_lesion_glycolysis": 175}, "PMD"),
        (10, 9.9, {"total_lesion_glycolysis": 175}, "SMD"),  # more extent, but uptake fell
        (10, 1.59, {"as_background": True}, "CMR"),
        (10, 1.6, {"as_background": True}, "PMR"),  # not below the liver
        (10, 1.59, {}, "PMR"),  # nobody said that it is as background
        (2.79, 1.0, {}, NE),  # 1.5 x 1.6 + 2 x 0.2 = 2.8
        (10, 5, {"liver_mean_sul": None}, NE),
        (10, 5, {"liver_mean_sul": 1.9}, "PMR"),
        (10, 5, {"liver_mean_sul": 1.91}, NE),  # 0.3
        (10, 5, {"uptake_minutes": 75}, "PMR"),
        (10, 5, {"uptake_minutes": 76}, NE),
        (10, 5, {"formula": "James"}, NE),
    ],
)
def test_percist(before, after, changes, expected):
    baseline = percist.Scan(sul_peak=before, total_lesion_glycolysis=100, **LIVER)
    later = percist.Scan(sul_peak=after, **({"new_lesions": False} | LIVER | changes))
    answer = percist.assess(baseline, later)
    assert (answer.category, answer.proposed) == (expected, True), answer.sentence


@pytest.mark.parametrize(("liver", "expected"), [(0.96, "PMR"), (0.95, NE)])
def test_the_liver_also_agrees_within_20_percent(liver, expected):
    baseline = percist.Scan(sul_peak=10, **(LIVER | {"liver_mean_sul": 1.2}))
    later = percist.Scan(sul_peak=5, new_lesions=False, **(LIVER | {"liver_mean_sul": liver}))
    assert percist.assess(baseline, later).category == expected


@pytest.mark.parametrize(
    ("formula", "sex", "weight", "height", "expected"),
    [
        ("James", "F", 175, 1.60, 10.2),  # where it breaks down
        ("James", "M", 80, 1.80, 62.7),
        ("Janmahasatian", "M", 80, 1.80, 61.7),
        ("Janmahasatian", "F", 60, 1.65, 39.3),
        ("Janmahasatian", "F", 175, 1.60, 63.7),
    ],
)
def test_lean_body_mass(formula, sex, weight, height, expected):
    mass = lean_body_mass_kg(formula, sex, weight, height)
    assert mass == pytest.approx(expected, abs=0.06)
    assert sul_from_suv(5.0, weight, mass) == pytest.approx(5.0 * mass / weight)


@pytest.mark.parametrize(
    "arguments", [("James", "F", 200, 1.50), ("Boer", "F", 60, 1.6), ("James", "O", 60, 1.6), ("James", "F", 60, 165)]
)
def test_lean_body_mass_refuses_what_it_does_not_know(arguments):
    with pytest.raises(InvalidRequest):
        lean_body_mass_kg(*arguments)


@pytest.mark.parametrize(
    ("size", "density", "changes", "expected"),
    [
        (90.1, 100, {}, "SD"),
        (90, 100, {}, "PR"),
        (100, 85.1, {}, "SD"),
        (100, 85, {}, "PR"),
        (109.9, 100, {}, "SD"),
        (110, 100, {}, "PD"),
        (115, 80, {}, "PR"),  # larger, with a response by attenuation
        (50, 50, {"new_lesions": True}, "PD"),
        (50, 50, {"new_nodules_in_tumor": True}, "PD"),
        (50, 50, {"new_lesions": None}, NE),
        (0, 0, {"all_gone": True}, "CR"),
        (115, 80, {"phase": "arterial"}, NE),
        (85, 80, {"phase": None}, "PR"),  # by size alone
        (115, None, {}, NE),
    ],
)
def test_choi(size, density, changes, expected):
    said = {"phase": "portal venous", "new_lesions": False, "new_nodules_in_tumor": False}
    baseline = choi.Assessment(sum_mm=100, attenuation_hu=100, phase="portal venous")
    answer = choi.assess(baseline, choi.Assessment(sum_mm=size, attenuation_hu=density, **(said | changes)))
    assert answer.category == expected, answer.sentence


@pytest.mark.parametrize(
    ("smallest", "later", "new", "expected"),
    [
        (100, 35.1, False, "SD"),
        (100, 35, False, "PR"),
        (100, 172.9, False, "SD"),
        (100, 173, False, "PD"),
        (20, 34.5, False, "PR"),
        (20, 34.6, False, "PD"),
        (100, 0, False, "CR"),
        (100, 30, True, "PD"),
        (100, 30, None, NE),
    ],
)
def test_volume(smallest, later, new, expected):
    assert volume_response.assess(100, smallest, later, new_lesions=new).category == expected


@given(st.floats(1, 500), st.floats(0.01, 5), st.floats(0.001, 1000))
def test_units_do_not_matter_where_the_paper_has_no_absolute_limit(size, ratio, scale):
    """In mm or cm, in ml or l: the same category."""
    said = {"phase": "portal venous", "new_lesions": False, "new_nodules_in_tumor": False, "attenuation_hu": 50}
    categories = {
        (
            choi.assess(
                choi.Assessment(sum_mm=size * unit, attenuation_hu=50, phase="portal venous"),
                choi.Assessment(sum_mm=size * ratio * unit, **said),
            ).category,
            volume_response.assess(size * unit, size * unit, size * ratio * unit, new_lesions=False).category,
        )
        for unit in (1.0, scale)
    }
    assert len(categories) == 1
