"""The sentences about signatures, written once and used by FHIR, the PDF and the front door."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from oncoresponse.case.sign_off import Agreement, ReportStatus, SignOff, WithdrawalReason

_AGREEMENT = {
    Agreement.AGREE: "The signing physician agrees with the result.",
    Agreement.DISAGREE: "The signing physician DISAGREES with the result.",
    Agreement.CHANGED_CONTOUR: "The signing physician CHANGED THE CONTOUR: the figures are of the contour before.",
}
_REASON = {
    WithdrawalReason.WRONG_PATIENT: "the images are of another patient",
    WithdrawalReason.WRONG_STUDY: "another examination was meant",
    WithdrawalReason.TECHNICAL: "images or contour are technically unfit",
    WithdrawalReason.OTHER: "another reason, see the comment",
}
_DONE = {ReportStatus.FINAL: "Final: signed", ReportStatus.AMENDED: "Amended: signed again"}
WITHDRAWN = "WITHDRAWN, ENTERED IN ERROR: DO NOT USE."
RESEARCH_USE = "Research use only."


def spoken_time(time: datetime) -> str:
    """UTC, to the minute."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def agreement_sentence(sign_off: SignOff) -> str:
    """What the signer says of the result; empty where the report was withdrawn."""
    return "" if sign_off.agreement is None else _AGREEMENT[sign_off.agreement]


def is_reservation(sign_off: SignOff) -> bool:
    """Whether the reader has to learn first that the signer does not stand behind the figures."""
    return sign_off.agreement in (Agreement.DISAGREE, Agreement.CHANGED_CONTOUR)


def reason_words(sign_off: SignOff) -> str:
    """Why a report was withdrawn."""
    return _REASON[sign_off.reason] if sign_off.reason is not None else "no reason given"


def sign_off_sentence(sign_off: SignOff) -> str:
    """Who did what, when."""
    by = f"by {sign_off.shown_signer}, {spoken_time(sign_off.time)}"
    if sign_off.status is ReportStatus.ENTERED_IN_ERROR:
        return f"Withdrawn {by}: {reason_words(sign_off)}."
    return f"{_DONE[sign_off.status]} {by}."


def status_lines(sign_offs: Sequence[SignOff], replaced_by: str = "") -> list[str]:
    """What the newest step means for a reader; for a page and for a terminal, without the comment.

    Args:
        sign_offs: In order; at least one.
        replaced_by: Identifier of a newer assessment; empty for none.
    """
    newest = sign_offs[-1]
    lines = [sign_off_sentence(newest), agreement_sentence(newest)]
    if len(sign_offs) > 1:
        lines.append(f"Before: {' '.join(sign_off_sentence(each) for each in sign_offs[:-1])}")
    if replaced_by:
        lines.append(f"Replaced by the report of assessment {replaced_by}.")
    return [line for line in lines if line]


def signed_conclusion(first: str, not_signed: str, sign_offs: Sequence[SignOff], replaced_by: str = "") -> str:
    """``DiagnosticReport.conclusion`` of a signed version.

    A list of results shows the first line: it is that of the report where the signer agrees, else what the signer says.

    Args:
        first: Conclusion of version 1.
        not_signed: The sentence in it that no longer holds.
        sign_offs: In order; at least one.
        replaced_by: Identifier of a newer assessment; empty for none.
    """
    newest = sign_offs[-1]
    answer, *others = first.replace(not_signed, "").rstrip().split("\n")
    lines = [line for line in status_lines(sign_offs, replaced_by) if line != agreement_sentence(newest)]
    said = [*lines, *([f'Comment of the signer: "{newest.comment}"'] if newest.comment else [])]
    if is_reservation(newest):
        return "\n".join([agreement_sentence(newest), *said, f"Result of the software: {answer}", *others]).rstrip()
    return "\n".join([answer, agreement_sentence(newest), *said, *others]).rstrip()


def withdrawn_conclusion(sign_off: SignOff, replaced_by: str = "") -> str:
    """``DiagnosticReport.conclusion`` of a withdrawn report: nothing of what it said."""
    lines = [WITHDRAWN, sign_off_sentence(sign_off)]
    if sign_off.comment:
        lines.append(f'Comment: "{sign_off.comment}"')
    if replaced_by:
        lines.append(f"Replaced by the report of assessment {replaced_by}.")
    return "\n".join([*lines, RESEARCH_USE])
