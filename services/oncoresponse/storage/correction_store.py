"""Contours that a person corrected: who, when, of which lesion, what was said, and the mask that came of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Row, bindparam, text

from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.storage.database_engine import database_engine, migrate_database
from oncoresponse.storage.database_errors import known_database_errors

_AREA = "corrections"
_COLUMNS = "correction, assessment, lesion, parent, corrected_by, time_ms, hand, mask, volume_ml, volume_before_ml"


@dataclass(frozen=True)
class StoredCorrection:
    """A row.

    Attributes:
        correction: Identifier.
        assessment: Identifier, without ``assessments/``.
        lesion: Number, from 1.
        parent: Identifier of the correction it went on from; empty for the contour of the assessment.
        corrected_by: Name of the caller.
        time_ms: Milliseconds since 1970 (UTC).
        hand: ``oncoresponse.v1.ContourHand`` as JSON.
        mask: On the grid of the contoured image.
        volume_ml, volume_before_ml: Of the mask, and of what it went on from.
    """

    correction: str
    assessment: str
    lesion: int
    parent: str
    corrected_by: str
    time_ms: int
    hand: str
    mask: StoredArtifact
    volume_ml: float
    volume_before_ml: float


class CorrectionStore:
    """All methods block; any thread may use them. Errors are those of the project.

    Args:
        database_url: Of the assessments.
    """

    def __init__(self, database_url: str) -> None:
        self._engine = database_engine(database_url)

    def prepare(self) -> None:
        """Make the table where there is none.

        Raises:
            SchemaTooNew: A newer release has written it.
        """
        with known_database_errors():
            migrate_database(self._engine, _AREA)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def add(self, correction: StoredCorrection) -> None:
        """Keep one."""
        names = _COLUMNS.split(", ")
        statement = text(
            f"INSERT INTO contour_correction ({_COLUMNS}) VALUES ({', '.join(f':{name}' for name in names)})"  # noqa: S608
        )
        values = {**vars(correction), "mask": correction.mask.model_dump_json()}
        with known_database_errors(), self._engine.begin() as connection:
            connection.execute(statement, values)

    def of(self, assessment: str) -> list[StoredCorrection]:
        """Those of an assessment, oldest first."""
        query = text(
            f"SELECT {_COLUMNS} FROM contour_correction WHERE assessment = :assessment ORDER BY time_ms, correction"  # noqa: S608
        )
        with known_database_errors(), self._engine.connect() as connection:
            return [_stored(row) for row in connection.execute(query, {"assessment": assessment})]

    def get(self, assessment: str, correction: str) -> StoredCorrection | None:
        """One of an assessment; ``None`` where there is none of that name."""
        return next((each for each in self.of(assessment) if each.correction == correction), None)

    def total(self) -> int:
        """How many there are."""
        with known_database_errors(), self._engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM contour_correction")).scalar_one())

    def delete(self, assessments: Collection[str]) -> None:
        """Forget those of these assessments."""
        statement = text("DELETE FROM contour_correction WHERE assessment IN :wanted").bindparams(
            bindparam("wanted", expanding=True)
        )
        with known_database_errors(), self._engine.begin() as connection:
            connection.execute(statement, {"wanted": sorted(assessments)})


def _stored(row: Row[tuple[object, ...]]) -> StoredCorrection:
    values = dict(row._mapping)
    return StoredCorrection(**{**values, "mask": StoredArtifact.model_validate_json(str(values["mask"]))})
