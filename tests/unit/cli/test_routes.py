"""What ``oncoresponse routes test`` says of a study that was not sent."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from oncoresponse.cli.main import app
from oncoresponse.dicom.limits import DEFAULT_LIMITS
from oncoresponse.servers.indexed_study import header_reader
from oncoresponse.servers.series_facts import series_facts, series_facts_of_folder
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_reservation import StudyQuota
from oncoresponse.storage.study_store import StudyStore
from typer.testing import CliRunner

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def rules(tmp_path):
    content = {
        "rules": [
            {"name": "brain", "when": {"modalities": ["MR"]}, "model": "breast-nac"},
            {
                "name": "sarcoma",
                "when": {"modalities": ["CT", "PT"], "calling_ae_titles": ["PETCT1"]},
                "model": "sts-petct",
                "priority": "stat",
                "deliver_to": ["archive"],
            },
            {"name": "never", "when": {}, "model": "sts-petct"},
        ]
    }
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def run(*arguments: object):
    return CliRunner().invoke(app, ["routes", "test", *map(str, arguments)])


def test_which_rule_fits_why_others_do_not_and_what_would_be_started(rules):
    said = run(EXAMPLES / "STS_032", "--rules", rules, "--calling-ae-title", "PETCT1")
    assert said.exit_code == 0, said.output
    assert said.output.splitlines()[1:] == [
        "  brain: no MR in the study",
        "  sarcoma: fits",
        "  Would start: model sts-petct; priority stat; deliver to archive",
    ]
    assert "never: fits" in run(EXAMPLES / "STS_032", "--rules", rules).output


def test_a_study_that_fits_none_has_exit_status_1(rules):
    content = yaml.safe_load(rules.read_text())
    rules.write_text(yaml.safe_dump({"rules": content["rules"][:2]}))
    said = run(EXAMPLES / "STS_032", "--rules", rules)
    assert said.exit_code == 1
    assert said.output.splitlines()[1:] == [
        "  brain: no MR in the study",
        "  sarcoma: another sender",
        "  No rule fits. The study would be kept, and nothing started.",
    ]


def test_a_model_that_is_not_installed_is_said(rules, tmp_path):
    said = run(EXAMPLES / "STS_032", "--rules", rules, "--calling-ae-title", "PETCT1", "--models-dir", tmp_path)
    assert said.exit_code == 1
    assert f"There is no model sts-petct in {tmp_path}" in said.output


def test_the_facts_are_those_that_the_server_has_of_the_same_files(tmp_path):
    """Through the store that the server keeps studies in."""
    folder = EXAMPLES / "BREAST_DCE"
    artifacts = ArtifactStore((tmp_path / "artifacts").as_uri())
    store = StudyStore(tmp_path, artifacts, StudyQuota())
    read = header_reader(DEFAULT_LIMITS)
    name = store.create("5f0b9a2e-1a56-4d0f-9a55-77a7b1f3c0de").name
    for path in folder.rglob("*.dcm"):
        store.add(name, [path.read_bytes()], read)
    manifest = store.complete(name, read=read).manifest
    assert series_facts_of_folder(folder) == [series_facts(store.index_of_manifest(manifest, read))]
