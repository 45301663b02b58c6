"""What the inputs may be of a tumor of which the images show only a part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from oncoresponse.case.prediction import AbstainReason
from oncoresponse.response.task import ResponseInput

BORDER_CHANGES_ANSWER = AbstainReason(
    code="BORDER_CHANGES_ANSWER",
    text="The tumor goes on beyond the images, and with the size it may have as a whole the answer would be another.",
)

_STEPS = 4
_EXTENSIVE_UNITS = frozenset({"ml", "mL", "cm3", "mm3", "g"})
"""UCUM of what grows with the volume: a volume, or uptake summed over it (total lesion glycolysis, g)."""


def whole_lesion_variants(
    values: Mapping[str, float], inputs: Sequence[ResponseInput], high: Mapping[str, float]
) -> tuple[dict[str, float], ...]:
    """Inputs on the way from what is seen to the upper bound, in steps of equal ratio, the upper bound last.

    Several steps and not the end alone, because a booster need not be monotone between them.

    Args:
        values: As measured, by name.
        inputs: Of the model.
        high: Upper bound of the whole tumor by the name of an input; what is not named stays as measured. A bound at
            or below the measured value, or one that is not finite, is left out.
    """
    ratios = {
        entry.name: high[entry.name] / values[entry.name]
        for entry in inputs
        if entry.name in high and values.get(entry.name, 0.0) > 0 and math.isfinite(high[entry.name])
    }
    ratios = {name: ratio for name, ratio in ratios.items() if ratio > 1}
    if not ratios:
        return ()
    return tuple(
        {**values, **{name: values[name] * ratio ** (step / _STEPS) for name, ratio in ratios.items()}}
        for step in range(1, _STEPS + 1)
    )


def bounds_from_volume(
    values: Mapping[str, float], inputs: Sequence[ResponseInput], volume_ml: float, volume_high_ml: float
) -> dict[str, float]:
    """Upper bounds of the inputs that grow with the volume: volumes, and uptake summed over the volume.

    The highest uptake, texture, shape and lengths stay as measured: nothing says what they are in a part nobody sees.

    Args:
        values: As measured, by name.
        inputs: Of the model.
        volume_ml: Volume that is seen.
        volume_high_ml: Upper bound of the whole volume; 0 where the tumor is seen whole.
    """
    if not volume_high_ml > volume_ml > 0:
        return {}
    return {
        entry.name: values[entry.name] * volume_high_ml / volume_ml
        for entry in inputs
        if entry.unit in _EXTENSIVE_UNITS and entry.name in values
    }
