"""Cards for the EHR: which report a patient has, which cards were given, and which tokens were shown."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import CardNotFound
from oncoresponse.storage.database_engine import database_engine, migrate_database
from oncoresponse.storage.database_errors import known_database_errors
from oncoresponse.storage.delivery_rows import database_time_ms

_AREA = "cards"
# Of the reports of a patient with exactly this issuer: one that was withdrawn, moved to another person or replaced by a
# newer assessment is none. Beginning with the patient, so that it costs the same however many reports there are.
_NEWEST = """
SELECT p.assessment, r.id, r.content, f.version, r.last_updated_ms
FROM chart_patient p
JOIN fhir_report f ON f.assessment = p.assessment AND f.withdrawn = 0 AND f.moved = 0
JOIN fhir_use u ON u.assessment = p.assessment AND u.type = 'DiagnosticReport'
JOIN fhir_resource r ON r.id = u.id AND r.deleted = 0
WHERE p.patient_id = :patient_id AND p.issuer_of_patient_id = :issuer
AND NOT EXISTS (SELECT 1 FROM report_replacement x WHERE x.replaced = p.assessment)
AND r.tenant = ''
AND (:judged = 0 OR EXISTS (SELECT 1 FROM report_judgement j WHERE j.assessment = p.assessment))
ORDER BY r.last_updated_ms DESC, r.id LIMIT 1
"""


@dataclass(frozen=True)
class ReportForCard:
    """The newest report of a patient.

    Attributes:
        assessment: Identifier, without ``assessments/``.
        version: Of the report.
        report: Id of the DiagnosticReport.
        content: It, as JSON.
    """

    assessment: str
    version: int
    report: str
    content: str


@dataclass(frozen=True)
class GivenCard:
    """A card that an EHR was given.

    Attributes:
        card: UUID.
        client: Who got it.
        assessment, version: What it is about.
        physician: Who looked at the chart, as the client names them.
    """

    card: str
    client: str
    assessment: str
    version: int
    physician: str


class CardStore:
    """All methods block; any thread and any number of processes may use them.

    Args:
        database_url: ``sqlite:///...`` or ``postgresql://...``, as in the server's settings.
        judgement_first: Setting of the installation: a report is for a card once a physician has judged without it.

    Raises:
        PeerUnavailable, Busy, DiskFull: From every method: the database does not answer, is held, or cannot write.
    """

    def __init__(self, database_url: str, *, judgement_first: bool = False) -> None:
        self._engine = database_engine(database_url)
        self._judgement_first = int(judgement_first)

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

    def newest_report(self, patients: Sequence[IndexedPatient]) -> ReportForCard | None:
        """Of a patient with these identifiers, each with exactly its issuer; ``None`` where there is none."""
        found: list[tuple[int, ReportForCard]] = []
        with known_database_errors(), self._engine.connect() as connection:
            for patient in patients:
                values = {
                    "patient_id": patient.patient_id,
                    "issuer": patient.issuer_of_patient_id,
                    "judged": self._judgement_first,
                }
                row = connection.execute(text(_NEWEST), values).first()
                if row is not None:
                    found.append((int(row[4]), ReportForCard(row[0], int(row[3]), row[1], row[2])))
        return max(found, key=lambda item: item[0])[1] if found else None

    def give(self, card: GivenCard) -> None:
        """Keep that a card was given; the same again changes nothing."""
        with known_database_errors(), self._engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO cds_card (card, client, assessment, report_version, physician, "
                    "create_time_ms, outcome, override_reason) VALUES (:card, :client, :assessment, :version, "
                    ":physician, :now, '', '') ON CONFLICT DO NOTHING"
                ),
                {**vars(card), "now": database_time_ms(connection)},
            )

    def given(self, card: str, client: str) -> GivenCard:
        """A card.

        Raises:
            CardNotFound: This client was given none of this name.
        """
        with known_database_errors(), self._engine.connect() as connection:
            row = connection.execute(
                text(
                    "SELECT card, client, assessment, report_version, physician FROM cds_card "
                    "WHERE card = :card AND client = :client"
                ),
                {"card": card, "client": client},
            ).first()
        if row is None:
            raise CardNotFound("This client was given no card of this name.")
        return GivenCard(row[0], row[1], row[2], int(row[3]), row[4])

    def note_outcome(self, card: str, outcome: str, override_reason: str) -> None:
        """What was done with a card; the first that was said stays."""
        with known_database_errors(), self._engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE cds_card SET outcome = :outcome, override_reason = :reason "
                    "WHERE card = :card AND outcome = ''"
                ),
                {"card": card, "outcome": outcome, "reason": override_reason},
            )

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
        """Forget the cards of assessments."""
        if not assessments:
            return
        with known_database_errors(), self._engine.begin() as connection:
            connection.execute(
                text("DELETE FROM cds_card WHERE assessment = :assessment"),
                [{"assessment": each} for each in sorted(assessments)],
            )
