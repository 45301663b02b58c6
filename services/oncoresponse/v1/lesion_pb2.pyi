from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
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
