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

class OrderState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_STATE_UNSPECIFIED: _ClassVar[OrderState]
    ORDER_STATE_WAITING: _ClassVar[OrderState]
    ORDER_STATE_STARTED: _ClassVar[OrderState]
    ORDER_STATE_REFUSED: _ClassVar[OrderState]
    ORDER_STATE_CANCELLED: _ClassVar[OrderState]
ORDER_STATE_UNSPECIFIED: OrderState
ORDER_STATE_WAITING: OrderState
ORDER_STATE_STARTED: OrderState
ORDER_STATE_REFUSED: OrderState
ORDER_STATE_CANCELLED: OrderState

class Order(_message.Message):
    __slots__ = ("name", "source", "order_number", "accession_number", "patient_id", "issuer_of_patient_id", "birth_date", "sex", "codes", "patient_reference", "service_request_reference", "encounter_reference", "state", "study", "assessment", "reason", "create_time", "studies", "tenant")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ORDER_NUMBER_FIELD_NUMBER: _ClassVar[int]
    ACCESSION_NUMBER_FIELD_NUMBER: _ClassVar[int]
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUER_OF_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    BIRTH_DATE_FIELD_NUMBER: _ClassVar[int]
    SEX_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    PATIENT_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_REQUEST_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    ENCOUNTER_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    name: str
    source: str
    order_number: str
    accession_number: str
    patient_id: str
    issuer_of_patient_id: str
    birth_date: str
    sex: str
    codes: _containers.RepeatedScalarFieldContainer[str]
    patient_reference: str
    service_request_reference: str
    encounter_reference: str
    state: OrderState
    study: str
    assessment: str
    reason: str
    create_time: _timestamp_pb2.Timestamp
    studies: _containers.RepeatedScalarFieldContainer[str]
    tenant: str
    def __init__(self, name: _Optional[str] = ..., source: _Optional[str] = ..., order_number: _Optional[str] = ..., accession_number: _Optional[str] = ..., patient_id: _Optional[str] = ..., issuer_of_patient_id: _Optional[str] = ..., birth_date: _Optional[str] = ..., sex: _Optional[str] = ..., codes: _Optional[_Iterable[str]] = ..., patient_reference: _Optional[str] = ..., service_request_reference: _Optional[str] = ..., encounter_reference: _Optional[str] = ..., state: _Optional[_Union[OrderState, str]] = ..., study: _Optional[str] = ..., assessment: _Optional[str] = ..., reason: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., studies: _Optional[_Iterable[str]] = ..., tenant: _Optional[str] = ...) -> None: ...

class ListOrdersRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "state", "accession_number", "has_study", "untouched")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ACCESSION_NUMBER_FIELD_NUMBER: _ClassVar[int]
    HAS_STUDY_FIELD_NUMBER: _ClassVar[int]
    UNTOUCHED_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    state: OrderState
    accession_number: str
    has_study: bool
    untouched: bool
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., state: _Optional[_Union[OrderState, str]] = ..., accession_number: _Optional[str] = ..., has_study: _Optional[bool] = ..., untouched: _Optional[bool] = ...) -> None: ...

class ListOrdersResponse(_message.Message):
    __slots__ = ("orders", "next_page_token")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[Order]
    next_page_token: str
    def __init__(self, orders: _Optional[_Iterable[_Union[Order, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetOrderRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetOrderResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: Order
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ...) -> None: ...

class CancelOrderRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CancelOrderResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: Order
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ...) -> None: ...

class RecordOrderRequest(_message.Message):
    __slots__ = ("order", "cancelled")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    order: Order
    cancelled: bool
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ..., cancelled: _Optional[bool] = ...) -> None: ...

class RecordOrderResponse(_message.Message):
    __slots__ = ("order", "studies")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    order: Order
    studies: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ..., studies: _Optional[_Iterable[str]] = ...) -> None: ...

class SettleOrderRequest(_message.Message):
    __slots__ = ("name", "state", "study", "assessment", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: OrderState
    study: str
    assessment: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[OrderState, str]] = ..., study: _Optional[str] = ..., assessment: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SettleOrderResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: Order
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ...) -> None: ...
