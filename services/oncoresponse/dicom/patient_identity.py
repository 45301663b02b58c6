"""One patient in all files, and the one the request means."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oncoresponse.case.study_description import PatientIdentity
from oncoresponse.dicom.reading import Instance
from oncoresponse.errors import PatientMismatch

_COMPARED = ("patient_id", "issuer_of_patient_id", "name", "birth_date", "sex")
_KEYWORDS = {
    "patient_id": "PatientID",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "name": "PatientName",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
}
_BETWEEN_PARTS = re.compile(r"[\s^,]+")


@dataclass(frozen=True)
class ExpectedPatient:
    """Who the caller believes the patient to be; ``None`` and empty mean "not said".

    Attributes:
        patient_id: DICOM Patient ID (0010,0020).
        birth_date: DICOM Patient's Birth Date (0010,0030), YYYYMMDD.
        sex: DICOM Patient's Sex (0010,0040): M, F or O.
    """

    patient_id: str | None = None
    birth_date: str | None = None
    sex: str | None = None


def single_patient(instances: Sequence[Instance]) -> PatientIdentity:
    """The one patient of all instances, each value from where it is given.

    Empty values contradict nothing: converted objects often lose the birth date.

    Raises:
        PatientMismatch: Patient ID, its issuer, name, birth date or sex differ.
    """
    merged: dict[str, object] = {}
    for name in PatientIdentity.model_fields:
        values = {value for instance in instances if (value := getattr(instance.patient, name)) is not None}
        if name in _COMPARED and (_names_differ(values) if name == "name" else len(values) > 1):
            raise PatientMismatch(
                f"The images carry different values of {_KEYWORDS[name]}, so they may be of different patients. "
                "Send the images of one patient.",
                keyword=_KEYWORDS[name],
            )
        merged[name] = min(values, key=str) if values else None
    return PatientIdentity.model_validate(merged)


def _names_differ(names: Iterable[str]) -> bool:
    """Whether Patient's Names (PS3.5 6.2.1) are of different people, and not one name in two formats.

    Case, accents, spaces, empty components at the end and the kind of separator are formatting. A name may come in
    up to three scripts (alphabetic, ideographic, phonetic); only equal scripts can be compared.
    """
    scripts: dict[int, set[str]] = {}
    for name in names:
        for number, group in enumerate(name.split("=")):
            letters = unicodedata.normalize("NFKD", group).casefold()
            plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
            if parts := tuple(filter(None, _BETWEEN_PARTS.split(plain))):
                scripts.setdefault(number, set()).add(" ".join(parts))
    return any(len(found) > 1 for found in scripts.values())


def require_expected_patient(patient: PatientIdentity, expected: ExpectedPatient) -> None:
    """Compare the images with what the request says about the patient.

    Raises:
        PatientMismatch: A value differs, or the images lack it, so that it cannot be confirmed.
    """
    for name in ("patient_id", "birth_date", "sex"):
        wanted, found = getattr(expected, name), getattr(patient, name)
        if not wanted or wanted.strip() == found:
            continue
        keyword = _KEYWORDS[name]
        if found is None:
            problem = (
                f"The images lack {keyword}, so the patient cannot be confirmed. "
                "Send images that carry it, or leave it out of the request."
            )
        else:
            problem = f"{keyword} of the images is not what the request expects. Check which patient is meant."
        raise PatientMismatch(problem, keyword=keyword)
