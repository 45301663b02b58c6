"""Tokens of the issuer that this installation refuses although they are valid: by subject, or by id of the token.

An issuer that is asked for each token (introspection, RFC 7662) says itself what it has taken back. This file works
without it, and at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from oncoresponse.access.private_file import WatchedFile, alone_in, read_private, write_private
from oncoresponse.errors import ConfigurationError

REVOCATIONS_FILE = "revoked.yaml"
"""Name of the file in the data folder."""
_SETTING = "revocations_file"
_HEADING = "Refused tokens of OncoResponse. Change it with: oncoresponse users revoke"

_Identifier = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class RevocationsFile(BaseModel):
    """The file.

    Attributes:
        subjects: Claim ``sub``: every token of these is refused.
        token_ids: Claim ``jti``: these tokens are refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    subjects: tuple[_Identifier, ...] = ()
    token_ids: tuple[_Identifier, ...] = ()


class Revocations:
    """What is refused now.

    Args:
        path: The file; it need not be there.

    Raises:
        ConfigurationError: The file is there, and cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._file = WatchedFile(path, RevocationsFile, _SETTING)

    def refuses(self, subject: str, token_id: str) -> bool:
        """Whether a token of this subject and id is refused."""
        content = self._file.content
        return subject in content.subjects or token_id in content.token_ids


def revoke(path: Path, *, subject: str = "", token_id: str = "", undo: bool = False) -> None:
    """Refuse every token of a subject, or one token; or accept it again.

    Raises:
        ConfigurationError: Neither is given, it is not there to be undone, or the file cannot be changed.
    """
    if bool(subject) == bool(token_id):
        raise ConfigurationError("Give the subject whose tokens are to be refused, or the id of one token.")
    with alone_in(path.parent):
        content = read_private(path, RevocationsFile, _SETTING)
        field, value = ("subjects", subject) if subject else ("token_ids", token_id)
        listed: tuple[str, ...] = getattr(content, field)
        if undo and value not in listed:
            raise ConfigurationError("It is not refused, so there is nothing to undo.")
        others = tuple(item for item in listed if item != value)
        try:
            changed = RevocationsFile.model_validate(
                {**content.model_dump(), field: others if undo else (*others, value)}
            )
        except ValueError as error:
            raise ConfigurationError("A subject or id of a token has at most 255 characters.") from error
        write_private(path, changed, _HEADING)
