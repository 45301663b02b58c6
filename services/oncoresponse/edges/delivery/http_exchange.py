"""One request to a FHIR or authorization server, and what its answer means (R4 RESTful API; RFC 9110)."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from oncoresponse.edges.delivery.sending import AttemptEnded
from oncoresponse.errors import (
    DeliveryRefused,
    DestinationAccessDenied,
    DestinationAnswerRefused,
    OncoResponseError,
    PacsAnswerRefused,
    PacsTooSlow,
    PeerUnavailable,
    TlsHandshakeFailed,
)
from oncoresponse.http_client.one_way_session import OneWaySession

Json = dict[str, Any]
_LARGEST_ANSWER_BYTES = 16 * 1024**2
_LONGEST_RETRY_AFTER_SECONDS = 24 * 3600.0
_DENIED = (401, 403, 407)
# Beside 5xx: the same request may succeed later.
_PASSING = (408, 425, 429)
_CONFLICT = 409
RESOURCE_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
"""R4 datatype id."""
# R4 ValueSet issue-type. Other words of an OperationOutcome may hold patient data and go nowhere.
_ISSUE_TYPES = (
    "invalid structure required value invariant security login unknown expired forbidden suppressed "
    "processing not-supported duplicate multiple-matches not-found deleted too-long code-invalid "
    "extension too-costly business-rule conflict transient lock-error no-store exception timeout "
    "incomplete throttled informational"
)

# They log URLs, and those may hold identifiers of patients.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Answer:
    """An answer that came whole.

    Attributes:
        status: HTTP status.
        headers: Of the answer, whatever their case.
        body: What it brought.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Json:
        """The body as a JSON object; empty where it is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def exchange(
    session: OneWaySession,
    method: str,
    url: str,
    *,
    timeouts: tuple[float, float],
    headers: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """Send a request, and read all of the answer. Redirects are not followed.

    Args:
        session: With the login; each request has its idle time.
        method, url, headers, body: Of the request.
        timeouts: Seconds to wait for a connection, and for the answer.
        parameters: Of the query.

    Raises:
        AttemptEnded: There is no answer, or none that is whole.
    """
    session.meter.next_exchange()
    try:
        answer = session.request(
            method,
            url,
            params=parameters,
            data=body,
            headers=dict(headers or {}),
            timeout=timeouts,
            allow_redirects=False,
            stream=True,
        )
        data = bytearray()
        with answer:
            for block in answer.iter_content(64 * 1024):
                data += block
                if len(data) > _LARGEST_ANSWER_BYTES:
                    raise AttemptEnded(_no_answer("without end"))
    except requests.exceptions.SSLError:
        raise AttemptEnded(
            TlsHandshakeFailed(
                "No encrypted connection to the destination: its certificate is not of an authority that is trusted "
                "here, or does not carry the name in the URL. Give the PEM file of the authority (tls_authority).",
                cause="untrusted_authority",
            )
        ) from None
    except PacsTooSlow:
        message = "The destination sends nothing, or almost nothing, for longer than it may (idle_seconds)."
        raise AttemptEnded(PeerUnavailable(message)) from None
    except PacsAnswerRefused:
        raise AttemptEnded(_no_answer("with a header or transport without end")) from None
    except (requests.RequestException, OSError):
        raise AttemptEnded(PeerUnavailable("The destination does not answer, or broke off.")) from None
    return Answer(answer.status_code, answer.headers, bytes(data))


def require_success(answer: Answer, what: str) -> None:
    """See what an answer says.

    Args:
        answer: To a request.
        what: Was asked for, for the message.

    Raises:
        AttemptEnded: It is none of success: the login is refused, the server is busy, or it does not take what is sent.
    """
    status = answer.status
    if status in (200, 201, 204):
        return
    if status in _DENIED:
        raise AttemptEnded(
            DestinationAccessDenied(
                f"The destination refuses {what} with HTTP status {status}. Correct the login in the settings "
                "(destinations), or its rights there.",
                http_status=status,
            )
        )
    if status >= 500 or status in _PASSING:
        raise AttemptEnded(
            PeerUnavailable(f"The destination answered {what} with HTTP status {status}.", http_status=status),
            retry_after_seconds=retry_after_seconds(answer),
        )
    error: OncoResponseError
    if status == _CONFLICT:
        error = DeliveryRefused(
            f"Another change at the destination conflicts with {what} (HTTP status 409). It is tried again.",
            http_status=status,
        )
        raise AttemptEnded(error, retry_after_seconds=retry_after_seconds(answer))
    if 200 <= status < 300:
        raise AttemptEnded(_no_answer(f"to {what} with HTTP status {status}"))
    if status == 412:
        hint = "several resources there have the same identifier, or it was changed meanwhile. Mend that, then resend."
    elif 300 <= status < 400:
        hint = "it redirects, which is not followed. Correct the URL in the settings (destinations)."
    elif status in (404, 405, 410):
        hint = "check that the URL is the base of its FHIR service (destinations), and that it takes this form."
    else:
        hint = f"it does not accept what is sent{_issue_types(answer)}. Look at its log, correct it, then resend."
    error = DeliveryRefused(f"The destination refuses {what} with HTTP status {status}: {hint}", http_status=status)
    raise AttemptEnded(error, permanent=True)


def _issue_types(answer: Answer) -> str:
    issues = answer.document.get("issue")
    found = {
        issue["code"]
        for issue in (issues if isinstance(issues, list) else ())
        if isinstance(issue, dict) and isinstance(issue.get("code"), str) and issue["code"] in _ISSUE_TYPES.split()
    }
    return f" ({', '.join(sorted(found))})" if found else ""


def retry_after_seconds(answer: Answer) -> float | None:
    """Retry-After, seconds or a date (RFC 9110 section 10.2.3); ``None`` where there is none."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_RETRY_AFTER_SECONDS)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_SECONDS)


def resources_found(answer: Answer, what: str) -> list[Json]:
    """Resources of a page of a search (R4 Bundle of type searchset).

    Args:
        answer: To the search, one of success.
        what: Was asked for, for the message.

    Raises:
        AttemptEnded: It is no such page.
    """
    bundle = answer.document
    entries = bundle.get("entry", [])
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") != "searchset" or not isinstance(entries, list):
        raise no_evidence(what)
    found = [entry.get("resource") if isinstance(entry, dict) else None for entry in entries]
    resources = [each for each in found if isinstance(each, dict) and isinstance(each.get("resourceType"), str)]
    if len(resources) < len(found):
        raise no_evidence(what)
    return resources


def no_evidence(what: str) -> AttemptEnded:
    """An answer of success that does not say what was asked."""
    return AttemptEnded(_no_answer(f"to {what} without saying what became of it"))


def _no_answer(how: str) -> OncoResponseError:
    return DestinationAnswerRefused(
        f"The destination answers {how}. Check what answers at the URL: a gateway, or a log-in page."
    )
