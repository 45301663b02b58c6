"""The keys with which an issuer signs its tokens (JWKS, RFC 7517): fetched, kept, renewed when it rotates them."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from oncoresponse.access.issuer_http import fetch_json, require_issuer_url
from oncoresponse.errors import PeerUnavailable

_FRESH_SECONDS = 600.0
_PAUSE_SECONDS = 60.0
_MOST_KEYS = 100
_SMALLEST_RSA_BITS = 2048
_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVE_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384"}
ALGORITHMS = _RSA_ALGORITHMS | {"ES256", "ES384", "EdDSA"}
"""Signatures that are accepted: asymmetric ones alone, so that no public key can be used as a shared secret."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IssuerKey:
    """One public key, and the algorithms that it may be used with."""

    public_key: Any
    algorithms: frozenset[str]


class IssuerKeys:
    """Public keys by their id (``kid``).

    Args:
        issuer: URL of the issuer; its ``/.well-known/openid-configuration`` says where the keys are.
        jwks_url: Where the keys are; empty to ask the issuer.
        context: For https.
        kept_seconds: How long keys are used after the issuer was last reached.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        issuer: str,
        jwks_url: str,
        context: ssl.SSLContext,
        kept_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._context = context
        self._kept_seconds = kept_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Mapping[str, IssuerKey] = MappingProxyType({})
        self._fetched_at: float | None = None
        self._tried_at: float | None = None

    def key(self, key_id: str) -> IssuerKey | None:
        """The key, or ``None`` where the issuer has none of this id. May block for the network.

        The issuer is asked again after ten minutes, and for an id that is not known, as after a rotation; but at most
        once a minute, so that tokens with invented ids cause no traffic.

        Raises:
            PeerUnavailable: The issuer does not answer, and what was known is too old.
        """
        now = self._clock()
        age = None if self._fetched_at is None else now - self._fetched_at
        if key_id in self._keys and age is not None and age < self._kept_seconds:
            # A key that is known is used while another thread asks the issuer, which may take its time.
            if age >= _FRESH_SECONDS and self._may_ask(now) and self._lock.acquire(blocking=False):
                try:
                    self._ask()
                finally:
                    self._lock.release()
            return self._usable(key_id)
        with self._lock:
            if key_id not in self._keys or age is None or age >= self._kept_seconds:
                now = self._clock()
                if self._may_ask(now):
                    self._ask()
        return self._usable(key_id)

    def _may_ask(self, now: float) -> bool:
        return self._tried_at is None or now - self._tried_at >= _PAUSE_SECONDS

    def _usable(self, key_id: str) -> IssuerKey | None:
        if self._fetched_at is None or self._clock() - self._fetched_at >= self._kept_seconds:
            raise PeerUnavailable(
                "The issuer of tokens could not be asked for its keys, so no token can be checked. Try again in a "
                "minute; if it stays so, your administrator looks at the issuer and at the settings under oidc."
            )
        return self._keys.get(key_id)

    def _ask(self) -> None:
        self._tried_at = self._clock()
        try:
            found = fetch_json(self._jwks_url or self._discovered(), self._context)
            keys = usable_keys(found)
        except PeerUnavailable as error:
            _log.warning("the keys of the issuer cannot be had: %s %s", error.message, dict(error.metadata))
            return
        if keys.keys() != self._keys.keys() and self._fetched_at is not None:
            _log.warning("the issuer has other keys than before: %d", len(keys))
        self._keys, self._fetched_at = MappingProxyType(keys), self._clock()

    def _discovered(self) -> str:
        """Where the keys are (OpenID Connect Discovery 1.0 section 4)."""
        found = fetch_json(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration", self._context)
        if found.get("issuer") != self._issuer:
            raise PeerUnavailable("What answers is not the issuer: it calls itself otherwise. Check oidc.issuer.")
        try:
            return require_issuer_url(str(found.get("jwks_uri")))
        except ValueError as error:
            raise PeerUnavailable("The issuer does not say where its keys are, or not with https.") from error


def usable_keys(jwks: Mapping[str, Any]) -> dict[str, IssuerKey]:
    """Public keys by their id, of a key set.

    Raises:
        PeerUnavailable: It is none.
    """
    listed = jwks.get("keys")
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise PeerUnavailable("The issuer answers without a list of keys. Check oidc.jwks_url.")
    found: dict[str, IssuerKey] = {}
    repeated = set()
    for item in listed:
        key = _usable_key(item) if isinstance(item, dict) else None
        if key is None:
            continue
        key_id = item.get("kid", "")
        if not isinstance(key_id, str):
            continue
        repeated.update({key_id} & found.keys())
        found[key_id] = key
    # Two keys of one id, or several without any: it is not clear which one is meant.
    return {key_id: key for key_id, key in found.items() if key_id not in repeated}


def _usable_key(item: Mapping[str, Any]) -> IssuerKey | None:
    """``None`` for a key that is not for signatures, is symmetric, too short, or of a kind that is not known here."""
    operations = item.get("key_ops")
    if item.get("use", "sig") != "sig" or (isinstance(operations, list) and "verify" not in operations):
        return None
    if item.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    try:
        # Without "alg", for which the library would guess one where it is missing; what fits is decided below.
        public_key = jwt.PyJWK(
            {name: value for name, value in item.items() if name not in ("alg", "d")}, _reader_of(item)
        ).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    algorithms: frozenset[str] = frozenset()
    if isinstance(public_key, rsa.RSAPublicKey) and public_key.key_size >= _SMALLEST_RSA_BITS:
        algorithms = _RSA_ALGORITHMS
    elif isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name in _CURVE_ALGORITHMS:
        algorithms = frozenset({_CURVE_ALGORITHMS[public_key.curve.name]})
    elif isinstance(public_key, ed25519.Ed25519PublicKey):
        algorithms = frozenset({"EdDSA"})
    if "alg" in item:
        algorithms &= {str(item["alg"])}
    return IssuerKey(public_key, algorithms) if algorithms else None


def _reader_of(item: Mapping[str, Any]) -> str:
    """The library's name of an algorithm by which it reads a key of this kind."""
    curves = {"P-256": "ES256", "P-384": "ES384"}
    return {"RSA": "RS256", "OKP": "EdDSA"}.get(str(item["kty"])) or curves.get(str(item.get("crv")), "ES256")
