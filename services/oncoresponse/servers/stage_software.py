"""What a stage of this process runs with, looked up once."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata
from pathlib import Path

import oncoresponse
from oncoresponse.case.stage_software import StageSoftware

# Two distributions bring the same library.
_OTHER_NAMES = {"xgboost": ("xgboost", "xgboost-cpu")}


def stage_software(*packages: str, device: str = "cpu", **settings: object) -> StageSoftware:
    """What a stage runs with.

    Args:
        *packages: Distributions that it computes with; one that is not installed is left out.
        device: Where its networks run.
        **settings: That change what it makes; those that are empty are left out.
    """
    found = {name: version for name in packages if (version := _version(name))}
    return StageSoftware(
        versions={"python": platform.python_version(), "oncoresponse": oncoresponse.__version__, **found},
        processor=_processor(),
        device=device,
        settings={name: str(value) for name, value in settings.items() if value not in ("", None)},
    )


@cache
def _version(name: str) -> str:
    for distribution in _OTHER_NAMES.get(name, (name,)):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return ""


@cache
def _processor() -> str:
    """Model name as Linux gives it (proc(5), cpuinfo); elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
