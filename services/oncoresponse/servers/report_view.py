"""What a caller may see of an assessment, by what became of its report.

Two rules, each in one place:

- **Withdrawn** (entered in error): nothing that was found is shown. What the report was made of is sent only to who
  names a version before.
- **Withheld** (setting ``judgement_first``): what the model says is kept from a caller who may sign until that caller
  has recorded a judgement of the assessment, and from any other caller until somebody has, because an EHR that copies
  the report would show it to the physician who is to judge. Emergency access sees everything, and is reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from oncoresponse.access.call import Call, current_call
from oncoresponse.access.roles import AccessRole
from oncoresponse.case.artifact_names import BUNDLE_R5, IMR_BUNDLE, PATIENT_PAGE, REJECTION_NOTE
from oncoresponse.case.sign_off import FIRST_VERSION, ReportStatus, WithdrawalReason, current_status, current_version
from oncoresponse.errors import (
    ArtifactNotFound,
    AssessmentNotFinished,
    JudgementNeeded,
    ReportNotFound,
    ReportWithdrawn,
)
from oncoresponse.reporting.sign_off_wording import WITHDRAWN, status_lines
from oncoresponse.reporting.wording import NOT_SIGNED
from oncoresponse.rpc.artifact_messages import artifact_message
from oncoresponse.rpc.report_message import STATUS_NUMBERS, judgement_message, timestamp, version_message
from oncoresponse.storage.report_store import ReportHistory, ReportStore
from oncoresponse.v1 import artifact_pb2, assessment_pb2, report_pb2
from oncoresponse.workflow.assessment_records import is_finished

BUNDLE, PDF, PAGE = "report.json", "report.pdf", "report-page.json"
STRUCTURED_REPORT, ENCAPSULATED_REPORT = "structured-report.dcm", "encapsulated-report.dcm"
_VERSIONED = (BUNDLE, PDF)
_OTHER_FORMS = (BUNDLE_R5, PATIENT_PAGE, IMR_BUNDLE)
_PREFIX = "assessments/"
# What tells the model's answer; a file that is not known here is not shown either.
_SHOWN_BEFORE_JUDGEMENT = (
    "key-image",
    "segmentation",
    "mask",
    "probability",
    "features",
    "timings",
    "lesion-candidates",
    "lesion-surface",
    "margin-surface",
    "bone-surface",
    "surfaces",
    "distances",
)


class ReportView:
    """Reads what became of reports. Every method gives copies.

    Args:
        store: Signed versions and judgements.
        judgement_first: See above.
    """

    def __init__(self, store: ReportStore, *, judgement_first: bool = False) -> None:
        self._store = store
        self._judgement_first = judgement_first

    async def history(self, assessment: str) -> ReportHistory:
        """Of ``assessments/{assessment}``."""
        return await asyncio.to_thread(self._store.history, assessment.removeprefix(_PREFIX))

    async def shown(self, assessment: assessment_pb2.Assessment) -> assessment_pb2.Assessment:
        """The assessment as the current caller may see it."""
        (seen,) = await self.all_shown([assessment])
        return seen

    async def all_shown(self, assessments: Sequence[assessment_pb2.Assessment]) -> list[assessment_pb2.Assessment]:
        """The same of several."""
        ids = [assessment.name.removeprefix(_PREFIX) for assessment in assessments]
        histories = await asyncio.to_thread(self._store.histories, ids)
        return [self._seen(each, histories[name]) for each, name in zip(assessments, ids, strict=True)]

    async def of_this_patient(
        self, assessments: Sequence[assessment_pb2.Assessment]
    ) -> list[assessment_pb2.Assessment]:
        """Without those whose report was withdrawn because the images are of another patient."""
        ids = [assessment.name.removeprefix(_PREFIX) for assessment in assessments]
        histories = await asyncio.to_thread(self._store.histories, ids)
        return [
            assessment
            for assessment, name in zip(assessments, ids, strict=True)
            if not is_of_wrong_patient(histories[name])
        ]

    async def artifact(
        self, assessment: assessment_pb2.Assessment, name: str, version: int
    ) -> artifact_pb2.ArtifactReference:
        """The artifact that the current caller asks for.

        Args:
            assessment: As the workflow left it.
            name: File name.
            version: Of the report; 0 for the newest.

        Raises:
            ArtifactNotFound: There is none.
            JudgementNeeded: It would tell the answer of the model.
            ReportWithdrawn: A withdrawn report was made of it, and no version is named.
        """
        history = await self.history(assessment.name)
        newest = current_version(history.sign_offs)
        asked = version or newest
        withdrawn = current_status(history.sign_offs) is ReportStatus.ENTERED_IN_ERROR
        of_version = history.versions[asked - FIRST_VERSION - 1].artifacts if FIRST_VERSION < asked <= newest else {}
        found = name in of_version or name in assessment.result.artifacts
        if not found or asked > newest:
            raise ArtifactNotFound("The assessment has no artifact of this name and version. GetReport lists them.")
        is_notice = withdrawn and name in of_version and asked == newest
        if not is_notice and not is_shown_before_judgement(name) and self.withheld(history):
            raise _judgement_needed()
        if withdrawn and not version and not is_notice:
            raise ReportWithdrawn("The report was withdrawn. Name the version that you mean (report_version).")
        if name in of_version:
            return artifact_message(of_version[name])
        return assessment.result.artifacts[name]

    def withheld(self, history: ReportHistory, call: Call | None = None) -> bool:
        """Whether the answer of the model is withheld from the caller."""
        call = current_call() if call is None else call
        if not self._judgement_first or call.emergency_reason:
            return False
        judges = {judgement.physician for judgement in history.judgements}
        if AccessRole.SIGN in call.caller.roles:
            return call.caller.name not in judges
        return not judges

    def require_judged(self, history: ReportHistory) -> None:
        """Let nobody sign before the own judgement, emergency or not.

        Raises:
            JudgementNeeded: The caller has recorded none, and the installation asks for it.
        """
        judges = {judgement.physician for judgement in history.judgements}
        if self._judgement_first and current_call().caller.name not in judges:
            raise _judgement_needed()

    def report(self, assessment: assessment_pb2.Assessment, history: ReportHistory) -> report_pb2.Report:
        """The report of an assessment as the current caller may see it.

        Raises:
            AssessmentNotFinished, ReportNotFound: See :func:`require_report`.
        """
        require_report(assessment)
        call = current_call()
        withheld = self.withheld(history, call)
        first = report_pb2.ReportVersion(
            version=FIRST_VERSION, status=report_pb2.REPORT_STATUS_PRELIMINARY, time=assessment.end_time
        )
        if not withheld:
            for name in (*_VERSIONED, *_OTHER_FORMS, STRUCTURED_REPORT, ENCAPSULATED_REPORT):
                if name in assessment.result.artifacts:
                    first.artifacts[name].CopyFrom(assessment.result.artifacts[name])
        versions = [version_message(each.sign_off, each.artifacts, withheld=withheld) for each in history.versions]
        newest = versions[-1] if versions else first
        report = report_pb2.Report(
            name=f"{assessment.name}/report",
            assessment=assessment.name,
            study=assessment.study,
            status=newest.status,
            version=newest.version,
            agreement=newest.agreement,
            comment=newest.comment,
            withdrawal_reason=newest.withdrawal_reason,
            versions=[first, *versions],
            judgements=[
                judgement_message(each)
                for each in history.judgements
                if not withheld or each.physician == call.caller.name
            ],
            replaces=_named(history.replaces),
            replaced_by=_named(history.replaced_by),
            prediction_withheld=withheld,
        )
        if history.versions:
            report.signer.CopyFrom(newest.signer)
            report.sign_time.CopyFrom(timestamp(history.versions[-1].sign_off.time))
        return report

    def _seen(self, assessment: assessment_pb2.Assessment, history: ReportHistory) -> assessment_pb2.Assessment:
        seen = assessment_pb2.Assessment()
        seen.CopyFrom(assessment)
        seen.replaces, seen.replaced_by = _named(history.replaces), _named(history.replaced_by)
        if not has_report(seen):
            return seen
        status = current_status(history.sign_offs)
        seen.report_status = STATUS_NUMBERS[status]
        seen.report_version = current_version(history.sign_offs)
        seen.revision += len(history.versions)
        seen.prediction_withheld = self.withheld(history)
        if not seen.HasField("result"):
            return seen
        result = seen.result
        if history.versions:
            for name, stored in history.versions[-1].artifacts.items():
                if name in result.artifacts or name in (REJECTION_NOTE, IMR_BUNDLE):
                    result.artifacts[name].CopyFrom(artifact_message(stored))
            result.fhir_bundle.CopyFrom(result.artifacts[BUNDLE])
            lines = status_lines(history.sign_offs, history.replaced_by)
            result.summary = result.summary.replace(NOT_SIGNED, " ".join(lines))
        if status is ReportStatus.ENTERED_IN_ERROR:
            notices = (*_VERSIONED, *_OTHER_FORMS, REJECTION_NOTE)
            kept = {name: result.artifacts[name] for name in notices if name in result.artifacts}
            summary = "\n".join([WITHDRAWN, *status_lines(history.sign_offs[-1:], history.replaced_by)])
            seen.result.CopyFrom(
                assessment_pb2.AssessmentResult(fhir_bundle=result.fhir_bundle, artifacts=kept, summary=summary)
            )
        elif seen.prediction_withheld:
            for field in ("prediction", "predicted_from", "summary", "fhir_bundle"):
                result.ClearField(field)
            for name in [name for name in result.artifacts if not is_shown_before_judgement(name)]:
                del result.artifacts[name]
        return seen


def is_shown_before_judgement(name: str) -> bool:
    """Whether an artifact of this name tells nothing of what the model says."""
    return name.partition(".")[0].startswith(_SHOWN_BEFORE_JUDGEMENT)


def is_of_wrong_patient(history: ReportHistory) -> bool:
    """Whether the report was withdrawn because the images are of another patient."""
    return bool(history.sign_offs) and history.sign_offs[-1].reason is WithdrawalReason.WRONG_PATIENT


def has_report(assessment: assessment_pb2.Assessment) -> bool:
    """Whether an assessment ended with a report; of one that is listed without its result, whether it succeeded."""
    succeeded = assessment.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    return succeeded and (not assessment.HasField("result") or BUNDLE in assessment.result.artifacts)


def require_report(assessment: assessment_pb2.Assessment) -> None:
    """Refuse what is about a report where there is none.

    Raises:
        AssessmentNotFinished: There may be one later.
        ReportNotFound: There will be none.
    """
    if not is_finished(assessment):
        raise AssessmentNotFinished("The assessment has not finished. Watch it, then ask again.")
    if not has_report(assessment):
        raise ReportNotFound("The assessment ended without a report. Its state and its error say why.")


def _judgement_needed() -> JudgementNeeded:
    return JudgementNeeded(
        "What the model says is shown after a physician has judged without it. Who may sign records a judgement "
        "(RecordJudgement); others wait until somebody has."
    )


def _named(assessment_id: str) -> str:
    return f"{_PREFIX}{assessment_id}" if assessment_id else ""
