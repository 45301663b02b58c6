"""Callers of a local file of users and tokens: for a first start, and for installations without an issuer of tokens.

A token has 256 random bits. That is why a plain SHA-256 of it is kept, and no slow password hash: nobody can try out
2^256 tokens whatever one trial costs, while a slow hash would let whoever sends wrong tokens keep the server busy.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_serializer, model_validator

from oncoresponse.access.caller import Caller, Credentials, Identification
from oncoresponse.access.names import CallerName, DisplayName, TenantName, UserRoles
from oncoresponse.access.private_file import WatchedFile, alone_in, read_private, write_private
from oncoresponse.access.roles import AccessRole
from oncoresponse.case.schema_faults import schema_faults
from oncoresponse.errors import ConfigurationError, NotAuthenticated

USERS_FILE = "users.yaml"
"""Name of the file in the data folder."""
TOKEN_PREFIX = "oncoresponse_"  # noqa: S105 - the beginning of every token, by which scanners of source code find a lost one
_TOKEN_BYTES = 32
_LONGEST_TOKEN = 128
_SETTING = "users_file"
_HEADING = "Users of OncoResponse. Change it with: oncoresponse users add, remove, new-token"


class LocalUser(BaseModel):
    """One user.

    Attributes:
        name: Unique.
        display_name: As it stands in a report that the user signs.
        roles: What the user may do.
        tenant: Whose studies the user sees; empty where the installation has no tenants.
        may_break_glass: May read what is closed to the user, for a reason.
        token_sha256: Of the token, in hexadecimal digits.
        created: When the token was made, UTC.
        expires: When it ends; ``None`` for never.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: CallerName
    display_name: DisplayName = ""
    roles: UserRoles
    tenant: TenantName = ""
    may_break_glass: bool = False
    token_sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    created: AwareDatetime
    expires: AwareDatetime | None = None

    @field_serializer("roles")
    def _in_order(self, roles: frozenset[AccessRole]) -> list[str]:
        return sorted(role.value for role in roles)


class UsersFile(BaseModel):
    """The file: users by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    users: tuple[LocalUser, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> UsersFile:
        for what in ("name", "token_sha256"):
            values = [getattr(user, what) for user in self.users]
            if len(values) != len(set(values)):
                raise ValueError(f"two users have the same {what}")
        return self


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class LocalUsers:
    """Recognizes them; see :class:`~oncoresponse.access.authentication.Authenticator`.

    Args:
        path: The file; it need not be there yet.
        now: The clock.

    Raises:
        ConfigurationError: The file is there, and cannot be used.
    """

    def __init__(self, path: Path, now: Callable[[], datetime.datetime] = _utc_now) -> None:
        self._file = WatchedFile(path, UsersFile, _SETTING)
        self._now = now

    @property
    def is_empty(self) -> bool:
        """Whether nobody can be recognized now."""
        return not self._file.content.users

    def authenticate(self, credentials: Credentials) -> Caller | None:
        """The user whose token it is; ``None`` for what is no token of this kind.

        Raises:
            NotAuthenticated: It is of this kind and nobody's, or has ended.
        """
        token = credentials.bearer
        if not token.startswith(TOKEN_PREFIX):
            return None
        found = None
        if len(token) <= _LONGEST_TOKEN:
            digest = _digest(token)
            # Every user is compared, so that the time tells nothing of who is there.
            for user in self._file.content.users:
                if hmac.compare_digest(user.token_sha256, digest):
                    found = user
        if found is None:
            raise NotAuthenticated("The token is not one that this installation gave out. Ask your administrator.")
        if found.expires is not None and found.expires <= self._now():
            raise NotAuthenticated("The token has ended. Ask your administrator for a new one.")
        return Caller(
            name=found.name,
            roles=found.roles,
            identified_by=Identification.LOCAL_TOKEN,
            display_name=found.display_name or found.name,
            tenant=found.tenant,
            may_break_glass=found.may_break_glass,
        )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _new_token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def local_users(path: Path) -> tuple[LocalUser, ...]:
    """Who is in the file.

    Raises:
        ConfigurationError: It cannot be used.
    """
    return read_private(path, UsersFile, _SETTING).users


def add_user(
    path: Path,
    name: str,
    roles: Iterable[AccessRole],
    *,
    display_name: str = "",
    tenant: str = "",
    may_break_glass: bool = False,
    expires_days: int | None = None,
) -> str:
    """Add a user; makes the file where there is none.

    Returns:
        The token, which is kept nowhere.

    Raises:
        ConfigurationError: The name is taken or not allowed, or the file cannot be changed.
    """
    with alone_in(path.parent):
        users = local_users(path)
        if any(user.name == name for user in users):
            raise ConfigurationError(
                "There is a user of this name. Take another one, or give a new token: oncoresponse users new-token."
            )
        token, now = _new_token(), _utc_now().replace(microsecond=0)
        try:
            user = LocalUser(
                name=name,
                display_name=display_name,
                roles=frozenset(roles),
                tenant=tenant,
                may_break_glass=may_break_glass,
                token_sha256=_digest(token),
                created=now,
                expires=None if expires_days is None else now + datetime.timedelta(days=expires_days),
            )
        except ValidationError as error:
            raise ConfigurationError(f"Such a user cannot be: {schema_faults(error)}") from error
        write_private(path, UsersFile(users=(*users, user)), _HEADING)
    return token


def remove_user(path: Path, name: str) -> None:
    """Take a user out; its token is refused from the next call on.

    Raises:
        ConfigurationError: There is none of this name, or the file cannot be changed.
    """
    with alone_in(path.parent):
        users = local_users(path)
        _the_user(users, name)
        write_private(path, UsersFile(users=tuple(user for user in users if user.name != name)), _HEADING)


def new_token(path: Path, name: str, expires_days: int | None = None) -> str:
    """Give a user another token; the one before is refused from the next call on.

    Returns:
        The token, which is kept nowhere.

    Raises:
        ConfigurationError: There is none of this name, or the file cannot be changed.
    """
    with alone_in(path.parent):
        users = local_users(path)
        token, now = _new_token(), _utc_now().replace(microsecond=0)
        expires = None if expires_days is None else now + datetime.timedelta(days=expires_days)
        renewed = _the_user(users, name).model_copy(
            update={"token_sha256": _digest(token), "created": now, "expires": expires}
        )
        write_private(path, UsersFile(users=tuple(renewed if user.name == name else user for user in users)), _HEADING)
    return token


def _the_user(users: Iterable[LocalUser], name: str) -> LocalUser:
    for user in users:
        if user.name == name:
            return user
    raise ConfigurationError("There is no user of this name. 'oncoresponse users list' says who there is.")
