"""Can body weight, size, age and injected activity be true, together and in the units DICOM gives them?

Each of them may be plausible alone and impossible beside the others: a weight in pounds, weight and size swapped, an
adult's activity in a child of 4 kg. Sources: DICOM PS3.3 C.7.2.2 (Patient Study Module: kg, m), C.8.9.2 (Bq);
EANM procedure guideline for FDG-PET/CT version 2 and the EANM paediatric dosage card (2 to 14 MBq/kg).
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from oncoresponse.dicom import attributes
from oncoresponse.errors import ImplausibleSuvInput, MissingInjectedDose, MissingPatientWeight

_WEIGHT_RANGE_KG = (1.0, 400.0)
# Below a megabecquerel the value was written in MBq or mCi, above 10 GBq in another wrong unit.
_DOSE_RANGE_BQ = (1e6, 1e10)
# Long-axial PET is tried with a fiftieth of the usual 4 MBq/kg, phantoms of a few kg with more than 10.
_DOSE_PER_KG = (0.1e6, 40e6)
_MASS_INDEX = (8.0, 80.0)
_USUAL_MASS_INDEX = (12.0, 50.0)
_MASS_INDEX_OF_CHILDREN = (8.0, 40.0)
_CHILD_BELOW_M = 1.2
_SIZE_RANGE_M = (0.3, 2.6)
# Unit in metres, and the values in that unit that are a person's.
_OTHER_SIZE_UNITS = ((0.01, 30.0, 260.0), (0.0254, 12.0, 100.0), (0.3048, 2.6, 8.5), (0.001, 300.0, 2600.0))
_POUND_KG = 0.45359237
# Far above the heaviest children of these ages.
_HEAVIEST_BY_AGE = ((1.0, 20.0), (3.0, 35.0), (6.0, 60.0), (10.0, 120.0))
_DAYS_A_YEAR = 365.25
_AGE_UNITS = {"D": 1 / _DAYS_A_YEAR, "W": 7 / _DAYS_A_YEAR, "M": 1 / 12, "Y": 1.0}
# The body holds at most what was injected; calibration, scatter and noise may add to it.
_LARGEST_SHARE = 1.3
# A scan this long holds most of the body and so most of the activity.
_WHOLE_BODY_MM = 600.0
_SMALLEST_SHARE_OF_WHOLE_BODY = 0.1


@dataclass(frozen=True)
class PatientAndDose:
    """What SUV is normalized by.

    Attributes:
        weight_grams: Body weight in g.
        dose: Injected activity in Bq.
        warnings: What was odd but not wrong enough to refuse.
    """

    weight_grams: float
    dose: float
    warnings: tuple[str, ...]


def patient_and_dose(dataset: Dataset, information: Dataset) -> PatientAndDose:
    """Body weight and injected activity of a PET image, checked against each other and against size and age.

    Args:
        dataset: The PET image.
        information: Its item of Radiopharmaceutical Information Sequence.

    Raises:
        MissingPatientWeight, MissingInjectedDose: Absent or zero.
        ImplausibleSuvInput: They cannot be true; the message names the one at fault where that can be told.
        InvalidAttribute: A value is no number.
    """
    weight = _weight(dataset)
    dose = _dose(information)
    size = attributes.number(dataset, "PatientSize")
    warnings: list[str] = []
    is_confirmed = False
    if size:
        warnings += _check_size(weight, size)
        is_confirmed = _is_size(size) and _within(weight / size**2, _USUAL_MASS_INDEX)
        _check_mass_index(dataset, weight, size)
    _check_age(dataset, weight)
    if not _within(dose / weight, _DOSE_PER_KG):
        amount = "more than 40 MBq" if dose / weight > _DOSE_PER_KG[1] else "less than 0.1 MBq"
        if is_confirmed:
            raise _implausible(
                f"RadionuclideTotalDose would be {amount} for each kg, and PatientSize confirms the weight",
                "RadionuclideTotalDose",
            )
        raise _implausible(
            f"PatientWeight and RadionuclideTotalDose do not fit: {amount} for each kg of body weight", "PatientWeight"
        )
    return PatientAndDose(weight * 1000.0, dose, tuple(warnings))


def require_plausible_uptake(total_suv_ml: float, weight_grams: float, length_mm: float) -> None:
    """Refuse an image that holds more activity than was injected, or hardly any of it where it shows most of the body.

    The sum of SUV times voxel volume, divided by the body weight, is the share of the injected activity (1 g = 1 ml)
    that the images hold.

    Args:
        total_suv_ml: Sum over all voxels of SUV (g/mL) times voxel volume (ml).
        weight_grams: Body weight (g).
        length_mm: Extent of the images along their normal (mm).

    Raises:
        ImplausibleSuvInput: It cannot be.
    """
    share = total_suv_ml / weight_grams
    if share > _LARGEST_SHARE:
        what = "The PET would hold more activity than was injected"
    elif length_mm >= _WHOLE_BODY_MM and share < _SMALLEST_SHARE_OF_WHOLE_BODY:
        what = "The PET shows most of the body and would hold less than a tenth of the injected activity"
    else:
        return
    raise _implausible(
        f"{what}: RadionuclideTotalDose, the time of injection or scan, or the scale of the values is wrong",
        "RadionuclideTotalDose",
    )


def _weight(dataset: Dataset) -> float:
    weight = attributes.number(dataset, "PatientWeight")
    if not weight:
        raise MissingPatientWeight(
            "The PET images hold no body weight (PatientWeight), so SUV cannot be computed. Export them with it."
        )
    if _within(weight, _WEIGHT_RANGE_KG):
        return weight
    hint = "; it seems to be in g" if _within(weight / 1000, _WEIGHT_RANGE_KG) and weight >= 1000 else ""
    raise _implausible(f"PatientWeight cannot be a body weight in kg{hint}", "PatientWeight")


def _dose(information: Dataset) -> float:
    dose = attributes.number(information, "RadionuclideTotalDose")
    if not dose:
        raise MissingInjectedDose(
            "The PET images hold no injected activity (RadionuclideTotalDose), so SUV cannot be computed. "
            "Export them with it."
        )
    if _within(dose, _DOSE_RANGE_BQ):
        return dose
    hint = ""
    if 0 < dose < _DOSE_RANGE_BQ[0]:
        unit = "GBq" if dose < 1 else "mCi" if dose < 25 else "MBq" if dose < 2000 else "kBq or uCi"
        hint = f"; it seems to be in {unit}"
    raise _implausible(f"RadionuclideTotalDose cannot be an injected activity in Bq{hint}", "RadionuclideTotalDose")


def _check_size(weight: float, size: float) -> list[str]:
    if size < 0:
        raise attributes.invalid("PatientSize")
    if _is_size(size) and _is_mass_index(weight, size):
        if weight / size**2 > _USUAL_MASS_INDEX[1]:
            return ["PatientWeight is unusual for PatientSize (body mass index above 50); check its unit."]
        if size >= _CHILD_BELOW_M and weight / size**2 < _USUAL_MASS_INDEX[0]:
            return ["PatientWeight is unusual for PatientSize (body mass index below 12); check both."]
        return []
    in_metres = [size * unit for unit, low, high in _OTHER_SIZE_UNITS if low <= size <= high]
    not_metres = ["PatientSize is not in m. It is not used for SUV by body weight."]
    as_size = [weight * unit for unit, low, high in ((1.0, 0.3, 2.6), _OTHER_SIZE_UNITS[0]) if low <= weight <= high]
    if any(_is_usual(size, metres) for metres in as_size):
        raise _implausible("PatientWeight and PatientSize seem to be swapped", "PatientWeight")
    if any(_is_usual(weight, metres) for metres in in_metres):
        return not_metres
    sizes = [size] if _is_size(size) else in_metres
    if any(_is_usual(weight * _POUND_KG, metres) for metres in sizes):
        raise _implausible("PatientWeight does not fit PatientSize; it seems to be in pounds", "PatientWeight")
    if not _is_size(size) and any(_is_mass_index(weight, metres) for metres in in_metres):
        return not_metres
    raise _implausible("PatientWeight and PatientSize cannot both be true", "PatientWeight")


def _check_mass_index(dataset: Dataset, weight: float, size: float) -> None:
    stated = attributes.number(dataset, "PatientBodyMassIndex")
    if stated and _is_size(size) and abs(stated * size**2 / weight - 1) > 0.1:
        raise _implausible("PatientBodyMassIndex contradicts PatientWeight and PatientSize", "PatientBodyMassIndex")


def _check_age(dataset: Dataset, weight: float) -> None:
    text = attributes.text(dataset, "PatientAge") or ""
    if not (text[:-1].isdecimal() and text[-1:] in _AGE_UNITS):
        return
    # 000Y is what scanners write when nobody entered an age.
    years = int(text[:-1]) * _AGE_UNITS[text[-1]]
    if years and any(years < age and weight > heaviest for age, heaviest in _HEAVIEST_BY_AGE):
        raise _implausible("PatientWeight does not fit PatientAge", "PatientWeight")


def _is_size(size: float) -> bool:
    return _within(size, _SIZE_RANGE_M)


def _is_mass_index(weight: float, metres: float) -> bool:
    return _within(weight / metres**2, _MASS_INDEX_OF_CHILDREN if metres < _CHILD_BELOW_M else _MASS_INDEX)


def _is_usual(weight: float, metres: float) -> bool:
    return _is_size(metres) and _is_mass_index(weight, metres) and _within(weight / metres**2, _USUAL_MASS_INDEX)


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def _implausible(what: str, keyword: str) -> ImplausibleSuvInput:
    return ImplausibleSuvInput(
        f"{what}, so SUV would be wrong. Correct it at the source and send the series again.", keyword=keyword
    )
