"""What a search asks, as conditions of SQL: parameters as they stand in a URL (R4 section 3.1.1).

Each condition is about one table with a column ``id``, so that the search may begin with it or look it up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from oncoresponse.case.resource_search import PARAMETERS, PatientName, SearchKind, SearchParameter, parameter_of
from oncoresponse.errors import InvalidRequest
from oncoresponse.storage.resource_values import date_range, token_value

_NAME = re.compile(r"(?P<name>_?[A-Za-z-]{1,40})(:(?P<modifier>[A-Za-z-]{1,40}))?(\.(?P<chain>[A-Za-z-]{1,40}))?")
_PREFIXED = re.compile(r"(?P<prefix>[a-z]{2})?(?P<date>\d.*)")
_MOST_VALUES = 100
_OF_PATIENT = "fhir_patient p CROSS JOIN fhir_use x"
# Of columns {low} and {high}, and the first and last millisecond of what is asked.
_COMPARISONS = {
    "eq": "{low} >= :{a} AND {low} <= :{b} AND {high} <= :{b}",
    "ne": "({low} < :{a} OR {high} > :{b})",
    "gt": "{high} > :{b}",
    "lt": "{low} < :{a}",
    "ge": "{high} >= :{a}",
    "le": "{low} <= :{b}",
    "sa": "{low} > :{b}",
    "eb": "{high} < :{a}",
}


@dataclass
class Values:
    """The values of a statement, each under a name of its own."""

    named: dict[str, object] = field(default_factory=dict)

    def add(self, value: object) -> str:
        """Its name."""
        name = f"v{len(self.named)}"
        self.named[name] = value
        return name

    def list_of(self, values: Sequence[object]) -> str:
        """``(:v1, :v2)``."""
        return "(" + ", ".join(f":{self.add(value)}" for value in values) + ")"


@dataclass(frozen=True)
class Criterion:
    """A condition.

    Attributes:
        table: Has an alias ``x`` with the ids of resources.
        where: Keeps some of them.
        check: The same for one whose id is known, so written that no index is used but that of the id; empty for
            ``where`` itself.
    """

    table: str
    where: str
    check: str = ""

    @property
    def ids(self) -> str:
        """The ids that fulfil it."""
        return f"SELECT DISTINCT x.id FROM {self.table} WHERE {self.where}"  # noqa: S608 - words of ours

    @property
    def count(self) -> str:
        """How many, counted up to ``:most``."""
        return f"SELECT count(*) FROM (SELECT 1 FROM {self.table} WHERE {self.where} LIMIT :most) few"  # noqa: S608

    @property
    def holds(self) -> str:
        """Whether the resource ``r`` fulfils it.

        No EXISTS: PostgreSQL would find all that fulfil it first, and join.
        """
        return f"(SELECT 1 FROM {self.table} WHERE x.id = r.id AND {self.check or self.where} LIMIT 1) IS NOT NULL"  # noqa: S608 - words of ours


def criteria_of(
    resource_type: str, asked: Sequence[tuple[str, str]], values: Values
) -> tuple[list[Criterion], list[str]]:
    """The conditions of a search, and the parameters that are not known.

    Args:
        resource_type: What is searched.
        asked: Names and values as in the URL, decoded.
        values: Is given what the conditions compare with.

    Raises:
        InvalidRequest: A value or a modifier cannot be understood.
    """
    criteria, unknown = [], []
    dates: dict[str, list[str]] = {}
    for name, value in asked:
        match = _NAME.fullmatch(name)
        parameter = None if match is None else parameter_of(resource_type, match["name"])
        if match is None or parameter is None or (match["chain"] and not _is_patient_identifier(parameter, match)):
            unknown.append(name)
            continue
        given = list(_split(value, ","))
        if not value or len(given) > _MOST_VALUES:
            raise InvalidRequest(f"The search parameter {name} has no value, or more than {_MOST_VALUES}.")
        _require_modifier(parameter, match, name)
        if parameter.is_patient:
            criteria.append(_patient(resource_type, given, match, values))
        elif match["name"] == "_id":
            where = f"x.type = :{values.add(resource_type)} AND x.id IN {values.list_of(given)}"
            criteria.append(Criterion("fhir_resource x", where))
        elif parameter.kind is SearchKind.DATE:
            dates.setdefault(match["name"], []).append(_date(match["name"], given, values))
        elif parameter.kind is SearchKind.TOKEN:
            criteria.append(_token(f"{resource_type}.{match['name']}", given, values))
        else:
            criteria.append(_reference(f"{resource_type}.{match['name']}", given, match["modifier"], values))
    # Two of one parameter are the two ends of one time.
    for name, conditions in dates.items():
        low, high = ("x.last_updated_ms",) * 2 if name == "_lastUpdated" else ("x.low_ms", "x.high_ms")
        where = " AND ".join(each.format(low=low, high=high) for each in conditions)
        check = " AND ".join(each.format(low=f"{low} + 0", high=f"{high} + 0") for each in conditions)
        if name == "_lastUpdated":
            of_type = f"x.type = :{values.add(resource_type)} AND x.deleted = 0 AND "
            criteria.append(Criterion("fhir_resource x", of_type + where, check))
        else:
            of_parameter = f"x.parameter = :{values.add(f'{resource_type}.{name}')} AND "
            criteria.append(Criterion("fhir_date x", of_parameter + where, of_parameter + check))
    return criteria, unknown


def of_patient(resource_type: str, names: Sequence[PatientName], values: Values) -> Criterion:
    """What belongs to a report of a patient who has one of these names; to nobody's where there are none."""
    alternatives = [_named(each, values) for each in names] or ["1 = 0"]
    where = f"({' OR '.join(alternatives)}) AND x.assessment = p.assessment AND x.type = :{values.add(resource_type)}"
    return Criterion(_OF_PATIENT, where)


def _named(name: PatientName, values: Values) -> str:
    system = f" AND p.system = :{values.add(name.system)}" if name.kind != "reference" else ""
    return f"(p.value = :{values.add(name.value)} AND p.kind = '{name.kind}'{system})"


def _is_patient_identifier(parameter: SearchParameter, match: re.Match[str]) -> bool:
    return parameter.is_patient and match["chain"] == "identifier" and match["modifier"] in (None, "Patient")


def _require_modifier(parameter: SearchParameter, match: re.Match[str], name: str) -> None:
    modifier = match["modifier"]
    if modifier is None:
        return
    if parameter.is_patient and modifier in ("Patient", "identifier"):
        return
    if parameter.kind is SearchKind.REFERENCE and not parameter.is_patient and modifier in PARAMETERS:
        return
    raise InvalidRequest(f"The search parameter {name} has a modifier that is not supported here. Leave it out.")


def _patient(resource_type: str, given: Sequence[str], match: re.Match[str], values: Values) -> Criterion:
    """By reference, or by the identifier of the patient: as the report writes it, or as the images do."""
    if match["chain"] or match["modifier"] == "identifier":
        alternatives = []
        for each in given:
            parts = list(_split(each, "|"))
            value = f"p.value = :{values.add(_plain(parts[-1]))} AND p.kind <> 'reference'"
            if len(parts) > 1:
                value += f" AND p.system = :{values.add(_plain(parts[0]))}"
            alternatives.append(f"({value})")
    else:
        texts = [_plain(each) for each in given]
        targets = [each if "/" in each else f"Patient/{each}" for each in texts]
        alternatives = [f"(p.value IN {values.list_of(targets)} AND p.kind = 'reference')"]
    where = f"({' OR '.join(alternatives)}) AND x.assessment = p.assessment AND x.type = :{values.add(resource_type)}"
    return Criterion(_OF_PATIENT, where)


def _token(parameter: str, given: Sequence[str], values: Values) -> Criterion:
    """``code``, ``system|code``, ``|code`` or ``system|`` (R4 section 3.1.1.4.10)."""
    plain, alternatives = [], []
    for each in given:
        parts = list(_split(each, "|"))
        if len(parts) == 1:
            plain.append(token_value(_plain(parts[0])))
            continue
        condition = f"x.system = :{values.add(_plain(parts[0]))}"
        if parts[1]:
            condition += f" AND x.value = :{values.add(token_value(_plain(parts[1])))}"
        alternatives.append(f"({condition})")
    if plain:
        alternatives.append(f"x.value IN {values.list_of(plain)}")
    where = f"x.parameter = :{values.add(parameter)} AND ({' OR '.join(alternatives)})"
    return Criterion("fhir_token x", where)


def _date(name: str, given: Sequence[str], values: Values) -> str:
    """A condition of ``{low}`` and ``{high}``."""
    alternatives = []
    for each in given:
        match = _PREFIXED.fullmatch(_plain(each))
        comparison = None if match is None else _COMPARISONS.get(match["prefix"] or "eq")
        try:
            if match is None or comparison is None:
                raise ValueError
            # In a URL a plus sign that was not encoded is a blank.
            first, last = date_range(match["date"].replace(" ", "+"))
        except ValueError:
            raise InvalidRequest(
                f"The parameter {name} is a FHIR date, with one of the prefixes {' '.join(_COMPARISONS)} or none."
            ) from None
        a, b = values.add(first), values.add(last)
        alternatives.append(f"({comparison.format(low='{low}', high='{high}', a=a, b=b)})")
    return "(" + " OR ".join(alternatives) + ")"


def _reference(parameter: str, given: Sequence[str], modifier: str | None, values: Values) -> Criterion:
    targets: list[str] = []
    for each in map(_plain, given):
        if "/" in each or each.startswith("urn:"):
            targets.append(each)
        else:
            targets += [f"{kind}/{each}" for kind in ([modifier] if modifier else PARAMETERS)]
    where = f"x.parameter = :{values.add(parameter)} AND x.target IN {values.list_of(targets)}"
    return Criterion("fhir_reference x", where)


def _split(text: str, separator: str) -> Iterator[str]:
    """Split where the separator is not escaped (R4 section 3.1.1.4.6)."""
    part, escaped = "", False
    for letter in text:
        if letter == separator and not escaped:
            yield part
            part = ""
        else:
            part += letter
        escaped = letter == "\\" and not escaped
    yield part


def _plain(text: str) -> str:
    return re.sub(r"\\([\\,|$])", r"\1", text)
