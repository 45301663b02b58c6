"""The simulation of an installation against what queueing theory knows: Erlang, Pollaczek and Khinchine, Little.

Formulas: L. Kleinrock, Queueing Systems, vol. 1 (1975), sections 3.2 and 3.5 (M/M/1, M/M/m), 5.7 (M/G/1), 2.1 (Little),
and vol. 2 (1976), section 4.4 (processor sharing).
"""

from math import factorial

import pytest

from benchmarks.scale.costs import StudyCosts, Work
from benchmarks.scale.simulation import SLOTS, Closed, Layout, Machine, Outcome, Poisson, bounds_an_hour, simulate

STUDIES = 15_000
MANY = 10_000


def erlang_c(servers: int, offered: float) -> float:
    """Probability that who comes has to wait; ``offered`` load in Erlang."""
    last = offered**servers / factorial(servers) * servers / (servers - offered)
    return last / (sum(offered**k / factorial(k) for k in range(servers)) + last)


def costs_of(work: Work, stage: str = "prediction") -> StudyCosts:
    return StudyCosts(stages={stage: work}, poll_seconds=0.0)


def run(work: Work, rate: float, *, slots: int = MANY, cores: float = 1, variation: float = 1.0, **more) -> Outcome:
    """``rate`` studies a second through an installation with one stage."""
    layout = Layout((Machine("m", cores),), workers=(0,), assessment_workers=slots)
    found = simulate(costs_of(work, **more), layout, Poisson(3600 * rate, STUDIES), seed=7, variation=variation)
    assert found.reports == STUDIES
    return found


def mean(values) -> float:
    return sum(values) / len(values)


def test_one_worker_is_m_m_1():
    """Mean wait rho / (mu - lambda), 95 % of the times in the system within ln(20) / (mu - lambda)."""
    load = 0.6
    found = run(Work(wait=1.0), load, slots=1)
    assert mean(found.waited) == pytest.approx(load / (1 - load), rel=0.1)
    assert found.mean == pytest.approx(1 / (1 - load), rel=0.1)
    assert found.percentile_95 == pytest.approx(2.9957 / (1 - load), rel=0.1)
    assert found.utilisation[SLOTS] == pytest.approx(load, rel=0.03)


def test_several_workers_are_m_m_c():
    """Mean wait by Erlang's formula C, with one assessment at a time in each of several workers."""
    load, servers = 0.7, 3
    layout = Layout((Machine("m", 1),), workers=(0,) * servers, assessment_workers=1)
    arrivals = Poisson(3600 * load * servers, STUDIES)
    runs = [simulate(costs_of(Work(wait=1.0)), layout, arrivals, seed=seed, variation=1.0) for seed in (11, 12)]
    expected = erlang_c(servers, load * servers) / (servers * (1 - load))
    assert mean([mean(found.waited) for found in runs]) == pytest.approx(expected, rel=0.1)
    assert mean([found.utilisation[SLOTS] for found in runs]) == pytest.approx(load, rel=0.02)


def test_erlang_c_of_the_books():
    """Two servers and one Erlang: 1/3; M/M/1: rho."""
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(1, 0.7) == pytest.approx(0.7)


@pytest.mark.parametrize("variation", [0.0, 1.0])
def test_a_segmentation_process_is_m_g_1(variation):
    """One study at a time: mean wait by Pollaczek and Khinchine, lambda E[S^2] / (2 (1 - rho))."""
    load = 0.6
    found = run(Work(wait=1.0), load, variation=variation, stage="segmentation")
    expected = load * (1 + variation**2) / (2 * (1 - load))
    assert found.mean - 1 == pytest.approx(expected, rel=0.1)
    assert found.utilisation["segmentation process"] == pytest.approx(load, rel=0.03)


@pytest.mark.parametrize("variation", [0.0, 1.0])
def test_shared_cores_are_processor_sharing(variation):
    """One core, shared evenly: mean 1 / (mu - lambda), whatever the distribution of the work."""
    load = 0.6
    # Neither lanes nor slots are in the way of what the database computes.
    found = run(Work(database_cpu=1.0), load, variation=variation)
    assert found.mean == pytest.approx(1 / (1 - load), rel=0.1)
    assert found.utilisation["cores of m"] == pytest.approx(load, rel=0.03)


def test_littles_law():
    """Studies in the system are their rate times their time in it."""
    found = run(Work(wait=1.0), 0.6, slots=1)
    assert found.in_system == pytest.approx(found.an_hour / 3600 * found.mean, rel=0.03)


def test_the_same_seed_gives_the_same_outcome():
    layout = Layout((Machine("m", 2),), workers=(0, 0))
    costs = StudyCosts.read()
    first, again, other = (simulate(costs, layout, Poisson(200, 50), seed=seed, variation=0.3) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_threads_share_work_and_a_gpu_takes_it():
    """0.5 s of one thread and 3 s that six pieces share on three cores: 0.5 + 1; with a GPU 0.5 + 0.1."""
    work = Work(serial_cpu=0.5, parallel_cpu=3.0, pieces=6, gpu_seconds=0.1)
    for gpus, expected in ((0, 1.5), (1, 0.6)):
        layout = Layout((Machine("m", 3, gpus),), workers=(0,))
        found = simulate(costs_of(work, "segmentation"), layout, Closed(1, 1))
        assert found.mean == pytest.approx(expected)


def test_a_full_queue_comes_near_the_bound_on_paper():
    """With enough at work, the resource that saturates first is busy all the time, and none is busier."""
    costs = StudyCosts.read()
    layout = Layout((Machine("m", 2),), workers=(0,) * 4, assessment_workers=2, client=0)
    found = simulate(costs, layout, Closed(16, 200))
    bounds = bounds_an_hour(costs, layout)
    assert found.first_saturated == min(bounds, key=lambda name: bounds[name])
    assert 0.9 * min(bounds.values()) < found.an_hour <= 1.001 * min(bounds.values())
    assert max(found.utilisation.values()) <= 1.0


def test_bytes_take_the_link_and_the_disk():
    """100 bytes in, 100 written: two seconds of a link of 100 bytes a second, one of such a disk."""
    costs = StudyCosts(
        stages={"report": Work(written_bytes=100.0)}, upload_bytes=100.0, write_bytes_a_second=100.0, poll_seconds=0.0
    )
    layout = Layout((Machine("m", 1),), workers=(0,), link_bytes_a_second=100.0)
    found = simulate(costs, layout, Closed(1, 1))
    assert found.mean == pytest.approx(2.0)  # the upload comes before the request
    assert bounds_an_hour(costs, layout) == {"disk of the store": 3600.0, "network of the store": 1800.0}
