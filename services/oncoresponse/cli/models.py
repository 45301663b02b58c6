"""``oncoresponse models``: what is installed, what it is for, and sealing a folder after a change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oncoresponse.cli import model_control
from oncoresponse.cli.embedded_server import default_models_directory
from oncoresponse.model.definition import ImageInput, ImagingResponse, ModelDefinition
from oncoresponse.model.folder import (
    ModelFolder,
    find_model,
    installed_model_names,
    raise_version_if_changed,
    seal_version,
)
from oncoresponse.model.template import require_complete

app = typer.Typer(help="Installed models.", no_args_is_help=True)
app.command("approve")(model_control.approve)
app.command("history")(model_control.history)
app.command("install")(model_control.install)
app.command("propose")(model_control.propose)
app.command("resume")(model_control.resume)
app.command("rollback")(model_control.rollback)
app.command("states")(model_control.states)
app.command("stop")(model_control.stop)

_ModelsDirectory = Annotated[Path | None, typer.Option("--models-dir", help="Folder of installed models.")]


@app.command("list")
def list_models(models_dir: _ModelsDirectory = None) -> None:
    """Name, version and title of each installed model."""
    table = Table("Name", "Version", "Title", "SHA-256", box=None)
    directory = models_dir or default_models_directory()
    for name in installed_model_names(directory):
        folder = ModelFolder.open(find_model(directory, name))
        table.add_row(name, folder.definition.version, folder.definition.title, folder.sha256[:16])
    Console().print(table)


@app.command("show")
def show_model(name: str, models_dir: _ModelsDirectory = None) -> None:
    """What a model is for, when not to use it, and the hash of each of its files."""
    folder = ModelFolder.open(find_model(models_dir or default_models_directory(), name))
    definition, console = folder.definition, Console(highlight=False)
    use = definition.intended_use
    console.print(f"[bold]{definition.title}[/bold]  ({definition.name} {definition.version})")
    console.print(f"[bold]{use.device_status}[/bold]\n")
    preferences = [
        f"{series.role}: {', then '.join(rule.text for rule in series.prefer)}"
        for series in definition.inputs
        if series.prefer
    ]
    rows = (
        ("Purpose", use.purpose),
        ("Patients", use.population),
        ("User", use.user),
        ("Role", use.role),
        ("Not for", "\n".join(use.contraindications)),
        ("Needs", "\n".join(_input_text(series) for series in definition.inputs)),
        ("Prefers", "\n".join(preferences) or "nothing; of several series that fit, a request has to name one"),
        ("Covariates", ", ".join(item.name for item in definition.covariates) or "none"),
        *_of_lesions(definition),
        ("Predicts", f"{definition.outcome.title}: {definition.outcome.definition}"),
        ("Limits", "\n".join(definition.limitations)),
        ("Trained on", definition.training_data),
        ("SHA-256", folder.sha256),
        ("Files", "\n".join(f"{digest[:16]}  {file}" for file, digest in folder.manifest.files.items())),
    )
    table = Table(show_header=False, box=None, pad_edge=False)
    for title, text in rows:
        table.add_row(title, escape(text), end_section=True)  # a rule may hold brackets
    console.print(table)


def _input_text(declared: ImageInput) -> str:
    """An image in one line, by the input role that a request names."""
    name = "" if declared.role == declared.modality else f"{declared.role}: "
    rules = "".join(f"; {rule.text}" for rule in declared.match)
    return f"{name}{declared.modality} ({declared.purpose}){rules}{'' if declared.required else '; may be missing'}"


def _of_lesions(definition: ModelDefinition) -> list[tuple[str, str]]:
    if not isinstance(definition, ImagingResponse):
        return []
    measured = "\n".join(
        f"{item.input}: {item.measure}{'' if item.same_definition else ', reported and not used'}"
        for item in definition.measured_inputs
    )
    return [("Of several lesions", definition.predict_from), *([("Measured inputs", measured)] if measured else [])]


@app.command("seal")
def seal_model(folder: Annotated[Path, typer.Argument(help="Model folder that was changed on purpose.")]) -> None:
    """Write the manifest anew after a deliberate change. Raise the version in model.yaml first: none is changed."""
    require_complete(folder)
    sealed = seal_version(folder)
    typer.echo(f"{sealed.definition.name} {sealed.definition.version}: {sealed.sha256}")


@app.command("golden")
def make_golden(
    folder: Annotated[Path, typer.Argument(help="Model folder.", exists=True, file_okay=False)],
) -> None:
    """Write golden.json: what networks and features give here, now, for fixed inputs. Each load compares it.

    Do it on the CPU of the machine on which the model was validated, then seal the folder: the version is raised.
    """
    from oncoresponse.servers.golden_making import make_golden_vectors

    make_golden_vectors(folder)
    raised = raise_version_if_changed(folder)
    sealed = seal_version(folder)
    typer.echo(f"{sealed.definition.name} {raised or sealed.definition.version}: {sealed.sha256}")
