"""Options by which ``oncoresponse assess`` names lesions, and the lesions of a result as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from oncoresponse.case.readable_numbers import spoken_value
from oncoresponse.errors import ConfigurationError
from oncoresponse.v1 import assessment_pb2, lesion_pb2, study_pb2

_COLUMNS = (
    ("longest_axial_diameter", "Longest diameter"),
    ("suv_max", "SUVmax"),
    ("mean_density", "Mean density"),
    ("mean_intensity", "Mean intensity"),
)
_TOTALS = (
    ("total_lesion_volume", "volume"),
    ("total_metabolic_tumor_volume", "MTV"),
    ("total_lesion_glycolysis", "TLG"),
    ("sum_of_longest_axial_diameters", "sum of longest axial diameters"),
)


def lesion_selections(
    points: Sequence[str], boxes: Sequence[str], contours: Sequence[study_pb2.SuppliedContour], *, rough: bool
) -> tuple[assessment_pb2.LesionSelection, ...]:
    """The lesions that the options name: points first, then boxes, then contours, each in the order given.

    Args:
        points: ``L,P,S`` in mm.
        boxes: Two opposite corners, ``L,P,S,L,P,S`` in mm.
        contours: In the study.
        rough: Segment around the contours instead of using them.

    Raises:
        ConfigurationError: A point or box is not written so.
    """
    selection = assessment_pb2.LesionSelection
    return (
        *(selection(point=_positions(text, 1)[0]) for text in points),
        *(selection(box=_box(*_positions(text, 2))) for text in boxes),
        *(selection(rough_contour=item) if rough else selection(contour=item) for item in contours),
    )


def supplied_contours(
    sop_instance_uid: str, structures: Sequence[str], *, every_structure: bool, wanted: bool
) -> tuple[study_pb2.SuppliedContour, ...]:
    """The contours that the options name; none where they name none.

    Args:
        sop_instance_uid: Of the RTSTRUCT or SEG; empty for the only one.
        structures: Names of structures, each one lesion.
        every_structure: Every structure of the object is a lesion.
        wanted: A contour is wanted also where nothing says which one.

    Raises:
        ConfigurationError: Structures are named, and every one is wanted.
    """
    if every_structure and structures:
        raise ConfigurationError("Give --structure, once for each lesion, or --every-structure.")
    if every_structure:
        return (study_pb2.SuppliedContour(sop_instance_uid=sop_instance_uid, every_structure=True),)
    if structures or sop_instance_uid or wanted:
        names = structures or ("",)
        return tuple(
            study_pb2.SuppliedContour(sop_instance_uid=sop_instance_uid, structure_name=name) for name in names
        )
    return ()


def lesion_table(result: assessment_pb2.AssessmentResult) -> Table:
    """One row for each lesion."""
    measured = {item.name for lesion in result.lesions for item in lesion.measures}
    columns = [(name, title) for name, title in _COLUMNS if name in measured]
    table = Table("", "Structure", "Volume", *(title for _, title in columns), "", box=None)
    for lesion in result.lesions:
        # Some units of UCUM have brackets, which rich would take for markup.
        values = {item.name: escape(spoken_value(item.value, item.unit)) for item in lesion.measures}
        table.add_row(
            str(lesion.number),
            # Outside text: neither markup nor control characters of a terminal.
            escape("".join(character for character in lesion.label if character.isprintable())),
            f"{lesion.volume_ml:.1f} ml",
            *(values.get(name, "") for name, _ in columns),
            "needs review" if lesion.needs_review else "",
        )
    return table


def totals_sentence(result: assessment_pb2.AssessmentResult) -> str:
    """The totals of all lesions in words."""
    return f"{len(result.lesions)} lesions together: {', '.join(_totals(result))}."


def _totals(result: assessment_pb2.AssessmentResult) -> Iterator[str]:
    totals = {item.name: item for item in result.totals}
    for name, words in _TOTALS:
        if (item := totals.get(name)) is not None:
            yield f"{words} {spoken_value(item.value, item.unit)}"


def _box(first: lesion_pb2.PatientPosition, second: lesion_pb2.PatientPosition) -> lesion_pb2.LesionBox:
    low, high = lesion_pb2.PatientPosition(), lesion_pb2.PatientPosition()
    for name in ("x_mm", "y_mm", "z_mm"):
        setattr(low, name, min(getattr(first, name), getattr(second, name)))
        setattr(high, name, max(getattr(first, name), getattr(second, name)))
    return lesion_pb2.LesionBox(low=low, high=high)


def _positions(text: str, count: int) -> list[lesion_pb2.PatientPosition]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 * count:
        raise ConfigurationError(
            f"A lesion {'point' if count == 1 else 'box'} is {3 * count} numbers with commas between: L, P, S in mm."
        )
    triples = zip(*[iter(numbers)] * 3, strict=True)
    return [lesion_pb2.PatientPosition(x_mm=x, y_mm=y, z_mm=z) for x, y, z in triples]
