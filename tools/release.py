"""``python -m tools.release FOLDER``: everything that an installation without the repository takes, docs/release.md.

Made twice of one commit with the same tools, each file has the same bytes. Only the wheels of libraries ask PyPI.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from oncoresponse.case.file_digest import file_sha256
from oncoresponse.model.folder import ModelFolder

from tools import sbom
from tools.checkout import ROOT, changed_files, commit_time, copy_tracked, tracked_files, version_here
from tools.pins import LOCK, locked
from tools.source_wheels import build_source_wheels

_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "services", "radiomics")
_COPIED = ("CHANGELOG.md", "LICENSE", "NOTICE", "constraints.txt")
# torch as it comes from PyPI, and what it needs on a GPU.
CUDA = ("cuda-", "nvidia-", "torch", "triton")


def build_wheel(output: Path, time: int) -> Path:
    """Build the wheel of what git knows, so that nothing left over from earlier builds gets into it."""
    with TemporaryDirectory() as folder:
        copy_tracked(Path(folder), time, *_SOURCES)
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel")
        how = ("--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "--wheel-dir", output.resolve())
        subprocess.run([*pip, *how, "."], cwd=folder, env=os.environ | {"SOURCE_DATE_EPOCH": str(time)}, check=True)
    return output / f"oncoresponse-{version_here()}-py3-none-any.whl"


def pack_models(output: Path, time: int) -> Path:
    """Pack the folder of models, each checked against its seal, with licence and attribution."""
    archive = output / f"oncoresponse-models-{version_here()}.tar"
    for folder in sorted({ROOT / file.parts[0] / file.parts[1] for file in tracked_files("models")}):
        ModelFolder.open(folder)
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for file in tracked_files("models"):
            _add(tar, ROOT / file, str(file), time)
        for name in ("LICENSE", "NOTICE"):
            _add(tar, ROOT / name, f"models/{name}", time)
    return archive


def _add(tar: tarfile.TarFile, file: Path, name: str, time: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = file.stat().st_size, time, 0o644
    with file.open("rb") as content:
        tar.addfile(entry, content)


def write_locks(output: Path) -> None:
    """Write the lock with the wheels that lie in ``output`` too, and the same without torch and CUDA."""
    digests: dict[str, list[str]] = {}
    for wheel in output.glob("*.whl"):
        digests.setdefault(wheel.name.split("-")[0], []).append(file_sha256(wheel))
    head = "# Every package of this release with the SHA-256 of its files{}.\n"
    own = f"oncoresponse=={version_here()} \\\n    --hash=sha256:{digests['oncoresponse'][0]}"
    packages = [(name, each.lines(digests.get(name, ()))) for name, each in locked(LOCK).items()]
    everything = [own, *(lines for _, lines in packages)]
    (output / LOCK.name).write_text(head.format("") + "\n".join(everything) + "\n", encoding="utf-8")
    without = [own, *(lines for name, lines in packages if not name.startswith(CUDA))]
    text = head.format(", but for torch and the CUDA libraries") + "\n".join(without) + "\n"
    (output / "requirements-without-torch.lock").write_text(text, encoding="utf-8")


def write_checksums(output: Path) -> None:
    """Write ``SHA256SUMS`` of every file, as ``sha256sum --check`` reads it."""
    files = sorted(file for file in output.iterdir() if file.name != "SHA256SUMS")
    (output / "SHA256SUMS").write_text("".join(f"{file_sha256(file)}  {file.name}\n" for file in files))


def make_release(output: Path, pythons: Sequence[str]) -> None:
    """Fill ``output``, which is emptied first; with wheels of libraries for each of ``pythons``."""
    time = commit_time()
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    build_wheel(output, time)
    pack_models(output, time)
    for python in pythons:
        build_source_wheels(python, output.resolve(), time)
    write_locks(output)
    sbom.write(output / f"oncoresponse-{version_here()}.cdx.json", time)
    for name in _COPIED:
        shutil.copyfile(ROOT / name, output / name)
    write_checksums(output)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the release, of a clean checkout unless told otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="what is in it is deleted")
    parser.add_argument("--python", action="append", default=[], help="interpreter to build libraries for; repeat it")
    parser.add_argument("--wheel", action="store_true", help="make the wheel alone, and delete nothing")
    parser.add_argument("--uncommitted", action="store_true", help="for a trial: whatever git says of the checkout")
    given = parser.parse_args(arguments)
    changed = changed_files()
    if changed and not given.uncommitted:
        sys.stderr.write(f"A release is made of what is committed, and this is not:\n{changed}")
        return 1
    if given.wheel:
        sys.stdout.write(f"{build_wheel(given.folder, commit_time())}\n")
        return 0
    make_release(given.folder, given.python)
    sys.stdout.write((given.folder / "SHA256SUMS").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
