"""The front door as an edge sees it: where it is, and how a call says who makes it."""

from __future__ import annotations

from dataclasses import dataclass, field

import grpc

from oncoresponse.rpc.access_control import AUTHORIZATION
from oncoresponse.rpc.client import Client
from oncoresponse.rpc.tls import CallerTls

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class FrontDoor:
    """A front door.

    Attributes:
        address: ``HOST:PORT``, or ``unix:PATH``.
        token: What the edges of the installation show.
        tls: What to trust and to show.
    """

    address: str
    token: str = field(repr=False)
    tls: CallerTls = field(default_factory=CallerTls)

    @property
    def is_in_this_process(self) -> bool:
        """Whether the front door is that of the process itself."""
        return self.address.startswith("unix:")

    @property
    def own_metadata(self) -> Metadata:
        """Metadata of a call that an edge makes for itself, on a channel of :meth:`channel`."""
        return ((AUTHORIZATION, f"Bearer {self.token}"),)

    def client(self) -> Client:
        """A synchronous client whose calls an edge makes for itself.

        Raises:
            ConfigurationError: The token would cross a network unencrypted.
        """
        return Client(self.address, self.tls, token=self.token)

    def channel(self, largest_answer_bytes: int | None = None) -> grpc.aio.Channel:
        """A channel whose calls carry no more than each is given.

        Args:
            largest_answer_bytes: Of one message; as gRPC has it when not given.
        """
        size = [] if largest_answer_bytes is None else [("grpc.max_receive_message_length", largest_answer_bytes)]
        if not self.tls.is_wanted:
            return grpc.aio.insecure_channel(self.address, options=size)
        options = [*self.tls.channel_options(), *size]
        return grpc.aio.secure_channel(self.address, self.tls.channel_credentials(), options=options)
