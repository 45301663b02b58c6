"""Lists of assessments by what they are found by: the chart store says which, the workflow engine how each stands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace

from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.storage.chart_store import AssessmentFilter, AssessmentRow, ChartStore, Subject
from oncoresponse.storage.page_position import token_of_row
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.assessment_message import FINISHED
from oncoresponse.workflow.run_states import RunState, RunStates

_ROWS_AT_ONCE = 200

Describe = Callable[[Collection[str]], Awaitable[Mapping[str, assessment_pb2.Assessment]]]


@dataclass(frozen=True)
class Page:
    """One page of a listing; ``next_token`` is empty on the last one."""

    assessments: list[assessment_pb2.Assessment]
    next_token: str


class AssessmentLists:
    """The chart of the assessments of one database.

    Args:
        database_url: Of the assessments.
        states: Of the runs.
        describe: The public messages of assessments by identifier.
    """

    def __init__(self, database_url: str, states: RunStates, describe: Describe) -> None:
        self._chart = ChartStore(database_url)
        self._states = states
        self._describe = describe

    async def open(self) -> None:
        """Make or migrate the tables, and note the assessments that are not in them: of an earlier release, or created
        a moment before a crash. The engine has to run."""
        await asyncio.to_thread(self._chart.prepare)
        offset = 0
        while True:
            runs = await asyncio.to_thread(self._states.newest, _ROWS_AT_ONCE, offset)
            known = await asyncio.to_thread(self._chart.known, [run.assessment for run in runs])
            await asyncio.to_thread(self._chart.add, [_row(run) for run in runs if run.assessment not in known])
            # Newest first: behind a page that is known, everything is.
            if len(runs) < _ROWS_AT_ONCE or len(known) == len(runs):
                return
            offset += len(runs)

    async def note_created(self, run: RunState, subject: Subject | None) -> None:
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
            listed = await self._describe([row.assessment for row in rows])
            for row in rows:
                if len(found) == page_size:
                    return Page(found, token)
                token = token_of_row(row.create_time_ms, row.assessment)
                assessment = listed.get(row.assessment)
                if assessment is None:
                    continue
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

    async def patients_of(self, *assessments: str) -> tuple[IndexedPatient, ...]:
        """Whose data assessments are of, as far as that is noted."""
        return await asyncio.to_thread(self._chart.patients_of, *assessments)

    async def studies_without_subject(self) -> list[str]:
        """Studies of which nobody has noted yet whose they are."""
        return await asyncio.to_thread(self._chart.studies_without_subject)

    async def set_subject(self, study: str, subject: Subject) -> None:
        """Note whose a study is."""
        await asyncio.to_thread(self._chart.set_subject, study, subject)

    def close(self) -> None:
        """Close the connections to the database."""
        self._chart.close()


def _row(run: RunState) -> AssessmentRow:
    return AssessmentRow(
        assessment=run.assessment,
        create_time_ms=run.create_time_ms,
        study=run.attributes.get("study", ""),
        model=run.attributes.get("model", ""),
        tenant=run.attributes.get("tenant", ""),
    )
