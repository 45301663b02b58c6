"""The documents of a signed, amended or withdrawn version of a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from oncoresponse.case.sign_off import RecordedJudgement, ReportStatus, SignOff
from oncoresponse.errors import ReportNotSignable
from oncoresponse.reporting.archive_files import archive_files
from oncoresponse.reporting.fhir_r5 import r5_bundle
from oncoresponse.reporting.html_page import withdrawn_html
from oncoresponse.reporting.imr_bundle import imr_bundle
from oncoresponse.reporting.patient_page import patient_page
from oncoresponse.reporting.report_page import ReportPage
from oncoresponse.reporting.report_site import NO_SITE, ReportSite
from oncoresponse.reporting.signed_bundle import ShownForms, filed_under, signed_bundle
from oncoresponse.reporting.signed_page import signed_html, signed_page, withdrawn_content
from oncoresponse.reporting.typesetting import set_pdf


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
        objects: DICOM objects by file name.
        bundle_r5: The Bundle in FHIR R5.
        patient_page: HTML for the patient.
        imr_bundle: Transaction Bundle in the shape of IHE IMR; ``None`` where there is none to send.
    """

    bundle: bytes
    pdf: bytes
    objects: Mapping[str, bytes]
    bundle_r5: bytes
    patient_page: bytes
    imr_bundle: bytes | None


def _no_objects(_pdf: bytes) -> Mapping[str, bytes]:
    return {}


def sign_off_documents(
    first: FirstVersion,
    sign_offs: Sequence[SignOff],
    digests: Sequence[str],
    judgements: Sequence[RecordedJudgement] = (),
    replaced_by: str = "",
    *,
    objects_of: Callable[[bytes], Mapping[str, bytes]] = _no_objects,
    site: ReportSite = NO_SITE,
) -> SignedDocuments:
    """Make them. The same arguments give the same bytes.

    Args:
        first: The report as the chain made it.
        sign_offs: In order; the last one is of this version.
        digests: SHA-256 of the Bundles of the versions before, in order, from that of version 1 on.
        judgements: Of physicians.
        replaced_by: Identifier of a newer assessment; empty for none.
        objects_of: Makes the DICOM objects of the version, by file name, of its page.
        site: For what version 1 does not say: how large an attachment may be.

    Raises:
        ReportNotSignable: There is no page to sign.
    """
    newest = sign_offs[-1]
    if newest.status is ReportStatus.ENTERED_IN_ERROR:
        content = withdrawn_content(first.assessment_id, filed_under(first.bundle), newest, replaced_by)
        html, pdf = withdrawn_html(content), set_pdf("withdrawn.typ", content, {})
    elif first.page is None:
        raise ReportNotSignable(
            "A release before 0.4 made this report, and a signed page cannot be set from it. Create the assessment "
            "again, with this one as replaces, and sign the new report."
        )
    else:
        html, pdf = (made(first.page, sign_offs, replaced_by) for made in (signed_html, signed_page))
    objects = objects_of(pdf)
    shown = ShownForms(html, pdf, archive_files(objects), site.inline_bytes)
    bundle = signed_bundle(first.assessment_id, first.bundle, sign_offs, digests, shown, judgements, replaced_by)
    return SignedDocuments(
        bundle=bundle,
        pdf=pdf,
        objects=objects,
        bundle_r5=r5_bundle(bundle),
        patient_page=patient_page(bundle),
        imr_bundle=imr_bundle(bundle),
    )
