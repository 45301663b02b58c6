"""Reports and their versions as they travel, and what the words of the proto mean."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from oncoresponse.case.sign_off import (
    Agreement,
    PhysicianJudgement,
    RecordedJudgement,
    ReportStatus,
    SignOff,
    WithdrawalReason,
)
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.rpc.artifact_messages import artifact_message
from oncoresponse.v1 import report_pb2

STATUS_NUMBERS: Mapping[ReportStatus, report_pb2.ReportStatus] = {
    ReportStatus.PRELIMINARY: report_pb2.REPORT_STATUS_PRELIMINARY,
    ReportStatus.FINAL: report_pb2.REPORT_STATUS_FINAL,
    ReportStatus.AMENDED: report_pb2.REPORT_STATUS_AMENDED,
    ReportStatus.ENTERED_IN_ERROR: report_pb2.REPORT_STATUS_ENTERED_IN_ERROR,
}
AGREEMENT_NUMBERS: Mapping[Agreement, report_pb2.Agreement] = {
    Agreement.AGREE: report_pb2.AGREEMENT_AGREE,
    Agreement.DISAGREE: report_pb2.AGREEMENT_DISAGREE,
    Agreement.CHANGED_CONTOUR: report_pb2.AGREEMENT_CHANGED_CONTOUR,
}
REASON_NUMBERS: Mapping[WithdrawalReason, report_pb2.WithdrawalReason] = {
    WithdrawalReason.WRONG_PATIENT: report_pb2.WITHDRAWAL_REASON_WRONG_PATIENT,
    WithdrawalReason.WRONG_STUDY: report_pb2.WITHDRAWAL_REASON_WRONG_STUDY,
    WithdrawalReason.TECHNICAL: report_pb2.WITHDRAWAL_REASON_TECHNICAL,
    WithdrawalReason.OTHER: report_pb2.WITHDRAWAL_REASON_OTHER,
}
JUDGEMENT_NUMBERS: Mapping[PhysicianJudgement, report_pb2.PhysicianJudgement] = {
    PhysicianJudgement.FAVORABLE: report_pb2.PHYSICIAN_JUDGEMENT_FAVORABLE,
    PhysicianJudgement.UNFAVORABLE: report_pb2.PHYSICIAN_JUDGEMENT_UNFAVORABLE,
    PhysicianJudgement.UNCERTAIN: report_pb2.PHYSICIAN_JUDGEMENT_UNCERTAIN,
}
AGREEMENTS = {number: value for value, number in AGREEMENT_NUMBERS.items()}
REASONS = {number: value for value, number in REASON_NUMBERS.items()}
JUDGEMENTS = {number: value for value, number in JUDGEMENT_NUMBERS.items()}


def version_message(
    sign_off: SignOff, artifacts: Mapping[str, StoredArtifact], *, withheld: bool
) -> report_pb2.ReportVersion:
    """One version as it travels.

    Args:
        sign_off: The step that made it.
        artifacts: Its documents, by file name.
        withheld: Leave out what would tell the answer of the model.
    """
    message = report_pb2.ReportVersion(
        version=sign_off.version,
        status=STATUS_NUMBERS[sign_off.status],
        time=timestamp(sign_off.time),
        signer=report_pb2.Signer(name=sign_off.signer, display_name=sign_off.shown_signer),
    )
    if sign_off.reason is not None:
        message.withdrawal_reason = REASON_NUMBERS[sign_off.reason]
    if withheld:
        return message
    message.comment = sign_off.comment
    if sign_off.agreement is not None:
        message.agreement = AGREEMENT_NUMBERS[sign_off.agreement]
    for name, artifact in artifacts.items():
        message.artifacts[name].CopyFrom(artifact_message(artifact))
    return message


def judgement_message(judgement: RecordedJudgement) -> report_pb2.Judgement:
    """A judgement as it travels."""
    return report_pb2.Judgement(
        physician=report_pb2.Signer(name=judgement.physician, display_name=judgement.shown_physician),
        judgement=JUDGEMENT_NUMBERS[judgement.judgement],
        comment=judgement.comment,
        time=timestamp(judgement.time),
        prediction_was_withheld=judgement.answer_withheld,
    )


def timestamp(time: datetime) -> Timestamp:
    """A moment as it travels."""
    message = Timestamp()
    message.FromDatetime(time)
    return message
