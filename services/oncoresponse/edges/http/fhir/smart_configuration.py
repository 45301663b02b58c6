"""``.well-known/smart-configuration`` (SMART App Launch 2, "Conformance"): where tokens for this server come from.

This server issues none. What it names are the endpoints of the issuer in its settings, as the issuer itself tells them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from oncoresponse.access.issuer_http import fetch_json, tls_context
from oncoresponse.access.oidc_settings import OidcSettings
from oncoresponse.errors import PeerUnavailable, ResourceNotFound

_KEPT_SECONDS = 600.0
# RFC 8414 and OpenID Connect Discovery 1.0: what is passed on.
_PASSED_ON = (
    "authorization_endpoint",
    "token_endpoint",
    "jwks_uri",
    "introspection_endpoint",
    "revocation_endpoint",
    "registration_endpoint",
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
    "response_types_supported",
)


class SmartConfiguration:
    """The document, kept for ten minutes.

    Args:
        oidc: Settings of the issuer; ``None`` where there is none.
    """

    def __init__(self, oidc: OidcSettings | None) -> None:
        self._oidc = oidc
        self._kept: tuple[float, dict[str, Any]] | None = None

    async def document(self) -> dict[str, Any]:
        """The document.

        Raises:
            ResourceNotFound: The settings name no issuer.
            PeerUnavailable: The issuer does not tell its endpoints.
        """
        if self._oidc is None:
            raise ResourceNotFound("This installation takes no tokens of an issuer (settings: oidc).")
        if self._kept is None or time.monotonic() - self._kept[0] > _KEPT_SECONDS:
            found = await asyncio.to_thread(_discovered, self._oidc)
            self._kept = (time.monotonic(), _document(self._oidc, found))
        return self._kept[1]


def _discovered(oidc: OidcSettings) -> dict[str, Any]:
    url = oidc.issuer.rstrip("/") + "/.well-known/openid-configuration"
    found = fetch_json(url, tls_context(oidc.authority))
    if found.get("issuer") != oidc.issuer or not isinstance(found.get("token_endpoint"), str):
        raise PeerUnavailable("What answers at the URL of the issuer is another issuer, or none. Check oidc.issuer.")
    return found


def _document(oidc: OidcSettings, found: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {"issuer": oidc.issuer}
    document |= {name: found[name] for name in _PASSED_ON if name in found}
    document["grant_types_supported"] = found.get("grant_types_supported", ["authorization_code", "client_credentials"])
    # SMART asks for it, also of issuers whose own document is silent.
    document["code_challenge_methods_supported"] = found.get("code_challenge_methods_supported", ["S256"])
    document["scopes_supported"] = ["launch", "launch/patient", "openid", "fhirUser"] + [
        f"{context}/*.{access}" for context in ("patient", "user", "system") for access in ("rs", "read")
    ]
    # Of this server, as it reads scopes; how a launch goes is the issuer's to say.
    document["capabilities"] = ["permission-patient", "permission-user", "permission-v1", "permission-v2"]
    return document
