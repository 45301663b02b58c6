"""``oncoresponse routes``: what the rules would do with a study, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from oncoresponse.edges.routing import Choice, Rule

app = typer.Typer(help="Rules for studies that come in.", no_args_is_help=True)


@app.callback()
def _routes() -> None:
    """Makes of one command a group."""


@app.command("test")
def test(
    study: Annotated[Path, typer.Argument(help="Folder with DICOM files.", exists=True, file_okay=False)],
    rules: Annotated[Path, typer.Option(help="YAML file of rules.")],
    calling_ae_title: Annotated[str, typer.Option(help="AE title that would send it; none: over HTTP.")] = "",
    order_code: Annotated[
        list[str] | None, typer.Option(help="Code of an order for it; repeat for several. None: there is no order.")
    ] = None,
    models_dir: Annotated[Path | None, typer.Option(help="Folder of installed models.")] = None,
) -> None:
    """Say which rule fits a study, why those before it do not, and what would be started. Nothing is.

    Exit status 1 where a study fits no rule, or the model of the rule is not installed.
    """
    from oncoresponse.cli.embedded_server import default_models_directory
    from oncoresponse.edges.routing import choose, read_rules
    from oncoresponse.edges.rule_runner import study_facts
    from oncoresponse.errors import NoImages
    from oncoresponse.servers.series_facts import series_facts_of_folder

    known = read_rules(rules)
    studies = series_facts_of_folder(study)
    if not studies:
        raise NoImages("The folder has no DICOM files. Give that of a study.")
    unfit = 0
    for number, series in enumerate(studies, start=1):
        facts = study_facts(series, calling_ae_title, tuple(order_code) if order_code else None)
        objects = sum(each.instance_count for each in series)
        which = f" {number}" if len(studies) > 1 else ""
        typer.echo(f"Study{which}: {objects} objects, {' '.join(sorted(facts.modalities))}")
        choice = choose(known, facts)
        _say(choice)
        unfit += choice.rule is None or not _is_installed(choice.rule.model, models_dir or default_models_directory())
    if unfit:
        raise typer.Exit(1)


def _is_installed(model: str, models_directory: Path) -> bool:
    from oncoresponse.errors import ModelNotFound
    from oncoresponse.model.folder import find_model

    try:
        find_model(models_directory, model)
    except ModelNotFound:
        typer.echo(f"  There is no model {model} in {models_directory}: it would be refused (MODEL_NOT_FOUND).")
        return False
    return True


def _say(choice: Choice) -> None:
    for name, why in choice.passed_over:
        typer.echo(f"  {name}: {why}")
    if choice.rule is None:
        typer.echo("  No rule fits. The study would be kept, and nothing started.")
        return
    typer.echo(f"  {choice.rule.name}: fits")
    typer.echo(f"  Would start: {_order(choice.rule)}")


def _order(rule: Rule) -> str:
    parts = [f"model {rule.model}", f"priority {rule.priority}"]
    parts.append(f"deliver to {', '.join(rule.deliver_to)}" if rule.deliver_to else "deliver to nobody")
    if rule.priors is not None:
        parts.append(f"after {rule.priors.count} earlier from {rule.priors.peer}")
    if rule.use_contour:
        parts.append("with the contour of the study")
    return "; ".join(parts)
