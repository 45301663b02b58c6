"""An authorization server of SMART Backend Services that believes nothing: it checks each assertion itself.

Beside it a FHIR server of others, which it lets in only with a token that it gave.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

import jwt
import requests

from tests.integration.loopback_http import serving

LONGEST_ASSERTION_SECONDS = 300


class Guard:
    """A FHIR server behind tokens.

    Attributes:
        behind: Base URL of the server that is let through to.
        keys: Public keys by ``kid``, with their algorithm.
        client_id: The one client.
        lifetime: Seconds that a token is good for.
        assertions: Every one that was shown, with what became of it.
        tokens: Given, with when they end.
        requests: Method, path and headers of each FHIR request.
    """

    def __init__(self, behind: str = "", client_id: str = "oncoresponse", lifetime: float = 300.0) -> None:
        self.behind, self.client_id, self.lifetime = behind, client_id, lifetime
        self.keys: dict[str, tuple[Any, str]] = {}
        self.assertions: list[tuple[str, str]] = []
        self.tokens: dict[str, float] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.scopes: list[str] = []
        self.base = ""
        self.metadata: dict[str, Any] = {}
        self._used: set[str] = set()

    @property
    def token_url(self) -> str:
        return f"{self.base}/token"

    def fault_of(self, form: dict[str, list[str]]) -> str:
        """What is wrong with a request for a token; empty where nothing is."""
        assertion = form.get("client_assertion", [""])[0]
        if form.get("grant_type") != ["client_credentials"]:
            return "unsupported_grant_type"
        if form.get("client_assertion_type") != ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]:
            return "invalid_request"
        try:
            key, algorithm = self.keys[jwt.get_unverified_header(assertion)["kid"]]
            claims = jwt.decode(
                assertion,
                key,
                algorithms=[algorithm],
                audience=self.token_url,
                issuer=self.client_id,
                options={"require": ["iss", "sub", "aud", "exp", "jti"]},
            )
        except (jwt.PyJWTError, KeyError):
            return "invalid_client"
        if claims["sub"] != self.client_id or claims["exp"] > time.time() + LONGEST_ASSERTION_SECONDS:
            return "invalid_client"
        if claims["jti"] in self._used:
            return "invalid_client"
        self._used.add(claims["jti"])
        return ""

    def answer_token(self, body: bytes) -> tuple[int, dict[str, Any]]:
        form = parse_qs(body.decode())
        fault = self.fault_of(form)
        self.assertions.append((form.get("client_assertion", [""])[0], fault))
        if fault:
            return 400, {"error": fault, "error_description": "Patient Doe is not welcome"}
        token = uuid.uuid4().hex
        self.tokens[token] = time.time() + self.lifetime
        self.scopes += form["scope"]
        return 200, {"access_token": token, "token_type": "bearer", "expires_in": self.lifetime, "scope": "system/*.rs"}

    def revoke(self) -> None:
        """Tokens that were given are worth nothing any more."""
        self.tokens.clear()


@contextmanager
def guarded(guard: Guard) -> Iterator[Guard]:
    """Serve it on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path == "/token":
                self._send(*guard.answer_token(body))
                return
            if self.path == "/fhir/.well-known/smart-configuration":
                self._send(200, {"token_endpoint": guard.token_url, **guard.metadata})
                return
            guard.requests.append((self.command, self.path, dict(self.headers)))
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if guard.tokens.get(token, 0) < time.time():
                self._send(401, {"resourceType": "OperationOutcome"})
                return
            passed = {
                name: value
                for name, value in self.headers.items()
                if name.lower() in ("content-type", "accept", "prefer", "if-none-exist", "if-match")
            }
            answer = requests.request(
                self.command,
                guard.behind + self.path.removeprefix("/fhir"),
                data=body or None,
                headers=passed,
                timeout=60,
            )
            self._send(answer.status_code, answer.content, {"Location": answer.headers.get("Location", "")})

        def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _handle  # noqa: N815 - names of http.server

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as guard.base:
        yield guard
