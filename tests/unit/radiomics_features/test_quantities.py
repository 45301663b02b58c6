"""What a voxel measures is stated by the caller, and decides which measures of a lesion exist."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import SimpleITK as sitk
from oncoradiomics import cohort, extraction, extraction_processes, lesion_measures, robustness
from oncoradiomics.command_line import app
from oncoradiomics.errors import QuantityError
from oncoradiomics.extraction import describe_lesion
from oncoradiomics.features import MEASURE_NAMES, SIZE_MEASURE_NAMES
from oncoradiomics.lesion_measures import is_measure_of_another_quantity, measure_names
from oncoradiomics.quantities import HOUNSFIELD, SUV_BODY_WEIGHT, image_quantity
from oncoradiomics.settings import Settings
from typer.testing import CliRunner

SETTINGS = Settings.from_mapping({"setting": {"binWidth": 25}, "featureClass": {"firstorder": ["Mean", "Variance"]}})


@pytest.mark.parametrize(
    ("quantity", "name", "unit"),
    [(HOUNSFIELD, "mean_density", "[hnsf'U]"), ("mm2/s", "mean_intensity", "mm2/s")],
)
def test_an_image_that_is_no_pet_has_its_size_and_its_mean_and_nothing_named_suv(lesion, quantity, name, unit):
    image, mask = lesion[0] * 10 - 40, lesion[1]
    document = describe_lesion(image, mask, SETTINGS, quantity)
    assert document.image_quantity == quantity
    assert (
        [measure.name for measure in document.measures] == [*SIZE_MEASURE_NAMES, name] == list(measure_names(quantity))
    )
    inside = sitk.GetArrayFromImage(image)[sitk.GetArrayFromImage(mask) == 1]
    assert document.measures[-1].value == pytest.approx(inside.astype(np.float64).mean())
    assert document.measures[-1].unit == unit
    assert document.features[0].unit == unit
    assert "g/mL" not in document.model_dump_json()


def test_pet_in_suv_has_the_measures_of_suv(lesion):
    document = describe_lesion(*lesion, SETTINGS, SUV_BODY_WEIGHT)
    assert tuple(measure.name for measure in document.measures) == MEASURE_NAMES == measure_names(SUV_BODY_WEIGHT)
    assert document.image_quantity == SUV_BODY_WEIGHT


@pytest.mark.parametrize("code", ["", "SUV", "SUVbw", "g/mL", "[hnsf'U]", "mask", "probability", "two words"])
def test_a_quantity_that_leaves_open_what_is_meant_is_refused(lesion, code):
    with pytest.raises(QuantityError) as caught:
        describe_lesion(*lesion, SETTINGS, code)
    assert caught.value.reason == "QUANTITY_MISMATCH"


def test_another_suv_is_not_taken_for_body_weight_suv(lesion):
    assert not image_quantity("g/mL{SUVlbm}").is_suv
    assert "suv_max" not in describe_lesion(*lesion, SETTINGS, "g/mL{SUVlbm}").values()


def test_a_measure_belongs_to_one_quantity():
    assert is_measure_of_another_quantity("suv_max", HOUNSFIELD)
    assert is_measure_of_another_quantity("mean_density", SUV_BODY_WEIGHT)
    assert not is_measure_of_another_quantity("lesion_volume", HOUNSFIELD)
    assert not is_measure_of_another_quantity("original_glcm_Contrast", HOUNSFIELD)


def test_no_function_and_no_command_has_a_default_for_the_quantity(lesion_files, tmp_path):
    functions = (
        extraction.describe_lesion,
        extraction_processes.ExtractionProcesses.extract,
        cohort.extract_cohort,
        robustness.variant_features,
        lesion_measures.measure_lesion,
    )
    for function in functions:
        assert inspect.signature(function).parameters["quantity"].default is inspect.Parameter.empty
    settings = tmp_path / "settings.yaml"
    settings.write_text("setting: {binWidth: 25}\n")
    common = ["--settings", str(settings), "--output", str(tmp_path / "out.csv")]
    files = ["--image", "image.nrrd", "--mask", "mask.nrrd"]
    for arguments in (
        ["extract", *map(str, lesion_files), *common],
        ["cohort", str(tmp_path), *common, *files],
        ["robustness", str(tmp_path), *common, *files],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        assert "--quantity" in result.output
