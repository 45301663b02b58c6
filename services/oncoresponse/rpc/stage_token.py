"""The secret by which the services of one installation know each other. Users do not have it, so none calls a stage."""

from __future__ import annotations

import hmac
from pathlib import Path

from oncoresponse.access.caller import OWN_SERVICES, Caller, Credentials
from oncoresponse.errors import NotAuthenticated
from oncoresponse.rpc.token_file import shared_token


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
    path = stage_token_path(data_directory, file)
    return shared_token(path, make=file is None, whose="services", setting="stage_token_file")


def stage_token_path(data_directory: Path, file: Path | None) -> Path:
    """Where the token of this installation lies; see :func:`stage_token`."""
    return data_directory / "secrets" / "stage-token" if file is None else file
