"""Requests to the issuer of tokens: encrypted, of bounded time and size, to the named host and nowhere else."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

from oncoresponse.errors import ConfigurationError, PeerUnavailable

_SECONDS = 5.0
_CONNECT_SECONDS = 3.0
_LARGEST_BYTES = 1024**2
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_DEFAULT_PORTS = {"https": 443, "http": 80}


def require_issuer_url(url: str) -> str:
    """The URL, when it is one that tokens may rest upon.

    Raises:
        ValueError: It is not https (http is for the loopback address alone), or has a user, a query or a fragment.
    """
    parts = urlsplit(url)
    port = parts.port  # of a port that is none, reading it raises
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment or port == 0:
        raise ValueError("it is a URL with a host, and without user, query and fragment")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("it is a URL in ASCII")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError("it begins with https://, so that nobody on the way can put other keys in")
    return url


def tls_context(authority: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer, trusting ``authority`` (PEM), or the authorities of the system.

    Raises:
        ConfigurationError: The file cannot be read, or is no PEM file.
    """
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            "The certificate authority of the issuer is not a readable PEM file. Check oidc.authority.", setting="oidc"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def fetch_json(
    url: str,
    context: ssl.SSLContext,
    form: Mapping[str, str] | None = None,
    basic: tuple[str, str] | None = None,
    seconds: float = _SECONDS,
) -> dict[str, Any]:
    """GET (or POST of a form), and the object of the answer. Follows no redirect, uses no proxy.

    Args:
        url: As :func:`require_issuer_url` lets pass.
        context: For https.
        form: What to post.
        basic: Client id and secret (RFC 6749 section 2.3.1).
        seconds: For all of it but the look-up of the host name; what drips is cut.

    Raises:
        PeerUnavailable: There is no answer, or none that can be used.
    """
    try:
        body = _fetched(url, context, form, basic, seconds)
        found = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        raise PeerUnavailable(
            "The issuer of tokens does not answer as it should. Try again; if it stays so, your administrator looks at "
            "the issuer and at the settings under oidc.",
            cause=type(error).__name__,
        ) from error
    if not isinstance(found, dict):
        raise PeerUnavailable("The issuer of tokens answers something else than a JSON object. Check its URLs.")
    return found


class _BadAnswer(http.client.HTTPException):
    """An answer of another status, or too long."""


def _fetched(
    url: str,
    context: ssl.SSLContext,
    form: Mapping[str, str] | None,
    basic: tuple[str, str] | None,
    seconds: float,
) -> bytes:
    parts = urlsplit(require_issuer_url(url))
    host = str(parts.hostname)
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    headers = {"Accept": "application/json", "Connection": "close"}
    if form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    if basic is not None:
        pair = ":".join(quote_plus(part) for part in basic)
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
    plain = socket.create_connection((host, port), timeout=min(_CONNECT_SECONDS, seconds))
    plain.settimeout(seconds)
    encrypted = parts.scheme == "https"
    # The handshake is made below, under the time limit of all of it.
    used = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False) if encrypted else plain
    # A limit of each read would let an answer drip for ever.
    deadline = threading.Timer(seconds, _shut, (used,))
    deadline.daemon = True
    deadline.start()
    connection = http.client.HTTPConnection(host, port)
    try:
        if isinstance(used, ssl.SSLSocket):
            used.do_handshake()
        connection.sock = used
        body = urlencode(form) if form is not None else None
        connection.request("GET" if form is None else "POST", parts.path or "/", body=body, headers=headers)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise _BadAnswer
        content = answer.read(_LARGEST_BYTES + 1)
        if len(content) > _LARGEST_BYTES:
            raise _BadAnswer
        return content
    finally:
        deadline.cancel()
        connection.close()
        used.close()


def _shut(used: socket.socket) -> None:
    try:
        used.shutdown(socket.SHUT_RDWR)
    except OSError:
        used.close()
