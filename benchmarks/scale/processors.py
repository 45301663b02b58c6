"""Resources of the simulation that count how long they are busy: cores that are shared, and lanes that queue."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Generator
from typing import Any

import simpy

Steps = Generator[simpy.Event, Any, None]


class Cores:
    """The cores of a machine, shared by all threads that are ready, as an operating system shares them.

    Every ready thread gets the same share, at most one core (egalitarian processor sharing). Work of several threads
    has so many shares.

    Args:
        env: The simulation.
        count: Cores; a fraction where something else takes part of them.
    """

    def __init__(self, env: simpy.Environment, count: float) -> None:
        self._env = env
        self.count = count
        self.busy = 0.0
        self._jobs: list[tuple[float, int, int, simpy.Event]] = []
        self._order = itertools.count()
        self._threads = 0
        self._progress = 0.0
        """Seconds that a thread would have had that was ready from the beginning."""
        self._at = 0.0
        self._version = 0

    def work(self, seconds: float, threads: int = 1) -> simpy.Event:
        """An event that happens when so many CPU seconds have been worked off."""
        done = self._env.event()
        if seconds <= 0:
            return done.succeed()
        self._advance()
        heapq.heappush(self._jobs, (self._progress + seconds / threads, next(self._order), threads, done))
        self._threads += threads
        self._schedule()
        return done

    def settle(self) -> None:
        """Bring ``busy`` up to now."""
        self._advance()

    def _share(self) -> float:
        return min(1.0, self.count / self._threads) if self._threads else 0.0

    def _advance(self) -> None:
        passed = self._env.now - self._at
        self._progress += passed * self._share()
        self.busy += passed * self._share() * self._threads
        self._at = self._env.now

    def _schedule(self) -> None:
        self._version += 1
        if self._jobs:
            seconds = max(0.0, self._jobs[0][0] - self._progress) / self._share()
            timer = self._env.timeout(seconds, self._version)
            timer.callbacks.append(self._ended)

    def _ended(self, timer: simpy.Event) -> None:
        if timer.value != self._version:
            return
        self._advance()
        finished, _, threads, done = heapq.heappop(self._jobs)
        self._progress = max(self._progress, finished)
        self._threads -= threads
        done.succeed()
        self._schedule()


class Lanes:
    """So many can be inside at the same time; the others wait in the order in which they came.

    Args:
        env: The simulation.
        count: Lanes.
    """

    def __init__(self, env: simpy.Environment, count: int = 1) -> None:
        self._env = env
        self._resource = simpy.Resource(env, count)
        self.count = count
        self.busy = 0.0

    @property
    def load(self) -> int:
        """How many are inside or wait."""
        return len(self._resource.users) + len(self._resource.queue)

    def hold(self, steps: Steps) -> Steps:
        """Do the steps inside."""
        with self._resource.request() as request:
            yield request
            begun = self._env.now
            yield from steps
            self.busy += self._env.now - begun

    def pause(self, seconds: float) -> Steps:
        """Be inside for some seconds."""
        yield from self.hold(_pause(self._env, seconds))


def _pause(env: simpy.Environment, seconds: float) -> Steps:
    yield env.timeout(seconds)
