"""The socket of a process for its own calls: for nobody else, never too long, and gone afterwards."""

from __future__ import annotations

import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from oncoresponse.rpc.own_socket import own_socket


def folder_of(address: str) -> Path:
    return Path(address.removeprefix("unix:")).parent


def test_only_the_user_of_the_service_may_enter_its_folder(tmp_path):
    with own_socket(tmp_path) as first, own_socket(tmp_path) as second:
        assert first != second
        for folder in (folder_of(first), folder_of(first).parent):
            assert folder.is_relative_to(tmp_path)
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder_of(first).exists()


def test_a_path_that_is_too_long_for_a_socket_is_not_used(tmp_path, monkeypatch):
    temporary = tempfile.mkdtemp(dir="/tmp")
    monkeypatch.setattr(tempfile, "tempdir", temporary)
    with own_socket(tmp_path / ("deep" * 25)) as address:
        assert folder_of(address).is_relative_to(temporary)
        assert len(address.removeprefix("unix:")) < 108
    shutil.rmtree(temporary)


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_living_one_is_not(tmp_path):
    code = (
        "import sys; from pathlib import Path; from oncoresponse.rpc.own_socket import own_socket\n"
        "with own_socket(Path(sys.argv[1])) as address: print(address, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    left = folder_of(process.stdout.readline().strip())
    with own_socket(tmp_path):
        assert left.is_dir()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert left.is_dir()
    with own_socket(tmp_path):
        assert not left.exists()
