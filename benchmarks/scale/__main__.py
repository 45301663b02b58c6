"""``make bench-scale``: what a study costs, and studies an hour with 1, 2 and 4 workers, measured and simulated."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.scale.costs import MEASURED, StudyCosts
from benchmarks.scale.simulation import Closed, Layout, Machine, Outcome, bounds_an_hour, simulate
from benchmarks.scale.sizes import print_sizes

ROOT = Path(__file__).resolve().parents[2]


class Narrator:
    """Prints at most one line every two seconds, so that a long run is seen to go on."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, line: str) -> None:
        """Print it, unless another one was printed just now."""
        now = time.monotonic()
        if now - self._last >= 2.0:
            self._last = now
            print(line, flush=True)


def here(costs: StudyCosts, workers: int, assessment_workers: int, others: float) -> Layout:
    """The machine of the measurement with one process for each service, as the real run has it."""
    machine = Machine("this machine", max(0.1, costs.cores - others))
    return Layout((machine,), (0,) * workers, assessment_workers, client=0)


def print_costs(costs: StudyCosts) -> None:
    """What a study costs."""
    print(f"\nOne study ({costs.study}, {costs.instances} instances; {costs.machine})")
    print(f"{'step':<14}{'CPU, s':>8}{'shared, s':>11}{'waits, s':>10}{'read, MB':>10}{'written, MB':>13}")
    rows = {"upload": costs.upload, **costs.stages, "coordination": costs.coordination, "other": costs.other}
    for name, work in rows.items():
        print(
            f"{name:<14}{work.cpu:>8.2f}{work.parallel_cpu:>11.2f}{work.wait:>10.2f}"
            f"{work.read_bytes / 1e6:>10.2f}{work.written_bytes / 1e6:>13.2f}"
        )
    print(f"{'PostgreSQL':<14}{costs.database_cpu:>8.2f}")
    print(f"{'all':<14}{costs.server_cpu:>8.2f}, and {costs.client_cpu:.2f} of the sender")
    kept = ", ".join(f"{name} {value / 1e6:.1f} MB" for name, value in costs.stored_bytes.items())
    print(
        f"sent {costs.upload_bytes / 1e6:.1f} MB; kept: {kept}; PostgreSQL {costs.database_bytes / 1e3:.0f} kB, "
        f"{costs.database_rows:.0f} rows, log {costs.log_bytes / 1e3:.0f} kB, "
        f"{costs.database_commits:.0f} transactions with looks at the queue"
    )
    print(
        f"a worker with nothing to do: {costs.idle_worker_cpu:.3f} cores, and {costs.idle_database_cpu:.3f} in "
        f"PostgreSQL; disk {costs.write_bytes_a_second / 1e6:.0f} MB/s in files of 256 KiB"
    )
    print("memory, MiB: " + ", ".join(f"{name} {value:.0f}" for name, value in costs.resident_mib.items()))


def print_heading(studies: int, assessment_workers: int) -> None:
    """Of the table of workers."""
    print(f"\nStudies an hour, {studies} studies for each line, {assessment_workers} assessments at a time in a worker")
    print("            measured                         simulated               differs  others  saturated first")
    print("workers  an hour  mean s  95 % s  CPU s   an hour  mean s  95 % s              cores")


def row(workers: int, measured: tuple[float, float, float, float, float] | None, found: Outcome) -> str:
    """A line of the table; ``measured``: an hour, mean, 95th percentile, CPU seconds a study, cores of others."""
    simulated = f"{found.an_hour:>9.0f}{found.mean:>8.1f}{found.percentile_95:>8.1f}"
    if measured is None:
        return f"{workers:>7}{'-':>9}{'-':>8}{'-':>8}{'-':>7} {simulated}{'-':>9}{'-':>8}  {found.first_saturated}"
    an_hour, mean, percentile, cpu, others = measured
    return (
        f"{workers:>7}{an_hour:>9.0f}{mean:>8.1f}{percentile:>8.1f}{cpu:>7.1f} {simulated}"
        f"{found.an_hour / an_hour - 1:>+9.0%}{others:>8.2f}  {found.first_saturated}"
    )


def simulated(costs: StudyCosts, workers: int, assessment_workers: int, studies: int, others: float) -> Outcome:
    """The same run as the real one."""
    layout = here(costs, workers, assessment_workers, others)
    return simulate(costs, layout, Closed(2 * workers * assessment_workers, studies))


def run_here(asked: argparse.Namespace) -> StudyCosts:
    """Measure a study, then let workers do many, beside the simulation."""
    from benchmarks.scale.installation import Installation, database
    from benchmarks.scale.measuring import measure
    from benchmarks.scale.real_run import clients_of, real_run

    say, lines = Narrator(), []
    with tempfile.TemporaryDirectory(prefix="scale-") as name, database(Path(name)) as (url, pid):
        print(f"Load of this machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores. Starting.", flush=True)
        installation = Installation(Path(name), url, asked.assessment_workers)
        try:
            installation.have_workers(1)
            print("Measuring one study after another", flush=True)
            costs = measure(installation, (url, pid), asked.study, asked.measured, say)
            print_costs(costs)
            first = 1_000
            for workers in asked.workers:
                print(f"\n{workers} workers", flush=True)
                installation.have_workers(workers)
                clients = clients_of(workers, asked.assessment_workers)
                found = real_run(
                    installation, pid, asked.study, studies=asked.studies, clients=clients, first=first, say=say
                )
                first += asked.studies
                ordered = sorted(found.seconds_to_report)
                measured = (
                    found.an_hour,
                    statistics.fmean(ordered),
                    ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
                    sum(found.cpu.values()) / found.reports,
                    found.others,
                )
                paper = simulated(costs, workers, asked.assessment_workers, asked.studies, found.others)
                lines.append(row(workers, measured, paper))
                print(lines[-1], flush=True)
        finally:
            installation.stop()
    if lines:
        print_heading(asked.studies, asked.assessment_workers)
        print("\n".join(lines))
    print(
        "Simulated with the costs measured above and the cores that other work left; CPU s: of a study in all\n"
        "processes and its sender, measured during the run. 'differs': simulated against measured."
    )
    if asked.save is not None:
        asked.save.write_text(costs.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return costs


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, default=ROOT / "examples" / "STS_032")
    parser.add_argument("--studies", type=int, default=12, help="for each number of workers")
    parser.add_argument("--measured", type=int, default=5, help="studies whose costs are measured")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4], help="none: the costs alone")
    parser.add_argument("--assessment-workers", type=int, default=1, help="assessments at a time in each worker")
    parser.add_argument("--simulate-only", action="store_true", help="with the costs of an earlier measurement")
    parser.add_argument("--costs", type=Path, default=MEASURED, help="which, for --simulate-only")
    parser.add_argument("--save", type=Path, help="write the measured costs")
    asked = parser.parse_args()
    if asked.simulate_only:
        costs = StudyCosts.read(asked.costs)
        print_costs(costs)
        print_heading(asked.studies, asked.assessment_workers)
        for workers in asked.workers:
            print(row(workers, None, simulated(costs, workers, asked.assessment_workers, asked.studies, 0.0)))
    else:
        costs = run_here(asked)
    layout = here(costs, max(asked.workers, default=1), asked.assessment_workers, 0.0)
    print("\nOn paper, studies an hour at most, this machine to itself:")
    for name, an_hour in sorted(bounds_an_hour(costs, layout).items(), key=lambda item: item[1]):
        print(f"{name:<24}{an_hour:>8.0f}")
    print_sizes(costs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
