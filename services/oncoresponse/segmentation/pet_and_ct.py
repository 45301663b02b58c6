"""The two images that the built-in networks read."""

from __future__ import annotations

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume, require_same_frame_of_reference
from oncoresponse.errors import InvalidRequest, SeriesNotFound
from oncoresponse.segmentation.input_images import InputImages


def pet_and_ct(images: InputImages) -> tuple[Volume, Volume]:
    """The contoured PET (SUVbw, g/mL) and the CT (HU) beside it.

    Raises:
        InvalidRequest: The contoured image is no PET in SUV.
        SeriesNotFound: There is no CT.
        FrameOfReferenceMismatch: Their positions cannot be compared.
    """
    pet, ct = images.contoured, images.beside(Quantity.HOUNSFIELD)
    if pet.quantity is not Quantity.SUV_BODY_WEIGHT:
        raise InvalidRequest(
            f"The network contours PET in {Quantity.SUV_BODY_WEIGHT.value}, and the image for the input "
            f"{images.segment_on} holds {pet.quantity.value}."
        )
    if ct is None:
        raise SeriesNotFound(
            "The network of this model needs the CT as well. Send it, or supply a contour.", modality="CT"
        )
    require_same_frame_of_reference(pet, ct)
    return pet, ct
