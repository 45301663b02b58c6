"""``oncoresponse train`` and ``oncoresponse evaluate``: a model from a hospital's own patients, and its figures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from oncoresponse.cli.embedded_server import default_models_directory
from oncoresponse.cli.line_progress import training_progress
from oncoresponse.cli.output_folder import require_writable_folder
from oncoresponse.cli.quick_trial import (
    NOT_FOR_USE,
    QUICK_FOLDER,
    quick_model,
    quick_segmentation_settings,
    quick_task,
)
from oncoresponse.model.folder import ModelFolder, find_model, raise_version_if_changed, seal_model_folder, seal_version

app = typer.Typer(help="Train the parts of a model.", no_args_is_help=True)

_Model = Annotated[Path, typer.Option("--model", help="Model folder to write to, such as models/sts-petct.")]
_Run = Annotated[Path, typer.Option("--run", help="Folder for checkpoints, logs and figures; a killed run goes on.")]
_DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="List every fault of settings and data, train nothing; exit code 1 with faults."),
]
_Quick = Annotated[
    bool,
    typer.Option("--quick", help="Few repeats, into RUN/quick, to try data and settings; not for use, not sealed."),
]


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
    dry_run: _DryRun = False,
    quick: _Quick = False,
) -> None:
    """Train the segmentation networks by cross-validation and evaluate them on the patients left out."""
    from oncoresponse.segmentation.training.documentation import write_documentation
    from oncoresponse.segmentation.training.evaluation import evaluate_segmentation
    from oncoresponse.segmentation.training.training import train_segmentation as train
    from oncoresponse.segmentation.training.training_settings import (
        SegmentationTrainingSettings,
        read_training_settings,
    )

    if docs is not None:
        require_writable_folder(docs)
    settings = read_training_settings(config) if config is not None else SegmentationTrainingSettings()
    if dry_run:
        from oncoresponse.segmentation.training.dry_run import check_segmentation_training

        patients, faults = check_segmentation_training(settings, data)
        _tell_faults(f"{patients} patients", faults)
        return
    if quick:
        settings = settings.model_validate(dict(settings) | quick_segmentation_settings())
        run, model, docs = run / QUICK_FOLDER, quick_model(model, run), None
    with training_progress(run) as bar:
        if train(settings, data, run, model / "segmentation", bar, fold) is None:
            typer.echo("Trained. When all folds are, the same command without --fold evaluates them.")
            return
        evaluate_segmentation(data, run, model / "segmentation", progress=bar)
    if docs is not None:
        write_documentation(model / "segmentation", run, docs)
    if quick:
        typer.echo(f"{NOT_FOR_USE} It lies in {model}.")
        return
    _sealed(model)


@app.command("refinement")
def train_refinement(
    data: Annotated[Path, typer.Option(help="Cohort: a folder a patient with PET, CT and contour.", exists=True)],
    model: _Model = Path("models/sts-petct"),
    run: _Run = Path("runs/refinement"),
    iterations: Annotated[int, typer.Option(min=1, help="Optimizer steps of each fold.")] = 2450,
    held_out: Annotated[list[str] | None, typer.Option(help="Patient that is not read; once for each.")] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder whose segmentation.md is written anew.")] = None,
    evaluate_only: Annotated[
        bool, typer.Option("--evaluate-only", help="Train nothing, evaluate the networks that are there.")
    ] = False,
) -> None:
    """Train the networks that follow clicks, boxes and outlined slices, and evaluate them on the patients left out."""
    from oncoresponse.segmentation.network import read_network_description
    from oncoresponse.segmentation.training.interactive_training import InteractiveTrainingSettings
    from oncoresponse.segmentation.training.refinement_training import evaluate, write_tables
    from oncoresponse.segmentation.training.refinement_training import train_refinement as train

    if docs is not None:
        require_writable_folder(docs)
    if not evaluate_only:
        automatic = read_network_description(model / "segmentation")
        patients = tuple(held_out or automatic.training.held_out_patients)
        settings = InteractiveTrainingSettings(iterations=iterations)
        train(data, patients, run, model / "refinement", settings, automatic.preprocessing)
    with training_progress(run) as bar:
        evaluate(data, model, bar)
    if docs is not None:
        write_tables(model, docs / "segmentation.md")
    _sealed(model)


@app.command("response")
def train_response(
    model: _Model = Path("models/sts-petct"),
    run: _Run = Path("runs/response"),
    cohort: Annotated[
        Path | None,
        typer.Option(
            help="CSV with one row a patient: inputs and outcome; or a folder with one folder of DICOM files a "
            "patient, then with --clinical.",
            exists=True,
        ),
    ] = None,
    clinical: Annotated[Path | None, typer.Option(help="CSV with the outcome: one row a patient.", exists=True)] = None,
    features: Annotated[
        Path | None, typer.Option(help="CSV from 'oncoradiomics cohort', instead of --cohort.", exists=True)
    ] = None,
    task: Annotated[Path | None, typer.Option(help="Task file; MODEL/response/task.yaml when not given.")] = None,
    features_automatic: Annotated[
        Path | None, typer.Option(help="The same features from automatic contours; evaluated, not trained on.")
    ] = None,
    robustness: Annotated[
        Path | None, typer.Option(help="CSV from 'oncoradiomics robustness', for a task with minimum_icc.", exists=True)
    ] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder whose response.md is written anew.")] = None,
    fingerprint_key: Annotated[
        Path | None,
        typer.Option(
            help="File with a secret of this site, under which the patients are recognized later.", exists=True
        ),
    ] = None,
    fingerprint_images: Annotated[
        Path | None,
        typer.Option(help="Folder with a folder a patient (CT.nii.gz), to recognize their images.", exists=True),
    ] = None,
    dry_run: _DryRun = False,
    quick: _Quick = False,
) -> None:
    """Validate the response model by nested cross-validation, fit what holds, write its model card, and seal it."""
    from oncoresponse.model.template import require_filled_in
    from oncoresponse.response.fit_checkpoint import keep_fits
    from oncoresponse.response.training.documentation import write_documentation
    from oncoresponse.response.training.model_card import CARD_FILES, write_model_card
    from oncoresponse.response.training.training import train_response as train
    from oncoresponse.response.training_fingerprints import read_key

    if docs is not None:
        require_writable_folder(docs)
    if (cohort is None) == (features is None):
        raise typer.BadParameter("Give either --cohort or --features.")
    table = cohort or features or Path()
    if table.is_dir() and clinical is None:
        raise typer.BadParameter("A folder of DICOM studies needs --clinical, the table with the outcome.")
    task = task or model / "response" / "task.yaml"
    if dry_run:
        _check_response(model, task, table, clinical, features_automatic, robustness)
        return
    require_filled_in(model)
    if quick:
        from oncoresponse.response.task import read_task

        model, docs = quick_model(model, run), None
        task, run = quick_task(read_task(task), model), run / QUICK_FOLDER
    with training_progress(run) as bar, nullcontext() if quick else keep_fits(run):
        show = _stages(bar)
        if table.is_dir() and clinical is not None:
            table = _measured(table, clinical, task, model, run, show)
        trained = train(
            task,
            table,
            clinical,
            model,
            run,
            features_automatic_csv=features_automatic,
            robustness_csv=robustness,
            fingerprint_key=None if fingerprint_key is None else read_key(fingerprint_key),
            fingerprint_images=fingerprint_images,
            progress=show,
        )
    raised = None if quick else raise_version_if_changed(model)
    if raised is not None:
        typer.echo(f"The model changed: version raised to {raised}.")
    write_model_card(model)
    for name in CARD_FILES:
        copy = run / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model / name, copy)
    if docs is not None:
        write_documentation(trained, model.name, docs)
    if trained.evaluation.evidence is not None:
        typer.echo(trained.evaluation.evidence.sentence)
    for sentence in trained.document.limits:
        typer.echo(sentence)
    typer.echo(trained.evaluation.power.sentence)
    typer.echo(f"Model card: {model / 'model-card.md'}")
    if quick:
        typer.echo(f"{NOT_FOR_USE} It lies in {model}.")
        return
    _sealed(model)


@app.command("forecast")
def train_forecast(
    table: Annotated[
        Path, typer.Option(help="CSV, one row a visit: study, patient, day, diameter_mm; at least three studies.")
    ],
    out: Annotated[Path, typer.Option(help="File of constants to write (JSON).")],
    cohort: Annotated[str, typer.Option(help="The data in words, with licence; stands in the file.")],
) -> None:
    """Validate the forecast of the next visit by study left out, fit its interval to all, and seal the file."""
    from oncoresponse.comparison.training.forecast_training import figures_table
    from oncoresponse.comparison.training.forecast_training import train_forecast as train

    require_writable_folder(out.absolute().parent)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Studies left out", total=1.0)
        found = train(table, cohort=cohort, progress=lambda share: bar.update(task, completed=share))
    out.write_text(json.dumps(found.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
    typer.echo(figures_table(list(found.figures.items())))
    low, high = found.damped_minus_last_mm
    typer.echo(
        f"Damped trend minus last value: {low:+.3f} to {high:+.3f} mm of mean error (95 %). "
        f"The point is the {found.point}."
    )
    typer.echo(f"Sealed: {found.sha256}")


@app.command("model-card")
def write_card(model: _Model) -> None:
    """Write the model card anew after a change of model.yaml, and seal the model. The figures stay as they are."""
    from oncoresponse.response.training.model_card import write_model_card

    raise_version_if_changed(model)
    write_model_card(model)
    _sealed(model)


@app.command("new-model")
def new_model(
    folder: Annotated[Path, typer.Argument(help="Folder to make, such as models/lung-petct; its name is the model's.")],
) -> None:
    """Make a model folder to fill in: model.yaml, response/task.yaml and radiomics/settings.yaml with comments."""
    from oncoresponse.model.template import write_template

    for path in write_template(folder):
        typer.echo(f"Edit {path}")


def _check_response(
    model: Path,
    task: Path,
    table: Path,
    clinical: Path | None,
    features_automatic: Path | None,
    robustness: Path | None,
) -> None:
    from oncoresponse.errors import ModelFolderInvalid, TrainingDataInvalid
    from oncoresponse.model.template import require_filled_in
    from oncoresponse.response.training.dry_run import check_response_training

    found = check_response_training(
        task,
        None if table.is_dir() else table,
        clinical,
        robustness=robustness,
        features_automatic=features_automatic,
        studies=table if table.is_dir() else None,
    )
    try:
        require_filled_in(model)
    except (ModelFolderInvalid, TrainingDataInvalid) as error:
        found.faults.insert(0, error.message)
    for note in found.notes:
        typer.echo(f"Note: {note}")
    _tell_faults(
        f"{found.patients} patients, {found.favorable} with the favorable outcome; {found.excluded} excluded by rule, "
        f"{found.held_out} held out",
        found.faults,
    )


def _tell_faults(cohort: str, faults: list[str]) -> None:
    typer.echo(f"{cohort}.")
    for number, fault in enumerate(faults, start=1):
        typer.echo(f"{number}. {fault}")
    if faults:
        typer.echo(f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}. Nothing was trained.")
        raise typer.Exit(1)
    typer.echo("No fault found. Nothing was trained.")


def _measured(
    studies: Path, clinical: Path, task_file: Path, model: Path, run: Path, show: Callable[[str, float], None]
) -> Path:
    from oncoresponse.cohort.studies import measure_studies
    from oncoresponse.response.task import read_task

    measured = measure_studies(studies, clinical, read_task(task_file), model, run, progress=show)
    for patient, sentences in measured.warnings.items():
        typer.echo(f"{patient}: {' '.join(sentences)}", err=True)
    for patient, reason in measured.refused.items():
        typer.echo(f"{patient}: {reason}", err=True)
    if measured.refused:
        raise typer.Exit(1)
    if measured.cut:
        typer.echo(
            f"{len(measured.cut)} contours reach the edge of the images. Their volumes are lower bounds and enter the "
            "table as measured; exclude such patients by a rule of the task if their tumors should be seen whole.",
            err=True,
        )
    return measured.table


def _stages(bar: Progress) -> Callable[[str, float], None]:
    tasks: dict[str, TaskID] = {}

    def show(stage: str, fraction: float) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=1.0)
        bar.update(tasks[stage], completed=fraction)

    return show


def evaluate(
    model: Annotated[str, typer.Option(help="Name of an installed model.")],
    models_dir: Annotated[Path | None, typer.Option(help="Folder of installed models.")] = None,
) -> None:
    """Show what the validation of a model found. The figures are those that its training command wrote and sealed."""
    folder = ModelFolder.open(find_model(models_dir or default_models_directory(), model))
    console = Console(highlight=False)
    console.print(f"[bold]{folder.definition.title}[/bold], {folder.definition.version}")
    if folder.has("segmentation/evaluation.json"):
        _show_segmentation(console, folder)
    if folder.has("response/evaluation.json"):
        _show_response(console, folder)


def _show_segmentation(console: Console, folder: ModelFolder) -> None:
    found = json.loads(folder.file("segmentation/evaluation.json").read_text(encoding="utf-8"))
    title = f"segmentation, cross-validated, {found['patients']} patients"
    table = Table(title, "mean Dice", "95 % interval", "lowest", "not flagged", box=None)
    for item in (*found["network"].values(), found["image_free_baseline"], *found["thresholds_of_clinics"].values()):
        low, high = item["mean_dice_95_percent_interval"]
        table.add_row(
            item["title"],
            f"{item['mean_dice']:.2f}",
            f"{low:.2f} to {high:.2f}",
            f"{item['lowest_dice']:.2f}",
            str(item.get("patients_with_dice_below_0_5_not_flagged", "")),
        )
    console.print(table)
    console.print("not flagged: masks with a Dice below 0.5 that the limit of the other folds did not mark\n")


def _show_response(console: Console, folder: ModelFolder) -> None:
    from oncoresponse.response.training.evaluation_tables import SHOWN_FIGURES, baseline_verdict
    from oncoresponse.response.training.validation import Evaluation

    found = Evaluation.model_validate_json(folder.file("response/evaluation.json").read_bytes())
    table = Table(f"response, cross-validated, {found.patients} patients", "XGBoost", "logistic regression", box=None)
    for title, field in SHOWN_FIGURES:
        table.add_row(title, getattr(found.booster, field).text, getattr(found.baseline, field).text)
    for row in found.thresholds:
        ours, theirs = (row.sensitivity, row.specificity), (row.sensitivity_baseline, row.specificity_baseline)
        for title, model, baseline in zip(("Sensitivity", "Specificity"), ours, theirs, strict=True):
            table.add_row(f"{title} at {row.threshold:g}", model.text, baseline.text)
    console.print(table)
    console.print(baseline_verdict(found).replace("**", ""))
    conformal = found.conformal
    console.print(
        f"Prediction sets: {conformal.covered:.1%} covered (promised {conformal.promised:.0%}); "
        f"{conformal.decided:.1%} of patients have one outcome left in their set."
    )
    for calls in found.calls:
        console.print(f"Calls of the {'favorable' if calls.favorable else 'unfavorable'} outcome: {calls.text}")
    for part in (found.evidence, found.follow_up, found.shift, found.power):
        if part is not None:
            console.print(part.sentence)
    for figures in found.subgroups:
        console.print(f"  {figures.sentence}")
    if folder.has("model-card.md"):
        console.print(f"All of it: {folder.file('model-card.md')}")


def _sealed(model: Path) -> None:
    from oncoresponse.servers.golden_making import golden_vectors_are_current, make_golden_vectors

    raise_version_if_changed(model)
    sealed = seal_version(model)
    if not golden_vectors_are_current(sealed):
        typer.echo("Writing golden.json: what networks and features give here for fixed inputs.")
        make_golden_vectors(model)
        # Not a version more: nobody has seen the one that was sealed a moment ago.
        sealed = seal_model_folder(model)
    typer.echo(f"{sealed.definition.name} {sealed.definition.version} sealed: {sealed.sha256}")
