"""Sign-off: what a report may become, and what is kept of each step.

The statuses are those of FHIR R4 DiagnosticReport.status (https://hl7.org/fhir/R4/valueset-diagnostic-report-status.html).
Nothing leads out of ``entered-in-error``, and nothing back to ``preliminary``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from oncoresponse.errors import ReportStatusForbids

FIRST_VERSION = 1
"""Number of the version that the chain makes."""
LONGEST_COMMENT = 1000
"""Characters of a comment."""


class ReportStatus(StrEnum):
    """How far a report has come."""

    PRELIMINARY = "preliminary"
    FINAL = "final"
    AMENDED = "amended"
    ENTERED_IN_ERROR = "entered-in-error"


class ReportAction(StrEnum):
    """What a physician does with a report."""

    SIGN = "sign"
    AMEND = "amend"
    WITHDRAW = "withdraw"


class Agreement(StrEnum):
    """What the signing physician says of the result."""

    AGREE = "agree"
    DISAGREE = "disagree"
    CHANGED_CONTOUR = "changed-contour"


class WithdrawalReason(StrEnum):
    """Why a report is withdrawn."""

    WRONG_PATIENT = "wrong-patient"
    WRONG_STUDY = "wrong-study"
    TECHNICAL = "technical"
    OTHER = "other"


class PhysicianJudgement(StrEnum):
    """What a physician expects without the model."""

    FAVORABLE = "favorable"
    UNFAVORABLE = "unfavorable"
    UNCERTAIN = "uncertain"


TRANSITIONS: Mapping[tuple[ReportStatus, ReportAction], ReportStatus] = MappingProxyType(
    {
        (ReportStatus.PRELIMINARY, ReportAction.SIGN): ReportStatus.FINAL,
        (ReportStatus.FINAL, ReportAction.AMEND): ReportStatus.AMENDED,
        (ReportStatus.AMENDED, ReportAction.AMEND): ReportStatus.AMENDED,
        (ReportStatus.PRELIMINARY, ReportAction.WITHDRAW): ReportStatus.ENTERED_IN_ERROR,
        (ReportStatus.FINAL, ReportAction.WITHDRAW): ReportStatus.ENTERED_IN_ERROR,
        (ReportStatus.AMENDED, ReportAction.WITHDRAW): ReportStatus.ENTERED_IN_ERROR,
    }
)
"""What each step leads to. What is not here, nobody may do."""

_INSTEAD = {
    (ReportStatus.PRELIMINARY, ReportAction.AMEND): "It has not been signed. Sign it.",
    (ReportStatus.FINAL, ReportAction.SIGN): "It is signed already. Amend it.",
    (ReportStatus.AMENDED, ReportAction.SIGN): "It is signed already. Amend it.",
}


def status_after(status: ReportStatus, action: ReportAction) -> ReportStatus:
    """The status that a step leads to.

    Raises:
        ReportStatusForbids: The step is not possible from here.
    """
    after = TRANSITIONS.get((status, action))
    if after is None:
        instead = _INSTEAD.get((status, action), "It stays withdrawn. Create an assessment that replaces it.")
        raise ReportStatusForbids(f"The report is {status}. {instead}", status=status, action=action)
    return after


@dataclass(frozen=True)
class SignOff:
    """One step, which made one version of a report.

    Attributes:
        version: From 2 on.
        status: Of the report with this version.
        signer: As the service identified the caller; never empty.
        signer_name: For a reader.
        time: UTC, to the second.
        agreement: ``None`` where the report was withdrawn.
        comment: In the signer's words; never logged.
        reason: Why it was withdrawn.
    """

    version: int
    status: ReportStatus
    signer: str
    signer_name: str
    time: datetime
    agreement: Agreement | None = None
    comment: str = ""
    reason: WithdrawalReason | None = None

    @property
    def shown_signer(self) -> str:
        """How a reader knows the signer."""
        return self.signer_name or self.signer


@dataclass(frozen=True)
class RecordedJudgement:
    """What a physician thinks without the model.

    Attributes:
        physician: As the service identified the caller.
        physician_name: For a reader.
        judgement: What.
        comment: Why; never logged.
        time: UTC, to the second.
        answer_withheld: Whether the service withheld the model's answer from the physician until then.
    """

    physician: str
    physician_name: str
    judgement: PhysicianJudgement
    comment: str
    time: datetime
    answer_withheld: bool = False

    @property
    def shown_physician(self) -> str:
        """How a reader knows the physician."""
        return self.physician_name or self.physician


def current_status(sign_offs: Sequence[SignOff]) -> ReportStatus:
    """Status of a report with these steps, in order."""
    return sign_offs[-1].status if sign_offs else ReportStatus.PRELIMINARY


def current_version(sign_offs: Sequence[SignOff]) -> int:
    """Number of its newest version."""
    return sign_offs[-1].version if sign_offs else FIRST_VERSION
