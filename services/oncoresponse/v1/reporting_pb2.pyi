import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from oncoresponse.v1 import artifact_pb2 as _artifact_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ComposeReportRequest(_message.Message):
    __slots__ = ("model", "report_id", "issued", "study_manifest", "description", "pet", "ct", "mask", "segmentation_summary", "features", "prediction", "planned_treatment", "patient_reference", "service_request_reference", "model_sha256")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REPORT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUED_FIELD_NUMBER: _ClassVar[int]
    STUDY_MANIFEST_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PET_FIELD_NUMBER: _ClassVar[int]
    CT_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    SEGMENTATION_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    PLANNED_TREATMENT_FIELD_NUMBER: _ClassVar[int]
    PATIENT_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_REQUEST_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    model: str
    report_id: str
    issued: _timestamp_pb2.Timestamp
    study_manifest: _artifact_pb2.ArtifactReference
    description: _artifact_pb2.ArtifactReference
    pet: _artifact_pb2.ArtifactReference
    ct: _artifact_pb2.ArtifactReference
    mask: _artifact_pb2.ArtifactReference
    segmentation_summary: _artifact_pb2.ArtifactReference
    features: _artifact_pb2.ArtifactReference
    prediction: _artifact_pb2.ArtifactReference
    planned_treatment: str
    patient_reference: str
    service_request_reference: str
    model_sha256: str
    def __init__(self, model: _Optional[str] = ..., report_id: _Optional[str] = ..., issued: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., study_manifest: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., description: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., pet: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., ct: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., mask: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., segmentation_summary: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., features: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., prediction: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., planned_treatment: _Optional[str] = ..., patient_reference: _Optional[str] = ..., service_request_reference: _Optional[str] = ..., model_sha256: _Optional[str] = ...) -> None: ...

class ComposeReportResponse(_message.Message):
    __slots__ = ("fhir_bundle", "pdf", "key_image", "segmentation", "summary")
    FHIR_BUNDLE_FIELD_NUMBER: _ClassVar[int]
    PDF_FIELD_NUMBER: _ClassVar[int]
    KEY_IMAGE_FIELD_NUMBER: _ClassVar[int]
    SEGMENTATION_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    fhir_bundle: _artifact_pb2.ArtifactReference
    pdf: _artifact_pb2.ArtifactReference
    key_image: _artifact_pb2.ArtifactReference
    segmentation: _artifact_pb2.ArtifactReference
    summary: str
    def __init__(self, fhir_bundle: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., pdf: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., key_image: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., segmentation: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ..., summary: _Optional[str] = ...) -> None: ...
