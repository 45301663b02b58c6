"""A model, a training run, the configuration or the service is the cause."""

from __future__ import annotations

from oncoresponse.errors.base import ErrorKind, OncoResponseError


class ModelError(OncoResponseError):
    """An installed model cannot be used; an administrator has to act."""

    kind = ErrorKind.WRONG_STATE


class ModelFolderInvalid(ModelError):
    reason = "MODEL_FOLDER_INVALID"


class ModelHashMismatch(ModelError):
    """A file of the model is not the one its manifest names."""

    reason = "MODEL_HASH_MISMATCH"


class ModelChanged(ModelError):
    reason = "MODEL_CHANGED"


class ModelGoldenMismatch(ModelFolderInvalid):
    """The model, with the libraries and the hardware that are here, does not compute what it computed when it was made.

    It is not served: https://github.com/dmlc/xgboost/issues/3664 is a library that read its own model file and
    answered otherwise.
    """

    reason = "MODEL_GOLDEN_MISMATCH"


class ModelNotActive(ModelError):
    """Change control does not allow the use of this version."""

    reason = "MODEL_NOT_ACTIVE"


class ModelReleaseStopped(ModelError):
    """Somebody stopped the release of results of this model."""

    reason = "MODEL_RELEASE_STOPPED"


class RefinementUnavailable(ModelError):
    """The model has no networks that follow a hand."""

    reason = "REFINEMENT_UNAVAILABLE"


class ModelStateInvalid(ModelError):
    """A version of a model cannot go from its state to the one that is asked for."""

    reason = "MODEL_STATE_INVALID"


class FeatureExtractionFailed(ModelError):
    reason = "FEATURE_EXTRACTION_FAILED"
    kind = ErrorKind.INTERNAL


class TrainingError(OncoResponseError):
    """A training run was refused or could not go on."""

    kind = ErrorKind.WRONG_STATE


class TrainingDataInvalid(TrainingError):
    reason = "TRAINING_DATA_INVALID"


class ConfigurationError(OncoResponseError):
    """A settings file, an environment variable or a command-line option is wrong."""

    reason = "CONFIGURATION_INVALID"
    kind = ErrorKind.WRONG_STATE


class TlsHandshakeFailed(ConfigurationError):
    reason = "TLS_HANDSHAKE_FAILED"


class SchemaTooNew(ConfigurationError):
    """A database was written by a newer release than this one."""

    reason = "SCHEMA_TOO_NEW"


class DocumentVersionUnsupported(ConfigurationError):
    reason = "DOCUMENT_VERSION_UNSUPPORTED"


class BackupError(OncoResponseError):
    """A backup cannot be made, read or restored; an administrator has to act."""

    kind = ErrorKind.WRONG_STATE


class BackupDamaged(BackupError):
    """A file is no backup, or not the whole of the one that was written."""

    reason = "BACKUP_DAMAGED"
    kind = ErrorKind.DATA_DAMAGED


class BackupKeyWrong(BackupError):
    """A backup was encrypted for another key than the one that is given."""

    reason = "BACKUP_KEY_WRONG"


class BackupSourceInvalid(BackupError):
    """What is to be backed up cannot be read as a whole."""

    reason = "BACKUP_SOURCE_INVALID"


class RestoreTargetNotEmpty(BackupError):
    """A folder, a database or a store that a backup would be restored to holds something."""

    reason = "RESTORE_TARGET_NOT_EMPTY"


class RestoreUnfinished(BackupError):
    """A restore into this database was interrupted, or is still under way."""

    reason = "RESTORE_UNFINISHED"


class ServiceError(OncoResponseError):
    """The service is the cause, not the request: the same request may succeed later."""

    kind = ErrorKind.UNAVAILABLE


class QuotaExceeded(ServiceError):
    """Something is larger than allowed: ``scope`` is study, total (all studies together) or call."""

    reason = "QUOTA_EXCEEDED"
    kind = ErrorKind.EXHAUSTED
    retry_after_seconds = 60.0


class DiskFull(ServiceError):
    reason = "DISK_FULL"
    kind = ErrorKind.EXHAUSTED
    retry_after_seconds = 60.0


class OutOfMemory(ServiceError):
    """A stage ran out of host or GPU memory."""

    reason = "OUT_OF_MEMORY"
    kind = ErrorKind.EXHAUSTED
    retry_after_seconds = 10.0


class Busy(ServiceError):
    reason = "BUSY"
    kind = ErrorKind.EXHAUSTED
    retry_after_seconds = 5.0


class PeerUnavailable(ServiceError):
    """Another service, a PACS or the database did not answer."""

    reason = "PEER_UNAVAILABLE"


class PacsTooSlow(ServiceError):
    """A DICOMweb server takes longer than the settings allow, altogether or for a few bytes."""

    reason = "PACS_TOO_SLOW"


class CommitmentOutstanding(ServiceError):
    """A destination has taken objects and has not committed to keep them (yet)."""

    reason = "COMMITMENT_OUTSTANDING"


class RateLimited(ServiceError):
    """The caller asks more often than the installation allows one caller."""

    reason = "RATE_LIMITED"
    kind = ErrorKind.EXHAUSTED
    retry_after_seconds = 1.0


class AuditUnavailable(ServiceError):
    """The audit record cannot be written, so nothing is handed out."""

    reason = "AUDIT_UNAVAILABLE"


class ErasureRegisterUnavailable(ServiceError):
    """The register of erasures cannot be written, so nothing is erased."""

    reason = "ERASURE_REGISTER_UNAVAILABLE"


class DeadlineExceeded(ServiceError):
    reason = "DEADLINE_EXCEEDED"
    kind = ErrorKind.DEADLINE


class Cancelled(ServiceError):
    reason = "CANCELLED"
    kind = ErrorKind.CANCELLED


class ResumedWithoutProgress(ServiceError):
    """The service stopped again and again in one stage of an assessment, which is therefore not begun once more."""

    reason = "RESUMED_WITHOUT_PROGRESS"
    kind = ErrorKind.ABORTED


class EndedByUpgrade(ServiceError):
    """An assessment that another version of the service had begun: one report never comes from two versions."""

    reason = "ENDED_BY_UPGRADE"
    kind = ErrorKind.ABORTED


class DeclaredLost(ServiceError):
    """A worker gave no sign of life for so long that others took over what it had begun; its process ends."""

    reason = "DECLARED_LOST"


class RecordUnreadable(ServiceError):
    """What the workflow database holds of an assessment is not the plain data that this service writes."""

    reason = "RECORD_UNREADABLE"
    kind = ErrorKind.DATA_DAMAGED


class InternalError(ServiceError):
    """A defect of ours. The log holds the trace under the same error id; the caller gets only the id."""

    reason = "INTERNAL"
    kind = ErrorKind.INTERNAL
