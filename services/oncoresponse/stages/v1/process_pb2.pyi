import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeProcessRequest(_message.Message):
    __slots__ = ("metrics", "models", "artifact_sha256")
    METRICS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_SHA256_FIELD_NUMBER: _ClassVar[int]
    metrics: bool
    models: bool
    artifact_sha256: str
    def __init__(self, metrics: _Optional[bool] = ..., models: _Optional[bool] = ..., artifact_sha256: _Optional[str] = ...) -> None: ...

class DescribeProcessResponse(_message.Message):
    __slots__ = ("services", "release", "time", "device", "metrics", "models", "sees_artifact")
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    SEES_ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    services: _containers.RepeatedScalarFieldContainer[str]
    release: str
    time: _timestamp_pb2.Timestamp
    device: str
    metrics: str
    models: _containers.RepeatedCompositeFieldContainer[InstalledModel]
    sees_artifact: bool
    def __init__(self, services: _Optional[_Iterable[str]] = ..., release: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., device: _Optional[str] = ..., metrics: _Optional[str] = ..., models: _Optional[_Iterable[_Union[InstalledModel, _Mapping]]] = ..., sees_artifact: _Optional[bool] = ...) -> None: ...

class InstalledModel(_message.Message):
    __slots__ = ("name", "version", "sha256", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    sha256: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., sha256: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
