"""Reading the index of resources: one by its id, and searches, each a page.

What a search costs does not grow with what is stored: it begins with the condition that the fewest resources fulfil,
or, where all are fulfilled by many, goes along the order of the page and looks each condition up. How many there are in
all is counted only as far as the first way does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection, Row

from oncoresponse.case.resource_search import PARAMETERS, SHARED_TYPES, SORT_DATES, PatientName, SearchKind
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import InvalidRequest
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.page_position import position_of_token, token_of_row
from oncoresponse.storage.report_store import BUNDLE_MEDIA_TYPE
from oncoresponse.storage.resource_criteria import Criterion, Values, criteria_of, of_patient

COUNTED = 500
"""More are not counted, unless that is asked for."""
_MOST_INCLUDED = 1000
_ROUNDS = 4
_COLUMNS = (
    "r.id, r.type, r.version, r.last_updated_ms, r.sort_ms, r.deleted, r.content, r.place, r.source_sha256, "
    "r.source_bytes"
)


@dataclass(frozen=True)
class Viewer:
    """Who looks, as far as it decides what is seen.

    Attributes:
        tenant: Sees what is of it; ``None`` sees all.
        patient: Names of the one patient whose data are seen; ``None`` for all.
        types: Types of resource that are seen; ``None`` for all.
        judgement_first: Sees a report once a physician has judged; one that was withdrawn is seen.
        judge: Who has to have judged; empty for anybody.
    """

    tenant: str | None = None
    patient: tuple[PatientName, ...] | None = None
    types: frozenset[str] | None = None
    judgement_first: bool = False
    judge: str = ""


@dataclass(frozen=True)
class FoundResource:
    """A resource as it is kept.

    Attributes:
        resource_type, id, version, last_updated_ms: What a server adds to it.
        content: JSON without ``versionId`` and ``lastUpdated``; empty where ``deleted``.
        deleted: It was there once.
        place, source: Where the bytes of a Binary are: the Bundle, and the place in it.
    """

    resource_type: str
    id: str
    version: int
    last_updated_ms: int
    content: str
    deleted: bool = False
    place: str = ""
    source: StoredArtifact | None = None


@dataclass(frozen=True)
class ResourceSearch:
    """What is searched.

    Attributes:
        resource_type: A type that is served.
        criteria: Names and values as in the URL, decoded.
        sort: ``_lastUpdated`` or the date parameter of the type, with ``-`` before it for the newest first.
        includes, reverse_includes: As in the URL.
        count_all: Count however many there are.
    """

    resource_type: str
    criteria: tuple[tuple[str, str], ...] = ()
    sort: str = ""
    includes: tuple[str, ...] = ()
    reverse_includes: tuple[str, ...] = ()
    count_all: bool = False


@dataclass(frozen=True)
class ResourcePage:
    """What was found.

    Attributes:
        matches: Of this page.
        included: What came by ``_include`` and ``_revinclude``, each once.
        next_token: Empty on the last page.
        total: How many there are on all pages; ``None`` where that was not counted.
        ignored: Parameters that are not known.
        cut: Not all that was to be included was.
    """

    matches: tuple[FoundResource, ...]
    included: tuple[FoundResource, ...] = ()
    next_token: str = ""
    total: int | None = None
    ignored: tuple[str, ...] = ()
    cut: bool = False


class ResourceQuery:
    """All methods block; any thread and any number of processes may use them. Errors are those of SQLAlchemy.

    Args:
        database_url: ``sqlite:///...`` or ``postgresql://...``, as in the server's settings.
    """

    def __init__(self, database_url: str) -> None:
        self._engine = database_engine(database_url)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def read(self, viewer: Viewer, resource_type: str, resource_id: str) -> FoundResource | None:
        """A resource; ``None`` where the viewer sees none of this name."""
        if not _sees_type(viewer, resource_type):
            return None
        values = Values()
        where = f"r.id = :{values.add(resource_id)} AND r.type = :{values.add(resource_type)}"
        where += _visible(viewer, values, resource_type)
        query = text(f"SELECT {_COLUMNS} FROM fhir_resource r WHERE {where}")  # noqa: S608 - words of ours
        with self._engine.connect() as connection:
            row = connection.execute(query, values.named).first()
        return None if row is None else _found(row)

    def search(self, viewer: Viewer, wanted: ResourceSearch, size: int, page_token: str = "") -> ResourcePage:
        """A page; without rows where ``size`` is 0.

        Raises:
            InvalidRequest: A parameter or the token cannot be understood.
        """
        values = Values()
        kind = wanted.resource_type
        criteria, ignored = criteria_of(kind, wanted.criteria, values)
        if viewer.patient is not None:
            criteria.append(of_patient(kind, viewer.patient, values))
        order, descending, unsorted = _order(kind, wanted.sort)
        ignored += unsorted
        if not _sees_type(viewer, kind):
            return ResourcePage((), total=0, ignored=tuple(ignored))
        with self._engine.connect() as connection:
            origin, where, few = self._plan(connection, viewer, kind, criteria, values)
            rows: Sequence[Row[Any]] = ()
            total: int | None = None
            if size:
                position = _after(order, descending, page_token, values)
                ending = "DESC" if descending else "ASC"
                rows = connection.execute(
                    text(
                        f"SELECT {_COLUMNS} FROM {origin} WHERE {where}{position} "  # noqa: S608 - words of ours
                        f"ORDER BY r.{order} {ending}, r.id {ending} LIMIT :size"
                    ),
                    {**values.named, "size": size + 1},
                ).all()
            if size and not page_token and len(rows) <= size:
                total = len(rows)
            elif few or wanted.count_all:
                counted = text(f"SELECT count(*) FROM {origin} WHERE {where}")  # noqa: S608 - words of ours
                total = int(connection.execute(counted, values.named).scalar_one())
            more, rows = len(rows) > size, rows[:size]
            matches = tuple(map(_found, rows))
            included, cut = self._included(connection, viewer, wanted, matches)
        last = rows[-1] if more else None
        token = "" if last is None else token_of_row(getattr(last, order), last.id)
        return ResourcePage(matches, included, token, total, tuple(ignored), cut)

    def patients_of(self, resources: Iterable[FoundResource]) -> tuple[list[str], list[IndexedPatient]]:
        """The assessments that resources of one patient belong to, and whose they are, for the audit record."""
        ids = [each.id for each in resources if each.resource_type not in SHARED_TYPES]
        if not ids:
            return [], []
        uses = text("SELECT DISTINCT assessment FROM fhir_use WHERE id IN :ids ORDER BY assessment")
        patients = text(
            "SELECT DISTINCT patient_id, issuer_of_patient_id FROM chart_patient WHERE assessment IN :ids "
            "ORDER BY patient_id, issuer_of_patient_id"
        )
        with self._engine.connect() as connection:
            assessments = [str(row[0]) for row in connection.execute(_expanding(uses), {"ids": ids})]
            found = connection.execute(_expanding(patients), {"ids": assessments or [""]})
            return assessments, [IndexedPatient(patient_id=row[0], issuer_of_patient_id=row[1]) for row in found]

    def _plan(
        self, connection: Connection, viewer: Viewer, kind: str, criteria: Sequence[Criterion], values: Values
    ) -> tuple[str, str, bool]:
        """Where the search begins, its conditions, and whether few can fulfil them."""
        counts = [
            int(connection.execute(text(each.count), {**values.named, "most": COUNTED + 1}).scalar_one())
            for each in criteria
        ]
        fewest = min(counts, default=COUNTED + 1)
        first = criteria[counts.index(fewest)] if fewest <= COUNTED else None
        holds = [each.holds for each in criteria if each is not first]
        where = " AND ".join([f"r.type = :{values.add(kind)}", "r.deleted = 0", *holds])
        where += _visible(viewer, values, kind, with_patient=False)
        if first is None:
            few = False
            if not criteria:
                every = Criterion("fhir_resource r", where)
                query = text(every.count)
                few = int(connection.execute(query, {**values.named, "most": COUNTED + 1}).scalar_one()) <= COUNTED
            return "fhir_resource r", where, few
        return f"({first.ids}) d CROSS JOIN fhir_resource r", f"r.id = d.id AND {where}", True

    def _included(
        self, connection: Connection, viewer: Viewer, wanted: ResourceSearch, matches: Sequence[FoundResource]
    ) -> tuple[tuple[FoundResource, ...], bool]:
        known = {(each.resource_type, each.id) for each in matches}
        found: list[FoundResource] = []
        cut = False
        newest = list(matches)
        for turn in range(_ROUNDS):
            names: dict[tuple[str, str], None] = {}
            for clause in wanted.includes:
                if turn == 0 or _iterates(clause):
                    names.update(dict.fromkeys(_targets(connection, clause, newest)))
            for clause in wanted.reverse_includes:
                if turn == 0 or _iterates(clause):
                    names.update(dict.fromkeys(_sources(connection, viewer, clause, newest)))
            new = [each for each in names if each not in known]
            room = _MOST_INCLUDED - len(found)
            cut = cut or len(new) > room
            newest = _visible_of(connection, viewer, new[:room])
            known.update((each.resource_type, each.id) for each in newest)
            found += newest
            if not newest:
                break
        return tuple(found), cut


def _sees_type(viewer: Viewer, kind: str) -> bool:
    return viewer.types is None or kind in viewer.types


def _visible(viewer: Viewer, values: Values, kind: str, *, with_patient: bool = True) -> str:
    """Conditions of what the viewer sees of the resources ``r`` of a type."""
    conditions = ""
    if viewer.tenant is not None:
        conditions += f" AND r.tenant = :{values.add(viewer.tenant)}"
    if viewer.patient is not None and with_patient:
        conditions += f" AND {of_patient(kind, viewer.patient, values).holds}"
    if viewer.judgement_first:
        by = f" AND j.physician = :{values.add(viewer.judge)}" if viewer.judge else ""
        judged = f"EXISTS (SELECT 1 FROM report_judgement j WHERE j.assessment = u.assessment{by})"  # noqa: S608
        conditions += (
            " AND EXISTS (SELECT 1 FROM fhir_use u CROSS JOIN fhir_report f WHERE u.id = r.id "  # noqa: S608 - words of ours
            f"AND f.assessment = u.assessment AND (f.withdrawn = 1 OR {judged}))"
        )
    return conditions


def _order(kind: str, sort: str) -> tuple[str, bool, list[str]]:
    """Column, whether the newest come first, and what of the wish is not known."""
    first, *others = sort.split(",") if sort else ["-_lastUpdated"]
    name, descending = first.removeprefix("-"), first.startswith("-")
    unknown = [f"_sort={each}" for each in others if each.removeprefix("-") not in ("_id", "_lastUpdated")]
    if name == "_lastUpdated":
        return "last_updated_ms", descending, unknown
    if kind in SORT_DATES and name in ("date", SORT_DATES[kind]):
        return "sort_ms", descending, unknown
    return "last_updated_ms", True, [f"_sort={first}", *unknown]


def _after(order: str, descending: bool, page_token: str, values: Values) -> str:
    if not page_token:
        return ""
    time, name = position_of_token(page_token)
    sign = "<" if descending else ">"
    return f" AND (r.{order}, r.id) {sign} (:{values.add(time)}, :{values.add(name)})"


def _iterates(clause: str) -> bool:
    return clause.startswith("iterate:")


def _clause(clause: str) -> tuple[str, list[str], str]:
    """Type, parameters and type of the target of ``Type:parameter:Target``.

    Raises:
        InvalidRequest: There is no such reference.
    """
    kind, _, rest = clause.removeprefix("iterate:").partition(":")
    name, _, target = rest.partition(":")
    if kind in PARAMETERS and (not target or target in PARAMETERS):
        found = [
            each
            for each, parameter in PARAMETERS[kind].items()
            if parameter.kind is SearchKind.REFERENCE and not parameter.is_patient and name in (each, "*")
        ]
        if found:
            return kind, [f"{kind}.{each}" for each in found], target
    raise InvalidRequest(
        "_include and _revinclude name a reference as Type:parameter or Type:parameter:Target; metadata lists them."
    )


def _targets(connection: Connection, clause: str, newest: Sequence[FoundResource]) -> list[tuple[str, str]]:
    kind, parameters, target = _clause(clause)
    ids = [each.id for each in newest if each.resource_type == kind]
    if not ids:
        return []
    query = text("SELECT target FROM fhir_reference WHERE id IN :ids AND parameter IN :parameters ORDER BY target")
    rows = connection.execute(_expanding(query, "parameters"), {"ids": ids, "parameters": parameters})
    names = [str(row[0]).split("/") for row in rows]
    return [(each[0], each[1]) for each in names if len(each) == 2 and target in ("", each[0])]


def _sources(
    connection: Connection, viewer: Viewer, clause: str, newest: Sequence[FoundResource]
) -> list[tuple[str, str]]:
    kind, parameters, target = _clause(clause)
    names = [f"{each.resource_type}/{each.id}" for each in newest if target in ("", each.resource_type)]
    if not names or not _sees_type(viewer, kind):
        return []
    values = Values()
    origin = "fhir_reference x"
    where = f"x.target IN {values.list_of(names)} AND x.parameter IN {values.list_of(parameters)}"
    if viewer.patient is not None:
        # What describes no patient is referred to by the reports of many.
        origin = f"({of_patient(kind, viewer.patient, values).ids}) d CROSS JOIN {origin}"
        where += " AND x.id = d.id"
    query = text(f"SELECT DISTINCT x.id FROM {origin} WHERE {where} LIMIT :most")  # noqa: S608 - words of ours
    found = connection.execute(query, {**values.named, "most": _MOST_INCLUDED + 1})
    return [(kind, str(row[0])) for row in found]


def _visible_of(connection: Connection, viewer: Viewer, names: Sequence[tuple[str, str]]) -> list[FoundResource]:
    found: list[FoundResource] = []
    for kind in dict.fromkeys(kind for kind, _ in names):
        if not _sees_type(viewer, kind):
            continue
        values = Values()
        # Joined and not IN: the database is to look each up by its id, and not all of the type.
        ids = ", ".join(f"(:{values.add(each)})" for of_kind, each in names if of_kind == kind)
        where = f"r.id = d.column1 AND r.type = :{values.add(kind)} AND r.deleted = 0"
        where += _visible(viewer, values, kind)
        origin = f"(VALUES {ids}) d CROSS JOIN fhir_resource r"
        query = text(f"SELECT {_COLUMNS} FROM {origin} WHERE {where} ORDER BY r.id")  # noqa: S608 - words of ours
        found += map(_found, connection.execute(query, values.named))
    return found


def _expanding(statement: Any, *more: str) -> Any:
    return statement.bindparams(*(bindparam(name, expanding=True) for name in ("ids", *more)))


def _found(row: Row[Any]) -> FoundResource:
    source = None
    if row.place:
        source = StoredArtifact(sha256=row.source_sha256, size_bytes=row.source_bytes, media_type=BUNDLE_MEDIA_TYPE)
    return FoundResource(
        row.type, row.id, row.version, row.last_updated_ms, row.content, bool(row.deleted), row.place, source
    )
