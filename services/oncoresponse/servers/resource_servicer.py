"""ResourceService: the reports as FHIR resources, read and searched."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from oncoresponse.access.call import Call, current_call
from oncoresponse.access.roles import AccessRole
from oncoresponse.case.resource_search import PARAMETERS
from oncoresponse.case.subscription_status import SUBSCRIPTION, status_bundle, subscription_resource
from oncoresponse.errors import AccessDenied, ArtifactNotFound, InvalidRequest, ResourceGone, ResourceNotFound
from oncoresponse.rpc.ehr_settings import SubscriptionDestination
from oncoresponse.servers.older_reports import OlderReports
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.delivery_store import DeliveryStore
from oncoresponse.storage.resource_query import FoundResource, ResourceQuery, ResourceSearch, Viewer
from oncoresponse.storage.resource_values import bytes_at
from oncoresponse.v1 import resource_pb2, resource_pb2_grpc
from oncoresponse.workflow.assessment_message import PREFIX

_DEFAULT_PAGE_SIZE = 50


class ResourceServicer(resource_pb2_grpc.ResourceServiceServicer):
    """See ``protos/oncoresponse/v1/resource.proto``.

    Args:
        query: The index.
        artifacts: Where the bytes of a Binary are.
        older: What may be missing.
        deliveries: What subscribers were told.
        destinations: Of the settings, by name; those that are subscriptions can be read.
        judgement_first: Setting of the installation: what the model says is withheld until a physician has judged.
    """

    def __init__(
        self,
        query: ResourceQuery,
        artifacts: ArtifactStore,
        older: OlderReports,
        deliveries: DeliveryStore,
        destinations: Mapping[str, object],
        *,
        judgement_first: bool,
    ) -> None:
        self._deliveries = deliveries
        self._subscriptions = {
            name: each for name, each in destinations.items() if isinstance(each, SubscriptionDestination)
        }
        self._query = query
        self._artifacts = artifacts
        self._older = older
        self._judgement_first = judgement_first

    async def ReadResource(
        self, request: resource_pb2.ReadResourceRequest, context: grpc.aio.ServicerContext
    ) -> resource_pb2.ReadResourceResponse:
        """Read one resource."""
        call = current_call()
        call.concerns(f"{request.type}/{request.id}")
        if request.type == SUBSCRIPTION:
            return await self._subscription(call, request)
        _require_type(request.type)
        if request.status:
            raise InvalidRequest("Only a Subscription has the operation $status.")
        if call.caller.smart is not None:
            call.caller.smart.require(request.type, search=False)
        found = await asyncio.to_thread(self._query.read, self._viewer(call), request.type, request.id)
        if found is None:
            raise ResourceNotFound(f"There is no {request.type} of this id here. A search gives the ids.")
        await self._concerns([found])
        if found.deleted:
            raise ResourceGone(f"The {request.type} of this id went with a report that was withdrawn.")
        if request.version not in (0, found.version):
            raise ResourceNotFound(
                f"Only the newest version is kept here, which is {found.version}. Read it without a version."
            )
        data = await asyncio.to_thread(self._data, found) if found.source is not None else None
        return resource_pb2.ReadResourceResponse(resource=_message(found, data))

    async def _subscription(
        self, call: Call, request: resource_pb2.ReadResourceRequest
    ) -> resource_pb2.ReadResourceResponse:
        """One of the settings, or how it stands. It is of the whole installation."""
        smart = call.caller.smart
        if smart is not None:
            smart.require(SUBSCRIPTION, search=False)
            if smart.patient is not None:
                raise AccessDenied("The token is for one patient (scope patient/...), and a Subscription is of nobody.")
        destination = self._subscriptions.get(request.id)
        if destination is None or call.tenant or request.version:
            raise ResourceNotFound("There is no Subscription of this id here, or not in this version.")
        told = await asyncio.to_thread(self._deliveries.told, request.id)
        made = subscription_resource(request.id, destination.url, destination.topic, failing=told.failing)
        if request.status:
            made = status_bundle(request.id, destination.fhir_url, destination.topic, told.count, failing=told.failing)
        content = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()
        return resource_pb2.ReadResourceResponse(
            resource=resource_pb2.Resource(type=made["resourceType"], id=request.id, content=content)
        )

    async def SearchResources(
        self, request: resource_pb2.SearchResourcesRequest, context: grpc.aio.ServicerContext
    ) -> resource_pb2.SearchResourcesResponse:
        """Find resources of one type."""
        call = current_call()
        _require_type(request.type)
        if call.caller.smart is not None:
            call.caller.smart.require(request.type, search=True)
        wanted = ResourceSearch(
            request.type,
            tuple((each.parameter, each.value) for each in request.criteria),
            request.sort,
            tuple(request.includes),
            tuple(request.reverse_includes),
            request.count_all or request.count_only,
        )
        size = 0 if request.count_only else request.page_size or _DEFAULT_PAGE_SIZE
        page = await asyncio.to_thread(self._query.search, self._viewer(call), wanted, size, request.page_token)
        if request.strict and page.ignored:
            raise InvalidRequest(
                f"Not known for {request.type}: {', '.join(map(_shown, page.ignored))}. The metadata list what is."
            )
        await self._concerns([*page.matches, *page.included])
        answer = resource_pb2.SearchResourcesResponse(
            matches=map(_message, page.matches),
            included=map(_message, page.included),
            next_page_token=page.next_token,
            ignored_parameters=map(_shown, page.ignored),
            included_incomplete=page.cut,
            index_incomplete=self._older.waiting,
        )
        if page.total is not None:
            answer.total = page.total
        return answer

    def _viewer(self, call: Call) -> Viewer:
        caller, smart = call.caller, call.caller.smart
        return Viewer(
            tenant=call.tenant,
            patient=None if smart is None else smart.patient,
            types=None if smart is None else smart.types(),
            judgement_first=self._judgement_first and not call.emergency_reason,
            judge=caller.name if AccessRole.SIGN in caller.roles else "",
        )

    def _data(self, found: FoundResource) -> str:
        if found.source is None:
            return ""
        try:
            return bytes_at(self._artifacts.read_bytes(found.source), found.place)
        except (ValueError, LookupError) as error:
            raise ArtifactNotFound("The report does not hold the bytes of this Binary.") from error

    async def _concerns(self, found: Iterable[FoundResource]) -> None:
        seen = list(found)
        assessments, patients = await asyncio.to_thread(self._query.patients_of, seen)
        names = (f"{each.resource_type}/{each.id}" for each in seen)
        current_call().concerns(*(PREFIX + each for each in assessments), *names, patients=patients)


def _require_type(kind: str) -> None:
    if kind not in PARAMETERS:
        raise ResourceNotFound(f"No resources of this type are served here, but {', '.join(PARAMETERS)}.")


def _shown(parameter: str) -> str:
    """A name that a caller sent, as far as it can be one."""
    name = parameter.partition("=")
    known = all(letter.isascii() and (letter.isalnum() or letter in "_-:.") for letter in name[0])
    return name[0] if known and len(name[0]) <= 80 else "a parameter with another name than parameters have"


def _message(found: FoundResource, data: str | None = None) -> resource_pb2.Resource:
    stamp = Timestamp()
    stamp.FromMilliseconds(found.last_updated_ms)
    updated = datetime.fromtimestamp(found.last_updated_ms / 1000, UTC)
    resource = json.loads(found.content)
    resource["meta"] = {
        "versionId": str(found.version),
        "lastUpdated": updated.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **resource["meta"],
    }
    if data is not None:
        resource["data"] = data
    return resource_pb2.Resource(
        type=found.resource_type,
        id=found.id,
        version=found.version,
        last_updated=stamp,
        content=json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode(),
    )
