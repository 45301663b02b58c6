"""Rules by which a model prefers one series where several fit, such as two reconstructions of one PET.

A rule looks at one attribute of a series and says which candidates it likes. Rules are applied in order; each keeps the
candidates that it likes, and keeps them all when it likes none, because a preference is no requirement.
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
    """One preference. Exactly one of ``equals``, ``contains``, ``matches``, ``nearest``, ``smallest`` and ``largest``.

    Attributes:
        keyword: DICOM keyword (PS3.6), such as ``ConvolutionKernel``, ``ReconstructionMethod``, ``SliceThickness``.
        equals: Text the attribute has; case and spaces around do not count. Of several values one has to.
        contains: Part of the text; likewise.
        matches: Regular expression that is found somewhere in the text; case does not count.
        nearest: Number; liked are the candidates whose value is nearest.
        smallest: Liked are the candidates with the smallest value.
        largest: With the largest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    keyword: str = Field(pattern=r"^[A-Z][A-Za-z0-9]{2,63}$")
    equals: str | None = Field(default=None, min_length=1)
    contains: str | None = Field(default=None, min_length=1)
    matches: str | None = Field(default=None, min_length=1)
    nearest: float | None = None
    smallest: bool = False
    largest: bool = False

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        stated = [
            self.equals is not None,
            self.contains is not None,
            self.matches is not None,
            self.nearest is not None,
            self.smallest,
            self.largest,
        ]
        if sum(stated) != 1:
            raise ValueError(
                f"A rule on {self.keyword} needs exactly one of equals, contains, matches, nearest, smallest, largest."
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
        for word in ("equals", "contains", "matches"):
            if (wanted := getattr(self, word)) is not None:
                return f'{self.keyword} {word} "{wanted}"'
        if self.nearest is not None:
            return f"{self.keyword} nearest to {self.nearest:g}"
        return f"{'smallest' if self.smallest else 'largest'} {self.keyword}"

    def liked(self, values: Sequence[tuple[str, ...]]) -> list[bool]:
        """Which candidates the rule likes.

        Args:
            values: Of each candidate the values of the attribute as text, empty where it has none.
        """
        if self.nearest is None and not self.smallest and not self.largest:
            return [any(self._fits(value) for value in each) for each in values]
        scores = [self._score(each) for each in values]
        known = [score for score in scores if score is not None]
        return [score is not None and score <= min(known) + 1e-6 for score in scores]

    def _fits(self, value: str) -> bool:
        found = value.strip().casefold()
        if self.equals is not None:
            return found == self.equals.strip().casefold()
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
