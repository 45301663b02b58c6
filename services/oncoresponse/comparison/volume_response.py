"""Response by volume: the thresholds of RECIST for a sphere.

Therasse et al. (J Natl Cancer Inst 2000;92:205) give 65 % less and 73 % more volume for 30 % less and 20 %
more diameter. Of one lesion or of the sum of several; there is no accepted absolute limit, so that measurement error
has to be weighed beside (:mod:`.change_uncertainty`).
"""

from __future__ import annotations

from oncoresponse.case.readable_numbers import spoken_value
from oncoresponse.comparison.answer import (
    NOT_EVALUABLE,
    CriterionAnswer,
    at_least,
    at_most,
    percent_change,
    require_size,
)

CRITERION = "Volume"
RESPONSE_PERCENT = -65.0
PROGRESSION_PERCENT = 73.0


def assess(baseline_ml: float, smallest_ml: float, later_ml: float, *, new_lesions: bool | None) -> CriterionAnswer:
    """``CR``, ``PR``, ``SD``, ``PD`` or ``NOT_EVALUABLE`` of a later volume.

    Args:
        baseline_ml: Volume at baseline.
        smallest_ml: Smallest so far; the baseline where there is none between.
        later_ml: Volume now; 0 where all is gone.
        new_lesions: Said by a person.

    Raises:
        InvalidRequest: A volume cannot be true.
    """
    require_size("baseline_ml", baseline_ml, above_zero=True)
    require_size("smallest_ml", smallest_ml)
    require_size("later_ml", later_ml)
    smallest_ml = min(smallest_ml, baseline_ml)
    thresholds = {
        "response_at_most_ml": baseline_ml * (1 + RESPONSE_PERCENT / 100),
        "progression_at_least_ml": smallest_ml * (1 + PROGRESSION_PERCENT / 100),
    }
    compared = f"{spoken_value(later_ml, 'ml')}, {percent_change(baseline_ml, later_ml):+.1f} % from baseline" + (
        f" and {percent_change(smallest_ml, later_ml):+.1f} % from the smallest" if smallest_ml else ""
    )
    if new_lesions:
        category, sentence = "PD", "New lesions are progression."
    elif new_lesions is None:
        category, sentence = NOT_EVALUABLE, "Not evaluable: nobody said whether there are new lesions."
    elif later_ml == 0:
        category, sentence = "CR", "All lesions are gone."
    elif at_least(later_ml, thresholds["progression_at_least_ml"]):
        category, sentence = "PD", f"Progression by volume: {compared}."
    elif at_most(later_ml, thresholds["response_at_most_ml"]):
        category, sentence = "PR", f"Partial response by volume: {compared}."
    else:
        category, sentence = "SD", f"Neither response nor progression by volume: {compared}."
    return CriterionAnswer(
        criterion=CRITERION,
        category=category,
        sums={"baseline_ml": baseline_ml, "smallest_ml": smallest_ml, "later_ml": later_ml},
        thresholds=thresholds,
        sentence=sentence,
    )
