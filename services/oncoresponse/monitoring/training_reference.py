"""How an input, or the predicted probability, was distributed in the training patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncoresponse.response.model_document import ResponseDocument, TrainingDistribution

FloatArray = NDArray[np.float64]

PROBABILITY = "probability"
"""Name of the reference for the predicted probability, which no input has."""

_FINE_SHARES = 0.02
_ONE_PERCENTILE = 0.01 + 1e-9  # an interpolated percentile between two values is a value that no patient has


@dataclass(frozen=True)
class TrainingReference:
    """A distribution that new values are compared with.

    Attributes:
        name: Name of the input, or :data:`PROBABILITY`.
        title: In clinical words.
        unit: UCUM.
        patients: Number of training patients.
        values: Float, ascending, no value twice: those that occur when ``complete``, else quantiles.
        shares: Float, same length: share of the training patients up to each value, itself included.
        median: Of the training patients.
        complete: Whether ``values`` are all there were.
        resolved: Whether ``shares`` is known; not so when many patients share a value and the quantiles are few.
    """

    name: str
    title: str
    unit: str
    patients: int
    values: FloatArray
    shares: FloatArray
    median: float
    complete: bool
    resolved: bool

    @classmethod
    def of_values(cls, name: str, title: str, unit: str, values: FloatArray) -> TrainingReference:
        """From every training value (patients,)."""
        distinct, counts = np.unique(values, return_counts=True)
        median = float(np.median(values))
        return cls(name, title, unit, len(values), distinct, np.cumsum(counts) / len(values), median, True, True)

    @classmethod
    def of_quantiles(
        cls, name: str, title: str, unit: str, patients: int, values: FloatArray, shares: FloatArray
    ) -> TrainingReference:
        """From quantiles: ``values`` ascending, the share of patients up to each in ``shares`` (0 first, 1 last)."""
        median = float(np.interp(0.5, shares, values))
        # The last of equal quantiles tells the share up to the value, itself included, if quantiles are close enough.
        last = np.append(np.diff(values) > 0, True)
        resolved = bool(last.all()) or float(np.diff(shares).max()) <= _FINE_SHARES
        return cls(name, title, unit, patients, values[last], shares[last], median, False, resolved)

    @property
    def discrete_values(self) -> tuple[float, ...]:
        """The values themselves when there are one or two, as of a receptor status; else empty."""
        common = self.values[np.diff(self.shares, prepend=0.0) > _ONE_PERCENTILE]
        return tuple(map(float, common)) if len(common) <= 2 else ()


def training_references(document: ResponseDocument) -> tuple[TrainingReference, ...]:
    """A reference for each input and, last, one for the probability.

    The model document holds all out-of-fold probabilities of the training patients, and every percentile of each input.
    """
    references = [
        TrainingReference.of_quantiles(
            entry.name, entry.title, entry.unit, document.training_patients, *_quantiles(training)
        )
        for entry, training in zip(document.inputs, document.training, strict=True)
    ]
    probabilities = np.array(document.calibration.out_of_fold_probabilities)
    score = TrainingReference.of_values(PROBABILITY, "Predicted probability", "1", probabilities)
    return (*references, score)


def _quantiles(training: TrainingDistribution) -> tuple[FloatArray, FloatArray]:
    """Values and shares."""
    return np.array(training.percentiles), np.linspace(0, 1, len(training.percentiles))
