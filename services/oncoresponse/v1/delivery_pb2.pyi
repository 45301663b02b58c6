import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from oncoresponse.v1 import artifact_pb2 as _artifact_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeliveryState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_STATE_UNSPECIFIED: _ClassVar[DeliveryState]
    DELIVERY_STATE_WAITING: _ClassVar[DeliveryState]
    DELIVERY_STATE_HELD: _ClassVar[DeliveryState]
    DELIVERY_STATE_SENDING: _ClassVar[DeliveryState]
    DELIVERY_STATE_SENT: _ClassVar[DeliveryState]
    DELIVERY_STATE_DEAD: _ClassVar[DeliveryState]
    DELIVERY_STATE_DROPPED: _ClassVar[DeliveryState]

class DeliveryEvent(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_EVENT_UNSPECIFIED: _ClassVar[DeliveryEvent]
    DELIVERY_EVENT_COMPLETED: _ClassVar[DeliveryEvent]
    DELIVERY_EVENT_SIGNED: _ClassVar[DeliveryEvent]
    DELIVERY_EVENT_AMENDED: _ClassVar[DeliveryEvent]
    DELIVERY_EVENT_WITHDRAWN: _ClassVar[DeliveryEvent]
DELIVERY_STATE_UNSPECIFIED: DeliveryState
DELIVERY_STATE_WAITING: DeliveryState
DELIVERY_STATE_HELD: DeliveryState
DELIVERY_STATE_SENDING: DeliveryState
DELIVERY_STATE_SENT: DeliveryState
DELIVERY_STATE_DEAD: DeliveryState
DELIVERY_STATE_DROPPED: DeliveryState
DELIVERY_EVENT_UNSPECIFIED: DeliveryEvent
DELIVERY_EVENT_COMPLETED: DeliveryEvent
DELIVERY_EVENT_SIGNED: DeliveryEvent
DELIVERY_EVENT_AMENDED: DeliveryEvent
DELIVERY_EVENT_WITHDRAWN: DeliveryEvent

class DeliveryFile(_message.Message):
    __slots__ = ("file_name", "artifact", "stored", "committed", "reason")
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    file_name: str
    artifact: _artifact_pb2.ArtifactReference
    stored: bool
    committed: bool
    reason: str
    def __init__(self, file_name: _Optional[str] = ..., artifact: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., stored: _Optional[bool] = ..., committed: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("name", "destination", "assessment", "report_version", "event", "state", "attempts", "create_time", "next_attempt_time", "end_time", "reason", "message", "files", "receipt", "number", "report")
    class ReceiptEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    REPORT_VERSION_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    name: str
    destination: str
    assessment: str
    report_version: int
    event: DeliveryEvent
    state: DeliveryState
    attempts: int
    create_time: _timestamp_pb2.Timestamp
    next_attempt_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    reason: str
    message: str
    files: _containers.RepeatedCompositeFieldContainer[DeliveryFile]
    receipt: _containers.ScalarMap[str, str]
    number: int
    report: str
    def __init__(self, name: _Optional[str] = ..., destination: _Optional[str] = ..., assessment: _Optional[str] = ..., report_version: _Optional[int] = ..., event: _Optional[_Union[DeliveryEvent, str]] = ..., state: _Optional[_Union[DeliveryState, str]] = ..., attempts: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., next_attempt_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., files: _Optional[_Iterable[_Union[DeliveryFile, _Mapping]]] = ..., receipt: _Optional[_Mapping[str, str]] = ..., number: _Optional[int] = ..., report: _Optional[str] = ...) -> None: ...

class ListDeliveriesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "destination", "assessment", "state")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    destination: str
    assessment: str
    state: DeliveryState
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., destination: _Optional[str] = ..., assessment: _Optional[str] = ..., state: _Optional[_Union[DeliveryState, str]] = ...) -> None: ...

class ListDeliveriesResponse(_message.Message):
    __slots__ = ("deliveries", "next_page_token")
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[Delivery]
    next_page_token: str
    def __init__(self, deliveries: _Optional[_Iterable[_Union[Delivery, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetDeliveryRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetDeliveryResponse(_message.Message):
    __slots__ = ("delivery",)
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    delivery: Delivery
    def __init__(self, delivery: _Optional[_Union[Delivery, _Mapping]] = ...) -> None: ...

class ResendDeliveryRequest(_message.Message):
    __slots__ = ("name", "everything")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EVERYTHING_FIELD_NUMBER: _ClassVar[int]
    name: str
    everything: bool
    def __init__(self, name: _Optional[str] = ..., everything: _Optional[bool] = ...) -> None: ...

class ResendDeliveryResponse(_message.Message):
    __slots__ = ("delivery",)
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    delivery: Delivery
    def __init__(self, delivery: _Optional[_Union[Delivery, _Mapping]] = ...) -> None: ...

class DropDeliveryRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DropDeliveryResponse(_message.Message):
    __slots__ = ("delivery",)
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    delivery: Delivery
    def __init__(self, delivery: _Optional[_Union[Delivery, _Mapping]] = ...) -> None: ...

class TakeDeliveriesRequest(_message.Message):
    __slots__ = ("destinations", "max_deliveries", "lease")
    DESTINATIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    destinations: _containers.RepeatedScalarFieldContainer[str]
    max_deliveries: int
    lease: _duration_pb2.Duration
    def __init__(self, destinations: _Optional[_Iterable[str]] = ..., max_deliveries: _Optional[int] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class LeasedDelivery(_message.Message):
    __slots__ = ("delivery", "lease_token", "lease_end_time")
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_END_TIME_FIELD_NUMBER: _ClassVar[int]
    delivery: Delivery
    lease_token: str
    lease_end_time: _timestamp_pb2.Timestamp
    def __init__(self, delivery: _Optional[_Union[Delivery, _Mapping]] = ..., lease_token: _Optional[str] = ..., lease_end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class TakeDeliveriesResponse(_message.Message):
    __slots__ = ("deliveries",)
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[LeasedDelivery]
    def __init__(self, deliveries: _Optional[_Iterable[_Union[LeasedDelivery, _Mapping]]] = ...) -> None: ...

class ExtendLeaseRequest(_message.Message):
    __slots__ = ("name", "lease_token", "lease")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    name: str
    lease_token: str
    lease: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., lease_token: _Optional[str] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ExtendLeaseResponse(_message.Message):
    __slots__ = ("lease_end_time",)
    LEASE_END_TIME_FIELD_NUMBER: _ClassVar[int]
    lease_end_time: _timestamp_pb2.Timestamp
    def __init__(self, lease_end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DeliveryFailure(_message.Message):
    __slots__ = ("reason", "message", "permanent", "retry_after", "hold")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PERMANENT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    permanent: bool
    retry_after: _duration_pb2.Duration
    hold: bool
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ..., permanent: _Optional[bool] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., hold: _Optional[bool] = ...) -> None: ...

class SettleDeliveryRequest(_message.Message):
    __slots__ = ("name", "lease_token", "files", "failure", "receipt")
    class ReceiptEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    name: str
    lease_token: str
    files: _containers.RepeatedCompositeFieldContainer[DeliveryFile]
    failure: DeliveryFailure
    receipt: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., lease_token: _Optional[str] = ..., files: _Optional[_Iterable[_Union[DeliveryFile, _Mapping]]] = ..., failure: _Optional[_Union[DeliveryFailure, _Mapping]] = ..., receipt: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SettleDeliveryResponse(_message.Message):
    __slots__ = ("delivery",)
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    delivery: Delivery
    def __init__(self, delivery: _Optional[_Union[Delivery, _Mapping]] = ...) -> None: ...
