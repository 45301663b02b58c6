"""A server process of its own for one command, with a data folder that is removed afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from oncoresponse.access.local_users import USERS_FILE, add_user
from oncoresponse.access.roles import AccessRole
from oncoresponse.cli.parent_process import signals_end_by_exit
from oncoresponse.errors import ConfigurationError, InternalError
from oncoresponse.storage.process_folder import own_temporary_folder

_STOP_SECONDS = 40


def default_models_directory() -> Path:
    """``models`` in the current folder, or else beside the source checkout this package runs from."""
    here = Path("models")
    return here if here.is_dir() else Path(__file__).resolve().parents[3] / "models"


@contextmanager
def embedded_server(models_directory: Path | None = None) -> Iterator[tuple[str, str]]:
    """Start ``oncoresponse serve`` on a free loopback port; gives its address, once it is ready, and a token for it.

    Nobody else on this machine has the token, so that the study can be read by nobody else.

    The server and its data folder go when this ends: at the end of the block, by SIGINT, SIGTERM or SIGHUP, and when
    this process is killed (see :func:`~oncoresponse.cli.parent_process.ending_with_parent`).

    Raises:
        ConfigurationError: It did not start; its own words are in the message.
    """
    with signals_end_by_exit(), own_temporary_folder(), TemporaryDirectory(prefix="data-") as data:
        log_path = Path(data) / "server.log"
        users = Path(data) / USERS_FILE
        token = add_user(users, "command", (AccessRole.SUBMIT, AccessRole.READ))
        command = [
            *(sys.executable, "-m", "oncoresponse.cli.main", "serve", "--listen", "127.0.0.1:0"),
            *("--data-dir", data, "--models-dir", str((models_directory or default_models_directory()).resolve())),
            "--end-with-parent",
        ]
        # Whoever would wait for a running call is gone when this server is stopped.
        environment = {
            **os.environ,
            "ONCORESPONSE_DRAIN_SECONDS": "1",
            "ONCORESPONSE_USERS_FILE": str(users),
            "ONCORESPONSE_ALLOW_ANONYMOUS": "false",
            # Whoever types the command chose the folder of models too.
            "ONCORESPONSE_MODEL_ACTIVATION": "installed",
        }
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, text=True
            )
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            if not line.startswith("ready "):
                process.wait()
                words = log_path.read_text(encoding="utf-8", errors="replace").strip()
                raise ConfigurationError(f"The server did not start. {words[-2000:]}")
            yield line.removeprefix("ready ").strip(), token
        except InternalError:
            # The log goes away with the data folder, and it holds the cause.
            sys.stderr.write(log_path.read_text(encoding="utf-8", errors="replace")[-2000:])
            raise
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
