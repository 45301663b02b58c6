"""Which of several lesions an error is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from oncoresponse.errors import OncoResponseError


@contextmanager
def about_lesion(number: int, count: int) -> Iterator[None]:
    """Errors inside say the number of the lesion, in the message and as metadata ``lesion``, where there are several.

    Args:
        number: From 1, in the order of the request.
        count: How many lesions there are.
    """
    try:
        yield
    except OncoResponseError as error:
        if count == 1:
            raise
        named = {**error.metadata, "lesion": number}
        raise type(error)(f"Lesion {number}: {error.message}", **named) from error
