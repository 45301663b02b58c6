"""The parameters of a search in its URL, and the links of its pages (R4 section 3.1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from oncoresponse.errors import InvalidRequest
from oncoresponse.v1 import resource_pb2

PAGE = "_page"
"""Parameter of our own in the links to further pages."""
_LARGEST_PAGE = 500
_JSON = ("json", "application/json", "application/fhir+json", "text/json")
_TOTALS = ("none", "estimate", "accurate")


@dataclass(frozen=True)
class SearchUrl:
    """A search.

    Attributes:
        request: To the service.
        parameters: As they came, those alone that a link repeats.
    """

    request: resource_pb2.SearchResourcesRequest
    parameters: tuple[tuple[str, str], ...]

    def link(self, base: str, ignored: Sequence[str], page_token: str = "") -> str:
        """URL of the search as it was understood, or of another page of it."""
        kept = [each for each in self.parameters if each[0] not in ignored]
        if page_token:
            kept.append((PAGE, page_token))
        query = f"?{urlencode(kept, safe='|,:/')}" if kept else ""
        return f"{base}/{self.request.type}{query}"


def takes_json(value: str) -> bool:
    """Whether a value of ``_format`` is one that is served."""
    # In a URL a plus sign that was not encoded is a blank.
    return value.split(";")[0].strip().lower().replace(" ", "+") in _JSON


def search_of(kind: str, parameters: Sequence[tuple[str, str]], *, strict: bool) -> SearchUrl:
    """The search that the parameters ask for.

    Args:
        kind: Type of resource.
        parameters: Decoded, in their order.
        strict: What is not known is refused.

    Raises:
        InvalidRequest: One of those that are about the answer cannot be understood.
    """
    request = resource_pb2.SearchResourcesRequest(type=kind, strict=strict)
    kept = []
    for name, value in parameters:
        plain, _, modifier = name.partition(":")
        if name == PAGE:
            request.page_token = value
            continue
        if name in ("_format", "_pretty"):
            continue
        kept.append((name, value))
        if name == "_count":
            if not value.isascii() or not value.isdigit():
                raise InvalidRequest("_count is a number of resources on a page.")
            request.page_size = min(int(value[:9]), _LARGEST_PAGE)
            request.count_only = request.page_size == 0
        elif name == "_sort":
            request.sort = value
        elif plain in ("_include", "_revinclude") and modifier in ("", "iterate", "recurse"):
            clause = value if not modifier else f"iterate:{value}"
            (request.includes if plain == "_include" else request.reverse_includes).append(clause)
        elif name == "_total":
            if value not in _TOTALS:
                raise InvalidRequest(f"_total is one of {', '.join(_TOTALS)}.")
            request.count_all = value == "accurate"
        elif name == "_summary" and value in ("count", "false"):
            request.count_only = request.count_only or value == "count"
        else:
            request.criteria.add(parameter=name, value=value)
    return SearchUrl(request, tuple(kept))
