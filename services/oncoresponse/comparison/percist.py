"""PERCIST 1.0 (Wahl et al., J Nucl Med 2009;50(Suppl 1):122S): the hottest lesion of each scan by SULpeak.

SULpeak is the mean in a sphere of 1 ml. The liver reference is a sphere of 3 cm diameter in the right lobe; it is
measured by the caller, never guessed. That no other lesion grew, which a partial response also needs, is not asked:
whoever confirms the answer weighs it.
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
from oncoresponse.comparison.lean_body_mass import LeanBodyMassFormula

CRITERION = "PERCIST 1.0"
CHANGE_PERCENT = 30.0
CHANGE_SUL = 0.8
GLYCOLYSIS_PERCENT = 75.0
LIVER_PERCENT = 20.0
LIVER_SUL = 0.3
UPTAKE_TIME_MINUTES = 15.0


class Scan(BaseModel):
    """One FDG-PET.

    Attributes:
        sul_peak: Of the hottest lesion (g/ml), not necessarily the same one in both scans.
        formula: Lean body mass by which SUL was made.
        liver_mean_sul: Mean of the liver sphere (g/ml); ``None`` where it was not measured.
        liver_sd_sul: Its standard deviation.
        uptake_minutes: From injection to scan.
        total_lesion_glycolysis: Sum over the lesions (ml g/ml); ``None`` where not measured.
        new_lesions: Said by a person; only of the later scan.
        as_background: Whether a person says that no lesion can be told from its surroundings; only of the later scan.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sul_peak: float
    formula: LeanBodyMassFormula
    liver_mean_sul: float | None = None
    liver_sd_sul: float | None = None
    uptake_minutes: float | None = None
    total_lesion_glycolysis: float | None = None
    new_lesions: bool | None = None
    as_background: bool | None = None


def measurable_at_least_sul(scan: Scan) -> float | None:
    """Smallest SULpeak a lesion needs at baseline: 1.5 x liver mean + 2 SD; ``None`` without a liver reference."""
    if scan.liver_mean_sul is None or scan.liver_sd_sul is None:
        return None
    return 1.5 * scan.liver_mean_sul + 2.0 * scan.liver_sd_sul


def assess(baseline: Scan, later: Scan) -> CriterionAnswer:
    """Metabolic response of a later scan.

    Returns:
        ``CMR``, ``PMR``, ``SMD``, ``PMD`` or ``NOT_EVALUABLE``. New lesions are PMD even where the scans cannot be
        compared.

    Raises:
        InvalidRequest: A value cannot be true.
    """
    for scan in (baseline, later):
        for name in ("sul_peak", "liver_mean_sul", "liver_sd_sul", "uptake_minutes", "total_lesion_glycolysis"):
            require_size(name, getattr(scan, name))
    require_size("sul_peak", baseline.sul_peak, above_zero=True)
    change = percent_change(baseline.sul_peak, later.sul_peak)
    difference = later.sul_peak - baseline.sul_peak
    sums = {
        "baseline_sul_peak": baseline.sul_peak,
        "later_sul_peak": later.sul_peak,
        "change_percent": change,
        "change_sul": difference,
    }
    thresholds = {
        "response_at_most_sul": min(baseline.sul_peak * (1 - CHANGE_PERCENT / 100), baseline.sul_peak - CHANGE_SUL),
        "progression_at_least_sul": max(baseline.sul_peak * (1 + CHANGE_PERCENT / 100), baseline.sul_peak + CHANGE_SUL),
    }
    measurable = measurable_at_least_sul(baseline)
    if measurable is not None:
        thresholds["measurable_at_least_sul"] = measurable

    def answer(category: str, sentence: str) -> CriterionAnswer:
        return CriterionAnswer(
            criterion=CRITERION, category=category, sums=sums, thresholds=thresholds, sentence=sentence
        )

    if later.new_lesions:
        return answer("PMD", "New lesions are progressive metabolic disease.")
    if obstacle := _obstacle(baseline, later, measurable):
        return answer(NOT_EVALUABLE, f"Not evaluable: {obstacle}")
    compared = (
        f"SULpeak of the hottest lesion went from {baseline.sul_peak:.3g} to {later.sul_peak:.3g} g/ml "
        f"({change:+.1f} %, {difference:+.2f} g/ml; lean body mass by {later.formula})"
    )
    if at_least(later.sul_peak, thresholds["progression_at_least_sul"]):
        return answer("PMD", f"Progressive metabolic disease: {compared}.")
    before, now = baseline.total_lesion_glycolysis, later.total_lesion_glycolysis
    # More extent counts as progression only where uptake did not decline.
    no_decline = at_least(later.sul_peak, baseline.sul_peak)
    if no_decline and before and now is not None and at_least(now, before * (1 + GLYCOLYSIS_PERCENT / 100)):
        more = percent_change(before, now)
        return answer("PMD", f"Progressive metabolic disease: total lesion glycolysis rose by {more:.0f} %.")
    if later.as_background and later.liver_mean_sul is not None and later.sul_peak < later.liver_mean_sul:
        return answer("CMR", f"Nothing can be told from background and all is below the liver: {compared}.")
    if at_most(later.sul_peak, thresholds["response_at_most_sul"]):
        return answer("PMR", f"Partial metabolic response: {compared}.")
    return answer("SMD", f"Neither {CHANGE_PERCENT:g} % with {CHANGE_SUL:g} g/ml less nor more: {compared}.")


def _obstacle(baseline: Scan, later: Scan, measurable: float | None) -> str:
    """Why the scans cannot be compared; empty where they can."""
    if baseline.formula != later.formula:
        return "the scans used different formulas of lean body mass. Compute both with one."
    first, second = baseline.liver_mean_sul, later.liver_mean_sul
    if first is None or second is None or measurable is None:
        return (
            "no liver reference was supplied. Measure mean and standard deviation in a sphere of 3 cm in the right "
            "lobe of both scans."
        )
    if not at_most(abs(second - first), LIVER_SUL) or not at_most(abs(second - first), LIVER_PERCENT / 100 * first):
        return (
            f"the liver went from {first:.3g} to {second:.3g} g/ml; it has to agree within {LIVER_PERCENT:g} % and "
            f"{LIVER_SUL:g} g/ml."
        )
    times = baseline.uptake_minutes, later.uptake_minutes
    if times[0] is None or times[1] is None:
        return "the uptake time of a scan is not known."
    if not at_most(abs(times[1] - times[0]), UPTAKE_TIME_MINUTES):
        return f"the uptake times differ by more than {UPTAKE_TIME_MINUTES:g} minutes."
    if not at_least(baseline.sul_peak, measurable):
        return f"the hottest lesion was not measurable at baseline (SULpeak below {measurable:.3g} g/ml)."
    if later.new_lesions is None:
        return "nobody said whether there are new lesions."
    return ""
