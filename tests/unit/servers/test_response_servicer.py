"""PredictResponse of a model of images, of the shipped model of a table, and without evidence; no server around it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from oncoradiomics.extraction import engine_version
from oncoradiomics.features import ExtractionIdentity, FeatureDocument, Measure
from oncoradiomics.settings import Settings
from oncoresponse.case.prediction import Answer, Prediction
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.study_description import PatientIdentity, StudyDescription
from oncoresponse.case.volume import Volume
from oncoresponse.errors import InvalidRequest, QuantityMismatch, SettingsMismatch
from oncoresponse.model.folder import seal_model_folder
from oncoresponse.response.input_provenance import NOT_DECLARED, PROVENANCE_UNDECLARED
from oncoresponse.response.training_fingerprints import FINGERPRINTS_FILE, TrainingFingerprints
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.servers.prediction_stage import PredictionStage
from oncoresponse.servers.response_servicer import ResponseServicer
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import artifact_pb2, response_pb2

MODELS = Path(__file__).parents[3] / "models"
KEY = b"a secret that only the site has"
IDENTITY = ExtractionIdentity(
    engine="oncoradiomics native",
    engine_version=engine_version("native"),
    settings_sha256=Settings.from_yaml(MODELS / "sts-petct" / "radiomics" / "settings.yaml").sha256,
    image_quantity="g/mL{SUVbw}",
)
"""How the service itself makes the features of sts-petct."""
PATIENT = {
    "age_years": 48.0,
    "hormone_receptor_positive": 0.0,
    "her2_positive": 1.0,
    "mammaprint_high": 1.0,
    "tumor_volume_ml": 12.0,
    "tumor_slice_extent_mm": 40.0,
}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "store"))


async def _opened(store: ArtifactStore, models: Path, key: bytes | None = KEY) -> ResponseServicer:
    stage = PredictionStage(store, models, key)
    await stage.make_ready()
    return ResponseServicer(stage)


@pytest.fixture
async def servicer(store: ArtifactStore, models_that_predict: Path) -> ResponseServicer:
    return await _opened(store, models_that_predict)


def _features(store: ArtifactStore, volume: float, uptake: float, **changed: str) -> artifact_pb2.ArtifactReference:
    measures = tuple(
        Measure(name=name, title=name, value=value, unit=unit, method="Stated")
        for name, value, unit in (("lesion_volume", volume, "ml"), ("suv_max", uptake, "g/mL"))
    )
    document = FeatureDocument(**(IDENTITY.model_dump() | changed), features=(), measures=measures)
    return artifact_message(store.put_document(document))


def _covariates(**values: float) -> list[response_pb2.Covariate]:
    return [response_pb2.Covariate(name=name, value=value) for name, value in values.items()]


async def test_a_model_of_a_table_is_predicted_from_covariates_alone(
    servicer: ResponseServicer, store: ArtifactStore
) -> None:
    request = response_pb2.PredictResponseRequest(model="models/breast-nac", covariates=_covariates(**PATIENT))
    response = await servicer.PredictResponse(request, None)
    full = store.read_document(stored_artifact(response.prediction_document), Prediction)
    assert full.model_name == "breast-nac"
    assert response.prediction.probability == full.probability
    assert list(response.prediction.sentences) == list(full.sentences)
    assert {item.group for item in response.prediction.contributions} == {"patient", "size"}


async def test_an_automatic_contour_of_the_study_is_the_first_limit(
    servicer: ResponseServicer, store: ArtifactStore
) -> None:
    for kind, word in (("AUTOMATIC", "automatic segmentation"), ("SEMIAUTOMATIC", "AI-assisted"), ("MANUAL", None)):
        request = response_pb2.PredictResponseRequest(
            model="models/sts-petct", features=_features(store, 50.0, 8.0), contour_algorithm_type=kind
        )
        response = await servicer.PredictResponse(request, None)
        full = store.read_document(stored_artifact(response.prediction_document), Prediction)
        assert (word is None) == ("came with the study" not in full.limits[0])
        assert word is None or word in full.limits[0]


async def test_a_covariate_that_is_missing_is_named(servicer: ResponseServicer) -> None:
    known = {name: value for name, value in PATIENT.items() if name != "her2_positive"}
    request = response_pb2.PredictResponseRequest(model="models/breast-nac", covariates=_covariates(**known))
    with pytest.raises(InvalidRequest, match="'her2_positive'"):
        await servicer.PredictResponse(request, None)


async def test_a_model_of_images_needs_features(servicer: ResponseServicer) -> None:
    with pytest.raises(InvalidRequest, match="features"):
        await servicer.PredictResponse(response_pb2.PredictResponseRequest(model="models/sts-petct"), None)


async def test_features_of_other_contours_give_the_interval_they_leave_open(
    servicer: ResponseServicer, store: ArtifactStore
) -> None:
    request = response_pb2.PredictResponseRequest(
        model="models/sts-petct",
        features=_features(store, 800.0, 24.0),
        variant_features=[_features(store, volume, 24.0) for volume in (600.0, 1100.0)],
    )
    prediction = (await servicer.PredictResponse(request, None)).prediction
    assert prediction.contour_low < prediction.probability < prediction.contour_high
    request.ClearField("variant_features")
    assert not (await servicer.PredictResponse(request, None)).prediction.HasField("contour_low")


async def test_a_tumor_cut_by_the_border_is_predicted_up_to_its_upper_bound(
    servicer: ResponseServicer, store: ArtifactStore
) -> None:
    request = response_pb2.PredictResponseRequest(
        model="models/sts-petct", features=_features(store, 250.0, 9.0), volume_high_ml=500.0
    )
    cut = (await servicer.PredictResponse(request, None)).prediction
    request = response_pb2.PredictResponseRequest(model="models/sts-petct", features=_features(store, 500.0, 9.0))
    whole = (await servicer.PredictResponse(request, None)).prediction
    assert cut.contour_low == pytest.approx(whole.probability)
    assert cut.contour_high == cut.probability


def _with_fingerprints(models: Path, to: Path, fingerprints: TrainingFingerprints) -> Path:
    """The same models, the one of images with these fingerprints."""
    shutil.copytree(models, to, copy_function=os.link)
    folder = to / "sts-petct"
    for path in (folder / "response" / FINGERPRINTS_FILE, folder / "manifest.json"):
        path.unlink()  # linked: never written through
    (folder / "response" / FINGERPRINTS_FILE).write_text(fingerprints.model_dump_json(), encoding="utf-8")
    seal_model_folder(folder)
    return to


def _tomography(seed: int) -> Volume:
    array = np.random.default_rng(seed).normal(40, 60, size=(6, 24, 20)).round().astype(np.int16)
    return Volume(sitk.GetImageFromArray(array), Quantity.HOUNSFIELD, "1.2.3", "1.2.4")


async def test_a_training_patient_is_recognized_by_images_or_identifier_and_gets_no_call(
    store: ArtifactStore, models_that_predict: Path, tmp_path: Path
) -> None:
    image = tmp_path / "CT.nii.gz"
    sitk.WriteImage(_tomography(1).image, str(image))
    known = TrainingFingerprints.of_patients(["MRN 7"], KEY, [image])
    servicer = await _opened(store, _with_fingerprints(models_that_predict, tmp_path / "models", known))

    async def ask(tomography: int, patient: str) -> response_pb2.Prediction:
        described = StudyDescription(study_instance_uid="1.2.5", patient=PatientIdentity(patient_id=patient), series=())
        request = response_pb2.PredictResponseRequest(
            model="models/sts-petct",
            features=_features(store, 800.0, 24.0),
            images=[artifact_message(store.put_volume(_tomography(tomography)))],
            study_description=artifact_message(store.put_document(described)),
        )
        return (await servicer.PredictResponse(request, None)).prediction

    stranger = await ask(2, "MRN 8")
    assert not stranger.used_in_training
    assert stranger.answer == response_pb2.PREDICTION_ANSWER_UNFAVORABLE
    assert stranger.call_evidence.allowed
    assert stranger.call_evidence.call == stranger.answer
    assert 0.7 <= stranger.call_evidence.right <= 1
    for found in (await ask(1, "MRN 8"), await ask(2, "mrn 7 ")):
        assert found.used_in_training
        assert found.answer == response_pb2.PREDICTION_ANSWER_INDETERMINATE
        assert "was trained on this patient" in found.abstain_reasons[0]


async def test_without_evidence_the_answer_says_so_and_holds_no_number(
    store: ArtifactStore, models_that_predict: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(models_that_predict, models, copy_function=os.link)
    folder = models / "sts-petct"
    shutil.rmtree(folder / "response")
    (folder / "manifest.json").unlink()
    (folder / "response").mkdir()
    (folder / "response" / "response.json").write_text('{"evidence": "none", "statement": "Nothing was found."}')
    seal_model_folder(folder)
    servicer = await _opened(store, models, None)
    request = response_pb2.PredictResponseRequest(model="models/sts-petct", features=_features(store, 800.0, 24.0))
    response = await servicer.PredictResponse(request, None)
    found = response.prediction
    assert found.answer == response_pb2.PREDICTION_ANSWER_NO_EVIDENCE
    assert not found.HasField("probability")
    assert not found.HasField("call_evidence")
    assert list(found.abstain_reasons) == ["Nothing was found."]
    full = store.read_document(stored_artifact(response.prediction_document), Prediction)
    assert full.answer is Answer.NO_EVIDENCE


async def test_a_contour_that_needs_review_gets_no_answer(store: ArtifactStore, models_that_predict: Path) -> None:
    """No answer stands on figures that the same report says not to use."""
    servicer = await _opened(store, models_that_predict, None)
    request = response_pb2.PredictResponseRequest(model="models/sts-petct", features=_features(store, 800.0, 24.0))
    reason = "PET and CT lie at least 15 mm apart at the tumor."
    request.contour_review_reasons.append(reason)
    response = await servicer.PredictResponse(request, None)
    assert response.prediction.answer == response_pb2.PREDICTION_ANSWER_INDETERMINATE
    assert reason in response.prediction.abstain_reasons
    full = store.read_document(stored_artifact(response.prediction_document), Prediction)
    assert "CONTOUR_NEEDS_REVIEW" in [item.code for item in full.abstain_reasons]


@pytest.mark.parametrize(
    ("changed", "error", "word"),
    [
        ({"image_quantity": "HU"}, QuantityMismatch, "HU"),
        ({"settings_sha256": "0" * 64}, SettingsMismatch, "the settings differ"),
        ({"engine": "pyradiomics"}, SettingsMismatch, "the engines differ"),
        ({"engine_version": "0.0.1"}, SettingsMismatch, "the versions of the engine differ"),
    ],
)
async def test_features_made_otherwise_than_those_of_the_training_are_refused(
    servicer: ResponseServicer, store: ArtifactStore, changed: dict[str, str], error: type[Exception], word: str
) -> None:
    right = response_pb2.PredictResponseRequest(model="models/sts-petct", features=_features(store, 800.0, 24.0))
    response = await servicer.PredictResponse(right, None)
    full = store.read_document(stored_artifact(response.prediction_document), Prediction)
    assert full.provenance == "DECLARED"
    wrong = _features(store, 800.0, 24.0, **changed)
    for request in (
        response_pb2.PredictResponseRequest(model="models/sts-petct", features=wrong),
        response_pb2.PredictResponseRequest(
            model="models/sts-petct", features=right.features, variant_features=[right.features, wrong]
        ),
    ):
        with pytest.raises(error, match=word):
            await servicer.PredictResponse(request, None)


async def test_an_answer_from_covariates_alone_says_that_nobody_declared_how_they_were_measured(
    servicer: ResponseServicer, store: ArtifactStore
) -> None:
    request = response_pb2.PredictResponseRequest(model="models/breast-nac", covariates=_covariates(**PATIENT))
    response = await servicer.PredictResponse(request, None)
    full = store.read_document(stored_artifact(response.prediction_document), Prediction)
    assert full.provenance == PROVENANCE_UNDECLARED
    assert NOT_DECLARED in full.limits
