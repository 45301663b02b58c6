"""What every edge is to the process that runs it."""

from __future__ import annotations

from typing import Protocol


class Edge(Protocol):
    """An edge.

    Attributes:
        name: One word for people and logs, such as ``http``.
        address: Where it listens, ``HOST:PORT``, once it is started; empty where it does not listen.
    """

    name: str
    address: str

    async def start(self) -> None:
        """Begin; others may call when this returns.

        Raises:
            ConfigurationError: It cannot, with these settings on this machine.
        """

    async def stop(self) -> None:
        """Take nothing more, end what runs, give everything back. Also after a start that failed."""

    def ready(self) -> bool:
        """Whether it does its work. Answers at once."""
