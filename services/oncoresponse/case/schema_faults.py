"""What is wrong in a file that a person wrote, in words for that person."""

from __future__ import annotations

from pydantic import ValidationError


def schema_faults(error: Exception) -> str:
    """Fields and faults in one line, without the values that were read; the text of an error of another kind."""
    if not isinstance(error, ValidationError):
        return str(error)
    faults = [
        (".".join(map(str, item["loc"])), item["msg"].removeprefix("Value error, "))
        for item in error.errors(include_url=False, include_input=False)
    ]
    return "; ".join(f"{field}: {fault}" if field else fault for field, fault in faults)
