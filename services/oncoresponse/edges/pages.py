"""Lists of the front door, page after page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any


async def pages(method: Callable[..., Awaitable[Any]], request: Any, call: Mapping[str, Any]) -> AsyncIterator[Any]:
    """Each answer of a method that lists, until the last page.

    Args:
        method: Of a stub.
        request: With ``page_token``, which is changed.
        call: Metadata and timeout of each call.

    Raises:
        grpc.RpcError: The front door does not answer so.
    """
    while True:
        page = await method(request, **call)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
