from buf.validate import validate_pb2 as _validate_pb2
from oncoresponse.v1 import artifact_pb2 as _artifact_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunStageRequest(_message.Message):
    __slots__ = ("stage", "model", "model_sha256", "case")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    CASE_FIELD_NUMBER: _ClassVar[int]
    stage: str
    model: str
    model_sha256: str
    case: _artifact_pb2.ArtifactReference
    def __init__(self, stage: _Optional[str] = ..., model: _Optional[str] = ..., model_sha256: _Optional[str] = ..., case: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ...) -> None: ...

class RunStageResponse(_message.Message):
    __slots__ = ("case", "choice_needed")
    CASE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_NEEDED_FIELD_NUMBER: _ClassVar[int]
    case: _artifact_pb2.ArtifactReference
    choice_needed: bool
    def __init__(self, case: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., choice_needed: _Optional[bool] = ...) -> None: ...
