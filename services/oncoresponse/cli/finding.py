"""What ``oncoresponse doctor`` found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``ok`` is None for a remark that is neither good nor bad."""

    subject: str
    ok: bool | None
    text: str
