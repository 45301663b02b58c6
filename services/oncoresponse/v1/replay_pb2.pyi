from buf.validate import validate_pb2 as _validate_pb2
from oncoresponse.v1 import assessment_pb2 as _assessment_pb2
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
    __slots__ = ("progress", "outcome")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    progress: ReplayProgress
    outcome: ReplayOutcome
    def __init__(self, progress: _Optional[_Union[ReplayProgress, _Mapping]] = ..., outcome: _Optional[_Union[ReplayOutcome, _Mapping]] = ...) -> None: ...

class ReplayProgress(_message.Message):
    __slots__ = ("stage", "fraction_done", "message")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    FRACTION_DONE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    stage: _assessment_pb2.AssessmentStage
    fraction_done: float
    message: str
    def __init__(self, stage: _Optional[_Union[_assessment_pb2.AssessmentStage, str]] = ..., fraction_done: _Optional[float] = ..., message: _Optional[str] = ...) -> None: ...

class ReplayOutcome(_message.Message):
    __slots__ = ("same", "differences", "differences_left_out", "numbers_compared", "artifacts_compared", "artifacts_identical", "artifacts_with_other_bytes", "environment_differences", "relative_tolerance", "probability_tolerance")
    SAME_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_COMPARED_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_COMPARED_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_IDENTICAL_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_WITH_OTHER_BYTES_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    same: bool
    differences: _containers.RepeatedCompositeFieldContainer[ReplayDifference]
    differences_left_out: int
    numbers_compared: int
    artifacts_compared: int
    artifacts_identical: int
    artifacts_with_other_bytes: _containers.RepeatedScalarFieldContainer[str]
    environment_differences: _containers.RepeatedScalarFieldContainer[str]
    relative_tolerance: float
    probability_tolerance: float
    def __init__(self, same: _Optional[bool] = ..., differences: _Optional[_Iterable[_Union[ReplayDifference, _Mapping]]] = ..., differences_left_out: _Optional[int] = ..., numbers_compared: _Optional[int] = ..., artifacts_compared: _Optional[int] = ..., artifacts_identical: _Optional[int] = ..., artifacts_with_other_bytes: _Optional[_Iterable[str]] = ..., environment_differences: _Optional[_Iterable[str]] = ..., relative_tolerance: _Optional[float] = ..., probability_tolerance: _Optional[float] = ...) -> None: ...

class ReplayDifference(_message.Message):
    __slots__ = ("place", "recorded", "replayed")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    place: str
    recorded: str
    replayed: str
    def __init__(self, place: _Optional[str] = ..., recorded: _Optional[str] = ..., replayed: _Optional[str] = ...) -> None: ...
