"""One encrypted file, in the format age (https://age-encryption.org/v1), as a stream.

It is encrypted for public keys: who makes a backup cannot read one. The programs age and rage read and write the same
keys and files.
"""

from __future__ import annotations

import datetime
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyrage

from oncoresponse.errors import BackupDamaged, BackupKeyWrong, ConfigurationError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SECRET = "AGE-SECRET-KEY-"  # noqa: S105 - how each of them begins
_DAMAGED = (
    "The file is no backup, or was cut off or changed after it was written: its encryption does not fit. "
    "Nothing was restored. Take another backup."
)


def make_key_pair(identity: Path, recipient: Path) -> None:
    """Write a new private key (mode 0600) and its public key.

    Raises:
        ConfigurationError: One of the files is there already; neither is changed.
    """
    key = pyrage.x25519.Identity.generate()
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    texts = (
        (recipient, f"{key.to_public()}\n"),
        (identity, f"# created: {now}\n# public key: {key.to_public()}\n{key}\n"),
    )
    if any(path.exists() for path, _ in texts):
        raise ConfigurationError("A file of one of these names is there. A key that was used is never written over.")
    for path, text in texts:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="ascii") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
    recipient.chmod(0o644)


def read_recipients(path: Path) -> list[Any]:
    """Public keys of a file: one a line, ``#`` begins a comment.

    Raises:
        ConfigurationError: It cannot be read, holds no public key, or a private one.
    """
    lines = _lines(path, "--recipient")
    if any(line.startswith(_SECRET) for line in lines):
        raise ConfigurationError(
            "The file of --recipient holds a private key, which belongs on no server. Give the file with the public "
            "key (oncoresponse backup-key --recipient), and keep the private one elsewhere."
        )
    try:
        found = [pyrage.x25519.Recipient.from_str(line) for line in lines]
    except pyrage.RecipientError:
        found = []
    if not found:
        raise ConfigurationError("The file of --recipient holds no public key: lines that begin with age1.")
    return found


def read_identities(path: Path) -> list[Any]:
    """Private keys of a file that its owner alone may read.

    Raises:
        ConfigurationError: It cannot be read, others may read it, or it holds no private key.
    """
    lines = _lines(path, "--identity")
    if stat.S_IMODE(path.stat().st_mode) & _OTHERS:
        raise ConfigurationError("The file of --identity can be read by others than its owner (chmod 600).")
    try:
        found = [pyrage.x25519.Identity.from_str(line) for line in lines]
    except pyrage.IdentityError:
        found = []
    if not found:
        raise ConfigurationError(f"The file of --identity holds no private key: lines that begin with {_SECRET}.")
    return found


def _lines(path: Path, option: str) -> list[str]:
    try:
        texts = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The file of {option} cannot be read, or is no file of keys.") from error
    return [text.strip() for text in texts if text.strip() and not text.startswith("#")]


class _Pieces:
    """Bytes that come piece by piece, as a file to read from. Keeps what went wrong: pyrage passes only its text on."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            while not self._rest:
                self._rest = memoryview(next(self._pieces))
        except StopIteration:
            return b""
        except BaseException as error:
            self.error = error
            raise
        given, self._rest = self._rest[:size], self._rest[size:]
        return bytes(given)


class _Written:
    """A file to write to. Keeps what went wrong."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except BaseException as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def encrypt(pieces: Iterator[bytes], out: BinaryIO, recipients: Sequence[Any]) -> None:
    """Write all pieces encrypted. What the pieces or the file raise comes through."""
    reader, writer = _Pieces(pieces), _Written(out)
    try:
        pyrage.encrypt_io(reader, writer, list(recipients))
    except Exception as error:
        raise (reader.error or writer.error or error) from None


@contextmanager
def decrypted(path: Path, identities: Sequence[Any]) -> Iterator[BinaryIO]:
    """What a file holds, to be read once from its beginning to its end.

    What was read is the beginning of what was written, and is to be trusted only when the end of the block was reached
    without an error: there it is found out that a file was cut off.

    Raises:
        BackupKeyWrong: It was encrypted for another key.
        BackupDamaged: It is no such file, or was changed or cut off.
        ConfigurationError: It cannot be read.
    """
    reading, writing = os.pipe()
    failures: list[BaseException] = []

    def work(source: BinaryIO) -> None:
        with source, os.fdopen(writing, "wb", buffering=0) as out:
            try:
                pyrage.decrypt_io(source, out, list(identities))
            except BrokenPipeError:
                return
            except Exception as error:
                failures.append(error)

    try:
        source = path.open("rb")
    except OSError as error:
        os.close(reading)
        os.close(writing)
        raise ConfigurationError(f"The backup cannot be read: {error.strerror}.") from error
    thread = threading.Thread(target=work, args=(source,), name="decryption")
    thread.start()
    try:
        with os.fdopen(reading, "rb") as stream:
            try:
                yield stream
                # Up to the end, where what was cut off shows.
                while stream.read(1024**2):
                    pass
            except Exception:
                # What broke may be no more than what a broken stream looks like.
                stream.close()
                thread.join()
                _raise_known(failures)
                raise
    finally:
        thread.join()
    _raise_known(failures)


def _raise_known(failures: list[BaseException]) -> None:
    for error in failures:
        if isinstance(error, pyrage.DecryptError) and "No matching keys" in str(error):
            raise BackupKeyWrong(
                "The backup was encrypted for another key than that of --identity. Nothing was restored."
            ) from None
        raise BackupDamaged(_DAMAGED) from None
