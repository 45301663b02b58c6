"""The versions that the project is tested with (`constraints.txt`), and those with digests (`requirements.lock`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.checkout import ROOT

CONSTRAINTS = ROOT / "constraints.txt"
LOCK = ROOT / "requirements.lock"

_DIGEST = re.compile(r"--hash=sha256:([0-9a-f]{64})")
# uv says below each package what it is there for: `# via torch`, or one a line.
_NEEDED_BY = re.compile(r"^    # (?:via |  )([A-Za-z0-9][\w.-]*)", re.MULTILINE)


@dataclass(frozen=True)
class Locked:
    """One package of the lock.

    Attributes:
        name: As PyPI normalizes it.
        version: The one version.
        marker: Where it is needed; empty for everywhere.
        digests: SHA-256 of every file that may be installed.
        needed_by: Names of the packages that need it; ``oncoresponse`` for the project itself.
    """

    name: str
    version: str
    marker: str
    digests: tuple[str, ...]
    needed_by: frozenset[str]

    def lines(self, more: Iterable[str] = ()) -> str:
        """The entry as pip reads it, with the digests of further files that may be installed."""
        marker = f" ; {self.marker}" if self.marker else ""
        digests = sorted({*self.digests, *more})
        return " \\\n    ".join(
            [f"{self.name}=={self.version}{marker}", *(f"--hash=sha256:{each}" for each in digests)]
        )


def pinned(path: Path = CONSTRAINTS) -> dict[str, str]:
    """Version by normalized name."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.startswith("#"):
            name, version = line.split("==")
            found[canonicalize_name(name)] = version.strip()
    return found


def locked(path: Path = LOCK) -> dict[str, Locked]:
    """The packages of a lock by normalized name."""
    found: dict[str, Locked] = {}
    for entry in re.split(r"^(?=\w)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        requirement = Requirement(entry.split(" \\\n")[0])
        (only,) = requirement.specifier
        name = canonicalize_name(requirement.name)
        needed_by = frozenset(canonicalize_name(each) for each in _NEEDED_BY.findall(entry))
        digests = tuple(_DIGEST.findall(entry))
        found[name] = Locked(name, only.version, str(requirement.marker or ""), digests, needed_by)
    return found
