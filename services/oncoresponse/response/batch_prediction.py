"""Predictions for a table of patients, so that a hospital can try a model on patients whose outcome it knows.

Every row passes through :meth:`ResponseModel.predict`, as a patient of the service does, with the same abstention and
uncertainty.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from oncoresponse.case.answer_words import answer_line
from oncoresponse.case.prediction import Answer, Prediction
from oncoresponse.errors import PredictionTableInvalid
from oncoresponse.response.input_provenance import InputProvenance, read_provenance
from oncoresponse.response.measures_only import MeasuresOnlyModel
from oncoresponse.response.model import ResponseModel
from oncoresponse.response.task import ResponseInput, with_derived
from oncoresponse.response.training_fingerprints import TrainingFingerprints
from oncoresponse.response.whole_lesion import whole_lesion_variants

ID_COLUMN = "id"
"""Column that is handed through to the output untouched; where a table has none, ``patient_id`` is. It reaches no
message or log, and no model except as the fingerprint by which a training patient is recognized."""

PATIENT_COLUMN = "patient_id"

OUTPUT_COLUMNS = (
    ID_COLUMN,
    "answer",
    "answer_text",
    "probability",
    "interval_low",
    "interval_high",
    "interval_level",
    "call_right",
    "call_right_low",
    "call_made",
    "prediction_set",
    "prediction_set_coverage",
    "used_in_training",
    "out_of_distribution",
    "out_of_distribution_score",
    "inputs_outside_training_range",
    "reasons",
    "reasons_text",
    "provenance",
    "logistic_regression_probability",
    "outcome",
    "model",
    "model_version",
    "model_sha256",
    "research_use",
)
"""Columns of the output. ``out_of_distribution_score`` is the distance over its limit: above 1 is outside."""

HIGH_SUFFIX = "_high"
"""Ends the name of a column with the upper bound of an input whose value is a lower bound, because the images show only
a part of the tumor. ``oncoresponse measure-contour`` prints both."""

_COLUMN = re.compile(r"(?P<name>[^\[\]]*[^\[\]\s])\s*(?:\[(?P<unit>[^\[\]]*)\])?")
_LIST_SEPARATOR = ";"


@dataclass(frozen=True)
class PredictionTable:
    """A table that was read and checked.

    Attributes:
        identifiers: One for each row, as found; empty strings where the table has no column of them.
        rows: Values by input name, in the units of the model; NaN where the cell was empty.
        highs: Upper bounds by input name, where a row gives any.
        ignored_columns: Columns that are no inputs and were not looked at.
        provenance: How they were made, by the file beside the table; ``None`` where there is none.
    """

    identifiers: tuple[str, ...]
    rows: tuple[dict[str, float], ...]
    highs: tuple[dict[str, float], ...]
    ignored_columns: tuple[str, ...] = ()
    provenance: InputProvenance | None = None


def read_prediction_table(path: Path, inputs: Sequence[ResponseInput]) -> PredictionTable:
    """Read a CSV file (UTF-8, comma-separated, first line names the columns).

    A column is called as its input is in the model's task file. It may carry the unit, ``lesion_volume [ml]``, which is
    then compared with that of the task file; without it the values are taken to be in that unit. How the values were
    made stands in a file beside the table (:mod:`~oncoresponse.response.input_provenance`).

    Args:
        path: The file.
        inputs: What the model needs: every one has to be a column, or the columns that it is derived from. An input of
            size may have a second one, its name with :data:`HIGH_SUFFIX`. Other columns are not looked at.

    Raises:
        PredictionTableInvalid: A column is missing, given twice or in another unit; a row has too few or too
            many cells, or a cell that is not a number; or the file cannot be read. The message names columns and row
            numbers, never the content of a cell.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            columns, ignored = _columns(next(reader, []), inputs)
            bounds = {high: high.removesuffix(HIGH_SUFFIX) for high in _upper_columns(inputs)}
            identifiers, rows, highs = [], [], []
            for cells in reader:
                if not cells:
                    continue
                identifier, values = _row(cells, columns, reader.line_num)
                identifiers.append(identifier)
                rows.append(with_derived(inputs, {name: value for name, value in values.items() if name not in bounds}))
                highs.append(_upper_bounds(values, bounds, reader.line_num))
    except OSError as error:
        raise PredictionTableInvalid(
            f"The table cannot be opened ({error.strerror}). Check its path and permissions."
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise PredictionTableInvalid("The table cannot be read. Give a comma-separated file in UTF-8.") from error
    if not rows:
        raise PredictionTableInvalid("The table has no row beside its column names. Add one row a patient.")
    return PredictionTable(
        tuple(identifiers), tuple(rows), tuple(highs), ignored, read_provenance(path, PredictionTableInvalid)
    )


def predict_table(
    model: ResponseModel | MeasuresOnlyModel,
    table: PredictionTable,
    progress: Callable[[int], None] | None = None,
    *,
    fingerprint_key: bytes | None = None,
) -> list[Prediction]:
    """One prediction for each row, in the order of the table.

    Args:
        model: An opened model.
        table: What :func:`read_prediction_table` gave for this model's inputs.
        progress: Called with the number of rows done.
        fingerprint_key: The site's key: rows whose ``id`` is that of a training patient are then recognized too, beside
            those whose inputs all are.

    Raises:
        QuantityMismatch, SettingsMismatch: The table was made otherwise than that of the training patients.
    """
    fingerprints = TrainingFingerprints.of_model(model.folder)
    predictions = []
    rows = zip(table.identifiers, table.rows, table.highs, strict=True)
    for number, (identifier, values, high) in enumerate(rows, start=1):
        used = fingerprints.knows_row(model.inputs, values)
        used = used or fingerprints.knows_identifier(identifier, fingerprint_key)
        predictions.append(
            model.predict(
                values,
                values,
                whole_lesion=whole_lesion_variants(values, model.inputs, high),
                provenance=table.provenance,
                used_in_training=used,
            )
        )
        if progress is not None:
            progress(number)
    return predictions


def write_predictions(path: Path, table: PredictionTable, predictions: Sequence[Prediction]) -> None:
    """Write the answers as CSV, one row for each row of the table; the same predictions give the same bytes.

    The file appears whole or not at all.
    """
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, OUTPUT_COLUMNS, lineterminator="\n")
        writer.writeheader()
        for identifier, prediction in zip(table.identifiers, predictions, strict=True):
            writer.writerow({ID_COLUMN: identifier, **_cells(prediction)})
    partial.replace(path)


def _upper_columns(inputs: Sequence[ResponseInput]) -> dict[str, str]:
    """Columns that may hold an upper bound, with their units."""
    sizes = [entry for entry in inputs if entry.physician_group == "size" and entry.log_ratio is None]
    return {f"{entry.name}{HIGH_SUFFIX}": entry.unit for entry in sizes}


def _columns(header: Sequence[str], inputs: Sequence[ResponseInput]) -> tuple[list[str | None], tuple[str, ...]]:
    """Name of the input in each column, ``None`` for one that is not looked at; and the names of those."""
    units = {name: unit for entry in inputs for name, unit in entry.columns.items()}
    expected = ", ".join(f"{name} [{unit}]" for name, unit in units.items())
    parsed = [_COLUMN.fullmatch(cell.strip()) for cell in header]
    names = [match["name"] if match else cell.strip() for match, cell in zip(parsed, header, strict=True)]
    if not set(names) & set(units):
        # A file without column names begins with a patient, who must not be quoted.
        raise PredictionTableInvalid(
            f"The first line names none of the model's inputs. It has to name these columns, separated by commas: "
            f"{expected}; and, if wanted, {ID_COLUMN}."
        )
    if missing := [name for name in units if name not in names]:
        raise PredictionTableInvalid(
            f"The table lacks {_quoted(missing)}. Add what is missing; the model needs {expected}, and nothing is "
            "guessed.",
            missing=",".join(missing),
        )
    units |= _upper_columns(inputs)
    if ID_COLUMN not in names:
        names = [ID_COLUMN if name == PATIENT_COLUMN else name for name in names]
    no_bound = {f"{name}{HIGH_SUFFIX}" for name in units} - units.keys()
    if wrong := [name for name in names if name in no_bound]:
        raise PredictionTableInvalid(
            f"The model does not know {_quoted(wrong)}: only an input of size has an upper bound. Remove it.",
            unknown=",".join(wrong),
        )
    ignored = tuple(name for name in names if name not in units and name != ID_COLUMN)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PredictionTableInvalid(f"The table has {_quoted(twice)} twice. Keep one.", twice=",".join(twice))
    for match, name in zip(parsed, names, strict=True):
        if match and match["unit"] is not None and name in units and match["unit"].strip() != units[name]:
            raise PredictionTableInvalid(
                f"Column '{name}' is in {match['unit'].strip()}; the model needs {units[name]}. Convert it.",
                column=name,
                unit=units[name],
            )
    return [None if name in ignored else name for name in names], ignored


def _row(cells: Sequence[str], columns: Sequence[str | None], line: int) -> tuple[str, dict[str, float]]:
    if len(cells) != len(columns):
        raise PredictionTableInvalid(
            f"Line {line} has {len(cells)} cells, the table {len(columns)} columns. Correct the line.", line=line
        )
    identifier, values = "", {}
    for name, cell in zip(columns, cells, strict=True):
        if name is None:
            continue
        if name == ID_COLUMN:
            identifier = cell
            continue
        try:
            values[name] = float(cell) if cell.strip() else math.nan
        except ValueError:
            raise PredictionTableInvalid(
                f"Column '{name}' is not a number in line {line}. Write numbers with a decimal point, and leave the "
                "cell empty where there is none.",
                column=name,
                line=line,
            ) from None
    return identifier, values


def _upper_bounds(values: dict[str, float], bounds: dict[str, str], line: int) -> dict[str, float]:
    """Upper bound by input name; ``bounds`` names the input of each column that holds one."""
    found = {bounds[name]: value for name, value in values.items() if name in bounds and math.isfinite(value)}
    if wrong := [name for name, value in found.items() if not value >= values[name]]:
        raise PredictionTableInvalid(
            f"Column '{wrong[0]}{HIGH_SUFFIX}' is below '{wrong[0]}' in line {line}. It is the upper bound of it; "
            "leave it empty where the tumor is seen whole.",
            column=f"{wrong[0]}{HIGH_SUFFIX}",
            line=line,
        )
    return found


def _cells(prediction: Prediction) -> dict[str, str]:
    outside, evidence = prediction.outside, prediction.call_evidence
    score = None if outside is None else outside.score
    return {
        "answer": prediction.answer.value,
        "answer_text": answer_line(prediction),
        "probability": _number(prediction.probability),
        "interval_low": _number(prediction.interval_low),
        "interval_high": _number(prediction.interval_high),
        "interval_level": _number(prediction.interval_level),
        "call_right": _number(evidence.right if evidence else None),
        "call_right_low": _number(evidence.right_low if evidence else None),
        "call_made": "" if evidence is None else "yes" if not prediction.abstains else "no",
        "prediction_set": _LIST_SEPARATOR.join(Answer(outcome).value for outcome in prediction.conformal_set),
        "prediction_set_coverage": _number(prediction.conformal_coverage),
        "used_in_training": "yes" if prediction.used_in_training else "no",
        "out_of_distribution": "yes" if outside and outside.is_outside else ("unknown" if score is None else "no"),
        "out_of_distribution_score": _number(score / outside.threshold if outside and score is not None else None),
        "inputs_outside_training_range": _LIST_SEPARATOR.join(outside.inputs_outside_range if outside else ()),
        "reasons": _LIST_SEPARATOR.join(reason.code for reason in prediction.abstain_reasons),
        "reasons_text": " ".join(reason.text for reason in prediction.abstain_reasons),
        "provenance": prediction.provenance,
        "logistic_regression_probability": _number(prediction.baseline.probability if prediction.baseline else None),
        "outcome": prediction.outcome_title,
        "model": prediction.model_name,
        "model_version": prediction.model_version,
        "model_sha256": prediction.model_sha256,
        "research_use": prediction.research_use_statement,
    }


def _number(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _quoted(names: Sequence[str]) -> str:
    return ("column " if len(names) == 1 else "columns ") + ", ".join(f"'{name}'" for name in names)
