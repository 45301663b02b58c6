"""Files with a secret that processes of one installation share: made once in the data folder, or given."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from oncoresponse.errors import ConfigurationError

_FEWEST_CHARACTERS = 32


def shared_token(path: Path, *, make: bool, whose: str, setting: str) -> str:
    """The token in a file.

    Args:
        path: The file.
        make: Write a new token where there is no file.
        whose: Who shows the token, for messages.
        setting: Name of the setting that gives the file, for messages.

    Raises:
        ConfigurationError: The file cannot be read or made, others than its owner may read it, or it holds no token.
    """
    try:
        if make and not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(
                f"The file with the token of the {whose} can be read by others. Take their rights away (chmod 600).",
                setting=setting,
            )
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The file with the token of the {whose} cannot be read or made. Check {setting}, or the rights of the "
            "data folder.",
            setting=setting,
        ) from error
    if len(token) < _FEWEST_CHARACTERS or not token.isprintable() or " " in token:
        raise ConfigurationError(
            f"The file with the token of the {whose} holds none: one word of at least {_FEWEST_CHARACTERS} "
            "characters. Make one with 'openssl rand -hex 32'.",
            setting=setting,
        )
    return token


def _make(path: Path) -> None:
    """Write a new token, whole or not at all; of several processes that start at once, one wins."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)
        except FileExistsError:
            return
    finally:
        Path(name).unlink()
