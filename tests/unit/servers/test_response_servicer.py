"""PredictResponse of both shipped models, without a server around it."""

from __future__ import annotations

from pathlib import Path

import pytest
from oncoradiomics.features import FeatureDocument, Measure
from oncoresponse.errors import InvalidRequest
from oncoresponse.response.prediction import Prediction
from oncoresponse.servers.radiomics_servicer import RadiomicsServicer
from oncoresponse.servers.response_servicer import ResponseServicer
from oncoresponse.storage.artifact_store import ArtifactStore, StoredArtifact
from oncoresponse.v1 import artifact_pb2, response_pb2

MODELS = Path(__file__).parents[3] / "models"
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


@pytest.fixture
async def servicer(store: ArtifactStore) -> ResponseServicer:
    servicer = ResponseServicer(store, MODELS)
    await servicer.make_ready()
    return servicer


def _features(store: ArtifactStore, volume: float, uptake: float) -> artifact_pb2.ArtifactReference:
    measures = tuple(
        Measure(name=name, title=name, value=value, unit=unit, method="Stated")
        for name, value, unit in (("lesion_volume", volume, "ml"), ("suv_max", uptake, "g/mL"))
    )
    document = FeatureDocument(
        engine="pyradiomics",
        engine_version="3.0.1",
        settings_sha256="0" * 64,
        image_quantity="suv_body_weight",
        features=(),
        measures=measures,
        undefined_features=(),
    )
    return store.put_document(document).to_message()


def _covariates(**values: float) -> list[response_pb2.Covariate]:
    return [response_pb2.Covariate(name=name, value=value) for name, value in values.items()]


async def test_a_model_of_a_table_is_predicted_from_covariates_alone(
    servicer: ResponseServicer, store: ArtifactStore
) -> None:
    request = response_pb2.PredictResponseRequest(model="models/breast-nac", covariates=_covariates(**PATIENT))
    response = await servicer.PredictResponse(request, None)
    full = store.read_document(StoredArtifact.from_message(response.prediction_document), Prediction)
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
        full = store.read_document(StoredArtifact.from_message(response.prediction_document), Prediction)
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


async def test_the_other_services_pass_a_model_by_that_has_no_part_for_them(store: ArtifactStore) -> None:
    radiomics = RadiomicsServicer(store, MODELS, 1)
    try:
        await radiomics.make_ready()
    finally:
        await radiomics.close()
