"""Lean body mass by two formulas; none is the default, because they differ and the report has to name which.

James (1976) breaks down in obesity: a woman of 175 kg and 160 cm has 10.2 kg by it. Janmahasatian et al. (Clin
Pharmacokinet 2005;44:1051) does not.
"""

from __future__ import annotations

from typing import Literal

from oncoresponse.comparison.answer import require_size
from oncoresponse.errors import InvalidRequest

LeanBodyMassFormula = Literal["James", "Janmahasatian"]
Sex = Literal["M", "F"]


def lean_body_mass_kg(formula: LeanBodyMassFormula, sex: Sex, weight_kg: float, height_m: float) -> float:
    """Lean body mass in kg.

    Args:
        formula: ``James`` (DICOM code 126405) or ``Janmahasatian`` (126406).
        sex: As in DICOM; both formulas know two.
        weight_kg: Body weight.
        height_m: Body height in m.

    Raises:
        InvalidRequest: Unknown formula or sex, a value that cannot be true, or a body outside the formula (James gives
            a lean body mass of 0 or less).
    """
    require_size("weight_kg", weight_kg, above_zero=True)
    require_size("height_m", height_m, above_zero=True)
    if height_m > 3:
        raise InvalidRequest("height_m is above 3 m. Give the height in metres.", field="height_m")
    if sex not in ("M", "F"):
        raise InvalidRequest("Lean body mass needs the sex as M or F.", field="sex")
    if formula == "James":
        ratio = weight_kg / (100.0 * height_m)
        mass = 1.10 * weight_kg - 128.0 * ratio**2 if sex == "M" else 1.07 * weight_kg - 148.0 * ratio**2
        if mass <= 0:
            raise InvalidRequest("James' formula has no answer for this body. Use Janmahasatian.", field="formula")
        return mass
    if formula == "Janmahasatian":
        index = weight_kg / height_m**2
        return 9270.0 * weight_kg / ((6680.0 + 216.0 * index) if sex == "M" else (8780.0 + 244.0 * index))
    raise InvalidRequest("Name the formula of lean body mass: James or Janmahasatian.", field="formula")


def sul_from_suv(suv: float, weight_kg: float, lean_kg: float) -> float:
    """SUL (g/ml) from a body-weight SUV (g/ml)."""
    require_size("suv", suv)
    require_size("weight_kg", weight_kg, above_zero=True)
    require_size("lean_kg", lean_kg, above_zero=True)
    return suv * lean_kg / weight_kg
