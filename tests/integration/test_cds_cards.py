"""Cards of stored reports: which ones, what they say, for which orders, to which origins, and what is said to them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.storage.chart_store import AssessmentRow, ChartStore, Subject
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.report_store import ReportStore
from oncoresponse.storage.resource_index import ResourceIndex, index_version

from tests.integration.cds_ehr import IMAGING, ORDER_SELECT, PATIENT_VIEW, Ehr, Json, feedback
from tests.integration.orthanc_server import free_port
from tests.unit.storage.report_bundles import bundle, stored

ROOT = Path(__file__).parents[2]
SYSTEM, OTHER_SYSTEM = "https://hospital.example/mrn", "https://clinic.example/number"
APP = "https://app.hospital.example"
FEEDBACK = f"/cds-services/{PATIENT_VIEW}/feedback"
LOCAL = "https://hospital.example/fhir"
SENTENCE = (
    "Residual disease: weak evidence. Probability of pathologic complete response: 37 % (80 % interval 19 to 58 %)."
)
SECTION = "http://terminology.hl7.org/CodeSystem/v2-0074"


def conclusion_of(data: bytes, text: str, code: str, title: str) -> bytes:
    read = json.loads(data)
    (report,) = [each["resource"] for each in read["entry"] if each["resource"]["resourceType"] == "DiagnosticReport"]
    report |= {"conclusion": text, "conclusionCode": [{"coding": [{"code": code}]}], "issued": "2026-11-20T10:00:00Z"}
    report["code"]["text"] = title
    return json.dumps(read).encode()


class Reports:
    """Those of a data folder, written as the chain does."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.database = folder / "oncoresponse.sqlite"
        url = f"sqlite:///{self.database}"
        self.chart, self.engine = ChartStore(url), database_engine(url)
        stores = (ReportStore(url), ResourceIndex(url))
        for store in (self.chart, *stores):
            store.prepare()
        for each in stores:
            each.close()

    def add(
        self,
        patient: str,
        date: str,
        *,
        model: str = "sts-petct",
        text: str = f"{SENTENCE}\nMeasures: 12 ml.",
        code: str = "unfavorable",
        issuer: str = "",
    ) -> str:
        """A report of a study of a date; gives its assessment."""
        name = str(uuid.uuid4())
        row = AssessmentRow(name, 1000, f"studies/{name}", f"models/{model}", 3)
        subject = Subject((IndexedPatient(patient_id=patient, issuer_of_patient_id=issuer),), date.replace("-", ""))
        self.chart.add([row], subject)
        data = bundle(name, patient, date=f"{date}T09:00:00+01:00", findings=1)
        data = conclusion_of(data, text, code, f"Model {model}")
        with self.engine.begin() as connection:
            index_version(connection, name, 1, data, stored(data))
        return name

    def rows(self, query: str, *values: str) -> list[Any]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query, values).fetchall()


def serve(folder: Path, serve_for_module: Callable[..., Any], settings: Json, **hooks: Any) -> Any:
    """A server with the keys of the example's EHR; its audience is its own address."""
    reports = Reports(folder / "data")
    subprocess.run([sys.executable, ROOT / "examples" / "ehr.py", "keys"], check=True, cwd=folder, timeout=60)
    base = f"http://127.0.0.1:{free_port()}"
    hooks = {
        "base_url": base,
        "clients": {"ehr": {"issuer": "https://ehr.hospital.example", "jwks_file": str(folder / "ehr-jwks.json")}},
        "patient_identifiers": {SYSTEM: "", OTHER_SYSTEM: "CLINIC"},
        **hooks,
    }
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump({"http": {"listen": base[7:]}, "cds_hooks": hooks, **settings}))
    words = ("--allow-anonymous", "--listen", "127.0.0.1:0", "--models-dir", str(ROOT / "models"))
    process = serve_for_module("--data-dir", str(folder / "data"), *words, settings=file)
    process.wait_until_ready()
    key = load_pem_private_key((folder / "ehr-key.pem").read_bytes(), None)
    process.ehr, process.reports, process.folder = Ehr(base, base, keys={"ES384": key}, key_id="1"), reports, folder
    return process


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, serve_for_module: Callable[..., Any]) -> Any:
    settings = {"fhir": {"local_base": LOCAL}}
    hooks = {"source_url": "https://hospital.example/about-oncoresponse", "origins": [APP]}
    return serve(tmp_path_factory.mktemp("cds-cards"), serve_for_module, settings, **hooks)


@pytest.fixture(scope="module")
def judging(tmp_path_factory: pytest.TempPathFactory, serve_for_module: Callable[..., Any]) -> Any:
    """A server that keeps what the model says back until a physician has judged."""
    hooks = {"judgement_url": "https://ehr.hospital.example/judge/{id}", "order_codes": []}
    return serve(tmp_path_factory.mktemp("cds-judging"), serve_for_module, {"judgement_first": True}, **hooks)


@pytest.fixture
def patient() -> str:
    return f"MRN-{uuid.uuid4().hex[:12]}"


def said(card: str, outcome: str, time_of_day: str, code: str = "", comment: str = "", system: str = "") -> Json:
    """What a physician said, at a time of 1 November 2026."""
    word: Json = {"card": card, "outcome": outcome, "outcomeTimestamp": f"2026-11-01T{time_of_day}:00Z"}
    if outcome == "overridden":
        reason = {name: value for name, value in (("code", code), ("system", system)) if value}
        word["overrideReason"] = {**({"reason": reason} if reason else {}), "userComment": comment}
    return word


def test_a_card_says_of_when_the_study_is(server: Any, patient: str) -> None:
    """An old study must not look like today's; a sentence that does not fit is left out whole, and stands below."""
    server.reports.add(patient, "2003-03-05")
    (card,) = server.ehr.cards((SYSTEM, patient))
    assert card["summary"] == f"Study 2003-03-05: {SENTENCE}"
    assert card["detail"].split("\n\n")[0] == (
        "Study of 2003-03-05, assessed for: Model sts-petct, report of 2026-11-20."
    )
    assert card["indicator"] == "warning"
    long = SENTENCE.replace("pathologic complete", "clinical and pathologic complete")
    server.reports.add(patient, "2004-03-05", text=long)
    (card,) = server.ehr.cards((SYSTEM, patient))
    assert card["summary"] == "Study 2004-03-05: Residual disease: weak evidence."
    assert long in card["detail"]


def test_a_card_names_its_source_and_codes_as_the_settings_have_them(server: Any, judging: Any, patient: str) -> None:
    for each in (server, judging):
        each.reports.add(patient, "2026-11-01")
    (card,) = server.ehr.cards((SYSTEM, patient))
    assert card["source"] == {
        "label": "OncoResponse, research use only",
        "url": "https://hospital.example/about-oncoresponse",
    }
    assert {each["system"] for each in card["overrideReasons"]} == {f"{LOCAL}/CodeSystem/oncoresponse"}
    (card,) = judging.ehr.cards((SYSTEM, patient))
    assert card["source"] == {"label": "OncoResponse, research use only"}
    assert {each["system"] for each in card["overrideReasons"]} == {
        "https://oncoresponse.example/fhir/CodeSystem/oncoresponse"
    }


def test_each_model_has_a_card_of_its_newest_study(server: Any, patient: str) -> None:
    """Newest by the date of the study, not by when its report was written; also where two numbers lead to a patient."""
    server.reports.add(patient, "2026-11-02")
    server.reports.add(patient, "2026-09-01")
    server.reports.add(patient, "2020-01-01", model="breast-nac", text="No response prediction was made.", code="x")
    server.reports.add(patient, "2026-11-09", issuer="CLINIC")
    cards = server.ehr.cards((SYSTEM, patient))
    assert [each["summary"][:17] for each in cards] == ["Study 2026-11-02:", "Study 2020-01-01:"]
    assert ["Model sts-petct" in cards[0]["detail"], "Model breast-nac" in cards[1]["detail"]] == [True, True]
    assert [each["indicator"] for each in cards] == ["warning", "info"]
    both = server.ehr.cards((SYSTEM, patient), (OTHER_SYSTEM, patient))
    assert [each["summary"][:17] for each in both] == ["Study 2026-11-09:", "Study 2020-01-01:"]


def test_orders_that_have_nothing_to_do_with_imaging_give_no_card(server: Any, judging: Any, patient: str) -> None:
    server.reports.add(patient, "2026-11-01")

    def count(*orders: Json, which: Any = server, selected: list[str] | None = None) -> int:
        body = which.ehr.order(*orders, selected=selected, **{SYSTEM: patient})
        answer = which.ehr.ask(f"/cds-services/{ORDER_SELECT}", body)
        assert answer.status_code == 200, answer.text
        return len(answer.json()["cards"])

    def request(kind: str = "ServiceRequest", **what: Any) -> Json:
        return {"resourceType": kind, **what}

    scan = request(category=[{"coding": [{"system": "urn:x", "code": "1"}, IMAGING]}])
    laboratory = request(category=[{"coding": [{"system": SECTION, "code": "LAB"}]}], code={"text": "CT"})
    drug = request("MedicationRequest", medicationCodeableConcept={"coding": [{"system": "urn:rx", "code": "2"}]})
    assert count(scan) == count(request(code={"coding": [{"system": SECTION, "code": "CT"}]})) == 1
    assert count(drug, laboratory, scan) == 1
    assert count(laboratory) == count(drug) == count(request()) == count() == 0
    # A draft that was not selected is not what the physician looks at.
    assert count(scan, laboratory, selected=["ServiceRequest/1"]) == 0
    assert count(request(category=[{"coding": [{"system": "urn:x", "code": IMAGING["code"]}]}])) == 0
    # With an empty list in the settings every order is one.
    judging.reports.add(patient, "2026-11-01")
    assert count(drug, which=judging) == 1


@pytest.mark.parametrize(
    "context",
    [
        {"selections": ["ServiceRequest/0"]},
        {"draftOrders": {"resourceType": "Bundle"}},
        {"selections": "ServiceRequest/0", "draftOrders": {}},
        {"selections": [], "draftOrders": {"entry": {}}},
        {"selections": [], "draftOrders": []},
    ],
    ids=range(5),
)
def test_an_order_hook_brings_the_selected_orders(server: Any, patient: str, context: Json) -> None:
    body = server.ehr.order(**{SYSTEM: patient})
    body["context"] = {"userId": "u", "patientId": "p1", **context}
    assert server.ehr.ask(f"/cds-services/{ORDER_SELECT}", body).status_code == 400


def test_strange_orders_are_no_imaging(server: Any, patient: str) -> None:
    strange = [None, 7, {}, {"resource": []}, {"resource": {"resourceType": "ServiceRequest", "id": "1", "code": [[]]}}]
    body = server.ehr.order(selected=["ServiceRequest/1", {}], **{SYSTEM: patient})
    body["context"]["draftOrders"]["entry"] = strange
    answer = server.ehr.ask(f"/cds-services/{ORDER_SELECT}", body)
    assert (answer.status_code, answer.json()) == (200, {"cards": []})


def test_a_prefetch_that_failed_is_told(server: Any) -> None:
    """The EHR sends null for what it could not fetch (CDS Hooks 2.0, "Prefetch Token")."""
    for prefetch in (None, {"patient": None}, {"patient": {"resourceType": "OperationOutcome"}}):
        body = server.ehr.hook(prefetch=prefetch)
        assert server.ehr.ask(f"/cds-services/{PATIENT_VIEW}", body).status_code == 412
    body = server.ehr.hook((SYSTEM, "1"), context={"userId": "u"})
    body["prefetch"]["patient"].pop("id")
    assert server.ehr.ask(f"/cds-services/{PATIENT_VIEW}", body).status_code == 400


@pytest.mark.parametrize("path", ["/cds-services/imaging-response", "/cds-services/nothing", FEEDBACK])
def test_who_has_no_token_learns_nothing_of_what_is_wrong(server: Any, path: str) -> None:
    token = server.ehr.token(path)
    with_token = {"Authorization": f"Bearer {token}"}
    for body in ("{", "[]", "{}"):
        answer = requests.post(server.ehr.base + path, data=body, headers={"Authorization": "Bearer a.b.c"}, timeout=30)
        assert (answer.status_code, answer.json()["reason"]) == (401, "NOT_AUTHENTICATED")
    answer = requests.post(server.ehr.base + path, data="{", headers=with_token, timeout=30)
    assert answer.status_code == (404 if "nothing" in path else 400)
    # A body that is wrong has used the token too.
    assert requests.post(server.ehr.base + path, data="{", headers=with_token, timeout=30).status_code == 401


def test_the_judgement_is_awaited_before_anything_is_told(judging: Any, patient: str) -> None:
    name = judging.reports.add(patient, "2026-11-01")
    (card,) = judging.ehr.cards((SYSTEM, patient))
    told = json.dumps([card["summary"], card["detail"]]).replace("2026-11-01", "").replace("2026-11-20", "")
    assert len(card["summary"]) < 140 and "2026-11-01" in card["summary"]
    assert "awaited" in told and card["indicator"] == "info"
    # No answer, no direction, no number.
    assert not any(letter.isdigit() for letter in told) and "%" not in told
    assert not any(word in told.lower() for word in ("residual", "evidence", "likely", "probability", "unfavorable"))
    assert card["links"] == [
        {"label": "Give your own judgement", "url": f"https://ehr.hospital.example/judge/{name}", "type": "absolute"}
    ]
    body = judging.ehr.hook((SYSTEM, patient))
    path = f"/cds-services/{PATIENT_VIEW}"
    (before,) = judging.ehr.ask(path, body).json()["cards"]
    assert judging.ehr.ask(FEEDBACK, feedback(before["uuid"])).status_code == 200
    query = "SELECT physician, judgement, answer_withheld FROM report_judgement WHERE assessment = ?"
    assert judging.reports.rows(query, name) == [("ehr#Practitioner/ada", "unfavorable", 1)]
    # Now it is told, by another card.
    (after,) = judging.ehr.ask(path, body).json()["cards"]
    assert after["summary"].endswith(SENTENCE) and after["uuid"] != before["uuid"]
    # Another physician's word is not blinded any more, whichever card it is said to.
    context = {"userId": "Practitioner/bo", "patientId": "p1"}
    (card,) = judging.ehr.cards((SYSTEM, patient), context=context)
    judging.ehr.ask(FEEDBACK, feedback(card["uuid"], code="judgement-favorable"))
    assert ("ehr#Practitioner/bo", "favorable", 0) in judging.reports.rows(query, name)


def test_nobody_is_asked_whom_the_ehr_does_not_name(judging: Any, patient: str) -> None:
    name = judging.reports.add(patient, "2026-11-01")
    (card,) = judging.ehr.cards((SYSTEM, patient), context={"patientId": "p1"})
    assert "overrideReasons" not in card and "reason of this card" not in card["detail"]
    assert judging.ehr.ask(FEEDBACK, feedback(card["uuid"])).status_code == 200
    assert judging.reports.rows("SELECT * FROM report_judgement WHERE assessment = ?", name) == []


def test_who_was_shown_the_answer_before_is_not_blinded(judging: Any, patient: str) -> None:
    """The setting may come later than the first card."""
    name = judging.reports.add(patient, "2026-11-01")
    (card,) = judging.ehr.cards((SYSTEM, patient))
    with closing(sqlite3.connect(judging.reports.database)) as connection, connection:
        connection.execute(
            "INSERT INTO cds_card (card, client, assessment, report_version, physician, create_time_ms, outcome, "
            "override_reason) SELECT ?, client, assessment, 1, physician, 1, '', '' FROM cds_card WHERE card = ?",
            (str(uuid.uuid4()), card["uuid"]),
        )
    judging.ehr.ask(FEEDBACK, feedback(card["uuid"]))
    query = "SELECT answer_withheld FROM report_judgement WHERE assessment = ?"
    assert judging.reports.rows(query, name) == [(0,)]


def test_a_comment_is_kept_without_a_reason_of_ours(server: Any, patient: str) -> None:
    name = server.reports.add(patient, "2026-11-01")
    (card,) = server.ehr.cards((SYSTEM, patient))
    words = [
        said(card["uuid"], "overridden", "10:00", comment="Not my patient."),
        said(card["uuid"], "overridden", "10:01", "other", "Too late.", "https://ehr.hospital.example/reasons"),
        # Our code in another system is not ours.
        said(card["uuid"], "overridden", "10:02", "judgement-favorable", "", "https://ehr.hospital.example/reasons"),
    ]
    for _ in range(2):
        assert server.ehr.ask(FEEDBACK, {"feedback": words}).status_code == 200
    query = "SELECT override_reason, comment FROM cds_feedback WHERE assessment = ? ORDER BY outcome_time_ms"
    assert server.reports.rows(query, name) == [
        ("", "Not my patient."),
        ("https://ehr.hospital.example/reasons|other", "Too late."),
        ("https://ehr.hospital.example/reasons|judgement-favorable", ""),
    ]
    assert server.reports.rows("SELECT * FROM report_judgement WHERE assessment = ?", name) == []
    assert "Not my patient" not in server.log.read_text()


def test_text_that_no_database_takes_is_cleaned(server: Any, patient: str) -> None:
    """JSON can say half a character (a lone surrogate), and NUL, which PostgreSQL refuses."""
    name = server.reports.add(patient, "2026-11-01")
    identifiers = (SYSTEM, patient), (SYSTEM, "\ud800"), ("\0\udfff", "1\0")
    # What is left of a number is nobody's.
    assert server.ehr.ask(f"/cds-services/{PATIENT_VIEW}", server.ehr.hook((SYSTEM, f"{patient}\0"))).status_code == 412
    (card,) = server.ehr.cards(*identifiers, context={"userId": "Practitioner/\ud800e\0e", "patientId": "p1"})
    word = said(card["uuid"], "overridden", "10:00", "judgement-uncertain", "\ud83d\0 ?", "")
    assert server.ehr.ask(FEEDBACK, {"feedback": [word]}).status_code == 200
    (kept,) = server.reports.rows("SELECT physician, comment FROM report_judgement WHERE assessment = ?", name)
    assert "\0" not in "".join(kept) and kept[0].startswith("ehr#Practitioner/") and kept[1].endswith(" ?")


FAVORABLE = ("overridden", "judgement-favorable")


@pytest.mark.parametrize(
    ("messages", "last", "is_judged"),
    [
        ([[("10:00", "accepted")], [("10:05", *FAVORABLE)]], "overridden", True),
        # What was said earlier comes later: the last word is the later one all the same.
        ([[("10:05", *FAVORABLE)], [("10:00", "accepted")]], "overridden", True),
        ([[("10:05", "accepted")], [("10:00", *FAVORABLE)]], "accepted", False),
        ([[("10:00", *FAVORABLE), ("10:05", "accepted")]], "accepted", False),
        # What is kept as a judgement is not taken back.
        ([[("10:00", *FAVORABLE)], [("10:05", "accepted")]], "accepted", True),
    ],
    ids=range(5),
)
def test_the_last_word_to_a_card_counts_and_all_are_kept(
    server: Any, patient: str, messages: list[list[tuple[str, ...]]], last: str, is_judged: bool
) -> None:
    name = server.reports.add(patient, "2026-11-01")
    (card,) = server.ehr.cards((SYSTEM, patient))
    for message in messages:
        body = [said(card["uuid"], outcome, time_of_day, *code) for time_of_day, outcome, *code in message]
        assert server.ehr.ask(FEEDBACK, {"feedback": body}).status_code == 200
    assert server.reports.rows("SELECT outcome FROM cds_card WHERE assessment = ?", name) == [(last,)]
    words = server.reports.rows("SELECT outcome FROM cds_feedback WHERE assessment = ? ORDER BY outcome", name)
    assert words == [("accepted",), ("overridden",)]
    query = "SELECT judgement FROM report_judgement WHERE assessment = ?"
    assert server.reports.rows(query, name) == ([("favorable",)] if is_judged else [])


def test_one_unknown_card_does_not_lose_what_is_said_to_the_others(server: Any, patient: str) -> None:
    name = server.reports.add(patient, "2026-11-01")
    (card,) = server.ehr.cards((SYSTEM, patient))
    words = [
        said(str(uuid.uuid4()), "accepted", "10:00"),
        said(card["uuid"], "overridden", "10:00", "judgement-uncertain"),
    ]
    answer = server.ehr.ask(FEEDBACK, {"feedback": words})
    assert (answer.status_code, answer.json()["reason"]) == (404, "CARD_NOT_FOUND")
    query = "SELECT judgement FROM report_judgement WHERE assessment = ?"
    assert server.reports.rows(query, name) == [("uncertain",)]


def test_pages_of_the_origins_in_the_settings_may_call(server: Any, judging: Any, patient: str) -> None:
    path = f"/cds-services/{PATIENT_VIEW}"
    allowed = "Access-Control-Allow-Origin"

    def preflight(which: Any, origin: str, at: str = path) -> requests.Response:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        return requests.options(which.ehr.base + at, headers={"Origin": origin, **asked}, timeout=30)

    answer = preflight(server, APP)
    assert (answer.status_code, answer.headers[allowed]) == (200, APP)
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    for origin in ("https://stranger.example", f"{APP}.stranger.example", "null"):
        answer = preflight(server, origin)
        assert answer.status_code == 400 and allowed not in answer.headers
    for which, at in ((judging, path), (server, "/fhir/Patient"), (server, "/cds-services-of-others")):
        answer = preflight(which, APP, at)
        assert answer.status_code in (404, 405) and allowed not in answer.headers
    body = server.ehr.hook((SYSTEM, patient))
    answer = server.ehr.ask(path, body, Origin=APP)
    assert (answer.status_code, answer.headers[allowed]) == (200, APP)
    assert answer.headers["Cache-Control"] == "no-store"
    # A page has to be able to read that its token is wrong.
    refused = server.ehr.ask(path, body, "a.b.c", Origin=APP)
    assert (refused.status_code, refused.headers[allowed]) == (401, APP)
    assert allowed not in server.ehr.ask(path, body, Origin="https://stranger.example").headers
    assert allowed not in judging.ehr.ask(path, body, Origin=APP).headers


HOLDS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_database_that_is_held_is_told_as_503(server: Any, patient: str) -> None:
    server.reports.add(patient, "2026-11-01")
    path, body = f"/cds-services/{PATIENT_VIEW}", server.ehr.hook((SYSTEM, patient))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(server.reports.database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        token, begun = server.ehr.token(path), time.monotonic()
        answer = server.ehr.ask(path, body, token)
        assert (answer.status_code, answer.json()["reason"]) == (503, "BUSY")
        assert int(answer.headers["Retry-After"]) > 0
        assert time.monotonic() - begun < 15
    finally:
        holder.communicate("")
    # The token has not been used meanwhile.
    assert len(server.ehr.ask(path, body, token).json()["cards"]) == 1


def test_the_page_says_how_to_ask_for_the_services(server: Any) -> None:
    page = (ROOT / "docs" / "cds-hooks.md").read_text(encoding="utf-8")
    (block,) = [each.split("```")[0] for each in page.split("```bash\n")[1:]]
    command = block.replace("http://127.0.0.1:8042", server.ehr.base).replace(
        "python examples", f"python {ROOT}/examples"
    )
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", command], cwd=server.folder, env={"PATH": path}, capture_output=True, text=True, timeout=60
    )
    services = {each["id"]: each for each in json.loads(done.stdout)["services"]}
    assert set(services) == {PATIENT_VIEW, ORDER_SELECT}
    assert "prefetch 'patient'" in services[PATIENT_VIEW]["usageRequirements"]
