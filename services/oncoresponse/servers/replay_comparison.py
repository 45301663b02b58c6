"""Whether a result that was computed again is the one that was handed out: numbers, masks, words and documents.

Documents are walked field by field, and so is whatever they refer to. Where two documents say the same, references to
them are the same too, although their digests differ in the last digits of a number.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import ValidationError
from pydicom import dcmread

from oncoresponse.case.case import Case
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.stage_software import software_differences
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.volume import Volume
from oncoresponse.errors import ArtifactNotFound, ChecksumMismatch
from oncoresponse.storage.artifact_store import DICOM_MEDIA_TYPE, NRRD_MEDIA_TYPE, ArtifactStore

RELATIVE_TOLERANCE = 1e-6
"""Of a number, as of the golden vectors of features."""
PROBABILITY_TOLERANCE = 1e-9
"""Absolute, of probabilities and log-odds, as of the golden vectors of response models."""
MOST_DIFFERENCES = 200

_NEAR_ZERO = 1e-9
_PROBABILITY = re.compile(r"probability|([a-z]+_)?log_odds")
_JSON = re.compile(r"application/([a-z.+-]+\+)?json")
_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
# Which release wrote a document, and with what, is no part of the result; the second is told apart.
_NOT_COMPARED = frozenset({"document_version", "software"})
# Reports refer to all the rest.
_LAST = "report"
_GONE = "not kept any more"


@dataclass(frozen=True)
class Difference:
    """One thing that came out otherwise. Words are not quoted, because they may name the patient.

    Attributes:
        place: Artifact and place in it.
        recorded: As it was.
        replayed: As it came out.
    """

    place: str
    recorded: str
    replayed: str


@dataclass
class Comparison:
    """How a comparison came out.

    Attributes:
        differences: At most :data:`MOST_DIFFERENCES`.
        left_out: How many more there are.
        numbers: How many were compared.
        artifacts: How many were compared.
        identical: How many of them are the same byte for byte.
        other_bytes: Names of those that are not, and in which nothing differs.
        environment: What differs between software, hardware and settings.
    """

    differences: list[Difference] = field(default_factory=list)
    left_out: int = 0
    numbers: int = 0
    artifacts: int = 0
    identical: int = 0
    other_bytes: list[str] = field(default_factory=list)
    environment: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def compare_results(
    recorded: StoredArtifact,
    replayed: StoredArtifact,
    artifacts: ArtifactStore,
    *,
    handed_out: Mapping[str, StoredArtifact],
    messages: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {}),
) -> Comparison:
    """Compare the case of a replay with the one of the record.

    Args:
        recorded, replayed: Cases after their last stage.
        artifacts: Where they are, and what they refer to.
        handed_out: What the assessment handed out of its case, by file name.
        messages: What it said of itself, and what it would say now, as plain data without artifacts.

    Raises:
        ArtifactNotFound, ChecksumMismatch: A case is not in the store, or damaged.
    """
    walk = _Walk(artifacts)
    one, other = (json.loads(artifacts.read_bytes(stored)) for stored in (recorded, replayed))
    outputs_now = artifacts.read_document(replayed, Case).outputs
    names = sorted({*handed_out, *outputs_now}, key=lambda name: (name.startswith(_LAST), name))
    for name in names:
        if name.startswith(_LAST):
            break
        walk.artifact(name, handed_out.get(name), outputs_now.get(name))
    walk.values("case", _findings(one), _findings(other))
    for name in names:
        if name.startswith(_LAST):
            walk.artifact(name, handed_out.get(name), outputs_now.get(name))
    # What was handed out has to be what the record says, too.
    for name, stored in artifacts.read_document(recorded, Case).outputs.items():
        if name in handed_out and handed_out[name].sha256 != stored.sha256:
            walk.differ(f"record.json {name}", "another file than was handed out", "a file")
    walk.values("result", *messages)
    software = [artifacts.read_document(stored, Case).software for stored in (recorded, replayed)]
    walk.found.environment = software_differences(*software)
    return walk.found


def _findings(case: Mapping[str, Any]) -> dict[str, Any]:
    """A case without what is handed out of it; of the instances, which went in, their digest."""
    found = {name: value for name, value in case.items() if name != "outputs"}
    return found | {"study_manifest": case["study_manifest"]["sha256"]}


class _Walk:
    """Walks two results side by side."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self.found = Comparison()
        self._artifacts = artifacts
        self._compared: set[tuple[str, str]] = set()
        self._same: dict[str, str] = {}

    def differ(self, place: str, recorded: str, replayed: str) -> None:
        if len(self.found.differences) < MOST_DIFFERENCES:
            self.found.differences.append(Difference(place, recorded, replayed))
        else:
            self.found.left_out += 1

    @property
    def _count(self) -> int:
        return len(self.found.differences) + self.found.left_out

    def values(self, place: str, recorded: object, replayed: object) -> None:
        """Compare two pieces of plain data."""
        references = _reference(recorded), _reference(replayed)
        if all(references):
            self.artifact(place, *references)
        elif isinstance(recorded, Mapping) and isinstance(replayed, Mapping):
            for name in dict.fromkeys((*recorded, *replayed)):
                if name not in _NOT_COMPARED:
                    self.values(f"{place}/{name}", recorded.get(name), replayed.get(name))
        elif _is_list(recorded) and _is_list(replayed) and len(recorded) == len(replayed):  # type: ignore[arg-type]
            for number, (one, other) in enumerate(zip(recorded, replayed, strict=True)):  # type: ignore[call-overload]
                self.values(f"{place}/{number}", one, other)
        elif _is_number(recorded) and _is_number(replayed):
            self._numbers(place, float(recorded), float(replayed))  # type: ignore[arg-type]
        elif _is_empty(recorded) and _is_empty(replayed):
            # A field that a newer release added, or that had no value.
            return
        elif isinstance(recorded, str) and isinstance(replayed, str):
            if _DIGEST.sub(lambda found: self._same.get(found[0], found[0]), recorded) != replayed:
                self.differ(place, *_described(recorded, replayed))
        elif recorded != replayed:
            self.differ(place, *_described(recorded, replayed))

    def artifact(self, place: str, recorded: StoredArtifact | None, replayed: StoredArtifact | None) -> None:
        """Compare two artifacts, once."""
        if recorded is None or replayed is None:
            self.differ(place, *("nothing" if each is None else "a file" for each in (recorded, replayed)))
            return
        pair = recorded.sha256, replayed.sha256
        if pair in self._compared:
            return
        self._compared.add(pair)
        self.found.artifacts += 1
        before = self._count
        try:
            if recorded.sha256 == replayed.sha256:
                self._identical(recorded)
                return
            self._contents(place, recorded, replayed)
        except ArtifactNotFound:
            self.differ(place, _GONE, "another file")
        except ChecksumMismatch:
            self.differ(place, "damaged in the store", "a file")
        if self._count == before:
            self.found.other_bytes.append(place)
            self._same[recorded.sha256] = replayed.sha256

    def _contents(self, place: str, recorded: StoredArtifact, replayed: StoredArtifact) -> None:
        if recorded.media_type != replayed.media_type:
            self.differ(place, recorded.media_type, replayed.media_type)
        elif _JSON.fullmatch(recorded.media_type):
            one, other = (json.loads(self._artifacts.read_bytes(stored)) for stored in (recorded, replayed))
            self.values(place, one, other)
        elif recorded.media_type == NRRD_MEDIA_TYPE:
            self._volumes(place, *(self._artifacts.read_volume(stored) for stored in (recorded, replayed)))
        elif recorded.media_type == DICOM_MEDIA_TYPE:
            self.values(place, *(_elements(self._artifacts.read_bytes(stored)) for stored in (recorded, replayed)))
        else:
            # Pages and pictures: what they show is compared above, and their bytes depend on the library that set them.
            self._artifacts.read_bytes(recorded)

    def _volumes(self, place: str, recorded: Volume, replayed: Volume) -> None:
        grids = recorded.geometry.model_dump(), replayed.geometry.model_dump()
        before = self._count
        self.values(f"{place} grid", *grids)
        if recorded.quantity is not replayed.quantity:
            self.differ(f"{place} quantity", recorded.quantity.value, replayed.quantity.value)
        if self._count != before:
            return
        one, other = recorded.array, replayed.array
        if recorded.quantity is Quantity.MASK:
            if changed := int(np.count_nonzero(one != other)):
                self.differ(
                    f"{place} voxels",
                    f"{int(np.count_nonzero(one))} in the lesion",
                    f"{int(np.count_nonzero(other))} in the lesion, {changed} changed",
                )
            return
        first, second = one.astype(np.float64), other.astype(np.float64)
        apart = np.abs(first - second)
        if not np.all(apart <= RELATIVE_TOLERANCE * np.maximum(np.abs(first), _NEAR_ZERO)):
            worst = np.unravel_index(int(np.argmax(np.nan_to_num(apart, nan=np.inf))), apart.shape)
            self.differ(f"{place} voxels", f"{first[worst]:.9g} where most changed", f"{second[worst]:.9g}")

    def _numbers(self, place: str, recorded: float, replayed: float) -> None:
        self.found.numbers += 1
        allowed = RELATIVE_TOLERANCE * max(abs(recorded), _NEAR_ZERO)
        if _PROBABILITY.fullmatch(place.rpartition("/")[2]):
            allowed = PROBABILITY_TOLERANCE
        if not abs(recorded - replayed) <= allowed and not (math.isnan(recorded) and math.isnan(replayed)):
            self.differ(place, repr(recorded), repr(replayed))

    def _identical(self, stored: StoredArtifact) -> None:
        """Count an artifact that is the same byte for byte, the numbers in it, and what it refers to.

        Raises:
            ChecksumMismatch: It was damaged since.
        """
        data = b""
        # What retention has removed was read by nobody, and made again.
        with suppress(ArtifactNotFound), self._artifacts.open(stored) as file:
            data = file.read() if _JSON.fullmatch(stored.media_type) else b""
        self.found.identical += 1
        waiting = [json.loads(data)] if data else []
        while waiting:
            value = waiting.pop()
            reference = _reference(value)
            if reference is not None:
                self.artifact("", reference, reference)
            elif isinstance(value, Mapping):
                waiting.extend(value.values())
            elif _is_list(value):
                waiting.extend(value)
            else:
                self.found.numbers += _is_number(value)


def _reference(value: object) -> StoredArtifact | None:
    """The reference that a piece of a document is."""
    if not isinstance(value, Mapping) or not {"sha256", "size_bytes", "media_type"} <= set(value):
        return None
    try:
        return StoredArtifact.model_validate(value)
    except ValidationError:
        return None


def _elements(data: bytes) -> dict[str, Any]:
    """Every element of a DICOM object, values of bytes in base64 (PS3.18, F.2)."""
    elements: dict[str, Any] = dcmread(io.BytesIO(data)).to_json_dict(bulk_data_threshold=len(data) + 1)
    return elements


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_empty(value: object) -> bool:
    return value is None or value is False or value in ("", 0) or value in ([], {})


def _described(recorded: object, replayed: object) -> tuple[str, str]:
    if isinstance(recorded, str) and isinstance(replayed, str):
        return "words", "other words"
    return _one_described(recorded), _one_described(replayed)


def _one_described(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool) or _is_number(value):
        return str(value).lower() if isinstance(value, bool) else repr(value)
    if _is_list(value):
        return f"{len(value)} items"  # type: ignore[arg-type]
    return "words" if isinstance(value, str) else "a document"
