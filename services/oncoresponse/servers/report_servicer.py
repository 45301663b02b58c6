"""ReportService: a physician signs, amends or withdraws what the chain has made."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
from sqlalchemy.engine import Connection

from oncoresponse.access.call import current_call
from oncoresponse.access.caller import Caller
from oncoresponse.case.artifact_names import BUNDLE_R5, IMR_BUNDLE, PATIENT_PAGE, REJECTION_NOTE
from oncoresponse.case.sign_off import (
    Agreement,
    RecordedJudgement,
    ReportAction,
    ReportStatus,
    SignOff,
    WithdrawalReason,
    current_status,
    current_version,
    status_after,
)
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.errors import ReportChanged, ReportStatusForbids, SignerNotIdentified
from oncoresponse.reporting.dicom_objects.signed_objects import (
    rejection_note,
    replacement_note,
    signed_page_object,
    verified_report,
)
from oncoresponse.reporting.report_page import ReportPage
from oncoresponse.reporting.report_site import NO_SITE, ReportSite
from oncoresponse.reporting.sign_off import FirstVersion, sign_off_documents
from oncoresponse.rpc.artifact_messages import stored_artifact
from oncoresponse.rpc.report_message import AGREEMENTS, JUDGEMENTS, REASONS
from oncoresponse.servers.report_view import (
    BUNDLE,
    ENCAPSULATED_REPORT,
    PAGE,
    PDF,
    STRUCTURED_REPORT,
    ReportView,
    is_of_wrong_patient,
    require_report,
)
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.delivery_rows import DeliveryEvent
from oncoresponse.storage.delivery_store import add_version
from oncoresponse.storage.report_store import (
    BUNDLE_MEDIA_TYPE,
    PAGE_MEDIA_TYPE,
    ReportHistory,
    ReportStore,
    media_type_of,
)
from oncoresponse.storage.resource_index import index_version
from oncoresponse.v1 import artifact_pb2, assessment_pb2, report_pb2, report_pb2_grpc
from oncoresponse.workflow.assessment_records import AssessmentRecords

_PREFIX = "assessments/"
_OBJECT_ENDING = ".dcm"
_EVENTS = {
    ReportStatus.FINAL: DeliveryEvent.SIGNED,
    ReportStatus.AMENDED: DeliveryEvent.AMENDED,
    ReportStatus.ENTERED_IN_ERROR: DeliveryEvent.WITHDRAWN,
}

_log = logging.getLogger(__name__)

_Change = report_pb2.SignReportRequest | report_pb2.AmendReportRequest | report_pb2.WithdrawReportRequest


@dataclass(frozen=True)
class _Step:
    """What is asked of a report."""

    action: ReportAction
    agreement: Agreement | None = None
    reason: WithdrawalReason | None = None


class ReportServicer(report_pb2_grpc.ReportServiceServicer):
    """See ``protos/oncoresponse/v1/report.proto``.

    Args:
        records: The assessments.
        artifacts: Where documents are.
        store: What is signed.
        view: What callers see of it.
        site: What reports need to know of the hospital.
    """

    def __init__(
        self,
        records: AssessmentRecords,
        artifacts: ArtifactStore,
        store: ReportStore,
        view: ReportView,
        site: ReportSite = NO_SITE,
    ) -> None:
        self._records = records
        self._artifacts = artifacts
        self._store = store
        self._view = view
        self._site = site

    async def make_ready(self) -> None:
        """Reach the database and make its tables."""
        await asyncio.to_thread(self._store.prepare)

    async def close(self) -> None:
        """Close the connections to the database."""
        await asyncio.to_thread(self._store.close)

    async def GetReport(
        self, request: report_pb2.GetReportRequest, context: grpc.aio.ServicerContext
    ) -> report_pb2.GetReportResponse:
        """Describe the report of an assessment."""
        assessment = await self._own(request.assessment)
        return report_pb2.GetReportResponse(report=await self._report(assessment))

    async def SignReport(
        self, request: report_pb2.SignReportRequest, context: grpc.aio.ServicerContext
    ) -> report_pb2.SignReportResponse:
        """Sign a preliminary report."""
        step = _Step(ReportAction.SIGN, AGREEMENTS[request.agreement])
        return report_pb2.SignReportResponse(report=await self._changed(request, step))

    async def AmendReport(
        self, request: report_pb2.AmendReportRequest, context: grpc.aio.ServicerContext
    ) -> report_pb2.AmendReportResponse:
        """Sign a signed report again."""
        step = _Step(ReportAction.AMEND, AGREEMENTS[request.agreement])
        return report_pb2.AmendReportResponse(report=await self._changed(request, step))

    async def WithdrawReport(
        self, request: report_pb2.WithdrawReportRequest, context: grpc.aio.ServicerContext
    ) -> report_pb2.WithdrawReportResponse:
        """Take a report back."""
        step = _Step(ReportAction.WITHDRAW, reason=REASONS[request.reason])
        return report_pb2.WithdrawReportResponse(report=await self._changed(request, step))

    async def RecordJudgement(
        self, request: report_pb2.RecordJudgementRequest, context: grpc.aio.ServicerContext
    ) -> report_pb2.RecordJudgementResponse:
        """Keep the caller's own judgement."""
        caller = _signer()
        assessment = await self._own(request.assessment)
        require_report(assessment)
        history = await self._view.history(assessment.name)
        if (status := current_status(history.sign_offs)) is ReportStatus.ENTERED_IN_ERROR:
            raise ReportStatusForbids("The report is withdrawn, so there is nothing to judge.", status=status)
        judgement = RecordedJudgement(
            caller.name,
            caller.display_name,
            JUDGEMENTS[request.judgement],
            request.comment,
            _now(),
            self._view.withheld(history),
        )
        await asyncio.to_thread(self._store.judge, assessment.name.removeprefix(_PREFIX), judgement)
        return report_pb2.RecordJudgementResponse(report=await self._report(assessment))

    async def _own(self, name: str) -> assessment_pb2.Assessment:
        """An assessment of the caller's tenant, noted for the audit record."""
        call = current_call()
        await self._records.require_own(name, call.tenant)
        assessment = await self._records.get(name)
        patients = await self._records.lists.patients_of(name.removeprefix(_PREFIX))
        call.concerns(f"{name}/report", name, assessment.study, patients=patients)
        return assessment

    async def _report(self, assessment: assessment_pb2.Assessment) -> report_pb2.Report:
        return self._view.report(assessment, await self._view.history(assessment.name))

    async def _changed(self, request: _Change, step: _Step) -> report_pb2.Report:
        caller = _signer()
        assessment = await self._own(request.assessment)
        require_report(assessment)
        asked = (request.request_id, _fingerprint(request, caller))
        name = assessment.name.removeprefix(_PREFIX)
        # In this order: a copy of the request that ends in between is then seen by the second question.
        history = await self._view.history(name)
        if await asyncio.to_thread(self._store.version_of_request, name, *asked) is None:
            if (newest := current_version(history.sign_offs)) != request.seen_version:
                raise ReportChanged(
                    f"The report is at version {newest}, and you have read {request.seen_version}. Read it again, then "
                    "decide.",
                    version=newest,
                )
            status = status_after(current_status(history.sign_offs), step.action)
            if step.action is not ReportAction.WITHDRAW:
                self._view.require_judged(history)
            sign_off = SignOff(
                version=newest + 1,
                status=status,
                signer=caller.name,
                signer_name=caller.display_name,
                time=_now(),
                agreement=step.agreement,
                comment=request.comment,
                reason=step.reason,
            )
            await asyncio.to_thread(self._append, assessment, history, sign_off, asked)
        history = await self._view.history(name)
        if step.reason is not None and is_of_wrong_patient(history):
            _log.warning(
                "%s was withdrawn, because %s is of another patient: move the study", assessment.name, assessment.study
            )
        return self._view.report(assessment, history)

    def _append(
        self,
        assessment: assessment_pb2.Assessment,
        history: ReportHistory,
        sign_off: SignOff,
        asked: tuple[str, str],
    ) -> None:
        """Make the documents of a version and add it, if nobody was faster."""
        store, name = self._artifacts, assessment.name.removeprefix(_PREFIX)
        first = assessment.result.artifacts
        page = None
        if PAGE in first and sign_off.status is not ReportStatus.ENTERED_IN_ERROR:
            page = store.read_document(stored_artifact(first[PAGE]), ReportPage)
        made = sign_off_documents(
            FirstVersion(name, store.read_bytes(stored_artifact(first[BUNDLE])), page),
            (*history.sign_offs, sign_off),
            (first[BUNDLE].sha256, *(version.bundle.sha256 for version in history.versions)),
            history.judgements,
            history.replaced_by,
            objects_of=lambda pdf: self._objects(first, history, sign_off, pdf),
            site=self._site,
        )
        others = {**made.objects, BUNDLE_R5: made.bundle_r5, PATIENT_PAGE: made.patient_page}
        if made.imr_bundle is not None:
            others[IMR_BUNDLE] = made.imr_bundle
        documents = (
            (made.bundle, BUNDLE_MEDIA_TYPE),
            (made.pdf, PAGE_MEDIA_TYPE),
            *((data, media_type_of(file_name)) for file_name, data in others.items()),
        )
        bundle, pdf, *kept = (
            StoredArtifact(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), media_type=media_type)
            for data, media_type in documents
        )

        def keep() -> None:
            # Only once the version is ours: documents of a signature that was refused would belong to nobody, and
            # the erasure of the patient would not find them.
            for data, media_type in documents:
                store.put_bytes(data, media_type)

        stored_objects = dict(zip(others, kept, strict=True))
        of_version = {BUNDLE: bundle, PDF: pdf, **stored_objects}

        def along(connection: Connection) -> None:
            add_version(connection, name, sign_off.version, _EVENTS[sign_off.status], of_version)
            withdrawn = sign_off.status is ReportStatus.ENTERED_IN_ERROR
            index_version(connection, name, sign_off.version, made.bundle, bundle, withdrawn=withdrawn)

        self._store.append(name, sign_off, asked, (bundle, pdf), keep, stored_objects, along)

    def _objects(
        self,
        first: Mapping[str, artifact_pb2.ArtifactReference],
        history: ReportHistory,
        sign_off: SignOff,
        pdf: bytes,
    ) -> dict[str, bytes]:
        """DICOM objects of a version by file name; none where the chain of an earlier release made no SR."""
        if STRUCTURED_REPORT not in first:
            return {}
        store = self._artifacts
        made_first = {name: stored_artifact(first[name]) for name in sorted(first) if name.endswith(_OBJECT_ENDING)}
        # The SR leads, of which the identifiers of a note are made.
        versions = [
            {STRUCTURED_REPORT: made_first[STRUCTURED_REPORT]} | made_first,
            *(version.objects for version in history.versions),
        ]
        if sign_off.status is ReportStatus.ENTERED_IN_ERROR:
            return {REJECTION_NOTE: rejection_note(self._read_objects(versions), sign_off)}
        sign_offs = (*history.sign_offs, sign_off)
        made = {STRUCTURED_REPORT: verified_report(store.read_bytes(made_first[STRUCTURED_REPORT]), sign_offs)}
        if ENCAPSULATED_REPORT in made_first:
            page = store.read_bytes(made_first[ENCAPSULATED_REPORT])
            made[ENCAPSULATED_REPORT] = signed_page_object(page, sign_offs, pdf)
        if sign_off.status is ReportStatus.AMENDED:
            amended = [each.status is ReportStatus.AMENDED for each in history.sign_offs]
            # What an earlier note has rejected is not rejected again.
            not_yet = versions[-1:] if any(amended) else versions
            replaced = [{name: each[name] for name in made if name in each} for each in not_yet]
            made[REJECTION_NOTE] = replacement_note(self._read_objects(replaced), sign_off)
        return made

    def _read_objects(self, versions: Sequence[Mapping[str, StoredArtifact]]) -> list[bytes]:
        """The objects of versions, without notes, each once."""
        kept = {
            stored.sha256: stored
            for objects in versions
            for name, stored in objects.items()
            if name.endswith(_OBJECT_ENDING) and name != REJECTION_NOTE
        }
        return [self._artifacts.read_bytes(stored) for stored in kept.values()]


def _signer() -> Caller:
    """Who calls, if it is somebody whose signature it can be.

    Raises:
        SignerNotIdentified: It is not.
    """
    caller = current_call().caller
    if not caller.is_person_or_system:
        raise SignerNotIdentified(
            "Nobody signs anonymously. Call with a token or a client certificate that says who you are."
        )
    return caller


def _fingerprint(request: _Change, caller: Caller) -> str:
    """Digest of everything that is asked, by whom."""
    asked = request.SerializeToString(deterministic=True)
    return hashlib.sha256(b"\0".join((request.DESCRIPTOR.full_name.encode(), caller.name.encode(), asked))).hexdigest()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)
