"""Tables of visits in, tables of forecasts out."""

from __future__ import annotations

import csv
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from oncoresponse.comparison.forecast import Forecast, ForecastConstants, forecast, one_a_day, shipped_constants
from oncoresponse.comparison.growth import Visit
from oncoresponse.errors import PredictionTableInvalid

COLUMNS = {
    "patient": ("patient", "patient_id", "id"),
    "day": ("day", "days"),
    "diameter": ("diameter_mm", "diameter", "longest_diameter_mm", "target_lesion_long_diameter_mm"),
}
"""Names a column may have, in any case. A column ``study`` tells patients of the same name apart; others are not looked
at."""
TOO_SMALL = "too small to measure"
NOT_EVALUABLE = "not evaluable"
DAY_HINT = "Count days from any fixed day; a date is none."
SIZE_HINT = "Write mm with a decimal point; a lesion may also be TOO SMALL TO MEASURE or NOT EVALUABLE."
OUTPUT_COLUMNS = ("patient", "day", "estimate", "low", "high", "note")


@dataclass(frozen=True)
class PatientVisits:
    """Visits of one patient.

    Attributes:
        study: As in the table; empty where it has no such column.
        patient: As in the table.
        visits: Measured or too small to measure, one a day, by day.
        wanted_days: Days whose diameter is empty in the table: those to forecast.
    """

    study: str
    patient: str
    visits: tuple[Visit, ...]
    wanted_days: tuple[float, ...]


@dataclass(frozen=True)
class VisitTable:
    """A table that was read.

    Attributes:
        patients: In the order of the table.
        ignored_columns: Columns that were not looked at.
        not_evaluable: Rows whose lesion could not be evaluated, or whose day is not known; they count as no visit.
        several_a_day: Days of a patient with more than one measurement; their mean is taken.
    """

    patients: tuple[PatientVisits, ...]
    ignored_columns: tuple[str, ...]
    not_evaluable: int
    several_a_day: int


def read_visits(path: Path) -> VisitTable:
    """Read a CSV file with one row a visit: patient, day, diameter in mm.

    A diameter is a number, ``too small to measure``, ``not evaluable``, or empty where it is wanted.

    Raises:
        PredictionTableInvalid: A column is missing or given twice, a patient is missing, a cell is no number, or the
            file cannot be read. The
            message names columns and line numbers, never the content of a cell.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            places = {name: _place(header, names) for name, names in COLUMNS.items()}
            study = next((place for place, name in enumerate(header) if name.casefold() == "study"), None)
            found: dict[tuple[str, str], tuple[list[Visit], list[float]]] = {}
            unseen = 0
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise PredictionTableInvalid(
                        f"Line {reader.line_num} has {len(cells)} cells, the table {len(header)} columns. Correct it; "
                        "a number with a decimal comma counts as two cells.",
                        line=reader.line_num,
                    )
                key = (cells[study].strip() if study is not None else "", cells[places["patient"]].strip())
                if not key[1]:
                    # Without a name, visits of different patients would be taken for those of one.
                    raise PredictionTableInvalid(
                        f"Line {reader.line_num} names no patient. Name one in every line.", line=reader.line_num
                    )
                visits, wanted = found.setdefault(key, ([], []))
                text = cells[places["diameter"]].strip().casefold()
                if text == NOT_EVALUABLE or not cells[places["day"]].strip():
                    unseen += 1
                    continue
                day = _number(cells[places["day"]], header[places["day"]], DAY_HINT, reader.line_num)
                if not text:
                    wanted.append(day)
                elif text == TOO_SMALL:
                    visits.append(Visit(day=day, diameter_mm=None))
                else:
                    column = header[places["diameter"]]
                    visits.append(Visit(day=day, diameter_mm=_size(text, column, reader.line_num)))
    except OSError as error:
        raise PredictionTableInvalid(f"The table cannot be opened ({error.strerror}). Check its path.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise PredictionTableInvalid("The table cannot be read. Give a comma-separated file in UTF-8.") from error
    if not found:
        raise PredictionTableInvalid("The table has no row beside its column names. Add one row a visit.")
    used = {*places.values(), *([] if study is None else [study])}
    return VisitTable(
        patients=tuple(
            PatientVisits(name[0], name[1], tuple(one_a_day(visits)), tuple(sorted(set(wanted))))
            for name, (visits, wanted) in found.items()
        ),
        ignored_columns=tuple(name for place, name in enumerate(header) if place not in used),
        not_evaluable=unseen,
        several_a_day=sum(
            count > 1 for visits, _ in found.values() for count in Counter(visit.day for visit in visits).values()
        ),
    )


def forecast_rows(
    table: VisitTable, *, every_visit: bool = False, constants: ForecastConstants | None = None
) -> tuple[list[tuple[PatientVisits, Forecast]], int]:
    """Patient and forecast, in the order of the table; and the number of patients of whom nothing could be said.

    Args:
        table: What :func:`read_visits` gave.
        every_visit: Every visit from those before it, to compare with what was measured. Otherwise the days whose
            diameter is empty; where a patient has none, the next visit: as long after the last one as the patient's
            visits usually are apart.
        constants: Those that come with the software when not given.
    """
    constants = shipped_constants() if constants is None else constants
    rows: list[tuple[PatientVisits, Forecast]] = []
    without = 0
    for entry in table.patients:
        days = _days(entry, every_visit, constants)
        possible = [day for day in days if any(visit.day < day for visit in entry.visits)]
        without += not possible
        rows += [(entry, forecast(entry.visits, day, constants)) for day in possible]
    return rows, without


def _days(entry: PatientVisits, every_visit: bool, constants: ForecastConstants) -> Sequence[float]:
    if every_visit:
        return [visit.day for visit in entry.visits[1:]]
    if entry.wanted_days or not entry.visits:
        return entry.wanted_days
    days = [visit.day for visit in entry.visits]
    apart = [later - earlier for earlier, later in pairwise(days)]
    return [days[-1] + (statistics.median(apart) if apart else constants.usual_days)]


def write_forecasts(path: Path, rows: Sequence[tuple[PatientVisits, Forecast]]) -> None:
    """Write forecasts as CSV: sizes in mm, to 0.01; the study last, where the table names one.

    The file appears whole or not at all.
    """
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        with_study = any(entry.study for entry, _ in rows)
        writer.writerow((*OUTPUT_COLUMNS, *(["study"] if with_study else [])))
        for entry, found in rows:
            sizes = (f"{value:.2f}" for value in (found.estimate_mm, found.low_mm, found.high_mm))
            writer.writerow(
                [entry.patient, f"{found.day:g}", *sizes, found.note, *([entry.study] if with_study else [])]
            )
    partial.replace(path)


def _place(header: Sequence[str], names: Sequence[str]) -> int:
    places = [place for place, name in enumerate(header) if name.casefold() in names]
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise PredictionTableInvalid("The columns are not separated by commas. Save the table comma-separated.")
    if len(places) != 1:
        count = "no column" if not places else "more than one column"
        raise PredictionTableInvalid(
            f"The table has {count} called {' or '.join(names)}. Give one; the others needed are patient, day and "
            "diameter_mm."
        )
    return places[0]


def _number(text: str, column: str, hint: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise PredictionTableInvalid(f"Column '{column}' is not a number in line {line}. {hint}", line=line)
    return value


def _size(text: str, column: str, line: int) -> float:
    value = _number(text, column, SIZE_HINT, line)
    if value < 0:
        raise PredictionTableInvalid(f"Column '{column}' is below 0 in line {line}. Correct it.", line=line)
    return value
