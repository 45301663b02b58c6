"""ReportingService: everything that was found, as FHIR, PDF, PNG and DICOM SEG."""

from __future__ import annotations

import asyncio
import datetime
from contextlib import ExitStack
from pathlib import Path

import grpc
from oncoradiomics.features import FeatureDocument

import oncoresponse
from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.case.prediction import Prediction
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.study_description import StudyDescription
from oncoresponse.case.volume import Quantity, Volume
from oncoresponse.dicom.reading import read_instance
from oncoresponse.errors import InvalidRequest, QuantityMismatch
from oncoresponse.model.cache import ModelCache
from oncoresponse.model.folder import ModelFolder
from oncoresponse.reporting.compose import compose_report
from oncoresponse.reporting.report_content import ReportContext, SourceArtifact
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_manifest import StudyManifest
from oncoresponse.v1 import artifact_pb2, reporting_pb2, reporting_pb2_grpc


class ReportingServicer(reporting_pb2_grpc.ReportingServiceServicer):
    """See ``protos/oncoresponse/v1/reporting.proto``."""

    def __init__(self, artifacts: ArtifactStore, models_directory: Path, performing_organization: str) -> None:
        self._artifacts = artifacts
        self._models = ModelCache(models_directory, _folder_itself)
        self._performing_organization = performing_organization or None

    async def ComposeReport(
        self, request: reporting_pb2.ComposeReportRequest, context: grpc.aio.ServicerContext
    ) -> reporting_pb2.ComposeReportResponse:
        """Compose the report."""
        return await asyncio.to_thread(self._compose, request)

    def _compose(self, request: reporting_pb2.ComposeReportRequest) -> reporting_pb2.ComposeReportResponse:
        store = self._artifacts
        folder, _ = self._models.get(request.model, request.model_sha256)
        study = store.read_document(_stored(request.description), StudyDescription)
        context = ReportContext(
            assessment_id=request.report_id,
            issued=request.issued.ToDatetime(tzinfo=datetime.UTC),
            model=folder.imaging,
            model_sha256=folder.sha256,
            study=study,
            features=store.read_document(_stored(request.features), FeatureDocument),
            segmentation=store.read_document(_stored(request.segmentation_summary), SegmentationSummary),
            prediction=store.read_document(_stored(request.prediction), Prediction),
            software_version=oncoresponse.__version__,
            planned_treatment=request.planned_treatment or None,
            artifacts=_sources(request),
            patient_reference=request.patient_reference or None,
            service_request_reference=request.service_request_reference or None,
            performing_organization=self._performing_organization,
        )
        series = study.series_of(folder.imaging.measured_modality)
        if series is None:
            raise InvalidRequest("The study description does not hold the series the contour is drawn on.")
        manifest = store.read_document(_stored(request.study_manifest), StudyManifest)
        instances = {instance.sha256: instance.artifact for instance in manifest.instances}
        if not set(series.instance_sha256) <= set(instances):
            raise InvalidRequest("The study manifest lacks instances that the study description names.")
        with ExitStack() as stack:
            paths = [stack.enter_context(store.local_path(instances[digest])) for digest in series.instance_sha256]
            report = compose_report(
                context,
                self._volume(request.pet, Quantity.SUV_BODY_WEIGHT),
                self._volume(request.ct, Quantity.HOUNSFIELD) if request.HasField("ct") else None,
                self._volume(request.mask, Quantity.MASK),
                [read_instance(path).dataset for path in paths],
            )
        return reporting_pb2.ComposeReportResponse(
            fhir_bundle=artifact_message(store.put_bytes(report.bundle_json, "application/fhir+json")),
            pdf=artifact_message(store.put_bytes(report.pdf, "application/pdf")),
            key_image=artifact_message(store.put_bytes(report.key_image, "image/png")),
            segmentation=artifact_message(store.put_bytes(report.segmentation, "application/dicom")),
            summary=report.summary,
        )

    def _volume(self, reference: artifact_pb2.ArtifactReference, quantity: Quantity) -> Volume:
        volume = self._artifacts.read_volume(_stored(reference))
        if volume.quantity is not quantity:
            raise QuantityMismatch(
                f"The report shows a volume in {quantity} and got one in {volume.quantity}. Check which reference goes "
                "into which field.",
                needed=quantity,
                found=volume.quantity,
            )
        return volume


def _folder_itself(folder: ModelFolder) -> ModelFolder:
    return folder


def _stored(reference: artifact_pb2.ArtifactReference) -> StoredArtifact:
    return stored_artifact(reference)


def _sources(request: reporting_pb2.ComposeReportRequest) -> tuple[SourceArtifact, ...]:
    roles = [
        ("study manifest", request.study_manifest),
        ("PET volume", request.pet),
        ("tumor mask", request.mask),
        ("features", request.features),
        ("prediction", request.prediction),
    ]
    if request.HasField("ct"):
        roles.insert(2, ("CT volume", request.ct))
    return tuple(SourceArtifact(role, reference.uri, reference.sha256) for role, reference in roles)
