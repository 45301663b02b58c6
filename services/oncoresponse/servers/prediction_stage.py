"""Prediction: what the response model says of the lesion, or of the totals, that the model predicts from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from oncoradiomics.features import FeatureDocument

from oncoresponse.case.case import Case, Finding, Lesion
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.stage_software import StageSoftware
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.study_description import StudyDescription
from oncoresponse.errors import InvalidRequest
from oncoresponse.model.cache import ModelCache
from oncoresponse.model.folder import ModelFolder
from oncoresponse.response.answering import MeasuredLesion, OpenedModel, answer
from oncoresponse.response.lesion_choice import chosen_lesions
from oncoresponse.response.lesion_totals import lesions_together
from oncoresponse.response.measures_only import open_response_model
from oncoresponse.response.training_fingerprints import TrainingFingerprints
from oncoresponse.servers.stage_software import stage_software
from oncoresponse.storage.artifact_store import ArtifactStore


class PredictionStage:
    """Predicts from a measured case.

    Args:
        artifacts: Where documents are read from and written to.
        models_directory: Installed models; each checks its golden vectors when it is opened.
        fingerprint_key: The site's secret under which training wrote the fingerprints of its patients.
    """

    def __init__(self, artifacts: ArtifactStore, models_directory: Path, fingerprint_key: bytes | None = None) -> None:
        self.artifacts = artifacts
        self.known_patients = KnownPatients(artifacts, fingerprint_key)
        self.models = ModelCache(models_directory, opened_model, needs="response")

    async def make_ready(self) -> None:
        """Load all response models."""
        await asyncio.to_thread(self.models.load_all)

    async def close(self) -> None:
        """Nothing to give back."""

    async def run(self, case: Case, model: str, model_sha256: str) -> Case:
        """Predict."""
        return await asyncio.to_thread(self._run, case, model, model_sha256)

    def software(self) -> StageSoftware:
        """What it runs with."""
        return stage_software("numpy", "scipy", "scikit-learn", "xgboost")

    def _run(self, case: Case, model: str, model_sha256: str) -> Case:
        folder, opened = self.models.get(model, model_sha256)
        covariates = case.order.covariates
        choice = chosen_lesions(case.lesions, folder.imaging.predict_from)
        known = self.known_patients.used_in_training(
            opened.fingerprints, case.study, [image.volume for image in case.images]
        )
        measured = [self._measured(lesion) for lesion in choice.lesions]
        if folder.imaging.predict_from == "all lesions":
            measured = [lesions_together(measured)]
        prediction = answer(
            opened,
            measured[0] if measured else MeasuredLesion(),
            covariates,
            used_in_training=known,
            lesions_left_open=0 if measured else len(case.lesions),
            measures_without_covariates=True,
        )
        stored = self.artifacts.put_document(prediction)
        if opened.needs_lesion(covariates):
            numbers, words = tuple(lesion.number for lesion in choice.lesions), choice.words
        else:
            numbers, words = (), "the values that came with the request"
        finding = Finding(document=stored, lesions=numbers, made_from=words)
        return case.with_changes(findings=(*case.findings, finding), outputs=case.outputs | {"prediction.json": stored})

    def _measured(self, lesion: Lesion) -> MeasuredLesion:
        def document(stored: StoredArtifact) -> FeatureDocument:
            return self.artifacts.read_document(stored, FeatureDocument)

        if lesion.features is None:
            raise InvalidRequest(f"Lesion {lesion.number} was not measured.")
        supplied = lesion.request is not None and lesion.request.contour is not None
        return MeasuredLesion(
            features=document(lesion.features),
            variants=[document(stored) for stored in lesion.variant_features],
            review_reasons=lesion.review_reasons,
            volume_high_ml=lesion.volume_high_ml,
            algorithm_type=lesion.supplied_algorithm_type or "" if supplied else "",
        )


class KnownPatients:
    """Recognizes the patients that a model was trained on, by images and by identity.

    Args:
        artifacts: Holds images and study descriptions.
        fingerprint_key: Without one patients are recognized by their images alone.
    """

    def __init__(self, artifacts: ArtifactStore, fingerprint_key: bytes | None) -> None:
        self._artifacts = artifacts
        self._fingerprint_key = fingerprint_key

    def used_in_training(
        self, fingerprints: TrainingFingerprints, description: StoredArtifact | None, images: Sequence[StoredArtifact]
    ) -> bool:
        """Whether the patient of a study is among those of the fingerprints."""
        if description is not None and self._fingerprint_key is not None:
            identifier = self._artifacts.read_document(description, StudyDescription).patient.patient_id
            if fingerprints.knows_identifier(identifier or "", self._fingerprint_key):
                return True
        for stored in images:
            volume = self._artifacts.read_volume(stored)
            if volume.quantity is Quantity.HOUNSFIELD and fingerprints.knows_slices(volume.array):
                return True
        return False


def opened_model(folder: ModelFolder) -> OpenedModel:
    """The response model of a folder, and its training fingerprints."""
    return OpenedModel(open_response_model(folder), TrainingFingerprints.of_model(folder))
