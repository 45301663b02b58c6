from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.model.definition import parse_definition
from oncoresponse.response.model_document import MeasuresOnlyDocument, ResponseDocument, read_document
from oncoresponse.response.training.documentation import begin_mark, end_mark, write_documentation
from oncoresponse.response.training.evaluation_tables import overview_table, summary_tables
from oncoresponse.response.training.training import TrainedResponse
from oncoresponse.response.training.validation import Evaluation

REPOSITORY = Path(__file__).parents[3]


def test_tables_are_written_between_the_marks(trained: TrainedResponse, tmp_path: Path) -> None:
    page = tmp_path / "response.md"
    begin, end = begin_mark("sts-petct"), end_mark("sts-petct")
    page.write_text(f"before\n{begin}\nstale figures\n{end}\nafter\n", encoding="utf-8")
    write_documentation(trained, "sts-petct", tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "stale figures" not in text
    assert trained.evaluation.booster.auc.text in text
    assert trained.document.booster_sha256 in text
    (tmp_path / "known-limits.md").write_text(f"{begin}\n{end}\n", encoding="utf-8")
    write_documentation(trained, "sts-petct", tmp_path)
    assert trained.document.limits[0] in (tmp_path / "known-limits.md").read_text(encoding="utf-8")
    first = page.read_bytes()
    write_documentation(trained, "sts-petct", tmp_path)
    assert page.read_bytes() == first


def test_a_page_without_marks_is_refused(trained: TrainedResponse, tmp_path: Path) -> None:
    (tmp_path / "response.md").write_text("nothing", encoding="utf-8")
    with pytest.raises(TrainingDataInvalid, match="marks"):
        write_documentation(trained, "sts-petct", tmp_path)


def _shipped(name: str) -> tuple[Evaluation, ResponseDocument | MeasuresOnlyDocument]:
    folder = REPOSITORY / "models" / name / "response"
    return (
        Evaluation.model_validate_json((folder / "evaluation.json").read_bytes()),
        read_document((folder / "response.json").read_bytes()),
    )


def _written(page: Path, name: str) -> str:
    text = page.read_text(encoding="utf-8")
    return text.split(begin_mark(name))[1].split(end_mark(name))[0].strip()


@pytest.mark.parametrize("name", ["sts-petct", "breast-nac"])
def test_every_page_shows_the_shipped_evaluation(name: str) -> None:
    evaluation, document = _shipped(name)
    assert _written(REPOSITORY / "docs" / "response.md", name) == summary_tables(evaluation, document).strip()
    assert _written(REPOSITORY / "README.md", name) == overview_table(evaluation, name)
    limits = _written(REPOSITORY / "docs" / "known-limits.md", name)
    assert limits == "\n".join(f"- {text}" for text in document.limits)


def test_figures_written_by_hand_are_those_of_the_evaluation() -> None:
    """Sentences of README and known-limits.md around the written tables."""
    evaluation, _ = _shipped("sts-petct")
    follow_up = evaluation.follow_up
    assert follow_up is not None
    without = follow_up.patients - follow_up.failures
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    short = f"{follow_up.short_of_horizon} of the {without} patients without failure"
    assert f"{short} were followed for less than two years" in readme
    assert f"shortest {follow_up.shortest_without_failure:.0f} days" in readme
    definition = yaml.safe_load((REPOSITORY / "models" / "sts-petct" / "model.yaml").read_text(encoding="utf-8"))
    years = follow_up.median_without_failure / 365.25
    assert f"(median {years:.1f} years)" in definition["outcome"]["title"]
    assert f"(median {follow_up.median_without_failure:.0f})" in definition["outcome"]["definition"]
    assert f"(median {years:.1f} years)" in " ".join(readme.split())


def test_the_limits_of_the_segmentation_are_those_of_its_evaluation() -> None:
    found = json.loads((REPOSITORY / "models" / "sts-petct" / "segmentation" / "evaluation.json").read_bytes())
    page = (REPOSITORY / "docs" / "known-limits.md").read_text(encoding="utf-8")
    network, patients = found["network"]["none"], found["patients"]
    free = found["image_free_baseline"]
    low, high = network["mean_dice_95_percent_interval"]
    free_low, free_high = free["mean_dice_95_percent_interval"]
    for text in (
        f"| {network['mean_dice']:.2f} ({low:.2f} to {high:.2f}) |",
        f"| {network['lowest_dice']:.2f}; {found['network']['box']['lowest_dice']:.2f} |",
        f"| {network['patients_with_dice_below_0_5']} of {patients} |",
        f"| {network['median_absolute_volume_error_percent']:.0f} % |",
        f"| {free['mean_dice']:.2f} ({free_low:.2f} to {free_high:.2f}) |",
        f"| {network['confidence_rank_correlation_with_dice']:.2f}: ",
        f"| {network['patients_flagged_for_review']} of {patients}; of {network['patients_with_dice_below_0_5']} masks "
        f"with a Dice below 0.5 it misses {network['patients_with_dice_below_0_5_not_flagged']}, ",
        f"| {found['network_without_ct_mean_dice']:.2f} |",
    ):
        assert text in page, text


def test_the_outside_check_is_said_with_version_and_date_and_only_of_its_booster() -> None:
    definition = parse_definition(yaml.safe_load((REPOSITORY / "models" / "sts-petct" / "model.yaml").read_bytes()))
    (check,) = definition.outside_checks
    assert definition.outside_checks_of((check.booster_sha256,)) == (check.text,)
    assert definition.outside_checks_of(("0" * 64,)) == (), "another model: dropped"
    for part in ("0.2.3", "2026-11", "not reproducible from this repository", "11 further patients", "0.43 to 0.47"):
        assert part in check.text
        for page in ("README.md", "docs/known-limits.md", "docs/response.md"):
            assert part in " ".join((REPOSITORY / page).read_text(encoding="utf-8").split()), (page, part)
    assert check.text in (REPOSITORY / "models" / "sts-petct" / "model-card.md").read_text(encoding="utf-8")
