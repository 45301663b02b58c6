import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from oncoresponse.v1 import artifact_pb2 as _artifact_pb2
from oncoresponse.v1 import contour_pb2 as _contour_pb2
from oncoresponse.v1 import lesion_pb2 as _lesion_pb2
from oncoresponse.v1 import report_pb2 as _report_pb2
from oncoresponse.v1 import response_pb2 as _response_pb2
from oncoresponse.v1 import study_pb2 as _study_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AssessmentState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ASSESSMENT_STATE_UNSPECIFIED: _ClassVar[AssessmentState]
    ASSESSMENT_STATE_QUEUED: _ClassVar[AssessmentState]
    ASSESSMENT_STATE_RUNNING: _ClassVar[AssessmentState]
    ASSESSMENT_STATE_SUCCEEDED: _ClassVar[AssessmentState]
    ASSESSMENT_STATE_FAILED: _ClassVar[AssessmentState]
    ASSESSMENT_STATE_CANCELLED: _ClassVar[AssessmentState]
    ASSESSMENT_STATE_LESION_CHOICE_NEEDED: _ClassVar[AssessmentState]

class AssessmentStage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ASSESSMENT_STAGE_UNSPECIFIED: _ClassVar[AssessmentStage]
    ASSESSMENT_STAGE_CONVERSION: _ClassVar[AssessmentStage]
    ASSESSMENT_STAGE_SEGMENTATION: _ClassVar[AssessmentStage]
    ASSESSMENT_STAGE_FEATURES: _ClassVar[AssessmentStage]
    ASSESSMENT_STAGE_PREDICTION: _ClassVar[AssessmentStage]
    ASSESSMENT_STAGE_REPORT: _ClassVar[AssessmentStage]

class AssessmentPriority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ASSESSMENT_PRIORITY_UNSPECIFIED: _ClassVar[AssessmentPriority]
    ASSESSMENT_PRIORITY_ROUTINE: _ClassVar[AssessmentPriority]
    ASSESSMENT_PRIORITY_URGENT: _ClassVar[AssessmentPriority]
    ASSESSMENT_PRIORITY_STAT: _ClassVar[AssessmentPriority]
ASSESSMENT_STATE_UNSPECIFIED: AssessmentState
ASSESSMENT_STATE_QUEUED: AssessmentState
ASSESSMENT_STATE_RUNNING: AssessmentState
ASSESSMENT_STATE_SUCCEEDED: AssessmentState
ASSESSMENT_STATE_FAILED: AssessmentState
ASSESSMENT_STATE_CANCELLED: AssessmentState
ASSESSMENT_STATE_LESION_CHOICE_NEEDED: AssessmentState
ASSESSMENT_STAGE_UNSPECIFIED: AssessmentStage
ASSESSMENT_STAGE_CONVERSION: AssessmentStage
ASSESSMENT_STAGE_SEGMENTATION: AssessmentStage
ASSESSMENT_STAGE_FEATURES: AssessmentStage
ASSESSMENT_STAGE_PREDICTION: AssessmentStage
ASSESSMENT_STAGE_REPORT: AssessmentStage
ASSESSMENT_PRIORITY_UNSPECIFIED: AssessmentPriority
ASSESSMENT_PRIORITY_ROUTINE: AssessmentPriority
ASSESSMENT_PRIORITY_URGENT: AssessmentPriority
ASSESSMENT_PRIORITY_STAT: AssessmentPriority

class Assessment(_message.Message):
    __slots__ = ("name", "study", "model", "state", "stage", "fraction_done", "message", "revision", "create_time", "end_time", "error", "result", "lesion_candidates", "model_sha256", "report_status", "report_version", "replaces", "replaced_by", "prediction_withheld")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    FRACTION_DONE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    LESION_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    REPORT_STATUS_FIELD_NUMBER: _ClassVar[int]
    REPORT_VERSION_FIELD_NUMBER: _ClassVar[int]
    REPLACES_FIELD_NUMBER: _ClassVar[int]
    REPLACED_BY_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_WITHHELD_FIELD_NUMBER: _ClassVar[int]
    name: str
    study: str
    model: str
    state: AssessmentState
    stage: AssessmentStage
    fraction_done: float
    message: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    error: _status_pb2.Status
    result: AssessmentResult
    lesion_candidates: _containers.RepeatedCompositeFieldContainer[_lesion_pb2.LesionCandidate]
    model_sha256: str
    report_status: _report_pb2.ReportStatus
    report_version: int
    replaces: str
    replaced_by: str
    prediction_withheld: bool
    def __init__(self, name: _Optional[str] = ..., study: _Optional[str] = ..., model: _Optional[str] = ..., state: _Optional[_Union[AssessmentState, str]] = ..., stage: _Optional[_Union[AssessmentStage, str]] = ..., fraction_done: _Optional[float] = ..., message: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., result: _Optional[_Union[AssessmentResult, _Mapping]] = ..., lesion_candidates: _Optional[_Iterable[_Union[_lesion_pb2.LesionCandidate, _Mapping]]] = ..., model_sha256: _Optional[str] = ..., report_status: _Optional[_Union[_report_pb2.ReportStatus, str]] = ..., report_version: _Optional[int] = ..., replaces: _Optional[str] = ..., replaced_by: _Optional[str] = ..., prediction_withheld: _Optional[bool] = ...) -> None: ...

class AssessmentResult(_message.Message):
    __slots__ = ("fhir_bundle", "artifacts", "prediction", "summary", "stage_seconds", "lesions", "totals", "predicted_from")
    class ArtifactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _artifact_pb2.ArtifactReference
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ...) -> None: ...
    class StageSecondsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    FHIR_BUNDLE_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    STAGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LESIONS_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FROM_FIELD_NUMBER: _ClassVar[int]
    fhir_bundle: _artifact_pb2.ArtifactReference
    artifacts: _containers.MessageMap[str, _artifact_pb2.ArtifactReference]
    prediction: _response_pb2.Prediction
    summary: str
    stage_seconds: _containers.ScalarMap[str, float]
    lesions: _containers.RepeatedCompositeFieldContainer[_lesion_pb2.LesionResult]
    totals: _containers.RepeatedCompositeFieldContainer[_lesion_pb2.Measure]
    predicted_from: str
    def __init__(self, fhir_bundle: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., artifacts: _Optional[_Mapping[str, _artifact_pb2.ArtifactReference]] = ..., prediction: _Optional[_Union[_response_pb2.Prediction, _Mapping]] = ..., summary: _Optional[str] = ..., stage_seconds: _Optional[_Mapping[str, float]] = ..., lesions: _Optional[_Iterable[_Union[_lesion_pb2.LesionResult, _Mapping]]] = ..., totals: _Optional[_Iterable[_Union[_lesion_pb2.Measure, _Mapping]]] = ..., predicted_from: _Optional[str] = ...) -> None: ...

class LesionPrompt(_message.Message):
    __slots__ = ("point", "box", "rough_contour")
    POINT_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    ROUGH_CONTOUR_FIELD_NUMBER: _ClassVar[int]
    point: _lesion_pb2.PatientPosition
    box: _lesion_pb2.LesionBox
    rough_contour: _study_pb2.SuppliedContour
    def __init__(self, point: _Optional[_Union[_lesion_pb2.PatientPosition, _Mapping]] = ..., box: _Optional[_Union[_lesion_pb2.LesionBox, _Mapping]] = ..., rough_contour: _Optional[_Union[_study_pb2.SuppliedContour, _Mapping]] = ...) -> None: ...

class LesionSelection(_message.Message):
    __slots__ = ("point", "box", "rough_contour", "contour", "correction")
    POINT_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    ROUGH_CONTOUR_FIELD_NUMBER: _ClassVar[int]
    CONTOUR_FIELD_NUMBER: _ClassVar[int]
    CORRECTION_FIELD_NUMBER: _ClassVar[int]
    point: _lesion_pb2.PatientPosition
    box: _lesion_pb2.LesionBox
    rough_contour: _study_pb2.SuppliedContour
    contour: _study_pb2.SuppliedContour
    correction: str
    def __init__(self, point: _Optional[_Union[_lesion_pb2.PatientPosition, _Mapping]] = ..., box: _Optional[_Union[_lesion_pb2.LesionBox, _Mapping]] = ..., rough_contour: _Optional[_Union[_study_pb2.SuppliedContour, _Mapping]] = ..., contour: _Optional[_Union[_study_pb2.SuppliedContour, _Mapping]] = ..., correction: _Optional[str] = ...) -> None: ...

class CreateAssessmentRequest(_message.Message):
    __slots__ = ("request_id", "study", "model", "covariates", "planned_treatment", "contour", "expected_patient", "patient_reference", "service_request_reference", "lesion", "series", "lesions", "replaces", "deliver_to", "priority", "encounter_reference")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    COVARIATES_FIELD_NUMBER: _ClassVar[int]
    PLANNED_TREATMENT_FIELD_NUMBER: _ClassVar[int]
    CONTOUR_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_PATIENT_FIELD_NUMBER: _ClassVar[int]
    PATIENT_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_REQUEST_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    LESION_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    LESIONS_FIELD_NUMBER: _ClassVar[int]
    REPLACES_FIELD_NUMBER: _ClassVar[int]
    DELIVER_TO_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ENCOUNTER_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    study: str
    model: str
    covariates: _containers.RepeatedCompositeFieldContainer[_response_pb2.Covariate]
    planned_treatment: str
    contour: _study_pb2.SuppliedContour
    expected_patient: _study_pb2.ExpectedPatient
    patient_reference: str
    service_request_reference: str
    lesion: LesionPrompt
    series: _containers.RepeatedCompositeFieldContainer[_study_pb2.SeriesSelection]
    lesions: _containers.RepeatedCompositeFieldContainer[LesionSelection]
    replaces: str
    deliver_to: _containers.RepeatedScalarFieldContainer[str]
    priority: AssessmentPriority
    encounter_reference: str
    def __init__(self, request_id: _Optional[str] = ..., study: _Optional[str] = ..., model: _Optional[str] = ..., covariates: _Optional[_Iterable[_Union[_response_pb2.Covariate, _Mapping]]] = ..., planned_treatment: _Optional[str] = ..., contour: _Optional[_Union[_study_pb2.SuppliedContour, _Mapping]] = ..., expected_patient: _Optional[_Union[_study_pb2.ExpectedPatient, _Mapping]] = ..., patient_reference: _Optional[str] = ..., service_request_reference: _Optional[str] = ..., lesion: _Optional[_Union[LesionPrompt, _Mapping]] = ..., series: _Optional[_Iterable[_Union[_study_pb2.SeriesSelection, _Mapping]]] = ..., lesions: _Optional[_Iterable[_Union[LesionSelection, _Mapping]]] = ..., replaces: _Optional[str] = ..., deliver_to: _Optional[_Iterable[str]] = ..., priority: _Optional[_Union[AssessmentPriority, str]] = ..., encounter_reference: _Optional[str] = ...) -> None: ...

class CreateAssessmentResponse(_message.Message):
    __slots__ = ("assessment",)
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    assessment: Assessment
    def __init__(self, assessment: _Optional[_Union[Assessment, _Mapping]] = ...) -> None: ...

class GetAssessmentRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetAssessmentResponse(_message.Message):
    __slots__ = ("assessment",)
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    assessment: Assessment
    def __init__(self, assessment: _Optional[_Union[Assessment, _Mapping]] = ...) -> None: ...

class ListAssessmentsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "study", "patient_id", "issuer_of_patient_id", "create_time_from", "create_time_before", "state", "model")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUER_OF_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FROM_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_BEFORE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    study: str
    patient_id: str
    issuer_of_patient_id: str
    create_time_from: _timestamp_pb2.Timestamp
    create_time_before: _timestamp_pb2.Timestamp
    state: AssessmentState
    model: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., study: _Optional[str] = ..., patient_id: _Optional[str] = ..., issuer_of_patient_id: _Optional[str] = ..., create_time_from: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., create_time_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[AssessmentState, str]] = ..., model: _Optional[str] = ...) -> None: ...

class ListAssessmentsResponse(_message.Message):
    __slots__ = ("assessments", "next_page_token")
    ASSESSMENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    assessments: _containers.RepeatedCompositeFieldContainer[Assessment]
    next_page_token: str
    def __init__(self, assessments: _Optional[_Iterable[_Union[Assessment, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelAssessmentRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CancelAssessmentResponse(_message.Message):
    __slots__ = ("assessment",)
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    assessment: Assessment
    def __init__(self, assessment: _Optional[_Union[Assessment, _Mapping]] = ...) -> None: ...

class WatchAssessmentRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class WatchAssessmentResponse(_message.Message):
    __slots__ = ("assessment",)
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    assessment: Assessment
    def __init__(self, assessment: _Optional[_Union[Assessment, _Mapping]] = ...) -> None: ...

class GetArtifactRequest(_message.Message):
    __slots__ = ("assessment", "file_name", "report_version")
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    REPORT_VERSION_FIELD_NUMBER: _ClassVar[int]
    assessment: str
    file_name: str
    report_version: int
    def __init__(self, assessment: _Optional[str] = ..., file_name: _Optional[str] = ..., report_version: _Optional[int] = ...) -> None: ...

class GetArtifactResponse(_message.Message):
    __slots__ = ("artifact", "data")
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    artifact: _artifact_pb2.ArtifactReference
    data: bytes
    def __init__(self, artifact: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...
