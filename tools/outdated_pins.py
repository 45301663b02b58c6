"""``python -m tools.outdated_pins``: which pins of constraints.txt are not the newest release.

Asks the index that uv is set up with, PyPI's where nothing is said. Exit status 0: all pins are the newest releases for
this Python. 1: some are not. 2: the index did not answer, or does not know a package; nothing is known then.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.checkout import ROOT
from tools.pins import CONSTRAINTS, pinned


class NoAnswerError(Exception):
    """The index said nothing of the packages; the text is what uv says of that."""


@dataclass(frozen=True)
class Outdated:
    """A pin of which there is a newer release.

    Attributes:
        name: As PyPI normalizes it.
        pinned: The version of constraints.txt.
        newest: The newest release that this Python can use.
        allowed: Whether pyproject.toml allows the newest: yes, no, or that it does not name the package.
    """

    name: str
    pinned: str
    newest: str
    allowed: str


def newest_releases(names: Iterable[str], index: str | None = None) -> dict[str, str]:
    """Newest release by name, without pre-releases.

    Raises:
        NoAnswerError: The index did not answer, or has no release of one of them.
    """
    options = ("--default-index", index) if index else ()
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("uv")), "pip", "compile", "-", "--python", sys.executable),
            *("--no-deps", "--no-header", "--no-annotate", "--quiet", *options),
        ],
        input="\n".join(names),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NoAnswerError(done.stderr.strip())
    lines = (line.split(";")[0].split("==") for line in done.stdout.splitlines() if "==" in line)
    return {canonicalize_name(name): version.strip() for name, version in lines}


def ranges(project: Path) -> dict[str, SpecifierSet]:
    """What pyproject.toml allows, by normalized name; of a package that stands there twice what both allow."""
    table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    found: dict[str, SpecifierSet] = {}
    for line in chain(table["dependencies"], *table["optional-dependencies"].values()):
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        found[name] = found.get(name, SpecifierSet()) & requirement.specifier
    return found


def outdated(constraints: Path, project: Path, index: str | None = None) -> list[Outdated]:
    """The pins that are not the newest releases.

    Raises:
        NoAnswerError: As :func:`newest_releases`.
    """
    pins, allowed = pinned(constraints), ranges(project)
    newest = newest_releases(pins, index)
    found = []
    for name, version in pins.items():
        latest = newest.get(name, version)
        if Version(latest) > Version(version):
            may = "not named" if name not in allowed else "yes" if latest in allowed[name] else f"no: {allowed[name]}"
            found.append(Outdated(name, version, latest, may))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit status says what was found."""
    parser = argparse.ArgumentParser(prog="python -m tools.outdated_pins", description="Pins that are not the newest.")
    parser.add_argument("--constraints", type=Path, default=CONSTRAINTS, help="file with the pins")
    parser.add_argument("--project", type=Path, default=ROOT / "pyproject.toml", help="pyproject.toml with the ranges")
    parser.add_argument("--index", help="index to ask, an address or a folder, instead of that of uv")
    given = parser.parse_args(arguments)
    try:
        found = outdated(given.constraints, given.project, given.index)
    except NoAnswerError as error:
        sys.stderr.write(f"The package index gave no answer, so nothing is known about the pins.\n{error}\n")
        return 2
    if found:
        head = ("package", "pinned", "newest", "pyproject.toml allows it")
        rows = [head, *((each.name, each.pinned, each.newest, each.allowed) for each in found)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            sys.stdout.write("  ".join(cells).rstrip() + "\n")
    sys.stdout.write(f"{len(found)} of {len(pinned(given.constraints))} pins are outdated.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
