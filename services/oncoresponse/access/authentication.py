"""Who calls: the ways of saying so that an installation accepts, asked one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from oncoresponse.access.caller import Caller, Credentials
from oncoresponse.errors import NotAuthenticated


class Authenticator(Protocol):
    """One way of recognizing callers."""

    def authenticate(self, credentials: Credentials) -> Caller | None:
        """The caller, or ``None`` where the credentials are none of this way. May block for a network; any thread.

        Raises:
            NotAuthenticated: They are of this way, and not valid.
        """


class Authentication:
    """All ways that an installation accepts.

    Args:
        ways: Asked in this order; the first that knows the credentials decides.
        anonymous: Who a caller on the loopback address is that says nothing; ``None`` to refuse it.
    """

    def __init__(self, ways: Sequence[Authenticator], anonymous: Caller | None = None) -> None:
        self._ways = tuple(ways)
        self._anonymous = anonymous

    def caller(self, credentials: Credentials) -> Caller:
        """Who calls.

        Raises:
            NotAuthenticated: Nobody that is known.
        """
        for way in self._ways:
            if (caller := way.authenticate(credentials)) is not None:
                return caller
        if credentials.bearer:
            raise NotAuthenticated("The token is not one that this installation knows. Get a new one, then call again.")
        if self._anonymous is not None and credentials.loopback:
            return self._anonymous
        raise NotAuthenticated(
            "The call does not say who makes it. Send a token (metadata 'authorization: Bearer ...'), or show a client "
            "certificate that this installation knows."
        )
