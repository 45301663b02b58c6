from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CheckStudyRequest(_message.Message):
    __slots__ = ("study", "model", "model_sha256", "order")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    study: str
    model: str
    model_sha256: str
    order: bytes
    def __init__(self, study: _Optional[str] = ..., model: _Optional[str] = ..., model_sha256: _Optional[str] = ..., order: _Optional[bytes] = ...) -> None: ...

class CheckStudyResponse(_message.Message):
    __slots__ = ("patients", "study_date")
    PATIENTS_FIELD_NUMBER: _ClassVar[int]
    STUDY_DATE_FIELD_NUMBER: _ClassVar[int]
    patients: _containers.RepeatedCompositeFieldContainer[StudyPatient]
    study_date: str
    def __init__(self, patients: _Optional[_Iterable[_Union[StudyPatient, _Mapping]]] = ..., study_date: _Optional[str] = ...) -> None: ...

class StudyPatient(_message.Message):
    __slots__ = ("patient_id", "issuer_of_patient_id")
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUER_OF_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    patient_id: str
    issuer_of_patient_id: str
    def __init__(self, patient_id: _Optional[str] = ..., issuer_of_patient_id: _Optional[str] = ...) -> None: ...
