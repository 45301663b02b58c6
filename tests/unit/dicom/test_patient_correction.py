"""The identity in a study index, put right: what everything later reads."""

import pytest
from oncoresponse.case.study_index import StudyIndex
from oncoresponse.dicom.patient_correction import CorrectIdentity, corrected_index
from oncoresponse.dicom.study_index import read_object, study_from_index
from oncoresponse.errors import InvalidRequest


@pytest.fixture
def index_of(write_series):
    """The index of a synthetic series."""

    def make() -> StudyIndex:
        named = {"PatientName": "Wrong^One", "PatientBirthDate": "19400101", "OtherPatientIDs": "SYNTHETIC-2"}
        series = write_series(modality="CT", attributes=named)
        return StudyIndex.of(read_object(path) for path in series.files)

    return make


def patient_of(index: StudyIndex):
    study = study_from_index(index, lambda _: pytest.fail("no file is opened"))
    return study.instances[0].patient


def test_another_person_has_nothing_of_the_one_whom_the_files_name(index_of):
    index = index_of()
    before = patient_of(index)
    right = CorrectIdentity("R-1", "Issuer", other_person=True, name="Right^One", birth_date="19600102", sex="F")
    corrected = corrected_index(index, right)
    after = patient_of(corrected)
    assert (after.patient_id, after.issuer_of_patient_id, after.name) == ("R-1", "Issuer", "Right^One")
    assert (after.birth_date, after.sex) == ("19600102", "F")
    assert before.patient_id not in corrected.model_dump_json()
    assert [patient.patient_id for patient in corrected.patients] == ["R-1"]
    # Given up without a value, it is empty, and not what the files say.
    assert patient_of(corrected_index(index, CorrectIdentity("R-2", other_person=True))).name is None


def test_one_person_with_another_identifier_keeps_the_rest(index_of):
    index = index_of()
    before, after = patient_of(index), patient_of(corrected_index(index, CorrectIdentity("R-3")))
    assert after == before.model_copy(update={"patient_id": "R-3", "issuer_of_patient_id": None})


def test_a_name_that_the_character_set_of_the_files_lacks_is_refused(index_of):
    with pytest.raises(InvalidRequest, match="character set"):
        corrected_index(index_of(), CorrectIdentity("R-4", other_person=True, name="右^人"))
