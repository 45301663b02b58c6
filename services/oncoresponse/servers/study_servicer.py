"""StudyService: the DICOM instances of an examination, taken in."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import grpc

from oncoresponse.access.call import current_call
from oncoresponse.case.left_out import LeftOutInstance, unreadable_sentence
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import ArtifactNotFound, ChecksumMismatch, DicomError, NoImages
from oncoresponse.intake.dicomweb_import import Wanted, import_dicomweb
from oncoresponse.intake.dicomweb_search import StudyFilter as DicomWebFilter
from oncoresponse.intake.dicomweb_search import find_studies
from oncoresponse.intake.dicomweb_session import target_of
from oncoresponse.intake.directory_import import ImportCount, allowed_directory, import_directory
from oncoresponse.intake.study_settings import StudySettings
from oncoresponse.model.folder import ModelFolder, find_model
from oncoresponse.rpc.artifact_messages import artifact_message
from oncoresponse.servers.indexed_study import header_reader
from oncoresponse.servers.series_facts import series_facts
from oncoresponse.servers.study_upload import StudyUpload
from oncoresponse.storage.erasure_register import ErasureRegister
from oncoresponse.storage.study_database import StudyRecord
from oncoresponse.storage.study_filter import StudyFilter
from oncoresponse.storage.study_store import InstanceState, StudyStore
from oncoresponse.v1 import study_pb2, study_pb2_grpc

_DEFAULT_PAGE_SIZE = 50
CONTOUR_MODALITIES = frozenset({"RTSTRUCT", "SEG"})
"""Of objects with contours, which an order may name whatever the inputs of its model are."""
_CHUNK_BYTES = 256 * 1024
# A progress message for each file would be more traffic than news.
_FILES_BETWEEN_MESSAGES = 20


class StudyServicer(study_pb2_grpc.StudyServiceServicer):
    """See ``protos/oncoresponse/v1/study.proto``. Whatever touches a disk or a network runs in a thread."""

    def __init__(
        self,
        store: StudyStore,
        settings: StudySettings,
        models_directory: Path,
        register: ErasureRegister | None = None,
    ) -> None:
        self._store = store
        self._register = register
        self._settings = settings
        self._models_directory = models_directory
        self._read_object = header_reader(settings.dicom_limits)
        # Threads of their own: a PACS that keeps silent must not hold up uploads and conversions.
        self._import_threads = ThreadPoolExecutor(settings.concurrent_imports, thread_name_prefix="import")

    async def CreateStudy(
        self, request: study_pb2.CreateStudyRequest, context: grpc.aio.ServicerContext
    ) -> study_pb2.CreateStudyResponse:
        """Create an empty study."""
        call = current_call()
        call.concerns(request.supersedes)
        record = await asyncio.to_thread(
            self._store.create, request.request_id, tenant=call.caller.tenant, supersedes=request.supersedes
        )
        call.concerns(record.name)
        return study_pb2.CreateStudyResponse(study=_study(record))

    async def UploadInstances(
        self, request_iterator: AsyncIterator[study_pb2.UploadInstancesRequest], context: grpc.aio.ServicerContext
    ) -> study_pb2.UploadInstancesResponse:
        """Take in instances."""
        upload = StudyUpload(self._store, self._read_object)
        try:
            async for message in request_iterator:
                if message.HasField("header"):
                    await self._own_study(message.header.study)
                await asyncio.to_thread(upload.take, message)
            states = await asyncio.to_thread(upload.states)
        finally:
            await asyncio.shield(asyncio.to_thread(upload.close))
        return study_pb2.UploadInstancesResponse(instances=map(_instance_status, states))

    async def StoreInstances(
        self, request_iterator: AsyncIterator[study_pb2.StoreInstancesRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[study_pb2.StoreInstancesResponse]:
        """Take in instances, and answer for each."""
        upload = StudyUpload(self._store, self._read_object, durable=True)
        own: set[str] = set()
        try:
            async for message in request_iterator:
                if message.HasField("header") and message.header.study not in own:
                    await self._own_study(message.header.study)
                    own.add(message.header.study)
                answer = await asyncio.to_thread(upload.store, message)
                if answer is not None:
                    yield answer
        finally:
            await asyncio.shield(asyncio.to_thread(upload.close))

    async def ListInstances(
        self, request: study_pb2.ListInstancesRequest, context: grpc.aio.ServicerContext
    ) -> study_pb2.ListInstancesResponse:
        """Say what has arrived."""
        await self._own_study(request.study)
        states = await asyncio.to_thread(self._store.instances, request.study)
        return study_pb2.ListInstancesResponse(instances=map(_instance_status, states))

    async def CompleteStudy(
        self, request: study_pb2.CompleteStudyRequest, context: grpc.aio.ServicerContext
    ) -> study_pb2.CompleteStudyResponse:
        """Freeze the study."""
        await self._own_study(request.study)
        record = await asyncio.to_thread(
            self._store.complete, request.study, request.instance_count, read=self._read_object
        )
        # Whose it is has been read now.
        await self._own_study(request.study)
        return study_pb2.CompleteStudyResponse(study=_study(record))

    async def ImportDirectory(
        self, request: study_pb2.ImportDirectoryRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[study_pb2.ImportDirectoryResponse]:
        """Take in a directory of the server."""
        allowed = self._settings.allowed_import_directories
        directory = await asyncio.to_thread(allowed_directory, request.directory, allowed)
        tenant = current_call().caller.tenant
        record = await asyncio.to_thread(self._store.create, request.request_id, f"directory {directory}", tenant)
        current_call().concerns(record.name)
        if not record.complete:
            counts = import_directory(self._store, record.name, directory, allowed, self._read_object)
            async for count in self._import(counts):
                yield study_pb2.ImportDirectoryResponse(progress=_progress(count))
            record = await asyncio.to_thread(self._complete_import, record.name)
        await self._own_study(record.name)
        yield study_pb2.ImportDirectoryResponse(study=_study(record))

    async def ImportDicomWeb(
        self, request: study_pb2.ImportDicomWebRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[study_pb2.ImportDicomWebResponse]:
        """Take in a study from a DICOMweb server."""
        target = target_of(request.url, request.server, self._settings)
        purpose = f"dicomweb {request.url or request.server} {request.study_instance_uid}"
        chosen = [request.model, *request.series_instance_uids] if request.model else request.series_instance_uids
        purpose = " ".join((purpose, *chosen))
        modalities = await asyncio.to_thread(self._modalities, request.model)
        wanted = Wanted(request.study_instance_uid, tuple(dict.fromkeys(request.series_instance_uids)), modalities)
        tenant = current_call().caller.tenant
        record = await asyncio.to_thread(self._store.create, request.request_id, purpose, tenant)
        current_call().concerns(record.name)
        if not record.complete:
            counts = import_dicomweb(self._store, record.name, target, wanted, self._settings, self._read_object)
            last = ImportCount()
            async for last in self._import(counts):
                yield study_pb2.ImportDicomWebResponse(progress=_progress(last))
            record = await asyncio.to_thread(self._complete_import, record.name, last.unreadable)
        await self._own_study(record.name)
        yield study_pb2.ImportDicomWebResponse(study=_study(record))

    async def FindDicomWebStudies(
        self, request: study_pb2.FindDicomWebStudiesRequest, context: grpc.aio.ServicerContext
    ) -> study_pb2.FindDicomWebStudiesResponse:
        """Look for studies on a DICOMweb server."""
        call = current_call()
        asked = IndexedPatient(patient_id=request.patient_id, issuer_of_patient_id="")
        call.concerns(patients=[asked] if request.patient_id else ())
        target = target_of(request.url, request.server, self._settings)
        wanted = DicomWebFilter(
            patient_id=request.patient_id,
            date_from=request.study_date_from,
            date_to=request.study_date_to,
            modality=request.modality,
            accession_number=request.accession_number,
            limit=request.limit or _DEFAULT_PAGE_SIZE,
        )
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._import_threads, find_studies, target, wanted, self._settings)
        call.concerns(
            patients=[
                IndexedPatient(patient_id=item.patient_id, issuer_of_patient_id=item.issuer_of_patient_id)
                for item in found
                if item.patient_id
            ]
        )
        studies = [study_pb2.DicomWebStudy(**vars(item)) for item in found]
        return study_pb2.FindDicomWebStudiesResponse(studies=studies)

    async def GetStudy(
        self, request: study_pb2.GetStudyRequest, context: grpc.aio.ServicerContext
    ) -> study_pb2.GetStudyResponse:
        """Describe one study."""
        record = await self._own_study(request.name)
        study = _study(record)
        if record.manifest is not None:
            # What cannot be read of an old study any more is left out; its name and dates are not.
            with suppress(ArtifactNotFound, ChecksumMismatch, DicomError):
                index = await asyncio.to_thread(self._store.index_of_manifest, record.manifest, self._read_object)
                study.series.extend(series_facts(index))
        return study_pb2.GetStudyResponse(study=study)

    async def ListStudies(
        self, request: study_pb2.ListStudiesRequest, context: grpc.aio.ServicerContext
    ) -> study_pb2.ListStudiesResponse:
        """List studies, newest first."""
        call = current_call()
        call.concerns(patients=_asked(request))
        size = request.page_size or _DEFAULT_PAGE_SIZE
        wanted = StudyFilter(
            patient_id=request.patient_id,
            issuer_of_patient_id=request.issuer_of_patient_id,
            study_date_from=request.study_date_from,
            study_date_to=request.study_date_to,
            modality=request.modality,
            complete=request.complete if request.HasField("complete") else None,
            tenant=call.tenant,
        )
        if wanted.needs_index:
            await asyncio.to_thread(self._store.index_older_studies, self._read_object)
        page = await asyncio.to_thread(self._store.list_page, size, request.page_token, wanted)
        names = [study.name for study in page.studies]
        call.concerns(*names, patients=await asyncio.to_thread(self._store.patients_of, names))
        return study_pb2.ListStudiesResponse(studies=map(_study, page.studies), next_page_token=page.next_token)

    async def ReadInstances(
        self, request: study_pb2.ReadInstancesRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[study_pb2.ReadInstancesResponse]:
        """Send the files of one study."""
        await self._own_study(request.study)
        for patient in current_call().patients:
            whose = study_pb2.StudyPatient(
                patient_id=patient.patient_id, issuer_of_patient_id=patient.issuer_of_patient_id
            )
            yield study_pb2.ReadInstancesResponse(patient=whose)
        for artifact in await asyncio.to_thread(self._store.instance_files, request.study):
            data = await asyncio.to_thread(self._store.read_instance, artifact)
            header = study_pb2.InstanceHeader(
                study=request.study, sha256=artifact.sha256, size_bytes=artifact.size_bytes
            )
            yield study_pb2.ReadInstancesResponse(header=header)
            for start in range(0, len(data), _CHUNK_BYTES):
                part = data[start : start + _CHUNK_BYTES]
                chunk = study_pb2.InstanceChunk(data=part, crc32=zlib.crc32(part))
                yield study_pb2.ReadInstancesResponse(chunk=chunk)

    async def DeleteStudy(
        self, request: study_pb2.DeleteStudyRequest, context: grpc.aio.ServicerContext
    ) -> study_pb2.DeleteStudyResponse:
        """Delete one study."""
        await self._own_study(request.name)
        if self._register is not None:
            await asyncio.to_thread(self._register.add, studies=(request.name,))
        await asyncio.to_thread(self._store.delete, request.name)
        return study_pb2.DeleteStudyResponse()

    async def _own_study(self, name: str) -> StudyRecord:
        """A study that the caller may know of; any other is as if there were none."""
        call = current_call()
        call.concerns(name)
        study = await asyncio.to_thread(self._store.get, name, call.tenant)
        call.concerns(patients=await asyncio.to_thread(self._store.patients_of, (name,)))
        return study

    async def _import(self, counts: Iterator[ImportCount]) -> AsyncIterator[ImportCount]:
        """Advance an import file by file in a thread; gives some of its counts, and always the last."""
        loop = asyncio.get_running_loop()
        last: ImportCount | None = None
        step: asyncio.Future[ImportCount | None] | None = None
        try:
            while True:
                step = loop.run_in_executor(self._import_threads, next, counts, None)
                # A cancelled call must not lose sight of the thread that still works for it.
                count = await asyncio.shield(step)
                if count is None:
                    break
                last = count
                if count.examined % _FILES_BETWEEN_MESSAGES == 0:
                    yield count
            if last is not None:
                yield last
        finally:
            if step is not None:
                step.add_done_callback(lambda done: _close(counts, done))

    def _modalities(self, model: str) -> frozenset[str]:
        """Of the series that a model may need: its inputs, and contours; none for no model."""
        if not model:
            return frozenset()
        folder = ModelFolder.open(find_model(self._models_directory, model.removeprefix("models/")), verify=False)
        return frozenset(item.modality for item in folder.imaging.inputs) | CONTOUR_MODALITIES

    def _complete_import(self, name: str, unreadable: Sequence[LeftOutInstance] = ()) -> StudyRecord:
        if not self._store.get(name).instance_count:
            self._store.delete(name)
            raise NoImages(
                "No DICOM file was found. Give the place of a study that holds DICOM images."
                + (f" {unreadable_sentence(unreadable)}" if unreadable else "")
            )
        return self._store.complete(name, left_out=unreadable, read=self._read_object)


def _close(counts: Iterator[ImportCount], done: asyncio.Future[ImportCount | None]) -> None:
    # Without this, a failure that nobody waits for any more would be printed with its text.
    if not done.cancelled():
        done.exception()
    close = getattr(counts, "close", None)
    if close is not None:
        close()


def _asked(request: study_pb2.ListStudiesRequest) -> tuple[IndexedPatient, ...]:
    """The patient that is looked for, whether anything is found or not."""
    if not request.patient_id:
        return ()
    return (IndexedPatient(patient_id=request.patient_id, issuer_of_patient_id=request.issuer_of_patient_id),)


def _study(record: StudyRecord) -> study_pb2.Study:
    study = study_pb2.Study(
        name=record.name,
        complete=record.complete,
        instance_count=record.instance_count,
        size_bytes=record.size_bytes,
        manifest=None if record.manifest is None else artifact_message(record.manifest),
        study_date=record.study_date,
        modalities=record.modalities,
        series_count=record.series_count,
        tenant=record.tenant,
        supersedes=record.supersedes,
        superseded_by=record.superseded_by,
    )
    study.create_time.FromNanoseconds(record.create_time_ns)
    return study


def _instance_status(state: InstanceState) -> study_pb2.InstanceStatus:
    return study_pb2.InstanceStatus(sha256=state.sha256, received_bytes=state.received_bytes, finished=state.finished)


def _progress(count: ImportCount) -> study_pb2.ImportProgress:
    return study_pb2.ImportProgress(
        examined=count.examined,
        imported=count.imported,
        left_out=count.left_out,
        left_out_instances=[
            study_pb2.LeftOutInstance(**item.model_dump(exclude={"series_instance_uid"})) for item in count.unreadable
        ],
    )
