"""Lists of assessments by what they are found by: the chart store says which, the workflow engine how each stands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from dbos import DBOS, WorkflowStatus

from oncoresponse.storage.chart_store import AssessmentFilter, AssessmentRow, ChartStore, Subject
from oncoresponse.storage.page_position import token_of_row
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.assessment_workflow import WORKFLOW_NAME

_ROWS_AT_ONCE = 200
FINISHED = {
    assessment_pb2.ASSESSMENT_STATE_SUCCEEDED,
    assessment_pb2.ASSESSMENT_STATE_FAILED,
    assessment_pb2.ASSESSMENT_STATE_CANCELLED,
    assessment_pb2.ASSESSMENT_STATE_LESION_CHOICE_NEEDED,
}
"""States that will not change any more."""

Describe = Callable[[WorkflowStatus], Awaitable[assessment_pb2.Assessment]]


@dataclass(frozen=True)
class Page:
    """One page of a listing; ``next_token`` is empty on the last one."""

    assessments: list[assessment_pb2.Assessment]
    next_token: str


class AssessmentLists:
    """The chart of the assessments of one database.

    Args:
        database_url: Of the assessments.
        describe: Makes the public message of a run.
    """

    def __init__(self, database_url: str, describe: Describe) -> None:
        self._chart = ChartStore(database_url)
        self._describe = describe

    async def open(self) -> None:
        """Make or migrate the tables, and note the assessments that are not in them: of an earlier release, or created
        a moment before a crash. The engine has to run."""
        await asyncio.to_thread(self._chart.prepare)
        offset = 0
        while True:
            runs = await DBOS.list_workflows_async(
                name=WORKFLOW_NAME,
                limit=_ROWS_AT_ONCE,
                offset=offset,
                sort_desc=True,
                load_input=False,
                load_output=False,
            )
            known = await asyncio.to_thread(self._chart.known, [run.workflow_id for run in runs])
            await asyncio.to_thread(self._chart.add, [_row(run) for run in runs if run.workflow_id not in known])
            # Newest first: behind a page that is known, everything is.
            if len(runs) < _ROWS_AT_ONCE or len(known) == len(runs):
                return
            offset += len(runs)

    async def note_created(self, run: WorkflowStatus, subject: Subject | None) -> None:
        """Note a new assessment."""
        await asyncio.to_thread(self._chart.add, [_row(run)], subject)

    async def page(
        self, wanted: AssessmentFilter, state: assessment_pb2.AssessmentState, page_size: int, page_token: str
    ) -> Page:
        """Newest first, without results.

        Args:
            wanted: Which ones; its ``ended_in`` is not read.
            state: Only in this one, or UNSPECIFIED.
            page_size: At most this many.
            page_token: ``next_token`` of the page before, or empty.

        Raises:
            InvalidRequest: The token is malformed.
        """
        wanted = replace(wanted, ended_in=state)
        found: list[assessment_pb2.Assessment] = []
        token = page_token
        while True:
            rows = await asyncio.to_thread(self._chart.page, wanted, token, page_size + 1)
            if not rows:
                return Page(found, "")
            listed = await DBOS.list_workflows_async(workflow_ids=[row.assessment for row in rows], load_input=False)
            runs = {run.workflow_id: run for run in listed}
            for row in rows:
                if len(found) == page_size:
                    return Page(found, token)
                token = token_of_row(row.create_time_ms, row.assessment)
                run = runs.get(row.assessment)
                if run is None:
                    continue
                assessment = await self._describe(run)
                if row.state == 0 and assessment.state in FINISHED:
                    await asyncio.to_thread(self._chart.note_end, row.assessment, assessment.state)
                if state in (assessment_pb2.ASSESSMENT_STATE_UNSPECIFIED, assessment.state):
                    assessment.ClearField("result")
                    found.append(assessment)
            if len(rows) <= page_size:
                return Page(found, "")

    async def tenant_of(self, assessment: str) -> str | None:
        """Whose an assessment is; ``None`` where there is none."""
        return await asyncio.to_thread(self._chart.tenant_of, assessment)

    async def studies_without_subject(self) -> list[str]:
        """Studies of which nobody has noted yet whose they are."""
        return await asyncio.to_thread(self._chart.studies_without_subject)

    async def set_subject(self, study: str, subject: Subject) -> None:
        """Note whose a study is."""
        await asyncio.to_thread(self._chart.set_subject, study, subject)

    def close(self) -> None:
        """Close the connections to the database."""
        self._chart.close()


def _row(run: WorkflowStatus) -> AssessmentRow:
    attributes = run.attributes or {}
    return AssessmentRow(
        assessment=run.workflow_id,
        create_time_ms=run.created_at or 0,
        study=attributes.get("study", ""),
        model=attributes.get("model", ""),
        tenant=attributes.get("tenant", ""),
    )
