from buf.validate import validate_pb2 as _validate_pb2
from oncoresponse.v1 import artifact_pb2 as _artifact_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PredictionAnswer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PREDICTION_ANSWER_UNSPECIFIED: _ClassVar[PredictionAnswer]
    PREDICTION_ANSWER_FAVORABLE: _ClassVar[PredictionAnswer]
    PREDICTION_ANSWER_UNFAVORABLE: _ClassVar[PredictionAnswer]
    PREDICTION_ANSWER_INDETERMINATE: _ClassVar[PredictionAnswer]
    PREDICTION_ANSWER_OUTSIDE_EXPERIENCE: _ClassVar[PredictionAnswer]
    PREDICTION_ANSWER_NO_EVIDENCE: _ClassVar[PredictionAnswer]
    PREDICTION_ANSWER_MEASURED_ONLY: _ClassVar[PredictionAnswer]
PREDICTION_ANSWER_UNSPECIFIED: PredictionAnswer
PREDICTION_ANSWER_FAVORABLE: PredictionAnswer
PREDICTION_ANSWER_UNFAVORABLE: PredictionAnswer
PREDICTION_ANSWER_INDETERMINATE: PredictionAnswer
PREDICTION_ANSWER_OUTSIDE_EXPERIENCE: PredictionAnswer
PREDICTION_ANSWER_NO_EVIDENCE: PredictionAnswer
PREDICTION_ANSWER_MEASURED_ONLY: PredictionAnswer

class Covariate(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class PredictResponseRequest(_message.Message):
    __slots__ = ("model", "features", "covariates", "variant_features", "model_sha256", "contour_review_reasons", "images", "study_description", "volume_high_ml", "contour_algorithm_type")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    COVARIATES_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FEATURES_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    CONTOUR_REVIEW_REASONS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    STUDY_DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    VOLUME_HIGH_ML_FIELD_NUMBER: _ClassVar[int]
    CONTOUR_ALGORITHM_TYPE_FIELD_NUMBER: _ClassVar[int]
    model: str
    features: _artifact_pb2.ArtifactReference
    covariates: _containers.RepeatedCompositeFieldContainer[Covariate]
    variant_features: _containers.RepeatedCompositeFieldContainer[_artifact_pb2.ArtifactReference]
    model_sha256: str
    contour_review_reasons: _containers.RepeatedScalarFieldContainer[str]
    images: _containers.RepeatedCompositeFieldContainer[_artifact_pb2.ArtifactReference]
    study_description: _artifact_pb2.ArtifactReference
    volume_high_ml: float
    contour_algorithm_type: str
    def __init__(self, model: _Optional[str] = ..., features: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., covariates: _Optional[_Iterable[_Union[Covariate, _Mapping]]] = ..., variant_features: _Optional[_Iterable[_Union[_artifact_pb2.ArtifactReference, _Mapping]]] = ..., model_sha256: _Optional[str] = ..., contour_review_reasons: _Optional[_Iterable[str]] = ..., images: _Optional[_Iterable[_Union[_artifact_pb2.ArtifactReference, _Mapping]]] = ..., study_description: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., volume_high_ml: _Optional[float] = ..., contour_algorithm_type: _Optional[str] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("input", "title", "value", "unit", "log_odds", "group", "percentile")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    LOG_ODDS_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    PERCENTILE_FIELD_NUMBER: _ClassVar[int]
    input: str
    title: str
    value: float
    unit: str
    log_odds: float
    group: str
    percentile: float
    def __init__(self, input: _Optional[str] = ..., title: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ..., log_odds: _Optional[float] = ..., group: _Optional[str] = ..., percentile: _Optional[float] = ...) -> None: ...

class CallEvidence(_message.Message):
    __slots__ = ("call", "patients", "right", "right_low", "reference", "allowed", "text")
    CALL_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    RIGHT_LOW_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    call: PredictionAnswer
    patients: float
    right: float
    right_low: float
    reference: float
    allowed: bool
    text: str
    def __init__(self, call: _Optional[_Union[PredictionAnswer, str]] = ..., patients: _Optional[float] = ..., right: _Optional[float] = ..., right_low: _Optional[float] = ..., reference: _Optional[float] = ..., allowed: _Optional[bool] = ..., text: _Optional[str] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("answer", "answer_text", "probability", "interval_low", "interval_high", "interval_level", "contributions", "outside_score", "abstain_reasons", "sentences", "contour_low", "contour_high", "used_in_training", "call_evidence")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    ANSWER_TEXT_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_LOW_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_HIGH_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_LEVEL_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_SCORE_FIELD_NUMBER: _ClassVar[int]
    ABSTAIN_REASONS_FIELD_NUMBER: _ClassVar[int]
    SENTENCES_FIELD_NUMBER: _ClassVar[int]
    CONTOUR_LOW_FIELD_NUMBER: _ClassVar[int]
    CONTOUR_HIGH_FIELD_NUMBER: _ClassVar[int]
    USED_IN_TRAINING_FIELD_NUMBER: _ClassVar[int]
    CALL_EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    answer: PredictionAnswer
    answer_text: str
    probability: float
    interval_low: float
    interval_high: float
    interval_level: float
    contributions: _containers.RepeatedCompositeFieldContainer[Contribution]
    outside_score: float
    abstain_reasons: _containers.RepeatedScalarFieldContainer[str]
    sentences: _containers.RepeatedScalarFieldContainer[str]
    contour_low: float
    contour_high: float
    used_in_training: bool
    call_evidence: CallEvidence
    def __init__(self, answer: _Optional[_Union[PredictionAnswer, str]] = ..., answer_text: _Optional[str] = ..., probability: _Optional[float] = ..., interval_low: _Optional[float] = ..., interval_high: _Optional[float] = ..., interval_level: _Optional[float] = ..., contributions: _Optional[_Iterable[_Union[Contribution, _Mapping]]] = ..., outside_score: _Optional[float] = ..., abstain_reasons: _Optional[_Iterable[str]] = ..., sentences: _Optional[_Iterable[str]] = ..., contour_low: _Optional[float] = ..., contour_high: _Optional[float] = ..., used_in_training: _Optional[bool] = ..., call_evidence: _Optional[_Union[CallEvidence, _Mapping]] = ...) -> None: ...

class PredictResponseResponse(_message.Message):
    __slots__ = ("prediction_document", "prediction")
    PREDICTION_DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    prediction_document: _artifact_pb2.ArtifactReference
    prediction: Prediction
    def __init__(self, prediction_document: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., prediction: _Optional[_Union[Prediction, _Mapping]] = ...) -> None: ...
