"""Report: everything that was found, as FHIR, PDF, PNG, DICOM objects and 3D models."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from oncoradiomics.features import FeatureDocument
from pydicom.dataset import Dataset

import oncoresponse
from oncoresponse.case.artifact_names import BUNDLE_R5, PATIENT_PAGE
from oncoresponse.case.case import Case, Lesion
from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.case.prediction import Prediction
from oncoresponse.case.stage_software import StageSoftware
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.study_description import StudyDescription
from oncoresponse.case.volume import Volume
from oncoresponse.errors import InvalidRequest
from oncoresponse.model.cache import ModelCache
from oncoresponse.model.definition import ImagingResponse
from oncoresponse.model.folder import ModelFolder
from oncoresponse.reporting.compose import compose_report
from oncoresponse.reporting.dicom_objects.report_objects import report_objects, reported_surfaces
from oncoresponse.reporting.lesion_map import lesion_map
from oncoresponse.reporting.report_content import ReportContext, ReportedLesion, SourceArtifact
from oncoresponse.reporting.report_site import NO_SITE, ReportSite
from oncoresponse.servers.indexed_study import headers_of_images
from oncoresponse.servers.stage_software import stage_software
from oncoresponse.storage.artifact_store import DICOM_MEDIA_TYPE, ArtifactStore
from oncoresponse.storage.study_manifest import StudyManifest

_PACKAGES = ("numpy", "SimpleITK", "fhir.resources", "highdicom", "pydicom", "matplotlib", "pillow", "typst", "trimesh")
_WORDS_OF_MODALITY = {"PT": "PET volume", "CT": "CT volume", "MR": "MR volume"}


class ReportStage:
    """Composes the report. The same case gives the same bytes.

    Args:
        artifacts: Where documents are read from and written to.
        models_directory: Installed models.
        performing_organization: Name of the institution; empty for none.
        margin_mm: Width of the shell around lesions on CT, above 0; ``None`` for none.
        site: What reports need to know of the hospital.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        models_directory: Path,
        performing_organization: str,
        margin_mm: float | None = None,
        site: ReportSite = NO_SITE,
    ) -> None:
        self._artifacts = artifacts
        self._models = ModelCache(models_directory, _folder_itself)
        self._performing_organization = performing_organization or None
        self._margin_mm = margin_mm
        self._site = site

    async def make_ready(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def run(self, case: Case, model: str, model_sha256: str) -> Case:
        """Compose."""
        return await asyncio.to_thread(self._run, case, model, model_sha256)

    def software(self) -> StageSoftware:
        """What it runs with."""
        return stage_software(
            *_PACKAGES, performing_organization=self._performing_organization, site=_stated(self._site)
        )

    def _run(self, case: Case, model: str, model_sha256: str) -> Case:
        store = self._artifacts
        folder, _ = self._models.get(model, model_sha256)
        definition = folder.imaging
        if case.study is None or not case.lesions:
            raise InvalidRequest("A report needs a case with a study and a lesion.")
        study = store.read_document(case.study, StudyDescription)
        finding = case.findings[0] if case.findings else None
        context = ReportContext(
            assessment_id=case.order.report_id,
            issued=case.order.issued,
            model=definition,
            model_sha256=folder.sha256,
            study=study,
            lesions=tuple(self._reported(lesion) for lesion in case.lesions),
            totals=case.totals,
            prediction=None if finding is None else store.read_document(finding.document, Prediction),
            predicted_lesions=() if finding is None else finding.lesions,
            predicted_from="" if finding is None else finding.made_from,
            software_version=oncoresponse.__version__,
            planned_treatment=case.order.planned_treatment or None,
            artifacts=_sources(case, definition),
            patient_reference=case.order.patient_reference or None,
            service_request_reference=case.order.service_request_reference or None,
            encounter_reference=case.order.encounter_reference or None,
            performing_organization=self._performing_organization,
            site=self._site,
            model_card=_model_card(folder),
            replaces=case.order.replaces,
        )
        shown = (image for role in definition.show if (image := case.image(role)) is not None)
        volumes = {image.input_role: store.read_volume(image.volume) for image in shown}
        lesions = lesion_map(store.read_volume(lesion.mask) for lesion in case.lesions if lesion.mask is not None)
        headers = self._source_headers(case, study, definition.segment_on)
        models, context = reported_surfaces(context, lesions, self._ct(case, volumes), self._margin_mm)
        report = compose_report(context, volumes, lesions, headers, models)
        objects = report_objects(context, report, models, headers)
        outputs: dict[str, StoredArtifact] = {
            "report.json": store.put_bytes(report.bundle_json, "application/fhir+json"),
            "report.pdf": store.put_bytes(report.pdf, "application/pdf"),
            "report-page.json": store.put_bytes(report.page, "application/json"),
            "key-image.png": store.put_bytes(report.key_image, "image/png"),
            "segmentation.dcm": store.put_bytes(report.segmentation, DICOM_MEDIA_TYPE),
            BUNDLE_R5: store.put_bytes(report.bundle_r5, "application/fhir+json"),
            PATIENT_PAGE: store.put_bytes(report.patient_page, "text/html"),
            "surfaces.glb": store.put_bytes(objects.scene, "model/gltf-binary"),
        }
        for name, data in objects.dicom.items():
            outputs[name] = store.put_bytes(data, DICOM_MEDIA_TYPE)
        if objects.distances is not None:
            outputs["distances.json"] = store.put_bytes(objects.distances, "application/json")
        return case.with_changes(outputs=case.outputs | outputs, result_summary=report.summary)

    def _ct(self, case: Case, volumes: Mapping[str, Volume]) -> Volume | None:
        """The CT of the case: one that is shown, else any other."""
        found = next((image for image in case.images if image.modality == "CT"), None)
        if found is None:
            return None
        return volumes.get(found.input_role) or self._artifacts.read_volume(found.volume)

    def _reported(self, lesion: Lesion) -> ReportedLesion:
        if lesion.mask is None or lesion.summary is None or lesion.features is None:
            raise InvalidRequest("A report needs lesions that were contoured and measured.")
        return ReportedLesion(
            number=lesion.number,
            label=lesion.label,
            features=self._artifacts.read_document(lesion.features, FeatureDocument),
            segmentation=self._artifacts.read_document(lesion.summary, SegmentationSummary),
        )

    def _source_headers(self, case: Case, study: StudyDescription, input_role: str) -> list[Dataset]:
        """Headers of the series that lesions were contoured on, to which the DICOM segmentation refers."""
        series = study.series_of_role(input_role)
        if series is None:
            raise InvalidRequest("The study description does not hold the series the contour is drawn on.")
        manifest = self._artifacts.read_document(case.study_manifest, StudyManifest)
        if not set(series.instance_sha256) <= {instance.sha256 for instance in manifest.instances}:
            raise InvalidRequest("The study manifest lacks instances that the study description names.")
        return headers_of_images(self._artifacts, manifest, series.series_instance_uid, series.instance_sha256)


def _folder_itself(folder: ModelFolder) -> ModelFolder:
    return folder


def _model_card(folder: ModelFolder) -> bytes:
    """The card of the model; empty where its folder has none."""
    path = folder.path / "model-card.md"
    return path.read_bytes() if path.is_file() else b""


def _stated(site: ReportSite) -> str:
    """What the settings say of the site, for the record; empty where they say nothing."""
    if site == NO_SITE:
        return ""
    return json.dumps(asdict(site), sort_keys=True)


def _sources(case: Case, definition: ImagingResponse) -> tuple[SourceArtifact, ...]:
    """What the report was computed from, in words that tell one from another."""
    roles = dict.fromkeys((*definition.show, definition.segment_on, definition.features_from))
    images = [image for role in roles if (image := case.image(role)) is not None]
    counts = Counter(image.modality for image in images)
    found: list[tuple[str, StoredArtifact | None]] = [("study manifest", case.study_manifest)]
    for image in images:
        named = f" ({image.input_role})" if counts[image.modality] > 1 else ""
        found.append((f"{_WORDS_OF_MODALITY[image.modality]}{named}", image.volume))
    for lesion in case.lesions:
        named = f" of lesion {lesion.number}" if len(case.lesions) > 1 else ""
        found += [(f"tumor mask{named}", lesion.mask), (f"features{named}", lesion.features)]
    found += [("prediction", finding.document) for finding in case.findings]
    return tuple(SourceArtifact(words, stored.uri, stored.sha256) for words, stored in found if stored is not None)
