"""Orders for assessments: beside the studies that they wait for. They hold who a patient is."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import OrderNotFound
from oncoresponse.storage.page_position import position_of_token, token_of_row
from oncoresponse.storage.study_database import StudyDatabase

PREFIX = "orders/"
_NAMESPACE = uuid.UUID("0d1b7c58-6a9e-5b11-8f5c-5c3c6e0f7b8a")
_CONTENT = (
    "accession_number",
    "patient_id",
    "issuer_of_patient_id",
    "birth_date",
    "sex",
    "codes",
    "patient_reference",
    "service_request_reference",
    "encounter_reference",
    "tenant",
)
# Of a tenant's order the tenant's studies alone; an order without a tenant is for all.
_ITS_STUDY = (
    "study_accession.accession_number = imaging_order.accession_number AND imaging_order.tenant IN ('', study.tenant)"
)
_CURRENT_STUDIES = (
    "SELECT json_group_array(study_id) FROM (SELECT study_id FROM study_accession JOIN study USING (study_id) "  # noqa: S608 - own words
    f"WHERE {_ITS_STUDY} AND accession_number != '' "
    "AND NOT EXISTS (SELECT 1 FROM study AS later WHERE later.supersedes = study.study_id "
    "AND later.supersedes != '' AND later.manifest_sha256 IS NOT NULL) ORDER BY study.create_time_ns)"
)
_SELECT = f"SELECT imaging_order.*, ({_CURRENT_STUDIES}) AS studies FROM imaging_order"  # noqa: S608 - own words


class OrderState(StrEnum):
    """What became of an order."""

    WAITING = "waiting"
    STARTED = "started"
    REFUSED = "refused"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class StoredOrder:
    """An order; fields as ``oncoresponse.v1.Order``.

    Attributes:
        create_time_ns: When it came, nanoseconds since 1970 (UTC).
        studies: Complete studies with its accession number that nothing supersedes, oldest first.
    """

    source: str
    order_number: str
    accession_number: str
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    birth_date: str = ""
    sex: str = ""
    codes: tuple[str, ...] = ()
    patient_reference: str = ""
    service_request_reference: str = ""
    encounter_reference: str = ""
    tenant: str = ""
    state: OrderState = OrderState.WAITING
    study: str = ""
    assessment: str = ""
    reason: str = ""
    create_time_ns: int = 0
    studies: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``orders/{order}``, the same for the same source and number."""
        return PREFIX + str(uuid.uuid5(_NAMESPACE, f"{self.source}\n{self.order_number}"))


class OrderStore:
    """All methods block; several threads and processes of one machine may use them.

    Args:
        data_directory: As of :class:`~oncoresponse.storage.study_store.StudyStore`, which has made its folders.
    """

    def __init__(self, data_directory: Path) -> None:
        self._database = StudyDatabase(data_directory / "studies" / "studies.sqlite")

    def record(self, order: StoredOrder, *, cancelled: bool = False) -> StoredOrder:
        """Keep an order that came; durable when this returns.

        One that is there gets what the new one says, unless it has started something or is cancelled. One that is
        refused waits again: somebody has corrected it.

        Args:
            order: As it came.
            cancelled: It was cancelled at its source.

        Returns:
            The order as it is now.
        """
        now = time.time_ns()
        state = OrderState.CANCELLED if cancelled else OrderState.WAITING
        with self._database.writing() as table:
            connection = table.connection
            known = _row(connection, order.name)
            if known is None:
                columns = ("order_id", "source", "order_number", *_CONTENT, "state", "create_time_ns", "change_time_ns")
                connection.execute(
                    f"INSERT INTO imaging_order ({', '.join(columns)}, study, assessment, reason) "  # noqa: S608
                    f"VALUES ({', '.join('?' for _ in columns)}, '', '', '')",
                    (_id(order.name), order.source, order.order_number, *_content(order), state.value, now, now),
                )
            elif cancelled:
                _cancel(connection, order.name, now)
            elif known["state"] in (OrderState.WAITING, OrderState.REFUSED):
                assignments = ", ".join(f"{name} = ?" for name in _CONTENT)
                connection.execute(
                    f"UPDATE imaging_order SET {assignments}, state = 'waiting', reason = '', change_time_ns = ? "  # noqa: S608
                    "WHERE order_id = ?",
                    (*_content(order), now, _id(order.name)),
                )
            return _order(_existing(connection, order.name))

    def cancel(self, name: str) -> StoredOrder:
        """Start nothing more for an order.

        Raises:
            OrderNotFound: There is none of this name.
        """
        with self._database.writing() as table:
            _existing(table.connection, name)
            _cancel(table.connection, name, time.time_ns())
            return _order(_existing(table.connection, name))

    def settle(self, name: str, state: OrderState, study: str, assessment: str, reason: str) -> StoredOrder:
        """Note what became of an order. A cancelled one stays so, and says which assessment it had started.

        Raises:
            OrderNotFound: There is none of this name.
        """
        with self._database.writing() as table:
            _existing(table.connection, name)
            table.connection.execute(
                "UPDATE imaging_order SET state = CASE state WHEN 'cancelled' THEN state ELSE ? END, study = ?, "
                "assessment = ?, reason = ?, change_time_ns = ? WHERE order_id = ?",
                (state.value, study, assessment, reason, time.time_ns(), _id(name)),
            )
            return _order(_existing(table.connection, name))

    def get(self, name: str) -> StoredOrder:
        """One of them.

        Raises:
            OrderNotFound: There is none of this name.
        """
        with self._database.reading() as table:
            return _order(_existing(table.connection, name))

    def of_study(self, study: str) -> list[StoredOrder]:
        """Orders with an accession number of a complete study, oldest first, without cancelled and refused ones."""
        with self._database.reading() as table:
            rows = table.connection.execute(
                f"{_SELECT} WHERE state IN ('waiting', 'started') AND EXISTS "  # noqa: S608 - own words
                "(SELECT 1 FROM study_accession "
                f"JOIN study USING (study_id) WHERE study_id = ? AND {_ITS_STUDY}) ORDER BY create_time_ns, order_id",
                (study.removeprefix("studies/"),),
            ).fetchall()
        return [_order(row) for row in rows]

    def page(
        self,
        page_size: int,
        page_token: str = "",
        *,
        state: OrderState | None = None,
        accession_number: str = "",
        has_study: bool = False,
        untouched: bool = False,
        tenant: str | None = None,
    ) -> tuple[list[StoredOrder], str]:
        """Newest first, with the token of the next page, empty on the last one.

        Args:
            page_size: At most this many.
            page_token: Of the page before, or empty.
            state: Only in this one.
            accession_number: Only with this one.
            has_study: Only those with a complete study.
            untouched: Only those without a reason.
            tenant: Only of this one; ``None`` for all.

        Raises:
            InvalidRequest: The token is none of ours.
        """
        moment, last = position_of_token(page_token)
        with self._database.reading() as table:
            rows = table.connection.execute(
                f"{_SELECT} WHERE (create_time_ns, order_id) < (:time, :last) "  # noqa: S608 - own words
                "AND (:tenant IS NULL OR imaging_order.tenant = :tenant) "
                "AND (:state IS NULL OR state = :state) AND (:accession = '' OR accession_number = :accession) "
                "AND (NOT :has_study OR EXISTS (SELECT 1 FROM study_accession JOIN study USING (study_id) "
                f"WHERE {_ITS_STUDY})) "
                "AND (NOT :untouched OR reason = '') "
                "ORDER BY create_time_ns DESC, order_id DESC LIMIT :limit",
                {
                    "time": moment,
                    "last": last,
                    "state": None if state is None else state.value,
                    "accession": accession_number,
                    "has_study": has_study,
                    "untouched": untouched,
                    "tenant": tenant,
                    "limit": page_size + 1,
                },
            ).fetchall()
        token = ""
        if len(rows) > page_size:
            token = token_of_row(rows[page_size - 1]["create_time_ns"], rows[page_size - 1]["order_id"])
        return [_order(row) for row in rows[:page_size]], token

    def of_patient(self, patient_id: str) -> list[StoredOrder]:
        """All of a patient, whatever the issuer."""
        with self._database.reading() as table:
            rows = table.connection.execute(
                f"{_SELECT} WHERE patient_id = ? ORDER BY order_id", (patient_id,)
            ).fetchall()
        return [_order(row) for row in rows]

    def merge(self, given_up: IndexedPatient, kept: IndexedPatient) -> int:
        """Make orders that wait for the study of one Patient ID those of another; how many they were."""
        with self._database.writing() as table:
            changed = table.connection.execute(
                "UPDATE imaging_order SET patient_id = ?, issuer_of_patient_id = ?, reason = '', change_time_ns = ? "
                "WHERE patient_id = ? AND issuer_of_patient_id = ? AND state = 'waiting'",
                (
                    kept.patient_id,
                    kept.issuer_of_patient_id,
                    time.time_ns(),
                    given_up.patient_id,
                    given_up.issuer_of_patient_id,
                ),
            )
            return changed.rowcount

    def unchanged_since(self, time_ns: int) -> list[str]:
        """Names of those that nothing has changed since a time, nanoseconds since 1970 (UTC)."""
        with self._database.reading() as table:
            rows = table.connection.execute(
                "SELECT order_id FROM imaging_order WHERE change_time_ns < ? ORDER BY order_id", (time_ns,)
            ).fetchall()
        return [PREFIX + row["order_id"] for row in rows]

    def forget(self, names: Iterable[str]) -> None:
        """Remove orders; what is gone is no error."""
        with self._database.writing() as table:
            table.connection.executemany(
                "DELETE FROM imaging_order WHERE order_id = ?", [(_id(name),) for name in names]
            )


def _id(name: str) -> str:
    return name.removeprefix(PREFIX)


def _content(order: StoredOrder) -> tuple[str, ...]:
    values = {name: getattr(order, name) for name in _CONTENT}
    return tuple({**values, "codes": json.dumps(order.codes)}[name] for name in _CONTENT)


def _row(connection: sqlite3.Connection, name: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(f"{_SELECT} WHERE order_id = ?", (_id(name),)).fetchone()
    return row


def _existing(connection: sqlite3.Connection, name: str) -> sqlite3.Row:
    row = _row(connection, name)
    if row is None:
        raise OrderNotFound("There is no order of this name. ListOrders gives the names.")
    return row


def _cancel(connection: sqlite3.Connection, name: str, now: int) -> None:
    connection.execute(
        "UPDATE imaging_order SET state = 'cancelled', change_time_ns = ? WHERE order_id = ? AND state != 'cancelled'",
        (now, _id(name)),
    )


def _order(row: sqlite3.Row) -> StoredOrder:
    fields = {name: row[name] for name in StoredOrder.__dataclass_fields__}
    fields["codes"] = tuple(json.loads(row["codes"]))
    fields["studies"] = tuple(f"studies/{each}" for each in json.loads(row["studies"]))
    return StoredOrder(**{**fields, "state": OrderState(row["state"])})
