import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from oncoresponse.v1 import artifact_pb2 as _artifact_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReportStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPORT_STATUS_UNSPECIFIED: _ClassVar[ReportStatus]
    REPORT_STATUS_PRELIMINARY: _ClassVar[ReportStatus]
    REPORT_STATUS_FINAL: _ClassVar[ReportStatus]
    REPORT_STATUS_AMENDED: _ClassVar[ReportStatus]
    REPORT_STATUS_ENTERED_IN_ERROR: _ClassVar[ReportStatus]

class Agreement(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGREEMENT_UNSPECIFIED: _ClassVar[Agreement]
    AGREEMENT_AGREE: _ClassVar[Agreement]
    AGREEMENT_DISAGREE: _ClassVar[Agreement]
    AGREEMENT_CHANGED_CONTOUR: _ClassVar[Agreement]

class WithdrawalReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WITHDRAWAL_REASON_UNSPECIFIED: _ClassVar[WithdrawalReason]
    WITHDRAWAL_REASON_WRONG_PATIENT: _ClassVar[WithdrawalReason]
    WITHDRAWAL_REASON_WRONG_STUDY: _ClassVar[WithdrawalReason]
    WITHDRAWAL_REASON_TECHNICAL: _ClassVar[WithdrawalReason]
    WITHDRAWAL_REASON_OTHER: _ClassVar[WithdrawalReason]

class PhysicianJudgement(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHYSICIAN_JUDGEMENT_UNSPECIFIED: _ClassVar[PhysicianJudgement]
    PHYSICIAN_JUDGEMENT_FAVORABLE: _ClassVar[PhysicianJudgement]
    PHYSICIAN_JUDGEMENT_UNFAVORABLE: _ClassVar[PhysicianJudgement]
    PHYSICIAN_JUDGEMENT_UNCERTAIN: _ClassVar[PhysicianJudgement]
REPORT_STATUS_UNSPECIFIED: ReportStatus
REPORT_STATUS_PRELIMINARY: ReportStatus
REPORT_STATUS_FINAL: ReportStatus
REPORT_STATUS_AMENDED: ReportStatus
REPORT_STATUS_ENTERED_IN_ERROR: ReportStatus
AGREEMENT_UNSPECIFIED: Agreement
AGREEMENT_AGREE: Agreement
AGREEMENT_DISAGREE: Agreement
AGREEMENT_CHANGED_CONTOUR: Agreement
WITHDRAWAL_REASON_UNSPECIFIED: WithdrawalReason
WITHDRAWAL_REASON_WRONG_PATIENT: WithdrawalReason
WITHDRAWAL_REASON_WRONG_STUDY: WithdrawalReason
WITHDRAWAL_REASON_TECHNICAL: WithdrawalReason
WITHDRAWAL_REASON_OTHER: WithdrawalReason
PHYSICIAN_JUDGEMENT_UNSPECIFIED: PhysicianJudgement
PHYSICIAN_JUDGEMENT_FAVORABLE: PhysicianJudgement
PHYSICIAN_JUDGEMENT_UNFAVORABLE: PhysicianJudgement
PHYSICIAN_JUDGEMENT_UNCERTAIN: PhysicianJudgement

class Signer(_message.Message):
    __slots__ = ("name", "display_name")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ...) -> None: ...

class ReportVersion(_message.Message):
    __slots__ = ("version", "status", "time", "signer", "agreement", "comment", "withdrawal_reason", "artifacts")
    class ArtifactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _artifact_pb2.ArtifactReference
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_artifact_pb2.ArtifactReference, _Mapping]] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWAL_REASON_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    version: int
    status: ReportStatus
    time: _timestamp_pb2.Timestamp
    signer: Signer
    agreement: Agreement
    comment: str
    withdrawal_reason: WithdrawalReason
    artifacts: _containers.MessageMap[str, _artifact_pb2.ArtifactReference]
    def __init__(self, version: _Optional[int] = ..., status: _Optional[_Union[ReportStatus, str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., signer: _Optional[_Union[Signer, _Mapping]] = ..., agreement: _Optional[_Union[Agreement, str]] = ..., comment: _Optional[str] = ..., withdrawal_reason: _Optional[_Union[WithdrawalReason, str]] = ..., artifacts: _Optional[_Mapping[str, _artifact_pb2.ArtifactReference]] = ...) -> None: ...

class Judgement(_message.Message):
    __slots__ = ("physician", "judgement", "comment", "time", "prediction_was_withheld")
    PHYSICIAN_FIELD_NUMBER: _ClassVar[int]
    JUDGEMENT_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_WAS_WITHHELD_FIELD_NUMBER: _ClassVar[int]
    physician: Signer
    judgement: PhysicianJudgement
    comment: str
    time: _timestamp_pb2.Timestamp
    prediction_was_withheld: bool
    def __init__(self, physician: _Optional[_Union[Signer, _Mapping]] = ..., judgement: _Optional[_Union[PhysicianJudgement, str]] = ..., comment: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., prediction_was_withheld: _Optional[bool] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("name", "assessment", "study", "status", "version", "signer", "sign_time", "agreement", "comment", "withdrawal_reason", "versions", "judgements", "replaces", "replaced_by", "prediction_withheld")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    SIGN_TIME_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWAL_REASON_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    JUDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    REPLACES_FIELD_NUMBER: _ClassVar[int]
    REPLACED_BY_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_WITHHELD_FIELD_NUMBER: _ClassVar[int]
    name: str
    assessment: str
    study: str
    status: ReportStatus
    version: int
    signer: Signer
    sign_time: _timestamp_pb2.Timestamp
    agreement: Agreement
    comment: str
    withdrawal_reason: WithdrawalReason
    versions: _containers.RepeatedCompositeFieldContainer[ReportVersion]
    judgements: _containers.RepeatedCompositeFieldContainer[Judgement]
    replaces: str
    replaced_by: str
    prediction_withheld: bool
    def __init__(self, name: _Optional[str] = ..., assessment: _Optional[str] = ..., study: _Optional[str] = ..., status: _Optional[_Union[ReportStatus, str]] = ..., version: _Optional[int] = ..., signer: _Optional[_Union[Signer, _Mapping]] = ..., sign_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., agreement: _Optional[_Union[Agreement, str]] = ..., comment: _Optional[str] = ..., withdrawal_reason: _Optional[_Union[WithdrawalReason, str]] = ..., versions: _Optional[_Iterable[_Union[ReportVersion, _Mapping]]] = ..., judgements: _Optional[_Iterable[_Union[Judgement, _Mapping]]] = ..., replaces: _Optional[str] = ..., replaced_by: _Optional[str] = ..., prediction_withheld: _Optional[bool] = ...) -> None: ...

class GetReportRequest(_message.Message):
    __slots__ = ("assessment",)
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    assessment: str
    def __init__(self, assessment: _Optional[str] = ...) -> None: ...

class GetReportResponse(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: Report
    def __init__(self, report: _Optional[_Union[Report, _Mapping]] = ...) -> None: ...

class SignReportRequest(_message.Message):
    __slots__ = ("assessment", "seen_version", "request_id", "agreement", "comment")
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    SEEN_VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    assessment: str
    seen_version: int
    request_id: str
    agreement: Agreement
    comment: str
    def __init__(self, assessment: _Optional[str] = ..., seen_version: _Optional[int] = ..., request_id: _Optional[str] = ..., agreement: _Optional[_Union[Agreement, str]] = ..., comment: _Optional[str] = ...) -> None: ...

class SignReportResponse(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: Report
    def __init__(self, report: _Optional[_Union[Report, _Mapping]] = ...) -> None: ...

class AmendReportRequest(_message.Message):
    __slots__ = ("assessment", "seen_version", "request_id", "agreement", "comment")
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    SEEN_VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    assessment: str
    seen_version: int
    request_id: str
    agreement: Agreement
    comment: str
    def __init__(self, assessment: _Optional[str] = ..., seen_version: _Optional[int] = ..., request_id: _Optional[str] = ..., agreement: _Optional[_Union[Agreement, str]] = ..., comment: _Optional[str] = ...) -> None: ...

class AmendReportResponse(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: Report
    def __init__(self, report: _Optional[_Union[Report, _Mapping]] = ...) -> None: ...

class WithdrawReportRequest(_message.Message):
    __slots__ = ("assessment", "seen_version", "request_id", "reason", "comment")
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    SEEN_VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    assessment: str
    seen_version: int
    request_id: str
    reason: WithdrawalReason
    comment: str
    def __init__(self, assessment: _Optional[str] = ..., seen_version: _Optional[int] = ..., request_id: _Optional[str] = ..., reason: _Optional[_Union[WithdrawalReason, str]] = ..., comment: _Optional[str] = ...) -> None: ...

class WithdrawReportResponse(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: Report
    def __init__(self, report: _Optional[_Union[Report, _Mapping]] = ...) -> None: ...

class RecordJudgementRequest(_message.Message):
    __slots__ = ("assessment", "judgement", "comment")
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    JUDGEMENT_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    assessment: str
    judgement: PhysicianJudgement
    comment: str
    def __init__(self, assessment: _Optional[str] = ..., judgement: _Optional[_Union[PhysicianJudgement, str]] = ..., comment: _Optional[str] = ...) -> None: ...

class RecordJudgementResponse(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: Report
    def __init__(self, report: _Optional[_Union[Report, _Mapping]] = ...) -> None: ...
