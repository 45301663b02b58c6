"""An installation as a simulation of discrete events: workers, the processes of the stages, cores, store and database.

What it assumes:

- A process works on one study at a time where it computes in Python, because of the interpreter's lock. Child
  processes (features) and threads of the networks are beside it. A segmentation process takes one study at a time.
- The cores of a machine are shared evenly by all that is ready. Workers that look at the queue use a fixed part.
- A worker takes a study within ``poll_seconds``. Studies wait in the order in which they came.
- The store's disk writes, and its network link carries, one thing after another.
- The database takes as long as its CPU seconds; round trips are in the measured waiting.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import simpy

from benchmarks.scale.costs import StudyCosts, Work
from benchmarks.scale.processors import Cores, Lanes, Steps

SERVICE_OF_STAGE = {
    "conversion": "study",
    "segmentation": "segmentation",
    "features": "radiomics",
    "prediction": "response",
    "report": "reporting",
}
SATURATED = 0.85
"""From this utilisation on a resource is called saturated."""
SLOTS = "assessments at a time"
_NOTHING = Work()


@dataclass(frozen=True)
class Machine:
    """One machine.

    Attributes:
        name: For the table.
        cores: CPU cores; fewer where something else uses them too.
        gpus: Each is used by one segmentation process.
    """

    name: str
    cores: float
    gpus: int = 0


@dataclass(frozen=True)
class Layout:
    """What runs where; machines are given by their place in ``machines``.

    Attributes:
        machines: All.
        workers: The machine of each worker.
        assessment_workers: Assessments that each does at the same time.
        processes: The machines of each process of a service; services that are left out run on the first machine.
        database, store: Machines of PostgreSQL and of the store's disk.
        client: Machine of the senders; ``None``: they use none of these.
        link_bytes_a_second: Of the store's machine; 0 where everything is on one machine.
        disk_bytes_a_second: Of the store's disk; 0: as measured.
    """

    machines: tuple[Machine, ...]
    workers: tuple[int, ...]
    assessment_workers: int = 2
    processes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    database: int = 0
    store: int = 0
    client: int | None = None
    link_bytes_a_second: float = 0.0
    disk_bytes_a_second: float = 0.0

    def of(self, service: str) -> tuple[int, ...]:
        """Machines of the processes of a service."""
        return self.processes.get(service, (0,))


@dataclass(frozen=True)
class Poisson:
    """Studies come at random, ``rate_an_hour`` of them, whatever is still waiting."""

    rate_an_hour: float
    studies: int


@dataclass(frozen=True)
class Closed:
    """So many clients send a study, wait for its report and send the next one."""

    clients: int
    studies: int


@dataclass(frozen=True)
class Outcome:
    """What came out.

    Attributes:
        reports: How many.
        an_hour: Reports an hour.
        seconds_to_report: From the request for an assessment to its report, in the order of the reports.
        utilisation: Share of the time that each resource was busy.
        in_system: Studies in the installation from request to report, mean over the time.
        waited: Seconds from the request until a worker had the study.
    """

    reports: int
    an_hour: float
    seconds_to_report: tuple[float, ...]
    utilisation: dict[str, float]
    in_system: float
    waited: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Seconds to a report."""
        return statistics.fmean(self.seconds_to_report)

    @property
    def percentile_95(self) -> float:
        """Seconds within which 95 % of the reports come."""
        ordered = sorted(self.seconds_to_report)
        return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]

    @property
    def first_saturated(self) -> str:
        """The busiest resource; where none is near its limit, the number of assessments at a time."""
        resources = {name: share for name, share in self.utilisation.items() if name != SLOTS}
        busiest = max(resources, key=lambda name: resources[name], default=SLOTS)
        return busiest if resources.get(busiest, 0.0) >= SATURATED else SLOTS


class _Process:
    """A process of a service: its interpreter, and its children or threads.

    ``busy`` are the seconds that it would have been at work if it had never waited for a core.
    """

    def __init__(self, env: simpy.Environment, cores: Cores, gpu: Lanes | None) -> None:
        self.env, self.cores, self.gpu = env, cores, gpu
        self.lane = Lanes(env)
        self.children = Lanes(env, max(1, round(cores.count)))
        self.busy = 0.0

    def serial(self, work: Work, factor: float) -> Steps:
        if work.serial_cpu:
            self.busy += work.serial_cpu * factor
            yield self.cores.work(work.serial_cpu * factor)

    def whole(self, work: Work, factor: float) -> Steps:
        """All of it, nothing of another study meanwhile."""
        threads = min(work.pieces, self.children.count)
        accelerated = self.gpu is not None and work.gpu_seconds is not None
        parallel = (work.gpu_seconds or 0.0) if accelerated else work.parallel_cpu / threads
        self.busy += (work.wait + parallel) * factor
        yield from self.serial(work, factor)
        yield from self.parallel(work, factor)
        yield self.env.timeout(work.wait * factor)

    def parallel(self, work: Work, factor: float) -> Steps:
        if self.gpu is not None and work.gpu_seconds is not None:
            yield from self.gpu.pause(work.gpu_seconds * factor)
            return
        if work.parallel_cpu <= 0:
            return
        pieces = min(work.pieces, self.children.count)
        seconds = work.parallel_cpu * factor / pieces
        yield self.env.all_of([self.env.process(self.children.hold(self._piece(seconds))) for _ in range(pieces)])

    def _piece(self, seconds: float) -> Steps:
        yield self.cores.work(seconds)


class Simulation:
    """One run; see :func:`simulate`."""

    def __init__(self, costs: StudyCosts, layout: Layout, seed: int, variation: float) -> None:
        self.env = env = simpy.Environment()
        self._costs, self._layout, self._variation = costs, layout, variation
        self._random = random.Random(seed)  # noqa: S311 - a simulation that comes out the same again
        self._idle = [0.0] * len(layout.machines)
        for machine in layout.workers:
            self._idle[machine] += costs.idle_worker_cpu
            self._idle[layout.database] += costs.idle_database_cpu
        self._cores = [
            Cores(env, max(machine.cores - idle, 0.01))
            for machine, idle in zip(layout.machines, self._idle, strict=True)
        ]
        self._gpus = [[Lanes(env) for _ in range(machine.gpus)] for machine in layout.machines]
        services = {*SERVICE_OF_STAGE.values(), "model"}
        self._processes = {service: self._start(service) for service in sorted(services)}
        self._workers = [_Process(env, self._cores[machine], None) for machine in layout.workers]
        self._slots = simpy.Store(env)
        for worker in range(len(self._workers)):
            self._slots.items += [worker] * layout.assessment_workers
        self._disk, self._link = Lanes(env), Lanes(env)
        self._slots_busy = self._in_system = 0.0
        self._ended: list[tuple[float, float, float]] = []

    def _start(self, service: str) -> list[_Process]:
        started = []
        for number, machine in enumerate(self._layout.of(service)):
            gpus = self._gpus[machine] if service == "segmentation" else []
            started.append(_Process(self.env, self._cores[machine], gpus[number % len(gpus)] if gpus else None))
        return started

    def run(self, arrivals: Poisson | Closed) -> Outcome:
        """Run until all reports are there."""
        if isinstance(arrivals, Poisson):
            self.env.process(self._source(arrivals))
        else:
            left = iter(range(arrivals.studies))
            for _ in range(arrivals.clients):
                self.env.process(self._client(left))
        self.env.run()
        return self._outcome(arrivals)

    def _source(self, arrivals: Poisson) -> Steps:
        for _ in range(arrivals.studies):
            yield self.env.timeout(self._random.expovariate(arrivals.rate_an_hour / 3600.0))
            self.env.process(self._study())

    def _client(self, left: Iterator[int]) -> Steps:
        for _ in left:
            yield from self._study()

    def _factor(self) -> float:
        if not self._variation:
            return 1.0
        shape = 1.0 / self._variation**2
        return self._random.gammavariate(shape, 1.0 / shape)

    def _study(self) -> Steps:
        costs, env = self._costs, self.env
        yield from self._upload()
        asked = env.now
        steps = len(costs.stages) + 2
        yield from self._coordinate(self._workers[self._random.randrange(len(self._workers))], steps)
        worker = yield self._slots.get()
        taken = env.now
        waited = taken - asked
        if costs.poll_seconds:
            yield env.timeout(self._random.uniform(0.0, costs.poll_seconds))
        for name, work in costs.stages.items():
            yield from self._coordinate(self._workers[worker], steps)
            yield from self._stage(SERVICE_OF_STAGE[name], work)
        yield from self._coordinate(self._workers[worker], steps)
        self._slots_busy += env.now - taken
        self._slots.put(worker)
        self._ended.append((env.now, env.now - asked, waited))
        if costs.other != _NOTHING:
            env.process(self._stage("model", costs.other))

    def _upload(self) -> Steps:
        costs, env = self._costs, self.env
        if costs.upload == _NOTHING and not costs.upload_bytes:
            return
        at_once = [env.process(self._stage("study", costs.upload))]
        if self._layout.client is not None:
            at_once.append(env.process(self._compute(self._layout.client, costs.client_cpu)))
        if self._layout.link_bytes_a_second:
            at_once.append(env.process(self._link.pause(costs.upload_bytes / self._layout.link_bytes_a_second)))
        yield env.all_of(at_once)

    def _compute(self, machine: int, seconds: float) -> Steps:
        yield self._cores[machine].work(seconds)

    def _coordinate(self, worker: _Process, steps: int) -> Steps:
        """One of so many steps of the workflow."""
        work, share = self._costs.coordination, 1.0 / steps
        if work == _NOTHING:
            return
        yield from worker.lane.hold(worker.serial(work, share))
        if work.database_cpu:
            yield self._cores[self._layout.database].work(work.database_cpu * share)
        if work.wait:
            yield self.env.timeout(work.wait * share)
        yield from self._move(work, share)

    def _stage(self, service: str, work: Work) -> Steps:
        if work == _NOTHING:
            return
        factor = self._factor()
        process = min(self._processes[service], key=lambda each: each.lane.load + each.children.load)
        if service == "segmentation":
            yield from process.lane.hold(process.whole(work, factor))
        else:
            if work.serial_cpu:
                yield from process.lane.hold(process.serial(work, factor))
            yield from process.parallel(work, factor)
            if work.wait:
                yield self.env.timeout(work.wait * factor)
        if work.database_cpu:
            yield self._cores[self._layout.database].work(work.database_cpu * factor)
        yield from self._move(work, 1.0)

    def _move(self, work: Work, share: float) -> Steps:
        speed = disk_speed(self._costs, self._layout)
        if work.written_bytes and speed:
            yield from self._disk.pause(work.written_bytes * share / speed)
        moved = (work.read_bytes + work.written_bytes) * share
        if moved and self._layout.link_bytes_a_second:
            yield from self._link.pause(moved / self._layout.link_bytes_a_second)

    def _outcome(self, arrivals: Poisson | Closed) -> Outcome:
        # The first studies meet an empty installation, which a queue that goes on for days does not.
        skipped = len(self._ended) // 10 if isinstance(arrivals, Poisson) else 0
        counted = self._ended[skipped:]
        begun = self._ended[skipped - 1][0] if skipped else 0.0
        seconds = counted[-1][0] - begun
        return Outcome(
            reports=len(self._ended),
            an_hour=3600.0 * len(counted) / seconds,
            seconds_to_report=tuple(each[1] for each in counted),
            utilisation=self._utilisation(),
            in_system=sum(each[1] for each in self._ended) / self._ended[-1][0],
            waited=tuple(each[2] for each in counted),
        )

    def _utilisation(self) -> dict[str, float]:
        passed = self._ended[-1][0]
        found: dict[str, float] = {}
        for machine, cores, idle in zip(self._layout.machines, self._cores, self._idle, strict=True):
            cores.settle()
            found[f"cores of {machine.name}"] = min(1.0, (cores.busy / passed + idle) / machine.cores)
        for service, processes in self._processes.items():
            found[f"{service} process"] = max(each.busy for each in processes) / passed
        found["worker process"] = max((each.busy for each in self._workers), default=0.0) / passed
        gpus = [gpu for of_machine in self._gpus for gpu in of_machine]
        if gpus:
            found["GPU"] = max(gpu.busy for gpu in gpus) / passed
        found["disk of the store"] = self._disk.busy / passed
        if self._layout.link_bytes_a_second:
            found["network of the store"] = self._link.busy / passed
        slots = len(self._workers) * self._layout.assessment_workers
        found[SLOTS] = self._slots_busy / passed / slots
        return found


def disk_speed(costs: StudyCosts, layout: Layout) -> float:
    """Bytes a second of the store's disk; 0 for one that nothing waits for."""
    return layout.disk_bytes_a_second or costs.write_bytes_a_second


def simulate(
    costs: StudyCosts, layout: Layout, arrivals: Poisson | Closed, *, seed: int = 1, variation: float = 0.0
) -> Outcome:
    """Simulate an installation; the same arguments give the same outcome.

    Args:
        costs: Of a study.
        layout: The installation.
        arrivals: Of studies.
        seed: Of everything that is drawn.
        variation: Coefficient of variation of what a stage takes, drawn for each stage of each study from a gamma
            distribution; 0 for none, 1 for an exponential distribution.
    """
    return Simulation(costs, layout, seed, variation).run(arrivals)


def bounds_an_hour(costs: StudyCosts, layout: Layout) -> dict[str, float]:
    """On paper: studies an hour that each resource can do at most, by name (asymptotic bounds of a queueing network).

    Processes of one service are taken to share its studies evenly.
    """
    cpu = [0.0] * len(layout.machines)
    bounds: dict[str, float] = {}

    def spread(machines: Sequence[int], seconds: float) -> None:
        for machine in machines:
            cpu[machine] += seconds / len(machines)

    def add(name: str, seconds: float, capacity: float) -> None:
        if seconds > 0:
            bounds[name] = 3600.0 * capacity / seconds

    by_service: dict[str, list[Work]] = {"study": [costs.upload], "model": [costs.other]}
    for name, work in costs.stages.items():
        by_service.setdefault(SERVICE_OF_STAGE[name], []).append(work)
    for service, works in by_service.items():
        places = layout.of(service)
        on_gpu = [bool(layout.machines[place].gpus) and service == "segmentation" for place in places]
        lane = 0.0
        for work in works:
            accelerated = all(on_gpu) and work.gpu_seconds is not None
            spread(places, work.serial_cpu if accelerated else work.cpu)
            lane += work.serial_cpu
            if service == "segmentation":
                cores = min(layout.machines[place].cores for place in places)
                threads = max(1, min(work.pieces, round(cores)))
                lane += work.wait + ((work.gpu_seconds or 0.0) if accelerated else work.parallel_cpu / threads)
        add(f"{service} process", lane, len(places))
    spread(layout.workers, costs.coordination.serial_cpu)
    add("worker process", costs.coordination.serial_cpu, len(layout.workers))
    spread((layout.database,), costs.database_cpu)
    if layout.client is not None:
        spread((layout.client,), costs.client_cpu)
    for position, machine in enumerate(layout.machines):
        idle = layout.workers.count(position) * costs.idle_worker_cpu
        idle += (position == layout.database) * len(layout.workers) * costs.idle_database_cpu
        add(f"cores of {machine.name}", cpu[position], max(machine.cores - idle, 0.01))
    written = sum(work.written_bytes for work in costs.works)
    moved = costs.upload_bytes + written + sum(work.read_bytes for work in costs.works)
    if speed := disk_speed(costs, layout):
        add("disk of the store", written / speed, 1.0)
    if layout.link_bytes_a_second:
        add("network of the store", moved / layout.link_bytes_a_second, 1.0)
    return bounds
