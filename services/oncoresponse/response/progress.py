"""How a long computation tells the person who waits how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called with a stage's name and the share of it that is done, 0 to 1."""


def no_progress(_stage: str, _fraction: float) -> None:
    """Report progress to nobody."""
