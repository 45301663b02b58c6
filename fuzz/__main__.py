"""Runs cases in worker processes and reports aborts, hangs and errors outside the tree; exit status 1 if there is any.

>>> python -m fuzz --cases 2000 --seed 1                        # doctest: +SKIP
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import selectors
import subprocess
import sys
import time
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path

HANG_SECONDS = 60.0
_BLOCK = 500
_PROGRESS_SECONDS = 10.0


@dataclass
class _Worker:
    """A process that runs a range of cases and says on its output where it is."""

    process: subprocess.Popen[bytes]
    last: int
    begun: int = -1
    since: float = field(default_factory=time.monotonic)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="where files of findings go")
    parser.add_argument("--work", nargs=2, type=int, metavar=("FROM", "TO"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        _work(options.seed, *options.work)
        return 0
    findings, outcomes = _run(options)
    print(f"{sum(outcomes.values())} cases: " + ", ".join(f"{key} {count}" for key, count in outcomes.most_common()))
    for number, what in findings:
        print(f"FINDING case {number} of seed {options.seed}: {what}")
        _keep(options.seed, number, options.keep)
    print(f"{len(findings)} findings")
    return 1 if findings else 0


def _work(seed: int, first: int, last: int) -> None:
    warnings.simplefilter("ignore")
    from fuzz.cases import prepare, run_case

    prepare()
    for number in range(first, last):
        print(json.dumps({"begun": number}), flush=True)
        try:
            outcome, where = run_case(seed, number), ""
        except BaseException as error:
            frames = traceback.extract_tb(error.__traceback__)
            where = f"{type(error).__name__}: {error!s:.200} at {frames[-1].filename}:{frames[-1].lineno}"
            ours = [frame for frame in frames if "/oncoresponse/" in frame.filename]
            where += f" from {ours[-1].filename}:{ours[-1].lineno}" if ours else ""
            outcome = "FINDING"
        print(json.dumps({"ended": number, "outcome": outcome, "where": where}), flush=True)


def _run(options: argparse.Namespace) -> tuple[list[tuple[int, str]], collections.Counter[str]]:
    end = options.first + options.cases
    blocks = [(start, min(start + _BLOCK, end)) for start in range(options.first, end, _BLOCK)][::-1]
    findings: list[tuple[int, str]] = []
    outcomes: collections.Counter[str] = collections.Counter()
    selector, told, start = selectors.DefaultSelector(), time.monotonic(), time.monotonic()
    while blocks or selector.get_map():
        while blocks and len(selector.get_map()) < options.processes:
            worker = _start(options.seed, *blocks.pop())
            selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
        for key, _ in selector.select(1.0):
            worker = key.data
            line = worker.process.stdout.readline()
            if line:
                _note(json.loads(line), worker, findings, outcomes)
                continue
            selector.unregister(key.fileobj)
            worker.process.wait()
            if worker.begun >= 0:
                findings.append((worker.begun, f"the process ended with status {worker.process.returncode}"))
                outcomes["ABORT"] += 1
                blocks.append((worker.begun + 1, worker.last))
        now = time.monotonic()
        for key in list(selector.get_map().values()):
            worker = key.data
            if worker.begun >= 0 and now - worker.since > HANG_SECONDS:
                selector.unregister(key.fileobj)
                worker.process.kill()
                worker.process.wait()
                findings.append((worker.begun, f"no end after {HANG_SECONDS:g} s"))
                outcomes["HANG"] += 1
                blocks.append((worker.begun + 1, worker.last))
        if now - told > _PROGRESS_SECONDS:
            told, done = now, sum(outcomes.values())
            print(f"{done} of {options.cases} cases, {len(findings)} findings, {now - start:.0f} s", flush=True)
    return sorted(findings), outcomes


def _start(seed: int, first: int, last: int) -> _Worker:
    command = [sys.executable, "-m", "fuzz", "--seed", str(seed), "--work", str(first), str(last)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return _Worker(
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, bufsize=0), last
    )


def _note(
    said: dict[str, object], worker: _Worker, findings: list[tuple[int, str]], outcomes: collections.Counter[str]
) -> None:
    worker.since = time.monotonic()
    if "begun" in said:
        worker.begun = int(str(said["begun"]))
        return
    worker.begun = -1
    outcomes[str(said["outcome"])] += 1
    if said["outcome"] == "FINDING":
        findings.append((int(str(said["ended"])), str(said["where"])))


def _keep(seed: int, number: int, folder: Path) -> None:
    from fuzz.cases import mutated_case_file

    data = mutated_case_file(seed, number)
    if data is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{seed}-{number}.dcm").write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
