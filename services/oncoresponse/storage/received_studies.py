"""What came in by an edge, and what became of it: beside the studies, so that it goes with them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from oncoresponse.case.study_index import IndexedPatient, StudyIndex
from oncoresponse.errors import StudyNotComplete, StudyNotFound
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.kept_headers import KeptHeaders
from oncoresponse.storage.page_position import position_of_token, token_of_row
from oncoresponse.storage.study_database import StudyDatabase
from oncoresponse.storage.study_indexing import ReadObject
from oncoresponse.storage.study_manifest import ManifestInstance

_PREFIX = "studies/"


class ReceivedState(StrEnum):
    """What becomes of it."""

    WAITING = "waiting"
    STARTED = "started"
    KEPT = "kept"
    REFUSED = "refused"


@dataclass(frozen=True)
class ReceivedStudy:
    """A study that came in.

    Attributes:
        study: ``studies/{study}``.
        way: ``c-store`` or ``http``.
        ae_title: Who sent it by C-STORE.
        state: What becomes of it.
        rule: That fits; empty for none.
        assessment: That the rule started; empty for none.
        reason: Reason code of why there is none, or why it waits; empty where there is no reason.
        prior_count: Earlier studies of the patient that were fetched for it.
        complete_time_ns: When it was complete, nanoseconds since 1970 (UTC).
    """

    study: str
    way: str
    ae_title: str
    state: ReceivedState
    rule: str = ""
    assessment: str = ""
    reason: str = ""
    prior_count: int = 0
    complete_time_ns: int = 0


@dataclass(frozen=True)
class StudyContents:
    """What a study holds.

    Attributes:
        sop_instance_uids: By digest of the file, of each instance that has arrived whole.
        patients: Whose they are.
        study_instance_uids: (0020,000D), one unless pieces of several were sent as one.
        tenant: Whose the study is.
        study_date: YYYYMMDD, of a complete study; empty where it is unknown.
    """

    sop_instance_uids: Mapping[str, str]
    patients: tuple[IndexedPatient, ...]
    study_instance_uids: tuple[str, ...]
    tenant: str
    study_date: str


class ReceivedStudies:
    """All methods block; several threads and processes of one machine may use them.

    Args:
        data_directory: As of :class:`~oncoresponse.storage.study_store.StudyStore`, which has made its folders.
        artifacts: Where instances are.
        read: Reads the header of a file where none was kept.
    """

    def __init__(self, data_directory: Path, artifacts: ArtifactStore, read: ReadObject) -> None:
        folder = data_directory / "studies"
        self._database = StudyDatabase(folder / "studies.sqlite")
        self._artifacts = artifacts
        self._headers = KeptHeaders(folder / "parts", artifacts)
        self._read = read

    def note(self, received: ReceivedStudy) -> ReceivedStudy:
        """Note what became of one; the time of its first note stays. What has started an assessment says so for ever.

        Raises:
            StudyNotFound, StudyNotComplete: There is no such study, or not yet.
        """
        study_id = received.study.removeprefix(_PREFIX)
        with self._database.writing() as table:
            if not table.study(study_id).complete:
                raise StudyNotComplete("The study is not complete. Send every instance, then CompleteStudy.")
            table.connection.execute(
                "INSERT INTO received_study (study_id, complete_time_ns, way, ae_title, state, rule, assessment, "
                "reason, prior_count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (study_id) DO UPDATE SET "
                "state = excluded.state, rule = excluded.rule, assessment = excluded.assessment, "
                "reason = excluded.reason, prior_count = excluded.prior_count WHERE state != 'started'",
                (
                    study_id,
                    time.time_ns(),
                    received.way,
                    received.ae_title,
                    received.state.value,
                    received.rule,
                    received.assessment,
                    received.reason,
                    received.prior_count,
                ),
            )
            row = table.connection.execute("SELECT * FROM received_study WHERE study_id = ?", (study_id,)).fetchone()
        return _received(row)

    def of(self, study: str) -> ReceivedStudy | None:
        """What is noted of one; ``None`` for nothing."""
        with self._database.reading() as table:
            row = table.connection.execute(
                "SELECT * FROM received_study WHERE study_id = ?", (study.removeprefix(_PREFIX),)
            ).fetchone()
        return None if row is None else _received(row)

    def totals(self) -> dict[str, int]:
        """How many there are, by state."""
        with self._database.reading() as table:
            rows = table.connection.execute("SELECT state, count(*) FROM received_study GROUP BY state").fetchall()
        return {str(row[0]): int(row[1]) for row in rows}

    def page(
        self,
        page_size: int,
        page_token: str = "",
        *,
        state: ReceivedState | None = None,
        way: str = "",
        tenant: str | None = None,
    ) -> tuple[list[ReceivedStudy], str]:
        """Newest first, with the token of the next page, empty on the last one.

        Args:
            page_size: At most this many.
            page_token: Of the page before, or empty.
            state: Only in this one.
            way: Only what came this way.
            tenant: Who asks; ``None`` for all.

        Raises:
            InvalidRequest: The token is none of ours.
        """
        moment, study_id = position_of_token(page_token)
        with self._database.reading() as table:
            rows = table.connection.execute(
                "SELECT received_study.* FROM received_study JOIN study USING (study_id) "
                "WHERE (received_study.complete_time_ns, received_study.study_id) < (:time, :study_id) "
                "AND (:state IS NULL OR state = :state) AND (:way = '' OR way = :way) "
                "AND (:tenant IS NULL OR tenant = :tenant) "
                "ORDER BY received_study.complete_time_ns DESC, received_study.study_id DESC LIMIT :limit",
                {
                    "time": moment,
                    "study_id": study_id,
                    "state": None if state is None else state.value,
                    "way": way,
                    "tenant": tenant,
                    "limit": page_size + 1,
                },
            ).fetchall()
        token = ""
        if len(rows) > page_size:
            last = rows[page_size - 1]
            token = token_of_row(last["complete_time_ns"], last["study_id"])
        return [_received(row) for row in rows[:page_size]], token

    def contents(self, name: str) -> StudyContents:
        """What a study holds now, complete or not.

        Raises:
            StudyNotFound: There is none of this name.
            ArtifactNotFound, ChecksumMismatch: An index or a file is lost or damaged.
        """
        study_id = name.removeprefix(_PREFIX)
        with self._database.reading() as table:
            study = table.study(study_id)
            rows = table.instances(study_id)
            earlier = None
            if study.supersedes and not study.complete:
                with suppress(StudyNotFound):
                    earlier = table.study(study.supersedes.removeprefix(_PREFIX)).index
        known: dict[str, str] = {}
        patients: set[tuple[str, str]] = set()
        studies: set[str] = set()
        for document in filter(None, (study.index, earlier)):
            index = self._artifacts.read_document(document, StudyIndex)
            for series in index.series:
                studies.add(series.study_instance_uid)
                known |= {item.sha256: item.sop_instance_uid for item in series.objects}
            patients |= {(item.patient_id, item.issuer_of_patient_id) for item in index.patients}
        lacking = (
            ManifestInstance(sha256=row.sha256, size_bytes=row.size_bytes)
            for row in rows
            if row.finished and row.sha256 not in known
        )
        for header in self._headers.of(study_id, lacking, self._read):
            known[header.entry.sha256] = header.entry.sop_instance_uid
            studies.add(header.series.study_instance_uid)
            patients.add((header.patient.patient_id, header.patient.issuer_of_patient_id))
        return StudyContents(
            known,
            tuple(IndexedPatient(patient_id=who, issuer_of_patient_id=issuer) for who, issuer in sorted(patients)),
            tuple(sorted(studies)),
            study.tenant,
            study.study_date,
        )


def _received(row: sqlite3.Row) -> ReceivedStudy:
    return ReceivedStudy(
        study=f"{_PREFIX}{row['study_id']}",
        way=row["way"],
        ae_title=row["ae_title"],
        state=ReceivedState(row["state"]),
        rule=row["rule"],
        assessment=row["assessment"],
        reason=row["reason"],
        prior_count=row["prior_count"],
        complete_time_ns=row["complete_time_ns"],
    )
