"""The page as a document: tags, fonts and names, and words as strong as the evidence."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pypdf
import pytest
from oncoresponse.case.answer_words import answer_line
from oncoresponse.case.prediction import (
    MEASURES_USED_IN_TRAINING,
    AbstainReason,
    Answer,
    ContourInterval,
    Prediction,
)
from oncoresponse.case.volume import Volume
from oncoresponse.reporting.compose import Report
from oncoresponse.reporting.key_image import ShownImage, key_image_panels
from oncoresponse.reporting.pdf_report import pdf_report
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.typesetting import displayable
from oncoresponse.reporting.wording import conclusion, explanation_sentences, readable_summary

MakeContext = Callable[..., ReportContext]
MakePrediction = Callable[..., Prediction]

NO_EVIDENCE_REASONS = (
    AbstainReason(
        code="NO_EVIDENCE",
        text="Validation on 38 patients does not show what was required in advance of any prediction: whether it beats "
        "chance is not known. Not met by Volume and SUVmax: discrimination (AUC), better than the average for "
        "everybody (scaled Brier score), calibration slope, calibration-in-the-large, permutation test.",
    ),
)


def page_text(data: bytes) -> str:
    (page,) = pypdf.PdfReader(io.BytesIO(data)).pages
    return " ".join(page.extract_text().split())


# --- the page as a document ------------------------------------------------------------------------


def test_the_page_is_tagged_and_declares_pdf_a_and_pdf_ua(report: Report) -> None:
    """ISO 19005-2 level b, ISO 14289-1: the identification schemas, and what they ask of the catalog."""
    reader = pypdf.PdfReader(io.BytesIO(report.pdf))
    catalog = reader.trailer["/Root"]
    assert catalog["/MarkInfo"]["/Marked"]
    assert catalog["/Lang"] == "en"
    assert catalog["/ViewerPreferences"]["/DisplayDocTitle"]
    assert reader.metadata is not None
    assert reader.metadata.title == "Tumor response assessment, research use only"
    xmp = catalog["/Metadata"].get_object().get_data().decode()
    for declared in ("pdfaid:part>2<", "pdfaid:conformance>B<", "pdfuaid:part>1<"):
        assert declared in xmp
    assert not any("/Interpolate" in image.get_object() for image in images_of(reader))
    assert all("/FontFile2" in item or "/FontFile3" in item for item in font_descriptors(reader))


def images_of(reader: pypdf.PdfReader) -> list[Any]:
    objects = reader.pages[0]["/Resources"]["/XObject"]
    return [item for item in objects.values() if item.get_object()["/Subtype"] == "/Image"]


def font_descriptors(reader: pypdf.PdfReader) -> list[Any]:
    fonts = reader.pages[0]["/Resources"]["/Font"].values()
    found = [font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object() for font in fonts]
    assert found
    return found


def structure(element: Any) -> list[tuple[str, str | None]]:
    """Structure type and alternative text of every element of the tag tree."""
    if not isinstance(element, pypdf.generic.DictionaryObject):
        return []
    found = [(str(element["/S"]), element.get("/Alt"))] if "/S" in element else []
    kids = element.get("/K", [])
    for kid in kids if isinstance(kids, list) else [kids]:
        found += structure(kid.get_object())
    return found


def test_a_screen_reader_finds_headings_tables_and_what_each_picture_shows(report: Report) -> None:
    tags = structure(pypdf.PdfReader(io.BytesIO(report.pdf)).trailer["/Root"]["/StructTreeRoot"])
    kinds = {kind for kind, _ in tags}
    assert {"/Title", "/H1", "/Table", "/TH", "/TD", "/L", "/Figure"} <= kinds
    described = [str(text) for kind, text in tags if kind == "/Figure"]
    assert len(described) == 4
    for view in ("PET, axial", "CT, axial", "PET, coronal", "PET, sagittal"):
        assert any(text.startswith(view) and "tumor outlined" in text for text in described)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (
            "Жуков^Иван",
            "Жуков, Иван",
        ),
        (
            "Παπαδάκης^Νίκος",
            "Παπαδάκης, Νίκος",
        ),
        ("Hong^Gildong=洪^吉洞=홍^길동", "Hong, Gildong (洪, 吉洞)"),
        ("Nguyễn^Thị", "Nguyễn, Thị"),
    ],
)
def test_a_name_is_shown_in_its_script(
    make_context: MakeContext, pet: Volume, mask: Volume, name: str, shown: str
) -> None:
    study = make_context().study
    patient = study.patient.model_copy(update={"name": name})
    context = make_context(study=study.model_copy(update={"patient": patient}))
    text = page_text(pdf_report(context, key_image_panels([ShownImage("PET", pet)], mask)))
    assert shown in text
    assert "[U+" not in text


def test_the_scripts_of_names_have_glyphs_and_others_are_named_not_boxed(
    make_context: MakeContext, pet: Volume, mask: Volume
) -> None:
    for letters in (
        "محمد",
        "דוד",
        "สม",
        "राम",
        "გი",
        "Ար",
    ):
        assert displayable(letters) == letters
    study = make_context().study
    patient = study.patient.model_copy(update={"name": "Doe^\U00013000"})
    context = make_context(study=study.model_copy(update={"patient": patient}))
    text = page_text(pdf_report(context, key_image_panels([ShownImage("PET", pet)], mask)))
    assert "Doe, [U+13000]" in text
    assert "Characters that this page's fonts lack" in text


def test_side_and_site_are_shown_when_the_study_says_them(make_context: MakeContext, pet: Volume, mask: Volume) -> None:
    study = make_context().study
    series = study.series[0].model_copy(update={"body_part_examined": "THIGH", "laterality": "L"})
    context = make_context(study=study.model_copy(update={"series": (series,)}))
    panels = key_image_panels([ShownImage("PET", pet)], mask)
    assert "thigh, left" in page_text(pdf_report(context, panels))
    assert "side not stated" in page_text(pdf_report(make_context(), panels))


# --- as strong as the evidence ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "low", "high", "expected"),
    [
        (Answer.FAVORABLE, 0.91, 0.98, "Pathologic complete response: very likely"),
        (Answer.FAVORABLE, 0.66, 0.98, "Pathologic complete response: likely"),
        (Answer.FAVORABLE, 0.65, 0.98, "Pathologic complete response: more likely than not"),
        (Answer.FAVORABLE, 0.50, 0.98, "Pathologic complete response: weak evidence"),
        (Answer.UNFAVORABLE, 0.06, 0.61, "Recurrence or metastasis: weak evidence"),
        (Answer.UNFAVORABLE, 0.06, 0.33, "Recurrence or metastasis: likely"),
        (Answer.UNFAVORABLE, None, None, "Recurrence or metastasis: weak evidence"),
    ],
)
def test_words_are_as_strong_as_the_weakest_end_of_the_interval(
    make_prediction: MakePrediction, answer: Answer, low: float | None, high: float | None, expected: str
) -> None:
    assert answer_line(make_prediction(answer, interval_low=low, interval_high=high)) == expected


def test_there_is_one_interval_and_no_log_odds(report: Report, make_prediction: MakePrediction) -> None:
    text = page_text(report.pdf)
    assert text.count("interval 51 % to 88 %") == 1
    assert "log-odds" not in text
    assert "66 %" not in text  # the logistic regression that the booster starts from is no second opinion
    varied = make_prediction(
        contour_interval=ContourInterval(variants=4, low=0.55, high=0.81, calls=(Answer.FAVORABLE,))
    )
    assert "55 %" not in " ".join(explanation_sentences(varied))


@pytest.mark.parametrize(
    "answer", [Answer.INDETERMINATE, Answer.OUT_OF_DISTRIBUTION, Answer.NO_EVIDENCE, Answer.MEASURED_ONLY]
)
def test_without_a_call_the_page_measures_and_hints_at_nothing(
    make_context: MakeContext, make_prediction: MakePrediction, pet: Volume, mask: Volume, answer: Answer
) -> None:
    text = page_text(
        pdf_report(make_context(prediction=make_prediction(answer)), key_image_panels([ShownImage("PET", pet)], mask))
    )
    assert "215 ml" in text
    for hint in ("73 %", "51 %", "raises", "lowers", "more likely", "Three reasons to distrust it"):
        assert hint not in text


def test_an_image_that_was_measured_and_not_contoured_is_told(make_context: MakeContext) -> None:
    context = make_context()
    assert "contoured on" not in conclusion(context)
    other = context.model.model_copy(update={"features_from": "CT"})
    said = "The lesion was contoured on the PET and measured in the CT, at the same place of the patient."
    assert said in conclusion(make_context(model=other))


def test_each_input_stands_on_the_page_or_is_counted(
    make_context: MakeContext, make_prediction: MakePrediction, pet: Volume, mask: Volume
) -> None:
    given = make_prediction().contributions
    for count, said in ((6, "SUVpeak 6"), (8, "2 more in the FHIR report")):
        numbered = tuple(
            given[2].model_copy(update={"input": f"input_{number}", "title": f"SUVpeak {number}"})
            for number in range(1, count + 1)
        )
        context = make_context(prediction=make_prediction(contributions=numbered))
        assert said in page_text(pdf_report(context, key_image_panels([ShownImage("PET", pet)], mask)))


def test_a_patient_of_the_training_is_told_apart(
    make_context: MakeContext, make_prediction: MakePrediction, pet: Volume, mask: Volume
) -> None:
    reason = AbstainReason(code="USED_IN_TRAINING", text="The patient is one of those of the training.")
    made = make_prediction(Answer.INDETERMINATE, used_in_training=True, abstain_reasons=(reason,))
    context = make_context(prediction=made)
    said = "No prediction: the model was trained on this patient"
    assert said in page_text(pdf_report(context, key_image_panels([ShownImage("PET", pet)], mask)))
    assert conclusion(context).startswith(said)


def test_without_evidence_a_patient_of_the_training_is_told_apart_too(
    make_context: MakeContext, make_prediction: MakePrediction, pet: Volume, mask: Volume
) -> None:
    made = make_prediction(
        Answer.NO_EVIDENCE, used_in_training=True, abstain_reasons=(MEASURES_USED_IN_TRAINING, *NO_EVIDENCE_REASONS)
    )
    context = make_context(prediction=made)
    page = page_text(pdf_report(context, key_image_panels([ShownImage("PET", pet)], mask)))
    for text in (page, conclusion(context), readable_summary(context)):
        assert "patient used in training" in text
        assert MEASURES_USED_IN_TRAINING.text in text
    assert "used in training" in conclusion(context)[:140]


def test_why_nothing_is_predicted_stands_whole_on_the_page(
    make_context: MakeContext, make_prediction: MakePrediction, pet: Volume, mask: Volume
) -> None:
    made = make_prediction(Answer.NO_EVIDENCE, abstain_reasons=NO_EVIDENCE_REASONS)
    page = page_text(pdf_report(make_context(prediction=made), key_image_panels([ShownImage("PET", pet)], mask)))
    assert NO_EVIDENCE_REASONS[0].text in page


@pytest.mark.parametrize(
    "title", ["Pathologic complete response", "No recurrence or metastasis " + "at follow-up " * 12]
)
@pytest.mark.parametrize("answer", list(Answer))
def test_answer_and_uncertainty_stand_in_the_first_140_characters(
    make_context: MakeContext, make_prediction: MakePrediction, answer: Answer, title: str
) -> None:
    made = make_prediction(answer, outcome_title=title, probability=0.3, interval_low=0.06, interval_high=0.61)
    first = conclusion(make_context(prediction=made))[:140].split("\n")[0]
    assert first.endswith(".")
    assert first.startswith(answer_line(made))
    if not made.abstains:
        of_favorable, of_called = "30 % (90 % interval 6 % to 61 %)", "70 % (90 % interval 39 % to 94 %)"
        expected = of_favorable if len(title) < 50 or answer is Answer.FAVORABLE else of_called
        assert expected in first


def test_a_tumor_that_leaves_the_images_has_lower_bounds(make_context: MakeContext, pet: Volume, mask: Volume) -> None:
    cut = make_context(segmentation=make_context().lesions[0].segmentation.model_copy(update={"touches_border": True}))
    page = page_text(pdf_report(cut, key_image_panels([ShownImage("PET", pet)], mask)))
    for text in (page, conclusion(cut)):
        assert "≥ 215" in text
        assert "≥ 9.8" not in text  # SUVmax is of the part that is seen, and no sum
        assert "The tumor reaches the border of the images" in text
    assert "≥ 215" not in conclusion(make_context())
