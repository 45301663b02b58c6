"""Sign-off on a real server: who may sign what, what each version says, and that nothing signed is ever rewritten."""

from __future__ import annotations

import importlib.util
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pydicom
import pypdf
import pytest
import sqlalchemy
from oncoresponse.cli.main import app
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, report_pb2, study_pb2
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]
SAMPLE, OTHER_PATIENT = ROOT / "examples" / "STS_019", ROOT / "examples" / "STS_032"
COMMENT = "The rim of the lesion was missed in part."

# The server as it is, beside callers whom this test knows by a word.
RUNNER = """
from oncoresponse.access.authentication import Authentication
from oncoresponse.access.caller import Caller, Identification
from oncoresponse.access.roles import AccessRole
from oncoresponse.cli.main import run

def caller(name, *roles):
    return Caller(f"https://idp#{name}", frozenset(roles), Identification.OIDC, f"Dr. {name.title()}")

everything = (AccessRole.READ, AccessRole.SIGN, AccessRole.SUBMIT)
known = {"ada": caller("ada", *everything), "bob": caller("bob", *everything), "ehr": caller("ehr", AccessRole.READ)}
recognized = Authentication.caller
Authentication.caller = lambda self, given: known.get(given.bearer) or recognized(self, given)
run()
"""

_spec = importlib.util.spec_from_file_location(
    "fhir_checks_of_signed", Path(__file__).parents[1] / "unit/reporting/test_reporting_fhir_bundle.py"
)
assert _spec is not None
assert _spec.loader is not None
checks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(checks)
problems, resource, resources = checks.problems, checks.resource, checks.resources


def silent(_message: str, _fraction: float) -> None:
    return None


class Server:
    """One server on a data folder, in a process of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.log = folder / f"log-{len(list(folder.glob('log-*')))}.txt"
        environment = os.environ | {f"ONCORESPONSE_{name.upper()}": value for name, value in settings.items()}
        arguments = [
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            str(folder / "data"),
            "--models-dir",
            str(folder / "models"),
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUNNER, "serve", "--verbose", "--allow-anonymous", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=environment,
            )
        line = self.process.stdout.readline()
        assert line.startswith("ready "), self.log.read_text()
        self.address = line.split()[1]

    def client(self, name: str = "") -> Client:
        return Client(self.address, token=name)

    def stop(self) -> None:
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sign-off")
    for model in ("sts-petct", "breast-early-response"):
        shutil.copytree(ROOT / "models" / model, folder / "models" / model)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    running = Server(folder)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def strict(server, assessments, folder):
    """The same installation, started again with the setting that asks for the physician's own judgement first."""
    server.stop()
    running = Server(folder, judgement_first="true")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def study(server):
    return server.client("ada").upload_study(SAMPLE, silent)


@pytest.fixture(scope="module")
def assessments(server, study, folder):
    """Two of one study, the second in place of the first; their model is gone when they are signed."""
    client = server.client("ada")
    first = client.assess(study, Order("sts-petct", contour=study_pb2.SuppliedContour()), silent)
    order = Order("sts-petct", contour=study_pb2.SuppliedContour(), replaces=first.name)
    second = client.assess(study, order, silent)
    other = client.upload_study(OTHER_PATIENT, silent)
    with pytest.raises(OncoResponseError) as refused:
        client.create_assessment(other, Order("sts-petct", replaces=first.name), str(uuid.uuid4()))
    assert refused.value.reason == "PATIENT_MISMATCH"
    with pytest.raises(OncoResponseError) as refused:
        client.create_assessment(other, Order("sts-petct", replaces="assessments/none"), str(uuid.uuid4()))
    assert refused.value.reason == "ASSESSMENT_NOT_FOUND"
    shutil.rmtree(folder / "models" / "sts-petct")
    return first, second


def signing(assessment, version=1, **changes):
    values = {"agreement": report_pb2.AGREEMENT_AGREE, "request_id": str(uuid.uuid4())} | changes
    return report_pb2.SignReportRequest(assessment=assessment.name, seen_version=version, **values)


def amending(assessment, version, **changes):
    values = {"agreement": report_pb2.AGREEMENT_DISAGREE, "request_id": str(uuid.uuid4()), "comment": COMMENT} | changes
    return report_pb2.AmendReportRequest(assessment=assessment.name, seen_version=version, **values)


def withdrawing(assessment, version, **changes):
    values = {"reason": report_pb2.WITHDRAWAL_REASON_WRONG_PATIENT, "request_id": str(uuid.uuid4())} | changes
    return report_pb2.WithdrawReportRequest(assessment=assessment.name, seen_version=version, **values)


def reason_of(call, *arguments):
    with pytest.raises(OncoResponseError) as refused:
        call(*arguments)
    return refused.value.reason


def page_texts(data):
    return [" ".join(page.extract_text().split()) for page in pypdf.PdfReader(io.BytesIO(data)).pages]


def rejected_by(note):
    """SOP Instance UIDs that a rejection note names."""
    return {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in note.ContentSequence
        if "ReferencedSOPSequence" in item
    }


def documents(client, assessment, version):
    return tuple(client.artifact(assessment.name, name, version) for name in ("report.json", "report.pdf"))


def listed_for_patient(client, patient_id):
    stub = assessment_pb2_grpc.AssessmentServiceStub(client._channels[client._address])
    page = stub.ListAssessments(assessment_pb2.ListAssessmentsRequest(patient_id=patient_id))
    return [each.name for each in page.assessments]


def test_before_anybody_signs_and_who_may_not(server, assessments):
    first, second = assessments
    client = server.client("ehr")
    report = client.report(first.name)
    assert (report.name, report.version, report.status) == (f"{first.name}/report", 1, 1)
    assert report.replaced_by == second.name
    assert client.report(second.name).replaces == first.name
    assert (first.report_status, first.report_version) == (report_pb2.REPORT_STATUS_PRELIMINARY, 1)
    assert second.replaces == first.name
    replaced = resource(json.loads(client.artifact(second.name, "report.json")), "DiagnosticReport")["extension"]
    earlier = resource(json.loads(client.artifact(first.name, "report.json")), "DiagnosticReport")["identifier"][0]
    assert replaced[0]["valueReference"]["identifier"] == earlier
    assert reason_of(client.sign_report, signing(first)) == "ACCESS_DENIED"
    anonymous = server.client()
    judgement = report_pb2.RecordJudgementRequest(assessment=first.name, judgement=1)
    for call, request in (
        (anonymous.sign_report, signing(first)),
        (anonymous.amend_report, amending(first, 1)),
        (anonymous.withdraw_report, withdrawing(first, 1)),
        (anonymous.record_judgement, judgement),
    ):
        assert reason_of(call, request) == "SIGNER_NOT_IDENTIFIED"
    ada = server.client("ada")
    assert reason_of(ada.amend_report, amending(first, 1)) == "REPORT_STATUS_FORBIDS"
    assert reason_of(ada.sign_report, signing(first, 2)) == "REPORT_CHANGED"
    assert reason_of(ada.sign_report, signing(first, agreement=0)) == "INVALID_REQUEST"
    assert reason_of(ada.sign_report, signing(first, comment="x" * 1001)) == "INVALID_REQUEST"
    assert reason_of(ada.report, "assessments/none") == "ASSESSMENT_NOT_FOUND"
    assert client.report(first.name).version == 1, "nothing came of it"


def test_the_wrong_patient_has_a_way_of_its_own(server, assessments):
    _, second = assessments
    bob, ehr = server.client("bob"), server.client("ehr")
    assert second.name in listed_for_patient(ehr, "STS_019")
    measured = resources(json.loads(ehr.artifact(second.name, "report.json")), "Observation")
    withdrawn = bob.withdraw_report(withdrawing(second, 1, comment=COMMENT))
    assert withdrawn.status == report_pb2.REPORT_STATUS_ENTERED_IN_ERROR
    assert withdrawn.withdrawal_reason == report_pb2.WITHDRAWAL_REASON_WRONG_PATIENT
    assert withdrawn.study == second.study
    assert second.name not in listed_for_patient(ehr, "STS_019")
    bundle, pdf = documents(ehr, second, 0)
    parsed = json.loads(bundle)
    assert problems(parsed) == []
    assert not any(each["text"]["div"] in bundle.decode() for each in measured)
    assert all("WITHDRAWN: ENTERED IN ERROR. DO NOT USE." in page for page in page_texts(pdf))
    found = ehr.watch(second.name, silent)
    forms = ["patient-page.html", "rejection-note.dcm", "report.fhir-r5.json", "report.json", "report.pdf"]
    assert sorted(found.result.artifacts) == forms
    assert b"was taken back" in ehr.artifact(second.name, "patient-page.html")
    in_r5 = json.loads(ehr.artifact(second.name, "report.fhir-r5.json"))
    assert {each["status"] for each in resources(in_r5, "DiagnosticReport")} == {"entered-in-error"}
    note = pydicom.dcmread(io.BytesIO(ehr.artifact(second.name, "rejection-note.dcm")))
    assert note.ConceptNameCodeSequence[0].CodeValue == "113038"
    objects = [name for name in second.result.artifacts if name.endswith(".dcm")]
    assert len(objects) >= 5
    assert rejected_by(note) == {
        pydicom.dcmread(io.BytesIO(ehr.artifact(second.name, name, 1))).SOPInstanceUID for name in objects
    }
    assert not found.result.HasField("prediction")
    assert not found.result.lesions
    assert "DO NOT USE" in found.result.summary
    assert reason_of(ehr.artifact, second.name, "features.json") == "REPORT_WITHDRAWN"
    assert json.loads(ehr.artifact(second.name, "features.json", 1))
    for call, request in (
        (bob.sign_report, signing(second, 2)),
        (bob.amend_report, amending(second, 2)),
        (bob.withdraw_report, withdrawing(second, 2)),
        (bob.record_judgement, report_pb2.RecordJudgementRequest(assessment=second.name, judgement=1)),
    ):
        assert reason_of(call, request) == "REPORT_STATUS_FORBIDS"
    assert f"{second.name} was withdrawn, because {second.study} is of another patient" in server.log.read_text()


def test_own_judgement_first(strict, assessments):
    made, _ = assessments
    ada, bob, ehr = (strict.client(name) for name in ("ada", "bob", "ehr"))
    for client in (ada, bob, ehr, strict.client()):
        seen = client.watch(made.name, silent)
        assert seen.prediction_withheld
        assert not {"report.json", "report.pdf", "report-page.json", "prediction.json"} & set(seen.result.artifacts)
        assert "mask.nrrd" in seen.result.artifacts
        assert not (seen.result.HasField("prediction") or seen.result.summary or seen.result.predicted_from)
        assert not seen.result.HasField("fhir_bundle")
        for name in ("report.json", "report.pdf", "report-page.json", "prediction.json"):
            assert reason_of(client.artifact, made.name, name) == "JUDGEMENT_NEEDED"
            assert reason_of(client.artifact, made.name, name, 1) == "JUDGEMENT_NEEDED"
        report = client.report(made.name)
        assert report.prediction_withheld
        assert not report.versions[0].artifacts
    assert reason_of(ada.sign_report, signing(made)) == "JUDGEMENT_NEEDED"
    judgement = report_pb2.RecordJudgementRequest(
        assessment=made.name, judgement=report_pb2.PHYSICIAN_JUDGEMENT_UNFAVORABLE, comment=COMMENT
    )
    judged = ada.record_judgement(judgement)
    assert not judged.prediction_withheld
    assert judged.judgements[0].prediction_was_withheld
    changed = report_pb2.RecordJudgementRequest(assessment=made.name, judgement=1)
    assert reason_of(ada.record_judgement, changed) == "JUDGEMENT_ALREADY_RECORDED"
    # Ada sees it, and systems that only read; Bob, who may sign, judges first; what Ada thinks is not shown to him.
    assert ada.watch(made.name, silent).result.HasField("prediction")
    assert ehr.artifact(made.name, "report.json") == ada.artifact(made.name, "report.json")
    assert bob.watch(made.name, silent).prediction_withheld
    assert not bob.report(made.name).judgements


def test_signed_amended_and_every_version_stays_as_it_was(strict, assessments):
    """The model that made the report is no longer installed."""
    first, _ = assessments
    ada, ehr = strict.client("ada"), strict.client("ehr")
    kept = [documents(ehr, first, 1)]
    request = signing(first, comment="agreed")
    signed = ada.sign_report(request)
    assert (signed.version, signed.status) == (2, report_pb2.REPORT_STATUS_FINAL)
    assert (signed.signer.name, signed.signer.display_name) == ("https://idp#ada", "Dr. Ada")
    assert ada.sign_report(request) == signed, "the same request"
    assert reason_of(strict.client("bob").sign_report, request) == "REQUEST_ID_REUSED"
    assert reason_of(ada.sign_report, signing(first, 2)) == "REPORT_STATUS_FORBIDS"
    kept.append(documents(ehr, first, 2))
    kept_judgement = resource(json.loads(kept[1][0]), "Observation", "physician-judgement")
    assert kept_judgement["valueCodeableConcept"]["coding"][0]["code"] == "judgement-unfavorable"
    assert kept_judgement["note"][0]["text"] == "Made before the model's answer was shown."
    bob = strict.client("bob")
    hidden = bob.report(first.name)
    assert (hidden.version, hidden.comment, hidden.agreement, len(hidden.judgements)) == (2, "", 0, 0)
    assert reason_of(bob.amend_report, amending(first, 2)) == "JUDGEMENT_NEEDED"
    bob.record_judgement(report_pb2.RecordJudgementRequest(assessment=first.name, judgement=3))
    # Two at the same time: one of them has seen a version that is no longer the newest.
    start = Barrier(2)

    def amend(name):
        with closing(strict.client(name)) as client:
            start.wait()
            try:
                return name, client.amend_report(amending(first, 2)).version
            except OncoResponseError as error:
                return name, error.reason

    with ThreadPoolExecutor(2) as pool:
        outcome = dict(pool.map(amend, ("ada", "bob")))
    assert sorted(map(str, outcome.values())) == ["3", "REPORT_CHANGED"]
    winner = next(name for name, version in outcome.items() if version == 3)
    kept.append(documents(ehr, first, 3))
    report = ehr.report(first.name)
    assert [version.status for version in report.versions] == [1, 2, 3]
    assert (report.signer.name, report.comment) == (f"https://idp#{winner}", COMMENT)
    assert [documents(ehr, first, version) for version in (1, 2, 3)] == kept
    assert documents(ehr, first, 0) == kept[-1], "the newest"
    for (bundle, pdf), status, words in zip(
        kept,
        ("preliminary", "final", "amended"),
        ("PRELIMINARY, not signed", "Final: signed by Dr. Ada", f"Amended: signed again by Dr. {winner.title()}"),
        strict=True,
    ):
        parsed = json.loads(bundle)
        assert problems(parsed) == []
        results = [each for each in resources(parsed, "Observation") if "physician-judgement" not in json.dumps(each)]
        assert {item["status"] for item in results} == {status}
        assert resource(parsed, "DiagnosticReport")["status"] == status
        assert words in page_texts(pdf)[0]
    conclusion = resource(json.loads(kept[2][0]), "DiagnosticReport")["conclusion"]
    assert "DISAGREES" in conclusion.split("\n")[0]
    assert COMMENT in page_texts(kept[2][1])[0]
    documented = [
        pydicom.dcmread(io.BytesIO(ehr.artifact(first.name, "structured-report.dcm", version))) for version in (1, 2, 3)
    ]
    assert [each.VerificationFlag for each in documented] == ["UNVERIFIED", "VERIFIED", "VERIFIED"]
    assert documented[1].VerifyingObserverSequence[0].VerifyingObserverName == "Dr. Ada"
    for before, after in itertools.pairwise(documented):
        predecessor = after.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
        assert predecessor.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    pages = [
        pydicom.dcmread(io.BytesIO(ehr.artifact(first.name, "encapsulated-report.dcm", version)))
        for version in (1, 2, 3)
    ]
    assert [each.VerificationFlag for each in pages] == ["UNVERIFIED", "VERIFIED", "VERIFIED"]
    assert [each.EncapsulatedDocument[: each.EncapsulatedDocumentLength] for each in pages] == [pdf for _, pdf in kept]
    note = pydicom.dcmread(io.BytesIO(ehr.artifact(first.name, "rejection-note.dcm", 3)))
    assert note.ConceptNameCodeSequence[0].CodeValue == "113001"
    assert rejected_by(note) == {each.SOPInstanceUID for each in (*documented[:2], *pages[:2])}
    for version, status in ((2, "final"), (3, "amended")):
        sent = json.loads(ehr.artifact(first.name, "imr-bundle.fhir.json", version))
        assert problems(sent) == []
        assert {each["status"] for each in resources(sent, "DiagnosticReport")} == {status}
        assert b"checked the report and signed it" in ehr.artifact(first.name, "patient-page.html", version)
        study = resource(json.loads(kept[version - 1][0]), "ImagingStudy")
        listed = {item["uid"] for series in study["series"] for item in series.get("instance", [])}
        assert documented[version - 1].SOPInstanceUID in listed
    found = ehr.watch(first.name, silent)
    assert "imr-bundle.fhir.json" in found.result.artifacts
    assert (found.report_status, found.report_version) == (report_pb2.REPORT_STATUS_AMENDED, 3)
    assert found.revision == first.revision + 2
    assert found.result.fhir_bundle.sha256 == report.versions[2].artifacts["report.json"].sha256
    assert "Preliminary" not in found.result.summary


def test_commands(strict, assessments, tmp_path):
    first, _ = assessments
    run = CliRunner()

    def command(*arguments, who="ada"):
        return run.invoke(app, [*arguments, "--server", strict.address], env={"ONCORESPONSE_TOKEN": who})

    shown = command("report", first.name, "--out", str(tmp_path), "--version", "2", who="ehr")
    assert "version 2: final" in shown.output
    assert "version 3: amended" in shown.output
    assert "Final: signed by Dr. Ada" in page_texts((tmp_path / "report.pdf").read_bytes())[0]
    nothing_said = command("amend", first.name, "--seen-version", "3", "--comment", "x")
    assert nothing_said.exception.reason == "CONFIGURATION_INVALID"
    stale = command("amend", first.name, "--seen-version", "2", "--agree", "--comment", "x")
    assert stale.exception.reason == "REPORT_CHANGED"
    amended = command("amend", first.name, "--seen-version", "3", "--changed-contour", "--comment", "x")
    assert "version 4: amended" in amended.output
    assert "changed-contour" in amended.output
    judged = command("judge", first.name, "unfavorable", "--comment", COMMENT)
    assert judged.output == "Recorded.\n", "the same again"
    assert command("sign", first.name, "--seen-version", "4", "--agree").exception.reason == "REPORT_STATUS_FORBIDS"
    withdrawn = command("withdraw", first.name, "--seen-version", "4", "--reason", "technical")
    assert "version 5: entered-in-error" in withdrawn.output


def test_what_was_said_is_in_no_log_and_the_database_refuses_to_change_it(strict, assessments, folder):
    logs = "".join(path.read_text() for path in folder.glob("log-*"))
    for word in (COMMENT, "STS_019", "https://idp#ada"):
        assert word not in logs
    engine = sqlalchemy.create_engine(f"sqlite:///{folder / 'data' / 'oncoresponse.sqlite'}")
    with pytest.raises(sqlalchemy.exc.IntegrityError, match="never rewritten"), engine.begin() as connection:
        connection.exec_driver_sql("UPDATE report_version SET signer = 'somebody else'")
    engine.dispose()
