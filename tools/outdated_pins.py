"""``python -m tools.outdated_pins``: which pins of constraints.txt are not the newest release.

Asks the index that pip is set up with. Exit status 0: all are the newest. 1: some are not. 2: the index did not answer.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.checkout import ROOT
from tools.pins import CONSTRAINTS, pinned

_SIDE_BY_SIDE = 4


class NoAnswerError(Exception):
    """The index could not be asked; the text says why."""


@dataclass(frozen=True)
class Outdated:
    """A pin of which there is a newer release.

    Attributes:
        name, pinned, newest: Normalized name and the two versions; the newest is one for this Python.
        allowed: Whether pyproject.toml allows the newest: yes, no, or that it does not name the package.
    """

    name: str
    pinned: str
    newest: str
    allowed: str


def newest_of(name: str, pip_options: Sequence[str] = ()) -> str | None:
    """Newest release for this Python; None where the index does not know the package.

    Raises:
        NoAnswerError: The index did not answer.
    """
    command = [sys.executable, "-m", "pip", "index", "versions", name, "--disable-pip-version-check", "--retries", "1"]
    done = subprocess.run([*command, *pip_options], capture_output=True, text=True, check=False)
    found = re.match(r"\S+ \((\S+)\)", done.stdout)
    if found:
        return found[1]
    if done.returncode == 0 or re.search(r"Retrying|Could not fetch URL|is ignored|connection|resolve", done.stderr):
        raise NoAnswerError(done.stderr.strip())
    return None


def ranges(project: Path) -> dict[str, SpecifierSet]:
    """What pyproject.toml allows, by normalized name; of a package that stands there twice what both allow."""
    table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    found: dict[str, SpecifierSet] = {}
    for line in (
        *table["dependencies"],
        *(each for group in table["optional-dependencies"].values() for each in group),
    ):
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        found[name] = found.get(name, SpecifierSet()) & requirement.specifier
    return found


def outdated(
    constraints: Path = CONSTRAINTS, project: Path = ROOT / "pyproject.toml", pip_options: Sequence[str] = ()
) -> tuple[list[Outdated], list[str]]:
    """The pins that are not the newest, and those of which the index knows nothing for this Python.

    Raises:
        NoAnswerError: The index did not answer.
    """
    pins, allowed = pinned(constraints), ranges(project)
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as threads:
        asked = threads.map(lambda name: newest_of(name, pip_options), pins)
        newest = dict(zip(pins, asked, strict=True))
    found = []
    for name, version in pins.items():
        latest = newest[name]
        if latest is not None and Version(latest).release > Version(version).release:
            may = "not named" if name not in allowed else "yes" if latest in allowed[name] else f"no, {allowed[name]}"
            found.append(Outdated(name, version, latest, may))
    return found, [name for name, latest in newest.items() if latest is None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit status says what was found."""
    parser = argparse.ArgumentParser(prog="python -m tools.outdated_pins", description=__doc__.split("\n")[0])
    parser.add_argument("--constraints", type=Path, default=CONSTRAINTS)
    parser.add_argument("--project", type=Path, default=ROOT / "pyproject.toml", help="pyproject.toml with the ranges")
    parser.add_argument("--index-url", help="index to ask instead of pip's own")
    given = parser.parse_args(arguments)
    options = ("--index-url", given.index_url) if given.index_url else ()
    try:
        found, unknown = outdated(given.constraints, given.project, options)
    except NoAnswerError as error:
        sys.stderr.write(f"The package index did not answer, so nothing is known about the pins.\n{error}\n")
        return 2
    rows = [
        ("package", "pinned", "newest", "pyproject.toml allows it"),
        *((o.name, o.pinned, o.newest, o.allowed) for o in found),
    ]
    if found:
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for row in rows:
            sys.stdout.write(
                "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
            )
    sys.stdout.write(f"{len(found)} of {len(pinned(given.constraints))} pins are outdated.\n")
    if unknown:
        sys.stdout.write(f"No release for this Python in the index: {', '.join(unknown)}.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
