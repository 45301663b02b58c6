"""The secret by which the front door knows the edges of the installation (HTTP, PACS), and whom they call for.

An edge calls in one of two ways. For itself: its token is the bearer token of the call, and the caller is ``edges``.
For a user who came to it over another protocol: the call carries the user's own bearer token, beside it the token of
the edges, the address of the user, and the names in the client certificate that TLS has verified there. So who the user
is, what the user may do, the limits and the audit record are the front door's, as for a call that comes straight.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from oncoresponse.access.caller import EDGES, Caller, Credentials
from oncoresponse.errors import NotAuthenticated
from oncoresponse.rpc.token_file import shared_token

EDGE_TOKEN = "x-edge-token"  # noqa: S105 - a name, no secret
CALLER_ADDRESS = "x-caller-address"
CALLER_CERTIFICATE = "x-caller-certificate"
"""Metadata of a call that an edge makes for somebody: its token, the IP address of that caller, and the names in the
caller's certificate as percent-encoded JSON."""


class EdgeToken:
    """Recognizes the edges of the installation; see :class:`~oncoresponse.access.authentication.Authenticator`."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def matches(self, token: str) -> bool:
        """Whether it is the token of the edges."""
        return bool(self._token) and hmac.compare_digest(token.encode(), self._token)

    def authenticate(self, credentials: Credentials) -> Caller | None:
        """The edges; ``None`` for everybody else."""
        return EDGES if self.matches(credentials.bearer) else None


@dataclass(frozen=True)
class CallerBehind:
    """Whom an edge calls for.

    Attributes:
        address: IP address, or ``unix``.
        certificate_names: Names in the client certificate that TLS has verified, common name first; empty for none.
    """

    address: str
    certificate_names: tuple[str, ...] = ()

    def metadata(self, edge_token: str) -> list[tuple[str, str]]:
        """What the call carries beside the user's own token."""
        names = quote(json.dumps(self.certificate_names), safe="")
        certificate = [(CALLER_CERTIFICATE, names)] if self.certificate_names else []
        return [(EDGE_TOKEN, edge_token), (CALLER_ADDRESS, self.address), *certificate]

    @classmethod
    def of_call(cls, address: str, certificate: str) -> CallerBehind:
        """From the metadata of a call with the right token.

        Raises:
            NotAuthenticated: They are not what an edge sends.
        """
        try:
            if address != "unix":
                address = str(ipaddress.ip_address(address.partition("%")[0]))
            names = json.loads(unquote(certificate)) if certificate else []
        except ValueError:
            raise _not_from_an_edge() from None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _not_from_an_edge()
        return cls(address, tuple(names))


def _not_from_an_edge() -> NotAuthenticated:
    return NotAuthenticated("The call does not say for whom it is made as an edge of this release does.")


def edge_token(data_directory: Path, file: Path | None, *, make: bool = True) -> str:
    """The token of this installation's edges, made at the first start of a server in the data folder.

    Args:
        data_directory: Data folder of the server.
        file: File with the token, for edges that share no data folder with the server; ``None`` for that of the folder.
        make: Whether to make one where there is none in the data folder; the server does.

    Raises:
        ConfigurationError: The file cannot be read or made, others than its owner may read it, or it holds no token.
    """
    path = data_directory / "secrets" / "edge-token" if file is None else file
    return shared_token(path, make=make and file is None, whose="edges", setting="edge_token_file")
