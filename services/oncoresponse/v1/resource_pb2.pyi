import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Resource(_message.Message):
    __slots__ = ("type", "id", "version", "last_updated", "content")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: str
    version: int
    last_updated: _timestamp_pb2.Timestamp
    content: bytes
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ..., version: _Optional[int] = ..., last_updated: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., content: _Optional[bytes] = ...) -> None: ...

class ReadResourceRequest(_message.Message):
    __slots__ = ("type", "id", "version", "status")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: str
    version: int
    status: bool
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ..., version: _Optional[int] = ..., status: _Optional[bool] = ...) -> None: ...

class ReadResourceResponse(_message.Message):
    __slots__ = ("resource",)
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    resource: Resource
    def __init__(self, resource: _Optional[_Union[Resource, _Mapping]] = ...) -> None: ...

class SearchCriterion(_message.Message):
    __slots__ = ("parameter", "value")
    PARAMETER_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    parameter: str
    value: str
    def __init__(self, parameter: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class SearchResourcesRequest(_message.Message):
    __slots__ = ("type", "criteria", "sort", "includes", "reverse_includes", "strict", "count_all", "count_only", "page_size", "page_token")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CRITERIA_FIELD_NUMBER: _ClassVar[int]
    SORT_FIELD_NUMBER: _ClassVar[int]
    INCLUDES_FIELD_NUMBER: _ClassVar[int]
    REVERSE_INCLUDES_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    COUNT_ALL_FIELD_NUMBER: _ClassVar[int]
    COUNT_ONLY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    type: str
    criteria: _containers.RepeatedCompositeFieldContainer[SearchCriterion]
    sort: str
    includes: _containers.RepeatedScalarFieldContainer[str]
    reverse_includes: _containers.RepeatedScalarFieldContainer[str]
    strict: bool
    count_all: bool
    count_only: bool
    page_size: int
    page_token: str
    def __init__(self, type: _Optional[str] = ..., criteria: _Optional[_Iterable[_Union[SearchCriterion, _Mapping]]] = ..., sort: _Optional[str] = ..., includes: _Optional[_Iterable[str]] = ..., reverse_includes: _Optional[_Iterable[str]] = ..., strict: _Optional[bool] = ..., count_all: _Optional[bool] = ..., count_only: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class SearchResourcesResponse(_message.Message):
    __slots__ = ("matches", "included", "next_page_token", "total", "ignored_parameters", "included_incomplete", "index_incomplete")
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    INCLUDED_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    IGNORED_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    INCLUDED_INCOMPLETE_FIELD_NUMBER: _ClassVar[int]
    INDEX_INCOMPLETE_FIELD_NUMBER: _ClassVar[int]
    matches: _containers.RepeatedCompositeFieldContainer[Resource]
    included: _containers.RepeatedCompositeFieldContainer[Resource]
    next_page_token: str
    total: int
    ignored_parameters: _containers.RepeatedScalarFieldContainer[str]
    included_incomplete: bool
    index_incomplete: bool
    def __init__(self, matches: _Optional[_Iterable[_Union[Resource, _Mapping]]] = ..., included: _Optional[_Iterable[_Union[Resource, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total: _Optional[int] = ..., ignored_parameters: _Optional[_Iterable[str]] = ..., included_incomplete: _Optional[bool] = ..., index_incomplete: _Optional[bool] = ...) -> None: ...
