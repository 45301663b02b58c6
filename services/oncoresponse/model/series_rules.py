"""Rules by which a model says which series it reads, and which it prefers where several fit.

A rule looks at one attribute of a series and says which candidates it likes. As a preference (``prefer``), rules are
applied in order; each keeps the candidates that it likes, and keeps them all when it likes none. As a requirement
(``match``), a series has to be liked by all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Candidate = TypeVar("_Candidate")

# What names a patient or an examination decides about no reconstruction, and would be quoted in a report.
_NEVER = re.compile(r"Patient|Physician|Operator|Institution|Accession|UID$|Comments$")


class SeriesRule(BaseModel):
    """One rule. Exactly one of ``equals``, ``contains``, ``lacks``, ``matches``, ``absent``, ``nearest``, ``smallest``
    and ``largest``.

    Attributes:
        keyword: DICOM keyword (PS3.6), such as ``ConvolutionKernel``, ``ReconstructionMethod``, ``SliceThickness``.
        equals: Text the attribute has; case and spaces around do not count, and numbers are compared as numbers. Of
            several values one has to.
        contains: Part of the text; likewise.
        lacks: Text that no value contains; an attribute that is absent contains nothing.
        absent: The attribute is absent or empty, such as ContrastBolusAgent before contrast.
        matches: Regular expression that is found somewhere in the text; case does not count.
        nearest: Number; liked are the candidates whose value is nearest.
        smallest: Liked are the candidates with the smallest value.
        largest: With the largest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)

    keyword: str = Field(pattern=r"^[A-Z][A-Za-z0-9]{2,63}$")
    equals: str | None = Field(default=None, min_length=1)
    contains: str | None = Field(default=None, min_length=1)
    lacks: str | None = Field(default=None, min_length=1)
    matches: str | None = Field(default=None, min_length=1)
    absent: bool = False
    nearest: float | None = None
    smallest: bool = False
    largest: bool = False

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        stated = [
            self.equals is not None,
            self.contains is not None,
            self.lacks is not None,
            self.matches is not None,
            self.absent,
            self.nearest is not None,
            self.smallest,
            self.largest,
        ]
        if sum(stated) != 1:
            raise ValueError(
                f"A rule on {self.keyword} needs exactly one of equals, contains, lacks, matches, absent, nearest, "
                "smallest, largest."
            )
        if _NEVER.search(self.keyword):
            raise ValueError(f"{self.keyword} identifies somebody or something and says nothing about a series.")
        from pydicom.datadict import tag_for_keyword

        if tag_for_keyword(self.keyword) is None:
            raise ValueError(f"{self.keyword} is no keyword of DICOM PS3.6, so the rule would never decide anything.")
        if self.matches is not None:
            try:
                re.compile(self.matches)
            except re.error as error:
                raise ValueError(f"The rule on {self.keyword} is no regular expression: {error}.") from None
        return self

    @property
    def text(self) -> str:
        """The rule in words, such as ``ConvolutionKernel contains "B30"``."""
        for word in ("equals", "contains", "lacks", "matches"):
            if (wanted := getattr(self, word)) is not None:
                return f'{self.keyword} {word} "{wanted}"'
        if self.absent:
            return f"{self.keyword} is absent"
        if self.nearest is not None:
            return f"{self.keyword} nearest to {self.nearest:g}"
        return f"{'smallest' if self.smallest else 'largest'} {self.keyword}"

    @property
    def is_comparison(self) -> bool:
        """Whether it ranks candidates, and so says nothing about one alone."""
        return self.nearest is not None or self.smallest or self.largest

    def liked(self, values: Sequence[tuple[str, ...]]) -> list[bool]:
        """Which candidates the rule likes.

        Args:
            values: Of each candidate the values of the attribute as text, empty where it has none.
        """
        if not self.is_comparison:
            return [self._likes(each) for each in values]
        scores = [self._score(each) for each in values]
        known = [score for score in scores if score is not None]
        return [score is not None and score <= min(known) + 1e-6 for score in scores]

    def is_met_by(self, values: tuple[str, ...]) -> bool:
        """Whether a series has the number that the rule prefers (``nearest``), to one part in a hundred."""
        score = self._score(values)
        return self.nearest is not None and score is not None and score <= 0.01 * max(abs(self.nearest), 1.0)

    def _likes(self, values: Sequence[str]) -> bool:
        if self.absent:
            return not any(value.strip() for value in values)
        if self.lacks is not None:
            return not any(self.lacks.strip().casefold() in value.casefold() for value in values)
        return any(self._fits(value) for value in values)

    def _fits(self, value: str) -> bool:
        found = value.strip().casefold()
        if self.equals is not None:
            wanted = self.equals.strip().casefold()
            return found == wanted or _same_number(found, wanted)
        if self.contains is not None:
            return self.contains.strip().casefold() in found
        return self.matches is not None and re.search(self.matches, value, re.IGNORECASE) is not None

    def _score(self, values: tuple[str, ...]) -> float | None:
        try:
            number = float(values[0])
        except (IndexError, ValueError):
            return None
        if self.nearest is not None:
            return abs(number - self.nearest)
        return number if self.smallest else -number


def _same_number(first: str, second: str) -> bool:
    try:
        return float(first) == float(second)
    except ValueError:
        return False


def unfulfilled(rules: Sequence[SeriesRule], values_of: Callable[[str], tuple[str, ...]]) -> list[SeriesRule]:
    """The requirements that a series does not fulfil.

    Args:
        rules: Of an input of the model.
        values_of: Values of an attribute of the series, by keyword, as text; empty where it has none.
    """
    return [rule for rule in rules if not rule.liked([values_of(rule.keyword)])[0]]


def preferred(
    candidates: Sequence[_Candidate],
    rules: Sequence[SeriesRule],
    values_of: Callable[[_Candidate, str], tuple[str, ...]],
) -> tuple[list[_Candidate], tuple[SeriesRule, ...]]:
    """The candidates that the rules leave, and the rules that decided something."""
    kept, decided = list(candidates), []
    for rule in rules:
        if len(kept) < 2:
            break
        liked = rule.liked([values_of(candidate, rule.keyword) for candidate in kept])
        if any(liked) and not all(liked):
            kept = [candidate for candidate, likes in zip(kept, liked, strict=True) if likes]
            decided.append(rule)
    return kept, tuple(decided)
