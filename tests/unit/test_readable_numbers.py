"""One way to write a number, a unit and a name, wherever a physician reads them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oncoresponse.case.readable_numbers import inside_sentence, percent, readable_unit, significant, spoken_value


@pytest.mark.parametrize(
    ("value", "shown"), [(0.004, "<1 %"), (0.996, ">99 %"), (0.5, "50 %"), (0.01, "1 %"), (0.99, "99 %")]
)
def test_percent_is_never_certain(value: float, shown: str) -> None:
    assert percent(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (1234.56, "1235"), (999.9, "1000"), (0.0123, "0.0123"), (2.5e7, "2.50e+07"), (-0.5, "-0.5")],
)
def test_significant_digits(value: float, shown: str) -> None:
    assert significant(value) == shown


@given(st.floats(0.001, 99_999))
def test_a_volume_needs_no_exponent_and_loses_no_digit(value: float) -> None:
    shown = significant(value)
    assert re.fullmatch(r"\d+(\.\d+)?", shown)
    assert float(shown) == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(2340.2, "ml", "2340 ml"), (12.34, "g/mL{SUVbw}", "12.3 g/mL"), (48.0, "a", "48 years"), (0.71, "1", "0.71")],
)
def test_a_value_is_spoken_with_its_unit(value: float, unit: str, shown: str) -> None:
    assert spoken_value(value, unit) == shown


def test_units_and_names_are_those_of_the_clinic() -> None:
    assert readable_unit("mm3") == "mm³"
    assert inside_sentence("Tumor volume") == "tumor volume"
    assert inside_sentence("SUVmax of the tumor") == "SUVmax of the tumor"
    assert inside_sentence("HER2 positive") == "HER2 positive"
