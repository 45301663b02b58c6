"""EHRs that call as CDS clients: a signed token with each call (CDS Hooks 2.0, "Trusting CDS Clients").

What is checked: an asymmetric signature by a key of the client, ``iss`` in the settings, ``aud`` the very URL that is
called, times, a short life, and ``jti``, which the caller of this has to use once. ``jku`` is never followed: it has to
be the URL in the settings, or the token is refused.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from oncoresponse.access.issuer_http import tls_context
from oncoresponse.access.issuer_keys import IssuerKey, IssuerKeys, usable_keys
from oncoresponse.errors import NotAuthenticated, PeerUnavailable

_ALGORITHMS = ("ES384", "RS384", "ES256", "RS256")
_CLOCK_SKEW_SECONDS = 30
_LONGEST_LIFE_SECONDS = 300
_LONGEST_ID = 256
_KEYS_KEPT_SECONDS = 3600.0
_REQUIRED = ["iss", "aud", "exp", "iat", "jti"]


@dataclass(frozen=True)
class CdsToken:
    """A token that is right in itself.

    Attributes:
        client: Name in the settings.
        token_id: ``jti``.
        end_time_ms: When it ends, milliseconds since 1970.
    """

    client: str
    token_id: str
    end_time_ms: int


@dataclass(frozen=True)
class KnownClient:
    """A client, and where its keys are: a file, or a URL."""

    name: str
    jwks_file: Path | None = None
    jwks_url: str = ""


class CdsClients:
    """Recognizes them. Blocks where keys have to be fetched.

    Args:
        clients: By issuer.
        authority: PEM file to trust for URLs of keys.
    """

    def __init__(self, clients: Mapping[str, KnownClient], authority: Path | None = None) -> None:
        self._clients = dict(clients)
        context = tls_context(authority)
        self._keys = {
            each.name: IssuerKeys(issuer, each.jwks_url, context, _KEYS_KEPT_SECONDS)
            for issuer, each in clients.items()
            if each.jwks_url
        }
        self._files: dict[str, tuple[float, Mapping[str, IssuerKey]]] = {}
        self._lock = threading.Lock()

    def require(self, token: str, endpoint: str) -> CdsToken:
        """Whose token it is.

        Args:
            token: As it came.
            endpoint: URL that was called.

        Raises:
            NotAuthenticated: It is not right.
            PeerUnavailable: The keys of the client cannot be had.
        """
        try:
            header = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
            client = self._clients.get(str(unverified.get("iss")))
            algorithm, key_id = header.get("alg"), header.get("kid", "")
            if client is None or algorithm not in _ALGORITHMS or not isinstance(key_id, str):
                raise _refused()
            if "jku" in header and header["jku"] != client.jwks_url:
                raise _refused()
            key = self._key(client, key_id) if len(key_id) <= _LONGEST_ID else None
            if key is None or algorithm not in key.algorithms:
                raise _refused()
            claims: dict[str, Any] = jwt.decode(
                token,
                key.public_key,
                algorithms=[algorithm],
                audience=endpoint,
                leeway=_CLOCK_SKEW_SECONDS,
                options={"require": _REQUIRED},
            )
            end, begin, token_id = claims["exp"], claims["iat"], claims["jti"]
            if not all(isinstance(value, int | float) for value in (end, begin)):
                raise _refused()
            if end - begin > _LONGEST_LIFE_SECONDS or begin > time.time() + _CLOCK_SKEW_SECONDS:
                raise _refused()
            if not isinstance(token_id, str) or not 0 < len(token_id) <= _LONGEST_ID:
                raise _refused()
            return CdsToken(client.name, token_id, int(1000 * end))
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            # Whatever a stranger writes into a token ends here; what it was goes nowhere.
            raise _refused() from error

    def _key(self, client: KnownClient, key_id: str) -> IssuerKey | None:
        if client.jwks_file is None:
            return self._keys[client.name].key(key_id)
        with self._lock:
            try:
                changed = client.jwks_file.stat().st_mtime
                known = self._files.get(client.name)
                if known is None or known[0] != changed:
                    known = changed, usable_keys(json.loads(client.jwks_file.read_text(encoding="utf-8")))
                    self._files[client.name] = known
            except (OSError, ValueError) as error:
                raise PeerUnavailable(
                    "The keys of this CDS client cannot be read. Your administrator looks at cds_hooks.clients."
                ) from error
        return known[1].get(key_id)


def _refused() -> NotAuthenticated:
    return NotAuthenticated(
        "The token is not one of a CDS client of this installation for this URL: it has to be signed by a key in the "
        "settings (cds_hooks), be for exactly the URL that is called, and live no longer than five minutes."
    )
