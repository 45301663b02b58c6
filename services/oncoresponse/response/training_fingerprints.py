"""By what a model recognizes the patients it was trained on, without holding who they were.

Three kinds, each of which alone suffices:

- **Identifiers**: scrypt (RFC 7914) of the patient identifier under a key that the site keeps and the model does not
  hold. Without the key nobody can try identifiers; with it a try costs a tenth of a second. A model that is published
  has no site key, hence no fingerprints of this kind, and de-identified identifiers differ anyway.
- **Pixels**: SHA-256 of the values of a CT slice in HU, sorted, so that it does not matter how the slice is turned.
  CT is stored in whole HU, so a slice comes out of DICOM and of NIfTI with the same numbers as long as it was neither
  resampled nor cropped otherwise. PET in SUV is not hashed: its stored numbers and their scale differ between exports.
  Slices with few different values (air, padding) say nothing and are left out.
- **Rows**: SHA-256 of the input values to six digits, for predictions from a table.

Two patients cannot share a CT slice or a row of measured numbers to six digits by chance. The other way round nothing
is promised: a patient whose images were resampled, or exported with another crop, is not recognized.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import SimpleITK as sitk
from oncoradiomics.errors import ImageFileError
from oncoradiomics.image_files import read_image
from pydantic import BaseModel, ConfigDict, ValidationError

from oncoresponse.errors import ModelFolderInvalid, TrainingDataInvalid
from oncoresponse.model.folder import ModelFolder
from oncoresponse.response.arrays import FloatArray
from oncoresponse.response.task import ResponseInput

FINGERPRINTS_FILE = "training-fingerprints.json"
"""In the ``response`` folder of a model."""

SMALLEST_KEY = 16
MATCHING_SLICES = 3
"""Slices of a study that have to agree."""

_FEWEST_VALUES = 64
_LARGEST_HU = 32_767
_DIGEST_BYTES = 16
_COST, _BLOCK, _PARALLEL = 2**15, 8, 1
_SCRYPT_MEMORY = 128 * 1024 * 1024


class TrainingFingerprints(BaseModel):
    """Contents of ``training-fingerprints.json``; every list is sorted, so that the order says nothing.

    Attributes:
        identifiers: Of patient identifiers under the site's key.
        slices: Of CT slices.
        rows: Of input values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identifiers: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    @classmethod
    def of_patients(cls, identifiers: Iterable[str], key: bytes | None, images: Iterable[Path] = ()) -> Self:
        """Fingerprints of the patients of a training run; their rows come with :meth:`of_rows`.

        Args:
            identifiers: Of the patients.
            key: The site's key; without one no identifier is kept in any form.
            images: CT files of the patients that SimpleITK reads, in HU.
        """
        hashed = () if key is None else tuple(sorted(hash_identifier(name, key) for name in identifiers))
        slices = {digest for path in images for digest in hash_slices(_read_hounsfield(path))}
        return cls(identifiers=hashed, slices=tuple(sorted(slices)))

    def of_rows(self, values: FloatArray) -> Self:
        """The same with the rows (patients, inputs) of the training table, where these hold a measured number."""
        measured = [column for column in values.T if len(np.unique(column)) > len(column) / 2]
        rows = tuple(sorted(hash_row(row) for row in values)) if measured else ()
        return self.model_copy(update={"rows": rows})

    @classmethod
    def of_model(cls, folder: ModelFolder) -> Self:
        """Of a model folder; empty where it holds none.

        Raises:
            ModelFolderInvalid: The file does not follow its schema.
        """
        name = f"response/{FINGERPRINTS_FILE}"
        if not folder.has(name):
            return cls()
        try:
            return cls.model_validate_json(folder.file(name).read_bytes())
        except ValidationError as error:
            raise ModelFolderInvalid(f"{FINGERPRINTS_FILE} does not follow its schema. Install it again.") from error

    def knows_identifier(self, identifier: str, key: bytes | None) -> bool:
        """Whether the patient identifier is one of the training patients'."""
        return bool(key and identifier and self.identifiers) and hash_identifier(identifier, key or b"") in set(
            self.identifiers
        )

    def knows_slices(self, array: np.ndarray) -> bool:
        """Whether :data:`MATCHING_SLICES` slices of a CT (slice, row, column) in HU are those of training patients."""
        known = set(self.slices)
        return bool(known) and sum(digest in known for digest in hash_slices(array)) >= MATCHING_SLICES

    def knows_row(self, inputs: Sequence[ResponseInput], values: Mapping[str, float]) -> bool:
        """Whether the input values are those of a training patient."""
        row = [values.get(entry.name, float("nan")) for entry in inputs]
        return bool(self.rows) and bool(np.isfinite(row).all()) and hash_row(row) in set(self.rows)


def read_key(path: Path) -> bytes:
    """The site's key: the bytes of a file that only the site has.

    Raises:
        TrainingDataInvalid: The file cannot be read or is too short to be a secret.
    """
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise TrainingDataInvalid("The fingerprint key cannot be read. Check the path and its permissions.") from error
    if len(key) < SMALLEST_KEY:
        raise TrainingDataInvalid(
            f"The fingerprint key has fewer than {SMALLEST_KEY} bytes. Make one with 'openssl rand -hex 32'."
        )
    return key


def hash_identifier(identifier: str, key: bytes) -> str:
    """scrypt of the identifier, trimmed and in one case, with the key as salt; hexadecimal."""
    digest = hashlib.scrypt(
        identifier.strip().casefold().encode(),
        salt=key,
        n=_COST,
        r=_BLOCK,
        p=_PARALLEL,
        maxmem=_SCRYPT_MEMORY,
        dklen=_DIGEST_BYTES,
    )
    return digest.hex()


def hash_slices(array: np.ndarray) -> list[str]:
    """One hash for each slice of a CT (slice, row, column) in HU that has enough different values."""
    found = []
    for plane in np.asarray(array):
        values = np.sort(np.clip(np.rint(plane), -_LARGEST_HU, _LARGEST_HU).astype("<i2").ravel())
        if len(np.unique(values)) >= _FEWEST_VALUES:
            found.append(hashlib.sha256(values.tobytes()).digest()[:_DIGEST_BYTES].hex())
    return found


def hash_row(row: Sequence[float] | FloatArray) -> str:
    """Of input values to six digits."""
    text = ",".join(f"{float(value):.6g}" for value in row)
    return hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES].hex()


def _read_hounsfield(path: Path) -> np.ndarray:
    try:
        return np.asarray(sitk.GetArrayFromImage(read_image(path)))
    except ImageFileError as error:
        raise TrainingDataInvalid("An image of a training patient cannot be read. Give NIfTI, NRRD or MHA.") from error
