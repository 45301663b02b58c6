"""A FHIR R4 server as who calls it sees it: requests with the login of the settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import requests

from oncoresponse.edges.delivery.http_exchange import Answer, exchange
from oncoresponse.edges.delivery.smart_login import SmartLogin
from oncoresponse.http_client.metered_connections import Meter
from oncoresponse.http_client.one_way_session import OneWaySession
from oncoresponse.http_client.server_login import log_in
from oncoresponse.rpc.ehr_settings import FhirServer

FHIR_JSON = "application/fhir+json"
_NOT_AUTHENTICATED = 401
# Requests of one attempt: search, create, search, update, and a new token between.
_MOST_REQUESTS = 20


class FhirClient:
    """For one attempt of one delivery, or to ask once for orders, in one thread.

    Args:
        destination: Where, and how to log in.
        smart: Tokens of the destination, where it has such a login.
        setting: Where it stands, for messages.
        requests_at_most: How many there may be.

    Raises:
        ConfigurationError: A file with a secret cannot be used.
    """

    def __init__(
        self,
        destination: FhirServer,
        smart: SmartLogin | None,
        *,
        setting: str = "destinations",
        requests_at_most: int = _MOST_REQUESTS,
    ) -> None:
        self._base = destination.url.rstrip("/")
        self._smart = smart
        self._timeouts = (destination.connect_seconds, destination.idle_seconds)
        seconds = destination.idle_seconds
        self._session = OneWaySession(Meter(requests_at_most * seconds, seconds), destination.tls_authority)
        if smart is None:
            log_in(self._session, destination, setting=setting)
        elif destination.tls_certificate is not None and destination.tls_key is not None:
            self._session.cert = (str(destination.tls_certificate), str(destination.tls_key))
        if self._session.auth is None:
            # Else requests would look for one in the environment (netrc).
            self._session.auth = _as_it_is

    def __enter__(self) -> FhirClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def call(
        self,
        method: str,
        path: str = "",
        resource: Any = None,
        *,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request.

        Args:
            method: Of HTTP.
            path: Below the base URL.
            resource: That is sent: a resource, or its JSON; ``None`` for none.
            parameters: Of the query.
            headers: Beside those of every request.

        Raises:
            AttemptEnded: There is no answer, or no token to be had.
            ConfigurationError: The key of the settings cannot be used.
        """
        body = resource if resource is None or isinstance(resource, bytes) else json.dumps(resource).encode()
        sent = {"Accept": FHIR_JSON, **(headers or {})}
        if body is not None:
            sent["Content-Type"] = FHIR_JSON
        # A token that is refused is asked for anew, once.
        for is_last in (False, True):
            token = "" if self._smart is None else self._smart.token(self._session)
            if token:
                sent["Authorization"] = f"Bearer {token}"
            answer = exchange(
                self._session,
                method,
                f"{self._base}/{path}" if path else self._base,
                timeouts=self._timeouts,
                headers=sent,
                parameters=parameters,
                body=body,
            )
            if is_last or self._smart is None or answer.status != _NOT_AUTHENTICATED:
                break
            self._smart.forget(token)
        return answer


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
