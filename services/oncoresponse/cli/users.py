"""``oncoresponse users``: who may call a server with a local token, and which tokens of an issuer are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oncoresponse.access import local_users, revocations
from oncoresponse.access.installed import revocations_file_of, users_file_of
from oncoresponse.access.roles import USER_ROLES, AccessRole
from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.caller_variables import CALLER_VARIABLES
from oncoresponse.rpc.settings import ServerSettings, load_settings

_WIDEST = 200

app = typer.Typer(help="Who may call a server with a token of its own file of users.", no_args_is_help=True)

*_, _TOKEN_VARIABLE, _TOKEN_FILE_VARIABLE = CALLER_VARIABLES

DataDirectory = Annotated[Path | None, typer.Option("--data-dir", help="Data folder of the server.")]
SettingsFile = Annotated[Path | None, typer.Option("--settings", help="YAML settings file of the server.")]
UsersFile = Annotated[Path | None, typer.Option("--users-file", help="File of users; users.yaml in the data folder.")]
Days = Annotated[
    int | None,
    typer.Option("--expires-days", help="Days until the token ends; never when not given.", min=1, max=36500),
]
Name = Annotated[str, typer.Argument(help="Name of the user: letters, digits, and . _ @ -")]


@app.command("add")
def add(
    name: Name,
    role: Annotated[list[str], typer.Option("--role", help=f"{', '.join(sorted(USER_ROLES))}; may be repeated.")],
    display_name: Annotated[str, typer.Option(help="Name as it stands in a report that the user signs.")] = "",
    tenant: Annotated[str, typer.Option(help="Whose studies the user sees, where there are tenants.")] = "",
    may_break_glass: Annotated[
        bool, typer.Option("--may-break-glass", help="May read what is closed to the user, for a reason; reported.")
    ] = False,
    expires_days: Days = None,
    data_dir: DataDirectory = None,
    users_file: UsersFile = None,
    settings: SettingsFile = None,
) -> None:
    """Add a user and print the token, once. A running server knows the user from the next call on."""
    file = _users_file(data_dir, users_file, settings)
    token = local_users.add_user(
        file,
        name,
        _roles(role),
        display_name=display_name,
        tenant=tenant,
        may_break_glass=may_break_glass,
        expires_days=expires_days,
    )
    _print_token(name, token)


@app.command("new-token")
def new_token(
    name: Name,
    expires_days: Days = None,
    data_dir: DataDirectory = None,
    users_file: UsersFile = None,
    settings: SettingsFile = None,
) -> None:
    """Give a user another token; the one before is refused from the next call on."""
    _print_token(name, local_users.new_token(_users_file(data_dir, users_file, settings), name, expires_days))


@app.command("remove")
def remove(
    name: Name, data_dir: DataDirectory = None, users_file: UsersFile = None, settings: SettingsFile = None
) -> None:
    """Take a user out; the token is refused from the next call on."""
    local_users.remove_user(_users_file(data_dir, users_file, settings), name)
    typer.echo(f"{name} was removed.")


@app.command("list")
def list_users(data_dir: DataDirectory = None, users_file: UsersFile = None, settings: SettingsFile = None) -> None:
    """Who there is, and what each may do."""
    table = Table("Name", "Roles", "Display name", "Tenant", "Emergency access", "Token of", "Ends", box=None)
    for user in local_users.local_users(_users_file(data_dir, users_file, settings)):
        table.add_row(
            user.name,
            ", ".join(sorted(user.roles)),
            escape(user.display_name),
            user.tenant,
            "yes" if user.may_break_glass else "no",
            user.created.date().isoformat(),
            user.expires.date().isoformat() if user.expires is not None else "never",
        )
    # A name that is cut off is none; whoever has a narrow terminal scrolls.
    Console(width=max(Console().width, _WIDEST), soft_wrap=True).print(table)


@app.command("revoke")
def revoke(
    subject: Annotated[str, typer.Option(help="Claim sub: refuse every token of this subject.")] = "",
    token_id: Annotated[str, typer.Option(help="Claim jti: refuse this one token.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Accept it again.")] = False,
    data_dir: DataDirectory = None,
    revocations_file: Annotated[
        Path | None, typer.Option(help="File of refused tokens; revoked.yaml in the data folder.")
    ] = None,
    settings: SettingsFile = None,
) -> None:
    """Refuse tokens of the issuer although they are valid, from the next call on."""
    if revocations_file is None:
        loaded = _settings(data_dir, settings)
        revocations_file = revocations_file_of(loaded.data_directory, loaded.revocations_file)
    revocations.revoke(revocations_file.expanduser().absolute(), subject=subject, token_id=token_id, undo=undo)
    typer.echo("Accepted again." if undo else "Refused from the next call on.")


def _settings(data_dir: Path | None, settings: Path | None) -> ServerSettings:
    return load_settings(settings, data_directory=data_dir)


def _users_file(data_dir: Path | None, users_file: Path | None, settings: Path | None) -> Path:
    if users_file is None:
        loaded = _settings(data_dir, settings)
        users_file = users_file_of(loaded.data_directory, loaded.users_file)
    return users_file.expanduser().absolute()


def _roles(names: list[str]) -> list[AccessRole]:
    roles = {role.value: role for role in USER_ROLES}
    if unknown := [name for name in names if name not in roles]:
        raise ConfigurationError(
            f"{unknown[0]!r} is no role that a user can have. Roles are {', '.join(sorted(roles))}.",
        )
    return [roles[name] for name in names]


def _print_token(name: str, token: str) -> None:
    """The token alone on standard output, so that it can go into a file; how to use it beside."""
    typer.echo(token)
    typer.echo(
        f"This is the token of {name}. It is shown once and kept nowhere. Put it into a file that only {name} can read "
        f"and call with --token-file FILE ({_TOKEN_FILE_VARIABLE}), or set {_TOKEN_VARIABLE}; programs send the "
        "metadata 'authorization: Bearer TOKEN'.",
        err=True,
    )
