"""``oncoresponse predict``: a model on a table of patients, for a hospital that wants to try it before going live."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from oncoresponse.case.answer_words import answer_line
from oncoresponse.cli.embedded_server import default_models_directory
from oncoresponse.cli.output_folder import require_writable_folder
from oncoresponse.errors import PredictionTableInvalid
from oncoresponse.model.folder import ModelFolder, find_model


def predict(
    model: Annotated[str, typer.Option(help="Model to use; 'oncoresponse models list' names them.")],
    table: Annotated[
        Path,
        typer.Option(
            help="CSV, one row a patient, columns as in the model's task file; 'id' or 'patient_id' is handed "
            "through, others are not looked at."
        ),
    ],
    out: Annotated[Path, typer.Option(help="CSV to write: the answer of each row, with its uncertainty.")],
    models_dir: Annotated[Path | None, typer.Option(help="Folder of installed models.")] = None,
    fingerprint_key: Annotated[
        Path | None,
        typer.Option(help="The site's key of the training: 'id' then tells who was trained on.", exists=True),
    ] = None,
) -> None:
    """Predict for every row of a table. Nothing is recorded and nothing leaves this machine."""
    from oncoresponse.response.batch_prediction import predict_table, read_prediction_table, write_predictions
    from oncoresponse.response.measures_only import open_response_model
    from oncoresponse.response.training_fingerprints import read_key

    if out.resolve() == table.resolve():
        raise PredictionTableInvalid("--out is the table itself. Name another file, so that the inputs are kept.")
    if out.is_dir():
        raise PredictionTableInvalid("--out is a folder. Name the CSV file to write.")
    require_writable_folder(out.absolute().parent)
    console = Console(stderr=True, highlight=False)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=not console.is_terminal) as bar:
        task = bar.add_task("Opening the model", total=None)
        opened = open_response_model(ModelFolder.open(find_model(models_dir or default_models_directory(), model)))
        if not opened.inputs:
            raise PredictionTableInvalid("This model measures images and declares no input that a table could hold.")
        key = None if fingerprint_key is None else read_key(fingerprint_key)
        read = read_prediction_table(table, opened.inputs)
        bar.update(task, description="Predicting", total=len(read.rows), completed=0)
        predictions = predict_table(opened, read, lambda done: bar.update(task, completed=done), fingerprint_key=key)
    write_predictions(out, read, predictions)
    definition = opened.folder.definition
    answers = Counter(answer_line(prediction) for prediction in predictions)
    printed = Console(highlight=False, soft_wrap=True)
    printed.print(f"[bold]{definition.intended_use.device_status}[/bold]")
    if read.ignored_columns:
        printed.print(f"Columns that were not looked at: {', '.join(read.ignored_columns)}.", markup=False)
    printed.print(f"{definition.title}, {definition.name} {definition.version}: {len(predictions)} patients")
    for text, count in answers.most_common():
        printed.print(f"  {count:6d}  {text}", markup=False)
    printed.print(f"Written to {out}", markup=False)
