"""SMART Backend Services: a token for a signed assertion.

SMART App Launch 2.2, "Backend Services" and "Client Authentication: Asymmetric"; RFC 7523. The assertion is signed
anew for each request, lives for four minutes and has an identifier of its own, so a server can refuse a second use.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from oncoresponse.edges.delivery.http_exchange import Answer, Json, exchange, no_evidence, require_success
from oncoresponse.edges.delivery.sending import AttemptEnded
from oncoresponse.errors import ConfigurationError, DestinationAccessDenied
from oncoresponse.http_client.one_way_session import OneWaySession
from oncoresponse.http_client.server_login import secret_of
from oncoresponse.rpc.ehr_settings import SmartBackend, is_private_url

_SETTING = "destinations"
# "no more than five minutes in the future"; clocks differ.
_ASSERTION_SECONDS = 240
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 section 2.2
_SMALLEST_RSA_BITS = 2048
# Where a server does not say how long a token lives, though it SHALL.
_UNSAID_SECONDS = 60.0
_BEFORE_END_SECONDS = 30.0
# RFC 6749 section 5.2. Other words of the server are not repeated.
_ERRORS = (
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
)
_TOKEN = "a token"  # noqa: S105 - no secret: what the request is called in messages


@dataclass(frozen=True)
class SigningKey:
    """A private key, with what an assertion says of it.

    Attributes:
        key: The key.
        algorithm: ``ES384`` or ``RS384``.
        key_id: By which the server finds the public one.
    """

    key: EllipticCurvePrivateKey | RSAPrivateKey
    algorithm: str
    key_id: str


class SmartLogin:
    """Tokens of one destination. Any thread may use it: one asks, the others wait for its answer.

    Args:
        settings: Client and key.
        base_url: Of the FHIR server, which names its token endpoint.
        timeouts: Seconds to wait for a connection, and for an answer.
        allow_insecure_network: Setting of the server: a token endpoint beyond loopback need not be https.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        settings: SmartBackend,
        base_url: str,
        timeouts: tuple[float, float],
        *,
        allow_insecure_network: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._base_url, self._timeouts = settings, base_url.rstrip("/"), timeouts
        self._allow_insecure_network, self._clock = allow_insecure_network, clock
        self._lock = threading.Lock()
        self._token = ""
        self._valid_until = 0.0

    def token(self, session: OneWaySession) -> str:
        """A token that is good for half a minute yet, or half its life where that is shorter.

        Args:
            session: By which a new one is asked for, where it takes one; shows no other login.

        Raises:
            AttemptEnded: There is none to be had.
            ConfigurationError: The key cannot be used.
        """
        with self._lock:
            if self._clock() >= self._valid_until:
                self._ask(session)
            return self._token

    def forget(self, token: str) -> None:
        """It was refused: the next one is asked for, unless another thread has done so already."""
        with self._lock:
            if token == self._token:
                self._valid_until = 0.0

    def _ask(self, session: OneWaySession) -> None:
        key = signing_key(self._settings)
        url = self._settings.token_url or self._discovered(session, key.algorithm)
        form = {
            "grant_type": "client_credentials",
            "scope": self._settings.scope,
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._assertion(key, url),
        }
        begun = self._clock()
        answer = exchange(
            session,
            "POST",
            url,
            timeouts=self._timeouts,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            body=urlencode(form).encode(),
        )
        if answer.status in (400, 401, 403):
            raise _refused(answer)
        require_success(answer, _TOKEN)
        self._token, seconds = _token_of(answer)
        self._valid_until = begun + max(seconds - _BEFORE_END_SECONDS, seconds / 2)

    def _assertion(self, key: SigningKey, url: str) -> str:
        client = self._settings.client_id
        claims = {
            "iss": client,
            "sub": client,
            "aud": url,
            "exp": int(self._clock()) + _ASSERTION_SECONDS,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, key.key, algorithm=key.algorithm, headers={"kid": key.key_id})

    def _discovered(self, session: OneWaySession, algorithm: str) -> str:
        """Token endpoint of ``.well-known/smart-configuration``."""
        answer = exchange(
            session,
            "GET",
            f"{self._base_url}/.well-known/smart-configuration",
            timeouts=self._timeouts,
            headers={"Accept": "application/json"},
        )
        require_success(answer, "its smart-configuration")
        found = answer.document
        url = found.get("token_endpoint")
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise no_evidence("its smart-configuration")
        if not self._allow_insecure_network and not is_private_url(url):
            raise AttemptEnded(
                ConfigurationError(
                    "The FHIR server names a token endpoint that is not https, so nothing is shown to it.",
                    setting=_SETTING,
                )
            )
        offered = found.get("token_endpoint_auth_signing_alg_values_supported")
        if isinstance(offered, list) and offered and algorithm not in offered:
            raise AttemptEnded(
                ConfigurationError(
                    f"The authorization server does not take {algorithm}, which key_file signs. Use a P-384 key for "
                    "ES384, an RSA key for RS384.",
                    setting=_SETTING,
                )
            )
        return url


def signing_key(settings: SmartBackend) -> SigningKey:
    """The key of the settings.

    Raises:
        ConfigurationError: The file cannot be read, others may read it, or it holds no private key for ES384 or RS384.
    """
    text = secret_of(settings.key_file, _SETTING)
    key_id = settings.key_id
    key: Any
    try:
        if text.lstrip().startswith("{"):
            document: Json = json.loads(text)
            key_id = key_id or str(document.get("kid", ""))
            key = (ECAlgorithm if document.get("kty") == "EC" else RSAAlgorithm).from_jwk(document)
        else:
            key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm, jwt.PyJWTError):
        key = None
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP384R1):
        return SigningKey(key, "ES384", key_id or _thumbprint(ECAlgorithm.to_jwk(key.public_key(), as_dict=True)))
    if isinstance(key, RSAPrivateKey) and key.key_size >= _SMALLEST_RSA_BITS:
        return SigningKey(key, "RS384", key_id or _thumbprint(RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)))
    raise ConfigurationError(
        "key_file holds no private key that signs ES384 (P-384) or RS384 (RSA of at least 2048 bits). Give one as PEM "
        "without a password, or as JWK.",
        setting=_SETTING,
    )


def _thumbprint(public: Json) -> str:
    """RFC 7638."""
    members = ("crv", "kty", "x", "y") if public["kty"] == "EC" else ("e", "kty", "n")
    text = json.dumps({name: public[name] for name in members}, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _token_of(answer: Answer) -> tuple[str, float]:
    """Token and its life in seconds (RFC 6749 section 5.1)."""
    found = answer.document
    token, kind, seconds = found.get("access_token"), found.get("token_type"), found.get("expires_in", _UNSAID_SECONDS)
    is_token = isinstance(token, str) and token.isascii() and token.isprintable() and token and " " not in token
    if not is_token or not isinstance(kind, str) or kind.lower() != "bearer":
        raise no_evidence(_TOKEN)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e9:
        seconds = _UNSAID_SECONDS
    return str(token), float(seconds)


def _refused(answer: Answer) -> AttemptEnded:
    code = answer.document.get("error")
    told = f" ({code})" if code in _ERRORS else ""
    return AttemptEnded(
        DestinationAccessDenied(
            f"The authorization server of the destination gives no token{told}. Check that client_id, scope and the "
            "public key of key_file are registered there, and the clocks of both.",
            http_status=answer.status,
        )
    )
