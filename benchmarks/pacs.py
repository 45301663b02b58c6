"""Receiving by C-STORE side by side with dcmtk's storescp: ``make bench-pacs``.

The same objects by the same sender (storescu, one association). storescp leaves writing to the system and acknowledges
before anything is on disk; the second time it waits for ``sync`` of each file, which is the durability that ours has.
Then what many objects cost: ten associations at the same time, and ten thousand objects of one study by twenty
associations one after the other, with the memory of the receiving process before and after.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pydicom
import yaml
from pydicom.uid import generate_uid

OBJECTS = 500
ASSOCIATIONS = 10
MANY = 10_000
_SOURCE = Path(__file__).parents[1] / "examples" / "STS_032" / "CT"
# Without it dcmtk waits for the other side's acknowledgement of half-full packets, 90 ms for each object on loopback.
_AT_ONCE = {**os.environ, "TCP_NODELAY": "1"}
_PYTHON = (sys.executable, "-m", "oncoresponse.cli.main")


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        objects = _objects(folder / "objects")
        size = sum(path.stat().st_size for path in objects) / OBJECTS / 1024
        print(f"{OBJECTS} CT slices of {size:.0f} KiB, storescu, one association")
        synced = ("--exec-on-reception", "sync -d #p/#f", "--exec-sync")
        plain = _seconds("storescp", folder, objects, ())
        durable = _seconds("storescp, each file on disk", folder, objects, synced)
        with _server(folder) as port:
            ours = _timed("this receiver, each file on disk", port, objects)
            print(f"speed of storescp: {plain / ours:.2f}; of storescp with each file on disk: {durable / ours:.2f}")
            _at_once(folder, port)
            _many(folder, port)


def _at_once(folder: Path, port: int) -> None:
    """Ten senders, each with a study of its own."""
    sent = [_objects(folder / f"sender-{number}", ASSOCIATIONS * 5) for number in range(ASSOCIATIONS)]
    start = time.perf_counter()
    senders = [subprocess.Popen(_storescu(port, objects), env=_AT_ONCE) for objects in sent]
    failed = sum(sender.wait() != 0 for sender in senders)
    seconds, count = time.perf_counter() - start, sum(map(len, sent))
    print(f"{ASSOCIATIONS} associations at once: {count / seconds:.0f} a second, {failed} of them failed")


def _many(folder: Path, port: int) -> None:
    """One study that grows and grows."""
    server = _process_on(port)
    study, objects, before = str(generate_uid()), OBJECTS, server.memory_info().rss / 1024**2
    first = last = 0.0
    for number in range(MANY // objects):
        part = _objects(folder / "many", objects, study)
        start = time.perf_counter()
        subprocess.run(_storescu(port, part), check=True, env=_AT_ONCE)
        last = objects / (time.perf_counter() - start)
        first = first or last
        rss = server.memory_info().rss / 1024**2
        print(f"{(number + 1) * objects:>7} objects of one study {last:8.0f} a second {rss:8.0f} MiB", flush=True)
        # The first objects fill caches and pools; what counts is what comes after.
        before = rss if number == 1 else before
        shutil.rmtree(folder / "many")
    growth = (server.memory_info().rss / 1024**2 / before - 1) * 100
    print(
        f"from {2 * objects} to {MANY} objects: memory {growth:+.1f} %, speed {last / first:.2f} of the first {objects}"
    )


def _process_on(port: int) -> psutil.Process:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return psutil.Process(connection.pid)
    raise LookupError("nothing listens")


def _objects(folder: Path, count: int = OBJECTS, study: str = "") -> list[Path]:
    folder.mkdir()
    sources = sorted(_SOURCE.glob("*.dcm"))
    study, series = study or generate_uid(), generate_uid()
    made = []
    for number in range(count):
        dataset = pydicom.dcmread(sources[number % len(sources)])
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        made.append(folder / f"{number:04d}.dcm")
        dataset.save_as(made[-1])
    return made


def _seconds(what: str, folder: Path, objects: Sequence[Path], options: Sequence[str]) -> float:
    port, out = _free_port(), Path(tempfile.mkdtemp(dir=folder))
    receiver = subprocess.Popen(["storescp", "-od", str(out), *options, str(port)], env=_AT_ONCE)
    try:
        _wait_for(port)
        return _timed(what, port, objects)
    finally:
        receiver.terminate()
        receiver.wait()


@contextmanager
def _server(folder: Path) -> Iterator[int]:
    port = _free_port()
    settings = folder / "settings.yaml"
    pacs = {"listen": f"127.0.0.1:{port}", "callers": {"STORESCU": ""}, "ae_title": "ANY-SCP"}
    settings.write_text(yaml.safe_dump({"pacs": pacs}))
    arguments = ("serve", "--listen", "127.0.0.1:0", "--data-dir", str(folder / "data"), "--allow-anonymous")
    models = str(Path(__file__).parents[1] / "models")
    process = subprocess.Popen(
        [*_PYTHON, *arguments, "--models-dir", models, "--settings", str(settings)], stdout=subprocess.PIPE, text=True
    )
    try:
        for line in process.stdout or ():
            if line.startswith("ready"):
                break
        yield port
    finally:
        process.terminate()
        process.communicate()


def _timed(what: str, port: int, objects: Sequence[Path]) -> float:
    start = time.perf_counter()
    subprocess.run(_storescu(port, objects), check=True, env=_AT_ONCE)
    seconds = time.perf_counter() - start
    print(f"{what:<34}{seconds:8.1f} s {OBJECTS / seconds:8.0f} a second")
    return seconds


def _storescu(port: int, objects: Sequence[Path]) -> list[str]:
    return ["storescu", "-aec", "ANY-SCP", "127.0.0.1", str(port), *map(str, objects)]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(port: int) -> None:
    while True:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)


if __name__ == "__main__":
    main()
