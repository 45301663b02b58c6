"""The page, the picture, the words: what a reader sees, and that the same input gives the same bytes."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pypdf
import pytest
import SimpleITK as sitk
from oncoresponse.case.prediction import Answer, Prediction
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.errors import EmptyMask, FrameOfReferenceMismatch, ModelFolderInvalid
from oncoresponse.model.definition import ModelDefinition
from oncoresponse.reporting.compose import Report, compose_report
from oncoresponse.reporting.key_image import (
    CONTOUR_COLOR,
    ShownImage,
    anatomical_label,
    key_image_panels,
    key_image_png,
    panel_content,
)
from oncoresponse.reporting.lesion_map import lesion_map
from oncoresponse.reporting.lesion_wording import contour_sentence, review_sentence
from oncoresponse.reporting.pdf_report import pdf_report
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.wording import (
    answer_sentences,
    call_error_sentence,
    conclusion,
    contribution_sentence,
    readable_summary,
    treatment_directives,
)
from PIL import Image

MakeContext = Callable[..., ReportContext]
MakePrediction = Callable[..., Prediction]


def page_text(data: bytes) -> str:
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    assert len(pages) == 1
    width, height = (float(value) / 72 * 25.4 for value in pages[0].mediabox[2:])
    assert (round(width), round(height)) == (210, 297)
    return " ".join(pages[0].extract_text().split()).replace("cross- validation", "cross-validation")


def phantom(direction: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1)) -> tuple[Volume, Volume]:
    """PET 5 at LPS (+20, -10, +30) mm around, 1 elsewhere, on an anisotropic grid, with its mask."""
    grid = sitk.Image(40, 30, 20, sitk.sitkFloat32)
    grid.SetSpacing((2.0, 3.0, 5.0))
    grid.SetDirection(direction)
    matrix = np.array(direction).reshape(3, 3)
    grid.SetOrigin((-(matrix @ np.array([39.0, 43.5, 47.5]))).tolist())
    k, j, i = np.indices((20, 30, 40))
    index = np.stack([i, j, k], -1) * np.array([2.0, 3.0, 5.0])
    points = index @ matrix.T + np.array(grid.GetOrigin())
    inside = np.linalg.norm(points - np.array([20.0, -10.0, 20.0]), axis=-1) < 12
    pet = sitk.GetImageFromArray(np.where(inside, 5.0, 1.0).astype(np.float32))
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    for image in (pet, mask):
        image.CopyInformation(grid)
    return Volume(pet, Quantity.SUV_BODY_WEIGHT, "1.2.3", "1.2.4"), Volume(mask, Quantity.MASK, "1.2.3", "1.2.4")


# --- the same input, the same bytes ----------------------------------------------------------------


def test_same_input_same_bytes(
    make_context: MakeContext, report: Report, pet: Volume, ct: Volume, mask: Volume, pet_series: list[Any]
) -> None:
    assert compose_report(make_context(), {"PT": pet, "CT": ct}, mask, pet_series) == report
    later = make_context(issued=make_context().issued + timedelta(seconds=1))
    assert compose_report(later, {"PT": pet, "CT": ct}, mask, pet_series).pdf != report.pdf


# --- the page --------------------------------------------------------------------------------------


def test_page_says_who_what_and_how_sure(report: Report) -> None:
    text = page_text(report.pdf)
    for expected in (
        "Research use only. Not a cleared or approved medical device. Not for clinical decisions.",
        "PRELIMINARY, not signed",
        "Doe, Jane Q",
        "STS_019",
        "1953-04-02",
        "Pathologic complete response: more likely than not",
        "Probability of pathologic complete response: 73 % (90 % interval 51 % to 88 %)",
        "← less likely pathologic complete response more likely →",
        "MTV at 41 % of SUVmax 198 ml",
        "TLG at 41 % of SUVmax 934 g",
        "5th to 95th percentile",
        "164 to 281 ml (80 % interval from cross-validation)",
        "215 ml",
        "SUVmax 9.8 g/mL",
        "Tumor volume",
        "▲ raises",
        "SUVbw 0 to 10 g/mL",
        "PET, sagittal",
        "Three reasons to distrust it",
        "side not stated",
        "Associations in the training patients, not causes.",
        "no patient of another hospital",
        "Planned treatment (from the order, not an input)",
        "The tumor reaches within 5 mm",
        "0123456789abcdef" * 4,
    ):
        assert expected in text, expected


def test_page_without_a_call_shows_no_number(abstaining_report: Report) -> None:
    text = page_text(abstaining_report.pdf)
    assert "Indeterminate: the evidence does not allow a call" in text
    assert "Neither outcome can be ruled out for this patient." in text
    for number in ("73 %", "51 %", "88 %", "66 %", "raises", "lowers", "+0.34", "less likely", "probability of"):
        assert number not in text
        assert number not in abstaining_report.summary


def test_page_without_prediction_or_ct(make_context: MakeContext, pet: Volume, mask: Volume) -> None:
    text = page_text(pdf_report(make_context(prediction=None), key_image_panels([ShownImage("PET", pet)], mask)))
    assert "No response prediction was made." in text
    assert "CT, axial" not in text


def test_page_survives_long_and_odd_words(
    make_context: MakeContext, make_prediction: MakePrediction, pet: Volume, mask: Volume
) -> None:
    """Overlong values are cut or wrapped inside the one page; a name shows in the patient's own script too."""
    study = make_context().study
    patient = study.patient.model_copy(
        update={"name": "Wolfeschlegelsteinhausenbergerdorff^Hubert=\u5c71\u7530^\u592a\u90ce", "patient_id": "9" * 64}
    )
    context = make_context(
        study=study.model_copy(update={"patient": patient}),
        planned_treatment="$\\frac{1}{2}$ " + "x" * 180,
        prediction=make_prediction(limits=tuple(f"Limit {n}: " + "word " * 60 for n in range(9))),
    )
    text = page_text(pdf_report(context, key_image_panels([ShownImage("PET", pet)], mask)))
    assert "\u5c71\u7530, \u592a\u90ce" in text
    assert "9" * 64 in text.replace("\u200b", "").replace(" ", "")
    assert "…" in text
    assert "more in the FHIR report." in text
    assert "$\\frac" in text
    by_ideograph = study.model_copy(
        update={"patient": patient.model_copy(update={"name": "=\u5c71\u7530^\u592a\u90ce"})}
    )
    assert "STS_019" not in page_text(
        pdf_report(make_context(study=by_ideograph), key_image_panels([ShownImage("PET", pet)], mask))
    )


# --- the picture -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "direction",
    [
        (1, 0, 0, 0, 1, 0, 0, 0, 1),
        (-1, 0, 0, 0, -1, 0, 0, 0, 1),
        (1, 0, 0, 0, -1, 0, 0, 0, -1),
        (0, 0, 1, 1, 0, 0, 0, 1, 0),
    ],
)
def test_tumor_is_drawn_where_the_patient_has_it(direction: tuple[float, ...]) -> None:
    """A tumor at the left, anterior, cranial side of the patient is right of, above and above the middle."""
    pet, mask = phantom(direction)
    axial, coronal, sagittal = key_image_panels([ShownImage("PET", pet)], mask)
    for panel, expected in ((axial, (20.0, -10.0)), (coronal, (20.0, 20.0))):
        rows, columns = np.nonzero(panel.contours[0])
        left, right, bottom, top = panel.extent_mm
        assert columns.mean() / panel.contours[0].shape[1] > 0.5
        assert rows.mean() / panel.contours[0].shape[0] < 0.5
        assert (
            panel.pixels[tuple(int(value) for value in np.unravel_index(panel.pixels.argmax(), panel.pixels.shape))]
            == 5
        )
        if panel is axial:  # mm, so unequal voxels keep their proportions
            width_mm = (columns.max() - columns.min() + 1) / panel.contours[0].shape[1] * (right - left)
            height_mm = (rows.max() - rows.min() + 1) / panel.contours[0].shape[0] * (top - bottom)
            assert abs(width_mm - 24) < 5
            assert abs(height_mm - 24) < 7
        assert expected
    assert axial.labels == ("R", "L", "A", "P")
    assert coronal.labels == ("R", "L", "H", "F")
    assert sagittal.labels == ("A", "P", "H", "F")
    rows, columns = np.nonzero(sagittal.contours[0])
    assert columns.mean() / sagittal.contours[0].shape[1] < 0.5
    assert rows.mean() / sagittal.contours[0].shape[0] < 0.5
    assert sagittal.pixels.max() == 5


def test_labels_name_the_secondary_direction() -> None:
    assert anatomical_label((1.0, 0.0, 0.0)) == "L"
    assert anatomical_label((-0.8, 0.6, 0.0)) == "RP"
    assert anatomical_label((0.0, -0.1, -0.99)) == "F"


def test_key_image_is_a_png_with_the_contour(report: Report) -> None:
    image = Image.open(io.BytesIO(report.key_image))
    assert image.format == "PNG"
    assert set(image.info) <= {"dpi"}
    pixels = np.asarray(image.convert("RGB")).astype(int)
    wanted = np.array([int(CONTOUR_COLOR[n : n + 2], 16) for n in (1, 3, 5)])
    assert (np.abs(pixels - wanted).max(axis=-1) < 8).sum() > 300


def test_key_image_needs_matching_volumes(pet: Volume, mask: Volume) -> None:
    phantom_pet, phantom_mask = phantom()
    shown = [ShownImage("PET", phantom_pet)]
    with pytest.raises(EmptyMask):
        key_image_panels(shown, phantom_mask.with_image(phantom_mask.image * 0, Quantity.MASK))
    with pytest.raises(FrameOfReferenceMismatch):
        key_image_panels(shown, mask)
    with pytest.raises(FrameOfReferenceMismatch):
        key_image_panels([*shown, ShownImage("CT", pet)], phantom_mask)
    data, size = key_image_png(key_image_panels([*shown, *shown], phantom_mask), "Research use only.")
    assert Image.open(io.BytesIO(data)).size == size


def test_every_lesion_is_drawn_with_its_number(pet: Volume, two_lesions: Volume) -> None:
    axial, coronal, _ = key_image_panels([ShownImage("PET", pet)], two_lesions, main=2)
    assert [bool(contour.any()) for contour in coronal.contours] == [True, True]
    assert "area of lesion 2" in axial.caption
    assert [item["text"] for item in panel_content(coronal, "x.png")["numbers"]] == ["1", "2"]
    second, first = sorted(panel_content(coronal, "x.png")["numbers"], key=lambda item: -item["x"])
    assert (first["text"], second["text"]) == ("1", "2"), "the second lies to the left of the patient"
    (alone, *_) = key_image_panels([ShownImage("PET", pet)], lesion_map([two_lesions]))
    assert panel_content(alone, "x.png")["numbers"] == []


def test_a_signal_without_a_unit_is_shown_between_percentiles() -> None:
    phantom_pet, phantom_mask = phantom((0, 0, 1, 1, 0, 0, 0, 1, 0))
    signal = phantom_pet.with_image(phantom_pet.image * 100, Quantity.MR_SIGNAL)
    axial, coronal, sagittal = key_image_panels([ShownImage("MR", signal)], phantom_mask)
    for panel in (axial, coronal, sagittal):
        assert panel.window == (100, 500)
        assert not panel.inverted
        assert "SUV" not in panel.caption
        assert panel.pixels.max() == pytest.approx(500)
        assert panel.contours[0].any()
    assert "section" in coronal.description


def test_an_image_on_another_grid_than_the_lesions_is_shown_where_it_is() -> None:
    """Contoured on one series, shown in another of the same frame of reference."""
    phantom_pet, phantom_mask = phantom()
    coarse = sitk.Image(20, 15, 10, sitk.sitkFloat32)
    coarse.SetSpacing((4.0, 6.0, 10.0))
    coarse.SetOrigin(phantom_pet.image.GetOrigin())
    other = phantom_pet.with_image(sitk.Resample(phantom_pet.image, coarse), Quantity.HOUNSFIELD)
    for panel in key_image_panels([ShownImage("CT", other)], phantom_mask):
        rows, columns = np.nonzero(panel.contours[0])
        height, width = panel.contours[0].shape
        inside = panel.pixels[
            int(rows.mean() / height * panel.pixels.shape[0]), int(columns.mean() / width * panel.pixels.shape[1])
        ]
        assert inside > 3


# --- several lesions, other modalities -------------------------------------------------------------


def test_page_of_several_lesions_has_a_row_for_each_and_totals(two_lesion_report: Report) -> None:
    text = page_text(two_lesion_report.pdf)
    for expected in (
        "1 215 87 × 61 105 9.8 8.2 198 934",
        "2 GTV-2 ≥ 8.10 ≥ 28 × ≥ 61",
        "needed",
        "Number of lesions 2; Total lesion volume ≥ 223 ml",
        "The answer was made from the largest lesion (number 1 of 2).",
        "Lesion 2: PET and CT lie at least 15 mm apart at the tumor.",
        "Lesion 2: Contour supplied with the study (RTSTRUCT), drawn by hand",
        "Lesion 1: Contour drawn by the network",
    ):
        assert expected in text, expected
    assert "GTV-2" not in two_lesion_report.summary, "somebody typed it"
    assert "Lesion 2" in two_lesion_report.summary


def test_fifty_lesions_fit_on_the_page(make_two_lesions: MakeContext, pet: Volume, two_lesions: Volume) -> None:
    first, second = make_two_lesions().lesions
    lesions = tuple(dataclasses.replace(second, number=n, label=f"Structure {n} " + "x" * 70) for n in range(2, 51))
    context = make_two_lesions(lesions=(first, *lesions))
    text = page_text(pdf_report(context, key_image_panels([ShownImage("PET", pet)], two_lesions)))
    assert "44 smaller ones stand in the FHIR report" in text
    assert "6 Structure 6" in text
    assert "7 Structure 7" not in text
    assert "Lesions 2 to 50: PET and CT lie at least 15 mm apart at the tumor." in text


@pytest.mark.parametrize(("count", "left_out"), [(4, 0), (50, 44)])
def test_contours_of_several_lesions_are_never_cut_in_the_middle(
    make_two_lesions: MakeContext, pet: Volume, two_lesions: Volume, count: int, left_out: int
) -> None:
    first, _ = make_two_lesions().lesions
    lesions = tuple(
        dataclasses.replace(
            first,
            number=n,
            segmentation=first.segmentation.model_copy(
                update={"volume_low_ml": 100.0 + n, "volume_high_ml": 300.0 + n}
            ),
        )
        for n in range(1, count + 1)
    )
    context = make_two_lesions(lesions=lesions, prediction=None, predicted_lesions=(), predicted_from="")
    text = page_text(pdf_report(context, key_image_panels([ShownImage("PET", pet)], two_lesions)))
    said = count - left_out
    assert text.count("interval from cross-validation).") == said
    assert f"Lesion {said}: Contour drawn by the network" in text
    assert (f"cross-validation). {left_out} more in the FHIR report." in text) is bool(left_out)


def test_page_of_mr_says_how_the_images_were_made_and_knows_no_suv(mr_report: Report) -> None:
    text = page_text(mr_report.pdf)
    for expected in ("MR, fl3d, 1.5 T, contrast Gadobutrol", "Mean intensity 460 arb. units", "MR post 1, axial"):
        assert expected in text, expected
    assert "No response prediction was made." in text
    for word in ("SUV", "MTV", "PET volume"):
        assert word not in text
        assert word not in mr_report.summary


# --- the words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Start neoadjuvant chemotherapy.",
        "Consider to stop the current treatment",
        "We recommend a change of regimen.",
        "Treatment should be intensified.",
        "Switch to immunotherapy",
        "Surgery is recommended",
    ],
)
def test_a_directive_is_found(text: str) -> None:
    assert treatment_directives(text)


def test_a_model_that_gives_directives_is_refused(
    make_context: MakeContext,
    make_prediction: MakePrediction,
    model: ModelDefinition,
    pet: Volume,
    mask: Volume,
    pet_series: list[Any],
) -> None:
    by_answer = make_context(prediction=make_prediction(answer_text="Recurrence likely: escalate the therapy"))
    by_limit = make_context(model=model.model_copy(update={"limitations": ("If unsure, stop treatment.",)}))
    for context in (by_answer, by_limit):
        with pytest.raises(ModelFolderInvalid):
            compose_report(context, {"PT": pet}, mask, pet_series)


def test_our_words_and_the_installed_model_hold_no_directive(
    make_context: MakeContext, make_prediction: MakePrediction, model: ModelDefinition
) -> None:
    for answer in Answer:
        assert treatment_directives(readable_summary(make_context(prediction=make_prediction(answer)))) == []
    for text in (
        *model.limitations,
        model.outcome.title,
        model.outcome.definition,
        *model.intended_use.contraindications,
    ):
        assert treatment_directives(text) == []


def test_summary_holds_the_result_and_no_identity(report: Report) -> None:
    assert "Research use only." in report.summary
    assert (
        "Probability of pathologic complete response: 73 % (90 % interval 51 % to 88 %).\n"
        "In cross-validation 82 % of the 14 patients with this call had this outcome (80 % interval from 64 %)."
    ) in report.summary
    assert "lowers the probability of pathologic complete response" in report.summary
    assert "Tumor volume" in report.summary
    for identity in ("Doe", "STS_019", "1953", "2144184978610994"):
        assert identity not in report.summary


def test_every_probability_says_of_which_outcome(
    make_context: MakeContext, make_prediction: MakePrediction, pet: Volume, mask: Volume
) -> None:
    """A low probability of the favorable outcome under an unfavorable headline reads as that of the headline."""
    made = make_prediction(
        Answer.UNFAVORABLE, probability=0.2, interval_low=0.04, interval_high=0.73, conformal_set=("unfavorable",)
    )
    context = make_context(prediction=made)
    expected = "Probability of pathologic complete response: 20 % (90 % interval 4 % to 73 %)"
    page = page_text(pdf_report(context, key_image_panels([ShownImage("PET", pet)], mask)))
    for text in (page, readable_summary(context), conclusion(context), " ".join(answer_sentences(made))):
        assert expected in text
        assert "recurrence or metastasis: weak evidence" in text.lower()
        assert "metastasis likely" not in text
        for ambiguous in ("Estimated probability", "the estimate", "at 80 % coverage", "the unfavorable outcome"):
            assert ambiguous not in text


def test_a_value_beyond_all_training_patients_is_said_to_be(make_prediction: MakePrediction) -> None:
    made = make_prediction(Answer.OUT_OF_DISTRIBUTION)
    volume = made.contributions[1]
    said = [
        contribution_sentence(volume.model_copy(update={"percentile": percentile}), made)
        for percentile in (0.0, 42.0, 100.0, None)
    ]
    expected = "Tumor volume 215 ml (training patients' 5th to 95th percentile 14 to 1210 ml"
    ranks = (", this one below all of them", ", this one above 42 % of them", ", this one above all of them", "")
    assert said == [f"{expected}{rank})" for rank in ranks]


@pytest.mark.parametrize("answer", [Answer.INDETERMINATE, Answer.OUT_OF_DISTRIBUTION])
def test_without_a_call_no_outcome_is_hinted_at(make_prediction: MakePrediction, answer: Answer) -> None:
    made = make_prediction(answer, conformal_set=("unfavorable",))
    assert call_error_sentence(made) is None
    assert "favorable" not in " ".join(answer_sentences(made))


def test_uncertainty_of_a_contour_is_a_calibrated_interval_or_said_to_be_unknown(make_context: MakeContext) -> None:
    summary = make_context().lesions[0].segmentation
    calibrated = contour_sentence(make_context().lesions[0])
    assert "A physician's contour would measure 164 to 281 ml (80 % interval from cross-validation)." in calibrated
    assert "Dice" not in readable_summary(make_context())
    uncalibrated = summary.model_copy(update={"volume_level": None})
    text = contour_sentence(make_context(segmentation=uncalibrated).lesions[0])
    assert "164" not in text
    assert "How far its volume may be wrong is not known." in text
    prompted = summary.model_copy(update={"prompt": "box"})
    assert "around a box that a person gave" in contour_sentence(make_context(segmentation=prompted).lesions[0])


def test_a_contour_that_needs_review_says_so_first(make_context: MakeContext, pet: Volume, mask: Volume) -> None:
    assert review_sentence(make_context().lesions[0]) is None
    unsure = make_context(
        segmentation=make_context()
        .lesions[0]
        .segmentation.model_copy(
            update={"needs_review": True, "review_reasons": ("PET and CT lie at least 15 mm apart at the tumor.",)}
        )
    )
    review = review_sentence(unsure.lesions[0])
    assert review is not None
    page = page_text(pdf_report(unsure, key_image_panels([ShownImage("PET", pet)], mask)))
    for text in (page, readable_summary(unsure), conclusion(unsure)):
        assert review in text
    assert page.index(review) < page.index("Contour drawn by the network")
