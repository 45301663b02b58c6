from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_STATE_UNSPECIFIED: _ClassVar[ModelState]
    MODEL_STATE_DRAFT: _ClassVar[ModelState]
    MODEL_STATE_VALIDATED: _ClassVar[ModelState]
    MODEL_STATE_ACTIVE: _ClassVar[ModelState]
    MODEL_STATE_RETIRED: _ClassVar[ModelState]
MODEL_STATE_UNSPECIFIED: ModelState
MODEL_STATE_DRAFT: ModelState
MODEL_STATE_VALIDATED: ModelState
MODEL_STATE_ACTIVE: ModelState
MODEL_STATE_RETIRED: ModelState

class Model(_message.Message):
    __slots__ = ("name", "version", "sha256", "title", "intended_use", "required_modalities", "covariates", "outcome", "limitations", "training_data", "files", "inputs", "stages", "state", "installed_sha256", "release_stopped", "stop_reason")
    class FilesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    INTENDED_USE_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_MODALITIES_FIELD_NUMBER: _ClassVar[int]
    COVARIATES_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    LIMITATIONS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_DATA_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    INSTALLED_SHA256_FIELD_NUMBER: _ClassVar[int]
    RELEASE_STOPPED_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    sha256: str
    title: str
    intended_use: IntendedUse
    required_modalities: _containers.RepeatedScalarFieldContainer[str]
    covariates: _containers.RepeatedCompositeFieldContainer[CovariateDefinition]
    outcome: str
    limitations: _containers.RepeatedScalarFieldContainer[str]
    training_data: str
    files: _containers.ScalarMap[str, str]
    inputs: _containers.RepeatedCompositeFieldContainer[ImageInput]
    stages: _containers.RepeatedScalarFieldContainer[str]
    state: ModelState
    installed_sha256: str
    release_stopped: bool
    stop_reason: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., sha256: _Optional[str] = ..., title: _Optional[str] = ..., intended_use: _Optional[_Union[IntendedUse, _Mapping]] = ..., required_modalities: _Optional[_Iterable[str]] = ..., covariates: _Optional[_Iterable[_Union[CovariateDefinition, _Mapping]]] = ..., outcome: _Optional[str] = ..., limitations: _Optional[_Iterable[str]] = ..., training_data: _Optional[str] = ..., files: _Optional[_Mapping[str, str]] = ..., inputs: _Optional[_Iterable[_Union[ImageInput, _Mapping]]] = ..., stages: _Optional[_Iterable[str]] = ..., state: _Optional[_Union[ModelState, str]] = ..., installed_sha256: _Optional[str] = ..., release_stopped: _Optional[bool] = ..., stop_reason: _Optional[str] = ...) -> None: ...

class ImageInput(_message.Message):
    __slots__ = ("role", "modality", "quantity", "purpose", "required")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    role: str
    modality: str
    quantity: str
    purpose: str
    required: bool
    def __init__(self, role: _Optional[str] = ..., modality: _Optional[str] = ..., quantity: _Optional[str] = ..., purpose: _Optional[str] = ..., required: _Optional[bool] = ...) -> None: ...

class IntendedUse(_message.Message):
    __slots__ = ("purpose", "population", "user", "role", "contraindications", "device_status")
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    POPULATION_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTRAINDICATIONS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_STATUS_FIELD_NUMBER: _ClassVar[int]
    purpose: str
    population: str
    user: str
    role: str
    contraindications: _containers.RepeatedScalarFieldContainer[str]
    device_status: str
    def __init__(self, purpose: _Optional[str] = ..., population: _Optional[str] = ..., user: _Optional[str] = ..., role: _Optional[str] = ..., contraindications: _Optional[_Iterable[str]] = ..., device_status: _Optional[str] = ...) -> None: ...

class CovariateDefinition(_message.Message):
    __slots__ = ("name", "title", "unit", "required")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    name: str
    title: str
    unit: str
    required: bool
    def __init__(self, name: _Optional[str] = ..., title: _Optional[str] = ..., unit: _Optional[str] = ..., required: _Optional[bool] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...
