"""Reports of the repository's studies, as a server makes and a physician changes them, checked by tools of others.

npm ``fhir`` (bindings, references), ``@medplum/core`` (cardinality, invariants, mCODE's profiles), PyPI ``fhirkit-rs``
and the project's own check. Nothing that any of them says goes unexplained.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import fhirkit
import pytest
import yaml
from oncoresponse.reporting.compose import Report
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import assessment_pb2, report_pb2, study_pb2

from tests.integration.test_fhir_server import sample

_spec = importlib.util.spec_from_file_location(
    "own_checks_of_bundles", Path(__file__).parents[1] / "unit/reporting/test_reporting_fhir_bundle.py"
)
assert _spec is not None
assert _spec.loader is not None
own = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(own)
pet_series, pet, ct, mask, model = sample.pet_series, sample.pet, sample.ct, sample.mask, sample.model
make_context, report = sample.make_context, sample.report

EXAMPLES = Path(__file__).parents[2] / "examples"
CHECKER = Path(__file__).parents[1] / "fhir_server"
Json = dict[str, Any]
SITE = {
    "organization_system": "https://hospital.example/organizations",
    "organization_identifier": "onc-1",
    "patient_id_system": "https://hospital.example/mrn",
    "accession_system": "https://hospital.example/accession",
    "time_zone": "America/Toronto",
    "dicomweb_url": "https://hospital.example/dicom-web",
    # So that there are attachments in resources, and beside them.
    "inline_bytes": 100_000,
}
CONTOUR = assessment_pb2.LesionSelection(contour=study_pb2.SuppliedContour(every_structure=True))
STUDIES = {
    "STS_032": Order("sts-petct"),
    "STS_032_TWO_LESIONS": Order("sts-petct", lesions=(CONTOUR,)),
    "BREAST_DCE": Order("breast-nac", contour=study_pb2.SuppliedContour()),
}
CALL = "CALL"
"""The sample once more, by a model that answers: none that is shipped makes a call on a study of the repository."""
EXPLAINED = {
    "could not be found": "The package brings no copy of the value set, so nothing was compared.",
    "(http://dicom.nema.org/resources/ontology/DCM) not": "R4 lists no DICOM codes where it gives none but examples.",
    "(http://loinc.org) not": "The package lists the codes that R4 enumerates; LOINC is bound as a whole.",
    "(http://snomed.info/sct) not": "The package does not evaluate filters over SNOMED CT.",
    "(urn:oid:1.2.840.10008.2.16.13) not": "IBSI's identifiers of features, as DICOM registers them; R4 has none.",
    "(http://terminology.hl7.org/CodeSystem/v2-0074) not": "R4 names this table for the category; no copy is packed.",
    "(http://terminology.hl7.org/CodeSystem/v3-ObservationValue) not": "AIAST, as the AI Transparency guide asks.",
    "(http://hl7.org/fhir/uv/aitransparency/CodeSystem/": "The AI Transparency guide is younger than R4.",
    "(https://oncoresponse.example/fhir/": "Codes and tags of our own, where no standard has one.",
}
"""Words of a warning or a note, and why it stands: each is about a code in a binding that is not required."""


def silent(_message: str, _fraction: float) -> None:
    return None


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, serve_for_module: Callable[..., Any]) -> dict[str, bytes]:
    """By study, version and form: preliminary, signed, amended, withdrawn."""
    folder = tmp_path_factory.mktemp("checked")
    settings = folder / "settings.yaml"
    settings.write_text(
        yaml.safe_dump({"fhir": SITE, "performing_organization": "North Hospital", "model_activation": "installed"})
    )
    data = folder / "data"
    token = token_of_a_doctor(data)
    server = serve_for_module("--data-dir", str(data), "--listen", "127.0.0.1:0", settings=settings)
    server.wait_until_ready()
    made: dict[str, bytes] = {}
    with closing(Client(server.address, token=token)) as client:
        for study, order in STUDIES.items():
            made |= versions_of(client, study, client.upload_study(EXAMPLES / study, silent), order)
    return made


@pytest.fixture(scope="module")
def call(
    tmp_path_factory: pytest.TempPathFactory, serve_for_module: Callable[..., Any], models_that_predict: Path
) -> dict[str, bytes]:
    """The same of a report with a call, made by the whole chain."""
    folder = tmp_path_factory.mktemp("call")
    settings = folder / "settings.yaml"
    settings.write_text(yaml.safe_dump({"fhir": SITE, "model_activation": "installed"}))
    token = token_of_a_doctor(folder / "data")
    arguments = ("--data-dir", str(folder / "data"), "--listen", "127.0.0.1:0")
    server = serve_for_module(*arguments, "--models-dir", str(models_that_predict), settings=settings)
    server.wait_until_ready()
    with closing(Client(server.address, token=token)) as client:
        study = client.upload_study(EXAMPLES / "STS_032", silent)
        return versions_of(client, CALL, study, Order("sts-petct", contour=study_pb2.SuppliedContour()))


def token_of_a_doctor(data: Path) -> str:
    words = ["users", "add", "doctor", "--data-dir", str(data)]
    words += [word for role in ("submit", "read", "sign") for word in ("--role", role)]
    command = [sys.executable, "-m", "oncoresponse.cli.main", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def versions_of(client: Client, name: str, study: study_pb2.Study, order: Order) -> dict[str, bytes]:
    """Bundles of an assessment, by name, version and form."""
    made = {}
    assessment = client.assess(study, order, silent)
    assert assessment.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    for version, change in enumerate((None, sign, amend, withdraw), start=1):
        if change is not None:
            change(client, assessment.name, version - 1)
        for file in ["report.json", *(["imr-bundle.fhir.json"] if version > 1 else [])]:
            made[f"{name}-{version}-{file}"] = client.artifact(assessment.name, file, version)
    return made


def fields(assessment: str, seen: int) -> Json:
    return {"request_id": str(uuid.uuid4()), "assessment": assessment, "seen_version": seen}


def sign(client: Client, assessment: str, seen: int) -> None:
    agreement = {"agreement": report_pb2.AGREEMENT_AGREE, "comment": "As seen."}
    client.sign_report(report_pb2.SignReportRequest(**fields(assessment, seen), **agreement))


def amend(client: Client, assessment: str, seen: int) -> None:
    agreement = {"agreement": report_pb2.AGREEMENT_DISAGREE, "comment": "The rim < 5 mm was missed."}
    client.amend_report(report_pb2.AmendReportRequest(**fields(assessment, seen), **agreement))


def withdraw(client: Client, assessment: str, seen: int) -> None:
    reason = {"reason": report_pb2.WITHDRAWAL_REASON_WRONG_PATIENT, "comment": "Of another."}
    client.withdraw_report(report_pb2.WithdrawReportRequest(**fields(assessment, seen), **reason))


def said_of(folder: Path, bundles: dict[str, bytes]) -> list[Json]:
    """What the checkers in Node say."""
    node = Path(sys.executable).parent / "node"
    if not (CHECKER / "node_modules").is_dir() or not node.exists():
        what = "The FHIR checkers of the tests are not installed; 'make fhir-server' installs them."
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    files = []
    for name, data in bundles.items():
        files.append(folder / name)
        files[-1].write_bytes(data)
    done = subprocess.run(
        [node, CHECKER / "check.mjs", *files], check=True, capture_output=True, text=True, timeout=120
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def unexplained(said: list[Json]) -> list[str]:
    return [
        f"{Path(each['file']).name} {each['resource']} {each['checker']} {each['severity']}: {each['message']}"
        for each in said
        if each["severity"] != "checked"
        and not (each["severity"] in ("warning", "info") and any(words in each["message"] for words in EXPLAINED))
    ]


def test_the_checkers_of_others_find_nothing(bundles: dict[str, bytes], call: dict[str, bytes], tmp_path: Path) -> None:
    """Of studies without a call, with two lesions, of the breast, and of a report with a call."""
    answers = [
        prediction.get("probabilityDecimal")
        for resource in resources_of(call[f"{CALL}-1-report.json"])
        if resource["resourceType"] == "RiskAssessment"
        for prediction in resource["prediction"]
    ]
    assert answers and all(0 <= each <= 100 for each in answers)
    said = said_of(tmp_path, bundles | call)
    assert unexplained(said) == []
    # The profile of mCODE was looked at: a size for each lesion, in each version that is not withdrawn.
    assert int(said[-1]["message"]) >= 5 * 3


def test_fhirkit_finds_nothing(bundles: dict[str, bytes], call: dict[str, bytes]) -> None:
    found = Counter(
        str(issue)
        for data in [*bundles.values(), *call.values()]
        for resource in resources_of(data)
        for issue in fhirkit.validate(resource)
    )
    assert found == Counter()


def test_our_own_check_finds_nothing(bundles: dict[str, bytes], call: dict[str, bytes]) -> None:
    every = bundles | call
    found = {name: own.problems(json.loads(data)) for name, data in every.items() if name.endswith("-report.json")}
    assert len(found) == 4 * (len(STUDIES) + 1) and not any(found.values()), found


def resources_of(data: bytes) -> list[Json]:
    bundle = json.loads(data)
    return [bundle, *(entry["resource"] for entry in bundle["entry"] if "resource" in entry)]


def test_the_checkers_find_what_is_planted(report: Report, tmp_path: Path) -> None:
    """Each of them finds the fault that it is there for: none of the above passes because it looks at nothing."""

    def with_fault(kind: str, change: Callable[[Json], object]) -> bytes:
        bundle = json.loads(report.bundle_json)
        sizes = (each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == kind)
        change(next(each for each in sizes if kind != "Observation" or "21889-1" in json.dumps(each["code"])))
        return json.dumps(bundle).encode()

    planted = {
        "binding": with_fault("DiagnosticReport", lambda found: found.update(status="signed")),
        "cardinality": with_fault("DiagnosticReport", lambda found: found.pop("code")),
        "invariant": with_fault(
            "Observation", lambda found: found.update(dataAbsentReason={"text": "x"}, valueString="1")
        ),
        "profile": with_fault("Observation", lambda found: found.pop("focus")),
        "reference": with_fault("DiagnosticReport", lambda found: found.update(result=[found["imagingStudy"][0]])),
        "unknown": with_fault("Observation", lambda found: found.update(colour="red")),
    }
    said = said_of(tmp_path, planted)
    errors = [each for each in said if each["severity"] in ("error", "fatal")]
    found_by = {name: {each["checker"] for each in errors if Path(each["file"]).name == name} for name in planted}
    assert "fhir" in found_by["binding"]
    assert "medplum" in found_by["cardinality"] & found_by["invariant"] & found_by["unknown"]
    assert [each["checker"] for each in said if "reference" in Path(each["file"]).name and "Invalid" in each["message"]]
    assert found_by["profile"] == {"mcode"}
    faults = {name: [str(each) for each in fhirkit.validate(json.loads(data))] for name, data in planted.items()}
    # fhirkit looks at no binding.
    assert faults["cardinality"] and faults["unknown"]
