"""Orders of a FHIR R4 server: its ServiceRequests, read page by page. Blocks; no call of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

from oncoresponse.edges.delivery.fhir_client import FhirClient
from oncoresponse.edges.delivery.http_exchange import RESOURCE_ID, Json, no_evidence, require_success, resources_found
from oncoresponse.edges.delivery.smart_login import SmartLogin
from oncoresponse.rpc.order_settings import FhirOrders
from oncoresponse.v1 import order_pb2

ACCESSION_MISSING, PATIENT_MISSING = "ACCESSION_NUMBER_MISSING", "PATIENT_IDENTIFIER_MISSING"
"""Why an order is refused that can never have a study."""
_SEARCH, _PATIENT = "its search for orders", "a read of the patient of an order"
_INTENTS = ("order", "original-order", "reflex-order", "filler-order", "instance-order")
_CANCELLED = ("revoked", "entered-in-error")
_SEXES = {"male": "M", "female": "F", "other": "O"}
_PAGE, _MOST_PAGES = 100, 200
# Orders that were cancelled longer ago than this are not asked for at the first time.
_FIRST_CANCELLED = timedelta(days=30)
# Servers stamp a resource before others see it.
_OVERLAP = timedelta(seconds=60)


@dataclass(frozen=True)
class CameOrder:
    """An order as the server has it now.

    Attributes:
        order: What is kept of it.
        cancelled: It is revoked, or was entered in error.
        refused: Reason code where it can have no study; empty otherwise.
    """

    order: order_pb2.Order
    cancelled: bool = False
    refused: str = ""


@dataclass
class FhirOrderSource:
    """One server, asked again and again for what has changed since.

    Attributes:
        name: In the settings.
        settings: Of it.
        smart: Tokens, where it has such a login.
    """

    name: str
    settings: FhirOrders
    smart: SmartLogin | None
    _since: datetime | None = None
    _seen: dict[str, str] = field(default_factory=dict)
    _found: list[Json] = field(default_factory=list)

    def changed(self) -> list[CameOrder]:
        """Orders that are new or have changed; :meth:`taken` says that they are dealt with.

        Raises:
            AttemptEnded: The server does not answer as a FHIR server does.
            ConfigurationError: A file with a secret cannot be used.
        """
        with FhirClient(self.settings, self.smart, setting="fhir_orders", requests_at_most=10 * _MOST_PAGES) as client:
            base = self.settings.url.rstrip("/")
            found = [each for query in self._queries() for each in _pages(client, base, query)]
            made = []
            for each in found:
                version = _version(each)
                if version and self._seen.get(str(each["id"])) == version:
                    continue
                came = self._came(client, each)
                if came is not None:
                    made.append(came)
            self._found = found
        return made

    def taken(self) -> None:
        """What :meth:`changed` gave is kept: only what changes from now on is asked for."""
        times = [time for each in self._found if (time := _time(each)) is not None]
        # Of what is asked for again, because the times overlap.
        self._seen = {str(each["id"]): _version(each) for each in self._found}
        if times:
            self._since = max([*times, *([self._since] if self._since else [])])

    def _queries(self) -> list[dict[str, str]]:
        code = ",".join(self.settings.code)
        every = {"code": code, "_count": str(_PAGE)}
        if self._since is not None:
            return [{**every, "_lastUpdated": f"ge{_text(self._since - _OVERLAP)}"}]
        cancelled = _text(datetime.now(UTC) - _FIRST_CANCELLED)
        return [
            {**every, "status": "active"},
            {**every, "status": ",".join(_CANCELLED), "_lastUpdated": f"ge{cancelled}"},
        ]

    def _came(self, client: FhirClient, request: Json) -> CameOrder | None:
        """``None`` where it asks for nothing."""
        status = request.get("status")
        if request.get("doNotPerform") or request.get("intent") not in _INTENTS:
            return None
        if status not in ("active", *_CANCELLED):
            return None
        order = order_pb2.Order(
            source=f"fhir:{self.name}"[:120],
            order_number=request["id"],
            accession_number=_accession(request, self.settings.accession_system)[:64],
            codes=_codes(request),
            service_request_reference=f"ServiceRequest/{request['id']}",
            encounter_reference=_local(request.get("encounter"), "Encounter"),
            tenant=self.settings.tenant,
        )
        if status in _CANCELLED:
            return CameOrder(order, cancelled=True)
        refused = "" if order.accession_number else ACCESSION_MISSING
        if not self._identify(client, order, request.get("subject", {})):
            refused = refused or PATIENT_MISSING
        return CameOrder(order, refused=refused)

    def _identify(self, client: FhirClient, order: order_pb2.Order, subject: Json) -> bool:
        """Note whose the order is; whether that is known. Names are never looked at."""
        reference = _local(subject, "Patient")
        if not reference:
            return self._identified(order, [subject.get("identifier", {})])
        answer = client.call("GET", reference)
        require_success(answer, _PATIENT)
        patient = answer.document
        if patient.get("resourceType") != "Patient" or f"Patient/{patient.get('id')}" != reference:
            raise no_evidence(_PATIENT)
        order.patient_reference = reference
        birth_date = str(patient.get("birthDate", "")).replace("-", "")
        order.birth_date = birth_date if re.fullmatch("[0-9]{8}", birth_date) else ""
        order.sex = _SEXES.get(str(patient.get("gender", "")), "")
        return self._identified(order, patient.get("identifier", []))

    def _identified(self, order: order_pb2.Order, identifiers: Sequence[Json]) -> bool:
        for system, issuer in self.settings.patient_systems.items():
            for each in identifiers:
                value = str(each.get("value", ""))
                if each.get("system") == system and 0 < len(value) <= 64:
                    order.patient_id, order.issuer_of_patient_id = value, issuer
                    return True
        return False


def _next(base: str, link: str) -> tuple[str, dict[str, str]]:
    """Path and query of the next page: asked of the server in the settings, with its login, and of no other.

    The link is below its base URL, or names the same search by another name of the server.
    """
    parts = urlsplit(link)
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    below = link.partition("?")[0].removeprefix(base)
    if below != link.partition("?")[0]:
        return below.strip("/"), parameters
    if not parts.path.endswith("/ServiceRequest"):
        raise no_evidence(_SEARCH)
    return "ServiceRequest", parameters


def _pages(client: FhirClient, base: str, query: Mapping[str, str]) -> Iterator[Json]:
    """ServiceRequests of a search, over all of its pages."""
    path, parameters = "ServiceRequest", query
    for _ in range(_MOST_PAGES):
        answer = client.call("GET", path, parameters=parameters)
        require_success(answer, _SEARCH)
        try:
            for resource in resources_found(answer, _SEARCH):
                if resource["resourceType"] == "ServiceRequest" and RESOURCE_ID.fullmatch(resource["id"]):
                    yield resource
            links = {each["relation"]: each["url"] for each in answer.document.get("link", [])}
        except (AttributeError, KeyError, TypeError):
            raise no_evidence(_SEARCH) from None
        if "next" not in links:
            return
        path, parameters = _next(base, str(links["next"]))
    raise no_evidence(_SEARCH)


def _accession(request: Json, system: str) -> str:
    for each in request.get("identifier", []):
        codes = {coding.get("code") for coding in each.get("type", {}).get("coding", [])}
        if (each.get("system") == system) if system else ("ACSN" in codes):
            return str(each.get("value", "")).strip()
    return ""


def _codes(request: Json) -> list[str]:
    found = (str(coding.get("code", ""))[:64] for coding in request.get("code", {}).get("coding", []))
    return list(dict.fromkeys(filter(None, found)))[:20]


def _local(reference: Json | None, kind: str) -> str:
    """``KIND/ID`` of a reference to the same server; empty for another, and for none."""
    text = str((reference or {}).get("reference", ""))
    found, _, identity = text.partition("/")
    return text if found == kind and RESOURCE_ID.fullmatch(identity) else ""


def _version(resource: Json) -> str:
    return str(resource.get("meta", {}).get("versionId", ""))


def _time(resource: Json) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(resource.get("meta", {}).get("lastUpdated", "")))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
