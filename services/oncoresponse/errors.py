"""Every error OncoResponse raises on purpose, one class for each stable reason code.

::

    OncoResponseError
    ├── RequestError            the request itself is wrong; change it and send it again
    │   ├── InvalidRequest              INVALID_REQUEST
    │   ├── RequestConflict             REQUEST_ID_REUSED
    │   ├── StudyNotFound               STUDY_NOT_FOUND
    │   ├── AssessmentNotFound          ASSESSMENT_NOT_FOUND
    │   ├── ArtifactNotFound            ARTIFACT_NOT_FOUND
    │   ├── ModelNotFound               MODEL_NOT_FOUND
    │   ├── StudyNotComplete            STUDY_NOT_COMPLETE
    │   ├── StudyAlreadyComplete        STUDY_ALREADY_COMPLETE
    │   ├── AssessmentNotFinished       ASSESSMENT_NOT_FINISHED
    │   ├── PathNotAllowed              PATH_NOT_ALLOWED
    │   ├── UrlNotAllowed               URL_NOT_ALLOWED
    │   ├── PacsAccessDenied            PACS_ACCESS_DENIED
    │   ├── PredictionNotFound          PREDICTION_NOT_FOUND
    │   ├── PredictionAlreadyRecorded   PREDICTION_ALREADY_RECORDED
    │   ├── PredictionTableInvalid      PREDICTION_TABLE_INVALID
    │   ├── QuantityMismatch            QUANTITY_MISMATCH
    │   ├── SettingsMismatch            SETTINGS_MISMATCH
    │   └── ChecksumMismatch            CHECKSUM_MISMATCH
    ├── DicomError              a file or the study cannot be read as the model needs it
    │   ├── NotDicom                    NOT_DICOM
    │   ├── TruncatedFile               TRUNCATED_FILE
    │   ├── DicomLimitExceeded          DICOM_LIMIT_EXCEEDED
    │   ├── UnsupportedTransferSyntax   UNSUPPORTED_TRANSFER_SYNTAX
    │   ├── MissingAttribute            MISSING_ATTRIBUTE
    │   ├── InvalidAttribute            INVALID_ATTRIBUTE
    │   ├── NoImages                    NO_IMAGES
    │   ├── PatientMismatch             PATIENT_MISMATCH
    │   └── SeriesError         a series does not make one regular volume, or is the wrong one
    │       ├── MissingSlices           MISSING_SLICES
    │       ├── DuplicateSlices         DUPLICATE_SLICES
    │       ├── UnevenSlices            UNEVEN_SLICES
    │       ├── GantryTilt              GANTRY_TILT
    │       ├── MixedOrientation        MIXED_ORIENTATION
    │       ├── TooFewSlices            TOO_FEW_SLICES
    │       ├── UnsupportedSopClass     UNSUPPORTED_SOP_CLASS
    │       ├── SeriesNotFound          REQUIRED_SERIES_MISSING
    │       ├── AmbiguousSeries         AMBIGUOUS_SERIES
    │       ├── FrameOfReferenceMismatch FRAME_OF_REFERENCE_MISMATCH
    │       └── GeometryMismatch        GEOMETRY_MISMATCH
    ├── SuvError                PET counts cannot be turned into SUV
    │   ├── MissingPatientWeight        MISSING_PATIENT_WEIGHT
    │   ├── MissingInjectedDose         MISSING_INJECTED_DOSE
    │   ├── ImplausibleSuvInput         IMPLAUSIBLE_SUV_INPUT
    │   ├── ContradictoryTimes          CONTRADICTORY_TIMES
    │   ├── UnsupportedPetUnit          UNSUPPORTED_PET_UNIT
    │   ├── UnsupportedTracer           UNSUPPORTED_TRACER
    │   └── UnsupportedDecayCorrection  UNSUPPORTED_DECAY_CORRECTION
    ├── ContourError            the supplied or computed tumour contour cannot be used
    │   ├── ContourNotFound             CONTOUR_NOT_FOUND
    │   │   └── AutomaticContour        AUTOMATIC_CONTOUR
    │   ├── ContourNotClosed            CONTOUR_NOT_CLOSED
    │   ├── ContourAmbiguous            CONTOUR_AMBIGUOUS
    │   ├── ContourGap                  CONTOUR_GAP
    │   ├── ContourOutsideImage         CONTOUR_OUTSIDE_IMAGE
    │   ├── EmptyMask                   EMPTY_MASK
    │   ├── MaskTouchesBorder           MASK_TOUCHES_BORDER
    │   ├── TumorTooSmall               TUMOR_TOO_SMALL
    │   ├── TumorTooLarge               TUMOR_TOO_LARGE
    │   └── FieldOfViewTooLarge         FIELD_OF_VIEW_TOO_LARGE
    ├── ModelError              an installed model cannot be used
    │   ├── ModelFolderInvalid          MODEL_FOLDER_INVALID
    │   ├── ModelHashMismatch           MODEL_HASH_MISMATCH
    │   ├── ModelChanged                MODEL_CHANGED
    │   └── FeatureExtractionFailed     FEATURE_EXTRACTION_FAILED
    ├── TrainingError           a training run was refused
    │   └── TrainingDataInvalid         TRAINING_DATA_INVALID
    ├── ConfigurationError              CONFIGURATION_INVALID
    │   ├── TlsHandshakeFailed          TLS_HANDSHAKE_FAILED
    │   └── SchemaTooNew                SCHEMA_TOO_NEW
    └── ServiceError            the service, not the request, is the cause; the request may be sent again
        ├── QuotaExceeded               QUOTA_EXCEEDED
        ├── DiskFull                    DISK_FULL
        ├── OutOfMemory                 OUT_OF_MEMORY
        ├── Busy                        BUSY
        ├── PeerUnavailable             PEER_UNAVAILABLE
        ├── DeadlineExceeded            DEADLINE_EXCEEDED
        ├── Cancelled                   CANCELLED
        ├── ResumedWithoutProgress      RESUMED_WITHOUT_PROGRESS
        ├── EndedByUpgrade              ENDED_BY_UPGRADE
        ├── RecordUnreadable            RECORD_UNREADABLE
        └── InternalError               INTERNAL

A message says what is wrong and what to do. It never holds a patient's data, a DICOM UID, or a file
name that came from outside, because messages reach logs; ``metadata`` follows the same rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import grpc

DOMAIN = "oncoresponse"
"""Value of ``google.rpc.ErrorInfo.domain`` on every error this project raises."""


class OncoResponseError(Exception):
    """Base of every intended error. Catch it at a boundary, never in the middle of a stage.

    Args:
        message: One or two sentences: what is wrong, then what to do. No patient data.
        **metadata: Short machine-readable facts (a DICOM keyword, a limit, a count). No patient data.
    """

    reason: ClassVar[str]
    status: ClassVar[grpc.StatusCode]
    retry_after_seconds: float | None = None

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: Mapping[str, str] = {key: str(value) for key, value in metadata.items()}

    def __reduce__(self) -> tuple[object, ...]:
        # Child processes send errors home by pickle; keyword metadata needs this to survive.
        return _rebuild, (type(self), self.message, dict(self.metadata))


def _rebuild(kind: type[OncoResponseError], message: str, metadata: dict[str, str]) -> OncoResponseError:
    return kind(message, **metadata)


class RequestError(OncoResponseError):
    """The request is wrong and will stay wrong until the caller changes it."""

    status = grpc.StatusCode.INVALID_ARGUMENT


class InvalidRequest(RequestError):
    """A field of the request breaks a rule written in the protos."""

    reason = "INVALID_REQUEST"


class RequestConflict(RequestError):
    """A ``request_id`` was used before for a different request."""

    reason = "REQUEST_ID_REUSED"
    status = grpc.StatusCode.ALREADY_EXISTS


class StudyNotFound(RequestError):
    reason = "STUDY_NOT_FOUND"
    status = grpc.StatusCode.NOT_FOUND


class AssessmentNotFound(RequestError):
    reason = "ASSESSMENT_NOT_FOUND"
    status = grpc.StatusCode.NOT_FOUND


class ArtifactNotFound(RequestError):
    reason = "ARTIFACT_NOT_FOUND"
    status = grpc.StatusCode.NOT_FOUND


class ModelNotFound(RequestError):
    reason = "MODEL_NOT_FOUND"
    status = grpc.StatusCode.NOT_FOUND


class StudyNotComplete(RequestError):
    """The study still accepts instances; an assessment needs the whole of it."""

    reason = "STUDY_NOT_COMPLETE"
    status = grpc.StatusCode.FAILED_PRECONDITION


class StudyAlreadyComplete(RequestError):
    """The study was declared complete; what was assessed must not change afterwards."""

    reason = "STUDY_ALREADY_COMPLETE"
    status = grpc.StatusCode.FAILED_PRECONDITION


class AssessmentNotFinished(RequestError):
    reason = "ASSESSMENT_NOT_FINISHED"
    status = grpc.StatusCode.FAILED_PRECONDITION


class PathNotAllowed(RequestError):
    """The directory lies outside those the administrator allows for import."""

    reason = "PATH_NOT_ALLOWED"
    status = grpc.StatusCode.PERMISSION_DENIED


class UrlNotAllowed(RequestError):
    """The DICOMweb address is not on the administrator's allow-list."""

    reason = "URL_NOT_ALLOWED"
    status = grpc.StatusCode.PERMISSION_DENIED


class PacsAccessDenied(RequestError):
    reason = "PACS_ACCESS_DENIED"
    status = grpc.StatusCode.PERMISSION_DENIED


class PredictionNotFound(RequestError):
    """Monitoring holds no prediction of this assessment, so there is nothing an outcome could belong to."""

    reason = "PREDICTION_NOT_FOUND"
    status = grpc.StatusCode.NOT_FOUND


class PredictionAlreadyRecorded(RequestError):
    """Monitoring holds another prediction of the same assessment; what was said once is not rewritten."""

    reason = "PREDICTION_ALREADY_RECORDED"
    status = grpc.StatusCode.ALREADY_EXISTS


class PredictionTableInvalid(RequestError):
    """A table for batch prediction lacks a column, has one too many, or holds what is not a number."""

    reason = "PREDICTION_TABLE_INVALID"


class QuantityMismatch(RequestError):
    reason = "QUANTITY_MISMATCH"
    status = grpc.StatusCode.FAILED_PRECONDITION


class SettingsMismatch(RequestError):
    reason = "SETTINGS_MISMATCH"
    status = grpc.StatusCode.FAILED_PRECONDITION


class ChecksumMismatch(RequestError):
    """Bytes changed on the way; send the chunk or the instance again."""

    reason = "CHECKSUM_MISMATCH"
    status = grpc.StatusCode.DATA_LOSS


class DicomError(OncoResponseError):
    """A file or the study cannot be read as the model needs it."""

    status = grpc.StatusCode.INVALID_ARGUMENT


class NotDicom(DicomError):
    reason = "NOT_DICOM"


class TruncatedFile(DicomError):
    reason = "TRUNCATED_FILE"


class DicomLimitExceeded(DicomError):
    """A file is, or claims to become, larger than allowed, or takes too long or too much memory to decode."""

    reason = "DICOM_LIMIT_EXCEEDED"


class UnsupportedTransferSyntax(DicomError):
    reason = "UNSUPPORTED_TRANSFER_SYNTAX"


class MissingAttribute(DicomError):
    reason = "MISSING_ATTRIBUTE"


class InvalidAttribute(DicomError):
    reason = "INVALID_ATTRIBUTE"


class NoImages(DicomError):
    reason = "NO_IMAGES"


class PatientMismatch(DicomError):
    """The series, or the series and the request, name different patients."""

    reason = "PATIENT_MISMATCH"
    status = grpc.StatusCode.FAILED_PRECONDITION


class SeriesError(DicomError):
    """A series does not make one regular volume, or is not the one a model needs."""

    status = grpc.StatusCode.FAILED_PRECONDITION


class MissingSlices(SeriesError):
    reason = "MISSING_SLICES"


class DuplicateSlices(SeriesError):
    reason = "DUPLICATE_SLICES"


class UnevenSlices(SeriesError):
    reason = "UNEVEN_SLICES"


class GantryTilt(SeriesError):
    reason = "GANTRY_TILT"


class MixedOrientation(SeriesError):
    reason = "MIXED_ORIENTATION"


class TooFewSlices(SeriesError):
    reason = "TOO_FEW_SLICES"


class UnsupportedSopClass(SeriesError):
    reason = "UNSUPPORTED_SOP_CLASS"


class SeriesNotFound(SeriesError):
    reason = "REQUIRED_SERIES_MISSING"


class AmbiguousSeries(SeriesError):
    """Several series fit equally well; choosing one would be a guess."""

    reason = "AMBIGUOUS_SERIES"


class FrameOfReferenceMismatch(SeriesError):
    reason = "FRAME_OF_REFERENCE_MISMATCH"


class GeometryMismatch(SeriesError):
    """Two grids that must be the same, or must overlap, do not."""

    reason = "GEOMETRY_MISMATCH"


class SuvError(OncoResponseError):
    """PET pixel values cannot be turned into body-weight SUV (g/mL)."""

    status = grpc.StatusCode.FAILED_PRECONDITION


class MissingPatientWeight(SuvError):
    reason = "MISSING_PATIENT_WEIGHT"


class MissingInjectedDose(SuvError):
    reason = "MISSING_INJECTED_DOSE"


class ImplausibleSuvInput(SuvError):
    reason = "IMPLAUSIBLE_SUV_INPUT"


class ContradictoryTimes(SuvError):
    """Times of the PET contradict one another, or do not establish when the scan began."""

    reason = "CONTRADICTORY_TIMES"


class UnsupportedPetUnit(SuvError):
    reason = "UNSUPPORTED_PET_UNIT"


class UnsupportedTracer(SuvError):
    reason = "UNSUPPORTED_TRACER"


class UnsupportedDecayCorrection(SuvError):
    reason = "UNSUPPORTED_DECAY_CORRECTION"


class ContourError(OncoResponseError):
    """The supplied or computed tumour contour cannot be used."""

    status = grpc.StatusCode.FAILED_PRECONDITION


class ContourNotFound(ContourError):
    reason = "CONTOUR_NOT_FOUND"


class AutomaticContour(ContourNotFound):
    reason = "AUTOMATIC_CONTOUR"


class ContourNotClosed(ContourError):
    reason = "CONTOUR_NOT_CLOSED"


class ContourAmbiguous(ContourError):
    reason = "CONTOUR_AMBIGUOUS"


class ContourGap(ContourError):
    reason = "CONTOUR_GAP"


class ContourOutsideImage(ContourError):
    reason = "CONTOUR_OUTSIDE_IMAGE"


class EmptyMask(ContourError):
    reason = "EMPTY_MASK"


class MaskTouchesBorder(ContourError):
    reason = "MASK_TOUCHES_BORDER"


class TumorTooSmall(ContourError):
    reason = "TUMOR_TOO_SMALL"


class TumorTooLarge(ContourError):
    reason = "TUMOR_TOO_LARGE"


class FieldOfViewTooLarge(ContourError):
    """Automatic segmentation has not seen so much of the body; a physician's contour is needed."""

    reason = "FIELD_OF_VIEW_TOO_LARGE"


class ModelError(OncoResponseError):
    """An installed model cannot be used; an administrator has to act."""

    status = grpc.StatusCode.FAILED_PRECONDITION


class ModelFolderInvalid(ModelError):
    reason = "MODEL_FOLDER_INVALID"


class ModelHashMismatch(ModelError):
    """A file of the model is not the one its manifest names."""

    reason = "MODEL_HASH_MISMATCH"


class ModelChanged(ModelError):
    reason = "MODEL_CHANGED"


class FeatureExtractionFailed(ModelError):
    reason = "FEATURE_EXTRACTION_FAILED"
    status = grpc.StatusCode.INTERNAL


class TrainingError(OncoResponseError):
    """A training run was refused or could not go on."""

    status = grpc.StatusCode.FAILED_PRECONDITION


class TrainingDataInvalid(TrainingError):
    reason = "TRAINING_DATA_INVALID"


class ConfigurationError(OncoResponseError):
    """A settings file, an environment variable or a command-line option is wrong."""

    reason = "CONFIGURATION_INVALID"
    status = grpc.StatusCode.FAILED_PRECONDITION


class TlsHandshakeFailed(ConfigurationError):
    reason = "TLS_HANDSHAKE_FAILED"


class SchemaTooNew(ConfigurationError):
    """A database was written by a newer release than this one."""

    reason = "SCHEMA_TOO_NEW"


class ServiceError(OncoResponseError):
    """The service is the cause, not the request: the same request may succeed later."""

    status = grpc.StatusCode.UNAVAILABLE


class QuotaExceeded(ServiceError):
    """Something is larger than allowed: ``scope`` is study, total (all studies together) or call."""

    reason = "QUOTA_EXCEEDED"
    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    retry_after_seconds = 60.0


class DiskFull(ServiceError):
    reason = "DISK_FULL"
    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    retry_after_seconds = 60.0


class OutOfMemory(ServiceError):
    """A stage ran out of host or GPU memory."""

    reason = "OUT_OF_MEMORY"
    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    retry_after_seconds = 10.0


class Busy(ServiceError):
    reason = "BUSY"
    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    retry_after_seconds = 5.0


class PeerUnavailable(ServiceError):
    """Another service, a PACS or the database did not answer."""

    reason = "PEER_UNAVAILABLE"


class DeadlineExceeded(ServiceError):
    reason = "DEADLINE_EXCEEDED"
    status = grpc.StatusCode.DEADLINE_EXCEEDED


class Cancelled(ServiceError):
    reason = "CANCELLED"
    status = grpc.StatusCode.CANCELLED


class ResumedWithoutProgress(ServiceError):
    """The service stopped again and again in one stage of an assessment, which is therefore not begun once more."""

    reason = "RESUMED_WITHOUT_PROGRESS"
    status = grpc.StatusCode.ABORTED


class EndedByUpgrade(ServiceError):
    """An assessment that another version of the service had begun: one report never comes from two versions."""

    reason = "ENDED_BY_UPGRADE"
    status = grpc.StatusCode.ABORTED


class RecordUnreadable(ServiceError):
    """What the workflow database holds of an assessment is not the plain data that this service writes."""

    reason = "RECORD_UNREADABLE"
    status = grpc.StatusCode.DATA_LOSS


class InternalError(ServiceError):
    """A defect of ours. The log holds the trace under the same error id; the caller gets only the id."""

    reason = "INTERNAL"
    status = grpc.StatusCode.INTERNAL


def concrete_errors(base: type[OncoResponseError] = OncoResponseError) -> Iterator[type[OncoResponseError]]:
    """Every class below ``base`` that carries a reason code of its own, in the order of the tree."""
    for kind in base.__subclasses__():
        if "reason" in vars(kind):
            yield kind
        yield from concrete_errors(kind)


def error_for_reason(reason: str, message: str, metadata: Mapping[str, str]) -> OncoResponseError:
    """The error a peer sent as ``reason``; :class:`InternalError` for a reason this version does not know."""
    for kind in concrete_errors():
        if kind.reason == reason:
            return kind(message, **metadata)
    return InternalError(message, reason=reason)
