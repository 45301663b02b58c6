"""Every error OncoResponse raises on purpose, one class for each stable reason code.

::

    OncoResponseError
    ├── RequestError            the request itself is wrong; change it and send it again
    │   ├── InvalidRequest              INVALID_REQUEST
    │   ├── RequestConflict             REQUEST_ID_REUSED
    │   ├── ErasureChanged              ERASURE_CHANGED
    │   ├── StudyNotFound               STUDY_NOT_FOUND
    │   ├── AssessmentNotFound          ASSESSMENT_NOT_FOUND
    │   ├── ArtifactNotFound            ARTIFACT_NOT_FOUND
    │   ├── ModelNotFound               MODEL_NOT_FOUND
    │   ├── ModelChangeNotFound         MODEL_CHANGE_NOT_FOUND
    │   ├── PersonNeeded                PERSON_NEEDED
    │   ├── SecondPersonNeeded          SECOND_PERSON_NEEDED
    │   ├── StudyNotComplete            STUDY_NOT_COMPLETE
    │   ├── StudyAlreadyComplete        STUDY_ALREADY_COMPLETE
    │   ├── AssessmentNotFinished       ASSESSMENT_NOT_FINISHED
    │   ├── AssessmentNotReplayable     ASSESSMENT_NOT_REPLAYABLE
    │   ├── PathNotAllowed              PATH_NOT_ALLOWED
    │   ├── UrlNotAllowed               URL_NOT_ALLOWED
    │   ├── PacsAccessDenied            PACS_ACCESS_DENIED
    │   ├── PacsAnswerRefused           PACS_ANSWER_REFUSED
    │   ├── DestinationUnknown          DESTINATION_UNKNOWN
    │   ├── ResourceNotFound            RESOURCE_NOT_FOUND
    │   ├── ResourceGone                RESOURCE_GONE
    │   ├── OrderNotFound               ORDER_NOT_FOUND
    │   ├── CardNotFound                CARD_NOT_FOUND
    │   ├── DeliveryNotFound            DELIVERY_NOT_FOUND
    │   ├── DeliveryStateForbids        DELIVERY_STATE_FORBIDS
    │   ├── DeliveryLeaseLost           DELIVERY_LEASE_LOST
    │   ├── DeliveryRefused             DELIVERY_REFUSED
    │   ├── DestinationAccessDenied     DESTINATION_ACCESS_DENIED
    │   ├── DestinationAnswerRefused    DESTINATION_ANSWER_REFUSED
    │   ├── PatientNotFoundAtDestination PATIENT_NOT_FOUND_AT_DESTINATION
    │   ├── PatientAmbiguousAtDestination PATIENT_AMBIGUOUS_AT_DESTINATION
    │   ├── PredictionNotFound          PREDICTION_NOT_FOUND
    │   ├── PredictionAlreadyRecorded   PREDICTION_ALREADY_RECORDED
    │   ├── PredictionTableInvalid      PREDICTION_TABLE_INVALID
    │   ├── QuantityMismatch            QUANTITY_MISMATCH
    │   ├── SettingsMismatch            SETTINGS_MISMATCH
    │   ├── ChecksumMismatch            CHECKSUM_MISMATCH
    │   ├── NotAuthenticated            NOT_AUTHENTICATED
    │   ├── AccessDenied                ACCESS_DENIED
    │   ├── ReportNotFound              REPORT_NOT_FOUND
    │   ├── ReportChanged               REPORT_CHANGED
    │   ├── ReportStatusForbids         REPORT_STATUS_FORBIDS
    │   ├── ReportNotSignable           REPORT_NOT_SIGNABLE
    │   ├── ReportWithdrawn             REPORT_WITHDRAWN
    │   ├── SignerNotIdentified         SIGNER_NOT_IDENTIFIED
    │   ├── JudgementNeeded             JUDGEMENT_NEEDED
    │   └── JudgementAlreadyRecorded    JUDGEMENT_ALREADY_RECORDED
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
    ├── ContourError            the supplied or computed contour cannot be used
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
    │   ├── FieldOfViewTooLarge         FIELD_OF_VIEW_TOO_LARGE
    │   └── LesionsOverlap              LESIONS_OVERLAP
    ├── ModelError              an installed model cannot be used
    │   ├── ModelFolderInvalid          MODEL_FOLDER_INVALID
    │   │   └── ModelGoldenMismatch         MODEL_GOLDEN_MISMATCH
    │   ├── ModelHashMismatch           MODEL_HASH_MISMATCH
    │   ├── ModelChanged                MODEL_CHANGED
    │   ├── ModelNotActive              MODEL_NOT_ACTIVE
    │   ├── ModelReleaseStopped         MODEL_RELEASE_STOPPED
    │   ├── RefinementUnavailable       REFINEMENT_UNAVAILABLE
    │   ├── ModelStateInvalid           MODEL_STATE_INVALID
    │   └── FeatureExtractionFailed     FEATURE_EXTRACTION_FAILED
    ├── TrainingError           a training run was refused
    │   └── TrainingDataInvalid         TRAINING_DATA_INVALID
    ├── BackupError             a backup cannot be made, read or restored
    │   ├── BackupDamaged               BACKUP_DAMAGED
    │   ├── BackupKeyWrong              BACKUP_KEY_WRONG
    │   ├── BackupSourceInvalid         BACKUP_SOURCE_INVALID
    │   ├── RestoreTargetNotEmpty       RESTORE_TARGET_NOT_EMPTY
    │   └── RestoreUnfinished           RESTORE_UNFINISHED
    ├── ConfigurationError              CONFIGURATION_INVALID
    │   ├── TlsHandshakeFailed          TLS_HANDSHAKE_FAILED
    │   ├── SchemaTooNew                SCHEMA_TOO_NEW
    │   └── DocumentVersionUnsupported  DOCUMENT_VERSION_UNSUPPORTED
    └── ServiceError            the service, not the request, is the cause; the request may be sent again
        ├── QuotaExceeded               QUOTA_EXCEEDED
        ├── DiskFull                    DISK_FULL
        ├── OutOfMemory                 OUT_OF_MEMORY
        ├── Busy                        BUSY
        ├── RateLimited                 RATE_LIMITED
        ├── AuditUnavailable            AUDIT_UNAVAILABLE
        ├── ErasureRegisterUnavailable  ERASURE_REGISTER_UNAVAILABLE
        ├── PeerUnavailable             PEER_UNAVAILABLE
        ├── PacsTooSlow                 PACS_TOO_SLOW
        ├── CommitmentOutstanding       COMMITMENT_OUTSTANDING
        ├── DeadlineExceeded            DEADLINE_EXCEEDED
        ├── Cancelled                   CANCELLED
        ├── ResumedWithoutProgress      RESUMED_WITHOUT_PROGRESS
        ├── EndedByUpgrade              ENDED_BY_UPGRADE
        ├── DeclaredLost                DECLARED_LOST
        ├── RecordUnreadable            RECORD_UNREADABLE
        └── InternalError               INTERNAL

A message says what is wrong and what to do. It never holds a patient's data, a DICOM UID, or a file
name that came from outside, because messages reach logs; ``metadata`` follows the same rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from oncoresponse.errors.base import DOMAIN, ErrorKind, OncoResponseError
from oncoresponse.errors.request import (
    AccessDenied,
    ArtifactNotFound,
    AssessmentNotFinished,
    AssessmentNotFound,
    AssessmentNotReplayable,
    CardNotFound,
    ChecksumMismatch,
    DeliveryLeaseLost,
    DeliveryNotFound,
    DeliveryRefused,
    DeliveryStateForbids,
    DestinationAccessDenied,
    DestinationAnswerRefused,
    DestinationUnknown,
    ErasureChanged,
    InvalidRequest,
    JudgementAlreadyRecorded,
    JudgementNeeded,
    ModelChangeNotFound,
    ModelNotFound,
    NotAuthenticated,
    OrderNotFound,
    PacsAccessDenied,
    PacsAnswerRefused,
    PathNotAllowed,
    PatientAmbiguousAtDestination,
    PatientNotFoundAtDestination,
    PersonNeeded,
    PredictionAlreadyRecorded,
    PredictionNotFound,
    PredictionTableInvalid,
    QuantityMismatch,
    ReportChanged,
    ReportNotFound,
    ReportNotSignable,
    ReportStatusForbids,
    ReportWithdrawn,
    RequestConflict,
    RequestError,
    ResourceGone,
    ResourceNotFound,
    SecondPersonNeeded,
    SettingsMismatch,
    SignerNotIdentified,
    StudyAlreadyComplete,
    StudyNotComplete,
    StudyNotFound,
    UrlNotAllowed,
)
from oncoresponse.errors.service import (
    AuditUnavailable,
    BackupDamaged,
    BackupError,
    BackupKeyWrong,
    BackupSourceInvalid,
    Busy,
    Cancelled,
    CommitmentOutstanding,
    ConfigurationError,
    DeadlineExceeded,
    DeclaredLost,
    DiskFull,
    DocumentVersionUnsupported,
    EndedByUpgrade,
    ErasureRegisterUnavailable,
    FeatureExtractionFailed,
    InternalError,
    ModelChanged,
    ModelError,
    ModelFolderInvalid,
    ModelGoldenMismatch,
    ModelHashMismatch,
    ModelNotActive,
    ModelReleaseStopped,
    ModelStateInvalid,
    OutOfMemory,
    PacsTooSlow,
    PeerUnavailable,
    QuotaExceeded,
    RateLimited,
    RecordUnreadable,
    RefinementUnavailable,
    RestoreTargetNotEmpty,
    RestoreUnfinished,
    ResumedWithoutProgress,
    SchemaTooNew,
    ServiceError,
    TlsHandshakeFailed,
    TrainingDataInvalid,
    TrainingError,
)
from oncoresponse.errors.study import (
    AmbiguousSeries,
    AutomaticContour,
    ContourAmbiguous,
    ContourError,
    ContourGap,
    ContourNotClosed,
    ContourNotFound,
    ContourOutsideImage,
    ContradictoryTimes,
    DicomError,
    DicomLimitExceeded,
    DuplicateSlices,
    EmptyMask,
    FieldOfViewTooLarge,
    FrameOfReferenceMismatch,
    GantryTilt,
    GeometryMismatch,
    ImplausibleSuvInput,
    InvalidAttribute,
    LesionsOverlap,
    MaskTouchesBorder,
    MissingAttribute,
    MissingInjectedDose,
    MissingPatientWeight,
    MissingSlices,
    MixedOrientation,
    NoImages,
    NotDicom,
    PatientMismatch,
    SeriesError,
    SeriesNotFound,
    SuvError,
    TooFewSlices,
    TruncatedFile,
    TumorTooLarge,
    TumorTooSmall,
    UnevenSlices,
    UnsupportedDecayCorrection,
    UnsupportedPetUnit,
    UnsupportedSopClass,
    UnsupportedTracer,
    UnsupportedTransferSyntax,
)

__all__ = [
    "DOMAIN",
    "AccessDenied",
    "AmbiguousSeries",
    "ArtifactNotFound",
    "AssessmentNotFinished",
    "AssessmentNotFound",
    "AssessmentNotReplayable",
    "AuditUnavailable",
    "AutomaticContour",
    "BackupDamaged",
    "BackupError",
    "BackupKeyWrong",
    "BackupSourceInvalid",
    "Busy",
    "Cancelled",
    "CardNotFound",
    "ChecksumMismatch",
    "CommitmentOutstanding",
    "ConfigurationError",
    "ContourAmbiguous",
    "ContourError",
    "ContourGap",
    "ContourNotClosed",
    "ContourNotFound",
    "ContourOutsideImage",
    "ContradictoryTimes",
    "DeadlineExceeded",
    "DeclaredLost",
    "DeliveryLeaseLost",
    "DeliveryNotFound",
    "DeliveryRefused",
    "DeliveryStateForbids",
    "DestinationAccessDenied",
    "DestinationAnswerRefused",
    "DestinationUnknown",
    "DicomError",
    "DicomLimitExceeded",
    "DiskFull",
    "DocumentVersionUnsupported",
    "DuplicateSlices",
    "EmptyMask",
    "EndedByUpgrade",
    "ErasureChanged",
    "ErasureRegisterUnavailable",
    "ErrorKind",
    "FeatureExtractionFailed",
    "FieldOfViewTooLarge",
    "FrameOfReferenceMismatch",
    "GantryTilt",
    "GeometryMismatch",
    "ImplausibleSuvInput",
    "InternalError",
    "InvalidAttribute",
    "InvalidRequest",
    "JudgementAlreadyRecorded",
    "JudgementNeeded",
    "LesionsOverlap",
    "MaskTouchesBorder",
    "MissingAttribute",
    "MissingInjectedDose",
    "MissingPatientWeight",
    "MissingSlices",
    "MixedOrientation",
    "ModelChangeNotFound",
    "ModelChanged",
    "ModelError",
    "ModelFolderInvalid",
    "ModelGoldenMismatch",
    "ModelHashMismatch",
    "ModelNotActive",
    "ModelNotFound",
    "ModelReleaseStopped",
    "ModelStateInvalid",
    "NoImages",
    "NotAuthenticated",
    "NotDicom",
    "OncoResponseError",
    "OrderNotFound",
    "OutOfMemory",
    "PacsAccessDenied",
    "PacsAnswerRefused",
    "PacsTooSlow",
    "PathNotAllowed",
    "PatientAmbiguousAtDestination",
    "PatientMismatch",
    "PatientNotFoundAtDestination",
    "PeerUnavailable",
    "PersonNeeded",
    "PredictionAlreadyRecorded",
    "PredictionNotFound",
    "PredictionTableInvalid",
    "QuantityMismatch",
    "QuotaExceeded",
    "RateLimited",
    "RecordUnreadable",
    "RefinementUnavailable",
    "ReportChanged",
    "ReportNotFound",
    "ReportNotSignable",
    "ReportStatusForbids",
    "ReportWithdrawn",
    "RequestConflict",
    "RequestError",
    "ResourceGone",
    "ResourceNotFound",
    "RestoreTargetNotEmpty",
    "RestoreUnfinished",
    "ResumedWithoutProgress",
    "SchemaTooNew",
    "SecondPersonNeeded",
    "SeriesError",
    "SeriesNotFound",
    "ServiceError",
    "SettingsMismatch",
    "SignerNotIdentified",
    "StudyAlreadyComplete",
    "StudyNotComplete",
    "StudyNotFound",
    "SuvError",
    "TlsHandshakeFailed",
    "TooFewSlices",
    "TrainingDataInvalid",
    "TrainingError",
    "TruncatedFile",
    "TumorTooLarge",
    "TumorTooSmall",
    "UnevenSlices",
    "UnsupportedDecayCorrection",
    "UnsupportedPetUnit",
    "UnsupportedSopClass",
    "UnsupportedTracer",
    "UnsupportedTransferSyntax",
    "UrlNotAllowed",
    "concrete_errors",
    "error_for_reason",
]


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
