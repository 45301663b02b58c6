"""Installations from one machine to 1,000 studies an hour, simulated."""

from __future__ import annotations

from benchmarks.scale.costs import StudyCosts
from benchmarks.scale.simulation import SLOTS, Layout, Machine, Poisson, bounds_an_hour, simulate

VARIATION = 0.3
"""Coefficient of variation of each stage among the studies: assumed."""
LOAD = 0.7
"""Share of the bound on paper that is sent: assumed, what an installation may be planned for."""
STUDIES = 600
LINK_BYTES_A_SECOND = 10e9 / 8
"""10 Gbit/s: assumed."""
DISK_BYTES_A_SECOND = 500e6
"""Of the store of several machines: assumed."""


def one_machine(cores: int, *, gpus: int = 0, processes: int = 1) -> Layout:
    """One machine with everything; the services that compute in Python in several processes each."""
    several = (0,) * processes
    segmentation = (0,) * max(gpus, 1 if cores < 8 else processes)
    workers = max(1, processes)
    return Layout(
        (Machine("the machine", cores, gpus),),
        workers=(0,) * workers,
        assessment_workers=max(2, -(-cores // workers)),
        processes={"study": several, "radiomics": (0,), "reporting": several, "segmentation": segmentation},
    )


def several_machines(count: int, cores: int, *, gpus: int = 0, processes: int = 4) -> Layout:
    """Equal machines with everything but the database and the store, which have one of their own."""
    machines = tuple(Machine(f"machine {number}", cores, gpus) for number in range(1, count + 1))
    own = Machine("database and store", 4)
    each = tuple(range(count))
    return Layout(
        (*machines, own),
        workers=each,
        assessment_workers=cores,
        processes={
            "study": each * processes,
            "radiomics": each,
            "reporting": each * processes,
            "segmentation": each * (max(gpus, 1) if gpus else processes),
            "response": each,
            "model": (0,),
        },
        database=count,
        store=count,
        link_bytes_a_second=LINK_BYTES_A_SECOND,
        disk_bytes_a_second=DISK_BYTES_A_SECOND,
    )


SIZES: dict[str, Layout] = {
    "2 cores": one_machine(2),
    "8 cores": one_machine(8, processes=2),
    "16 cores": one_machine(16, processes=4),
    "16 cores, 1 GPU": one_machine(16, gpus=1, processes=4),
    "2 x 16 cores": several_machines(2, 16),
    "2 x 16 cores, 1 GPU each": several_machines(2, 16, gpus=1),
}


def print_sizes(costs: StudyCosts) -> None:
    """The table."""
    print(f"\nSizes: {LOAD:.0%} of what the busiest resource can do comes at random ({STUDIES} studies)")
    print(
        f"{'installation':<26}{'at most':>9}{'sent':>7}{'done':>7}{'mean s':>8}{'95 % s':>8}{'cores':>7}"
        f"{'database':>10}  saturates first"
    )
    for name, layout in SIZES.items():
        print(size_row(name, layout, costs), flush=True)


def size_row(name: str, layout: Layout, costs: StudyCosts) -> str:
    """One line."""
    bounds = bounds_an_hour(costs, layout)
    first = min(bounds, key=lambda each: bounds[each])
    rate = LOAD * bounds[first]
    found = simulate(costs, layout, Poisson(rate, STUDIES), seed=1, variation=VARIATION)
    cores = max(share for each, share in found.utilisation.items() if each.startswith("cores of machine") or len(layout.machines) == 1 and each.startswith("cores"))
    database = rate * costs.database_cpu / 3600 / layout.machines[layout.database].cores
    return (
        f"{name:<26}{bounds[first]:>9.0f}{rate:>7.0f}{found.an_hour:>7.0f}{found.mean:>8.1f}{found.percentile_95:>8.1f}"
        f"{cores:>7.0%}{database:>10.1%}  {first}"
    )


__all__ = ["SIZES", "SLOTS", "print_sizes", "size_row"]
