from buf.validate import validate_pb2 as _validate_pb2
from oncoresponse.v1 import artifact_pb2 as _artifact_pb2
from oncoresponse.v1 import contour_pb2 as _contour_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RefineRequest(_message.Message):
    __slots__ = ("model", "model_sha256", "case", "earlier", "hand")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    CASE_FIELD_NUMBER: _ClassVar[int]
    EARLIER_FIELD_NUMBER: _ClassVar[int]
    HAND_FIELD_NUMBER: _ClassVar[int]
    model: str
    model_sha256: str
    case: _artifact_pb2.ArtifactReference
    earlier: _artifact_pb2.ArtifactReference
    hand: _contour_pb2.ContourHand
    def __init__(self, model: _Optional[str] = ..., model_sha256: _Optional[str] = ..., case: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., earlier: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., hand: _Optional[_Union[_contour_pb2.ContourHand, _Mapping]] = ...) -> None: ...

class RefineResponse(_message.Message):
    __slots__ = ("mask", "volume_ml", "volume_before_ml")
    MASK_FIELD_NUMBER: _ClassVar[int]
    VOLUME_ML_FIELD_NUMBER: _ClassVar[int]
    VOLUME_BEFORE_ML_FIELD_NUMBER: _ClassVar[int]
    mask: _artifact_pb2.ArtifactReference
    volume_ml: float
    volume_before_ml: float
    def __init__(self, mask: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., volume_ml: _Optional[float] = ..., volume_before_ml: _Optional[float] = ...) -> None: ...
