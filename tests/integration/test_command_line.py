"""The ``oncoresponse`` command as a process: how it ends, what it leaves behind, and what it says when it fails."""

import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import oncoresponse
import pytest
import yaml
from oncoresponse.rpc.client import Client
from oncoresponse.v1 import assessment_pb2

SAMPLE = Path(__file__).parents[2] / "examples" / "STS_019"
ASSESS = ("assess", str(SAMPLE), "--model", "sts-petct")
NOBODY = "127.0.0.1:9"


def start(*arguments: str, **environment: str) -> subprocess.Popen:
    # A test run that was started with SIGHUP ignored (nohup) would hand that on. Not by preexec_fn: it would be a fork
    # of a process in which gRPC has threads.
    former = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "oncoresponse.cli.main", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=SAMPLE.parents[1],
            env={**os.environ, **environment},
        )
    finally:
        signal.signal(signal.SIGHUP, former)


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    process = start(*arguments, **environment)
    output, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def front_settings(tmp_path_factory, silent_stages):
    """Settings of a server whose segmentation never answers."""
    settings = tmp_path_factory.mktemp("front") / "settings.yaml"
    settings.write_text(
        yaml.safe_dump(
            {"services": "study,assessment,model", "addresses": silent_stages.address, "stage_timeout_seconds": 100.0}
        )
    )
    return settings


@pytest.fixture
def short_temporary_folder():
    """The path of a Unix socket is short; pytest's folders are not, where several processes run the tests."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def front(serve_for_module, front_settings):
    """Address of such a server."""
    data = str(front_settings.parent / "data")
    return serve_for_module("--listen", "127.0.0.1:0", "--data-dir", data, settings=front_settings).wait_until_ready()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda n: n.name)
def test_however_it_ends_no_server_and_nothing_of_the_patient_is_left(
    front_settings, tmp_path, short_temporary_folder, number
):
    temporary, out = short_temporary_folder, tmp_path / "out"
    process = start(*ASSESS, "--out", str(out), TMPDIR=str(temporary), ONCORESPONSE_SETTINGS_FILE=str(front_settings))
    for line in process.stderr:
        if "Contouring the tumor" in line:
            break
    assert list(temporary.rglob("*.sqlite"))
    (server,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    end_of_server = os.pidfd_open(int(server))
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    ended, _, _ = select.select([end_of_server], [], [], 60)
    os.close(end_of_server)
    assert ended, "the server still runs"
    # Locks stay, which are empty; the next process takes away those of a process that was killed.
    assert {path.name for path in temporary.rglob("*") if not path.is_dir()} <= {".lock", "lock"}
    assert number is signal.SIGKILL or not out.exists()


def test_the_first_line_comes_before_the_server_is_ready(front_settings, tmp_path):
    process = start(*ASSESS, "--out", str(tmp_path / "out"), ONCORESPONSE_SETTINGS_FILE=str(front_settings))
    assert "Starting the services" in process.stderr.readline()
    process.terminate()
    process.communicate(timeout=60)


def test_version():
    assert run("--version") == (0, f"{oncoresponse.__version__}\n", "")


def test_server_that_is_not_there(tmp_path):
    code, _, errors = run(*ASSESS, "--out", str(tmp_path), "--server", NOBODY)
    assert code == 1
    assert "PEER_UNAVAILABLE" in errors
    assert NOBODY in errors


def test_database_that_is_not_there(silent_stages, tmp_path):
    database = f"postgresql://nobody@{NOBODY}/none"
    code, _, errors = run("recover", "worker-1", "--database-url", database)
    assert code == 1
    assert errors.split(":")[0] == "PEER_UNAVAILABLE"
    services = ("--services", "assessment,study,model", "--allow-anonymous")
    arguments = (*services, "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path))
    code, _, errors = run("serve", *arguments, "--database-url", database, ONCORESPONSE_ADDRESSES=silent_stages.address)
    assert code == 1
    assert "AUDIT_UNAVAILABLE: " in errors  # the first that a front door needs of it


def test_output_folder_that_cannot_be_written_is_refused_before_anything_is_sent(tmp_path):
    (tmp_path / "file").write_text("")
    code, _, errors = run(*ASSESS, "--out", str(tmp_path / "file" / "out"), "--server", NOBODY)
    assert code == 1
    assert "CONFIGURATION_INVALID" in errors
    assert "Connecting" not in errors


def test_the_earlier_name_of_the_option_services_is_read_and_the_log_names_the_new_one(tmp_path):
    code, _, errors = run("serve", "--roles", "oracle", "--data-dir", str(tmp_path))
    assert code == 1
    assert "the option --roles is called --services now" in errors
    assert "CONFIGURATION_INVALID: Settings are not valid: services" in errors
    assert "--roles" not in run("serve", "--help")[1]


def test_refusal_of_the_operating_system_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    code, _, errors = run("serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "file" / "data"))
    assert code == 1
    assert errors == f"Not a directory ({tmp_path / 'file' / 'data'})\n"


def test_invalid_request_says_which_field(front, tmp_path):
    arguments = ("--out", str(tmp_path / "out"), "--server", front, "--patient-reference", "not a reference")
    code, _, errors = run(*ASSESS, *arguments)
    assert code == 1
    lines = errors[errors.index("INVALID_REQUEST") :].splitlines()
    assert lines[1].startswith("  patient_reference: ")


def test_cancelled_from_elsewhere(front, tmp_path):
    process = start(*ASSESS, "--out", str(tmp_path / "out"), "--server", front)
    for line in process.stderr:
        if "Contouring the tumor" in line:
            break
    client = Client(front)
    running = client._assessments.ListAssessments(assessment_pb2.ListAssessmentsRequest()).assessments[0]
    client.cancel(running.name)
    client.close()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "CANCELLED: The assessment was cancelled." in errors


def test_example_client_prints_why_there_is_no_report(front):
    """The PET alone is refused by the model."""
    example = [sys.executable, "examples/client.py", "examples/STS_019/PET", front]
    done = subprocess.run(example, cwd=SAMPLE.parents[1], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("The study has no CT series")
    assert "Traceback" not in done.stderr


EARLIER = {
    "report.json": "{}",
    "report.pdf": "another patient",
    "timings.json": '{"stage_seconds": {}}',
    "probability.nrrd": "another patient",
}


def earlier_result(folder: Path, **more: str) -> dict[str, str]:
    folder.mkdir()
    files = {**EARLIER, "notes of the clinic.txt": "theirs", **more}
    for name, text in files.items():
        (folder / name).write_text(text)
    return files


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--model", "oracle"), "MODEL_NOT_FOUND"),
        (("--model", "breast-nac", "--covariate", "age=3"), "INVALID_REQUEST"),
        (("--model", "sts-petct", "--patient-reference", "nobody"), "INVALID_REQUEST"),
        (("--model", "sts-petct", "--lesion-point", "1,2"), "CONFIGURATION_INVALID"),
    ],
)
@pytest.mark.parametrize("where", ["own server", "running server"])
def test_what_is_wrong_is_said_before_anything_is_sent(front, tmp_path, options, reason, where):
    out = tmp_path / "out"
    before = earlier_result(out)
    server = ("--server", front) if where == "running server" else ()
    code, _, errors = run("assess", str(SAMPLE), "--out", str(out), *options, *server)
    assert (code, reason in errors) == (1, True), errors
    assert "Sending" not in errors
    assert "Starting the services" not in errors
    assert content(out) == before


def test_a_failed_assessment_leaves_the_earlier_result_and_says_so(front, tmp_path):
    out = tmp_path / "out"
    before = earlier_result(out)
    code, _, errors = run(*ASSESS, "--out", str(out), "--server", front, "--patient-id", "4711")
    assert code == 1
    assert "PATIENT_MISMATCH" in errors
    assert "still holds the EARLIER one" in errors
    assert content(out) == before


def test_a_folder_that_is_not_ours_is_never_changed(front, tmp_path):
    out = tmp_path / "out"
    before = earlier_result(out, **{"timings.json": "of a train"})
    code, _, errors = run(*ASSESS, "--out", str(out), "--server", front)
    assert code == 1
    assert "CONFIGURATION_INVALID" in errors
    assert content(out) == before
    code, _, errors = run("assess", str(SAMPLE), "--model", "sts-petct", "--out", str(SAMPLE / "out"))
    assert "lies in the folder of the study" in errors
    assert not (SAMPLE / "out").exists()
    code, _, errors = run("assess", str(tmp_path), "--model", "sts-petct", "--out", str(tmp_path.parent / "new"))
    assert "There are no DICOM files" in errors
    assert not (tmp_path.parent / "new").exists()
