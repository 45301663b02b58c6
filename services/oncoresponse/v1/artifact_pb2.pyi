from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ArtifactReference(_message.Message):
    __slots__ = ("uri", "sha256", "size_bytes", "media_type", "grid")
    URI_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    GRID_FIELD_NUMBER: _ClassVar[int]
    uri: str
    sha256: str
    size_bytes: int
    media_type: str
    grid: VoxelGrid
    def __init__(self, uri: _Optional[str] = ..., sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., media_type: _Optional[str] = ..., grid: _Optional[_Union[VoxelGrid, _Mapping]] = ...) -> None: ...

class VoxelGrid(_message.Message):
    __slots__ = ("size", "spacing_mm", "origin_mm", "direction", "frame_of_reference_uid")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SPACING_MM_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_MM_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    FRAME_OF_REFERENCE_UID_FIELD_NUMBER: _ClassVar[int]
    size: _containers.RepeatedScalarFieldContainer[int]
    spacing_mm: _containers.RepeatedScalarFieldContainer[float]
    origin_mm: _containers.RepeatedScalarFieldContainer[float]
    direction: _containers.RepeatedScalarFieldContainer[float]
    frame_of_reference_uid: str
    def __init__(self, size: _Optional[_Iterable[int]] = ..., spacing_mm: _Optional[_Iterable[float]] = ..., origin_mm: _Optional[_Iterable[float]] = ..., direction: _Optional[_Iterable[float]] = ..., frame_of_reference_uid: _Optional[str] = ...) -> None: ...
