import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from oncoresponse.v1 import artifact_pb2 as _artifact_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Study(_message.Message):
    __slots__ = ("name", "complete", "instance_count", "size_bytes", "create_time", "manifest", "study_date", "modalities", "series_count", "tenant", "series", "supersedes", "superseded_by")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    STUDY_DATE_FIELD_NUMBER: _ClassVar[int]
    MODALITIES_FIELD_NUMBER: _ClassVar[int]
    SERIES_COUNT_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDES_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDED_BY_FIELD_NUMBER: _ClassVar[int]
    name: str
    complete: bool
    instance_count: int
    size_bytes: int
    create_time: _timestamp_pb2.Timestamp
    manifest: _artifact_pb2.ArtifactReference
    study_date: str
    modalities: _containers.RepeatedScalarFieldContainer[str]
    series_count: int
    tenant: str
    series: _containers.RepeatedCompositeFieldContainer[StudySeries]
    supersedes: str
    superseded_by: str
    def __init__(self, name: _Optional[str] = ..., complete: _Optional[bool] = ..., instance_count: _Optional[int] = ..., size_bytes: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., manifest: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., study_date: _Optional[str] = ..., modalities: _Optional[_Iterable[str]] = ..., series_count: _Optional[int] = ..., tenant: _Optional[str] = ..., series: _Optional[_Iterable[_Union[StudySeries, _Mapping]]] = ..., supersedes: _Optional[str] = ..., superseded_by: _Optional[str] = ...) -> None: ...

class StudySeries(_message.Message):
    __slots__ = ("modality", "body_part_examined", "series_description", "study_description", "procedure_codes", "accession_number", "instance_count")
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    BODY_PART_EXAMINED_FIELD_NUMBER: _ClassVar[int]
    SERIES_DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    STUDY_DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PROCEDURE_CODES_FIELD_NUMBER: _ClassVar[int]
    ACCESSION_NUMBER_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    modality: str
    body_part_examined: str
    series_description: str
    study_description: str
    procedure_codes: _containers.RepeatedScalarFieldContainer[str]
    accession_number: str
    instance_count: int
    def __init__(self, modality: _Optional[str] = ..., body_part_examined: _Optional[str] = ..., series_description: _Optional[str] = ..., study_description: _Optional[str] = ..., procedure_codes: _Optional[_Iterable[str]] = ..., accession_number: _Optional[str] = ..., instance_count: _Optional[int] = ...) -> None: ...

class InstanceStatus(_message.Message):
    __slots__ = ("sha256", "received_bytes", "finished")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    received_bytes: int
    finished: bool
    def __init__(self, sha256: _Optional[str] = ..., received_bytes: _Optional[int] = ..., finished: _Optional[bool] = ...) -> None: ...

class CreateStudyRequest(_message.Message):
    __slots__ = ("request_id", "supersedes")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    supersedes: str
    def __init__(self, request_id: _Optional[str] = ..., supersedes: _Optional[str] = ...) -> None: ...

class CreateStudyResponse(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: Study
    def __init__(self, study: _Optional[_Union[Study, _Mapping]] = ...) -> None: ...

class UploadInstancesRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: InstanceHeader
    chunk: InstanceChunk
    def __init__(self, header: _Optional[_Union[InstanceHeader, _Mapping]] = ..., chunk: _Optional[_Union[InstanceChunk, _Mapping]] = ...) -> None: ...

class InstanceHeader(_message.Message):
    __slots__ = ("study", "sha256", "size_bytes", "offset_bytes")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    study: str
    sha256: str
    size_bytes: int
    offset_bytes: int
    def __init__(self, study: _Optional[str] = ..., sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., offset_bytes: _Optional[int] = ...) -> None: ...

class InstanceChunk(_message.Message):
    __slots__ = ("data", "crc32")
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    crc32: int
    def __init__(self, data: _Optional[bytes] = ..., crc32: _Optional[int] = ...) -> None: ...

class UploadInstancesResponse(_message.Message):
    __slots__ = ("instances",)
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedCompositeFieldContainer[InstanceStatus]
    def __init__(self, instances: _Optional[_Iterable[_Union[InstanceStatus, _Mapping]]] = ...) -> None: ...

class StoreInstancesRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: InstanceHeader
    chunk: InstanceChunk
    def __init__(self, header: _Optional[_Union[InstanceHeader, _Mapping]] = ..., chunk: _Optional[_Union[InstanceChunk, _Mapping]] = ...) -> None: ...

class StoreInstancesResponse(_message.Message):
    __slots__ = ("sha256", "reason")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    reason: str
    def __init__(self, sha256: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ListInstancesRequest(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: str
    def __init__(self, study: _Optional[str] = ...) -> None: ...

class ListInstancesResponse(_message.Message):
    __slots__ = ("instances",)
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedCompositeFieldContainer[InstanceStatus]
    def __init__(self, instances: _Optional[_Iterable[_Union[InstanceStatus, _Mapping]]] = ...) -> None: ...

class CompleteStudyRequest(_message.Message):
    __slots__ = ("study", "instance_count")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    study: str
    instance_count: int
    def __init__(self, study: _Optional[str] = ..., instance_count: _Optional[int] = ...) -> None: ...

class CompleteStudyResponse(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: Study
    def __init__(self, study: _Optional[_Union[Study, _Mapping]] = ...) -> None: ...

class ImportDirectoryRequest(_message.Message):
    __slots__ = ("request_id", "directory")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    directory: str
    def __init__(self, request_id: _Optional[str] = ..., directory: _Optional[str] = ...) -> None: ...

class LeftOutInstance(_message.Message):
    __slots__ = ("number", "reason", "modality", "sop_instance_uid")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    SOP_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    number: int
    reason: str
    modality: str
    sop_instance_uid: str
    def __init__(self, number: _Optional[int] = ..., reason: _Optional[str] = ..., modality: _Optional[str] = ..., sop_instance_uid: _Optional[str] = ...) -> None: ...

class ImportProgress(_message.Message):
    __slots__ = ("examined", "imported", "left_out", "left_out_instances")
    EXAMINED_FIELD_NUMBER: _ClassVar[int]
    IMPORTED_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    examined: int
    imported: int
    left_out: int
    left_out_instances: _containers.RepeatedCompositeFieldContainer[LeftOutInstance]
    def __init__(self, examined: _Optional[int] = ..., imported: _Optional[int] = ..., left_out: _Optional[int] = ..., left_out_instances: _Optional[_Iterable[_Union[LeftOutInstance, _Mapping]]] = ...) -> None: ...

class ImportDirectoryResponse(_message.Message):
    __slots__ = ("progress", "study")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    progress: ImportProgress
    study: Study
    def __init__(self, progress: _Optional[_Union[ImportProgress, _Mapping]] = ..., study: _Optional[_Union[Study, _Mapping]] = ...) -> None: ...

class ImportDicomWebRequest(_message.Message):
    __slots__ = ("request_id", "url", "study_instance_uid", "server", "model", "series_instance_uids")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    STUDY_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SERIES_INSTANCE_UIDS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    url: str
    study_instance_uid: str
    server: str
    model: str
    series_instance_uids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, request_id: _Optional[str] = ..., url: _Optional[str] = ..., study_instance_uid: _Optional[str] = ..., server: _Optional[str] = ..., model: _Optional[str] = ..., series_instance_uids: _Optional[_Iterable[str]] = ...) -> None: ...

class FindDicomWebStudiesRequest(_message.Message):
    __slots__ = ("url", "server", "patient_id", "study_date_from", "study_date_to", "modality", "accession_number", "limit")
    URL_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    STUDY_DATE_FROM_FIELD_NUMBER: _ClassVar[int]
    STUDY_DATE_TO_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    ACCESSION_NUMBER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    url: str
    server: str
    patient_id: str
    study_date_from: str
    study_date_to: str
    modality: str
    accession_number: str
    limit: int
    def __init__(self, url: _Optional[str] = ..., server: _Optional[str] = ..., patient_id: _Optional[str] = ..., study_date_from: _Optional[str] = ..., study_date_to: _Optional[str] = ..., modality: _Optional[str] = ..., accession_number: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class FindDicomWebStudiesResponse(_message.Message):
    __slots__ = ("studies",)
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    studies: _containers.RepeatedCompositeFieldContainer[DicomWebStudy]
    def __init__(self, studies: _Optional[_Iterable[_Union[DicomWebStudy, _Mapping]]] = ...) -> None: ...

class DicomWebStudy(_message.Message):
    __slots__ = ("study_instance_uid", "patient_id", "issuer_of_patient_id", "study_date", "modalities", "series_count", "instance_count")
    STUDY_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUER_OF_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    STUDY_DATE_FIELD_NUMBER: _ClassVar[int]
    MODALITIES_FIELD_NUMBER: _ClassVar[int]
    SERIES_COUNT_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    study_instance_uid: str
    patient_id: str
    issuer_of_patient_id: str
    study_date: str
    modalities: _containers.RepeatedScalarFieldContainer[str]
    series_count: int
    instance_count: int
    def __init__(self, study_instance_uid: _Optional[str] = ..., patient_id: _Optional[str] = ..., issuer_of_patient_id: _Optional[str] = ..., study_date: _Optional[str] = ..., modalities: _Optional[_Iterable[str]] = ..., series_count: _Optional[int] = ..., instance_count: _Optional[int] = ...) -> None: ...

class ImportDicomWebResponse(_message.Message):
    __slots__ = ("progress", "study")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    progress: ImportProgress
    study: Study
    def __init__(self, progress: _Optional[_Union[ImportProgress, _Mapping]] = ..., study: _Optional[_Union[Study, _Mapping]] = ...) -> None: ...

class GetStudyRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetStudyResponse(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: Study
    def __init__(self, study: _Optional[_Union[Study, _Mapping]] = ...) -> None: ...

class ReadInstancesRequest(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: str
    def __init__(self, study: _Optional[str] = ...) -> None: ...

class StudyPatient(_message.Message):
    __slots__ = ("patient_id", "issuer_of_patient_id")
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUER_OF_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    patient_id: str
    issuer_of_patient_id: str
    def __init__(self, patient_id: _Optional[str] = ..., issuer_of_patient_id: _Optional[str] = ...) -> None: ...

class ReadInstancesResponse(_message.Message):
    __slots__ = ("header", "chunk", "patient")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    PATIENT_FIELD_NUMBER: _ClassVar[int]
    header: InstanceHeader
    chunk: InstanceChunk
    patient: StudyPatient
    def __init__(self, header: _Optional[_Union[InstanceHeader, _Mapping]] = ..., chunk: _Optional[_Union[InstanceChunk, _Mapping]] = ..., patient: _Optional[_Union[StudyPatient, _Mapping]] = ...) -> None: ...

class ListStudiesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "patient_id", "issuer_of_patient_id", "study_date_from", "study_date_to", "modality", "complete")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUER_OF_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    STUDY_DATE_FROM_FIELD_NUMBER: _ClassVar[int]
    STUDY_DATE_TO_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    patient_id: str
    issuer_of_patient_id: str
    study_date_from: str
    study_date_to: str
    modality: str
    complete: bool
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., patient_id: _Optional[str] = ..., issuer_of_patient_id: _Optional[str] = ..., study_date_from: _Optional[str] = ..., study_date_to: _Optional[str] = ..., modality: _Optional[str] = ..., complete: _Optional[bool] = ...) -> None: ...

class ListStudiesResponse(_message.Message):
    __slots__ = ("studies", "next_page_token")
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    studies: _containers.RepeatedCompositeFieldContainer[Study]
    next_page_token: str
    def __init__(self, studies: _Optional[_Iterable[_Union[Study, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteStudyRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteStudyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ExpectedPatient(_message.Message):
    __slots__ = ("patient_id", "birth_date", "sex")
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    BIRTH_DATE_FIELD_NUMBER: _ClassVar[int]
    SEX_FIELD_NUMBER: _ClassVar[int]
    patient_id: str
    birth_date: str
    sex: str
    def __init__(self, patient_id: _Optional[str] = ..., birth_date: _Optional[str] = ..., sex: _Optional[str] = ...) -> None: ...

class SuppliedContour(_message.Message):
    __slots__ = ("sop_instance_uid", "structure_name", "every_structure")
    SOP_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    STRUCTURE_NAME_FIELD_NUMBER: _ClassVar[int]
    EVERY_STRUCTURE_FIELD_NUMBER: _ClassVar[int]
    sop_instance_uid: str
    structure_name: str
    every_structure: bool
    def __init__(self, sop_instance_uid: _Optional[str] = ..., structure_name: _Optional[str] = ..., every_structure: _Optional[bool] = ...) -> None: ...

class SeriesSelection(_message.Message):
    __slots__ = ("input_role", "series_instance_uid")
    INPUT_ROLE_FIELD_NUMBER: _ClassVar[int]
    SERIES_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    input_role: str
    series_instance_uid: str
    def __init__(self, input_role: _Optional[str] = ..., series_instance_uid: _Optional[str] = ...) -> None: ...
