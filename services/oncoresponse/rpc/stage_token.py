"""The secret by which the services of one installation know each other. Users do not have it, so none calls a stage."""

from __future__ import annotations

import hmac
import os
import secrets
import tempfile
from pathlib import Path

from oncoresponse.access.caller import OWN_SERVICES, Caller, Credentials
from oncoresponse.errors import ConfigurationError, NotAuthenticated

_FEWEST_CHARACTERS = 32


class StageToken:
    """Recognizes the services of the installation; see :class:`~oncoresponse.access.authentication.Authenticator`."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def authenticate(self, credentials: Credentials) -> Caller:
        """The services, or nobody."""
        if not hmac.compare_digest(credentials.bearer.encode(), self._token):
            raise NotAuthenticated(
                "This address is for the services of the installation among themselves, and the call does not carry "
                "their token. Users call the front door; services need the same stage_token_file."
            )
        return OWN_SERVICES


def stage_token(data_directory: Path, file: Path | None) -> str:
    """The token of this installation, made at the first start of a process in the data folder.

    Args:
        data_directory: Data folder, where several processes of one machine find the same token.
        file: File with the token, for processes that share no data folder; ``None`` for that of the data folder.

    Raises:
        ConfigurationError: The file cannot be read or made, others than its owner may read it, or it holds no token.
    """
    path = data_directory / "secrets" / "stage-token" if file is None else file
    try:
        if file is None and not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(
                "The file with the token of the services can be read by others. Take their rights away (chmod 600).",
                setting="stage_token_file",
            )
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "The file with the token of the services cannot be read or made. Check stage_token_file, or the rights of "
            "the data folder.",
            setting="stage_token_file",
        ) from error
    if len(token) < _FEWEST_CHARACTERS or not token.isprintable() or " " in token:
        raise ConfigurationError(
            f"The file with the token of the services holds none: one word of at least {_FEWEST_CHARACTERS} "
            "characters. Make one with 'openssl rand -hex 32'.",
            setting="stage_token_file",
        )
    return token


def _make(path: Path) -> None:
    """Write a new token, whole or not at all; of several processes that start at once, one wins."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)
        except FileExistsError:
            return
    finally:
        Path(name).unlink()
