"""What is kept of a prediction, and that nothing that names a patient is among it."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.case.study_description import PatientIdentity, SeriesDescription, StudyDescription
from oncoresponse.model.folder import ModelFolder
from oncoresponse.monitoring.records import age_decade, prediction_record
from oncoresponse.monitoring.training_reference import PROBABILITY, training_references
from oncoresponse.response.model import ResponseModel

pytestmark = pytest.mark.slow

CREATED = datetime.datetime(2026, 3, 31, 23, 30, tzinfo=datetime.UTC)
SECRETS = (
    "PATIENT-4711",
    "Doe^Jane",
    "19600131",
    "1.2.840.99999",
    "ACC-1",
    "20260331",
    "a1b2c3",
    "Head office",
    "61.5",
)


@pytest.fixture(scope="module")
def model(models_that_predict: Path) -> ResponseModel:
    return ResponseModel.open(ModelFolder.open(models_that_predict / "sts-petct"))


@pytest.fixture(scope="module")
def large_and_hot(model) -> dict[str, float]:
    document = model.document
    return {entry.name: training.high for entry, training in zip(document.inputs, document.training, strict=True)}


@pytest.fixture(scope="module")
def prediction(model, large_and_hot):
    return model.predict(large_and_hot)


def study(**patient) -> StudyDescription:
    return StudyDescription(
        study_instance_uid="1.2.840.99999.1",
        accession_number="ACC-1",
        study_date_time="20260331T101010",
        patient=PatientIdentity(
            **{
                "patient_id": "PATIENT-4711",
                "name": "Doe^Jane",
                "birth_date": "19600131",
                "sex": "F",
                "age_years": 61.5,
                **patient,
            }
        ),
        series=(
            SeriesDescription(
                series_instance_uid="1.2.840.99999.2",
                modality="PT",
                sop_class_uid="1.2.840.10008.5.1.4.1.1.128",
                frame_of_reference_uid="1.2.840.99999.3",
                description="Head office WB",
                manufacturer="GE MEDICAL SYSTEMS",
                manufacturer_model_name="Discovery ST",
                sop_instance_uids=("1.2.840.99999.4",),
                instance_sha256=("a1b2c3",),
            ),
        ),
    )


def test_inputs_answer_and_groups_are_kept_and_nothing_that_names_the_patient(prediction, large_and_hot):
    kept = prediction_record("assessments/x", CREATED, prediction, study=study(), covariates={"race": 3, "suv_max": 24})
    assert kept.inputs == large_and_hot
    assert (kept.answer, kept.abstained, kept.month) == ("unfavorable", False, "2026-03")
    assert kept.probability == prediction.probability
    assert kept.outside_score == prediction.outside.score / prediction.outside.threshold
    assert kept.groups == {
        "sex": "female",
        "age_years": "60 to 69",
        "scanner": "GE MEDICAL SYSTEMS Discovery ST",
        "race": "3",
    }
    written = json.dumps(dataclasses.asdict(kept))
    assert not [secret for secret in SECRETS if secret in written]


def test_month_is_that_of_universal_time(prediction):
    created = datetime.datetime(2026, 3, 31, 23, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=-5)))
    assert prediction_record("assessments/x", created, prediction).month == "2026-04"


def test_abstention_is_kept_with_its_reasons(model, large_and_hot):
    extreme = {entry.name: 0.95 * entry.maximum for entry in model.document.inputs}
    kept = prediction_record("assessments/x", CREATED, model.predict(extreme))
    assert kept.abstained
    assert kept.answer == "out_of_distribution"
    assert "OUTSIDE_TRAINING_DATA" in kept.abstain_codes
    missing = prediction_record("assessments/x", CREATED, model.predict({**large_and_hot, "suv_max": float("nan")}))
    assert (missing.probability, missing.abstain_codes) == (None, ("INPUT_NOT_FINITE",))


def test_references_are_the_inputs_of_the_model_and_its_probability(model):
    references = training_references(model.document)
    assert [entry.name for entry in references] == [*model.document.input_names, PROBABILITY]
    for reference, training in zip(references[:-1], model.document.training, strict=True):
        assert (reference.values[0], reference.values[-1]) == (training.minimum, training.maximum)
        assert reference.median == pytest.approx(training.median)
    assert references[-1].complete
    assert references[-1].patients == model.document.training_patients
    assert all((np.diff(entry.values) > 0).all() and entry.shares[-1] == 1 for entry in references)


def test_age_above_ninety_is_no_exact_age(prediction):
    aged = prediction.model_copy(
        update={
            "contributions": tuple(
                item.model_copy(update={"input": f"{item.input}_a", "unit": "a", "value": 93.0})
                for item in prediction.contributions
            )
        }
    )
    kept = prediction_record("assessments/x", CREATED, aged, study=study(age_years=93.0))
    assert set(kept.inputs.values()) == {90.0}
    assert kept.groups["age_years"] == "90 or older"


@settings(deadline=None)
@given(st.floats(0, 130))
def test_decade_of_an_age(age):
    words = age_decade(age).split()
    assert int(words[0]) <= age
    assert words[1:] == ["or", "older"] or age < int(words[2]) + 1


@pytest.mark.parametrize("scanner", ["Ünïcode\nScanner;DROP", "x" * 200, "???"])
def test_scanner_becomes_a_plain_group(prediction, scanner):
    odd = study()
    series = odd.series[0].model_copy(update={"manufacturer": None, "manufacturer_model_name": scanner})
    kept = prediction_record("assessments/x", CREATED, prediction, study=odd.model_copy(update={"series": (series,)}))
    found = kept.groups.get("scanner", "x")
    assert len(found) <= 40
    assert all(letter.isascii() and letter not in "\n;?" for letter in found)
