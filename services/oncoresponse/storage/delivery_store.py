"""What has to be sent to others, durably: who sends takes it with a lease, and says what came of it.

In the database of the assessments, SQLite or PostgreSQL. Times are those of its clock, so that hosts need not agree on
theirs. A delivery is made in the transaction of what it tells, or in a durable step of the workflow.

What is withdrawn before anything of it can have reached a destination is never sent there, and neither is the note that
rejects it.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from oncoresponse.case.sign_off import FIRST_VERSION
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.errors import DeliveryLeaseLost, DeliveryNotFound, DeliveryStateForbids
from oncoresponse.storage.database_engine import database_engine, exclude_other_writers, migrate_database
from oncoresponse.storage.database_errors import known_database_errors
from oncoresponse.storage.delivery_rows import (
    SUPERSEDED,
    DeliveryEvent,
    DeliveryState,
    SentFile,
    StoredDelivery,
    changed_columns,
    database_time_ms,
    delivery_of_row,
    insert_delivery,
    settled_file,
    update_delivery,
)
from oncoresponse.storage.page_position import position_of_token, token_of_row

_AREA = "deliveries"
# Seconds after each attempt that failed; the last for all that follow. About three days in all.
_PAUSES_SECONDS = (10, 30, 120, 600, 1800, 3600, *(7200,) * 34)
MOST_ATTEMPTS = len(_PAUSES_SECONDS) + 1
"""After these a delivery is dead."""
_LONGEST_RETRY_AFTER_MS = 24 * 3600 * 1000


@dataclass(frozen=True)
class Failure:
    """An attempt that failed.

    Attributes:
        reason: Reason code.
        message: In words, without patient data.
        permanent: Trying again cannot help.
        retry_after_ms: When the destination asked to be tried again; ``None`` where it did not.
        hold: Somebody has to mend something at the destination; until an operator resends it, it is held.
    """

    reason: str
    message: str
    permanent: bool = False
    retry_after_ms: int | None = None
    hold: bool = False


@dataclass(frozen=True)
class DeliveryFilter:
    """What is looked for; what is empty does not matter. ``tenant`` is ``None`` for all."""

    destination: str = ""
    assessment: str = ""
    state: DeliveryState | None = None
    tenant: str | None = None


# Held: the answer of the model is withheld, and nobody has judged. A rejection note tells no answer, nor does a lesion
# that has to be chosen before there is a report.
_HELD = (
    "(:judgement_first = 1 AND d.event <> 'withdrawn' AND d.files NOT LIKE '%lesion-candidates.json%' AND NOT EXISTS "
    "(SELECT 1 FROM report_judgement j WHERE j.assessment = d.assessment))"
)
_DUE = (
    "((d.state = 'waiting' AND d.next_time_ms <= :now) OR (d.state = 'sending' AND d.lease_end_ms <= :now)) "
    "AND NOT EXISTS (SELECT 1 FROM delivery e WHERE e.assessment = d.assessment AND e.destination = d.destination "
    "AND e.report_version < d.report_version AND e.state IN ('waiting', 'held', 'sending'))"
)


@dataclass(frozen=True)
class Told:
    """How far a destination was told.

    Attributes:
        count: How many deliveries there were for it.
        failing: The last one that has ended was refused for good, or its attempts are used up.
    """

    count: int
    failing: bool


class DeliveryStore:
    """All methods block; any thread and any number of processes may use them.

    Args:
        database_url: ``sqlite:///...`` or ``postgresql://...``, as in the server's settings.
        judgement_first: Setting of the installation: what the model says is withheld until a physician has judged.

    Raises:
        PeerUnavailable, Busy, DiskFull: From every method: the database does not answer, is held, or cannot write.
    """

    def __init__(self, database_url: str, *, judgement_first: bool = False) -> None:
        self._engine = database_engine(database_url)
        self._judgement_first = int(judgement_first)

    def prepare(self) -> None:
        """Make the table where there is none. Needs those of reports and chart.

        Raises:
            SchemaTooNew: A newer release has written it.
        """
        with known_database_errors():
            migrate_database(self._engine, _AREA)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def add_first(
        self, assessment: str, destinations: Collection[str], artifacts: Mapping[str, StoredArtifact]
    ) -> None:
        """A report was made: it is to be sent. The same again changes nothing.

        Args:
            assessment: Identifier, without ``assessments/``.
            destinations: Names in the settings.
            artifacts: All that the assessment hands out, by name.
        """
        with self._writing() as connection:
            for destination in destinations:
                insert_delivery(connection, assessment, FIRST_VERSION, destination, DeliveryEvent.COMPLETED, artifacts)

    def get(self, delivery: str) -> StoredDelivery:
        """One of them.

        Raises:
            DeliveryNotFound: There is none.
        """
        with known_database_errors(), self._engine.connect() as connection:
            return self._read(connection, delivery)

    def page(self, wanted: DeliveryFilter, size: int, page_token: str) -> tuple[list[StoredDelivery], str]:
        """Newest first, and the token of the next page, empty after the last.

        Raises:
            InvalidRequest: The token is none of ours.
        """
        time_ms, last = position_of_token(page_token)
        values: dict[str, Any] = {"time": time_ms, "last": last, "size": size + 1, "first": self._judgement_first}
        conditions = ["(d.create_time_ms < :time OR (d.create_time_ms = :time AND d.delivery > :last))"]
        values["judgement_first"] = self._judgement_first
        if wanted.destination:
            conditions.append("d.destination = :destination")
            values["destination"] = wanted.destination
        if wanted.assessment:
            conditions.append("d.assessment = :assessment")
            values["assessment"] = wanted.assessment
        if wanted.state is DeliveryState.HELD:
            conditions.append(f"(d.state = 'held' OR (d.state = 'waiting' AND {_HELD}))")
        elif wanted.state is DeliveryState.WAITING:
            conditions.append(f"d.state = 'waiting' AND NOT {_HELD}")
        elif wanted.state is not None:
            conditions.append("d.state = :state")
            values["state"] = wanted.state.value
        if wanted.tenant is not None:
            conditions.append(
                "EXISTS (SELECT 1 FROM chart_assessment c WHERE c.assessment = d.assessment AND c.tenant = :tenant)"
            )
            values["tenant"] = wanted.tenant
        query = (
            f"SELECT d.*, {_HELD} AS is_held FROM delivery d WHERE {' AND '.join(conditions)} "  # noqa: S608 - own words
            "ORDER BY d.create_time_ms DESC, d.delivery LIMIT :size"
        )
        with known_database_errors(), self._engine.connect() as connection:
            found = [delivery_of_row(row) for row in connection.execute(text(query), values).mappings()]
        if len(found) <= size:
            return found, ""
        return found[:size], token_of_row(found[size - 1].create_time_ms, found[size - 1].delivery)

    def take(self, destinations: Sequence[str], most: int, lease_ms: int) -> list[StoredDelivery]:
        """Lease what is due. Of several who try, one gets a delivery; a lease that has ended counts as an attempt.

        Of one assessment and destination a later version waits until the one before has ended.
        """
        taken: list[StoredDelivery] = []
        with self._writing() as connection:
            now = database_time_ms(connection)
            # On SQLite nobody else takes at the same time.
            skip_locked = " FOR UPDATE OF d SKIP LOCKED" if connection.dialect.name == "postgresql" else ""
            query = text(
                f"SELECT d.* FROM delivery d WHERE d.destination IN :destinations AND {_DUE} AND NOT {_HELD} "  # noqa: S608
                "ORDER BY d.next_time_ms, d.delivery LIMIT :most" + skip_locked
            ).bindparams(bindparam("destinations", expanding=True))
            values = {
                "destinations": list(destinations),
                "now": now,
                "most": most,
                "judgement_first": self._judgement_first,
            }
            for row in connection.execute(query, values).mappings().all():
                found = delivery_of_row(row)
                if found.attempts >= MOST_ATTEMPTS:
                    # Its sender ended each time without a word.
                    update_delivery(connection, found, state=DeliveryState.DEAD, end_time_ms=now, lease_token="")
                    continue
                leased = replace(
                    found,
                    state=DeliveryState.SENDING,
                    attempts=found.attempts + 1,
                    tried=1,
                    lease_token=uuid.uuid4().hex,
                    lease_end_ms=now + lease_ms,
                )
                if update_delivery(connection, found, **changed_columns(found, leased)):
                    taken.append(leased)
        return taken

    def extend(self, delivery: str, lease_token: str, lease_ms: int) -> int:
        """Lengthen a lease, from now; gives its new end.

        Raises:
            DeliveryNotFound: There is no such delivery.
            DeliveryLeaseLost: Another holds it, or it was settled.
        """
        with self._writing() as connection:
            found = self._leased(connection, delivery, lease_token)
            end = database_time_ms(connection) + lease_ms
            if not update_delivery(connection, found, lease_end_ms=end):
                raise _lost()
        return end

    def settle(
        self,
        delivery: str,
        lease_token: str,
        files: Collection[SentFile],
        failure: Failure | None,
        receipt: Mapping[str, str],
    ) -> StoredDelivery:
        """Note what came of an attempt.

        Args:
            delivery: Identifier.
            lease_token: As it was taken.
            files: Of those that were tried: name, stored, committed, reason; the rest does not matter.
            failure: ``None`` where everything that the destination takes is there.
            receipt: Is added to what is known.

        Raises:
            DeliveryNotFound: There is no such delivery.
            DeliveryLeaseLost: Another holds it, or it was settled.
        """
        with self._writing() as connection:
            found = self._leased(connection, delivery, lease_token)
            now = database_time_ms(connection)
            tried = {file.name: file for file in files}
            settled = replace(
                found,
                lease_token="",
                lease_end_ms=0,
                receipt={**found.receipt, **receipt},
                files=tuple(settled_file(file, tried.get(file.name)) for file in found.files),
                reason="" if failure is None else failure.reason,
                message="" if failure is None else failure.message,
            )
            settled = _after(connection, settled, failure, now)
            if not update_delivery(connection, found, **changed_columns(found, settled)):
                raise _lost()
        return settled

    def resend(self, delivery: str, *, everything: bool) -> StoredDelivery:
        """Make it due now, with attempts counted anew.

        Raises:
            DeliveryNotFound: There is no such delivery.
            DeliveryStateForbids: It is being sent, or its report was withdrawn since.
        """
        with self._writing() as connection:
            found, now = self._read(connection, delivery), database_time_ms(connection)
            if found.state is DeliveryState.SENDING and found.lease_end_ms > now:
                raise DeliveryStateForbids(
                    "The delivery is being sent. Look at it again in a minute.", state=found.state
                )
            if found.event is not DeliveryEvent.WITHDRAWN and _is_withdrawn(connection, found):
                raise DeliveryStateForbids(
                    "The report was withdrawn since, so it is not sent again. A delivery of its own tells of that.",
                    state=found.state.value,
                )
            due = replace(
                found, state=DeliveryState.WAITING, attempts=0, next_time_ms=now, end_time_ms=0, reason="", message=""
            )
            if everything:
                files = tuple(replace(file, stored=False, committed=False, reason="") for file in found.files)
                due = replace(due, files=files)
            update_delivery(connection, found, **changed_columns(found, due))
            return self._read(connection, delivery)

    def drop(self, delivery: str) -> StoredDelivery:
        """Give it up.

        Raises:
            DeliveryNotFound: There is no such delivery.
            DeliveryStateForbids: It was sent, or is being sent.
        """
        with self._writing() as connection:
            found, now = self._read(connection, delivery), database_time_ms(connection)
            if found.state is DeliveryState.SENT:
                raise DeliveryStateForbids("The delivery was sent, so it cannot be given up.", state=found.state.value)
            if found.state is DeliveryState.SENDING and found.lease_end_ms > now:
                raise DeliveryStateForbids(
                    "The delivery is being sent. Look at it again in a minute.", state=found.state
                )
            update_delivery(connection, found, state=DeliveryState.DROPPED, end_time_ms=now, lease_token="")
            return self._read(connection, delivery)

    def reports(self, assessments: Collection[str]) -> dict[str, str]:
        """Id of the DiagnosticReport in the read API, of those assessments that have one there."""
        query = text(
            "SELECT assessment, id FROM fhir_use WHERE type = 'DiagnosticReport' AND assessment IN :wanted"
        ).bindparams(bindparam("wanted", expanding=True))
        with known_database_errors(), self._engine.connect() as connection:
            return {str(row[0]): str(row[1]) for row in connection.execute(query, {"wanted": sorted(assessments)})}

    def told(self, destination: str) -> Told:
        """How far a destination was told."""
        count = text("SELECT last FROM delivery_count WHERE destination = :destination")
        last = text(
            "SELECT state FROM delivery WHERE destination = :destination AND state IN ('sent', 'dead') "
            "ORDER BY number DESC LIMIT 1"
        )
        with known_database_errors(), self._engine.connect() as connection:
            values = {"destination": destination}
            counted = connection.execute(count, values).scalar()
            return Told(int(counted or 0), connection.execute(last, values).scalar() == DeliveryState.DEAD.value)

    def totals(self) -> dict[tuple[str, str], tuple[int, int]]:
        """By destination and state: how many deliveries, and when the oldest was made (milliseconds since 1970)."""
        query = text(
            "SELECT destination, state, count(*), min(create_time_ms) FROM delivery GROUP BY destination, state"
        )
        with known_database_errors(), self._engine.connect() as connection:
            return {(str(row[0]), str(row[1])): (int(row[2]), int(row[3])) for row in connection.execute(query)}

    def destinations_with_copies(self, assessments: Collection[str]) -> set[str]:
        """Destinations that may hold something of these assessments."""
        if not assessments:
            return set()
        query = text("SELECT DISTINCT destination FROM delivery WHERE tried = 1 AND assessment IN :wanted")
        with known_database_errors(), self._engine.connect() as connection:
            bound = query.bindparams(bindparam("wanted", expanding=True))
            return set(connection.execute(bound, {"wanted": sorted(set(assessments))}).scalars())

    def delete(self, assessments: Collection[str]) -> int:
        """Forget what was to be sent of these assessments; gives how many rows went."""
        if not assessments:
            return 0
        statement = text("DELETE FROM delivery WHERE assessment IN :wanted")
        with self._writing() as connection:
            bound = statement.bindparams(bindparam("wanted", expanding=True))
            return connection.execute(bound, {"wanted": sorted(set(assessments))}).rowcount

    def _read(self, connection: Connection, delivery: str) -> StoredDelivery:
        query = f"SELECT d.*, {_HELD} AS is_held FROM delivery d WHERE d.delivery = :delivery"  # noqa: S608 - own words
        values = {"delivery": delivery, "judgement_first": self._judgement_first}
        row = connection.execute(text(query), values).mappings().first()
        if row is None:
            raise DeliveryNotFound("There is no delivery of this name. The list of deliveries gives the names.")
        return delivery_of_row(row)

    def _leased(self, connection: Connection, delivery: str, lease_token: str) -> StoredDelivery:
        found = self._read(connection, delivery)
        if not lease_token or found.lease_token != lease_token:
            raise _lost()
        return found

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with known_database_errors(), self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                # What is read before the first change has to stand in the same transaction.
                exclude_other_writers(connection)
            yield connection
            connection.commit()


def add_version(
    connection: Connection,
    assessment: str,
    version: int,
    event: DeliveryEvent,
    artifacts: Mapping[str, StoredArtifact],
) -> None:
    """A report was signed, amended or withdrawn: each destination that it goes to is to know.

    Args:
        connection: In the transaction that adds the version; the caller commits.
        assessment: Identifier, without ``assessments/``.
        version: Of its report.
        event: What became of it.
        artifacts: Of the version, by name.
    """
    query = text("SELECT * FROM delivery WHERE assessment = :assessment ORDER BY report_version")
    earlier = [delivery_of_row(row) for row in connection.execute(query, {"assessment": assessment}).mappings().all()]
    for destination in sorted({each.destination for each in earlier}):
        before = [each for each in earlier if each.destination == destination]
        state = DeliveryState.WAITING
        if event is DeliveryEvent.WITHDRAWN:
            for each in before:
                if each.state in (DeliveryState.WAITING, DeliveryState.HELD):
                    update_delivery(
                        connection,
                        each,
                        state=DeliveryState.DROPPED,
                        reason=SUPERSEDED,
                        end_time_ms=database_time_ms(connection),
                    )
            if not any(each.tried for each in before):
                state = DeliveryState.DROPPED
        insert_delivery(connection, assessment, version, destination, event, artifacts, state)


def _after(connection: Connection, settled: StoredDelivery, failure: Failure | None, now: int) -> StoredDelivery:
    """The state that an attempt leads to."""
    if failure is None:
        return replace(settled, state=DeliveryState.SENT, end_time_ms=now)
    if settled.event is not DeliveryEvent.WITHDRAWN and _is_withdrawn(connection, settled):
        return replace(settled, state=DeliveryState.DROPPED, reason=SUPERSEDED, end_time_ms=now)
    if failure.hold:
        return replace(settled, state=DeliveryState.HELD)
    if failure.permanent or settled.attempts >= MOST_ATTEMPTS:
        return replace(settled, state=DeliveryState.DEAD, end_time_ms=now)
    pause = pause_ms(settled.delivery, settled.attempts)
    if failure.retry_after_ms is not None:
        pause = max(1000, min(failure.retry_after_ms, _LONGEST_RETRY_AFTER_MS))
    return replace(settled, state=DeliveryState.WAITING, next_time_ms=now + pause)


def pause_ms(delivery: str, attempts: int) -> int:
    """How long to wait after an attempt: longer after each, and different for each delivery, by up to a fifth, so that
    a destination that comes back is not asked for everything at once.

    Args:
        delivery: Identifier.
        attempts: So far, from 1.
    """
    seconds = _PAUSES_SECONDS[min(attempts, len(_PAUSES_SECONDS)) - 1]
    share = hashlib.sha256(f"{delivery}/{attempts}".encode()).digest()[0] / 255
    return int(1000 * seconds * (0.9 + 0.2 * share))


def _is_withdrawn(connection: Connection, delivery: StoredDelivery) -> bool:
    query = text(
        "SELECT 1 FROM delivery WHERE assessment = :assessment AND destination = :destination "
        "AND event = 'withdrawn' AND report_version > :version"
    )
    values = {
        "assessment": delivery.assessment,
        "destination": delivery.destination,
        "version": delivery.report_version,
    }
    return connection.execute(query, values).first() is not None


def _is_being_sent() -> DeliveryStateForbids:
    return DeliveryStateForbids(
        "The delivery is being sent. Look at it again in a minute.", state=DeliveryState.SENDING.value
    )


def _lost() -> DeliveryLeaseLost:
    return DeliveryLeaseLost(
        "The lease has ended, and another has taken the delivery, or it was settled. What was settled stands."
    )
