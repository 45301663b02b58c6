"""Gray level co-occurrence features (IBSI 3.6), averaged over directions."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from oncoradiomics.native.compiled import compiled
from oncoradiomics.native.discretization import GrayLevels

FEATURES = (
    "Autocorrelation",
    "ClusterProminence",
    "ClusterShade",
    "ClusterTendency",
    "Contrast",
    "Correlation",
    "DifferenceAverage",
    "DifferenceEntropy",
    "DifferenceVariance",
    "Id",
    "Idm",
    "Idmn",
    "Idn",
    "Imc1",
    "Imc2",
    "InverseVariance",
    "JointAverage",
    "JointEnergy",
    "JointEntropy",
    "MaximumProbability",
    "SumAverage",
    "SumEntropy",
    "SumSquares",
    "MCC",
)
_MCC = FEATURES.index("MCC")
_FEW_LEVELS = 12
_LN2 = math.log(2)


@compiled("float64(float64[:,::1], float64[::1])")
def _second_correlation(matrix: npt.NDArray[np.float64], marginal: npt.NDArray[np.float64]) -> float:
    """Second largest eigenvalue behind the maximal correlation coefficient of a symmetric matrix.

    With D the marginals, the eigenvalues wanted are the squares of those of the symmetric D^-1/2 P D^-1/2. Its largest
    is 1 and belongs to sqrt(D), which is projected out; Householder's reflections make the rest tridiagonal, bisection
    finds its two extreme eigenvalues. pyradiomics adds the smallest double to each denominator, which matters for
    levels that occur once in a large lesion: a Rayleigh quotient with the eigenvector puts that right.
    """
    epsilon = 2.220446049250313e-16
    size = 0
    for i in range(marginal.size):
        size += marginal[i] > 0
    if size < 2:
        return 0.0
    # Only levels that occur along this direction; the others have the eigenvalue 0.
    kept = np.empty(size, np.int64)
    place = 0
    for i in range(marginal.size):
        if marginal[i] > 0:
            kept[place] = i
            place += 1
    root = np.empty(size)
    for i in range(size):
        root[i] = np.sqrt(marginal[kept[i]])
    work = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            work[i, j] = matrix[kept[i], kept[j]] / (root[i] * root[j]) - root[i] * root[j]
    diagonal = np.empty(size)
    beside = np.zeros(size)
    reflections = np.zeros((size, size))
    product = np.empty(size)
    for k in range(size - 2):
        norm = 0.0
        for i in range(k + 1, size):
            norm += work[i, k] ** 2
        norm = np.sqrt(norm)
        reflection = reflections[k]
        if norm > 0:
            sign = 1.0 if work[k + 1, k] >= 0 else -1.0
            for i in range(k + 1, size):
                reflection[i] = work[i, k]
            reflection[k + 1] += sign * norm
            length = 0.0
            for i in range(k + 1, size):
                length += reflection[i] ** 2
            scale = np.sqrt(2.0 / length)
            for i in range(k + 1, size):
                reflection[i] *= scale
            beside[k] = -sign * norm
            # Row by row, so that the inner loops are sums of vectors and run in the processor's wide registers.
            product[k + 1 :] = 0.0
            for i in range(k + 1, size):
                factor = reflection[i]
                row = work[i, k + 1 :]
                into = product[k + 1 :]
                for j in range(size - k - 1):
                    into[j] += row[j] * factor
            mixed = 0.0
            for i in range(k + 1, size):
                mixed += product[i] * reflection[i]
            for i in range(k + 1, size):
                product[i] -= 0.5 * mixed * reflection[i]
            right = product[k + 1 :]
            left = reflection[k + 1 :]
            for i in range(k + 1, size):
                one = reflection[i]
                other = product[i]
                row = work[i, k + 1 :]
                for j in range(size - k - 1):
                    row[j] -= one * right[j] + other * left[j]
    beside[size - 2] = work[size - 1, size - 2]
    for i in range(size):
        diagonal[i] = work[i, i]

    # All eigenvalues lie in [-1, 1].
    extreme = np.zeros(2)
    for end in range(2):
        low, high = -1.0 - 1e-6, 1.0 + 1e-6
        wanted = 1 if end == 0 else size
        while high - low > 4e-16 * max(1.0, abs(low)):
            middle = 0.5 * (low + high)
            if middle <= low or middle >= high:
                break
            below = 0
            pivot = 1.0
            for i in range(size):
                off = beside[i - 1] ** 2 if i > 0 else 0.0
                pivot = diagonal[i] - middle - (off / pivot if i > 0 else 0.0)
                if pivot == 0:
                    pivot = -1e-300
                below += pivot < 0
            if below >= wanted:
                high = middle
            else:
                low = middle
        extreme[end] = 0.5 * (low + high)
    value = extreme[1] if abs(extreme[1]) >= abs(extreme[0]) else extreme[0]
    if abs(value) < 1e-7:
        return float(value**2)

    # Inverse iteration on the tridiagonal matrix, then the reflections in reverse order.
    vector = np.ones(size)
    upper = np.empty(size)
    second = np.empty(size)
    pivots = np.empty(size)
    for _ in range(3):
        # Gaussian elimination with partial pivoting, the right side carried along.
        a = diagonal[0] - value
        b = beside[0]
        for i in range(size - 1):
            next_a = diagonal[i + 1] - value
            next_b = beside[i + 1] if i < size - 2 else 0.0
            lower = beside[i]
            if abs(a) >= abs(lower):
                if a == 0:
                    a = 1e-300
                factor = lower / a
                pivots[i], upper[i], second[i] = a, b, 0.0
                a = next_a - factor * b
                b = next_b
                vector[i + 1] -= factor * vector[i]
            else:
                factor = a / lower
                pivots[i], upper[i], second[i] = lower, next_a, next_b
                swap = vector[i]
                vector[i] = vector[i + 1]
                vector[i + 1] = swap - factor * vector[i]
                a = b - factor * next_a
                b = -factor * next_b
        pivots[size - 1] = a if abs(a) > 1e-18 else 1e-18
        upper[size - 1] = second[size - 1] = 0.0
        for i in range(size - 1, -1, -1):
            total = vector[i]
            if i + 1 < size:
                total -= upper[i] * vector[i + 1]
            if i + 2 < size:
                total -= second[i] * vector[i + 2]
            vector[i] = total / pivots[i]
        largest = np.abs(vector).max()
        norm = np.sqrt(((vector / largest) ** 2).sum()) * largest
        vector /= norm
    for k in range(size - 3, -1, -1):
        mixed = 0.0
        for i in range(k + 1, size):
            mixed += reflections[k, i] * vector[i]
        for i in range(k + 1, size):
            vector[i] -= mixed * reflections[k, i]

    # Rayleigh quotient of the matrix with pyradiomics' denominators.
    quotient = 0.0
    for k in range(size):
        product[k] = 0.0
        for j in range(size):
            product[k] += matrix[kept[k], kept[j]] * vector[j] / root[j]
    for i in range(size):
        total = 0.0
        for k in range(size):
            total += matrix[kept[i], kept[k]] * product[k] / (root[i] ** 2 * root[k] ** 2 + epsilon)
        quotient += vector[i] * root[i] * total
    return quotient


@compiled("void(float64[:,::1], float64[::1], int64, boolean, float64[::1])")
def _features(
    matrix: npt.NDArray[np.float64],
    levels: npt.NDArray[np.float64],
    highest: int,
    symmetric: bool,
    out: npt.NDArray[np.float64],
) -> None:
    """Features of one normalized matrix into ``out``, in the order of FEATURES."""
    epsilon = 2.220446049250313e-16
    number = levels.size
    row = np.zeros(number)
    column = np.zeros(number)
    sums = np.zeros(2 * highest + 1)
    differences = np.zeros(highest)
    joint = np.zeros(5)
    for i in range(number):
        for j in range(number):
            p = matrix[i, j]
            if p == 0:
                continue
            row[i] += p
            column[j] += p
            sums[int(levels[i] + levels[j])] += p
            differences[int(abs(levels[i] - levels[j]))] += p
            joint[0] += p * levels[i] * levels[j]
            joint[1] += p * p
            joint[2] -= p * np.log2(p + epsilon)
            joint[3] = max(joint[3], p)
    row_mean = 0.0
    column_mean = 0.0
    for i in range(number):
        row_mean += row[i] * levels[i]
        column_mean += column[i] * levels[i]
    row_variance = 0.0
    column_variance = 0.0
    row_entropy = 0.0
    column_entropy = 0.0
    for i in range(number):
        row_variance += row[i] * (levels[i] - row_mean) ** 2
        column_variance += column[i] * (levels[i] - column_mean) ** 2
        row_entropy -= row[i] * np.log2(row[i] + epsilon)
        column_entropy -= column[i] * np.log2(column[i] + epsilon)
    covariance = 0.0
    product_entropy = 0.0
    cross_entropy = 0.0
    if number <= _FEW_LEVELS:
        for i in range(number):
            for j in range(number):
                product = row[i] * column[j]
                if product == 0:
                    continue
                logarithm = np.log2(product + epsilon)
                product_entropy -= product * logarithm
                cross_entropy -= matrix[i, j] * logarithm
    else:
        # The logarithm of a product is a sum, and the epsilon inside is small enough for its first-order effect.
        rows = 0
        columns = 0
        for i in range(number):
            rows += row[i] > 0
            columns += column[i] > 0
        product_entropy = row_entropy + column_entropy + epsilon / _LN2 * (rows + columns - rows * columns)
        cross_entropy = row_entropy + column_entropy + epsilon / _LN2 * (rows + columns)
    for i in range(number):
        for j in range(number):
            p = matrix[i, j]
            if p == 0:
                continue
            covariance += p * (levels[i] - row_mean) * (levels[j] - column_mean)
            if number > _FEW_LEVELS:
                cross_entropy -= epsilon / _LN2 * p / (row[i] * column[j])
    out[0] = joint[0]
    out[17] = joint[1]
    out[18] = joint[2]
    out[19] = joint[3]
    out[16] = row_mean
    out[22] = row_variance
    deviations = np.sqrt(row_variance) * np.sqrt(column_variance)
    out[5] = covariance / (deviations + epsilon) if deviations != 0 else 1.0
    out[13] = joint[2] - cross_entropy
    entropy = max(row_entropy, column_entropy)
    out[13] = out[13] / entropy if entropy != 0 else 0.0
    out[14] = np.sqrt(1 - np.exp(-2 * (product_entropy - joint[2]))) if product_entropy != joint[2] else 0.0

    for k in range(2, 2 * highest + 1):
        p = sums[k]
        if p == 0:
            continue
        deviation = k - row_mean - column_mean
        out[1] += p * deviation**4
        out[2] += p * deviation**3
        out[3] += p * deviation**2
        out[20] += p * k
        out[21] -= p * np.log2(p + epsilon)
    for k in range(highest):
        p = differences[k]
        if p == 0:
            continue
        out[4] += p * k * k
        out[6] += p * k
        out[7] -= p * np.log2(p + epsilon)
        out[9] += p / (1 + k)
        out[10] += p / (1 + k * k)
        out[11] += p / (1 + k * k / highest**2)
        out[12] += p / (1 + k / highest)
        if k > 0:
            out[15] += p / (k * k)
    for k in range(highest):
        out[8] += differences[k] * (k - out[6]) ** 2
    if symmetric:
        out[23] = np.sqrt(_second_correlation(matrix, row))


def cooccurrence_features(
    counts: npt.NDArray[np.int32],
    gray: GrayLevels,
    *,
    symmetric: bool,
    weights: npt.NDArray[np.float64] | None,
) -> dict[str, float]:
    """Features of the co-occurrence matrices, the mean over directions; not a number where there are no pairs.

    Args:
        counts: Shape (directions, levels, levels).
        gray: The gray levels.
        symmetric: Count each pair both ways.
        weights: Of the directions, which are then merged into one matrix; ``None`` for the mean over directions.
    """
    matrices = counts.astype(np.float64)
    if symmetric:
        matrices += counts.transpose(0, 2, 1)
    if weights is not None:
        matrices = np.ascontiguousarray(np.tensordot(weights, matrices, 1)[None])
    totals = matrices.sum(axis=(1, 2))
    used = np.flatnonzero(totals)
    one_level = gray.levels.size == 2
    if used.size == 0:
        features = dict.fromkeys(FEATURES, np.nan)
        # pyradiomics calls the correlation of a single level 1 before it notices that there is nothing to correlate.
        if one_level and len(matrices) != 1:
            features["MCC"] = 1.0
        # Of a single matrix it sums the levels' differences above 0, and finds none where 1 is the highest level.
        if gray.highest == 1 and len(matrices) == 1:
            features["InverseVariance"] = 0.0
        return features
    out = np.zeros((used.size, len(FEATURES)))
    levels = gray.levels[1:].astype(np.float64)
    for row, direction in zip(out, used, strict=True):
        matrix = matrices[direction] / totals[direction]
        _features(matrix, levels, gray.highest, symmetric, row)
        if not symmetric:
            row[_MCC] = _asymmetric_correlation(matrix)
    if one_level:
        out[:, _MCC] = 1
    known = ~np.isnan(out)
    with np.errstate(invalid="ignore"):
        means = np.where(known, out, 0).sum(axis=0) / known.sum(axis=0)
    return dict(zip(FEATURES, means.tolist(), strict=True))


def _asymmetric_correlation(matrix: npt.NDArray[np.float64]) -> float:
    rows, columns = matrix.sum(axis=1), matrix.sum(axis=0)
    products = np.einsum("ik,jk,ik->ij", matrix, matrix, 1 / (np.outer(rows, columns) + np.spacing(1)))
    eigenvalues = np.sort(np.linalg.eigvals(products).real)
    return float(np.sqrt(eigenvalues[-2])) if eigenvalues.size > 1 and eigenvalues[-2] >= 0 else np.nan
