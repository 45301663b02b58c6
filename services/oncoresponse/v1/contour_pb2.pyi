import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from oncoresponse.v1 import artifact_pb2 as _artifact_pb2
from oncoresponse.v1 import lesion_pb2 as _lesion_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ContourHand(_message.Message):
    __slots__ = ("inside", "outside", "box", "outlines")
    INSIDE_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    OUTLINES_FIELD_NUMBER: _ClassVar[int]
    inside: _containers.RepeatedCompositeFieldContainer[_lesion_pb2.PatientPosition]
    outside: _containers.RepeatedCompositeFieldContainer[_lesion_pb2.PatientPosition]
    box: _lesion_pb2.LesionBox
    outlines: _containers.RepeatedCompositeFieldContainer[SliceOutline]
    def __init__(self, inside: _Optional[_Iterable[_Union[_lesion_pb2.PatientPosition, _Mapping]]] = ..., outside: _Optional[_Iterable[_Union[_lesion_pb2.PatientPosition, _Mapping]]] = ..., box: _Optional[_Union[_lesion_pb2.LesionBox, _Mapping]] = ..., outlines: _Optional[_Iterable[_Union[SliceOutline, _Mapping]]] = ...) -> None: ...

class SliceOutline(_message.Message):
    __slots__ = ("on_slice", "polygons")
    ON_SLICE_FIELD_NUMBER: _ClassVar[int]
    POLYGONS_FIELD_NUMBER: _ClassVar[int]
    on_slice: _lesion_pb2.PatientPosition
    polygons: _containers.RepeatedCompositeFieldContainer[SlicePolygon]
    def __init__(self, on_slice: _Optional[_Union[_lesion_pb2.PatientPosition, _Mapping]] = ..., polygons: _Optional[_Iterable[_Union[SlicePolygon, _Mapping]]] = ...) -> None: ...

class SlicePolygon(_message.Message):
    __slots__ = ("points",)
    POINTS_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[_lesion_pb2.PatientPosition]
    def __init__(self, points: _Optional[_Iterable[_Union[_lesion_pb2.PatientPosition, _Mapping]]] = ...) -> None: ...

class ContourCorrection(_message.Message):
    __slots__ = ("name", "lesion", "parent", "corrected_by", "create_time", "hand", "mask", "volume_ml", "volume_before_ml")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LESION_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    CORRECTED_BY_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    HAND_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    VOLUME_ML_FIELD_NUMBER: _ClassVar[int]
    VOLUME_BEFORE_ML_FIELD_NUMBER: _ClassVar[int]
    name: str
    lesion: int
    parent: str
    corrected_by: str
    create_time: _timestamp_pb2.Timestamp
    hand: ContourHand
    mask: _artifact_pb2.ArtifactReference
    volume_ml: float
    volume_before_ml: float
    def __init__(self, name: _Optional[str] = ..., lesion: _Optional[int] = ..., parent: _Optional[str] = ..., corrected_by: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., hand: _Optional[_Union[ContourHand, _Mapping]] = ..., mask: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., volume_ml: _Optional[float] = ..., volume_before_ml: _Optional[float] = ...) -> None: ...

class RefineContourRequest(_message.Message):
    __slots__ = ("assessment", "lesion", "parent", "hand", "anew")
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    LESION_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    HAND_FIELD_NUMBER: _ClassVar[int]
    ANEW_FIELD_NUMBER: _ClassVar[int]
    assessment: str
    lesion: int
    parent: str
    hand: ContourHand
    anew: bool
    def __init__(self, assessment: _Optional[str] = ..., lesion: _Optional[int] = ..., parent: _Optional[str] = ..., hand: _Optional[_Union[ContourHand, _Mapping]] = ..., anew: _Optional[bool] = ...) -> None: ...

class RefineContourResponse(_message.Message):
    __slots__ = ("correction",)
    CORRECTION_FIELD_NUMBER: _ClassVar[int]
    correction: ContourCorrection
    def __init__(self, correction: _Optional[_Union[ContourCorrection, _Mapping]] = ...) -> None: ...

class ListContourCorrectionsRequest(_message.Message):
    __slots__ = ("assessment",)
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    assessment: str
    def __init__(self, assessment: _Optional[str] = ...) -> None: ...

class ListContourCorrectionsResponse(_message.Message):
    __slots__ = ("corrections",)
    CORRECTIONS_FIELD_NUMBER: _ClassVar[int]
    corrections: _containers.RepeatedCompositeFieldContainer[ContourCorrection]
    def __init__(self, corrections: _Optional[_Iterable[_Union[ContourCorrection, _Mapping]]] = ...) -> None: ...
