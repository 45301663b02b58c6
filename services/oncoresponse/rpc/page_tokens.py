"""Page tokens (AIP-158): opaque to callers, an offset to us."""

from __future__ import annotations

import base64
import binascii

from oncoresponse.errors import InvalidRequest


def token_from_offset(offset: int | None) -> str:
    """Token of the page that starts at ``offset``; empty when there is none."""
    return "" if offset is None else base64.urlsafe_b64encode(str(offset).encode()).decode()


def offset_from_token(token: str) -> int:
    """Inverse of :func:`token_from_offset`.

    Raises:
        InvalidRequest: The token is none of ours.
    """
    if not token:
        return 0
    try:
        offset = int(base64.urlsafe_b64decode(token.encode()).decode())
    except (ValueError, binascii.Error):
        offset = -1
    if offset < 0:
        raise InvalidRequest("page_token is not one that this service gave. Start again without it.")
    return offset
