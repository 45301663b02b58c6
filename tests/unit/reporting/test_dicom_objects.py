"""The objects beside the segmentation, read back by highdicom and pydicom, checked by dciodvfy and dsrdump."""

from __future__ import annotations

import copy
import dataclasses
import io
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from oncoresponse.case.prediction import Answer, Prediction
from oncoresponse.case.sign_off import Agreement, ReportStatus, SignOff, WithdrawalReason
from oncoresponse.case.volume import Volume
from oncoresponse.errors import InvalidAttribute, MissingAttribute
from oncoresponse.reporting.compose import Report
from oncoresponse.reporting.dicom_objects.archive_object import SourceSeries, source_series
from oncoresponse.reporting.dicom_objects.documents import encapsulated_report, key_image_object
from oncoresponse.reporting.dicom_objects.measurement_codes import meaning
from oncoresponse.reporting.dicom_objects.signed_objects import (
    REJECTION_TITLES,
    rejection_note,
    replacement_note,
    signed_page_object,
    verified_report,
)
from oncoresponse.reporting.dicom_objects.structured_report import structured_report
from oncoresponse.reporting.dicom_objects.surface_object import surface_object
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.surfaces.meshes import stl
from oncoresponse.reporting.surfaces.surface_models import surface_models
from PIL import Image
from pydicom.dataset import Dataset

MakeContext = Callable[..., ReportContext]
KINDS = ["structured report", "page", "key image", "surface", "signed", "amended", "signed page", "amended page"]
KINDS += ["replacement note", "note"]
DOCUMENTS = ["structured report", "page", "signed", "signed page"]
SIGNED = SignOff(
    2, ReportStatus.FINAL, "oidc:7", "Weiß, Zoë^^", datetime(2026, 11, 24, 9, 0, tzinfo=UTC), Agreement.AGREE
)
AMENDED = dataclasses.replace(
    SIGNED, version=3, status=ReportStatus.AMENDED, agreement=Agreement.DISAGREE, comment="Necrosis.",
    time=datetime(2026, 11, 25, 9, 0, tzinfo=UTC),
)  # fmt: skip
WITHDRAWN = SignOff(
    4, ReportStatus.ENTERED_IN_ERROR, "oidc:7", "", datetime(2026, 11, 26, tzinfo=UTC),
    reason=WithdrawalReason.WRONG_PATIENT,
)  # fmt: skip


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def made_of(context: ReportContext, source: SourceSeries, report: Report, lesions: Volume) -> dict[str, bytes]:
    """Every kind of object."""
    seg = read(report.segmentation)
    mesh = surface_models(lesions, None, research_use_statement="x").meshes["lesion-1"]
    first = structured_report(context, source, report.segmentation)
    objects = {
        "structured report": first,
        "page": encapsulated_report(context, source, report.pdf),
        "key image": key_image_object(context, source, report.key_image),
        "surface": surface_object(
            context, source, stl(mesh), title="Lesion 1", instance=1, made_from=(seg.SOPClassUID, seg.SOPInstanceUID)
        ),
        "signed": verified_report(first, [SIGNED]),
        "amended": verified_report(first, [SIGNED, AMENDED]),
    }
    # Any PDF would do for what is looked at here; the longer one has an odd number of bytes.
    odd = report.pdf + b"\n" * (1 + len(report.pdf) % 2)
    objects["signed page"] = signed_page_object(objects["page"], [SIGNED], report.pdf)
    objects["amended page"] = signed_page_object(objects["page"], [SIGNED, AMENDED], odd)
    note = rejection_note([first, report.segmentation, *objects.values()], WITHDRAWN)
    return objects | {
        "replacement note": replacement_note([objects[kind] for kind in DOCUMENTS], AMENDED),
        "note": note,
    }


@pytest.fixture(scope="module")
def objects(
    make_two_lesions: MakeContext, two_lesion_report: Report, two_lesions: Volume, pet_series: list[Dataset]
) -> dict[str, bytes]:
    return made_of(make_two_lesions(), source_series(pet_series), two_lesion_report, two_lesions)


@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(
    objects: dict[str, bytes], kind: str, tmp_path: Path, require_installed: Callable[..., None]
) -> None:
    require_installed("dicom3tools", "dciodvfy")
    path = tmp_path / "object.dcm"
    path.write_bytes(objects[kind])
    checked = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    said = (checked.stdout + checked.stderr).splitlines()
    known = {"Comprehensive3DSR", "EncapsulatedPDF", "SCImage", "EncapsulatedSTL", "KeyObjectSelectionDocument"}
    assert known & set(said)
    assert [line for line in said if line.startswith("Error")] == []


@pytest.mark.parametrize("kind", ["structured report", "signed", "amended", "replacement note", "note"])
def test_dsrdump_reads_every_document(
    objects: dict[str, bytes], kind: str, tmp_path: Path, require_installed: Callable[..., None]
) -> None:
    require_installed("dcmtk", "dsrdump")
    path = tmp_path / "object.dcm"
    path.write_bytes(objects[kind])
    read_by = subprocess.run(  # it cuts texts in the middle of a letter
        ["dsrdump", str(path)], capture_output=True, encoding="utf-8", errors="replace", check=True
    )
    assert not [line for line in read_by.stderr.splitlines() if line.startswith(("E:", "F:"))]
    expected = {
        "structured report": ("Volume", "Verification Flag   : UNVERIFIED"),
        "signed": ("Volume", "Verification Flag   : VERIFIED"),
        "amended": ("Volume", "Verifying Observer"),
        "replacement note": ("Rejected for Quality Reasons", "Replaced by version 3"),
        "note": ("Incorrect Modality Worklist Entry", "Withdrawn: the images"),
    }
    assert all(text in read_by.stdout for text in expected[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_every_object_is_of_the_study_and_a_series_of_its_own(
    objects: dict[str, bytes], kind: str, pet_series: list[Dataset]
) -> None:
    source, made = pet_series[0], read(objects[kind])
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert (made.PatientID, made.PatientName) == (source.PatientID, source.PatientName)
    assert made.SpecificCharacterSet == "ISO_IR 192"
    series = [read(data).SeriesInstanceUID for data in objects.values()]
    assert len({*series, source.SeriesInstanceUID}) == len(objects) + 1
    assert made.SoftwareVersions == "0.1.0"
    assert len(made.SOPInstanceUID) <= 64


def test_the_same_arguments_give_the_same_bytes(
    objects: dict[str, bytes],
    make_two_lesions: MakeContext,
    two_lesion_report: Report,
    two_lesions: Volume,
    pet_series: list[Dataset],
) -> None:
    again = made_of(make_two_lesions(), source_series(pet_series), two_lesion_report, two_lesions)
    assert again == objects
    other = make_two_lesions(model_sha256="f" * 64, prediction=None, predicted_lesions=())
    remade = made_of(other, source_series(pet_series), two_lesion_report, two_lesions)
    for kind, data in remade.items():
        assert read(data).SeriesInstanceUID != read(objects[kind]).SeriesInstanceUID
        assert read(data).SOPInstanceUID != read(objects[kind]).SOPInstanceUID


def test_groups_of_lesions_lead_to_their_segments(objects: dict[str, bytes], two_lesion_report: Report) -> None:
    seg = read(two_lesion_report.segmentation)
    document = highdicom.sr.srread(io.BytesIO(objects["structured report"]))
    assert isinstance(document, highdicom.sr.Comprehensive3DSR)
    for segment in seg.SegmentSequence:
        (group,) = document.content.get_volumetric_roi_measurement_groups(tracking_uid=segment.TrackingUID)
        assert group.tracking_identifier == segment.TrackingID
        assert group.finding_type.value == segment.SegmentedPropertyTypeCodeSequence[0].CodeValue
        pointed = group.referenced_segment
        assert pointed.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert list(np.atleast_1d(pointed.referenced_segment_numbers)) == [segment.SegmentNumber]
    evidence = {
        item.ReferencedSOPInstanceUID
        for study in document.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    sources = {item.ReferencedSOPInstanceUID for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert evidence == {seg.SOPInstanceUID, *sources}


def test_measures_have_public_codes_and_ucum_units(objects: dict[str, bytes]) -> None:
    document = highdicom.sr.srread(io.BytesIO(objects["structured report"]))
    assert not [item for item in document.iterall() if item.keyword == "LongCodeValue"]
    group = document.content.get_volumetric_roi_measurement_groups()[0]
    found = {
        (item.name.scheme_designator, item.name.value, item.derivation.value if item.derivation else ""): (
            float(item.value),
            item.unit.value,
        )
        for item in group.get_measurements()
    }
    assert found["SCT", "118565006", ""] == (214.8, "ml")
    assert found["DCM", "126401", "56851009"] == (9.84, "g/mL")
    assert found["DCM", "126401", "126031"] == (8.21, "g/mL")
    assert found["IBSI", "L0JK", ""] == (104.6, "mm")
    assert found["IBSI", "TU9B", ""] == (7.9, "1")  # an input of the model
    assert ("IBSI", "ACUI", "") not in found  # of a filtered image it would name another quantity
    assert (13.1, "1") in [value for (scheme, _, _), value in found.items() if scheme == "99ONCORESPONSE"]
    schemes = {item.CodingSchemeDesignator for item in document.CodingSchemeIdentificationSequence}
    assert schemes == {"IBSI", "99ONCORESPONSE"}


def test_long_words_are_cut_between_words_and_that_shows() -> None:
    cut = meaning("Longest straight line between two points of the outline of the contour in one slice")
    assert cut == "Longest straight line between two points of the outline of ..."
    assert len(cut) <= 64


def _prediction_group(data: bytes) -> tuple[dict[str, float], list[str], list[str]]:
    """Measurements, answers and texts of the group of the prediction."""
    document = highdicom.sr.srread(io.BytesIO(data))
    groups = document.content.get_image_measurement_groups()
    (group,) = (item for item in groups if item.tracking_identifier == "prediction")
    numbers = {item.name.value: float(item.value) for item in group.get_measurements()}
    answers = [item.value.value for item in group.get_qualitative_evaluations() if item.name.value == "answer"]
    texts = [item.TextValue for item in group[0].ContentSequence if item.ValueType == "TEXT"]
    return numbers, answers, texts


def test_a_call_has_its_probability_and_interval(objects: dict[str, bytes]) -> None:
    numbers, answers, texts = _prediction_group(objects["structured report"])
    assert numbers["probability"] == 73.4
    assert (numbers["interval-low"], numbers["interval-high"]) == (51.2, 87.8)
    assert answers == ["favorable"]
    assert any(text.startswith("Research use only") for text in texts)


@pytest.mark.parametrize("answer", [Answer.INDETERMINATE, Answer.OUT_OF_DISTRIBUTION, Answer.NO_EVIDENCE])
def test_where_the_model_abstains_no_number_is_said(
    make_context: MakeContext,
    make_prediction: Callable[..., Prediction],
    report: Report,
    pet_series: list[Dataset],
    answer: Answer,
) -> None:
    prediction = make_prediction(answer)
    context = make_context(prediction=prediction)
    numbers, answers, texts = _prediction_group(
        structured_report(context, source_series(pet_series), report.segmentation)
    )
    assert not [name for name in numbers if "probab" in name or "interval" in name]
    assert answers == [{"out_of_distribution": "out-of--35c0f423"}.get(answer.value, answer.value.replace("_", "-"))]
    assert any(prediction.abstain_reasons[0].text in text for text in texts)
    assert any(text.startswith("Research use only") for text in texts)


def test_the_page_and_the_key_image_come_back(objects: dict[str, bytes], two_lesion_report: Report) -> None:
    page = read(objects["page"])
    assert page.EncapsulatedDocument[: page.EncapsulatedDocumentLength] == two_lesion_report.pdf
    assert (page.Modality, page.BurnedInAnnotation, page.MIMETypeOfEncapsulatedDocument) == (
        "DOC",
        "YES",
        "application/pdf",
    )
    picture = read(objects["key image"])
    with Image.open(io.BytesIO(two_lesion_report.key_image)) as image:
        assert np.array_equal(picture.pixel_array, np.asarray(image.convert("RGB")))
    assert (picture.Modality, picture.BurnedInAnnotation) == ("OT", "NO")
    assert len(picture.SourceImageSequence) == len(page.SourceInstanceSequence) > 1


def test_a_surface_says_its_frame_and_unit(objects: dict[str, bytes], pet_series: list[Dataset]) -> None:
    made = read(objects["surface"])
    assert made.SOPClassUID == "1.2.840.10008.5.1.4.1.1.104.3"
    assert made.FrameOfReferenceUID == pet_series[0].FrameOfReferenceUID
    assert made.MeasurementUnitsCodeSequence[0].CodeValue == "mm"
    assert b"LPS (DICOM patient), unit: mm" in made.EncapsulatedDocument[:80]


def test_signing_verifies_and_amending_names_what_was_before(objects: dict[str, bytes]) -> None:
    first, signed, amended = (read(objects[kind]) for kind in ("structured report", "signed", "amended"))
    assert (first.VerificationFlag, first.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    not_signed = "Preliminary: not reviewed or signed by a physician."
    assert not_signed in _prediction_group(objects["structured report"])[2]
    for before, made in ((first, signed), (signed, amended)):
        assert (made.VerificationFlag, made.PreliminaryFlag) == ("VERIFIED", "FINAL")
        assert made.VerifyingObserverSequence[0].VerifyingObserverName == "Weiß, Zoë"
        predecessor = made.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
        assert predecessor.SeriesInstanceUID == before.SeriesInstanceUID
        assert predecessor.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert not_signed not in _prediction_group(objects["signed"])[2]
    assert (signed.ContentDate, amended.ContentDate) == ("20261124", "20261125")
    texts = _prediction_group(objects["amended"])[2]
    assert any("DISAGREES" in text and "Necrosis." in text for text in texts)


def test_a_signed_page_is_verified_and_names_the_page_before(objects: dict[str, bytes]) -> None:
    first, signed, amended = (read(objects[kind]) for kind in ("page", "signed page", "amended page"))
    assert [each.VerificationFlag for each in (first, signed, amended)] == ["UNVERIFIED", "VERIFIED", "VERIFIED"]
    for before, made in ((first, signed), (signed, amended)):
        predecessor = made.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
        assert predecessor.SeriesInstanceUID == before.SeriesInstanceUID
        assert predecessor.ReferencedSOPSequence[0].ReferencedSOPClassUID == before.SOPClassUID
        assert predecessor.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
        assert made.BurnedInAnnotation == "YES"
        assert len(made.EncapsulatedDocument) % 2 == 0
        assert made.EncapsulatedDocument[: made.EncapsulatedDocumentLength].startswith(b"%PDF")
    assert signed.DocumentTitle == "Tumor assessment, final, version 2, research use only"
    assert amended.DocumentTitle == "Tumor assessment, amended, version 3, research use only"
    assert amended.EncapsulatedDocumentLength % 2 == 1
    assert (signed.ContentDate, amended.ContentDate) == ("20261124", "20261125")


def test_a_replacement_note_names_the_replaced_documents(objects: dict[str, bytes]) -> None:
    made = read(objects["replacement note"])
    assert made.ConceptNameCodeSequence[0].CodeValue == "113001"
    assert _named(made) == {read(objects[kind]).SOPInstanceUID for kind in DOCUMENTS}


def _named(note: Dataset) -> set[str]:
    return {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in note.ContentSequence
        if "ReferencedSOPSequence" in item
    }


@pytest.mark.parametrize("reason", WithdrawalReason)
def test_a_rejection_note_names_every_object_and_why(objects: dict[str, bytes], reason: WithdrawalReason) -> None:
    kept = [objects[kind] for kind in KINDS if "note" not in kind]
    note = rejection_note(kept, dataclasses.replace(WITHDRAWN, reason=reason))
    made = read(note)
    title = made.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator) == (REJECTION_TITLES[reason].value, "DCM")
    assert _named(made) == {read(data).SOPInstanceUID for data in kept}


def test_names_are_written_in_unicode_whatever_they_were_read_in(
    make_context: MakeContext, report: Report, pet_series: list[Dataset]
) -> None:
    source = copy.deepcopy(pet_series)
    for image in source:
        image.SpecificCharacterSet = "ISO_IR 100"
        image.PatientName = "Müller^Jürgen"
        image.TimezoneOffsetFromUTC = "+0100"
    buffer = io.BytesIO()
    source[0].save_as(buffer)
    first = pydicom.dcmread(io.BytesIO(buffer.getvalue()))  # a name that holds bytes of Latin-1
    made = read(encapsulated_report(make_context(), source_series([first, *source[1:]]), report.pdf))
    assert made.PatientName == "Müller^Jürgen"
    assert (made.TimezoneOffsetFromUTC, made.ContentDate, made.ContentTime[:6]) == ("+0100", "20261123", "083000")


def test_images_of_several_series_or_none_are_refused(pet_series: list[Dataset]) -> None:
    with pytest.raises(MissingAttribute):
        source_series([])
    mixed = [copy.deepcopy(item) for item in pet_series[:2]]
    mixed[1].SeriesInstanceUID = "1.2.3"
    with pytest.raises(InvalidAttribute):
        source_series(mixed)
