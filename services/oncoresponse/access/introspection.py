"""Asking the issuer whether a token is still valid (RFC 7662), for those that it has taken back."""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from oncoresponse.access.issuer_http import fetch_json
from oncoresponse.errors import ConfigurationError

_MOST_ANSWERS = 10_000


class Introspection:
    """Whether tokens are active; an answer holds for some time.

    Args:
        url: The endpoint.
        client: Client id.
        secret_file: File with the secret of the client, which only its owner may read.
        context: For https.
        seconds: How long an answer holds.
        clock: Seconds that only grow.

    Raises:
        ConfigurationError: The file cannot be read, or others may read it.
    """

    def __init__(
        self,
        url: str,
        client: str,
        secret_file: Path,
        context: ssl.SSLContext,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._credentials = (client, _secret(secret_file))
        self._context = context
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: OrderedDict[bytes, tuple[float, bool]] = OrderedDict()

    def is_active(self, token: str) -> bool:
        """What the issuer says, or said not long ago.

        Call it for tokens that are valid otherwise, so that invented ones cause no traffic.

        Raises:
            PeerUnavailable: It does not answer. What it took back is not known then, so nobody is let in.
        """
        # The digest, so that no token lies in memory longer than its call.
        key, now = hashlib.sha256(token.encode()).digest(), self._clock()
        with self._lock:
            known = self._answers.get(key)
        if known is not None and now - known[0] < self._seconds:
            return known[1]
        form = {"token": token, "token_type_hint": "access_token"}
        active = fetch_json(self._url, self._context, form, self._credentials).get("active") is True
        with self._lock:
            self._answers[key] = (now, active)
            self._answers.move_to_end(key)
            while len(self._answers) > _MOST_ANSWERS:
                self._answers.popitem(last=False)
        return active


def _secret(file: Path) -> str:
    try:
        if file.stat().st_mode & 0o077:
            raise ConfigurationError(
                "The file with the secret for introspection can be read by others. Take their rights away (chmod 600).",
                setting="oidc",
            )
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "The file with the secret for introspection cannot be read. Check oidc.introspection_secret_file.",
            setting="oidc",
        ) from error
    if not secret:
        raise ConfigurationError("The file with the secret for introspection is empty.", setting="oidc")
    return secret
