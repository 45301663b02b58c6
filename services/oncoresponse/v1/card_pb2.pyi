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

class CardOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CARD_OUTCOME_UNSPECIFIED: _ClassVar[CardOutcome]
    CARD_OUTCOME_ACCEPTED: _ClassVar[CardOutcome]
    CARD_OUTCOME_OVERRIDDEN: _ClassVar[CardOutcome]
CARD_OUTCOME_UNSPECIFIED: CardOutcome
CARD_OUTCOME_ACCEPTED: CardOutcome
CARD_OUTCOME_OVERRIDDEN: CardOutcome

class CardClientToken(_message.Message):
    __slots__ = ("token", "endpoint")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    token: str
    endpoint: str
    def __init__(self, token: _Optional[str] = ..., endpoint: _Optional[str] = ...) -> None: ...

class CheckCardClientRequest(_message.Message):
    __slots__ = ("client",)
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    client: CardClientToken
    def __init__(self, client: _Optional[_Union[CardClientToken, _Mapping]] = ...) -> None: ...

class CheckCardClientResponse(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CardPatientIdentifier(_message.Message):
    __slots__ = ("system", "value")
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    system: str
    value: str
    def __init__(self, system: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class GetCardsRequest(_message.Message):
    __slots__ = ("client", "hook_instance", "user", "identifiers")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    HOOK_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIERS_FIELD_NUMBER: _ClassVar[int]
    client: CardClientToken
    hook_instance: str
    user: str
    identifiers: _containers.RepeatedCompositeFieldContainer[CardPatientIdentifier]
    def __init__(self, client: _Optional[_Union[CardClientToken, _Mapping]] = ..., hook_instance: _Optional[str] = ..., user: _Optional[str] = ..., identifiers: _Optional[_Iterable[_Union[CardPatientIdentifier, _Mapping]]] = ...) -> None: ...

class CardReason(_message.Message):
    __slots__ = ("code", "system", "display")
    CODE_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_FIELD_NUMBER: _ClassVar[int]
    code: str
    system: str
    display: str
    def __init__(self, code: _Optional[str] = ..., system: _Optional[str] = ..., display: _Optional[str] = ...) -> None: ...

class Card(_message.Message):
    __slots__ = ("uuid", "summary", "unfavorable", "detail", "report", "assessment", "judgement_awaited", "override_reasons")
    UUID_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    UNFAVORABLE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    JUDGEMENT_AWAITED_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_REASONS_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    summary: str
    unfavorable: bool
    detail: str
    report: str
    assessment: str
    judgement_awaited: bool
    override_reasons: _containers.RepeatedCompositeFieldContainer[CardReason]
    def __init__(self, uuid: _Optional[str] = ..., summary: _Optional[str] = ..., unfavorable: _Optional[bool] = ..., detail: _Optional[str] = ..., report: _Optional[str] = ..., assessment: _Optional[str] = ..., judgement_awaited: _Optional[bool] = ..., override_reasons: _Optional[_Iterable[_Union[CardReason, _Mapping]]] = ...) -> None: ...

class GetCardsResponse(_message.Message):
    __slots__ = ("cards", "patient_known")
    CARDS_FIELD_NUMBER: _ClassVar[int]
    PATIENT_KNOWN_FIELD_NUMBER: _ClassVar[int]
    cards: _containers.RepeatedCompositeFieldContainer[Card]
    patient_known: bool
    def __init__(self, cards: _Optional[_Iterable[_Union[Card, _Mapping]]] = ..., patient_known: _Optional[bool] = ...) -> None: ...

class CardFeedback(_message.Message):
    __slots__ = ("card", "outcome", "override_reason", "comment", "outcome_time", "reason_system")
    CARD_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_REASON_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_SYSTEM_FIELD_NUMBER: _ClassVar[int]
    card: str
    outcome: CardOutcome
    override_reason: str
    comment: str
    outcome_time: _timestamp_pb2.Timestamp
    reason_system: str
    def __init__(self, card: _Optional[str] = ..., outcome: _Optional[_Union[CardOutcome, str]] = ..., override_reason: _Optional[str] = ..., comment: _Optional[str] = ..., outcome_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason_system: _Optional[str] = ...) -> None: ...

class RecordCardFeedbackRequest(_message.Message):
    __slots__ = ("client", "feedback")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    client: CardClientToken
    feedback: _containers.RepeatedCompositeFieldContainer[CardFeedback]
    def __init__(self, client: _Optional[_Union[CardClientToken, _Mapping]] = ..., feedback: _Optional[_Iterable[_Union[CardFeedback, _Mapping]]] = ...) -> None: ...

class RecordCardFeedbackResponse(_message.Message):
    __slots__ = ("judgements",)
    JUDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    judgements: int
    def __init__(self, judgements: _Optional[int] = ...) -> None: ...
