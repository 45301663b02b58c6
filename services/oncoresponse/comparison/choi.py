"""Choi criteria (Choi et al., J Clin Oncol 2007;25:1753), for gastrointestinal stromal tumors.

Size and attenuation on contrast-enhanced CT in the portal venous phase. Progression of disease that cannot be measured,
which excludes a partial response, and clinical deterioration are not asked here: whoever confirms weighs them.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from oncoresponse.comparison.answer import (
    NOT_EVALUABLE,
    CriterionAnswer,
    at_least,
    at_most,
    percent_change,
    require_size,
)
from oncoresponse.errors import InvalidRequest

CRITERION = "Choi"
SIZE_PERCENT = 10.0
ATTENUATION_PERCENT = 15.0
PHASE = "portal venous"


class Assessment(BaseModel):
    """One CT.

    Attributes:
        sum_mm: Sum of the longest diameters of the targets.
        attenuation_hu: Mean attenuation of the targets; ``None`` where it was not measured.
        phase: Contrast phase, said by a person; attenuation counts only in the portal venous phase.
        new_lesions: Said by a person; only of the later one.
        new_nodules_in_tumor: New or growing nodules within a tumor, said by a person; only of the later one.
        all_gone: Whether all lesions disappeared, said by a person; only of the later one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sum_mm: float
    attenuation_hu: float | None = None
    phase: str | None = None
    new_lesions: bool | None = None
    new_nodules_in_tumor: bool | None = None
    all_gone: bool = False


def assess(baseline: Assessment, later: Assessment) -> CriterionAnswer:
    """``CR``, ``PR``, ``SD``, ``PD`` or ``NOT_EVALUABLE`` of a later CT.

    Raises:
        InvalidRequest: A value cannot be true; attenuation at baseline has to be above 0 HU for a change in percent.
    """
    require_size("sum_mm", baseline.sum_mm, above_zero=True)
    require_size("sum_mm", later.sum_mm)
    size = percent_change(baseline.sum_mm, later.sum_mm)
    density = _density_change(baseline, later)
    sums = {"baseline_mm": baseline.sum_mm, "later_mm": later.sum_mm, "size_percent": size}
    if density is not None:
        sums["attenuation_percent"] = density
    thresholds = {
        "response_at_most_mm": baseline.sum_mm * (1 - SIZE_PERCENT / 100),
        "progression_at_least_mm": baseline.sum_mm * (1 + SIZE_PERCENT / 100),
    }
    if density is not None and baseline.attenuation_hu is not None:
        thresholds["response_at_most_hu"] = baseline.attenuation_hu * (1 - ATTENUATION_PERCENT / 100)
    compared = f"size {size:+.1f} %" + ("" if density is None else f", attenuation {density:+.1f} %")

    def answer(category: str, sentence: str) -> CriterionAnswer:
        return CriterionAnswer(
            criterion=CRITERION, category=category, sums=sums, thresholds=thresholds, sentence=sentence
        )

    if later.new_lesions or later.new_nodules_in_tumor:
        return answer("PD", f"New lesions, or new nodules within a tumor: {compared}.")
    if later.new_lesions is None or later.new_nodules_in_tumor is None:
        return answer(NOT_EVALUABLE, "Not evaluable: nobody said whether there are new lesions or nodules in a tumor.")
    if later.all_gone:
        return answer("CR", "All lesions disappeared.")
    if at_most(size, -SIZE_PERCENT) or (density is not None and at_most(density, -ATTENUATION_PERCENT)):
        return answer("PR", f"{SIZE_PERCENT:g} % smaller or {ATTENUATION_PERCENT:g} % less attenuation: {compared}.")
    if density is None:
        return answer(
            NOT_EVALUABLE,
            f"Not evaluable: attenuation was not measured in the {PHASE} phase of both scans, and size alone "
            f"({compared}) shows no response.",
        )
    if at_least(size, SIZE_PERCENT):
        return answer("PD", f"{SIZE_PERCENT:g} % larger without a response by attenuation: {compared}.")
    return answer("SD", f"Neither response nor progression: {compared}.")


def _density_change(baseline: Assessment, later: Assessment) -> float | None:
    if baseline.attenuation_hu is None or later.attenuation_hu is None:
        return None
    if baseline.phase != PHASE or later.phase != PHASE:
        return None
    if baseline.attenuation_hu <= 0:
        raise InvalidRequest("attenuation_hu at baseline has to be above 0 for a change in percent.")
    return percent_change(baseline.attenuation_hu, later.attenuation_hu)
