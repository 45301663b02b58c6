"""Is the tracer FDG? Radiopharmaceutical Information (DICOM PS3.3 C.8.9.2; PS3.16 CID 4020, CID 4021)."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

from oncoresponse.dicom import attributes
from oncoresponse.errors import UnsupportedTracer

FDG = "Fluorodeoxyglucose F^18^"
"""Code meaning of FDG in CID 4021."""

_FDG_CODES = frozenset({"C-B1031", "35321007"})
_FLUORINE_18_CODES = frozenset({"C-111A1", "77004003"})
_FDG_WORDS = re.compile(
    r"fdg|flu(or|d)o?[\s-]*(2[\s-]*)?deoxy[\s-]*(d[\s-]*)?glucose|fluorodesoxyglu|fludeoxyglucose", re.I
)
# Names that say no more than the nuclide, or nothing at all.
_SAYS_NOTHING = re.compile(
    r"[\W_]*(solution|unknown|other|none|tracer|(f(luorine)?[\W_]*18)|(18[\W_]*f(luorine)?))?[\W_]*", re.I
)
_FLUORINE_18_WORDS = re.compile(r"\b\^?18\^?[\W_]*f(luor\w*)?\b|\bf(luor\w*)?[\W_]*18\b", re.I)


def require_fdg(dataset: Dataset) -> bool:
    """Refuse a PET image of another tracer.

    The coded name decides; the free text (0018,0031) decides where there is no code or the code says nothing.

    Returns:
        Whether the image says that the tracer is FDG; ``False`` when it says nothing about it.

    Raises:
        UnsupportedTracer: Another tracer, another nuclide, or several at once.
    """
    information = attributes.items(dataset, "RadiopharmaceuticalInformationSequence")
    if not information:
        return False
    if len(information) > 1:
        raise UnsupportedTracer(
            "The PET image lists several radiopharmaceuticals. Only a single injection of FDG is supported."
        )
    _require_fluorine_18(information[0])
    said = False
    for values, text in (_coded(information[0], "RadiopharmaceuticalCodeSequence"), _named(information[0])):
        if values & _FDG_CODES or (text and _FDG_WORDS.search(text)):
            return True
        said = said or bool(text and not _SAYS_NOTHING.fullmatch(text))
        if said:
            break
    if said:
        raise UnsupportedTracer(
            "The PET tracer is not FDG. Only fluorine-18 fluorodeoxyglucose is supported; send the FDG PET."
        )
    return False


def _require_fluorine_18(information: Dataset) -> None:
    codes, text = _coded(information, "RadionuclideCodeSequence")
    if not codes and not text:
        return
    if codes & _FLUORINE_18_CODES or (text and (_FLUORINE_18_WORDS.search(text) or _SAYS_NOTHING.fullmatch(text))):
        return
    raise UnsupportedTracer("The PET radionuclide is not fluorine-18. Only FDG is supported; send the FDG PET.")


def _coded(information: Dataset, keyword: str) -> tuple[set[str], str]:
    codes, meanings = set(), []
    for item in attributes.items(information, keyword):
        codes.add(attributes.text(item, "CodeValue") or "")
        meanings.append(attributes.text(item, "CodeMeaning") or "")
    return codes - {""}, " ".join(meanings).strip()


def _named(information: Dataset) -> tuple[set[str], str]:
    return set(), attributes.text(information, "Radiopharmaceutical") or ""
