from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PatientPosition(_message.Message):
    __slots__ = ("x_mm", "y_mm", "z_mm")
    X_MM_FIELD_NUMBER: _ClassVar[int]
    Y_MM_FIELD_NUMBER: _ClassVar[int]
    Z_MM_FIELD_NUMBER: _ClassVar[int]
    x_mm: float
    y_mm: float
    z_mm: float
    def __init__(self, x_mm: _Optional[float] = ..., y_mm: _Optional[float] = ..., z_mm: _Optional[float] = ...) -> None: ...

class LesionBox(_message.Message):
    __slots__ = ("low", "high")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    low: PatientPosition
    high: PatientPosition
    def __init__(self, low: _Optional[_Union[PatientPosition, _Mapping]] = ..., high: _Optional[_Union[PatientPosition, _Mapping]] = ...) -> None: ...

class Measure(_message.Message):
    __slots__ = ("name", "value", "unit", "ibsi_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    IBSI_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    unit: str
    ibsi_id: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ..., ibsi_id: _Optional[str] = ...) -> None: ...

class LesionResult(_message.Message):
    __slots__ = ("number", "label", "tracking_uid", "volume_ml", "volume_high_ml", "needs_review", "review_reasons", "measures")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TRACKING_UID_FIELD_NUMBER: _ClassVar[int]
    VOLUME_ML_FIELD_NUMBER: _ClassVar[int]
    VOLUME_HIGH_ML_FIELD_NUMBER: _ClassVar[int]
    NEEDS_REVIEW_FIELD_NUMBER: _ClassVar[int]
    REVIEW_REASONS_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    number: int
    label: str
    tracking_uid: str
    volume_ml: float
    volume_high_ml: float
    needs_review: bool
    review_reasons: _containers.RepeatedScalarFieldContainer[str]
    measures: _containers.RepeatedCompositeFieldContainer[Measure]
    def __init__(self, number: _Optional[int] = ..., label: _Optional[str] = ..., tracking_uid: _Optional[str] = ..., volume_ml: _Optional[float] = ..., volume_high_ml: _Optional[float] = ..., needs_review: _Optional[bool] = ..., review_reasons: _Optional[_Iterable[str]] = ..., measures: _Optional[_Iterable[_Union[Measure, _Mapping]]] = ...) -> None: ...

class LesionCandidate(_message.Message):
    __slots__ = ("number", "box", "hottest", "volume_ml", "suv_max", "confidence")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    HOTTEST_FIELD_NUMBER: _ClassVar[int]
    VOLUME_ML_FIELD_NUMBER: _ClassVar[int]
    SUV_MAX_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    number: int
    box: LesionBox
    hottest: PatientPosition
    volume_ml: float
    suv_max: float
    confidence: float
    def __init__(self, number: _Optional[int] = ..., box: _Optional[_Union[LesionBox, _Mapping]] = ..., hottest: _Optional[_Union[PatientPosition, _Mapping]] = ..., volume_ml: _Optional[float] = ..., suv_max: _Optional[float] = ..., confidence: _Optional[float] = ...) -> None: ...
