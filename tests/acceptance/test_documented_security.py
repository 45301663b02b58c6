"""Every command line of docs/security.md, in one story: a hospital starts, assesses, signs, finds fault and erases."""

from __future__ import annotations

import csv
import json
import secrets

import pydicom
import pytest
import yaml
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import assessment_pb2, report_pb2, study_pb2

from tests.acceptance.documented import ROOT, commands_of, run

STUDY = ROOT / "examples" / "STS_032"
MEASURE_IN_ITS_CONTOUR = Order("sts-petct", contour=study_pb2.SuppliedContour())


class Page:
    """The commands of the page; each is run once, and by whom it should be."""

    def __init__(self, folder, data) -> None:
        self._left = commands_of(ROOT / "docs" / "security.md")
        self._folder = folder
        self._tokens: dict[str, str] = {}
        self.replaced = {"/srv/oncoresponse": str(data)}

    def add_user(self, name: str, *roles: str) -> str:
        """A further user, made as the page says."""
        options = " ".join(f"--role {role}" for role in roles)
        command = f"oncoresponse users add {name} {options} --data-dir /srv/oncoresponse"
        return self.keep_token(name, run(command, self._folder, replaced=self.replaced))

    def keep_token(self, name: str, printed: str) -> str:
        self._tokens[name] = printed.strip()
        path = self._folder / f"{name}.token"
        path.touch(0o600)
        path.write_text(printed)
        return printed.strip()

    def run(self, beginning: str, *more: str, by: str | None = None) -> str:
        """The next command that begins so."""
        fitting = [command for command in self._left if command.startswith(f"oncoresponse {beginning}")]
        command = fitting[0]
        self._left.remove(command)
        who = ("--token-file", str(self._folder / f"{by}.token")) if by else ()
        return run(command, self._folder, *more, *who, replaced=self.replaced)

    def is_started_by_the_test(self, command: str) -> None:
        self._left.remove(command)

    @property
    def left(self) -> list[str]:
        return self._left


def silent(_message: str, _fraction: float) -> None:
    return None


@pytest.mark.xdist_group("security page")
def test_the_security_page(serve, tmp_path):
    data, anchor = tmp_path / "data", tmp_path / "anchor"
    page = Page(tmp_path, data)
    token = page.keep_token("ward", page.run("users add ward"))

    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump({"audit_anchor": str(anchor)}))
    common = ("--listen", "127.0.0.1:0", "--models-dir", str(ROOT / "models"))
    server = serve("--data-dir", str(data), *common, settings=settings, anonymous=False)
    page.is_started_by_the_test("oncoresponse serve --data-dir /srv/oncoresponse")
    address = server.wait_until_ready()
    page.replaced |= {"HOST:PORT": address, "/var/anchor/oncoresponse": str(anchor)}

    page.run("users add reading-room")
    assert "reading-room" in page.run("users list")
    page.run("users new-token")
    page.run("users remove")
    page.add_user("boss", "administer")
    page.add_user("chief", "administer", "sign")
    page.add_user("doctor", "sign", "read")

    # Nothing runs before two people have looked at the model.
    ward = Client(address, token=token)
    study = ward.upload_study(STUDY, silent)
    with pytest.raises(OncoResponseError) as caught:
        ward.assess(study, MEASURE_IN_ITS_CONTOUR, silent)
    assert caught.value.reason == "MODEL_NOT_ACTIVE"
    assert "draft" in page.run("models states", by="ward")
    page.run("models propose", by="boss")
    proposed = page.run("models propose", by="boss")
    page.replaced["NUMBER"] = next(word for word in proposed.replace(".", " ").split() if word.isdigit())
    page.run("models approve", by="chief")
    assert "Read too" in page.run("models history", by="boss")
    assert "stopped" in page.run("models stop", by="chief").lower()
    waiting = ward.create_assessment(study, MEASURE_IN_ITS_CONTOUR, "2a0f3a4e-6a27-4f0e-9c1b-0a7d1c9d2b22")
    page.run("models resume", by="boss")
    assessment = ward.watch(waiting.name, silent)
    assert assessment.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    assert assessment.report_status == report_pb2.REPORT_STATUS_PRELIMINARY

    page.replaced |= {"assessments/ID": assessment.name, "studies/ID": study.name}
    assert "The same." in page.run("replay", by="boss")
    page.run("judge", by="doctor")
    page.run("report", by="doctor")
    page.run("sign", by="doctor")
    page.run("amend", by="doctor")
    page.run("withdraw", by="doctor")
    assert (tmp_path / "report").is_dir()

    page.run("recall", by="boss")
    patient_id = str(pydicom.dcmread(next(STUDY.rglob("*.dcm")), stop_before_pixels=True).PatientID)
    with (tmp_path / "recall.csv").open() as file:
        assert [row for row in csv.reader(file) if patient_id in row]

    page.replaced["ID"] = patient_id
    record = page.run("audit list")
    assert "SignReport" in record and "doctor" in record
    page.run("audit list")  # of emergencies there were none

    (tmp_path / "key").touch(0o600)
    (tmp_path / "key").write_text(secrets.token_hex(32))
    page.replaced["examples/STS_032"] = str(STUDY)
    page.run("export")
    exported = pydicom.dcmread(next((tmp_path / "out").rglob("*.dcm")), stop_before_pixels=True)
    assert patient_id not in str(exported)

    page.run("export", by="boss")
    (same,) = {path.name for path in (tmp_path / "out-of-server").iterdir()}
    assert (tmp_path / "out" / same).is_dir()
    count = len(list((tmp_path / "out" / same).rglob("*.dcm")))
    assert len(list((tmp_path / "out-of-server").rglob("*.dcm"))) == count

    for name, text in (("old.txt", patient_id), ("new.txt", "MERGED-1"), ("patient.txt", "MOVED-2")):
        (tmp_path / name).write_text(f"{text}\n")
    page.run("merge-patients", by="boss")
    page.run("move-study", by="boss")
    page.run("retention", by="boss")
    assert "1" in page.run("erase-patient", by="boss")  # the dry run
    page.run("delete-assessment", "--yes", by="boss")
    page.run("erase-patient", "--yes", by="boss")
    with pytest.raises(OncoResponseError) as caught:
        ward.assess(study, MEASURE_IN_ITS_CONTOUR, silent)
    assert caught.value.reason == "STUDY_NOT_FOUND"
    ward.close()
    server.stop()
    assert "in one chain" in page.run("audit verify")
    # Everything is of today.
    assert "No event is older" in page.run("audit archive")
    page.run("audit export")
    exported = [json.loads(line) for line in (tmp_path / "audit.ndjson").read_text().splitlines()]
    assert {event["agent"][2]["who"]["identifier"]["value"] for event in exported} >= {"ward", "boss", "doctor"}
    assert patient_id not in str(exported)
    assert page.left == []
    log = server.log.read_text()
    for secret in (patient_id, "MERGED-1", "MOVED-2", "rim was missed", token):
        assert secret not in log
