"""Installations from one machine to 1,000 studies an hour, simulated."""

from __future__ import annotations

from benchmarks.scale.costs import StudyCosts
from benchmarks.scale.simulation import SERVICE_OF_STAGE, Layout, Machine, Poisson, bounds_an_hour, simulate

VARIATION = 0.3
"""Coefficient of variation of each stage among the studies: assumed."""
LOAD = 0.7
"""Share of the bound on paper that is sent: assumed, what an installation may be planned for."""
GOAL_AN_HOUR = 1_000.0
"""Studies an hour beyond which nobody asked for more."""
STUDIES = 400
LINK_BYTES_A_SECOND = 10e9 / 8
"""10 Gbit/s: assumed."""
DISK_BYTES_A_SECOND = 500e6
"""Of the store of several machines: assumed."""
LARGE_SENT, LARGE_SEGMENTATION = 10.0, 4.0
"""A whole-body study against the sample: ten times the instances and bytes (assumed), four times the seconds of the
segmentation (docs/segmentation.md, candidates in a whole body)."""


def one_machine(cores: int, *, gpus: int = 0, processes: int = 1) -> Layout:
    """One machine with everything; ``processes`` each of what computes in Python or takes one study at a time."""
    several = (0,) * processes
    return Layout(
        (Machine("the machine", cores, gpus),),
        workers=(0,),
        assessment_workers=max(2, cores),
        processes={"study": several, "reporting": several, "segmentation": (0,) * gpus or several},
    )


def several_machines(count: int, cores: int, *, processes: int) -> Layout:
    """Equal machines with everything but the database and the store, which have a machine of their own."""
    machines = tuple(Machine(f"machine {number}", cores) for number in range(1, count + 1))
    each = tuple(range(count))
    several = dict.fromkeys(("study", "reporting", "segmentation"), each * processes)
    single = dict.fromkeys({*SERVICE_OF_STAGE.values(), "model"} - set(several), each)
    return Layout(
        (*machines, Machine("database and store", 4)),
        workers=each,
        assessment_workers=cores,
        processes={**several, **single},
        database=count,
        store=count,
        link_bytes_a_second=LINK_BYTES_A_SECOND,
        disk_bytes_a_second=DISK_BYTES_A_SECOND,
    )


SIZES: dict[str, Layout] = {
    "2 cores": one_machine(2),
    "8 cores, 1 process a service": one_machine(8),
    "8 cores, 3 of each": one_machine(8, processes=3),
    "16 cores, 6 of each": one_machine(16, processes=6),
    "16 cores, 6 of each, 1 GPU": one_machine(16, processes=6, gpus=1),
    "2 x 8 cores, 3 of each": several_machines(2, 8, processes=3),
    "4 x 8 cores, 4 of each": several_machines(4, 8, processes=4),
}


def large(costs: StudyCosts) -> StudyCosts:
    """A whole-body study, from the costs of the sample; see :data:`LARGE_SENT`."""
    stages = {name: work.times(1.0, LARGE_SENT) for name, work in costs.stages.items()}
    stages["conversion"] = costs.stages["conversion"].times(LARGE_SENT, LARGE_SENT)
    stages["segmentation"] = costs.stages["segmentation"].times(LARGE_SEGMENTATION, LARGE_SENT)
    return costs.model_copy(
        update={
            "instances": int(costs.instances * LARGE_SENT),
            "upload_bytes": costs.upload_bytes * LARGE_SENT,
            "client_cpu": costs.client_cpu * LARGE_SENT,
            "upload": costs.upload.times(LARGE_SENT, LARGE_SENT),
            "stages": stages,
        }
    )


def print_sizes(costs: StudyCosts) -> None:
    """The tables, of the sample study and of a large one."""
    for title, of_study in (("the sample study", costs), ("a whole-body study, 10 times as large", large(costs))):
        print(
            f"\nSizes for {title}: {LOAD:.0%} of what the busiest resource can do, at most "
            f"{GOAL_AN_HOUR:.0f} an hour, come at random"
        )
        print(
            f"{'installation':<30}{'at most':>8}{'sent':>6}{'mean s':>8}{'95 % s':>8}{'cores':>7}{'network':>9}"
            "  saturates first"
        )
        for name, layout in SIZES.items():
            print(size_row(name, layout, of_study), flush=True)


def size_row(name: str, layout: Layout, costs: StudyCosts) -> str:
    """One line."""
    bounds = bounds_an_hour(costs, layout)
    first = min(bounds, key=lambda each: bounds[each])
    rate = min(LOAD * bounds[first], GOAL_AN_HOUR)
    found = simulate(costs, layout, Poisson(rate, STUDIES), seed=1, variation=VARIATION)
    cores = found.utilisation[f"cores of {layout.machines[0].name}"]
    network = found.utilisation.get("network of the store")
    return (
        f"{name:<30}{bounds[first]:>8.0f}{rate:>6.0f}{found.mean:>8.1f}{found.percentile_95:>8.1f}{cores:>7.0%}"
        f"{'-' if network is None else format(network, '.1%'):>9}  {first}"
    )
