"""Callers with a token of the hospital's issuer: OpenID Connect, signed JSON Web Tokens.

What is checked is that of RFC 8725 (best current practice for JWT) and RFC 9068 (access tokens): the signature by an
asymmetric algorithm and a key of the issuer, issuer, audience, times, kind of the token, and that it is short-lived.
Nothing that a token says of where its key is (``jku``, ``x5u``, ``jwk``, ``x5c``) is looked at.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt

from oncoresponse.access.caller import Caller, Credentials, Identification
from oncoresponse.access.introspection import Introspection
from oncoresponse.access.issuer_http import tls_context
from oncoresponse.access.issuer_keys import ALGORITHMS, IssuerKeys
from oncoresponse.access.names import TENANT, is_display_name
from oncoresponse.access.oidc_settings import BREAK_GLASS, OidcSettings
from oncoresponse.access.revocations import Revocations
from oncoresponse.access.roles import AccessRole
from oncoresponse.access.smart import patient_names, smart_access
from oncoresponse.errors import NotAuthenticated

_LONGEST_TOKEN = 16 * 1024
_LONGEST_KEY_ID = 256
_LONGEST_SUBJECT = 255
"""OpenID Connect Core 1.0 section 2."""
_CLOCK_SKEW_SECONDS = 30
_KINDS = ("jwt", "at+jwt", "application/at+jwt")
_MOST_ROLES = 1000
_REQUIRED = ["iss", "sub", "aud", "exp", "iat"]
_FORM = re.compile(r"[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]*\.[A-Za-z0-9_=-]*")

_log = logging.getLogger(__name__)


class OidcTokens:
    """Recognizes them; see :class:`~oncoresponse.access.authentication.Authenticator`.

    Args:
        settings: Which tokens, and what they mean.
        revocations: What is refused all the same.
        clock: Seconds that only grow, for the keys and answers that are kept.

    Raises:
        ConfigurationError: A file that the settings name cannot be used.
    """

    def __init__(
        self,
        settings: OidcSettings,
        revocations: Revocations | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._revocations = revocations
        context = tls_context(settings.authority)
        self._keys = IssuerKeys(settings.issuer, settings.jwks_url, context, settings.keys_kept_minutes * 60, clock)
        self._introspection: Introspection | None = None
        if settings.introspection_url and settings.introspection_secret_file is not None:
            self._introspection = Introspection(
                settings.introspection_url,
                settings.introspection_client,
                settings.introspection_secret_file,
                context,
                settings.introspection_seconds,
                clock,
            )

    def authenticate(self, credentials: Credentials) -> Caller | None:
        """Whose token it is; ``None`` for what is no signed token. May block for the issuer.

        Raises:
            NotAuthenticated: The token is not valid.
            PeerUnavailable: The issuer cannot be asked for what has to be known of it.
        """
        token = credentials.bearer
        if not _FORM.fullmatch(token):
            return None
        if len(token) > _LONGEST_TOKEN:
            raise NotAuthenticated("The token is longer than any that is accepted. Get one with fewer claims.")
        claims = self._claims(token)
        subject, token_id = claims["sub"], claims.get("jti", "")
        if self._revocations is not None and self._revocations.refuses(subject, token_id):
            raise NotAuthenticated("The token has been taken back by the administrator of this installation.")
        if self._introspection is not None and not self._introspection.is_active(token):
            raise NotAuthenticated("The issuer has taken the token back. Sign in again.")
        return self._caller(claims)

    def _claims(self, token: str) -> dict[str, Any]:
        """The claims, once all of the token is right."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm, key_id, kind = header.get("alg"), header.get("kid", ""), header.get("typ", "jwt")
            if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
                raise NotAuthenticated("The token is not signed in a way that is accepted. Sign in at the issuer.")
            if not isinstance(kind, str) or kind.lower() not in _KINDS:
                raise NotAuthenticated("This is a token for another purpose than calling. Get an access token.")
            key = self._keys.key(key_id) if len(key_id) <= _LONGEST_KEY_ID else None
            if key is None or algorithm not in key.algorithms:
                raise NotAuthenticated("The token is not signed with a key of the issuer. Sign in again.")
            claims: dict[str, Any] = jwt.decode(
                token,
                key.public_key,
                algorithms=[algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=_CLOCK_SKEW_SECONDS,
                options={"require": _REQUIRED},
            )
            self._require_short_life(claims)
            subject = claims["sub"]
            if not (0 < len(subject) <= _LONGEST_SUBJECT and subject.isascii() and subject.isprintable()):
                raise NotAuthenticated("The subject of the token is no text of at most 255 ASCII characters.")
            return claims
        except jwt.ExpiredSignatureError as error:
            raise NotAuthenticated("The token has ended. Sign in again.") from error
        except jwt.ImmatureSignatureError as error:
            raise NotAuthenticated("The token is not valid yet. Compare the clocks of issuer and server.") from error
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError) as error:
            raise NotAuthenticated("The token is of another issuer, or for another audience than this one.") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            # Whatever a stranger writes into a token ends here; what it was goes nowhere.
            raise NotAuthenticated("The token is not valid. Sign in again.") from error

    def _require_short_life(self, claims: Mapping[str, Any]) -> None:
        times = [claims[name] for name in ("exp", "iat")]
        if not all(isinstance(value, int | float) for value in times):
            raise NotAuthenticated("The times of the token are no numbers.")
        if times[0] - times[1] > self._settings.maximum_lifetime_minutes * 60:
            raise NotAuthenticated(
                "The token lives longer than this installation accepts. Your administrator shortens it at the issuer, "
                "or raises oidc.maximum_lifetime_minutes."
            )

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        settings = self._settings
        meanings = {settings.meaning_of(value) for value in _texts(_claim(claims, settings.roles_claim))}
        tenant = ""
        if settings.tenant_claim:
            found = _claim(claims, settings.tenant_claim)
            if not isinstance(found, str) or not re.fullmatch(TENANT, found):
                raise NotAuthenticated("The token names no tenant. Your administrator looks at oidc.tenant_claim.")
            tenant = found
        patient = patient_names(
            _claim(claims, settings.patient_claim) if settings.patient_claim else None,
            _claim(claims, settings.patient_identifier_claim) if settings.patient_identifier_claim else None,
            settings.patient_identifier_issuer,
        )
        scopes = _texts(_claim(claims, settings.scope_claim)) if settings.scope_claim else []
        name = f"{settings.issuer}#{claims['sub']}"
        display = claims.get("name")
        return Caller(
            name=name,
            roles=frozenset(AccessRole(meaning) for meaning in meanings if meaning and meaning != BREAK_GLASS),
            identified_by=Identification.OIDC,
            display_name=display if isinstance(display, str) and display and is_display_name(display) else name,
            tenant=tenant,
            may_break_glass=BREAK_GLASS in meanings,
            smart=smart_access(scopes, patient),
        )


def _claim(claims: Mapping[str, Any], path: str) -> object:
    """A claim by its name, which may have dots itself, or else along the dots; ``None`` where there is none."""
    if path in claims:
        return claims[path]
    found: object = claims
    for part in path.split("."):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    return found


def _texts(value: object) -> list[str]:
    """A list of texts, or a text with spaces between (as ``scope``); anything else is none."""
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list):
        return [item for item in value[:_MOST_ROLES] if isinstance(item, str)]
    return []
