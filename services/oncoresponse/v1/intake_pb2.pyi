import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from oncoresponse.v1 import order_pb2 as _order_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReceivedWay(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECEIVED_WAY_UNSPECIFIED: _ClassVar[ReceivedWay]
    RECEIVED_WAY_C_STORE: _ClassVar[ReceivedWay]
    RECEIVED_WAY_HTTP: _ClassVar[ReceivedWay]
    RECEIVED_WAY_CLIENT: _ClassVar[ReceivedWay]

class ReceivedState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECEIVED_STATE_UNSPECIFIED: _ClassVar[ReceivedState]
    RECEIVED_STATE_WAITING: _ClassVar[ReceivedState]
    RECEIVED_STATE_STARTED: _ClassVar[ReceivedState]
    RECEIVED_STATE_KEPT: _ClassVar[ReceivedState]
    RECEIVED_STATE_REFUSED: _ClassVar[ReceivedState]
RECEIVED_WAY_UNSPECIFIED: ReceivedWay
RECEIVED_WAY_C_STORE: ReceivedWay
RECEIVED_WAY_HTTP: ReceivedWay
RECEIVED_WAY_CLIENT: ReceivedWay
RECEIVED_STATE_UNSPECIFIED: ReceivedState
RECEIVED_STATE_WAITING: ReceivedState
RECEIVED_STATE_STARTED: ReceivedState
RECEIVED_STATE_KEPT: ReceivedState
RECEIVED_STATE_REFUSED: ReceivedState

class ReceivedStudy(_message.Message):
    __slots__ = ("study", "complete_time", "way", "ae_title", "state", "rule", "assessment", "reason", "prior_count")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_TIME_FIELD_NUMBER: _ClassVar[int]
    WAY_FIELD_NUMBER: _ClassVar[int]
    AE_TITLE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PRIOR_COUNT_FIELD_NUMBER: _ClassVar[int]
    study: str
    complete_time: _timestamp_pb2.Timestamp
    way: ReceivedWay
    ae_title: str
    state: ReceivedState
    rule: str
    assessment: str
    reason: str
    prior_count: int
    def __init__(self, study: _Optional[str] = ..., complete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., way: _Optional[_Union[ReceivedWay, str]] = ..., ae_title: _Optional[str] = ..., state: _Optional[_Union[ReceivedState, str]] = ..., rule: _Optional[str] = ..., assessment: _Optional[str] = ..., reason: _Optional[str] = ..., prior_count: _Optional[int] = ...) -> None: ...

class ListReceivedStudiesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "state", "way")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WAY_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    state: ReceivedState
    way: ReceivedWay
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., state: _Optional[_Union[ReceivedState, str]] = ..., way: _Optional[_Union[ReceivedWay, str]] = ...) -> None: ...

class ListReceivedStudiesResponse(_message.Message):
    __slots__ = ("studies", "next_page_token")
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    studies: _containers.RepeatedCompositeFieldContainer[ReceivedStudy]
    next_page_token: str
    def __init__(self, studies: _Optional[_Iterable[_Union[ReceivedStudy, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class NoteReceivedStudyRequest(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: ReceivedStudy
    def __init__(self, study: _Optional[_Union[ReceivedStudy, _Mapping]] = ...) -> None: ...

class NoteReceivedStudyResponse(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: ReceivedStudy
    def __init__(self, study: _Optional[_Union[ReceivedStudy, _Mapping]] = ...) -> None: ...

class DescribeReceivedStudyRequest(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: str
    def __init__(self, study: _Optional[str] = ...) -> None: ...

class DescribeReceivedStudyResponse(_message.Message):
    __slots__ = ("sop_instance_uids", "patients", "study_instance_uids", "study_date", "received", "orders")
    class SopInstanceUidsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SOP_INSTANCE_UIDS_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_FIELD_NUMBER: _ClassVar[int]
    STUDY_INSTANCE_UIDS_FIELD_NUMBER: _ClassVar[int]
    STUDY_DATE_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    sop_instance_uids: _containers.ScalarMap[str, str]
    patients: _containers.RepeatedCompositeFieldContainer[ReceivedPatient]
    study_instance_uids: _containers.RepeatedScalarFieldContainer[str]
    study_date: str
    received: ReceivedStudy
    orders: _containers.RepeatedCompositeFieldContainer[_order_pb2.Order]
    def __init__(self, sop_instance_uids: _Optional[_Mapping[str, str]] = ..., patients: _Optional[_Iterable[_Union[ReceivedPatient, _Mapping]]] = ..., study_instance_uids: _Optional[_Iterable[str]] = ..., study_date: _Optional[str] = ..., received: _Optional[_Union[ReceivedStudy, _Mapping]] = ..., orders: _Optional[_Iterable[_Union[_order_pb2.Order, _Mapping]]] = ...) -> None: ...

class ReceivedPatient(_message.Message):
    __slots__ = ("patient_id", "issuer_of_patient_id")
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUER_OF_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    patient_id: str
    issuer_of_patient_id: str
    def __init__(self, patient_id: _Optional[str] = ..., issuer_of_patient_id: _Optional[str] = ...) -> None: ...
