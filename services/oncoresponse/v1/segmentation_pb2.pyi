from buf.validate import validate_pb2 as _validate_pb2
from oncoresponse.v1 import artifact_pb2 as _artifact_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SegmentRequest(_message.Message):
    __slots__ = ("model", "pet", "ct", "supplied_mask", "supplied_mask_kind")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PET_FIELD_NUMBER: _ClassVar[int]
    CT_FIELD_NUMBER: _ClassVar[int]
    SUPPLIED_MASK_FIELD_NUMBER: _ClassVar[int]
    SUPPLIED_MASK_KIND_FIELD_NUMBER: _ClassVar[int]
    model: str
    pet: _artifact_pb2.ArtifactReference
    ct: _artifact_pb2.ArtifactReference
    supplied_mask: _artifact_pb2.ArtifactReference
    supplied_mask_kind: str
    def __init__(self, model: _Optional[str] = ..., pet: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., ct: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., supplied_mask: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., supplied_mask_kind: _Optional[str] = ...) -> None: ...

class SegmentResponse(_message.Message):
    __slots__ = ("mask", "probability", "summary", "volume_ml")
    MASK_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    VOLUME_ML_FIELD_NUMBER: _ClassVar[int]
    mask: _artifact_pb2.ArtifactReference
    probability: _artifact_pb2.ArtifactReference
    summary: _artifact_pb2.ArtifactReference
    volume_ml: float
    def __init__(self, mask: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., probability: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., summary: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., volume_ml: _Optional[float] = ...) -> None: ...
