import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from oncoresponse.v1 import assessment_pb2 as _assessment_pb2
from oncoresponse.v1 import model_pb2 as _model_pb2
from oncoresponse.v1 import report_pb2 as _report_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelChange(_message.Message):
    __slots__ = ("number", "time", "kind", "model", "version", "sha256", "state", "reason", "caller", "proposal", "proposed_by", "emergency", "unconfirmed")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[ModelChange.Kind]
        KIND_PROPOSED: _ClassVar[ModelChange.Kind]
        KIND_STATE: _ClassVar[ModelChange.Kind]
        KIND_STOPPED: _ClassVar[ModelChange.Kind]
        KIND_RESUMED: _ClassVar[ModelChange.Kind]
        KIND_CONFIRMED: _ClassVar[ModelChange.Kind]
    KIND_UNSPECIFIED: ModelChange.Kind
    KIND_PROPOSED: ModelChange.Kind
    KIND_STATE: ModelChange.Kind
    KIND_STOPPED: ModelChange.Kind
    KIND_RESUMED: ModelChange.Kind
    KIND_CONFIRMED: ModelChange.Kind
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    PROPOSED_BY_FIELD_NUMBER: _ClassVar[int]
    EMERGENCY_FIELD_NUMBER: _ClassVar[int]
    UNCONFIRMED_FIELD_NUMBER: _ClassVar[int]
    number: int
    time: _timestamp_pb2.Timestamp
    kind: ModelChange.Kind
    model: str
    version: str
    sha256: str
    state: _model_pb2.ModelState
    reason: str
    caller: str
    proposal: int
    proposed_by: str
    emergency: bool
    unconfirmed: bool
    def __init__(self, number: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[_Union[ModelChange.Kind, str]] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., sha256: _Optional[str] = ..., state: _Optional[_Union[_model_pb2.ModelState, str]] = ..., reason: _Optional[str] = ..., caller: _Optional[str] = ..., proposal: _Optional[int] = ..., proposed_by: _Optional[str] = ..., emergency: _Optional[bool] = ..., unconfirmed: _Optional[bool] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("version", "sha256", "state", "available", "installed")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    INSTALLED_FIELD_NUMBER: _ClassVar[int]
    version: str
    sha256: str
    state: _model_pb2.ModelState
    available: bool
    installed: bool
    def __init__(self, version: _Optional[str] = ..., sha256: _Optional[str] = ..., state: _Optional[_Union[_model_pb2.ModelState, str]] = ..., available: _Optional[bool] = ..., installed: _Optional[bool] = ...) -> None: ...

class ProposeStateRequest(_message.Message):
    __slots__ = ("model", "sha256", "state", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: str
    sha256: str
    state: _model_pb2.ModelState
    reason: str
    def __init__(self, model: _Optional[str] = ..., sha256: _Optional[str] = ..., state: _Optional[_Union[_model_pb2.ModelState, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class ProposeStateResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: ModelChange
    def __init__(self, change: _Optional[_Union[ModelChange, _Mapping]] = ...) -> None: ...

class ApproveStateRequest(_message.Message):
    __slots__ = ("number", "reason")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    number: int
    reason: str
    def __init__(self, number: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ApproveStateResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: ModelChange
    def __init__(self, change: _Optional[_Union[ModelChange, _Mapping]] = ...) -> None: ...

class GetModelControlRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetModelControlResponse(_message.Message):
    __slots__ = ("versions", "active_sha256", "release_stopped", "stop_reason", "installed_is_active", "waiting")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_SHA256_FIELD_NUMBER: _ClassVar[int]
    RELEASE_STOPPED_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    INSTALLED_IS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    active_sha256: str
    release_stopped: bool
    stop_reason: str
    installed_is_active: bool
    waiting: _containers.RepeatedCompositeFieldContainer[ModelChange]
    def __init__(self, versions: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ..., active_sha256: _Optional[str] = ..., release_stopped: _Optional[bool] = ..., stop_reason: _Optional[str] = ..., installed_is_active: _Optional[bool] = ..., waiting: _Optional[_Iterable[_Union[ModelChange, _Mapping]]] = ...) -> None: ...

class ListModelChangesRequest(_message.Message):
    __slots__ = ("model", "page_size", "page_token")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    model: str
    page_size: int
    page_token: str
    def __init__(self, model: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelChangesResponse(_message.Message):
    __slots__ = ("changes", "next_page_token")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[ModelChange]
    next_page_token: str
    def __init__(self, changes: _Optional[_Iterable[_Union[ModelChange, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class StopReleaseRequest(_message.Message):
    __slots__ = ("model", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: str
    reason: str
    def __init__(self, model: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class StopReleaseResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: ModelChange
    def __init__(self, change: _Optional[_Union[ModelChange, _Mapping]] = ...) -> None: ...

class ResumeReleaseRequest(_message.Message):
    __slots__ = ("model", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: str
    reason: str
    def __init__(self, model: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ResumeReleaseResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: ModelChange
    def __init__(self, change: _Optional[_Union[ModelChange, _Mapping]] = ...) -> None: ...

class RollbackModelRequest(_message.Message):
    __slots__ = ("model", "reason", "emergency")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EMERGENCY_FIELD_NUMBER: _ClassVar[int]
    model: str
    reason: str
    emergency: bool
    def __init__(self, model: _Optional[str] = ..., reason: _Optional[str] = ..., emergency: _Optional[bool] = ...) -> None: ...

class RollbackModelResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: ModelChange
    def __init__(self, change: _Optional[_Union[ModelChange, _Mapping]] = ...) -> None: ...

class RecallModelRequest(_message.Message):
    __slots__ = ("model", "sha256", "create_time_from", "create_time_before")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FROM_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_BEFORE_FIELD_NUMBER: _ClassVar[int]
    model: str
    sha256: str
    create_time_from: _timestamp_pb2.Timestamp
    create_time_before: _timestamp_pb2.Timestamp
    def __init__(self, model: _Optional[str] = ..., sha256: _Optional[str] = ..., create_time_from: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., create_time_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RecallModelResponse(_message.Message):
    __slots__ = ("assessment", "study", "create_time", "model_sha256", "state", "patients", "study_date", "report_status")
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_FIELD_NUMBER: _ClassVar[int]
    STUDY_DATE_FIELD_NUMBER: _ClassVar[int]
    REPORT_STATUS_FIELD_NUMBER: _ClassVar[int]
    assessment: str
    study: str
    create_time: _timestamp_pb2.Timestamp
    model_sha256: str
    state: _assessment_pb2.AssessmentState
    patients: _containers.RepeatedCompositeFieldContainer[RecalledPatient]
    study_date: str
    report_status: _report_pb2.ReportStatus
    def __init__(self, assessment: _Optional[str] = ..., study: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., model_sha256: _Optional[str] = ..., state: _Optional[_Union[_assessment_pb2.AssessmentState, str]] = ..., patients: _Optional[_Iterable[_Union[RecalledPatient, _Mapping]]] = ..., study_date: _Optional[str] = ..., report_status: _Optional[_Union[_report_pb2.ReportStatus, str]] = ...) -> None: ...

class RecalledPatient(_message.Message):
    __slots__ = ("patient_id", "issuer_of_patient_id")
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUER_OF_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    patient_id: str
    issuer_of_patient_id: str
    def __init__(self, patient_id: _Optional[str] = ..., issuer_of_patient_id: _Optional[str] = ...) -> None: ...
