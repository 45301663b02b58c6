"""Options that name lesions, and the table of several."""

import io

import pytest
from oncoresponse.cli.lesion_options import lesion_selections, lesion_table, supplied_contours, totals_sentence
from oncoresponse.errors import ConfigurationError
from oncoresponse.v1 import assessment_pb2, lesion_pb2
from rich.console import Console


def test_lesions_are_numbered_points_first_then_boxes_then_contours():
    contours = supplied_contours("1.2.3", ["GTV-2", "#1"], every_structure=False, wanted=False)
    found = lesion_selections(["1,2,3", "-4,5.5,6"], ["9,1,9,7,2,8"], contours, rough=False)
    assert [item.WhichOneof("selection") for item in found] == ["point", "point", "box", "contour", "contour"]
    assert (found[1].point.x_mm, found[1].point.y_mm) == (-4, 5.5)
    box = found[2].box
    assert [box.low.x_mm, box.low.y_mm, box.low.z_mm] == [7, 1, 8]
    assert [box.high.x_mm, box.high.y_mm, box.high.z_mm] == [9, 2, 9]
    assert [(item.contour.sop_instance_uid, item.contour.structure_name) for item in found[3:]] == [
        ("1.2.3", "GTV-2"),
        ("1.2.3", "#1"),
    ]


def test_contours_without_a_name():
    assert supplied_contours("", [], every_structure=False, wanted=False) == ()
    (only,) = supplied_contours("", [], every_structure=False, wanted=True)
    assert (only.structure_name, only.every_structure) == ("", False)
    (every,) = supplied_contours("1.2.3", [], every_structure=True, wanted=False)
    assert (every.sop_instance_uid, every.every_structure) == ("1.2.3", True)
    (rough,) = lesion_selections([], [], [every], rough=True)
    assert rough.rough_contour.every_structure
    with pytest.raises(ConfigurationError, match="--every-structure"):
        supplied_contours("", ["GTV"], every_structure=True, wanted=True)


def test_table_shows_measures_that_were_made_and_no_markup_of_a_structure_name():
    def measure(name, value, unit):
        return lesion_pb2.Measure(name=name, value=value, unit=unit)

    lesions = [
        lesion_pb2.LesionResult(
            number=number,
            label=label,
            volume_ml=volume,
            needs_review=number == 1,
            measures=[measure("longest_axial_diameter", 10 * volume, "mm"), measure("mean_intensity", 400, "[iU]")],
        )
        for number, label, volume in ((1, "", 12.34), (2, "[red]GTV\x1b[31m", 2.0))
    ]
    totals = [measure("lesion_count", 2, "1"), measure("total_lesion_volume", 14.34, "ml")]
    result = assessment_pb2.AssessmentResult(lesions=lesions, totals=totals)
    stream = io.StringIO()
    Console(file=stream, width=120).print(lesion_table(result))
    header, first, second = stream.getvalue().splitlines()
    assert "Mean intensity" in header
    assert "SUVmax" not in header
    assert first.split() == ["1", "12.3", "ml", "123", "mm", "400", "[iU]", "needs", "review"]
    assert "[red]GTV[31m" in second
    assert totals_sentence(result) == "2 lesions together: volume 14.3 ml."
