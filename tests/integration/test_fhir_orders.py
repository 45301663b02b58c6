"""A FHIR server that is asked for orders: pages, what changes, and servers that are none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from oncoresponse.edges.delivery.sending import AttemptEnded
from oncoresponse.edges.orders.fhir_orders import FhirOrderSource
from oncoresponse.rpc.order_settings import FhirOrders
from pydantic import ValidationError

from tests.integration.test_fhir_peers import OUTCOME, Peer, running

Json = dict[str, Any]
SYSTEM = "https://hospital.example/mrn"
ACSN = {"coding": [{"code": "ACSN"}]}


@pytest.fixture
def peer() -> Iterator[Peer]:
    with running() as found:
        yield found


def source_of(peer: Peer, **fields: Any) -> FhirOrderSource:
    given = {"url": f"{peer.url}/fhir", "code": ["urn:c|X"], "patient_systems": {SYSTEM: "NORTH"}, **fields}
    return FhirOrderSource("ehr", FhirOrders.model_validate(given), None)


def request(identity: str, version: str = "1", minute: int = 0, **more: Any) -> Json:
    return {
        "resourceType": "ServiceRequest",
        "id": identity,
        "meta": {"versionId": version, "lastUpdated": f"2026-11-27T10:{minute:02}:00Z"},
        "status": "active",
        "intent": "order",
        "identifier": [{"type": ACSN, "value": f"ACC-{identity}"}],
        "code": {"coding": [{"code": "X"}]},
        "subject": {"identifier": {"system": SYSTEM, "value": "7"}},
        **more,
    }


def page(*resources: Any, following: str = "") -> Json:
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": each} for each in resources]}
    return {**bundle, "link": [{"relation": "next", "url": following}]} if following else bundle


@pytest.mark.parametrize("at", ["base", "search", "another name"])
def test_all_pages_are_read(peer: Peer, at: str) -> None:
    """Servers page at their base URL or at the search; one behind a proxy may give another name of itself."""
    following = {
        "base": f"{peer.url}/fhir?_getpages=p&_getpagesoffset=100",
        "search": f"{peer.url}/fhir/ServiceRequest?_getpages=p&_getpagesoffset=100",
        "another name": "https://inside.example/r4/ServiceRequest?_getpages=p&_getpagesoffset=100",
    }[at]
    path = "GET /fhir" if at == "base" else "GET /fhir/ServiceRequest"
    peer.on("GET /fhir/ServiceRequest", 200, page(request("a"), following=following))
    peer.on(path, 200, page(request("b")))
    peer.on("GET /fhir/ServiceRequest", 200, page())
    found = source_of(peer).changed()
    assert [each.order.order_number for each in found] == ["a", "b"]
    assert [each.order.accession_number for each in found] == ["ACC-a", "ACC-b"]
    assert {(each.order.patient_id, each.order.issuer_of_patient_id) for each in found} == {("7", "NORTH")}
    assert "_getpages=p" in peer.asked[1][1] and "_getpagesoffset=100" in peer.asked[1][1]


def test_only_what_changes_is_asked_for_and_given_again(peer: Peer) -> None:
    source = source_of(peer)
    peer.on("GET /fhir/ServiceRequest", 200, page(request("a")))
    peer.on("GET /fhir/ServiceRequest", 200, page())
    peer.on("GET /fhir/ServiceRequest", 200, page(request("a"), request("b", minute=1)))
    peer.on("GET /fhir/ServiceRequest", 200, page(request("a", "2", 2, status="revoked"), request("b", minute=1)))
    assert [each.order.order_number for each in source.changed()] == ["a"]
    source.taken()
    assert [each.order.order_number for each in source.changed()] == ["b"]
    # Not kept, so it is given again.
    assert [(each.order.order_number, each.cancelled) for each in source.changed()] == [("a", True), ("b", False)]
    assert "status=active" in peer.asked[0][1] and "_lastUpdated=ge2026-11-27T09%3A59" in peer.asked[2][1]


@pytest.mark.parametrize(
    ("status", "body", "wanted"),
    [
        (401, OUTCOME, "DESTINATION_ACCESS_DENIED"),
        (503, b"", "PEER_UNAVAILABLE"),
        (404, b"", "DELIVERY_REFUSED"),
        (200, b"<html>Log in</html>", "DESTINATION_ANSWER_REFUSED"),
        (200, {"resourceType": "Bundle", "type": "searchset", "entry": [7]}, "DESTINATION_ANSWER_REFUSED"),
        (200, page(request("a"), following="https://elsewhere.example/other?x=1"), "DESTINATION_ANSWER_REFUSED"),
    ],
    ids=range(6),
)
def test_servers_that_do_not_answer_as_one_does(peer: Peer, status: int, body: Any, wanted: str) -> None:
    peer.on("GET /fhir/ServiceRequest", status, body)
    with pytest.raises(AttemptEnded) as caught:
        source_of(peer).changed()
    assert caught.value.error.reason == wanted


def test_whose_an_order_is_says_the_patient_that_it_names(peer: Peer) -> None:
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "birthDate": "1950-01-02",
        "gender": "female",
        "identifier": [{"system": "urn:x", "value": "9"}, {"system": SYSTEM, "value": "7"}],
    }
    subject = {"reference": "Patient/p"}
    elsewhere = {"reference": "https://other.example/Patient/p"}
    orders = [request("a", subject=subject), request("b", subject=elsewhere), request("c", identifier=[])]
    peer.on("GET /fhir/ServiceRequest", 200, page(*orders))
    peer.on("GET /fhir/ServiceRequest", 200, page())
    peer.on("GET /fhir/Patient/p", 200, patient)
    first, second, third = source_of(peer).changed()
    assert (first.order.patient_id, first.order.birth_date, first.order.sex) == ("7", "19500102", "F")
    assert (first.order.patient_reference, first.refused) == ("Patient/p", "")
    assert (second.order.patient_id, second.refused) == ("", "PATIENT_IDENTIFIER_MISSING")
    assert third.refused == "ACCESSION_NUMBER_MISSING"


@pytest.mark.parametrize(
    "fields", [{"code": []}, {"code": ["X"]}, {"patient_systems": {}}, {"user": "u"}, {"url": "ftp://x"}], ids=range(5)
)
def test_settings_that_cannot_be(fields: Json) -> None:
    given = {"url": "https://ehr.example/fhir", "code": ["urn:c|X"], "patient_systems": {SYSTEM: ""}}
    FhirOrders.model_validate(given)
    with pytest.raises(ValidationError):
        FhirOrders.model_validate({**given, **fields})
