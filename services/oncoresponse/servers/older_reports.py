"""Makes readable what an earlier release reported: the newest version of each report, once, while the server works."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from oncoresponse.case.artifact_names import REPORT_BUNDLE
from oncoresponse.case.sign_off import FIRST_VERSION, ReportStatus
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.artifact_messages import stored_artifact
from oncoresponse.servers.report_view import has_report
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.report_store import ReportStore
from oncoresponse.storage.resource_index import ResourceIndex
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.assessment_message import PREFIX
from oncoresponse.workflow.assessment_records import AssessmentRecords

_AT_ONCE = 100
_TRY_AGAIN_SECONDS = 30.0

_log = logging.getLogger(__name__)


class OlderReports:
    """Reports that are not in the index of resources, newest first.

    Args:
        records: The assessments.
        artifacts: Where Bundles are.
        reports: What was signed.
        resources: The index.
    """

    def __init__(
        self, records: AssessmentRecords, artifacts: ArtifactStore, reports: ReportStore, resources: ResourceIndex
    ) -> None:
        self._records = records
        self._artifacts = artifacts
        self._reports = reports
        self._resources = resources
        self._working: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> bool:
        """Whether some may not be in the index yet."""
        return self._working is None or not self._working.done()

    def start(self) -> None:
        """Begin. The tables have to be there."""
        self._working = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop; a later start goes on."""
        if self._working is not None:
            self._working.cancel()
            with suppress(asyncio.CancelledError):
                await self._working

    async def _work(self) -> None:
        while True:
            try:
                if indexed := await self._pass():
                    _log.info("made %d reports of an earlier release readable by FHIR", indexed)
                return
            except Exception as error:
                # A database that is away. What was done is done; the text may hold what was stored.
                _log.warning("reports of an earlier release are not readable by FHIR yet: %s", type(error).__name__)
            await asyncio.sleep(_TRY_AGAIN_SECONDS)

    async def _pass(self) -> int:
        indexed, last = 0, None
        while found := await asyncio.to_thread(
            self._resources.missing, assessment_pb2.ASSESSMENT_STATE_SUCCEEDED, _AT_ONCE, last
        ):
            last = found[-1]
            for _, assessment in found:
                try:
                    indexed += await self._index(assessment)
                except (OncoResponseError, ValueError, LookupError) as error:
                    # One that cannot be read must not keep the others back.
                    _log.warning("%s%s is not readable by FHIR: %s", PREFIX, assessment, type(error).__name__)
        return indexed

    async def _index(self, assessment: str) -> bool:
        message = await self._records.get(PREFIX + assessment)
        if not has_report(message) or not message.HasField("result"):
            return False
        versions = (await asyncio.to_thread(self._reports.history, assessment)).versions
        bundle, number, withdrawn = stored_artifact(message.result.artifacts[REPORT_BUNDLE]), FIRST_VERSION, False
        if versions:
            newest = versions[-1]
            bundle, number = newest.bundle, newest.sign_off.version
            withdrawn = newest.sign_off.status is ReportStatus.ENTERED_IN_ERROR
        data = await asyncio.to_thread(self._artifacts.read_bytes, bundle)
        await asyncio.to_thread(self._resources.add, assessment, number, data, bundle, withdrawn=withdrawn)
        return True
