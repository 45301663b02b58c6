"""Anchors of the audit record: number and hash of its newest row, kept where another owns them.

Who owns the database can write the whole chain anew or cut its end. That shows by what an anchor has kept, and by
nothing else.
"""

from __future__ import annotations

import datetime
import json
import logging
import logging.handlers
import os
import socket
from pathlib import Path
from typing import Protocol

from oncoresponse.errors import ConfigurationError


class AuditAnchor(Protocol):
    """Keeps what the newest row was."""

    def keep(self, sequence: int, own_hash: str) -> None:
        """Keep number and hash of a row.

        Raises:
            OSError: It cannot be kept now; a later row will tell as much.
        """


def canonical_json(value: object) -> str:
    """JSON as RFC 8785 writes it, for values of texts and whole numbers whose keys are ASCII."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


class FileAnchor:
    """A line for each row, at the end of a file that another owns and this process may only append to.

    Args:
        path: The file; made with mode 0600 where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, sequence: int, own_hash: str) -> None:
        """See :class:`AuditAnchor`."""
        # Not blocking, should it be a FIFO that nobody reads.
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
        try:
            os.write(file, f"{_line(sequence, own_hash)}\n".encode())
        finally:
            os.close(file)


class SyslogAnchor:
    """A message of facility ``authpriv`` for each row to a syslog daemon (UDP or a Unix socket).

    Args:
        address: ``HOST:PORT``, or the path of the daemon's socket, such as ``/dev/log``.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address: str | tuple[str, int] = address if address.startswith("/") else (host.strip("[]"), int(port))

    def keep(self, sequence: int, own_hash: str) -> None:
        """See :class:`AuditAnchor`."""
        # A connection for each, as there is one message a minute: what was restarted meanwhile is found again.
        handler = _Syslog(self._address, logging.handlers.SysLogHandler.LOG_AUTHPRIV, socket.SOCK_DGRAM)
        handler.ident = "oncoresponse-audit: "
        try:
            line = _line(sequence, own_hash)
            handler.emit(logging.LogRecord("audit", logging.INFO, "", 0, line, None, None))
        finally:
            handler.close()


class _Syslog(logging.handlers.SysLogHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of logging
        """Called within the handling of the error: the caller says what follows, not a trace on stderr."""
        del record
        raise


def anchored_rows(path: Path) -> dict[int, str]:
    """Hashes by number from a file of anchors, also where a syslog daemon has written more before each line.

    Raises:
        ConfigurationError: It cannot be read, or holds no anchor.
    """
    fault = ConfigurationError("The anchor of the audit record cannot be read. Give the file of anchors.")
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
        lines = [json.loads(text[text.index("{") :].rstrip("\0 ")) for text in texts if "{" in text]
        if any(text.strip() for text in texts) and not lines:
            raise fault
        return {int(line["sequence"]): str(line["hash"]) for line in lines}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise fault from error


def _line(sequence: int, own_hash: str) -> str:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return canonical_json({"sequence": sequence, "hash": own_hash, "time": now})
