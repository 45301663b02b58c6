"""Page tokens (AIP-158) of lists that go from new to old: the time and the name of the last row of a page.

Nothing of a filter is in a token, because a filter may name a patient; the caller repeats it with each page.
"""

from __future__ import annotations

import base64
import binascii
import re

from oncoresponse.errors import InvalidRequest

_PATTERN = re.compile(r"(\d{1,19})/([a-z0-9-]{1,63})")
_AFTER_ALL = 2**63 - 1


def token_of_row(time: int, row_id: str) -> str:
    """Token of the page that follows a row."""
    return base64.urlsafe_b64encode(f"{time}/{row_id}".encode()).decode()


def position_of_token(page_token: str) -> tuple[int, str]:
    """Time and name of the last row before the page; after every row for an empty token.

    Raises:
        InvalidRequest: The token is malformed.
    """
    if not page_token:
        return _AFTER_ALL, ""
    try:
        text = base64.b64decode(page_token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise InvalidRequest("page_token is not one that this service gave. Start again without it.")
    return min(int(match[1]), _AFTER_ALL), match[2]
