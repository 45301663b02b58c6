from buf.validate import validate_pb2 as _validate_pb2
from oncoresponse.v1 import artifact_pb2 as _artifact_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExtractFeaturesRequest(_message.Message):
    __slots__ = ("model", "image", "mask", "variant_masks", "model_sha256")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    VARIANT_MASKS_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    model: str
    image: _artifact_pb2.ArtifactReference
    mask: _artifact_pb2.ArtifactReference
    variant_masks: _containers.RepeatedCompositeFieldContainer[_artifact_pb2.ArtifactReference]
    model_sha256: str
    def __init__(self, model: _Optional[str] = ..., image: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., mask: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., variant_masks: _Optional[_Iterable[_Union[_artifact_pb2.ArtifactReference, _Mapping]]] = ..., model_sha256: _Optional[str] = ...) -> None: ...

class Feature(_message.Message):
    __slots__ = ("name", "value", "unit", "ibsi_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    IBSI_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    unit: str
    ibsi_id: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ..., ibsi_id: _Optional[str] = ...) -> None: ...

class ExtractFeaturesResponse(_message.Message):
    __slots__ = ("features", "measures", "feature_count", "variant_features")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    FEATURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FEATURES_FIELD_NUMBER: _ClassVar[int]
    features: _artifact_pb2.ArtifactReference
    measures: _containers.RepeatedCompositeFieldContainer[Feature]
    feature_count: int
    variant_features: _containers.RepeatedCompositeFieldContainer[_artifact_pb2.ArtifactReference]
    def __init__(self, features: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., measures: _Optional[_Iterable[_Union[Feature, _Mapping]]] = ..., feature_count: _Optional[int] = ..., variant_features: _Optional[_Iterable[_Union[_artifact_pb2.ArtifactReference, _Mapping]]] = ...) -> None: ...
