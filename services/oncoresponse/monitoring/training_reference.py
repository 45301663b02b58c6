"""How an input, or the predicted probability, was distributed in the training patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncoresponse.response.model_document import ResponseDocument

FloatArray = NDArray[np.float64]

PROBABILITY = "probability"
"""Name of the reference for the predicted probability, which no input has."""

_STORED_SHARES = (0.0, 0.05, 0.5, 0.95, 1.0)


@dataclass(frozen=True)
class TrainingReference:
    """A distribution that new values are compared with.

    Attributes:
        name: Name of the input, or :data:`PROBABILITY`.
        title: In clinical words.
        unit: UCUM.
        patients: Number of training patients.
        values: Float, ascending: every training value when ``complete``, else quantiles.
        shares: Float, same length: cumulative share of training patients up to each value.
        complete: Whether ``values`` are all there were.
    """

    name: str
    title: str
    unit: str
    patients: int
    values: FloatArray
    shares: FloatArray
    complete: bool

    @classmethod
    def of_values(cls, name: str, title: str, unit: str, values: FloatArray) -> TrainingReference:
        """From every training value (patients,)."""
        count = len(values)
        return cls(name, title, unit, count, np.sort(values), np.arange(1, count + 1) / count, True)

    @classmethod
    def of_quantiles(
        cls, name: str, title: str, unit: str, patients: int, values: FloatArray, shares: FloatArray
    ) -> TrainingReference:
        """From quantiles: ``values`` ascending, the share of patients up to each in ``shares`` (0 first, 1 last)."""
        return cls(name, title, unit, patients, np.asarray(values), np.asarray(shares), False)

    @property
    def median(self) -> float:
        """Of the training patients."""
        if self.complete:
            return float(np.median(self.values))
        return float(np.interp(0.5, self.shares, self.values))

    @property
    def discrete_values(self) -> tuple[float, ...]:
        """The values themselves when there are one or two, as of a receptor status; else empty."""
        distinct = np.unique(self.values)
        return tuple(map(float, distinct)) if len(distinct) <= 2 else ()


def training_references(document: ResponseDocument) -> tuple[TrainingReference, ...]:
    """A reference for each input and, last, one for the probability.

    The model document holds five quantiles of each input (minimum, 5 %, median, 95 %, maximum), and all out-of-fold
    probabilities of the training patients.
    """
    references = [
        TrainingReference.of_quantiles(
            entry.name,
            entry.title,
            entry.unit,
            document.training_patients,
            np.array([training.minimum, training.low, training.median, training.high, training.maximum]),
            np.array(_STORED_SHARES),
        )
        for entry, training in zip(document.inputs, document.training, strict=True)
    ]
    probabilities = np.array(document.calibration.out_of_fold_probabilities)
    score = TrainingReference.of_values(PROBABILITY, "Predicted probability", "1", probabilities)
    return (*references, score)
