import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErasureState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERASURE_STATE_UNSPECIFIED: _ClassVar[ErasureState]
    ERASURE_STATE_PLANNED: _ClassVar[ErasureState]
    ERASURE_STATE_RUNNING: _ClassVar[ErasureState]
    ERASURE_STATE_LAST_SWEEP_DUE: _ClassVar[ErasureState]
    ERASURE_STATE_DONE: _ClassVar[ErasureState]
ERASURE_STATE_UNSPECIFIED: ErasureState
ERASURE_STATE_PLANNED: ErasureState
ERASURE_STATE_RUNNING: ErasureState
ERASURE_STATE_LAST_SWEEP_DUE: ErasureState
ERASURE_STATE_DONE: ErasureState

class PatientDataCounts(_message.Message):
    __slots__ = ("studies", "instances", "derived_volumes", "masks", "documents", "assessments", "reports", "signed_reports", "workflow_rows", "index_rows", "monitoring_rows", "files", "bytes", "orders")
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    DERIVED_VOLUMES_FIELD_NUMBER: _ClassVar[int]
    MASKS_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    ASSESSMENTS_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    SIGNED_REPORTS_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ROWS_FIELD_NUMBER: _ClassVar[int]
    INDEX_ROWS_FIELD_NUMBER: _ClassVar[int]
    MONITORING_ROWS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    studies: int
    instances: int
    derived_volumes: int
    masks: int
    documents: int
    assessments: int
    reports: int
    signed_reports: int
    workflow_rows: int
    index_rows: int
    monitoring_rows: int
    files: int
    bytes: int
    orders: int
    def __init__(self, studies: _Optional[int] = ..., instances: _Optional[int] = ..., derived_volumes: _Optional[int] = ..., masks: _Optional[int] = ..., documents: _Optional[int] = ..., assessments: _Optional[int] = ..., reports: _Optional[int] = ..., signed_reports: _Optional[int] = ..., workflow_rows: _Optional[int] = ..., index_rows: _Optional[int] = ..., monitoring_rows: _Optional[int] = ..., files: _Optional[int] = ..., bytes: _Optional[int] = ..., orders: _Optional[int] = ...) -> None: ...

class Erasure(_message.Message):
    __slots__ = ("state", "counts", "confirmation", "remains", "final_sweep_time", "studies_of_other_issuers")
    STATE_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATION_FIELD_NUMBER: _ClassVar[int]
    REMAINS_FIELD_NUMBER: _ClassVar[int]
    FINAL_SWEEP_TIME_FIELD_NUMBER: _ClassVar[int]
    STUDIES_OF_OTHER_ISSUERS_FIELD_NUMBER: _ClassVar[int]
    state: ErasureState
    counts: PatientDataCounts
    confirmation: str
    remains: _containers.RepeatedScalarFieldContainer[str]
    final_sweep_time: _timestamp_pb2.Timestamp
    studies_of_other_issuers: int
    def __init__(self, state: _Optional[_Union[ErasureState, str]] = ..., counts: _Optional[_Union[PatientDataCounts, _Mapping]] = ..., confirmation: _Optional[str] = ..., remains: _Optional[_Iterable[str]] = ..., final_sweep_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., studies_of_other_issuers: _Optional[int] = ...) -> None: ...

class ErasePatientRequest(_message.Message):
    __slots__ = ("patient_id", "issuer_of_patient_id", "any_issuer", "dry_run", "confirmation", "request_id")
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUER_OF_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ANY_ISSUER_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    patient_id: str
    issuer_of_patient_id: str
    any_issuer: bool
    dry_run: bool
    confirmation: str
    request_id: str
    def __init__(self, patient_id: _Optional[str] = ..., issuer_of_patient_id: _Optional[str] = ..., any_issuer: _Optional[bool] = ..., dry_run: _Optional[bool] = ..., confirmation: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ErasePatientResponse(_message.Message):
    __slots__ = ("erasure",)
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    erasure: Erasure
    def __init__(self, erasure: _Optional[_Union[Erasure, _Mapping]] = ...) -> None: ...

class DeleteAssessmentRequest(_message.Message):
    __slots__ = ("name", "dry_run", "confirmation", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    dry_run: bool
    confirmation: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., dry_run: _Optional[bool] = ..., confirmation: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteAssessmentResponse(_message.Message):
    __slots__ = ("erasure",)
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    erasure: Erasure
    def __init__(self, erasure: _Optional[_Union[Erasure, _Mapping]] = ...) -> None: ...

class PatientIdentifier(_message.Message):
    __slots__ = ("patient_id", "issuer_of_patient_id")
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUER_OF_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    patient_id: str
    issuer_of_patient_id: str
    def __init__(self, patient_id: _Optional[str] = ..., issuer_of_patient_id: _Optional[str] = ...) -> None: ...

class MergePatientsRequest(_message.Message):
    __slots__ = ("into", "reason")
    FROM_FIELD_NUMBER: _ClassVar[int]
    INTO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    into: PatientIdentifier
    reason: str
    def __init__(self, into: _Optional[_Union[PatientIdentifier, _Mapping]] = ..., reason: _Optional[str] = ..., **kwargs) -> None: ...

class MergePatientsResponse(_message.Message):
    __slots__ = ("studies", "assessments")
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    ASSESSMENTS_FIELD_NUMBER: _ClassVar[int]
    studies: _containers.RepeatedScalarFieldContainer[str]
    assessments: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, studies: _Optional[_Iterable[str]] = ..., assessments: _Optional[_Iterable[str]] = ...) -> None: ...

class MoveStudyRequest(_message.Message):
    __slots__ = ("study", "patient", "patient_name", "birth_date", "sex", "reason")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    PATIENT_FIELD_NUMBER: _ClassVar[int]
    PATIENT_NAME_FIELD_NUMBER: _ClassVar[int]
    BIRTH_DATE_FIELD_NUMBER: _ClassVar[int]
    SEX_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    study: str
    patient: PatientIdentifier
    patient_name: str
    birth_date: str
    sex: str
    reason: str
    def __init__(self, study: _Optional[str] = ..., patient: _Optional[_Union[PatientIdentifier, _Mapping]] = ..., patient_name: _Optional[str] = ..., birth_date: _Optional[str] = ..., sex: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class MoveStudyResponse(_message.Message):
    __slots__ = ("assessments_to_withdraw",)
    ASSESSMENTS_TO_WITHDRAW_FIELD_NUMBER: _ClassVar[int]
    assessments_to_withdraw: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, assessments_to_withdraw: _Optional[_Iterable[str]] = ...) -> None: ...

class ApplyRetentionRequest(_message.Message):
    __slots__ = ("dry_run",)
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    dry_run: bool
    def __init__(self, dry_run: _Optional[bool] = ...) -> None: ...

class ApplyRetentionResponse(_message.Message):
    __slots__ = ("counts",)
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: PatientDataCounts
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[PatientDataCounts, _Mapping]] = ...) -> None: ...
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.MessageMap[str, PatientDataCounts]
    def __init__(self, counts: _Optional[_Mapping[str, PatientDataCounts]] = ...) -> None: ...
