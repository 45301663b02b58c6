"""Compressed pixels are decoded in a child process: whatever happens to it is an error with a reason code."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from oncoresponse.dicom import pixel_decoding
from oncoresponse.dicom.limits import DEFAULT_LIMITS
from oncoresponse.dicom.pixel_decoding import FrameFormat, close_decoders, decode_frames
from oncoresponse.dicom.pixel_decoding_child import CODECS, codec_of
from oncoresponse.dicom.reading import read_instance, read_pixels
from oncoresponse.errors import DicomError, DicomLimitExceeded, TruncatedFile
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless


@pytest.fixture
def compressed(write_series):
    """Factory: a compressed slice whose codestream a function has changed."""

    def make(syntax, change, size=64):
        stored = np.add.outer(np.arange(size) ** 2 % 97, np.arange(size) * 13 % 1009)[np.newaxis].astype(np.int16)
        file = write_series(stored=stored, transfer_syntax_uid=syntax).files[0]
        dataset = pydicom.dcmread(file)
        frame = bytearray(next(generate_frames(dataset.PixelData, number_of_frames=1)))
        dataset.PixelData = encapsulate([bytes(change(frame))])
        dataset.save_as(file)
        return file

    return make


def _without_bytes(frame):
    middle = len(frame) // 2
    return frame[: middle - 60] + frame[middle + 59 :]


def test_jpeg_2000_without_some_of_its_bytes_is_refused_at_upload(compressed):
    file = compressed(JPEG2000Lossless, _without_bytes)
    with pytest.raises(TruncatedFile):
        read_instance(file)


def test_a_panic_of_the_rle_decoder_is_an_error_and_the_next_slice_is_read(compressed, write_series):
    def run_past_the_end(frame):
        # The last segment's first byte now announces 128 literal bytes in place of what there is.
        start = int.from_bytes(frame[8:12], "little")
        frame[start:] = b"\x7f" * (len(frame) - start)
        return frame

    with pytest.raises(TruncatedFile):
        read_pixels(read_instance(compressed(RLELossless, run_past_the_end)))
    series = write_series(shape=(1, 64, 64), transfer_syntax_uid=RLELossless)
    np.testing.assert_array_equal(read_pixels(read_instance(series.files[0])), series.stored[0])


def _form(syntax, size=64):
    return FrameFormat(syntax, size, size, 1, 16, 16, 1, "MONOCHROME2")


@pytest.fixture
def frame(write_series):
    series = write_series(shape=(1, 64, 64), transfer_syntax_uid=JPEGLSLossless)
    dataset = pydicom.dcmread(series.files[0])
    return next(generate_frames(dataset.PixelData, number_of_frames=1)), series.stored[0]


def test_a_decoder_that_aborts_is_an_error_and_is_replaced(frame):
    data, plane = frame
    close_decoders()
    np.testing.assert_array_equal(next(decode_frames([data], _form(JPEGLSLossless), DEFAULT_LIMITS)), plane)
    (process_id,) = pixel_decoding._decoders.process_ids
    os.kill(process_id, signal.SIGSTOP)
    failed = []

    def decode():
        try:
            next(decode_frames([data], _form(JPEGLSLossless), DEFAULT_LIMITS))
        except DicomError as error:
            failed.append(error)

    thread = threading.Thread(target=decode)
    thread.start()
    os.kill(process_id, signal.SIGABRT)
    os.kill(process_id, signal.SIGCONT)
    thread.join(30)
    # The end may come before the frame is sent, and then it is decoded by a new child.
    assert all(isinstance(error, TruncatedFile) for error in failed)
    np.testing.assert_array_equal(next(decode_frames([data], _form(JPEGLSLossless), DEFAULT_LIMITS)), plane)
    assert process_id not in pixel_decoding._decoders.process_ids


def test_a_decoder_that_hangs_is_stopped_when_its_time_is_up(frame):
    data, plane = frame
    list(decode_frames([data], _form(JPEGLSLossless), DEFAULT_LIMITS))
    for process_id in pixel_decoding._decoders.process_ids:
        os.kill(process_id, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(DicomLimitExceeded) as caught:
        next(decode_frames([data], _form(JPEGLSLossless), DEFAULT_LIMITS.model_copy(update={"decode_seconds": 1})))
    assert caught.value.metadata["limit"] == "decode_seconds"
    assert time.monotonic() - start < 10
    np.testing.assert_array_equal(next(decode_frames([data], _form(JPEGLSLossless), DEFAULT_LIMITS)), plane)


def test_a_decoder_gets_no_more_memory_than_its_frame_needs(frame):
    # A codestream that claims 30000 x 30000, told to a child that expects 64 x 64.
    data, _ = frame
    at = data.index(b"\xff\xf7")
    claimed = data[: at + 5] + (30000).to_bytes(2, "big") * 2 + data[at + 9 :]
    with pytest.raises((DicomLimitExceeded, TruncatedFile)):
        next(decode_frames([claimed], _form(JPEGLSLossless), DEFAULT_LIMITS))


def test_one_child_serves_a_whole_series_and_ends_when_the_server_does(frame):
    data, _ = frame
    close_decoders()
    assert len(list(decode_frames([data] * 20, _form(JPEGLSLossless), DEFAULT_LIMITS))) == 20
    (process_id,) = pixel_decoding._decoders.process_ids
    close_decoders()
    assert not Path(f"/proc/{process_id}").exists()


def test_the_children_end_with_a_process_that_is_killed(frame, tmp_path):
    data, _ = frame
    (tmp_path / "frame").write_bytes(data)
    code = (
        "import os, pathlib, signal, sys\n"
        "from oncoresponse.dicom import pixel_decoding as p\n"
        "from oncoresponse.dicom.limits import DEFAULT_LIMITS\n"
        "form = p.FrameFormat(sys.argv[2], 64, 64, 1, 16, 16, 1, 'MONOCHROME2')\n"
        "list(p.decode_frames([pathlib.Path(sys.argv[1]).read_bytes()], form, DEFAULT_LIMITS))\n"
        "print(*p._decoders.process_ids, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "frame"), JPEGLSLossless]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=False)
    child = Path("/proc") / done.stdout.decode().strip()
    deadline = time.monotonic() + 20
    while child.exists() and "Z" not in (child / "stat").read_text().split()[2] and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert not child.exists() or "Z" in (child / "stat").read_text().split()[2]


def test_gdcm_decodes_only_what_nothing_else_does():
    assert CODECS[-1] == "gdcm"
    for syntax in (JPEG2000Lossless, JPEGLSLossless, RLELossless):
        assert codec_of(syntax) != "gdcm"
    assert codec_of(JPEGLosslessSV1) == "gdcm"


def test_threads_decode_at_the_same_time(frame):
    data, plane = frame
    results = []

    def decode():
        results.extend(decode_frames([data] * 5, _form(JPEGLSLossless), DEFAULT_LIMITS))

    threads = [threading.Thread(target=decode) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 30
    assert all(np.array_equal(result, plane) for result in results)
    assert len(pixel_decoding._decoders.process_ids) <= (os.cpu_count() or 1)
