"""``oncoresponse doctor``: does this machine have what the services need, and if not, what is wrong?"""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from oncoresponse.cli.disk_encryption import encryption_of
from oncoresponse.cli.embedded_server import default_models_directory
from oncoresponse.cli.finding import Finding
from oncoresponse.errors import OncoResponseError
from oncoresponse.model.folder import ModelFolder, find_model, installed_model_names
from oncoresponse.rpc.settings import load_settings
from oncoresponse.segmentation.external.declaration import EXTERNAL_NETWORK_FILE, read_declaration
from oncoresponse.workflow.sqlite_version import require_usable_sqlite

_MINIMUM_FREE_BYTES = 5 * 1024**3
_PACKAGES = {"nnunet": ("dynamic_network_architectures", "nnunet"), "onnx": ("onnxruntime", "onnx")}


def doctor(
    models_dir: Annotated[Path | None, typer.Option(help="Folder of installed models.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Data folder of the server.")] = None,
    settings: Annotated[Path | None, typer.Option(help="YAML settings file.")] = None,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Also ask, as a process with these settings would: the other processes (TLS, token, release, clock, "
            "models, store), the database, and each PACS, EHR and issuer. No patient data are read.",
        ),
    ] = False,
) -> None:
    """Check GPU, DICOM codecs, model weights, libraries and disk. Exit status 1 when something is wrong."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    failed = False
    own = findings(models_dir, data_dir, settings)
    for finding in chain(own, _deep(models_dir, data_dir, settings)) if deep else own:
        mark = {True: "ok     ", False: "WRONG  ", None: "note   "}[finding.ok]
        console.print(f"{mark}{finding.subject}: {finding.text}")
        failed = failed or finding.ok is False
    if failed:
        raise typer.Exit(1)


def _deep(models_directory: Path | None, data_directory: Path | None, settings_file: Path | None) -> Iterator[Finding]:
    from oncoresponse.cli.deep_checks import deep_findings

    try:
        settings = load_settings(settings_file, models_directory=models_directory, data_directory=data_directory)
        yield from deep_findings(settings)
    except OncoResponseError as error:
        yield Finding("settings", False, error.message)
    except OSError as error:
        yield Finding("files", False, f"{error.filename or 'a file'}: {error.strerror}; run this as the service's user")


def findings(
    models_directory: Path | None, data_directory: Path | None, settings_file: Path | None
) -> Iterator[Finding]:
    """Look at one thing after another."""
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("settings", lambda: _settings(settings_file)),
        ("device", _device),
        ("DICOM codecs", _codecs),
        ("radiomics", _radiomics),
        ("workflow database", lambda: _workflow_database(settings_file)),
        ("models", lambda: _models(models_directory or _models_of(settings_file))),
        ("disk", lambda: _disk(data_directory, settings_file)),
        ("encryption at rest", lambda: _encryption(data_directory, settings_file)),
    )
    for subject, check in checks:
        try:
            yield from check()
        except OncoResponseError as error:
            yield Finding(subject, False, error.message)
        except ImportError as error:
            yield Finding(subject, False, f"a library is missing ({error.name}); run the set-up command again")


def _settings(file: Path | None) -> Iterator[Finding]:
    settings = load_settings(file)
    settings.require_safe_listening()
    settings.require_complete_services()
    yield Finding("settings", True, "valid")


def _device() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(number).total_memory / 1024**3
            text = f"{torch.cuda.get_device_name(number)}, {memory:.0f} GiB, CUDA {torch.version.cuda}"
            yield Finding(f"device cuda:{number}", True, text)
    else:
        yield Finding("device", None, f"no CUDA device; segmentation runs on {torch.get_num_threads()} CPU threads")


def _codecs() -> Iterator[Finding]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import (
        JPEG2000,
        JPEG2000Lossless,
        JPEGBaseline8Bit,
        JPEGLossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        RLELossless,
    )

    wanted = {
        "JPEG baseline": JPEGBaseline8Bit,
        "JPEG lossless": JPEGLossless,
        "JPEG lossless SV1": JPEGLosslessSV1,
        "JPEG-LS": JPEGLSLossless,
        "JPEG 2000 lossless": JPEG2000Lossless,
        "JPEG 2000": JPEG2000,
        "RLE": RLELossless,
    }
    missing = [name for name, uid in wanted.items() if not get_decoder(uid).is_available]
    if missing:
        yield Finding("DICOM codecs", False, f"no decoder for {', '.join(missing)}; run the set-up command again")
    else:
        yield Finding("DICOM codecs", True, ", ".join(wanted))


def _radiomics() -> Iterator[Finding]:
    import radiomics

    version = getattr(radiomics, "__version__", None)
    if version is None:
        yield Finding("radiomics", False, "a folder called radiomics hides pyradiomics; run from another folder")
    else:
        yield Finding("radiomics", True, f"pyradiomics {version}")


def _models_of(settings_file: Path | None) -> Path:
    """Where the settings say, as the server reads them; else those of the checkout."""
    named = load_settings(settings_file).models_directory
    # The default is a folder of the current one; where the settings name another, the server takes no other either.
    return named if named.is_dir() or named != Path("models") else default_models_directory()


def _workflow_database(settings_file: Path | None) -> Iterator[Finding]:
    if load_settings(settings_file).system_database_url.startswith("sqlite"):
        require_usable_sqlite()
        yield Finding("workflow database", True, f"SQLite {sqlite3.sqlite_version}")


def _models(directory: Path) -> Iterator[Finding]:
    names = installed_model_names(directory)
    if not names:
        yield Finding("models", False, f"none in {directory}; give --models-dir")
    for name in names:
        try:
            folder = ModelFolder.open(find_model(directory, name))
            yield Finding(f"model {name}", True, f"{folder.definition.version}, all files as sealed")
            yield from _external_network(folder)
        except OncoResponseError as error:
            yield Finding(f"model {name}", False, error.message)


def _external_network(folder: ModelFolder) -> Iterator[Finding]:
    """Whether the package is there that a network from elsewhere needs."""
    directory = folder.path / "segmentation"
    if not (directory / EXTERNAL_NETWORK_FILE).is_file():
        return
    declaration = read_declaration(directory)
    subject = f"network of {folder.definition.name}"
    module, extra = _PACKAGES.get(declaration.kind, ("torch", ""))
    if importlib.util.find_spec(module) is None:
        yield Finding(subject, False, f"{declaration.kind} needs a package: pip install 'oncoresponse[{extra}]'")
    else:
        yield Finding(subject, None, f"{declaration.name} ({declaration.kind}), from elsewhere and not measured here")


def _existing(data_directory: Path | None, settings_file: Path | None) -> tuple[Path, Path]:
    """The data folder, and the part of its path that exists."""
    folder = data_directory or load_settings(settings_file).data_directory
    return folder, next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())


def _encryption(data_directory: Path | None, settings_file: Path | None) -> Iterator[Finding]:
    folder, existing = _existing(data_directory, settings_file)
    if encryption_of(existing):
        yield Finding("encryption at rest", True, f"{folder} lies on dm-crypt (LUKS)")
    else:
        text = (
            f"cannot tell for {folder}: no dm-crypt device of this machine is below it. Encrypt the disk (LUKS), or "
            "see that the volume is encrypted by who provides it; the same for the disk of PostgreSQL and of backups"
        )
        yield Finding("encryption at rest", None, text)


def _disk(data_directory: Path | None, settings_file: Path | None) -> Iterator[Finding]:
    folder, existing = _existing(data_directory, settings_file)
    free = shutil.disk_usage(existing).free
    text = f"{free / 1024**3:.0f} GiB free for {folder}"
    yield Finding("disk", free >= _MINIMUM_FREE_BYTES, text if free >= _MINIMUM_FREE_BYTES else f"only {text}")
