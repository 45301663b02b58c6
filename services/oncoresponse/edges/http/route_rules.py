"""The one table of routes: which calls of the front door each makes, and so who may use it.

Who the caller is and what the caller may do is decided by the front door: it says so with the first of these calls, or,
for a route that takes in uploads, before a byte of the body is read. A test walks every cell of this table, and fails
for a route that has no line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from oncoresponse.access.roles import AccessRole
from oncoresponse.access.rpc_rules import RPC_RULES

_V1 = "oncoresponse.v1."


@dataclass(frozen=True)
class RouteRule:
    """Of one route.

    Attributes:
        rpcs: What the route calls for its caller, each time; empty for a route that is open to everybody.
        is_upload: Whether the body may be as large as an upload.
        seconds: How long a request may take, where that is not for the settings of the server to say: what computes.
        own_login: Whether callers show a signed token of their own kind, and no access role opens it.
    """

    rpcs: tuple[str, ...]
    is_upload: bool = False
    own_login: bool = False
    seconds: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether everybody may use it."""
        return not self.rpcs

    @property
    def roles(self) -> frozenset[AccessRole]:
        """A caller with any of these may use it."""
        return frozenset.intersection(*(RPC_RULES[rpc].roles for rpc in self.rpcs)) if self.rpcs else frozenset()


_STORE = RouteRule(
    (f"{_V1}StudyService/CreateStudy", f"{_V1}StudyService/UploadInstances", f"{_V1}StudyService/ListInstances"),
    is_upload=True,
)
_READ_RESOURCE = RouteRule((f"{_V1}ResourceService/ReadResource",))
_SEARCH_RESOURCES = RouteRule((f"{_V1}ResourceService/SearchResources",))

ROUTE_RULES: Mapping[tuple[str, str], RouteRule] = MappingProxyType(
    {
        ("GET", "/livez"): RouteRule(()),
        ("GET", "/cds-services"): RouteRule((f"{_V1}CardService/CheckCardClient",), own_login=True),
        ("POST", "/cds-services/{service}"): RouteRule((f"{_V1}CardService/GetCards",), own_login=True),
        ("POST", "/cds-services/{service}/feedback"): RouteRule(
            (f"{_V1}CardService/RecordCardFeedback",), own_login=True
        ),
        ("GET", "/readyz"): RouteRule(()),
        ("GET", "/metrics"): RouteRule((f"{_V1}OperationsService/GetMetrics",), seconds=60.0),
        ("POST", "/dicom-web/studies"): _STORE,
        ("POST", "/dicom-web/studies/{study}"): _STORE,
        # FHIR, read-only. What has a name of its own comes before what has any.
        ("GET", "/fhir/metadata"): RouteRule(()),
        ("GET", "/fhir/.well-known/smart-configuration"): RouteRule(()),
        ("GET", "/.well-known/smart-configuration"): RouteRule(()),
        ("POST", "/fhir/{type}/_search"): _SEARCH_RESOURCES,
        ("GET", "/fhir/{type}"): _SEARCH_RESOURCES,
        ("GET", "/fhir/Subscription/{id}/$status"): _READ_RESOURCE,
        ("GET", "/fhir/{type}/{id}"): _READ_RESOURCE,
        ("GET", "/fhir/{type}/{id}/_history/{version}"): _READ_RESOURCE,
    }
)
"""By method and path. What is not here, is not served."""
