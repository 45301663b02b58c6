"""The log of a server process: our own lines in full, of everybody else's only where they came from.

Libraries put into their messages what they work on: a DICOM value that breaks a rule, the arguments of a workflow
step. That is patient data, and a log is read, shipped and kept by people who must not see it.
"""

from __future__ import annotations

import logging
import sys

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


def log_to_standard_error(*, verbose: bool) -> None:
    """Set up logging of this process: warnings of everybody, and each call of ours when ``verbose``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    handler.addFilter(TextWithheld())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_OWN).setLevel(logging.INFO if verbose else logging.WARNING)
    logging.captureWarnings(True)
