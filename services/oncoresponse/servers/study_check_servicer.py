"""StudyCheckService: whether a study can be assessed, before an assessment is created."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import grpc
from pydantic import ValidationError

from oncoresponse.case.case import Order
from oncoresponse.case.study_index import StudyIndex
from oncoresponse.dicom.assessable import require_assessable
from oncoresponse.dicom.limits import DicomLimits
from oncoresponse.errors import InvalidRequest, StudyNotComplete
from oncoresponse.model.cache import ModelCache
from oncoresponse.model.folder import ModelFolder
from oncoresponse.servers.indexed_study import header_reader, indexed_study
from oncoresponse.stages.v1 import study_check_pb2, study_check_pb2_grpc
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_manifest import StudyManifest
from oncoresponse.storage.study_store import StudyStore


class StudyCheckServicer(study_check_pb2_grpc.StudyCheckServiceServicer):
    """See ``protos/oncoresponse/stages/v1/study_check.proto``."""

    def __init__(
        self, store: StudyStore, artifacts: ArtifactStore, models_directory: Path, limits: DicomLimits
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._models = ModelCache(models_directory, _nothing_loaded)
        self._limits = limits

    async def CheckStudy(
        self, request: study_check_pb2.CheckStudyRequest, context: grpc.aio.ServicerContext
    ) -> study_check_pb2.CheckStudyResponse:
        """Check one study for one order."""
        return await asyncio.to_thread(self._check, request)

    def _check(self, request: study_check_pb2.CheckStudyRequest) -> study_check_pb2.CheckStudyResponse:
        manifest = self._store.get(request.study).manifest
        if manifest is None:
            raise StudyNotComplete("The study still accepts instances. Call CompleteStudy, then create the assessment.")
        index = self._store.index_of_manifest(manifest, header_reader(self._limits))
        if request.model:
            self._require_assessable(request, self._artifacts.read_document(manifest, StudyManifest), index)
        return study_check_pb2.CheckStudyResponse(
            patients=[study_check_pb2.StudyPatient(**patient.model_dump()) for patient in index.patients],
            study_date=index.study_date,
        )

    def _require_assessable(
        self, request: study_check_pb2.CheckStudyRequest, manifest: StudyManifest, index: StudyIndex
    ) -> None:
        folder, _ = self._models.get(request.model, request.model_sha256)
        try:
            order = Order.model_validate_json(request.order)
        except ValidationError:
            # The validator's own words quote the order, so they are not passed on.
            raise InvalidRequest("The order is none of a case. Bring the services to one release.") from None
        with ExitStack() as stack:
            study = indexed_study(self._artifacts, manifest, stack, self._limits, index)
            has_network = folder.has("segmentation")
            require_assessable(study, folder.imaging, order, manifest.left_out, has_network=has_network)


def _nothing_loaded(_: ModelFolder) -> None:
    return None
