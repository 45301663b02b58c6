"""What all lesions of a patient measure together.

MTV and TLG of a patient are sums over lesions, as in the literature on whole-body tumor burden; the sum of diameters is
over the longest axial diameters of the lesions that were named, which is no RECIST sum: nobody chose target lesions.
"""

from __future__ import annotations

from collections.abc import Sequence

from oncoresponse.case.case import Lesion, LesionMeasure

_SUMS = (
    ("lesion_volume", "total_lesion_volume"),
    ("metabolic_tumor_volume", "total_metabolic_tumor_volume"),
    ("total_lesion_glycolysis", "total_lesion_glycolysis"),
    ("longest_axial_diameter", "sum_of_longest_axial_diameters"),
)
"""Measure of a lesion, and the total of the patient."""

PART_OF_TOTAL = {total: measure for measure, total in _SUMS}
"""The measure of a lesion that each total adds up."""

TOTAL_NAMES = ("lesion_count", *PART_OF_TOTAL)
"""Names of all totals."""


def totals_of(lesions: Sequence[Lesion]) -> tuple[LesionMeasure, ...]:
    """The number of lesions, and the sum of each measure that all of them have.

    Args:
        lesions: Measured ones that share no voxel.
    """
    found = [LesionMeasure(name="lesion_count", value=float(len(lesions)), unit="1")]
    for measure, total in _SUMS:
        parts = [item for lesion in lesions for item in lesion.measures if item.name == measure]
        if lesions and len(parts) == len(lesions):
            found.append(LesionMeasure(name=total, value=sum(item.value for item in parts), unit=parts[0].unit))
    return tuple(found)
