"""The register of erasures: who was erased and what was deleted, as keyed digests, outside of every backup.

A backup that is restored brings back who was erased after it was made. The register is a file of JSON lines that is
only appended to; best it lies on another disk than the data, as the anchor of the audit record does. It holds no
identifier: who has the key of the audit record can test whether a Patient ID is in it.
"""

from __future__ import annotations

import datetime
import fcntl
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import ConfigurationError, ErasureRegisterUnavailable
from oncoresponse.storage.audit_store import PatientDigests

REGISTER_FILE = "erasures.jsonl"
"""Its name in the data folder."""

# Names are never given twice, and a deletion is registered before it is carried out.
_CARRIED_OUT_WITHIN = datetime.timedelta(minutes=5)


class RegisteredErasure(BaseModel):
    """One line.

    Attributes:
        time: When it began (UTC).
        key: Which key the digests were made with; it says nothing of the key.
        patients: Digests of patients of whom everything went.
        studies: Digests of names of studies that went.
        assessments: Of assessments that went.
        orders: Of orders that went.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    time: AwareDatetime
    key: str
    patients: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    assessments: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()


class ErasureRegister:
    """Appends lines; several processes may do so at once.

    Args:
        path: The file; made with mode 0600 where there is none.
        digests: Of patients and names.
    """

    def __init__(self, path: Path, digests: PatientDigests) -> None:
        self._path = path
        self._digests = digests

    def prepare(self) -> None:
        """Begin the register where there is none, so that it can be told from one that was lost.

        Raises:
            ErasureRegisterUnavailable: It cannot be written.
        """
        if not self._path.exists() or not self._path.stat().st_size:
            self.add()

    def digest_of(self, patient: IndexedPatient, *, any_issuer: bool) -> str:
        """What stands in the register for a patient: with the issuer, or whoever that is."""
        alone, both = self._digests.of(patient)
        return alone if any_issuer else both

    def add(
        self,
        *,
        patients: Iterable[str] = (),
        studies: Iterable[str] = (),
        assessments: Iterable[str] = (),
        orders: Iterable[str] = (),
    ) -> None:
        """Note what goes; it is on the disk when this returns.

        Args:
            patients: What :meth:`digest_of` gave.
            studies, assessments, orders: Names, which are written as digests.

        Raises:
            ErasureRegisterUnavailable: It cannot be written. Nothing may be erased then.
        """
        line = RegisteredErasure(
            time=datetime.datetime.now(datetime.UTC),
            key=self._digests.key_name,
            patients=tuple(patients),
            studies=tuple(map(self._digests.of_name, studies)),
            assessments=tuple(map(self._digests.of_name, assessments)),
            orders=tuple(map(self._digests.of_name, orders)),
        )
        append_lines(self._path, [line])


class Erased:
    """What a register says has to be gone from a backup of a time.

    Args:
        lines: Of the registers.
        digests: With the key of the installation.
        since: When the backup was begun.
        whole: Refuse a register that begins after the backup.

    Raises:
        ConfigurationError: The register is that of another installation, or begins after the backup.
    """

    def __init__(
        self, lines: Collection[RegisteredErasure], digests: PatientDigests, since: datetime.datetime, *, whole: bool
    ) -> None:
        self._digests = digests
        self._patients: set[str] = set()
        self._names: set[str] = set()
        if whole and all(line.time > since for line in lines):
            raise ConfigurationError(
                "The register of erasures begins after the backup was made: who was erased in between is not in it. "
                "Give the earlier register too (--erasures, repeatable); if it is lost, say --without-erasures beside."
            )
        for line in lines:
            if line.key != digests.key_name:
                raise ConfigurationError(
                    "The register of erasures was written with another key (secrets/audit.key) than the one in the "
                    "backup. Give the register of this installation."
                )
            if line.time >= since - _CARRIED_OUT_WITHIN:
                self._names |= {*line.studies, *line.orders, *line.assessments}
            if line.time >= since:
                self._patients |= set(line.patients)

    def has_patient(self, patient: IndexedPatient) -> tuple[bool, bool]:
        """Whether everything of a patient was erased under this issuer, and under any."""
        alone, both = self._digests.of(patient)
        return both in self._patients, alone in self._patients

    def has_name(self, name: str) -> bool:
        """Whether a study, an assessment or an order was erased or deleted."""
        return self._digests.of_name(name) in self._names


def append_lines(path: Path, lines: Iterable[RegisteredErasure]) -> None:
    """Write lines at the end of a register, through to the disk.

    Raises:
        ErasureRegisterUnavailable: It cannot be written.
    """
    data = "".join(f"{line.model_dump_json()}\n" for line in lines).encode()
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = os.fstat(file).st_size
            # A line that a crash has cut off must not swallow the next one.
            if size and os.pread(file, 1, size - 1) != b"\n":
                data = b"\n" + data
            while data:
                data = data[os.write(file, data) :]
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise ErasureRegisterUnavailable(
            "The register of erasures (erasure_register) cannot be written, so nothing is erased. Look at its disk."
        ) from error


def registered_erasures(path: Path) -> list[RegisteredErasure]:
    """All lines of a register; of the last one a part may be missing where a crash has cut it off.

    Raises:
        ConfigurationError: It cannot be read, or is none.
    """
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("The register of erasures cannot be read. Check the file.") from error
    found = []
    for text in filter(None, texts):
        try:
            found.append(RegisteredErasure.model_validate_json(text))
        except ValidationError:
            # Cut off before it was acknowledged: what it was about had not begun. The same line was added again.
            if text.startswith('{"time":') and not text.endswith("}"):
                continue
            raise ConfigurationError(
                "The register of erasures holds a line that is none. Give the file of the setting erasure_register."
            ) from None
    return found


def merged(*registers: Iterable[RegisteredErasure]) -> list[RegisteredErasure]:
    """Lines of several registers, each once, oldest first."""
    return sorted({line for register in registers for line in register}, key=lambda line: line.time)
