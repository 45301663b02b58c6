"""Rules: which studies that come in start which model. A file that people write, read strictly."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from oncoresponse.case.schema_faults import schema_faults
from oncoresponse.errors import ConfigurationError

_Patterns = Annotated[tuple[str, ...], Field(max_length=100)]
_Name = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]
NO_ORDER = "no order"
"""Why a rule does not fit that would, were there an order."""
Priority = Literal["routine", "urgent", "stat"]


@dataclass(frozen=True)
class SeriesFacts:
    """What the headers of a series say; empty where they do not, or not alike."""

    modality: str
    body_part_examined: str = ""
    series_description: str = ""
    study_description: str = ""
    procedure_codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyFacts:
    """What a rule may ask for.

    Attributes:
        series: Of the study.
        calling_ae_title: Who sent it; empty where it did not come by C-STORE.
        order_codes: Codes of the orders for it; ``None`` where there is no order.
    """

    series: tuple[SeriesFacts, ...]
    calling_ae_title: str = ""
    order_codes: tuple[str, ...] | None = None

    @property
    def modalities(self) -> frozenset[str]:
        """Those of its series."""
        return frozenset(series.modality for series in self.series)


class Conditions(BaseModel):
    """What has to hold, all of it; what is not given always does.

    Patterns are those of a shell (``*``, ``?``), in upper or lower case.

    Attributes:
        modalities: Each is there.
        calling_ae_titles: One of them sent it.
        body_part: Body Part Examined of a series is like one of these.
        study_description: Study Description is like one of these.
        series_description: Series Description of a series is like one of these.
        procedure_codes: The study has one of these codes.
        ordered: There is an order for it.
        order_codes: There is an order for it, and a code of it is like one of these.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    modalities: _Patterns = ()
    calling_ae_titles: _Patterns = ()
    body_part: _Patterns = ()
    study_description: _Patterns = ()
    series_description: _Patterns = ()
    procedure_codes: _Patterns = ()
    ordered: bool = False
    order_codes: _Patterns = ()

    @property
    def needs_order(self) -> bool:
        """Whether it can hold for no study without an order."""
        return self.ordered or bool(self.order_codes)

    def why_not(self, study: StudyFacts) -> str:
        """The first condition that does not hold, in words; empty where all do."""
        return self._why_not_the_study(study) or self._why_not_the_order(study.order_codes)

    def _why_not_the_order(self, codes: tuple[str, ...] | None) -> str:
        if self.needs_order and codes is None:
            return NO_ORDER
        if self.order_codes and not any(_is_like(value, each) for value in codes or () for each in self.order_codes):
            return "another code of the order" if codes else "no code of the order"
        return ""

    def _why_not_the_study(self, study: StudyFacts) -> str:
        if lacking := sorted(set(self.modalities) - study.modalities):
            return f"no {', no '.join(lacking)} in the study"
        if self.calling_ae_titles and study.calling_ae_title not in self.calling_ae_titles:
            return "another sender"
        asked: tuple[tuple[str, Sequence[str], list[str]], ...] = (
            ("Body Part Examined", self.body_part, [series.body_part_examined for series in study.series]),
            ("Study Description", self.study_description, [series.study_description for series in study.series]),
            ("Series Description", self.series_description, [series.series_description for series in study.series]),
            (
                "procedure code",
                self.procedure_codes,
                [code for series in study.series for code in series.procedure_codes],
            ),
        )
        for what, patterns, values in asked:
            if patterns and not any(_is_like(value, pattern) for value in values for pattern in patterns):
                return f"another {what}" if any(values) else f"no {what}"
        return ""


class PriorsWanted(BaseModel):
    """Earlier studies of the patient that are fetched before the assessment starts. They start nothing themselves.

    Attributes:
        peer: Written ``from``: name of one of ``dicom_peers`` in the settings.
        modalities: Each is in the earlier study.
        count: At most this many, the newest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    peer: _Name = Field(alias="from")
    modalities: _Patterns = ()
    count: int = Field(default=1, ge=1, le=20)


class Rule(BaseModel):
    """One rule.

    Attributes:
        name: For people and logs.
        when: What a study has to be.
        model: Name of the model that assesses it.
        planned_treatment: As in an order.
        use_contour: A contour that comes with the study is used, instead of the network.
        priority: What waits for a worker is begun in this order: ``stat``, ``urgent``, ``routine``.
        deliver_to: Names of ``destinations`` in the settings that the results are sent to.
        priors: Earlier studies of the patient that are fetched first; ``None`` for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Name
    when: Conditions
    model: str = Field(pattern="^[a-z0-9-]{1,63}$")
    planned_treatment: str = Field(default="", max_length=200)
    use_contour: bool = False
    priority: Priority = "routine"
    deliver_to: tuple[_Name, ...] = Field(default=(), max_length=20)
    priors: PriorsWanted | None = None

    @field_validator("deliver_to")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value))


class Rules(BaseModel):
    """The file. The first rule that fits a study holds; a study that none fits is kept, and nothing is started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[Rule, ...] = Field(min_length=1, max_length=1000)


@dataclass(frozen=True)
class Choice:
    """What the rules say of a study.

    Attributes:
        rule: That holds; ``None`` where none fits.
        passed_over: Names of the rules before it, or of all, with why each does not fit.
    """

    rule: Rule | None
    passed_over: tuple[tuple[str, str], ...]


def read_rules(path: Path) -> Rules:
    """Read the file.

    Raises:
        ConfigurationError: It is not there, or not as it should be; the message names the places.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError("The file of rules cannot be read as YAML.", setting="rules") from error
    try:
        rules = Rules.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(f"The file of rules has faults: {schema_faults(error)}", setting="rules") from error
    names = [rule.name for rule in rules.rules]
    if len(set(names)) < len(names):
        raise ConfigurationError("Two rules have the same name. Give each its own.", setting="rules")
    return rules


def require_destinations(rules: Rules, destinations: Collection[str]) -> None:
    """Refuse rules that send results where nobody is.

    Args:
        rules: As read.
        destinations: Names in the settings.

    Raises:
        ConfigurationError: A rule names another.
    """
    for rule in rules.rules:
        if unknown := sorted(set(rule.deliver_to) - set(destinations)):
            raise ConfigurationError(
                f"Rule {rule.name} delivers to {', '.join(unknown)}, which is no destination of the settings.",
                setting="rules",
            )


def choose(rules: Rules, study: StudyFacts) -> Choice:
    """The first rule that fits."""
    passed_over: list[tuple[str, str]] = []
    for rule in rules.rules:
        why = rule.when.why_not(study)
        if not why:
            return Choice(rule, tuple(passed_over))
        passed_over.append((rule.name, why))
    return Choice(None, tuple(passed_over))


def _is_like(value: str, pattern: str) -> bool:
    return fnmatchcase(value.casefold(), pattern.casefold())
