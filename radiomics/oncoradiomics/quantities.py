"""What the voxels of an image measure. It decides which measures of a lesion exist, and is never guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType

from oncoradiomics.errors import QuantityError

SUV_BODY_WEIGHT = "g/mL{SUVbw}"
"""Body-weight SUV: UCUM unit, with the annotation that tells it from other SUVs."""

HOUNSFIELD = "HU"
"""CT in Hounsfield units."""

_UNITS = MappingProxyType({SUV_BODY_WEIGHT: "g/mL", HOUNSFIELD: "[hnsf'U]"})
_UCUM = re.compile(r"[!-~]{1,64}")
# Words that leave open which quantity is meant, or that are another spelling of one.
_MEANT = MappingProxyType(
    {
        "suv": f"Which SUV is it? Body-weight SUV is written {SUV_BODY_WEIGHT}.",
        "g/ml": f"Which SUV is it? Body-weight SUV is written {SUV_BODY_WEIGHT}.",
        "suvbw": f"Body-weight SUV is written {SUV_BODY_WEIGHT}.",
        "[hnsf'u]": f"Hounsfield units are written {HOUNSFIELD}.",
        "hounsfield": f"Hounsfield units are written {HOUNSFIELD}.",
        "mask": "A mask has no intensities to measure.",
        "probability": "A probability map has no intensities to measure.",
    }
)


@dataclass(frozen=True)
class ImageQuantity:
    """A quantity of an image.

    Attributes:
        code: As documents and command lines write it: :data:`SUV_BODY_WEIGHT`, :data:`HOUNSFIELD`, or a UCUM unit.
        unit: UCUM unit of a voxel.
    """

    code: str
    unit: str

    @property
    def is_suv(self) -> bool:
        """Whether it is body-weight SUV."""
        return self.code == SUV_BODY_WEIGHT

    @property
    def is_density(self) -> bool:
        """Whether it is CT in HU."""
        return self.code == HOUNSFIELD


def image_quantity(code: str) -> ImageQuantity:
    """The quantity that a code stands for.

    Args:
        code: ``g/mL{SUVbw}``, ``HU``, or for anything else the UCUM unit of the voxels, such as ``mm2/s`` for an
            apparent diffusion coefficient or ``{intensity}`` for an MR image of no unit.

    Raises:
        QuantityError: The code is empty, leaves open what is meant, or is no UCUM unit.
    """
    if code in _UNITS:
        return ImageQuantity(code, _UNITS[code])
    if (hint := _MEANT.get(code.casefold())) is not None:
        raise QuantityError(f"'{code}' does not say what the voxels measure. {hint}")
    if not _UCUM.fullmatch(code):
        raise QuantityError(
            f"The quantity of an image is {SUV_BODY_WEIGHT}, {HOUNSFIELD}, or else the UCUM unit of its voxels. "
            "Say which."
        )
    return ImageQuantity(code, code)
