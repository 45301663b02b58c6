"""One guard for pydicom's process-wide settings, for every part that reads DICOM attributes.

pydicom reports odd values through warnings and its logger, and both quote the value, which may identify a patient.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom import config
from pydicom.config import logger as pydicom_logger

# The warning filters, the validation mode and the logger are process-wide; one lock keeps two threads from restoring
# each other's state.
_lock = threading.RLock()
# How often the thread that holds the lock has entered; only the outermost entry changes anything.
_depth = 0
# Without any handler, logging would write to standard error what is not propagated.
pydicom_logger.addHandler(logging.NullHandler())


@contextmanager
def without_pydicom_messages() -> Iterator[None]:
    """Read leniently and silently: no warning, no log record, no check of value representations."""
    global _depth
    with _lock:
        if _depth:
            yield
            return
        with _silence():
            _depth = 1
            try:
                yield
            finally:
                _depth = 0


@contextmanager
def _silence() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mode, propagate = config.settings.reading_validation_mode, pydicom_logger.propagate
        config.settings.reading_validation_mode = config.IGNORE
        pydicom_logger.propagate = False
        try:
            yield
        finally:
            config.settings.reading_validation_mode = mode
            pydicom_logger.propagate = propagate
