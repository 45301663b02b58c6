import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from oncoresponse.v1 import artifact_pb2 as _artifact_pb2
from oncoresponse.v1 import response_pb2 as _response_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_FAVORABLE: _ClassVar[Outcome]
    OUTCOME_UNFAVORABLE: _ClassVar[Outcome]
    OUTCOME_UNKNOWN: _ClassVar[Outcome]
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_FAVORABLE: Outcome
OUTCOME_UNFAVORABLE: Outcome
OUTCOME_UNKNOWN: Outcome

class AuditGroup(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class RecordPredictionRequest(_message.Message):
    __slots__ = ("assessment", "create_time", "prediction_document", "study_description", "covariates")
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    STUDY_DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    COVARIATES_FIELD_NUMBER: _ClassVar[int]
    assessment: str
    create_time: _timestamp_pb2.Timestamp
    prediction_document: _artifact_pb2.ArtifactReference
    study_description: _artifact_pb2.ArtifactReference
    covariates: _containers.RepeatedCompositeFieldContainer[_response_pb2.Covariate]
    def __init__(self, assessment: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., prediction_document: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., study_description: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., covariates: _Optional[_Iterable[_Union[_response_pb2.Covariate, _Mapping]]] = ...) -> None: ...

class RecordPredictionResponse(_message.Message):
    __slots__ = ("newly_recorded",)
    NEWLY_RECORDED_FIELD_NUMBER: _ClassVar[int]
    newly_recorded: bool
    def __init__(self, newly_recorded: _Optional[bool] = ...) -> None: ...

class RecordOutcomeRequest(_message.Message):
    __slots__ = ("assessment", "outcome", "follow_up_months", "groups")
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_UP_MONTHS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    assessment: str
    outcome: Outcome
    follow_up_months: int
    groups: _containers.RepeatedCompositeFieldContainer[AuditGroup]
    def __init__(self, assessment: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., follow_up_months: _Optional[int] = ..., groups: _Optional[_Iterable[_Union[AuditGroup, _Mapping]]] = ...) -> None: ...

class RecordOutcomeResponse(_message.Message):
    __slots__ = ("replaced",)
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    replaced: bool
    def __init__(self, replaced: _Optional[bool] = ...) -> None: ...

class GetMonitoringReportRequest(_message.Message):
    __slots__ = ("model", "since_month", "until_month")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SINCE_MONTH_FIELD_NUMBER: _ClassVar[int]
    UNTIL_MONTH_FIELD_NUMBER: _ClassVar[int]
    model: str
    since_month: str
    until_month: str
    def __init__(self, model: _Optional[str] = ..., since_month: _Optional[str] = ..., until_month: _Optional[str] = ...) -> None: ...

class GetMonitoringReportResponse(_message.Message):
    __slots__ = ("report_json", "metrics")
    REPORT_JSON_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    report_json: str
    metrics: str
    def __init__(self, report_json: _Optional[str] = ..., metrics: _Optional[str] = ...) -> None: ...
