"""The request itself is wrong."""

from __future__ import annotations

from oncoresponse.errors.base import ErrorKind, OncoResponseError


class RequestError(OncoResponseError):
    """The request is wrong and will stay wrong until the caller changes it."""

    kind = ErrorKind.INVALID_INPUT


class InvalidRequest(RequestError):
    """A field of the request breaks a rule written in the protos."""

    reason = "INVALID_REQUEST"


class RequestConflict(RequestError):
    """A ``request_id`` was used before for a different request."""

    reason = "REQUEST_ID_REUSED"
    kind = ErrorKind.ALREADY_EXISTS


class ErasureChanged(RequestError):
    """What an erasure would remove is not what its dry run showed."""

    reason = "ERASURE_CHANGED"
    kind = ErrorKind.WRONG_STATE


class StudyNotFound(RequestError):
    reason = "STUDY_NOT_FOUND"
    kind = ErrorKind.NOT_FOUND


class AssessmentNotFound(RequestError):
    reason = "ASSESSMENT_NOT_FOUND"
    kind = ErrorKind.NOT_FOUND


class ArtifactNotFound(RequestError):
    reason = "ARTIFACT_NOT_FOUND"
    kind = ErrorKind.NOT_FOUND


class ModelNotFound(RequestError):
    reason = "MODEL_NOT_FOUND"
    kind = ErrorKind.NOT_FOUND


class ModelChangeNotFound(RequestError):
    reason = "MODEL_CHANGE_NOT_FOUND"
    kind = ErrorKind.NOT_FOUND


class PersonNeeded(RequestError):
    """Only a caller who can be named may do this."""

    reason = "PERSON_NEEDED"
    kind = ErrorKind.FORBIDDEN


class SecondPersonNeeded(RequestError):
    """Two people are asked for, and this is the same one."""

    reason = "SECOND_PERSON_NEEDED"
    kind = ErrorKind.FORBIDDEN


class StudyNotComplete(RequestError):
    """The study still accepts instances; an assessment needs the whole of it."""

    reason = "STUDY_NOT_COMPLETE"
    kind = ErrorKind.WRONG_STATE


class StudyAlreadyComplete(RequestError):
    """The study was declared complete; what was assessed must not change afterwards."""

    reason = "STUDY_ALREADY_COMPLETE"
    kind = ErrorKind.WRONG_STATE


class AssessmentNotFinished(RequestError):
    reason = "ASSESSMENT_NOT_FINISHED"
    kind = ErrorKind.WRONG_STATE


class AssessmentNotReplayable(RequestError):
    """Nothing says how the result came to be, so it cannot be computed again."""

    reason = "ASSESSMENT_NOT_REPLAYABLE"
    kind = ErrorKind.WRONG_STATE


class PathNotAllowed(RequestError):
    """The directory lies outside those the administrator allows for import."""

    reason = "PATH_NOT_ALLOWED"
    kind = ErrorKind.FORBIDDEN


class UrlNotAllowed(RequestError):
    """The DICOMweb address is not on the administrator's allow-list."""

    reason = "URL_NOT_ALLOWED"
    kind = ErrorKind.FORBIDDEN


class PacsAccessDenied(RequestError):
    reason = "PACS_ACCESS_DENIED"
    kind = ErrorKind.FORBIDDEN


class PacsAnswerRefused(RequestError):
    """A DICOMweb server sends what no study is: header, redirects, an object or transport without end."""

    reason = "PACS_ANSWER_REFUSED"


class DestinationUnknown(RequestError):
    """The settings name no destination of this name."""

    reason = "DESTINATION_UNKNOWN"


class ResourceNotFound(RequestError):
    """No FHIR resource of this type and id, or none that the caller sees."""

    reason = "RESOURCE_NOT_FOUND"
    kind = ErrorKind.NOT_FOUND


class ResourceGone(RequestError):
    """A FHIR resource that a withdrawn report took with it."""

    reason = "RESOURCE_GONE"
    kind = ErrorKind.NOT_FOUND


class CardNotFound(RequestError):
    reason = "CARD_NOT_FOUND"
    kind = ErrorKind.NOT_FOUND


class OrderNotFound(RequestError):
    reason = "ORDER_NOT_FOUND"
    kind = ErrorKind.NOT_FOUND


class DeliveryNotFound(RequestError):
    reason = "DELIVERY_NOT_FOUND"
    kind = ErrorKind.NOT_FOUND


class DeliveryStateForbids(RequestError):
    """A delivery is in a state in which this cannot be asked of it."""

    reason = "DELIVERY_STATE_FORBIDS"
    kind = ErrorKind.WRONG_STATE


class DeliveryLeaseLost(RequestError):
    """Who sends a delivery no longer has it for itself."""

    reason = "DELIVERY_LEASE_LOST"
    kind = ErrorKind.ABORTED


class DeliveryRefused(RequestError):
    """A destination does not take what is sent to it, and will not until somebody changes it."""

    reason = "DELIVERY_REFUSED"
    kind = ErrorKind.WRONG_STATE


class DestinationAccessDenied(RequestError):
    """A destination does not accept who logs in, or what that one may do there."""

    reason = "DESTINATION_ACCESS_DENIED"
    kind = ErrorKind.FORBIDDEN


class DestinationAnswerRefused(RequestError):
    """A destination answers with what is no answer to what was sent: no evidence that anything is there."""

    reason = "DESTINATION_ANSWER_REFUSED"


class PatientNotFoundAtDestination(RequestError):
    """A destination has no patient of the identifier, so nothing is filed there; it is never looked for by name."""

    reason = "PATIENT_NOT_FOUND_AT_DESTINATION"
    kind = ErrorKind.WRONG_STATE


class PatientAmbiguousAtDestination(RequestError):
    """A destination has several patients of the identifier, so nothing is filed there."""

    reason = "PATIENT_AMBIGUOUS_AT_DESTINATION"
    kind = ErrorKind.WRONG_STATE


class PredictionNotFound(RequestError):
    """Monitoring holds no prediction of this assessment, so there is nothing an outcome could belong to."""

    reason = "PREDICTION_NOT_FOUND"
    kind = ErrorKind.NOT_FOUND


class PredictionAlreadyRecorded(RequestError):
    """Monitoring holds another prediction of the same assessment; what was said once is not rewritten."""

    reason = "PREDICTION_ALREADY_RECORDED"
    kind = ErrorKind.ALREADY_EXISTS


class PredictionTableInvalid(RequestError):
    """A table for batch prediction or a forecast lacks a column, or holds what is not a number."""

    reason = "PREDICTION_TABLE_INVALID"


class QuantityMismatch(RequestError):
    reason = "QUANTITY_MISMATCH"
    kind = ErrorKind.WRONG_STATE


class SettingsMismatch(RequestError):
    reason = "SETTINGS_MISMATCH"
    kind = ErrorKind.WRONG_STATE


class ChecksumMismatch(RequestError):
    """Bytes changed on the way; send the chunk or the instance again."""

    reason = "CHECKSUM_MISMATCH"
    kind = ErrorKind.DATA_DAMAGED


class NotAuthenticated(RequestError):
    """Nobody knows who calls."""

    reason = "NOT_AUTHENTICATED"
    kind = ErrorKind.UNAUTHENTICATED


class AccessDenied(RequestError):
    """The caller is known and may not do this."""

    reason = "ACCESS_DENIED"
    kind = ErrorKind.FORBIDDEN


class ReportNotFound(RequestError):
    """The assessment ended without a report."""

    reason = "REPORT_NOT_FOUND"
    kind = ErrorKind.NOT_FOUND


class ReportChanged(RequestError):
    """Somebody has signed, amended or withdrawn the report since the caller has read it."""

    reason = "REPORT_CHANGED"
    kind = ErrorKind.ABORTED


class ReportStatusForbids(RequestError):
    """A report of this status cannot be signed, amended or withdrawn."""

    reason = "REPORT_STATUS_FORBIDS"
    kind = ErrorKind.WRONG_STATE


class ReportNotSignable(RequestError):
    """An earlier release made the report and did not keep what a signed page is set from."""

    reason = "REPORT_NOT_SIGNABLE"
    kind = ErrorKind.WRONG_STATE


class ReportWithdrawn(RequestError):
    """What a withdrawn report was made of is not sent without saying which version is meant."""

    reason = "REPORT_WITHDRAWN"
    kind = ErrorKind.WRONG_STATE


class SignerNotIdentified(RequestError):
    """Nobody who can be named is behind the call, so there is nobody whose signature it could be."""

    reason = "SIGNER_NOT_IDENTIFIED"
    kind = ErrorKind.UNAUTHENTICATED


class JudgementNeeded(RequestError):
    """The physician's own judgement comes before the model's answer; a setting of the installation."""

    reason = "JUDGEMENT_NEEDED"
    kind = ErrorKind.WRONG_STATE


class JudgementAlreadyRecorded(RequestError):
    """A judgement is made once, before the answer of the model is seen."""

    reason = "JUDGEMENT_ALREADY_RECORDED"
    kind = ErrorKind.ALREADY_EXISTS
