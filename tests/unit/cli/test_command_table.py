"""Every command is in the table, is in the help, and loads no other command's libraries."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from oncoresponse.cli.command_table import COMMANDS, GROUPS
from oncoresponse.cli.main import app
from typer.testing import CliRunner

ROOT = Path(__file__).parents[3]


def test_help_names_each_command_with_what_it_does():
    shown = CliRunner().invoke(app, ["--help"], terminal_width=200, color=False)
    assert shown.exit_code == 0
    lines = {found[1]: found[2] for found in re.finditer(r"(?m)^\W*([a-z-]+) {2,}(\S.*)$", shown.output)}
    assert {*COMMANDS, *GROUPS, "serve", "recover"} <= set(lines)


@pytest.mark.parametrize("name", [*COMMANDS, *GROUPS, "serve", "recover"])
def test_each_command_has_its_own_help(name):
    shown = CliRunner().invoke(app, [name, "--help"], terminal_width=200, color=False)
    assert shown.exit_code == 0
    assert f" {name} [OPTIONS]" in shown.output
    assert ("--install-completion" in shown.output) is False


def test_a_slip_is_answered_with_a_suggestion():
    shown = CliRunner().invoke(app, ["asess"])
    assert shown.exit_code == 2
    assert "'assess'" in shown.output


@pytest.mark.parametrize("name", ["serve", "series"])
def test_a_command_loads_its_own_libraries_alone(name):
    program = (
        "import sys\nfrom oncoresponse.cli.main import app\n"
        "app(sys.argv[1:], standalone_mode=False)\nprint(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, name, "--help"], capture_output=True, text=True, cwd=ROOT)
    loaded = set(done.stderr.split())
    assert "oncoresponse.cli.command_table" in loaded, done.stderr
    others = {"oncoresponse.cli.assess", "oncoresponse.cli.audit", "oncoresponse.cli.users"}
    assert not loaded & {"sqlalchemy", "protovalidate", "pydantic_settings", *others}
