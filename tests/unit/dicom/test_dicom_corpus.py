"""Files that once stopped the service or raised an error that was none of ours, and a few cases of ``make fuzz``."""

import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from oncoresponse.dicom import pixel_decoding
from oncoresponse.dicom.pixel_decoding import close_decoders
from oncoresponse.errors import DicomError, OncoResponseError
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from fuzz.cases import run_case, take_in
from fuzz.seeds import SYNTAXES, study

CORPUS = Path(__file__).parents[2] / "data" / "corpus"
ROOT = Path(__file__).parents[3]
REASONS = {
    "jpeg-2000-with-missing-bytes": "TRUNCATED_FILE",
    "rle-that-makes-the-decoder-panic": "TRUNCATED_FILE",
    "segmentation-without-referenced-segment": "INVALID_ATTRIBUTE",
}


@pytest.mark.parametrize("name", sorted(REASONS))
def test_a_failure_of_the_past_is_an_error_with_a_reason_code(name):
    data = (CORPUS / f"{name}.dcm").read_bytes()
    modality = str(pydicom.dcmread(BytesIO(data), stop_before_pixels=True).Modality)
    files = study(ExplicitVRLittleEndian)
    files.pop("RTSTRUCT")
    files["SEG" if modality == "SEG" else "PT2"] = data
    with pytest.raises(DicomError) as caught:
        take_in(files, "SEG")
    assert caught.value.reason == REASONS[name]


def test_the_corpus_is_small_and_all_of_it_is_tested():
    files = list(CORPUS.iterdir())
    assert {file.stem for file in files} == set(REASONS)
    assert sum(file.stat().st_size for file in files) < 100_000


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_a_compressed_segmentation_is_decoded_in_a_child_process_too(syntax):
    compressed, native = study(syntax)["SEG"], study(ExplicitVRLittleEndian)
    files = {name: data for name, data in native.items() if name not in ("RTSTRUCT", "SEG")}
    close_decoders()
    take_in({**files, "SEG": compressed}, "SEG")
    assert pixel_decoding._decoders.process_ids


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_the_mutations_start_from_is_taken_in(syntax):
    files = study(syntax)
    files.pop("SEG")
    take_in(files, "RTSTRUCT")


def test_mutated_input_ends_in_an_answer_or_an_error_of_ours():
    known = {kind.reason for kind in _kinds(OncoResponseError)} | {"answered", "MESSAGE_REFUSED"}
    outcomes = [run_case(0, number) for number in range(25)]
    assert set(outcomes) <= known
    assert len(set(outcomes)) > 3


@pytest.mark.slow
def test_fuzzing_can_be_started_from_the_command_line_and_repeats_itself():
    command = [sys.executable, "-m", "fuzz", "--cases", "4", "--seed", "0", "--processes", "1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    # A slow machine prints its progress before.
    (counts,) = re.findall(r"(?m)^4 cases: (.*)$", run.stdout)
    told = sum(int(count) for count in re.findall(r"[A-Za-z_]+ (\d+)", counts))
    assert told == 4
    assert "0 findings" in run.stdout


def _kinds(base):
    for kind in base.__subclasses__():
        if "reason" in vars(kind):
            yield kind
        yield from _kinds(kind)
