"""What is shown to an HTTP server of others, so that it lets this installation in."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import requests

from oncoresponse.errors import ConfigurationError


class ServerLogin(Protocol):
    """How to log in. Settings of a server have these fields."""

    @property
    def user(self) -> str:
        """User name of HTTP Basic authentication; empty for none."""

    @property
    def password_file(self) -> Path | None:
        """File with the password."""

    @property
    def token_file(self) -> Path | None:
        """Instead: file with a bearer token."""

    @property
    def tls_certificate(self) -> Path | None:
        """PEM file to show."""

    @property
    def tls_key(self) -> Path | None:
        """Its key."""


def log_in(session: requests.Session, server: ServerLogin, *, setting: str) -> None:
    """Let a session show what the settings say.

    Args:
        session: Is changed.
        server: Says how.
        setting: Name of the setting, for the error.

    Raises:
        ConfigurationError: A file cannot be read, is empty, or others may read it.
    """
    if server.tls_certificate is not None and server.tls_key is not None:
        session.cert = (str(server.tls_certificate), str(server.tls_key))
    if server.token_file is not None:
        session.auth = _Bearer(secret_of(server.token_file, setting))
    elif server.user:
        secret = secret_of(server.password_file, setting)
        session.auth = (server.user.encode(), secret.encode())  # type: ignore[assignment]


class _Bearer(requests.auth.AuthBase):
    """Sends a token; requests takes it away where an answer redirects to another host."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def secret_of(file: Path | None, setting: str) -> str:
    """What a file holds, read anew each time, so that it can be changed while the server runs.

    Args:
        file: Whose only reader is the user of the service.
        setting: Name of the setting that names it, for the error.

    Raises:
        ConfigurationError: It cannot be read, is empty, or others may read it.
    """
    try:
        if file is None or file.stat().st_mode & 0o077:
            raise OSError
        text = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text:
        raise ConfigurationError(
            f"A file with a password or token cannot be read, is empty, or can be read by others ({setting}). Give it "
            "to the user of the service alone (chmod 600).",
            setting=setting,
        )
    return text
