"""``oncoresponse train`` and ``oncoresponse evaluate``: a model from a hospital's own patients, and its figures."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from oncoresponse.cli.embedded_server import default_models_directory
from oncoresponse.model_folder import ModelFolder, find_model, seal_model_folder

app = typer.Typer(help="Train the parts of a model.", no_args_is_help=True)

_Model = Annotated[Path, typer.Option("--model", help="Model folder to write to, such as models/sts-petct.")]
_Run = Annotated[Path, typer.Option("--run", help="Folder for checkpoints, logs and figures; a killed run goes on.")]


@app.command("segmentation")
def train_segmentation(
    data: Annotated[Path, typer.Option(help="Cohort: a folder a patient with PET, CT and contour.", exists=True)],
    model: _Model = Path("models/sts-petct"),
    run: _Run = Path("runs/segmentation"),
    config: Annotated[Path | None, typer.Option(help="YAML file that defines the run.")] = None,
    fold: Annotated[
        list[int] | None,
        typer.Option(help="Train this fold only, once for each; lets several processes or GPUs share a run."),
    ] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder whose segmentation.md and plots are written anew.")] = None,
) -> None:
    """Train the segmentation networks by cross-validation and evaluate them on the patients left out."""
    from oncoresponse.segmentation.documentation import write_documentation
    from oncoresponse.segmentation.evaluation import evaluate_segmentation
    from oncoresponse.segmentation.training import train_segmentation as train
    from oncoresponse.segmentation.training_settings import SegmentationTrainingSettings, read_training_settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = read_training_settings(config) if config is not None else SegmentationTrainingSettings()
    with _progress() as bar:
        if train(settings, data, run, model / "segmentation", bar, fold) is None:
            typer.echo("Trained. When all folds are, the same command without --fold evaluates them.")
            return
        evaluate_segmentation(data, run, model / "segmentation", progress=bar)
    if docs is not None:
        write_documentation(model / "segmentation", run, docs)
    _sealed(model)


@app.command("response")
def train_response(
    features: Annotated[Path, typer.Option(help="CSV from 'oncoradiomics cohort': one row a patient.", exists=True)],
    clinical: Annotated[Path, typer.Option(help="CSV with the outcome: one row a patient.", exists=True)],
    model: _Model = Path("models/sts-petct"),
    run: _Run = Path("runs/response"),
    task: Annotated[Path | None, typer.Option(help="Task file; MODEL/response/task.yaml when not given.")] = None,
    features_automatic: Annotated[
        Path | None, typer.Option(help="The same features from automatic contours; evaluated, not trained on.")
    ] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder whose response.md and plots are written anew.")] = None,
) -> None:
    """Train the response model with nested cross-validation."""
    from oncoresponse.response.documentation import write_documentation
    from oncoresponse.response.training import train_response as train

    with _progress() as bar:
        tasks: dict[str, int] = {}

        def show(stage: str, fraction: float) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=1.0)
            bar.update(tasks[stage], completed=fraction)  # type: ignore[arg-type]

        trained = train(
            task or model / "response" / "task.yaml",
            features,
            clinical,
            model,
            run,
            features_automatic_csv=features_automatic,
            progress=show,
        )
    if docs is not None:
        write_documentation(trained, docs)
    for sentence in trained.document.limits:
        typer.echo(sentence)
    _sealed(model)


def evaluate(
    model: Annotated[str, typer.Option(help="Name of an installed model.")],
    models_dir: Annotated[Path | None, typer.Option(help="Folder of installed models.")] = None,
) -> None:
    """Show what the validation of a model found. The figures are those that its training command wrote and sealed."""
    folder = ModelFolder.open(find_model(models_dir or default_models_directory(), model))
    console = Console(highlight=False)
    console.print(f"[bold]{folder.definition.title}[/bold], {folder.definition.version}")
    for part in ("segmentation", "response"):
        name = f"{part}/evaluation.json"
        if name not in folder.manifest.files:
            continue
        table = Table(f"{part}, cross-validated", "", box=None)
        for key, value in _flat(json.loads(folder.file(name).read_text(encoding="utf-8"))):
            table.add_row(key, value)
        console.print(table)


def _flat(value: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{prefix}{key} ")
    elif isinstance(value, list):
        yield prefix.strip(), ", ".join(str(item) for item in value) if len(value) <= 5 else f"{len(value)} values"
    elif isinstance(value, float):
        yield prefix.strip(), f"{value:.3f}"
    else:
        yield prefix.strip(), str(value)


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield bar


def _sealed(model: Path) -> None:
    sealed = seal_model_folder(model)
    typer.echo(f"{sealed.definition.name} {sealed.definition.version} sealed: {sealed.sha256}")
