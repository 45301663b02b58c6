"""Follows assessments for all watchers of a process: one look at the database at a time, however many they are.

Workers share the database and cannot tell one another what they do, so somebody has to look. A look is one statement
whose length and cost depend on what is at work, not on who watches; only what has changed is read whole, with one more
statement. Without watchers nothing is asked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping

from oncoresponse.errors import AssessmentNotFound, OncoResponseError, PeerUnavailable
from oncoresponse.storage.database_errors import known_database_error
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.assessment_message import is_finished
from oncoresponse.workflow.run_states import WAITING, RunMark, RunStates

LOOK_SECONDS = 0.1
"""From one look to the next."""

# A new watcher does not wait for the next look, but those that come together share one.
_GATHER_SECONDS = 0.02
# How far the clocks of two workers may be apart, and how long a look may fail, without the end of a run being missed.
_ENDED_SINCE_SECONDS = 60.0
# Every state is compared this often all the same: what is erased leaves no trace, and clocks may be further apart.
_COMPARE_SECONDS = 5.0

_log = logging.getLogger(__name__)

Describe = Callable[[Collection[str]], Awaitable[Mapping[str, assessment_pb2.Assessment]]]
"""Messages of assessments by identifier; those that there are not are left out."""


class _Watched:
    """An assessment that somebody watches."""

    def __init__(self) -> None:
        self.watchers = 0
        self.mark: RunMark | None = None
        self.latest: assessment_pb2.Assessment | None = None
        self.failure: OncoResponseError | None = None
        self.changed = asyncio.Event()

    def tell(self) -> None:
        """Wake all who wait now; who is busy sees the latest state when it comes back."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class Watching:
    """All watchers of one event loop.

    Args:
        states: Of the runs.
        describe: Reads assessments whole.
    """

    def __init__(self, states: RunStates, describe: Describe) -> None:
        self._states = states
        self._describe = describe
        self._watched: dict[str, _Watched] = {}
        self._arrived = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None
        self._compared = 0.0
        self._closed = False

    async def follow(self, identifier: str) -> AsyncIterator[assessment_pb2.Assessment]:
        """The state now and at each change, with rising revisions, up to the last one.

        A watcher that is slow leaves out states that have passed by then; it keeps nobody waiting.

        Raises:
            AssessmentNotFound: There is none, or it was deleted.
            PeerUnavailable: The service stops.
        """
        if self._closed:
            raise _stopping()
        watched = self._watched.setdefault(identifier, _Watched())
        watched.watchers += 1
        self._arrived.set()
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            revision = 0
            while True:
                changed = watched.changed
                if watched.failure is not None:
                    raise watched.failure
                latest = watched.latest
                if latest is not None and latest.revision > revision:
                    revision = latest.revision
                    yield latest
                    if is_finished(latest):
                        return
                else:
                    await changed.wait()
        finally:
            watched.watchers -= 1
            if watched.watchers == 0 and self._watched.get(identifier) is watched:
                del self._watched[identifier]

    async def close(self) -> None:
        """Tell every watcher that the service stops."""
        self._closed = True
        self._fail(_stopping())
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.wait((self._poller,))

    async def _poll(self) -> None:
        while self._watched:
            self._arrived.clear()
            try:
                await self._look()
            except Exception as error:
                if known_database_error(error) is None:
                    self._fail(error if isinstance(error, OncoResponseError) else _failed(error))
                    return
                # The database is away, as its own watch has logged; watchers wait with everything else.
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._arrived.wait()
                await asyncio.sleep(_GATHER_SECONDS)
            except TimeoutError:
                pass

    async def _look(self) -> None:
        marks = await asyncio.to_thread(self._states.marks, int((time.time() - _ENDED_SINCE_SECONDS) * 1000))
        watched = dict(self._watched)
        wanted = {
            each for each, known in watched.items() if known.latest is None or marks.get(each, known.mark) != known.mark
        }
        if time.monotonic() - self._compared >= _COMPARE_SECONDS:
            self._compared = time.monotonic()
            statuses = await asyncio.to_thread(self._states.statuses, list(watched))
            wanted |= {each for each, known in watched.items() if _differs(known, statuses.get(each))}
        if not wanted:
            return
        found = await self._describe(wanted)
        for each in wanted:
            known = watched[each]
            if each not in found:
                known.failure = _gone()
                # Who asks for it later asks anew.
                self._watched.pop(each, None)
            else:
                known.latest = found[each]
                # Read before the message was: at worst the same message is read twice.
                known.mark = marks.get(each, known.mark)
            known.tell()

    def _fail(self, error: OncoResponseError) -> None:
        for each in self._watched.values():
            each.failure = error
            each.tell()
        self._watched.clear()


def _differs(known: _Watched, status: str | None) -> bool:
    """Whether a state in the engine's words, or that there is none, is not the one that watchers were told."""
    return status not in WAITING if known.mark is None else status != known.mark.status


def _stopping() -> PeerUnavailable:
    return PeerUnavailable("The service stops. Watch the assessment again in a moment.")


def _gone() -> AssessmentNotFound:
    return AssessmentNotFound("There is no assessment of this name. ListAssessments gives the names.")


def _failed(error: BaseException) -> PeerUnavailable:
    _log.error("assessments cannot be watched", exc_info=error)
    return PeerUnavailable("The assessment cannot be watched at the moment. Watch it again in a moment.")
