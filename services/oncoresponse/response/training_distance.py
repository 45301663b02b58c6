"""How far a patient lies from the training patients: Mahalanobis distance with a shrunk covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.covariance import LedoitWolf

from oncoresponse.response.arrays import FloatArray

_MAD_TO_STANDARD_DEVIATION = 1.4826


@dataclass(frozen=True)
class TrainingDistance:
    """Center, scale and precision of the transformed training inputs.

    Attributes:
        center: Median of each input (inputs,).
        scale: 1.4826 times the median absolute deviation (inputs,).
        precision: Inverse of the Ledoit-Wolf covariance of the scaled inputs (inputs, inputs).
        threshold: Quantile of the leave-one-out distances of the training patients.
    """

    center: FloatArray
    scale: FloatArray
    precision: FloatArray
    threshold: float

    def distance(self, transformed: FloatArray) -> FloatArray:
        """Distances (patients,) of transformed inputs (patients, inputs)."""
        scaled = (transformed - self.center) / self.scale
        return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", scaled, self.precision, scaled)))

    def between(self, transformed: FloatArray, others: FloatArray) -> FloatArray:
        """Distances (others,) of one patient (inputs,) to others (others, inputs)."""
        scaled = (others - transformed) / self.scale
        return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", scaled, self.precision, scaled)))


def fit_training_distance(transformed: FloatArray, quantile: float) -> TrainingDistance:
    """Fit the distance and set its threshold on patients left out one at a time.

    Args:
        transformed: Float (patients, inputs).
        quantile: Quantile of the leave-one-out distances that becomes the threshold.
    """
    left_out = [
        float(_fit(np.delete(transformed, row, axis=0)).distance(transformed[row : row + 1])[0])
        for row in range(len(transformed))
    ]
    fitted = _fit(transformed)
    return TrainingDistance(fitted.center, fitted.scale, fitted.precision, float(np.quantile(left_out, quantile)))


def _fit(transformed: FloatArray) -> TrainingDistance:
    center = np.median(transformed, axis=0)
    deviation = _MAD_TO_STANDARD_DEVIATION * np.median(np.abs(transformed - center), axis=0)
    # A two-valued input may have a median absolute deviation of 0.
    scale = np.where(deviation > 0, deviation, np.maximum(transformed.std(axis=0), 1e-9))
    precision = LedoitWolf(assume_centered=True).fit((transformed - center) / scale).precision_
    return TrainingDistance(center, scale, np.asarray(precision), np.inf)
