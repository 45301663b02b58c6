"""Which objects may leave: nobody looks at their pixels, so what usually shows text in them does not.

Images of a scanner (CT, PET, MR) hold no burned-in text; contours (RTSTRUCT, SEG) no image at all. Screen captures,
ultrasound, photographs and films usually hold some. Documents, reports and raw data hold text everywhere.
"""

from __future__ import annotations

from pydicom import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SegmentationStorage,
)

_CONTOURS = frozenset((RTStructureSetStorage, SegmentationStorage))
_SCANNER_IMAGES = frozenset(
    (
        CTImageStorage,
        EnhancedCTImageStorage,
        EnhancedMRImageStorage,
        EnhancedPETImageStorage,
        LegacyConvertedEnhancedCTImageStorage,
        LegacyConvertedEnhancedMRImageStorage,
        LegacyConvertedEnhancedPETImageStorage,
        MRImageStorage,
        PositronEmissionTomographyImageStorage,
    )
)


def why_left_out(dataset: Dataset, *, no_burned_in: bool = False) -> str:
    """Why an object must not leave; empty where it may.

    Args:
        dataset: The object.
        no_burned_in: Somebody has looked at the pixels of the images that are neither CT, PET nor MR, and declares that
            no text is in them.
    """
    if str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES":
        return "Burned In Annotation (0028,0301) is YES"
    kind = str(dataset.get("SOPClassUID", ""))
    if kind in _CONTOURS:
        return ""
    derived = "SECONDARY" in [str(item).upper() for item in dataset.get("ImageType", None) or []]
    screen = derived and "ConversionType" in dataset
    if kind in _SCANNER_IMAGES and not screen:
        return ""
    if "PixelData" not in dataset:
        return "an object that is neither an image nor a contour"
    if no_burned_in:
        return ""
    return "an image that is neither CT, PET nor MR of a scanner, and may show text"
