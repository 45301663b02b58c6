"""Is the tracer FDG? Radiopharmaceutical Information (DICOM PS3.3 C.8.9.2; PS3.16 CID 4020, CID 4021).

The tracer is stated up to four times: a code and its meaning, the free text (0018,0031), and the nuclide, which is a
code, a meaning and a half-life. Every statement is read by itself; those that contradict one another are refused.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard_codes

from oncoresponse.dicom import attributes
from oncoresponse.errors import UnsupportedTracer

FDG = "Fluorodeoxyglucose F^18^"
"""Code meaning of FDG in CID 4021."""

FLUORINE_18_HALF_LIFE_SECONDS = 6586.2

_FDG_CODES = frozenset({"35321007", "C-B1031", "Y-X1743"})
_FLUORINE_18_CODES = frozenset({"77004003", "C-111A1"})
# Designators under which scanners write SNOMED codes; a code of any other scheme means what its meaning says.
_SNOMED = frozenset({"", "SCT", "SRT", "SNM3", "SNM", "99SDM", "SNOMED-CT", "2.16.840.1.113883.6.96"})

# Half-lives in seconds of the other nuclides that PET tracers carry (Decay Data Evaluation Project).
_OTHER_HALF_LIVES = {
    "carbon-11": 1221.8,
    "nitrogen-13": 597.9,
    "oxygen-15": 122.2,
    "copper-64": 45721.0,
    "gallium-68": 4069.0,
    "rubidium-82": 75.5,
    "zirconium-89": 282276.0,
    "iodine-124": 360806.0,
    "yttrium-90": 230648.0,
    "scandium-44": 14551.0,
}
_HALF_LIFE_TOLERANCE = 0.01

# Everything below works on words of a-z and 0-9 separated by single blanks.
_GLUCOSE = r"(?:d )?gl[uy][ck]os(?:e|a|io|en?)"
_DEOXY = r"(?:deoxy|desoxy|deoxi|desoxi|desossi)"
_FDG_NAME = re.compile(
    r"\b(?:"
    r"(?:f ?18 ?|18 ?f ?)?fdg(?: ?f ?18| ?18 ?f)?"
    rf"|(?:2 )?(?:18 ?f ?|f ?18 ?)?flu(?:or?o?|ro|d[eo]?)? ?(?:18 ?f |f ?18 )?(?:2 )?{_DEOXY} ?{_GLUCOSE}"
    r"(?: ?f ?18| ?18 ?f)?"
    rf"|(?:2 )?{_DEOXY} 2 (?:18 ?f ?|f ?18 ?|18 )?(?:fluoro ?)?(?:beta )?{_GLUCOSE}"
    r")\b"
)
_FLUORINE_18 = re.compile(r"\b(?:f ?18|18 ?f|fluor(?:ine|in|o|ure)? ?18|18 ?fluor(?:ine|in|o|ure)?)\b")
# No other isotope of fluorine is used in PET; the half-life is looked at as well.
_FLUORINE = re.compile(r"f|fluor(?:ine|in|o|ure)?")
_OTHER_NUCLIDE = re.compile(
    r"\b(?:(?:c|carbon) ?11|11 ?(?:c|carbon)|(?:n|nitrogen) ?13|13 ?(?:n|nitrogen)|(?:o|oxygen) ?15|15 ?(?:o|oxygen)"
    r"|(?:cu|copper) ?6[0124]|6[0124] ?(?:cu|copper)|(?:ga|gallium) ?6[68]|6[68] ?(?:ga|gallium)"
    r"|(?:rb|rubidium) ?82|82 ?(?:rb|rubidium)|(?:zr|zirconium) ?89|89 ?(?:zr|zirconium)|(?:y|yttrium) ?90"
    r"|90 ?(?:y|yttrium)|(?:i|iodine) ?12[345]|12[345] ?(?:i|iodine)|(?:i|iodine) ?131|131 ?(?:i|iodine)"
    r"|(?:tc|technetium) ?99m?|99m? ?(?:tc|technetium)|(?:sc|scandium) ?4[34]|4[34] ?(?:sc|scandium))\b"
)
# Words that name no tracer, and the manufacturers' names for FDG.
_SAYS_NOTHING = re.compile(
    r"solution|solutions|injection|injectable|inj|iv|unknown|unspecified|other|none|na|nos|n|a|not|"
    r"specified|tracer|pet|ct|lot|batch|vial|nr|number|radiopharmaceutical|radiotracer|isotope|agent|dose|mbq|mci|bq|gbq|ml|usp|ph|"
    r"eur|in|for|the|of"
)
_BRANDS = re.compile(
    r"efdege|gluscan|glucotrace|metatrace|steripet|fluorscint|fdgscan|barnascan|flucis|gluco|fluorodex"
)
# Beside the name of FDG these words make something else of it.
_CHANGES_FDG = re.compile(
    r"not|no|non|kein|keine|ohne|without|sans|pas|sin|senza|other|than|instead|negative|labeled|labelled|"
    r"leukocyte|leukocytes|wbc|cells|liposome|phosphate|6p|oxime|like|analog|analogue|analogs|derivative|"
    r"precursor|mixture|and|und|et|plus|with|mit|or|oder|vs|psma|fapi|dota|dotatate|dotatoc|dotanoc|nota|"
    r"flt|fdopa|dopa|naf|fluoride|sodium|choline|fch|fec|fes|fet|fmiso|faza|fluciclovine|axumin|"
    r"flotufolastat|piflufolastat|dcfpyl|florbetapir|florbetaben|flutemetamol|flortaucipir|acetate|"
    r"methionine|fluorothymidine|estradiol|fluoroestradiol|misonidazole|galactose|fdgal|mannose|fdm|"
    r"fdglucosamine|cholesterol|ammonia|water|flurpiridaz"
)


class _Says(Enum):
    NOTHING = "nothing"
    FDG = "FDG"
    OTHER = "another tracer"


def require_fdg(dataset: Dataset) -> bool:
    """Refuse a PET image of another tracer.

    Returns:
        Whether the image says that the tracer is FDG; ``False`` when it says nothing about it.

    Raises:
        UnsupportedTracer: Another tracer, another nuclide, several at once, or statements that contradict one another.
        InvalidAttribute: An element cannot be read.
    """
    information = attributes.items(dataset, "RadiopharmaceuticalInformationSequence")
    if not information:
        return False
    if len(information) > 1:
        raise UnsupportedTracer(
            "The PET image lists several radiopharmaceuticals. Only a single injection of FDG is supported."
        )
    item = information[0]
    coded = _coded(item, "RadiopharmaceuticalCodeSequence")
    said = {_code_says(code, scheme) for code, scheme, _ in coded} | {_text_says(meaning) for *_, meaning in coded}
    named = _text_says(attributes.text(item, "Radiopharmaceutical") or "")
    everything = said | {named}
    if {_Says.FDG, _Says.OTHER} <= everything:
        raise UnsupportedTracer(
            "RadiopharmaceuticalCodeSequence and Radiopharmaceutical of the PET contradict each other: one names FDG, "
            "the other something else. Correct the one that is wrong at the source and send the series again.",
            keyword="Radiopharmaceutical" if named is _Says.OTHER else "RadiopharmaceuticalCodeSequence",
        )
    if _Says.OTHER in everything:
        raise UnsupportedTracer(
            "The PET tracer is not FDG. Only fluorine-18 fluorodeoxyglucose is supported; send the FDG PET."
        )
    _require_fluorine_18(item)
    return _Says.FDG in everything


def other_nuclide(half_life: float) -> str | None:
    """The nuclide other than fluorine-18 that has this half-life (s)."""
    for name, seconds in _OTHER_HALF_LIVES.items():
        if abs(half_life / seconds - 1) <= _HALF_LIFE_TOLERANCE:
            return name
    return None


def _require_fluorine_18(item: Dataset) -> None:
    said = set()
    for code, scheme, meaning in _coded(item, "RadionuclideCodeSequence"):
        words = _words(meaning)
        if scheme in _SNOMED and code:
            is_known = code in _FLUORINE_18_CODES or code in _STANDARD_NUCLIDES
            said |= {code in _FLUORINE_18_CODES} if is_known else set()
        if _OTHER_NUCLIDE.search(words):
            said.add(False)
        elif _FLUORINE_18.search(words) or _FLUORINE.fullmatch(words):
            said.add(True)
        elif not said and (code or not _says_nothing(words)):
            said |= set() if _says_nothing(words) and words else {False}
    if said == {True, False}:
        raise UnsupportedTracer(
            "Code and meaning in RadionuclideCodeSequence of the PET contradict each other. Correct the wrong "
            "one at the source and send the series again.",
            keyword="RadionuclideCodeSequence",
        )
    if said == {False}:
        raise UnsupportedTracer(
            "The PET radionuclide is not fluorine-18. Only FDG is supported; send the FDG PET.",
            keyword="RadionuclideCodeSequence",
        )
    half_life = attributes.number(item, "RadionuclideHalfLife")
    if half_life and (name := other_nuclide(half_life)):
        raise UnsupportedTracer(
            f"RadionuclideHalfLife of the PET is that of {name}"
            + (", which RadionuclideCodeSequence contradicts" if said else "")
            + ". Only FDG is supported; correct it at the source, or send the FDG PET.",
            keyword="RadionuclideHalfLife",
        )


def _code_says(code: str, scheme: str) -> _Says:
    if scheme in _SNOMED and code in _FDG_CODES:
        return _Says.FDG
    # SRT codes of PET tracers other than FDG begin alike; their SNOMED CT and DCM codes are those of CID 4021.
    if (scheme in _SNOMED and code.startswith("C-B1")) or (scheme in _SNOMED | {"DCM"} and code in _STANDARD_TRACERS):
        return _Says.OTHER
    return _Says.NOTHING


def _text_says(text: str) -> _Says:
    words = _words(text)
    rest, names = _FDG_NAME.subn(" ", words)
    if _OTHER_NUCLIDE.search(rest):
        return _Says.OTHER
    rest = _FLUORINE_18.sub(" ", rest)
    left = [word for word in rest.split() if not word.isdecimal() and not _FLUORINE.fullmatch(word)]
    if not names:
        if _has(_BRANDS, left) and not _has(_CHANGES_FDG, left):
            return _Says.FDG
        return _Says.NOTHING if all(map(_SAYS_NOTHING.fullmatch, left)) else _Says.OTHER
    # Letters and digits beside FDG ("AB-1234") are the number of a substance, unless they are an amount.
    is_numbered = any(
        (re.search(r"[a-z]", word) and re.search(r"\d", word) and not _is_amount(word)) for word in left
    ) or any(word in left and not _SAYS_NOTHING.fullmatch(word) for word in re.findall(r"\b([a-z]+) \d{2,}\b", rest))
    is_changed = is_numbered or _has(_CHANGES_FDG, left)
    return _Says.OTHER if is_changed else _Says.FDG


def _has(pattern: re.Pattern[str], words: list[str]) -> bool:
    return any(map(pattern.fullmatch, words))


def _is_amount(word: str) -> bool:
    return re.fullmatch(r"\d+(?:mbq|gbq|mci|bq|ml|h|min)", word) is not None


def _says_nothing(words: str) -> bool:
    return all(word.isdecimal() or _SAYS_NOTHING.fullmatch(word) for word in words.split())


def _words(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return " ".join(re.findall(r"[a-z0-9]+", plain))


def _coded(item: Dataset, keyword: str) -> list[tuple[str, str, str]]:
    """Code value, scheme and meaning of each item."""
    return [
        (
            (attributes.text(coded, "CodeValue") or attributes.text(coded, "LongCodeValue") or "").upper(),
            (attributes.text(coded, "CodingSchemeDesignator") or "").upper(),
            attributes.text(coded, "CodeMeaning") or "",
        )
        for coded in attributes.items(item, keyword)
    ]


def _values(collection: object) -> frozenset[str]:
    return frozenset(code.value for code in collection.concepts.values())  # type: ignore[attr-defined]


_STANDARD_TRACERS = _values(standard_codes.cid4021) - _FDG_CODES
_STANDARD_NUCLIDES = _values(standard_codes.cid4020) - _FLUORINE_18_CODES
