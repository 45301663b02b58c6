"""Which of several lesions an error is about, and errors that both the headers and the images of a study may show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from oncoresponse.errors import ContourNotFound, InvalidRequest, OncoResponseError


def no_network() -> ContourNotFound:
    """Of a lesion without a contour, where the model has no network."""
    return ContourNotFound(
        "This model has no network that finds the tumor. Contour it (RTSTRUCT or DICOM SEG), send the contour with the "
        "study, and ask for it in the request (contour; --contour on the command line)."
    )


def outside_image() -> InvalidRequest:
    """Of a point, or a box whose middle, lies outside the image that is segmented."""
    return InvalidRequest(
        "The lesion prompt lies outside the image. Give positions in patient coordinates of this study (LPS, mm)."
    )


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
