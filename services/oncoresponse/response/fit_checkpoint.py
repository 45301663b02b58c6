"""Fits that are finished, on disk, so that a killed training run goes on where it was.

Validation, permutations, simulation and bootstraps all spend their time in
:func:`~oncoresponse.response.pipeline.fit_pipeline`. Each fit is kept as soon as it is made, under a hash of everything
it depends on; the same run started again finds it and goes on from there. What comes out is the same to the byte.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import sklearn
import xgboost

import oncoresponse
from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.task import ResponseTask

FITS_FILE = "fits.sqlite"

_current: ContextVar[FitCheckpoint | None] = ContextVar("fits", default=None)


class FitCheckpoint:
    """Fits by key in one SQLite file.

    Args:
        path: The file; one that is no database of fits is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = self._open()
        except sqlite3.DatabaseError:
            path.unlink()
            self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, isolation_level=None)
        # A killed process loses nothing; a power failure may, and the file is then begun anew.
        database.execute("PRAGMA synchronous = OFF")
        database.execute("CREATE TABLE IF NOT EXISTS fits (key TEXT PRIMARY KEY, fit BLOB NOT NULL)")
        return database

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM fits").fetchone()[0])

    def get(self, key: str) -> bytes | None:
        """What was kept under the key."""
        row = self._database.execute("SELECT fit FROM fits WHERE key = ?", (key,)).fetchone()
        return None if row is None else zlib.decompress(row[0])

    def keep(self, key: str, fit: bytes) -> None:
        """Keep a fit."""
        self._database.execute("INSERT OR REPLACE INTO fits VALUES (?, ?)", (key, zlib.compress(fit, 1)))

    def close(self) -> None:
        """Close the file; it stays."""
        self._database.close()


@contextmanager
def keep_fits(run_directory: Path) -> Iterator[FitCheckpoint]:
    """Keep the fits made inside in ``run_directory/fits.sqlite``, until the block ends without an error."""
    checkpoint = FitCheckpoint(run_directory / FITS_FILE)
    token = _current.set(checkpoint)
    try:
        yield checkpoint
    except BaseException:
        checkpoint.close()
        raise
    else:
        checkpoint.close()
        checkpoint.path.unlink(missing_ok=True)
    finally:
        _current.reset(token)


def current_fits() -> FitCheckpoint | None:
    """Where fits are kept; ``None`` outside of :func:`keep_fits`."""
    return _current.get()


def fit_key(
    task: ResponseTask, inputs: FloatArray, favorable: IntArray, groups: IntArray, seed: int, inner_repeats: int
) -> str:
    """Hash of everything a fit depends on: data, task, seed, and the versions that compute it."""
    versions = [oncoresponse.__version__, xgboost.__version__, np.__version__, sklearn.__version__]
    declared = [task.model_dump(mode="json"), seed, inner_repeats, list(inputs.shape), versions]
    digest = hashlib.sha256(json.dumps(declared, sort_keys=True).encode())
    for array in (inputs.astype("<f8"), favorable.astype("<i8"), groups.astype("<i8")):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def booster_to_text(booster: xgboost.Booster) -> str:
    """A booster as text, to the bit."""
    return base64.b64encode(bytes(booster.save_raw("ubj"))).decode()


def booster_from_text(text: str) -> xgboost.Booster:
    """Inverse of :func:`booster_to_text`."""
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(base64.b64decode(text)))
    return booster
