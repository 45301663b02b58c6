"""The ImagingStudy that a FHIR server has of a report's study, and what is sent for it."""

from __future__ import annotations

from oncoresponse.edges.delivery.fhir_client import FhirClient
from oncoresponse.edges.delivery.held_study import study_query, with_held_study
from oncoresponse.edges.delivery.http_exchange import Answer, Json, no_evidence, require_success, resources_found
from oncoresponse.edges.delivery.sending import AttemptEnded
from oncoresponse.errors import DeliveryRefused, PatientNotFoundAtDestination

_SEARCH = "its search for the imaging study"
# The server has no such search, or none for this client: the study it may have is left as it is.
_NOT_OFFERED = (400, 403, 404, 405, 501)
_CHANGED_MEANWHILE = 412


def with_study_of_server(client: FhirClient, bundle: Json, patient: str) -> Json:
    """The transaction, in which the study that the server has is updated by the series that it lacks.

    Args:
        client: Of the destination.
        bundle: Of the report, its references to the patient resolved.
        patient: ``Patient/ID`` whose report it is; empty where that is not known.

    Raises:
        AttemptEnded: The study there is that of another patient: the delivery is held. Or the server does not answer.
    """
    query = study_query(bundle)
    if not query:
        return bundle
    answer = client.call("GET", query)
    if answer.status in _NOT_OFFERED:
        return bundle
    require_success(answer, _SEARCH)
    found = _studies(answer, query.partition("=")[2])
    # Which of several is meant nobody knows; the server refuses the transaction, and says so.
    if len(found) != 1:
        return bundle
    whose = _patient_of(found[0])
    if patient and whose and whose != patient:
        raise AttemptEnded(
            PatientNotFoundAtDestination(
                "The destination has the imaging study as that of another patient. Nothing was sent; correct whose it "
                "is, there or here, then resend."
            ),
            hold=True,
        )
    return with_held_study(bundle, found[0])


def require_unchanged(answer: Answer, bundle: Json) -> None:
    """Where the transaction updates what was read before, a refusal for a change in between is tried again.

    Raises:
        AttemptEnded: Somebody changed it (R4 RESTful API 3.1.0.5, managing resource contention).
    """
    if answer.status == _CHANGED_MEANWHILE and any("ifMatch" in entry.get("request", {}) for entry in bundle["entry"]):
        raise AttemptEnded(
            DeliveryRefused(
                "The imaging study was changed at the destination meanwhile, or several resources there have the same "
                "identifier. It is tried again.",
                http_status=answer.status,
            )
        )


def _studies(answer: Answer, token: str) -> list[Json]:
    """Those of the identifier: a server that does not know the parameter may answer with all of them."""
    try:
        return [
            each
            for each in resources_found(answer, _SEARCH)
            if each["resourceType"] == "ImagingStudy"
            and token in {f"{known.get('system', '')}|{known.get('value', '')}" for known in each.get("identifier", [])}
        ]
    except (AttributeError, KeyError, TypeError):
        raise no_evidence(_SEARCH) from None


def _patient_of(study: Json) -> str:
    """``Patient/ID``; empty where the study names none of this server."""
    subject = study.get("subject")
    reference = str(subject.get("reference", "")) if isinstance(subject, dict) else ""
    kind, _, rest = reference.rpartition("Patient/")
    identity = rest.partition("/")[0]
    return f"Patient/{identity}" if identity and not kind.strip("/").startswith(("urn:", "#")) else ""
