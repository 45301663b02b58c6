"""Errors as FHIR tells them: an OperationOutcome that names the fault (R4 section 2.27)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from oncoresponse.edges.http.problem import answer_of

FHIR_JSON = "application/fhir+json"
REASONS = "urn:oncoresponse:error"
"""System of the reason codes in ``issue.details``."""

# https://hl7.org/fhir/R4/valueset-issue-type.html
_CODES = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    408: "timeout",
    409: "conflict",
    410: "deleted",
    413: "too-long",
    415: "not-supported",
    429: "throttled",
    431: "too-long",
    503: "transient",
    504: "timeout",
}


def operation_outcome(error: Exception, correlation_id: str) -> Response:
    """The answer that tells an error."""
    meant, status, headers = answer_of(error)
    texts = [(meant.message, "")]
    violations = getattr(meant, "violations", ())
    texts += [(f"{field}: {text}", field) for field, text, _ in violations]
    content = {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": _CODES.get(status, "exception"),
                "details": {"coding": [{"system": REASONS, "code": meant.reason}], "text": text},
                "diagnostics": f"correlation id {correlation_id}",
            }
            for text, _ in texts
        ],
    }
    return Response(json.dumps(content), status, headers, media_type=FHIR_JSON)


def information(texts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What a search has to say beside its results: severity and text of each."""
    issues = [{"severity": severity, "code": "informational", "details": {"text": text}} for severity, text in texts]
    return {"resourceType": "OperationOutcome", "issue": issues}
