"""Creates, replaces and withdraws the DocumentReference of a report at a FHIR server."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from oncoresponse.edges.delivery.document_reference import (
    URI,
    document_identifier,
    document_reference,
    superseded,
    withdrawn,
)
from oncoresponse.edges.delivery.fhir_client import FhirClient
from oncoresponse.edges.delivery.fhir_patient import find_patient, subject_of
from oncoresponse.edges.delivery.http_exchange import RESOURCE_ID, Json, no_evidence, require_success, resources_found
from oncoresponse.edges.delivery.sending import AttemptEnded
from oncoresponse.errors import DeliveryRefused
from oncoresponse.rpc.ehr_settings import FhirDestination
from oncoresponse.v1 import delivery_pb2

_CREATE, _SEARCH, _UPDATE = "the document", "its search for documents", "the update of a document"
_LOCATION = re.compile(r"(?:^|/)(DocumentReference/[A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?$")
_CHANGED_MEANWHILE = 412
# How many versions ahead are looked for.
_LATER_VERSIONS = 9


def send_document(
    client: FhirClient, delivery: delivery_pb2.Delivery, bundle: Json, pdf: bytes, destination: FhirDestination
) -> Mapping[str, str]:
    """Bring one version to the server; a repeat changes nothing.

    A withdrawn version creates no document: those before it become ``entered-in-error``, whoever's patient they are.

    Args:
        client: Of the destination.
        delivery: Says assessment and version.
        bundle, pdf: Of the version.
        destination: Settings.

    Returns:
        The receipt.

    Raises:
        AttemptEnded: The server does not take it, or does not say that it does.
    """
    own = delivery.report_version
    numbers = {
        document_identifier(delivery.assessment, number)["value"]: number
        for number in range(1, own + _LATER_VERSIONS + 1)
        if number != own
    }
    found = _found(client, list(numbers))
    if any(numbers[value] > own for value in found):
        raise later_version()
    before = [found[value] for value in sorted(found, key=lambda value: -numbers[value])]
    if delivery.event == delivery_pb2.DELIVERY_EVENT_WITHDRAWN:
        for document in before:
            if document.get("status") != "entered-in-error":
                _update(client, document, withdrawn(document, pdf))
        return {}
    subject = subject_of(bundle)
    if destination.patient == "search":
        subject = {**subject, "type": "Patient", "reference": find_patient(client, subject, destination)}
    identifier = document_identifier(delivery.assessment, delivery.report_version)
    replaced = [f"DocumentReference/{each['id']}" for each in before[:1]]
    made = document_reference(bundle, pdf, identifier, subject, replaced)
    receipt = _create(client, made, identifier)
    if destination.supersede:
        for document in before:
            if document.get("status") == "current":
                _update(client, document, superseded(document))
    return receipt


def later_version() -> AttemptEnded:
    """The server has a later version than the one that is to be sent: an operator resends an earlier one."""
    return AttemptEnded(
        DeliveryRefused(
            "The destination has a later version of the report, which this one would undo. Drop this delivery."
        ),
        permanent=True,
    )


def _create(client: FhirClient, document: Json, identifier: Json) -> Mapping[str, str]:
    """Conditional create (R4 RESTful API 3.1.0.8.1): 201, or 200 where it is there already."""
    query = f"identifier={identifier['system']}|{identifier['value']}"
    answer = client.call("POST", "DocumentReference", document, headers={"If-None-Exist": query})
    require_success(answer, _CREATE)
    location = answer.headers.get("Location", "") or answer.headers.get("Content-Location", "")
    if found := _LOCATION.search(location):
        return {"DocumentReference": found[1]}
    created = answer.document
    if created.get("resourceType") == "DocumentReference" and RESOURCE_ID.fullmatch(str(created.get("id", ""))):
        return {"DocumentReference": f"DocumentReference/{created['id']}"}
    # A proxy or a log-in page answers with 200, too: it is there where it is found.
    there = _found(client, [identifier["value"]]).get(identifier["value"])
    if there is None:
        raise no_evidence(_CREATE)
    return {"DocumentReference": f"DocumentReference/{there['id']}"}


def _found(client: FhirClient, values: Sequence[str]) -> dict[str, Json]:
    """Documents by the value of their identifier."""
    query = ",".join(f"{URI}|{each}" for each in values)
    answer = client.call("GET", "DocumentReference", parameters={"identifier": query, "_count": "100"})
    require_success(answer, _SEARCH)
    found: dict[str, Json] = {}
    try:
        for resource in resources_found(answer, _SEARCH):
            if resource["resourceType"] != "DocumentReference" or not RESOURCE_ID.fullmatch(resource["id"]):
                continue
            found |= {each["value"]: resource for each in resource["identifier"] if each.get("value") in values}
    except (AttributeError, KeyError, TypeError):
        raise no_evidence(_SEARCH) from None
    return found


def _update(client: FhirClient, before: Json, after: Json) -> None:
    """Update what nobody changed meanwhile (If-Match); a server without versions gets it as it is."""
    version = before.get("meta", {}).get("versionId")
    headers = {"If-Match": f'W/"{version}"'} if version else {}
    answer = client.call("PUT", f"DocumentReference/{before['id']}", after, headers=headers)
    if answer.status == _CHANGED_MEANWHILE:
        raise AttemptEnded(
            DeliveryRefused("The document was changed there meanwhile; it is tried again.", http_status=412)
        )
    require_success(answer, _UPDATE)
