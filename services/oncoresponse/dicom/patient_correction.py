"""The identity of a patient in a study index, put right where an archive had it wrong. Files are not changed.

DICOM calls that coercion (PS3.4 section B.4.1.3, PS3.3 section C.12.1.1.9): an archive answers with the corrected
Patient ID. Here everything later reads the index, so the index is what is corrected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.charset import convert_encodings, encode_string

from oncoresponse.case.study_index import Header, IndexedPatient, IndexedSeries, StudyIndex, element_text, element_value
from oncoresponse.errors import InvalidRequest

_CHARACTER_SET = "00080005"
_PATIENT_ID, _ISSUER, _NAME, _BIRTH_DATE, _SEX = "00100020", "00100021", "00100010", "00100030", "00100040"
_VR = {_PATIENT_ID: "LO", _ISSUER: "LO", _NAME: "PN", _BIRTH_DATE: "DA", _SEX: "CS"}
# Of the person that the files name: other identifiers and names, issuer's qualifiers, birth name and time, mother,
# address, telephone, military rank, comments, and the age, which follows from the birth date.
_OF_OTHER_PERSON = frozenset(
    f"0010{element:04X}"
    for element in (
        *(0x0022, 0x0024, 0x0032, 0x0050, 0x1000, 0x1001, 0x1002, 0x1005),
        *(0x1010, 0x1040, 0x1060, 0x1080, 0x1081, 0x2154, 0x2155, 0x4000),
    )
)


@dataclass(frozen=True)
class CorrectIdentity:
    """Whose a study is.

    Attributes:
        patient_id, issuer_of_patient_id: (0010,0020) and (0010,0021).
        other_person: The files name another person; then the next three hold, empty ones too, and what else the files
            say of that person is left out. Weight and height stay: they are of the one who lay in the scanner.
        name, birth_date, sex: (0010,0010), (0010,0030) as YYYYMMDD, (0010,0040).
    """

    patient_id: str
    issuer_of_patient_id: str = ""
    other_person: bool = False
    name: str = ""
    birth_date: str = ""
    sex: str = ""


def corrected_index(index: StudyIndex, identity: CorrectIdentity) -> StudyIndex:
    """The index with the right identity in every header.

    Raises:
        InvalidRequest: An object can be read from its file alone, which names the wrong one; or the name cannot be
            written in the character set of the files.
    """
    if any(entry.completeness == "none" for series in index.series for entry in series.objects):
        raise InvalidRequest(
            "An object of the study has no header in the index and can be read from its file alone, which names the "
            "wrong patient. Correct the files in the archive, and send the study again."
        )
    patient = IndexedPatient(patient_id=identity.patient_id, issuer_of_patient_id=identity.issuer_of_patient_id)
    return index.model_copy(
        update={
            "patients": (patient,),
            "series": tuple(_corrected_series(series, identity) for series in index.series),
        }
    )


def _corrected_series(series: IndexedSeries, identity: CorrectIdentity) -> IndexedSeries:
    values = {_PATIENT_ID: identity.patient_id, _ISSUER: identity.issuer_of_patient_id}
    leave_out: frozenset[str] = frozenset()
    if identity.other_person:
        values |= {_NAME: identity.name, _BIRTH_DATE: identity.birth_date, _SEX: identity.sex}
        leave_out = _OF_OTHER_PERSON
    gone = leave_out | set(values)
    objects = tuple(
        entry.model_copy(update={"header": {tag: text for tag, text in entry.header.items() if tag not in gone}})
        for entry in series.objects
    )
    if any(_CHARACTER_SET in entry.header for entry in series.objects) and not all(
        value.isascii() for value in values.values()
    ):
        raise InvalidRequest("The files of one series have several character sets. Write the name in ASCII.")
    written = {tag: _text(tag, value, series) for tag, value in values.items()}
    common: Header = {tag: text for tag, text in series.common.items() if tag not in gone}
    return series.model_copy(update={"common": common | written, "objects": objects})


def _text(tag: str, value: str, series: IndexedSeries) -> str:
    vr = None if series.implicit_vr else _VR[tag]
    if not value:
        return element_text(vr, None)
    return element_text(vr, _encoded(value, series.common))


def _encoded(value: str, header: Mapping[str, str]) -> bytes:
    if value.isascii():
        return value.encode("ascii")
    _, stored = element_value(header[_CHARACTER_SET]) if _CHARACTER_SET in header else (None, None)
    names = [part.strip() for part in (stored or b"").decode("ascii", "replace").split("\\")]
    try:
        encodings = convert_encodings(names)
        encoded = encode_string(value, encodings)
        if b"?" in encoded and "?" not in value:
            raise UnicodeEncodeError("DICOM", value, 0, 1, "not in the character set")
    except (LookupError, UnicodeError) as error:
        raise InvalidRequest(
            "The name cannot be written in the character set of the files. Write it in ASCII, or leave it out."
        ) from error
    return encoded
