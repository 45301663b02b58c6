"""What becomes of awkward RTSTRUCT contours (DICOM PS3.3 C.8.8.6): the right value, told, or a refusal.

Voxels are 1 x 1 x 2 mm, so a voxel is 0.002 ml. Rectangles have their edges between voxel centers: the voxel counts
follow from their sides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oncoresponse.cli.main import app
from oncoresponse.dicom.contour_outlines import same_outline
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.patient_identity import ExpectedPatient
from oncoresponse.dicom.study import read_contour, read_study
from oncoresponse.errors import (
    AmbiguousSeries,
    ContourAmbiguous,
    ContourGap,
    ContourNotClosed,
    ContourOutsideImage,
    EmptyMask,
    InvalidAttribute,
    PatientMismatch,
)
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

Draw = Callable[..., Any]
XOR = "CLOSEDPLANAR_XOR"
OBLIQUE = tuple(Rotation.from_euler("xyz", [15, 40, -25], degrees=True).as_matrix()[:, :2].T.ravel())


def rectangle(i: int, j: int, width: int, height: int) -> list[tuple[float, float]]:
    """Around the voxels i to i + width - 1 and j to j + height - 1."""
    left, top = i - 0.5, j - 0.5
    return [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]


WHOLE, INNER, INMOST = rectangle(3, 3, 10, 10), rectangle(5, 5, 6, 6), rectangle(7, 7, 2, 2)


def test_contours_that_overlap_are_joined(draw: Draw) -> None:
    drawing = draw().contour(3, WHOLE).contour(3, rectangle(8, 3, 10, 10))
    contour = drawing.read()
    assert drawing.area(contour, 3) == 150
    assert contour.warnings == ()


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", XOR])
@pytest.mark.parametrize(
    ("again", "noise_mm"),
    [
        (WHOLE, 0.0),
        (WHOLE[2:] + WHOLE[:2], 0.0),
        (WHOLE[::-1], 0.0),
        ([*WHOLE, WHOLE[0]], 0.0),
        ([WHOLE[0], (6.0, 2.5), *WHOLE[1:]], 0.0),
        (WHOLE[1:] + WHOLE[:1], 1e-4),
    ],
    ids=["same", "another first point", "another direction", "closed by hand", "another point", "noise"],
)
def test_a_contour_that_is_stored_twice_counts_once(draw: Draw, kind: str, again: Any, noise_mm: float) -> None:
    drawing = draw().contour(3, WHOLE, kind).contour(4, WHOLE, kind).contour(3, again, kind, noise_mm)
    contour = drawing.read()
    assert [drawing.area(contour, k) for k in (3, 4)] == [100, 100]
    assert contour.warnings == (
        "Contour: 1 contour stored more than once, on slice 4, counted once (0.2 ml not counted again).",
    )


@pytest.mark.parametrize(
    "again",
    [
        [(i + 0.2 * (-1) ** n, j + 0.2) for n, (i, j) in enumerate(WHOLE)],
        [(3.2, 2.5), (12.5, 3.2), (11.8, 12.5), (2.5, 11.8)],
    ],
    ids=["noise", "inside"],
)
def test_nearly_equal_contours_do_not_cancel_each_other_out(draw: Draw, again: Any) -> None:
    drawing = draw().contour(3, WHOLE, XOR).contour(3, again, XOR)
    with pytest.raises(ContourAmbiguous, match="slice 4, two contours"):
        drawing.read()


@pytest.mark.filterwarnings("ignore:The value for the data element")
def test_a_contour_of_more_than_64_kib_is_read(draw: Draw) -> None:
    """In Explicit VR it has to be stored as UN (PS3.5 6.2.2). Its points lie 0.01 mm apart, and go round once."""
    angles = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    drawing = draw().contour(3, list(zip(10 + 6.3 * np.cos(angles), 10 + 6.3 * np.sin(angles), strict=True)))
    j, i = np.mgrid[:20, :24]
    contour = drawing.read()
    assert drawing.area(contour, 3) == np.count_nonzero((i - 10) ** 2 + (j - 10) ** 2 <= 6.3**2)
    assert contour.warnings == ()


def test_repeats_of_many_points_are_found_in_seconds() -> None:
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    one = 30 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert same_outline(one, one[::-1])
    assert not same_outline(one, one * 1.01)


def test_thin_parts_beside_each_other_are_not_taken_for_repeats(draw: Draw) -> None:
    drawing = draw().contour(3, rectangle(3, 3, 1, 6), XOR).contour(3, rectangle(4, 3, 1, 6), XOR)
    contour = drawing.read()
    assert drawing.area(contour, 3) == 12
    ring = draw().contour(3, WHOLE, XOR).contour(3, rectangle(5, 5, 6, 6), XOR)
    assert ring.area(ring.read(), 3) == 100 - 36


def test_a_contour_drawn_twice_in_one_go_counts_once(draw: Draw) -> None:
    other_points = [WHOLE[0], (8.0, 2.5), WHOLE[1], WHOLE[2], WHOLE[3], WHOLE[0]]
    for path in (WHOLE + WHOLE, [*WHOLE, WHOLE[0], *WHOLE], [*WHOLE, *other_points]):
        drawing = draw().contour(3, path)
        contour = drawing.read()
        assert drawing.area(contour, 3) == 100
        assert "counted once" in contour.warnings[0]


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0), (0, 1, 0, 0, 0, -1), OBLIQUE])
def test_exclusive_or_nests_holes_and_islands(draw: Draw, orientation: Any) -> None:
    drawing = draw(orientation=orientation)
    for k in (2, 3):
        for ring in (WHOLE, INNER, INMOST):
            drawing.contour(k, ring, XOR)
    contour = drawing.read()
    assert drawing.area(contour, 2) == drawing.area(contour, 3) == 100 - 36 + 4
    assert contour.warnings == ()


@pytest.mark.parametrize("inner", [INNER, INNER[::-1]], ids=["same direction", "opposite direction"])
def test_a_keyhole_is_a_hole_in_either_direction(draw: Draw, inner: Any) -> None:
    keyhole = [*WHOLE, WHOLE[0], *inner, inner[0]]
    drawing = draw().contour(3, keyhole)
    contour = drawing.read()
    # The channel runs through voxel centers, and points along the path belong to the region.
    assert drawing.area(contour, 3) == 100 - 36
    assert contour.mask.array[3, 4, 4] == 1
    assert contour.warnings == ()


def test_a_contour_inside_another_one_is_no_hole_and_told(draw: Draw) -> None:
    drawing = draw().contour(3, WHOLE).contour(3, INNER)
    contour = drawing.read()
    assert drawing.area(contour, 3) == 100
    assert "on slice 4 lay inside another one" in contour.warnings[0]
    assert "0.072 ml" in contour.warnings[0]


def test_both_closed_types_on_one_slice_are_refused(draw: Draw) -> None:
    with pytest.raises(ContourAmbiguous, match="slice 4"):
        draw().contour(3, WHOLE).contour(3, INNER, XOR).read()


def test_a_line_through_voxel_centers_belongs_to_the_region(draw: Draw) -> None:
    """As programs write it that trace a mask through the centers of its outer voxels."""
    drawing = draw(orientation=OBLIQUE).contour(3, [(3, 3), (12, 3), (12, 12), (3, 12)])
    assert drawing.area(drawing.read(), 3) == 100


def test_points_and_open_lines_refuse_the_structure_and_are_counted(draw: Draw) -> None:
    drawing = draw().contour(3, WHOLE).contour(4, WHOLE, "OPEN_PLANAR").contour(5, WHOLE, "OPEN_PLANAR")
    drawing.contour(6, WHOLE[:1], "POINT")
    with pytest.raises(ContourNotClosed, match=r"3 contours of 4 .*2 OPEN_PLANAR, 1 POINT"):
        drawing.read()
    with pytest.raises(ContourNotClosed, match="1 OPEN_NONPLANAR"):
        draw().contour(3, WHOLE, "OPEN_NONPLANAR").read()


def test_a_contour_of_too_few_points_is_told(draw: Draw) -> None:
    drawing = draw().contour(3, WHOLE).contour(4, WHOLE).contour(4, [(5.0, 5.0), (6.0, 5.0), (5.0, 5.0)])
    contour = drawing.read()
    assert drawing.area(contour, 4) == 100
    assert "1 contour of fewer than three different points, on slice 5" in contour.warnings[0]
    with pytest.raises(EmptyMask, match="three different points"):
        draw().contour(3, WHOLE[:2]).read()


def test_a_contour_with_fewer_points_than_announced_is_refused(draw: Draw) -> None:
    drawing = draw().contour(3, WHOLE)
    drawing.announce_points = 9
    with pytest.raises(InvalidAttribute) as refused:
        drawing.read()
    assert refused.value.metadata["keyword"] == "NumberOfContourPoints"


def test_a_contour_that_holds_no_voxel_center_is_told(draw: Draw) -> None:
    drawing = draw().contour(3, WHOLE).contour(4, [(3.2, 3.2), (3.6, 3.2), (3.6, 3.6)])
    assert "1 contour on slice 5 held no voxel center; 0.00016 ml" in drawing.read().warnings[0]


def test_a_figure_eight_counts_with_both_loops_and_is_told(draw: Draw) -> None:
    eight = [(2.5, 2.5), (12.5, 12.5), (12.5, 2.5), (2.5, 12.5)]
    drawing = draw().contour(3, eight)
    contour = drawing.read()
    # Two triangles of 25 mm2 each, give or take the voxels that lie on their edges.
    assert drawing.area(contour, 3) == pytest.approx(50, abs=12)
    assert "crossed itself" in contour.warnings[0]


def test_a_small_slip_of_the_pen_counts_as_inside_and_a_large_one_is_refused(draw: Draw) -> None:
    slip = [(2.5, 2.5), (12.5, 2.5), (12.5, 12.5), (2.5, 12.5), (2.5, 0.6), (4.4, 0.6), (4.4, 4.5), (1.5, 4.5)]
    drawing = draw().contour(3, slip)
    contour = drawing.read()
    assert contour.mask.array[3, 3, 3] == 1
    assert "it runs round twice count as tumor" in contour.warnings[0]
    angles = np.pi / 2 + 2 * np.arange(5) * 2 * np.pi / 5
    star = [(10 + 8 * np.cos(angle), 10 + 8 * np.sin(angle)) for angle in angles]
    with pytest.raises(ContourAmbiguous, match="slice 4"):
        draw().contour(3, star).read()


def test_one_missing_slice_is_interpolated_and_told(draw: Draw) -> None:
    drawing = draw()
    for k, ring in ((1, WHOLE), (2, WHOLE), (4, rectangle(5, 3, 6, 10)), (5, rectangle(5, 3, 6, 10))):
        drawing.contour(k, ring)
    contour = drawing.read()
    # Sides of 10 and 6: the outline between lies half way, at 8.
    assert drawing.area(contour, 3) == 80
    assert contour.warnings == (
        "Contour: Without a contour, slice 4 was interpolated from its two neighbors (0.16 ml).",
    )


@pytest.mark.parametrize(
    "planes",
    [(0, 2, 4, 6), (0, 3, 6, 9), (0, 2), (0, 2, 3), (0, 1, 3, 4, 6, 7), (0, 1, 2, 5, 6, 7), (0, 1, 2, 4, 5, 8, 9)],
    ids=str,
)
def test_other_gaps_are_refused(draw: Draw, planes: tuple[int, ...]) -> None:
    drawing = draw()
    for k in planes:
        drawing.contour(k, WHOLE)
    with pytest.raises(ContourGap):
        drawing.read()


def test_a_plane_of_the_source_without_a_contour_is_empty(draw: Draw) -> None:
    drawing = draw()
    for k in (1, 2, 4, 5, 9):
        drawing.contour(k, WHOLE)
    drawing.plane_distance_mm = 2.0
    contour = drawing.read()
    assert int(contour.mask.array.sum()) == 500
    assert "none on slices 4, 7 to 9" in contour.warnings[0]
    drawing.plane_distance_mm = 4.0
    with pytest.raises(ContourGap):
        drawing.read()


def test_parts_that_lie_apart_are_not_joined_and_told(draw: Draw) -> None:
    drawing = draw()
    for k in (0, 1, 2):
        drawing.contour(k, rectangle(1, 1, 4, 4))
    for k in (6, 7, 8):
        drawing.contour(k, rectangle(12, 12, 4, 4))
    contour = drawing.read()
    assert int(contour.mask.array.sum()) == 6 * 16
    assert "slices 4 to 6" in contour.warnings[0]


@pytest.mark.parametrize(
    ("ring", "planes", "lost", "where"),
    [
        (rectangle(-1, 3, 20, 10), (3, 4), "0.04 ml", "on slices 4 to 5 lie outside"),
        (rectangle(3, 1, 10, 20), (3,), "0.02 ml", "on slice 4 lie outside"),
        (WHOLE, tuple(range(-1, 12)), "0.2 ml", "1 slice before the first"),
        (WHOLE, tuple(range(13)), "0.2 ml", "1 slice after the last"),
    ],
    ids=["columns", "rows", "before", "after"],
)
def test_a_part_outside_the_image_is_told(draw: Draw, ring: Any, planes: Any, lost: str, where: str) -> None:
    drawing = draw()
    for k in planes:
        drawing.contour(k, ring)
    (warning,) = drawing.read().warnings
    assert lost in warning
    assert where in warning


def test_a_large_part_outside_the_image_is_refused(draw: Draw) -> None:
    for planes, ring in (((3,), rectangle(-5, 3, 10, 10)), ((-2, -1), WHOLE), ((3,), rectangle(100000, 3, 10, 10))):
        drawing = draw()
        for k in planes:
            drawing.contour(k, ring)
        with pytest.raises(ContourOutsideImage):
            drawing.read()
    with pytest.raises(ContourOutsideImage):
        draw().contour(3, [(3, 3), (1e7, 3), (3, 9)]).read()


def test_regions_of_one_name_are_told_apart_by_number(draw: Draw) -> None:
    drawing = draw().structure("GTV").contour(3, WHOLE).structure("GTV").contour(3, INNER)
    with pytest.raises(AmbiguousSeries, match="#1, #2"):
        drawing.read()
    assert drawing.area(drawing.read(structure_name="#2"), 3) == 36


def test_a_structure_set_that_names_only_images_is_found(draw: Draw) -> None:
    drawing = draw().contour(3, WHOLE)
    drawing.references_series = False
    assert drawing.area(drawing.read(), 3) == 100


def test_the_reader_of_contours_checks_the_patient(draw: Draw) -> None:
    drawing = draw().contour(3, WHOLE)
    study = read_study([*drawing.files, drawing.save()])
    read_contour(study, ContourRequest(), drawing.grid, expected_patient=ExpectedPatient(patient_id="SYNTHETIC"))
    with pytest.raises(PatientMismatch):
        read_contour(study, ContourRequest(), drawing.grid, expected_patient=ExpectedPatient(patient_id="OTHER"))


def test_measure_contour_prints_what_was_left_out_and_checks_the_patient(draw: Draw) -> None:
    drawing = draw().contour(3, WHOLE).contour(3, WHOLE)
    drawing.path = drawing.series.directory / "structures"
    drawing.save()
    command = ["measure-contour", str(drawing.series.directory), "--modality", "CT", "--patient-id"]
    shown = CliRunner().invoke(app, [*command, "SYNTHETIC"])
    assert "tumor_volume_ml        0.2000" in shown.stdout
    assert "stored more than once, on slice 4" in shown.stdout
    refused = CliRunner().invoke(app, [*command, "OTHER"])
    assert isinstance(refused.exception, PatientMismatch) or refused.exit_code != 0
