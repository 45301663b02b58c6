"""The documents of a signed, amended or withdrawn version of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oncoresponse.case.sign_off import RecordedJudgement, ReportStatus, SignOff
from oncoresponse.errors import ReportNotSignable
from oncoresponse.reporting.report_page import ReportPage
from oncoresponse.reporting.signed_bundle import filed_under, signed_bundle
from oncoresponse.reporting.signed_page import signed_page, withdrawn_page


@dataclass(frozen=True)
class FirstVersion:
    """The report as the chain made it.

    Attributes:
        assessment_id: Identifier of the assessment.
        bundle: FHIR Bundle, UTF-8 JSON.
        page: What its PDF was set from; ``None`` for a report of a release before 0.4.
    """

    assessment_id: str
    bundle: bytes
    page: ReportPage | None


@dataclass(frozen=True)
class SignedDocuments:
    """Of one version.

    Attributes:
        bundle: FHIR Bundle, UTF-8 JSON.
        pdf: The page.
    """

    bundle: bytes
    pdf: bytes


def sign_off_documents(
    first: FirstVersion,
    sign_offs: Sequence[SignOff],
    digests: Sequence[str],
    judgements: Sequence[RecordedJudgement] = (),
    replaced_by: str = "",
) -> SignedDocuments:
    """Make them. The same arguments give the same bytes.

    Args:
        first: The report as the chain made it.
        sign_offs: In order; the last one is of this version.
        digests: SHA-256 of the Bundles of the versions before, in order, from that of version 1 on.
        judgements: Of physicians.
        replaced_by: Identifier of a newer assessment; empty for none.

    Raises:
        ReportNotSignable: There is no page to sign.
    """
    newest = sign_offs[-1]
    if newest.status is ReportStatus.ENTERED_IN_ERROR:
        pdf = withdrawn_page(first.assessment_id, filed_under(first.bundle), newest, replaced_by)
    elif first.page is None:
        raise ReportNotSignable(
            "A release before 0.4 made this report, and a signed page cannot be set from it. Create the assessment "
            "again, with this one as replaces, and sign the new report."
        )
    else:
        pdf = signed_page(first.page, sign_offs, replaced_by)
    bundle = signed_bundle(first.assessment_id, first.bundle, sign_offs, digests, pdf, judgements, replaced_by)
    return SignedDocuments(bundle, pdf)
