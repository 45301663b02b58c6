from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReplayAssessmentRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ReplayAssessmentResponse(_message.Message):
    __slots__ = ("same", "differences", "numbers_compared", "identical_artifacts", "artifacts_compared", "environment_differences", "tolerance")
    SAME_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_COMPARED_FIELD_NUMBER: _ClassVar[int]
    IDENTICAL_ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_COMPARED_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    same: bool
    differences: _containers.RepeatedCompositeFieldContainer[ReplayDifference]
    numbers_compared: int
    identical_artifacts: int
    artifacts_compared: int
    environment_differences: _containers.RepeatedScalarFieldContainer[str]
    tolerance: float
    def __init__(self, same: _Optional[bool] = ..., differences: _Optional[_Iterable[_Union[ReplayDifference, _Mapping]]] = ..., numbers_compared: _Optional[int] = ..., identical_artifacts: _Optional[int] = ..., artifacts_compared: _Optional[int] = ..., environment_differences: _Optional[_Iterable[str]] = ..., tolerance: _Optional[float] = ...) -> None: ...

class ReplayDifference(_message.Message):
    __slots__ = ("place", "recorded", "replayed")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    place: str
    recorded: str
    replayed: str
    def __init__(self, place: _Optional[str] = ..., recorded: _Optional[str] = ..., replayed: _Optional[str] = ...) -> None: ...
