"""How much the size of the cohort allows to say.

Standard error of an area under the curve by Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.
"""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict

from oncoresponse.response.figures_of_merit import Estimate

_NORMAL_QUANTILE = 1.959964
_MOST_PATIENTS = 1_000_000


class PowerStatement(BaseModel):
    """How wide the interval is at this size, and how many patients would halve it.

    Attributes:
        patients: Patients of the cohort.
        interval_width: Width of the 95 % interval of the AUC by bootstrap.
        expected_width: Width that a cohort of this size and this AUC must expect (Hanley and McNeil).
        patients_to_halve: Patients whose expected width is half of that.
        sentence: The same in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    patients: int
    interval_width: float
    expected_width: float
    patients_to_halve: int
    sentence: str


def auc_interval_width(area: float, patients: int, share: float) -> float:
    """Expected width of the 95 % interval of an AUC; ``share`` is that of the favorable outcome."""
    first, second = patients * share, patients * (1 - share)
    both, other = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (first - 1) * (both - area**2) + (second - 1) * (other - area**2)
    return 2 * _NORMAL_QUANTILE * math.sqrt(max(variance, 0.0) / (first * second))


def state_power(area: Estimate, patients: int, favorable: int) -> PowerStatement:
    """The statement for a cohort with this cross-validated AUC."""
    share = favorable / patients
    # An AUC of exactly 1 has no expected width; half a pair short of it has.
    value = min(max(area.value, 0.5), 1 - 0.5 / (favorable * (patients - favorable)))
    expected = auc_interval_width(value, patients, share)
    low, high = patients, _MOST_PATIENTS
    while low < high:
        middle = (low + high) // 2
        if auc_interval_width(value, middle, share) <= expected / 2:
            high = middle
        else:
            low = middle + 1
    width = area.high - area.low
    return PowerStatement(
        patients=patients,
        interval_width=round(width, 6),
        expected_width=round(expected, 6),
        patients_to_halve=low,
        sentence=f"With {patients} patients ({favorable} with the favorable outcome) the 95 % interval of the AUC is "
        f"{width:.2f} wide; about {low} patients of the same kind would halve it.",
    )
