"""A result of a real study is computed again from its record: the same, or what differs is named."""

import json
import math
import re
import shutil
import sqlite3
import time

import grpc
import pytest
from oncoresponse.case.assessment_record import AssessmentRecord
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.cli.main import app
from oncoresponse.errors import AssessmentNotReplayable, Busy, ModelChanged
from oncoresponse.model.folder import seal_model_folder
from oncoresponse.model.plan import STAGES
from oncoresponse.model.versions import install_version
from oncoresponse.rpc.administration_client import AdministrationClient
from oncoresponse.rpc.client import Order
from oncoresponse.storage.artifact_kind import ArtifactKind
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, replay_pb2, replay_pb2_grpc
from typer.testing import CliRunner


class Assessed:
    """A server with one finished assessment, and the data folder behind."""

    def __init__(self, address, data, models, name):
        self.address, self.data, self.models, self.name = address, data, models, name
        self.client = AdministrationClient(address)
        self.store = ArtifactStore((data / "artifacts").as_uri())

    def files(self):
        return {found.key for found in self.store.everything()}

    def assessments(self):
        with grpc.insecure_channel(self.address) as channel:
            stub = assessment_pb2_grpc.AssessmentServiceStub(channel)
            return stub.ListAssessments(assessment_pb2.ListAssessmentsRequest()).assessments

    def rows(self):
        """How many rows each table has."""
        with sqlite3.connect(self.data / "oncoresponse.sqlite") as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            # Signs of life and the audit record go on by themselves.
            return {
                name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()  # noqa: S608 - names of tables
                for (name,) in tables
                if name not in ("worker", "audit_event")
            }

    def record(self):
        return AssessmentRecord.model_validate_json(self.client.artifact(self.name, "record.json"))

    def change_result(self, change):
        """Change what the database says the assessment ended with; gives what undoes that."""
        identifier = self.name.removeprefix("assessments/")
        with sqlite3.connect(self.data / "oncoresponse.sqlite", timeout=30) as connection:
            (before,) = connection.execute(
                "SELECT output FROM workflow_output WHERE workflow_uuid = ?", (identifier,)
            ).fetchone()
            self._write(connection, identifier, change(before))

        def undo():
            with sqlite3.connect(self.data / "oncoresponse.sqlite", timeout=30) as connection:
                self._write(connection, identifier, before)

        return undo

    @staticmethod
    def _write(connection, identifier, output):
        connection.execute("UPDATE workflow_output SET output = ? WHERE workflow_uuid = ?", (output, identifier))


@pytest.fixture(scope="module")
def assessed(serve_for_module, tmp_path_factory, examples):
    folder = tmp_path_factory.mktemp("replay")
    shutil.copytree(examples.parent / "models" / "sts-petct", folder / "models" / "sts-petct")
    data = folder / "data"
    arguments = ("--data-dir", str(data), "--listen", "127.0.0.1:0", "--models-dir", str(folder / "models"))
    address = serve_for_module(*arguments).wait_until_ready()
    client = AdministrationClient(address)
    study = client.upload_study(examples / "STS_032", lambda *_: None)
    name = client.assess(study, Order(model="sts-petct"), lambda *_: None).name
    client.close()
    found = Assessed(address, data, folder / "models", name)
    yield found
    found.client.close()


def replayed_by_command(assessed):
    """The exit status and the lines of ``oncoresponse replay``, its progress apart."""
    done = CliRunner().invoke(app, ["replay", assessed.name, "--server", assessed.address])
    return done.exit_code, done.stdout.splitlines(), done.stderr


def test_the_same_comes_out_and_nothing_is_added(assessed):
    record = assessed.record()
    assert record.stages == tuple(STAGES)
    assert set(record.software) == set(STAGES)
    assert {"torch", "numpy", "python", "oncoresponse"} <= set(record.software["segmentation"].versions)
    assert "xgboost" in record.software["prediction"].versions
    assert all(item.processor for item in record.software.values())
    # What retention has removed is made again, and does not stay.
    volumes = [key for key in assessed.files() if assessed.store.kind(key) in (ArtifactKind.MASK, ArtifactKind.VOLUME)]
    assert len(volumes) > 3
    for key in volumes:
        assessed.store.delete_unless_newer(key, math.inf)
    files, rows = assessed.files(), assessed.rows()
    status, lines, progress = replayed_by_command(assessed)
    # Nothing about other bytes or another environment follows.
    assert (status, lines[0], len(lines)) == (0, "The same.", 2)
    numbers, compared, identical = map(int, re.findall(r"(?<!-)\b\d+\b(?= )", lines[1])[:3])
    assert numbers > 1000
    assert identical == compared > 15
    for stage in STAGES.values():
        assert stage.message in progress
    assert assessed.files() == files
    assert assessed.rows() == rows
    assert [item.name for item in assessed.assessments()] == [assessed.name]


def test_a_caller_who_goes_away_leaves_nothing(assessed):
    files = assessed.files()
    with grpc.insecure_channel(assessed.address) as channel:
        stub = replay_pb2_grpc.ReplayServiceStub(channel)
        call = stub.ReplayAssessment(replay_pb2.ReplayAssessmentRequest(name=assessed.name))
        assert next(event for event in call if event.progress.message == STAGES["features"].message)
        assert assessed.files() > files
        with pytest.raises(Busy):
            assessed.client.replay(assessed.name, lambda *_: None)
        call.cancel()
    deadline = time.monotonic() + 60
    while assessed.files() != files:
        assert time.monotonic() < deadline


def test_what_somebody_has_changed_is_named_also_under_a_version_that_was_replaced(assessed, tmp_path):
    newer = shutil.copytree(assessed.models / "sts-petct", tmp_path / "sts-petct")
    definition = newer / "model.yaml"
    text = definition.read_text(encoding="utf-8")
    definition.write_text(re.sub(r"(?m)^version:.*$", "version: 9.0.0", text), encoding="utf-8")
    seal_model_folder(newer)
    install_version(assessed.models, newer)
    document = json.loads(assessed.client.artifact(assessed.name, "features.json"))
    (volume,) = [item for item in document["measures"] if item["name"] == "lesion_volume"]
    number, right = document["measures"].index(volume), volume["value"]
    volume["value"] = right * 1.001
    forged = assessed.store.put_bytes(json.dumps(document).encode(), "application/json")

    def change(output):
        stored = StoredArtifact.model_validate(_parent(json.loads(output), "features.json")["features.json"])
        return output.replace(stored.sha256, forged.sha256).replace(f'"{stored.size_bytes}"', f'"{forged.size_bytes}"')

    undo = assessed.change_result(change)
    files = assessed.files()
    try:
        status, lines, _ = replayed_by_command(assessed)
    finally:
        undo()
    # These and no others: everything else came out as the version of then makes it.
    assert (status, lines[0]) == (1, "DIFFERENT.")
    assert lines[2:] == [
        f"features.json/measures/{number}/value: {volume['value']!r} then, {right!r} now",
        "record.json features.json: another file than was handed out then, a file now",
    ]
    assert assessed.files() == files


def test_a_result_without_a_record_is_refused(assessed):
    def without_record(output):
        result = json.loads(output)
        _parent(result, "record.json").pop("record.json")
        return json.dumps(result)

    undo = assessed.change_result(without_record)
    try:
        with pytest.raises(AssessmentNotReplayable):
            assessed.client.replay(assessed.name, lambda *_: None)
    finally:
        undo()


def test_a_version_of_the_model_that_is_not_kept_is_refused(assessed):
    shutil.rmtree(assessed.models / ".versions")
    with pytest.raises(ModelChanged):
        assessed.client.replay(assessed.name, lambda *_: None)


def _parent(value, key):
    """The object in a document that has a key."""
    if isinstance(value, dict):
        return value if key in value else next((hit for item in value.values() if (hit := _parent(item, key))), None)
    if isinstance(value, list):
        return next((hit for item in value if (hit := _parent(item, key))), None)
    return None
