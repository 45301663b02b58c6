import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FindStudiesRequest(_message.Message):
    __slots__ = ("patient_id", "create_time_before", "complete")
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_BEFORE_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    patient_id: str
    create_time_before: _timestamp_pb2.Timestamp
    complete: bool
    def __init__(self, patient_id: _Optional[str] = ..., create_time_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., complete: _Optional[bool] = ...) -> None: ...

class FoundStudy(_message.Message):
    __slots__ = ("name", "issuers", "instances", "index_rows", "files", "bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ISSUERS_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    INDEX_ROWS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    issuers: _containers.RepeatedScalarFieldContainer[str]
    instances: int
    index_rows: int
    files: int
    bytes: int
    def __init__(self, name: _Optional[str] = ..., issuers: _Optional[_Iterable[str]] = ..., instances: _Optional[int] = ..., index_rows: _Optional[int] = ..., files: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class FindStudiesResponse(_message.Message):
    __slots__ = ("studies",)
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    studies: _containers.RepeatedCompositeFieldContainer[FoundStudy]
    def __init__(self, studies: _Optional[_Iterable[_Union[FoundStudy, _Mapping]]] = ...) -> None: ...

class FindOrdersRequest(_message.Message):
    __slots__ = ("patient_id", "unchanged_since")
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_SINCE_FIELD_NUMBER: _ClassVar[int]
    patient_id: str
    unchanged_since: _timestamp_pb2.Timestamp
    def __init__(self, patient_id: _Optional[str] = ..., unchanged_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class FoundOrder(_message.Message):
    __slots__ = ("name", "issuer")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    name: str
    issuer: str
    def __init__(self, name: _Optional[str] = ..., issuer: _Optional[str] = ...) -> None: ...

class FindOrdersResponse(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[FoundOrder]
    def __init__(self, orders: _Optional[_Iterable[_Union[FoundOrder, _Mapping]]] = ...) -> None: ...

class MergeOrdersRequest(_message.Message):
    __slots__ = ("from_patient_id", "from_issuer", "into_patient_id", "into_issuer")
    FROM_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_ISSUER_FIELD_NUMBER: _ClassVar[int]
    INTO_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INTO_ISSUER_FIELD_NUMBER: _ClassVar[int]
    from_patient_id: str
    from_issuer: str
    into_patient_id: str
    into_issuer: str
    def __init__(self, from_patient_id: _Optional[str] = ..., from_issuer: _Optional[str] = ..., into_patient_id: _Optional[str] = ..., into_issuer: _Optional[str] = ...) -> None: ...

class MergeOrdersResponse(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: int
    def __init__(self, orders: _Optional[int] = ...) -> None: ...

class ForgetOrdersRequest(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, orders: _Optional[_Iterable[str]] = ...) -> None: ...

class ForgetOrdersResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListStudyArtifactsRequest(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: str
    def __init__(self, study: _Optional[str] = ...) -> None: ...

class ListStudyArtifactsResponse(_message.Message):
    __slots__ = ("digests",)
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    digests: bytes
    def __init__(self, digests: _Optional[bytes] = ...) -> None: ...

class ForgetStudiesRequest(_message.Message):
    __slots__ = ("studies",)
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    studies: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, studies: _Optional[_Iterable[str]] = ...) -> None: ...

class ForgetStudiesResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FindUsedArtifactsRequest(_message.Message):
    __slots__ = ("digests", "except_studies")
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    EXCEPT_STUDIES_FIELD_NUMBER: _ClassVar[int]
    digests: bytes
    except_studies: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, digests: _Optional[bytes] = ..., except_studies: _Optional[_Iterable[str]] = ...) -> None: ...

class FindUsedArtifactsResponse(_message.Message):
    __slots__ = ("digests",)
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    digests: bytes
    def __init__(self, digests: _Optional[bytes] = ...) -> None: ...

class CorrectStudiesRequest(_message.Message):
    __slots__ = ("studies", "patient_id", "issuer_of_patient_id", "other_person", "patient_name", "birth_date", "sex", "reason")
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUER_OF_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    OTHER_PERSON_FIELD_NUMBER: _ClassVar[int]
    PATIENT_NAME_FIELD_NUMBER: _ClassVar[int]
    BIRTH_DATE_FIELD_NUMBER: _ClassVar[int]
    SEX_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    studies: _containers.RepeatedScalarFieldContainer[str]
    patient_id: str
    issuer_of_patient_id: str
    other_person: bool
    patient_name: str
    birth_date: str
    sex: str
    reason: str
    def __init__(self, studies: _Optional[_Iterable[str]] = ..., patient_id: _Optional[str] = ..., issuer_of_patient_id: _Optional[str] = ..., other_person: _Optional[bool] = ..., patient_name: _Optional[str] = ..., birth_date: _Optional[str] = ..., sex: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CorrectStudiesResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CompactStudiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CompactStudiesResponse(_message.Message):
    __slots__ = ("clean",)
    CLEAN_FIELD_NUMBER: _ClassVar[int]
    clean: bool
    def __init__(self, clean: _Optional[bool] = ...) -> None: ...

class ForgetRecordsRequest(_message.Message):
    __slots__ = ("assessments", "before_month", "dry_run")
    ASSESSMENTS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_MONTH_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    assessments: _containers.RepeatedScalarFieldContainer[str]
    before_month: str
    dry_run: bool
    def __init__(self, assessments: _Optional[_Iterable[str]] = ..., before_month: _Optional[str] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class ForgetRecordsResponse(_message.Message):
    __slots__ = ("rows", "clean")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    CLEAN_FIELD_NUMBER: _ClassVar[int]
    rows: int
    clean: bool
    def __init__(self, rows: _Optional[int] = ..., clean: _Optional[bool] = ...) -> None: ...
