"""Where each command is, so that a command loads its own module alone: the libraries of all take a second."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "amend": "sign_off",
    "assess": "assess",
    "backup": "backup",
    "backup-key": "backup",
    "delete-assessment": "administration",
    "doctor": "doctor",
    "edges": "edges",
    "erase-patient": "administration",
    "evaluate": "training",
    "export": "export",
    "forecast": "forecast",
    "judge": "sign_off",
    "measure-contour": "measure_contour",
    "merge-patients": "administration",
    "monitor": "monitor",
    "move-study": "administration",
    "predict": "predict",
    "recall": "model_control",
    "record-outcome": "monitor",
    "replay": "replay",
    "report": "sign_off",
    "restore": "backup",
    "retention": "administration",
    "series": "series",
    "sign": "sign_off",
    "withdraw": "sign_off",
}
"""Module of ``oncoresponse.cli`` by command; the function has the command's name, with underscores."""
GROUPS = {
    "audit": "audit",
    "deliveries": "deliveries",
    "models": "models",
    "orders": "orders",
    "pacs": "pacs",
    "routes": "routes",
    "train": "training",
    "users": "users",
}
"""Module of ``oncoresponse.cli`` by group of commands, which is its ``app``."""


class TableGroup(TyperGroup):
    """The commands of the tables, beside those that are registered as usual. Help names all of them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the help."""
        return [*COMMANDS, *super().list_commands(ctx), *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, loaded where it is not yet; ``None`` where there is none of that name."""
        # For a name that there is not all are loaded, since typer suggests one that is like it.
        wanted = (cmd_name,) if cmd_name in (*COMMANDS, *GROUPS, *self.commands) else (*COMMANDS, *GROUPS)
        for name in wanted:
            if name not in self.commands:
                self.commands[name] = _loaded(name)
        return super().get_command(ctx, cmd_name)


def _loaded(name: str) -> Any:
    if name in GROUPS:
        group = typer.main.get_group(import_module(f"oncoresponse.cli.{GROUPS[name]}").app)
        group.name = name
        return group
    function = getattr(import_module(f"oncoresponse.cli.{COMMANDS[name]}"), name.replace("-", "_"))
    # Completion is an option of the whole, not of each command.
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name)(function)
    return typer.main.get_command(alone)
