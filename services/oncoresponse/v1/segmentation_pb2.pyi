from buf.validate import validate_pb2 as _validate_pb2
from oncoresponse.v1 import artifact_pb2 as _artifact_pb2
from oncoresponse.v1 import lesion_pb2 as _lesion_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SegmentRequest(_message.Message):
    __slots__ = ("model", "pet", "ct", "supplied_mask", "supplied_mask_kind", "lesion_point", "lesion_box", "lesion_mask", "model_sha256")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PET_FIELD_NUMBER: _ClassVar[int]
    CT_FIELD_NUMBER: _ClassVar[int]
    SUPPLIED_MASK_FIELD_NUMBER: _ClassVar[int]
    SUPPLIED_MASK_KIND_FIELD_NUMBER: _ClassVar[int]
    LESION_POINT_FIELD_NUMBER: _ClassVar[int]
    LESION_BOX_FIELD_NUMBER: _ClassVar[int]
    LESION_MASK_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    model: str
    pet: _artifact_pb2.ArtifactReference
    ct: _artifact_pb2.ArtifactReference
    supplied_mask: _artifact_pb2.ArtifactReference
    supplied_mask_kind: str
    lesion_point: _lesion_pb2.PatientPosition
    lesion_box: _lesion_pb2.LesionBox
    lesion_mask: _artifact_pb2.ArtifactReference
    model_sha256: str
    def __init__(self, model: _Optional[str] = ..., pet: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., ct: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., supplied_mask: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., supplied_mask_kind: _Optional[str] = ..., lesion_point: _Optional[_Union[_lesion_pb2.PatientPosition, _Mapping]] = ..., lesion_box: _Optional[_Union[_lesion_pb2.LesionBox, _Mapping]] = ..., lesion_mask: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., model_sha256: _Optional[str] = ...) -> None: ...

class MaskVariant(_message.Message):
    __slots__ = ("name", "mask")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    name: str
    mask: _artifact_pb2.ArtifactReference
    def __init__(self, name: _Optional[str] = ..., mask: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ...) -> None: ...

class SegmentResponse(_message.Message):
    __slots__ = ("mask", "probability", "summary", "volume_ml", "variants", "candidates", "candidates_document", "candidates_picture", "needs_review", "review_reasons")
    MASK_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    VOLUME_ML_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_PICTURE_FIELD_NUMBER: _ClassVar[int]
    NEEDS_REVIEW_FIELD_NUMBER: _ClassVar[int]
    REVIEW_REASONS_FIELD_NUMBER: _ClassVar[int]
    mask: _artifact_pb2.ArtifactReference
    probability: _artifact_pb2.ArtifactReference
    summary: _artifact_pb2.ArtifactReference
    volume_ml: float
    variants: _containers.RepeatedCompositeFieldContainer[MaskVariant]
    candidates: _containers.RepeatedCompositeFieldContainer[_lesion_pb2.LesionCandidate]
    candidates_document: _artifact_pb2.ArtifactReference
    candidates_picture: _artifact_pb2.ArtifactReference
    needs_review: bool
    review_reasons: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, mask: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., probability: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., summary: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., volume_ml: _Optional[float] = ..., variants: _Optional[_Iterable[_Union[MaskVariant, _Mapping]]] = ..., candidates: _Optional[_Iterable[_Union[_lesion_pb2.LesionCandidate, _Mapping]]] = ..., candidates_document: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., candidates_picture: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., needs_review: _Optional[bool] = ..., review_reasons: _Optional[_Iterable[str]] = ...) -> None: ...
