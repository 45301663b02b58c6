"""Sends to a FHIR R4 server: the report Bundle, the Bundle of IHE IMR, or a DocumentReference with the PDF."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from oncoresponse.edges.delivery.document_push import later_version, send_document
from oncoresponse.edges.delivery.document_reference import report_of
from oncoresponse.edges.delivery.fhir_client import FhirClient
from oncoresponse.edges.delivery.fhir_patient import find_patient, subject_of, with_patient
from oncoresponse.edges.delivery.http_exchange import Answer, Json, no_evidence, require_success
from oncoresponse.edges.delivery.sending import AttemptEnded, FileOutcome, Outcome, Parcel
from oncoresponse.edges.delivery.smart_login import SmartLogin
from oncoresponse.edges.delivery.study_of_server import require_unchanged, with_study_of_server
from oncoresponse.errors import DeliveryRefused, OncoResponseError
from oncoresponse.rpc.ehr_settings import FhirDestination
from oncoresponse.v1 import delivery_pb2

BUNDLE, IMR_BUNDLE, PDF = "report.json", "imr-bundle.fhir.json", "report.pdf"
"""File names of artifacts."""
_FILES: Mapping[str, tuple[str, ...]] = {
    "transaction": (BUNDLE,),
    "imr": (IMR_BUNDLE,),
    "document": (BUNDLE, PDF),
}
_TRANSACTION, _REPORT_SEARCH = "the transaction", "its search for the report"
# Below the base of local codes, which a site may set.
_VERSION_SYSTEM = "/NamingSystem/report-version"
# R4 Bundle.entry.response.location: relative or absolute, with the version or without.
_LOCATION = re.compile(r"(?:^|/)(DiagnosticReport/[A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?$")


class FhirSender:
    """See :class:`~oncoresponse.edges.delivery.sending.DeliverySender`.

    Args:
        destination: Where to, and in which form.
        smart: Tokens of the destination; ``None`` where it has no such login.
    """

    def __init__(self, destination: FhirDestination, smart: SmartLogin | None) -> None:
        self._destination = destination
        self._smart = smart

    def takes(self, file: delivery_pb2.DeliveryFile) -> bool:
        """What the form is made of."""
        return file.file_name in _FILES[self._destination.form]

    def send(self, delivery: delivery_pb2.Delivery, parcels: Sequence[Parcel]) -> Outcome:
        """Send it as a whole: a server that has it already is told again, and nothing changes there."""
        held = {parcel.file_name: parcel for parcel in parcels}
        if not held or all(parcel.stored for parcel in parcels):
            return Outcome({name: FileOutcome(stored=True) for name in held})
        try:
            with FhirClient(self._destination, self._smart) as client:
                if self._destination.form == "document":
                    receipt = self._document(client, delivery, held)
                else:
                    (parcel,) = parcels
                    bundle = read_bundle(parcel.data)
                    if self._destination.form == "transaction":
                        _require_no_later(client, bundle)
                    receipt = self._transaction(client, bundle)
        except AttemptEnded as ended:
            return ended.outcome()
        except OncoResponseError as error:
            return Outcome({}, error)
        return Outcome({name: FileOutcome(stored=True) for name in held}, receipt=receipt)

    def _document(
        self, client: FhirClient, delivery: delivery_pb2.Delivery, held: Mapping[str, Parcel]
    ) -> Mapping[str, str]:
        if set(held) != {BUNDLE, PDF}:
            raise AttemptEnded(DeliveryRefused("This version of the report has no page to send."), permanent=True)
        bundle = read_bundle(held[BUNDLE].data)
        return send_document(client, delivery, bundle, held[PDF].data, self._destination)

    def _transaction(self, client: FhirClient, bundle: Json) -> Mapping[str, str]:
        patient = ""
        if self._destination.patient == "search":
            subject = subject_of(bundle)
            patient = find_patient(client, subject, self._destination)
            bundle = with_patient(bundle, subject, patient)
        if self._destination.form == "transaction":
            # The Bundle of IMR stays as its profile has it.
            bundle = with_study_of_server(client, bundle, patient)
        answer = client.call("POST", resource=bundle, headers={"Prefer": "return=minimal"})
        require_unchanged(answer, bundle)
        require_success(answer, _TRANSACTION)
        return _receipt(answer, len(bundle["entry"]))


def read_bundle(data: bytes) -> Json:
    """A Bundle of the report.

    Raises:
        AttemptEnded: It is none.
    """
    try:
        bundle = json.loads(data)
        is_bundle = bundle["resourceType"] == "Bundle" and bool(bundle["entry"])
    except (ValueError, KeyError, TypeError):
        is_bundle = False
    if not is_bundle:
        raise AttemptEnded(DeliveryRefused("The artifact is no Bundle, so it is not sent."), permanent=True)
    return dict(bundle)


def _require_no_later(client: FhirClient, bundle: Json) -> None:
    """Raises AttemptEnded where the server has a later version of the report: an operator resends an earlier one.

    A later version updates resources; the first one only creates what is not there, so nobody has to ask for it.
    """
    report = report_of(bundle)
    version = _version_of(report)
    identifiers = report.get("identifier", [])
    if version is None or not identifiers:
        return
    query = f"{identifiers[0]['system']}|{identifiers[0]['value']}"
    answer = client.call("GET", "DiagnosticReport", parameters={"identifier": query})
    require_success(answer, _REPORT_SEARCH)
    try:
        found = [entry["resource"] for entry in answer.document.get("entry", [])]
        later = [each for each in found if identifiers[0] in each["identifier"] and (_version_of(each) or 0) > version]
    except (AttributeError, KeyError, TypeError):
        raise no_evidence(_REPORT_SEARCH) from None
    if later:
        raise later_version()


def _version_of(report: Json) -> int | None:
    """Number of the version, from its tag; ``None`` where it has none: the first."""
    for tag in report.get("meta", {}).get("tag", []):
        code = str(tag.get("code", ""))
        if str(tag.get("system", "")).endswith(_VERSION_SYSTEM) and code.isascii() and code.isdigit():
            return int(code)
    return None


def _receipt(answer: Answer, count: int) -> Mapping[str, str]:
    """Where the report is, by an answer that says of each entry that it is there.

    Raises:
        AttemptEnded: It does not.
    """
    document = answer.document
    entries = document.get("entry")
    if document.get("resourceType") != "Bundle" or document.get("type") != "transaction-response":
        raise no_evidence(_TRANSACTION)
    if not isinstance(entries, list) or len(entries) != count:
        raise no_evidence(_TRANSACTION)
    receipt = {}
    for entry in entries:
        response = entry.get("response") if isinstance(entry, dict) else None
        status = response.get("status") if isinstance(response, dict) else None
        if not isinstance(response, dict) or not isinstance(status, str) or not status.startswith(("200", "201")):
            raise no_evidence(_TRANSACTION)
        location = response.get("location")
        if isinstance(location, str) and (found := _LOCATION.search(location)):
            receipt["DiagnosticReport"] = found[1]
    return receipt
