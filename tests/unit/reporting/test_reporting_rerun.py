"""A rerun gives identical bytes: in another process, with other hashes, time zone, language and number of threads."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from oncoresponse.case.volume import Volume
from oncoresponse.reporting.report_content import ReportContext
from pydicom.dataset import Dataset

PROGRAM = """
import hashlib, json, pickle, sys
from datetime import UTC, datetime
from oncoresponse.case.sign_off import Agreement, ReportStatus, SignOff, WithdrawalReason
from oncoresponse.reporting.compose import compose_report
from oncoresponse.reporting.dicom_objects.report_objects import report_objects, reported_surfaces
from oncoresponse.reporting.dicom_objects import signed_objects
from oncoresponse.reporting.report_page import ReportPage
from oncoresponse.reporting.signed_page import signed_page

with open(sys.argv[1], "rb") as file:
    context, images, lesions, headers = pickle.load(file)
models, context = reported_surfaces(context, lesions, images["CT"], margin_mm=10.0)
report = compose_report(context, images, lesions, headers)
objects = report_objects(context, report, models, headers)
made = {"report.json": report.bundle_json, "report.pdf": report.pdf, "report-page.json": report.page}
made |= {"key-image.png": report.key_image, "segmentation.dcm": report.segmentation, "surfaces.glb": objects.scene}
made |= {"summary": report.summary.encode(), "distances.json": objects.distances, **objects.dicom}
signed = SignOff(2, ReportStatus.FINAL, "7", "Ada", datetime(2026, 12, 1, tzinfo=UTC), Agreement.AGREE)
out = SignOff(3, ReportStatus.ENTERED_IN_ERROR, "7", "Ada", signed.time, reason=WithdrawalReason.OTHER)
page = signed_page(ReportPage.model_validate_json(report.page), [signed])
first, document = made["structured-report.dcm"], made["encapsulated-report.dcm"]
made["signed/structured-report.dcm"] = signed_objects.verified_report(first, [signed])
made["signed/encapsulated-report.dcm"] = signed_objects.signed_page_object(document, [signed], page)
made["replaced/rejection-note.dcm"] = signed_objects.replacement_note([first, document], signed)
made["withdrawn/rejection-note.dcm"] = signed_objects.rejection_note([first, document], out)
print(json.dumps({name: hashlib.sha256(data).hexdigest() for name, data in made.items()}))
"""


def test_another_process_makes_the_same_bytes(
    make_two_lesions: Callable[..., ReportContext],
    pet: Volume,
    ct: Volume,
    two_lesions: Volume,
    pet_series: list[Dataset],
    tmp_path: Path,
) -> None:
    given = tmp_path / "case.pickle"
    given.write_bytes(pickle.dumps((make_two_lesions(), {"PT": pet, "CT": ct}, two_lesions, pet_series)))
    runs = [
        {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "LC_ALL": "C", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"},
        {"PYTHONHASHSEED": "4711", "TZ": "America/St_Johns", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "3"},
    ]
    made = []
    for changes in runs:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(given)],
            env=os.environ | changes,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        made.append(json.loads(done.stdout))
    assert len([name for name in made[0] if name.endswith(".dcm")]) >= 13
    assert made[0] == made[1]
