"""The log of a server process: our own lines in full, of everybody else's only where they came from.

Libraries put into their messages what they work on: a DICOM value that breaks a rule, the arguments of a workflow
step. That is patient data, and a log is read, shipped and kept by people who must not see it.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys

from oncoresponse.access.call import current_correlation_id

CALL_FIELDS = "oncoresponse_call"
"""Attribute of a log record with the fields of a call, for :class:`JsonLines`."""

_OWN = "oncoresponse"


class TextWithheld(logging.Filter):
    """Replaces the text of a foreign record by its level, file and line. Nothing is dropped, nothing is quoted."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always lets the record pass."""
        if record.name.split(".")[0] != _OWN:
            record.msg = f"{record.levelname.lower()} at {record.filename}:{record.lineno} (text withheld)"
            record.args = ()
            record.exc_info = None
            record.exc_text = None
            record.stack_info = None
        return True


class TextLines(logging.Formatter):
    """One line of text: time, level, logger, message, and the correlation id of the call or assessment at hand."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        line = super().format(record)
        correlation_id = current_correlation_id()
        return f"{line} [{correlation_id}]" if correlation_id else line


class JsonLines(logging.Formatter):
    """One JSON object a line.

    Fields: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, ``correlation_id`` where there is one, and of
    a call ``method``, ``status``, ``reason`` and ``milliseconds``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if correlation_id := current_correlation_id():
            line["correlation_id"] = correlation_id
        line |= getattr(record, CALL_FIELDS, {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_standard_error(*, verbose: bool, as_json: bool = False) -> None:
    """Set up logging of this process: warnings of everybody, and each call of ours when ``verbose``.

    Args:
        verbose: Whether each call has a line.
        as_json: Lines for a program that collects them, see :class:`JsonLines`; else for people.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else TextLines())
    handler.addFilter(TextWithheld())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_OWN).setLevel(logging.INFO if verbose else logging.WARNING)
    logging.captureWarnings(True)
