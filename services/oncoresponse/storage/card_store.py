"""Cards for the EHR: which report a patient has, which cards were given, and which tokens were shown."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.storage.database_engine import database_engine, migrate_database
from oncoresponse.storage.database_errors import known_database_errors
from oncoresponse.storage.delivery_rows import database_time_ms

_AREA = "cards"
# Of the reports of a patient with exactly this issuer, by each model that of the newest study: one that was withdrawn,
# moved to another person or replaced by a newer assessment is none. Beginning with the patient, so that it costs the
# same however many reports there are.
_NEWEST = """
SELECT assessment, version, id, content, judged, model, study_date, last_updated_ms FROM (
    SELECT p.assessment, f.version, r.id, r.content, c.model, c.study_date, r.last_updated_ms,
    CASE WHEN EXISTS (SELECT 1 FROM report_judgement j WHERE j.assessment = p.assessment) THEN 1 ELSE 0 END AS judged,
    ROW_NUMBER() OVER (PARTITION BY c.model ORDER BY c.study_date DESC, r.last_updated_ms DESC, r.id) AS place
    FROM chart_patient p
    JOIN chart_assessment c ON c.assessment = p.assessment
    JOIN fhir_report f ON f.assessment = p.assessment AND f.withdrawn = 0 AND f.moved = 0
    JOIN fhir_use u ON u.assessment = p.assessment AND u.type = 'DiagnosticReport'
    JOIN fhir_resource r ON r.id = u.id AND r.deleted = 0
    WHERE p.patient_id = :patient_id AND p.issuer_of_patient_id = :issuer
    AND NOT EXISTS (SELECT 1 FROM report_replacement x WHERE x.replaced = p.assessment)
    AND r.tenant = ''
) AS of_models WHERE place = 1
"""
_LAST_WORD = """
SELECT outcome, override_reason, comment, outcome_time_ms FROM cds_feedback WHERE card = :card
ORDER BY outcome_time_ms DESC, create_time_ms DESC, outcome DESC, override_reason DESC LIMIT 1
"""


@dataclass(frozen=True)
class ReportForCard:
    """The report of the newest study that a model has assessed of a patient.

    Attributes:
        assessment: Identifier, without ``assessments/``.
        version: Of the report.
        report: Id of the DiagnosticReport.
        content: It, as JSON.
        withheld: Whether what the model says is kept back until a physician has judged.
    """

    assessment: str
    version: int
    report: str
    content: str
    withheld: bool = False


@dataclass(frozen=True)
class GivenCard:
    """A card that an EHR was given.

    Attributes:
        card: UUID.
        client: Who got it.
        assessment, version: What it is about.
        physician: Who looked at the chart, as the client names them.
        answer_withheld: Whether it said only that a judgement is awaited.
    """

    card: str
    client: str
    assessment: str
    version: int
    physician: str
    answer_withheld: bool = False


@dataclass(frozen=True)
class CardWord:
    """What a physician said to a card.

    Attributes:
        outcome: ``accepted`` or ``overridden``.
        override_reason: Its code; behind its system and ``|`` where that is not the one of the cards; empty for none.
        comment: In the physician's words; never logged.
        time_ms: When, milliseconds since 1970.
    """

    outcome: str
    override_reason: str
    comment: str
    time_ms: int


class CardStore:
    """All methods block; any thread and any number of processes may use them.

    Args:
        database_url: ``sqlite:///...`` or ``postgresql://...``, as in the server's settings.
        judgement_first: Setting of the installation: what the model says is withheld until a physician has judged.

    Raises:
        PeerUnavailable, Busy, DiskFull: From every method: the database does not answer, is held, or cannot write.
    """

    def __init__(self, database_url: str, *, judgement_first: bool = False) -> None:
        self._engine = database_engine(database_url)
        self._judgement_first = judgement_first

    def prepare(self) -> None:
        """Make the tables where there are none. Needs those of chart, reports and resources.

        Raises:
            SchemaTooNew: A newer release has written them.
        """
        with known_database_errors():
            migrate_database(self._engine, _AREA)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def newest_reports(self, patients: Sequence[IndexedPatient]) -> list[ReportForCard]:
        """Of a patient with these identifiers, each with exactly its issuer: one by each model, newest study first."""
        found: dict[str, tuple[str, int, ReportForCard]] = {}
        with known_database_errors(), self._engine.connect() as connection:
            for patient in patients:
                values = {"patient_id": patient.patient_id, "issuer": patient.issuer_of_patient_id}
                for row in connection.execute(text(_NEWEST), values):
                    withheld = self._judgement_first and not row.judged
                    report = ReportForCard(row.assessment, int(row.version), row.id, row.content, withheld)
                    newest = (str(row.study_date), int(row.last_updated_ms), report)
                    found[row.model] = max(newest, found.get(row.model, newest), key=_age)
        return [report for _, _, report in sorted(found.values(), key=_age, reverse=True)]

    def give(self, cards: Sequence[GivenCard]) -> None:
        """Keep that cards were given; the same again changes nothing."""
        with known_database_errors(), self._engine.begin() as connection:
            now = database_time_ms(connection)
            for card in cards:
                connection.execute(
                    text(
                        "INSERT INTO cds_card (card, client, assessment, report_version, physician, create_time_ms, "
                        "outcome, override_reason, answer_withheld) VALUES (:card, :client, :assessment, :version, "
                        ":physician, :now, '', '', :withheld) ON CONFLICT DO NOTHING"
                    ),
                    {**vars(card), "withheld": int(card.answer_withheld), "now": now},
                )

    def given(self, card: str, client: str) -> GivenCard | None:
        """A card; ``None`` where this client was given none of this name."""
        with known_database_errors(), self._engine.connect() as connection:
            row = connection.execute(
                text(
                    "SELECT card, client, assessment, report_version, physician, answer_withheld FROM cds_card "
                    "WHERE card = :card AND client = :client"
                ),
                {"card": card, "client": client},
            ).first()
        return None if row is None else GivenCard(row[0], row[1], row[2], int(row[3]), row[4], bool(row[5]))

    def was_shown_answer(self, assessment: str, physician: str) -> bool:
        """Whether a card has told a physician what the model says."""
        statement = text(
            "SELECT 1 FROM cds_card WHERE physician = :physician AND assessment = :assessment AND answer_withheld = 0"
        )
        values = {"physician": physician, "assessment": assessment}
        with known_database_errors(), self._engine.connect() as connection:
            return connection.execute(statement, values).first() is not None

    def note(self, card: GivenCard, word: CardWord) -> CardWord:
        """Keep what was said to a card; the same again changes nothing.

        Returns:
            The last word to it, by the time at which it was said.
        """
        with known_database_errors(), self._engine.begin() as connection:
            now = database_time_ms(connection)
            said = {**vars(word), "time_ms": min(word.time_ms, now)}
            values = {**said, "card": card.card, "assessment": card.assessment, "now": now}
            connection.execute(
                text(
                    "INSERT INTO cds_feedback (card, assessment, outcome, override_reason, comment, outcome_time_ms, "
                    "create_time_ms) VALUES (:card, :assessment, :outcome, :override_reason, :comment, :time_ms, :now) "
                    "ON CONFLICT DO NOTHING"
                ),
                values,
            )
            row = connection.execute(text(_LAST_WORD), values).one()
            last = CardWord(row[0], row[1], row[2], int(row[3]))
            connection.execute(
                text("UPDATE cds_card SET outcome = :outcome, override_reason = :reason WHERE card = :card"),
                # A reason of another system is longer than what this column takes.
                {**vars(last), "reason": last.override_reason[:64], "card": card.card},
            )
        return last

    def use_token(self, client: str, token_id: str, end_time_ms: int) -> bool:
        """Whether a token has not been shown before; from now on it has. Those that have ended are forgotten."""
        digest = hashlib.sha256(f"{client}\n{token_id}".encode()).hexdigest()
        with known_database_errors(), self._engine.begin() as connection:
            used = connection.execute(
                text("INSERT INTO cds_token (digest, end_time_ms) VALUES (:digest, :end) ON CONFLICT DO NOTHING"),
                {"digest": digest, "end": end_time_ms},
            )
            # With time for clocks that differ.
            connection.execute(
                text("DELETE FROM cds_token WHERE end_time_ms < :now - 600000"), {"now": database_time_ms(connection)}
            )
            return used.rowcount == 1

    def delete(self, assessments: Collection[str]) -> None:
        """Forget the cards of assessments, and what was said to them."""
        if not assessments:
            return
        with known_database_errors(), self._engine.begin() as connection:
            for table in ("cds_feedback", "cds_card"):
                connection.execute(
                    text(f"DELETE FROM {table} WHERE assessment = :assessment"),  # noqa: S608 - one of the two above
                    [{"assessment": each} for each in sorted(assessments)],
                )


def _age(found: tuple[str, int, ReportForCard]) -> tuple[str, int]:
    """By the date of the study, then by when its report was written."""
    return found[:2]
