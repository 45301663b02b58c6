"""SIGTERM while ``serve`` still loads its libraries."""

import subprocess
import sys

_STOPPED_WHILE_LOADING = """
import os, signal, sys
from oncoresponse.cli import main

main._serve = lambda *_, **__: (os.kill(os.getpid(), signal.SIGTERM), sys.exit(3))
sys.argv = ["oncoresponse", "serve"]
main.run()
"""


def test_sigterm_before_the_server_listens_for_it_ends_with_status_0():
    done = subprocess.run([sys.executable, "-c", _STOPPED_WHILE_LOADING], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
