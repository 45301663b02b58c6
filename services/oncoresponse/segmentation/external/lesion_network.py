"""The one interface behind which networks of all kinds stand."""

from __future__ import annotations

from abc import ABC, abstractmethod

import SimpleITK as sitk

from oncoresponse.segmentation.input_images import InputImages


class LesionNetwork(ABC):
    """A network that was trained elsewhere, with its own preprocessing, windows and resampling inside.

    Attributes:
        device_type: Where the network runs: ``cpu`` or ``cuda``.
    """

    device_type: str

    @abstractmethod
    def probability(self, images: InputImages) -> sitk.Image:
        """Tumor probability at every voxel of the image that is contoured.

        Args:
            images: With every input that the declaration names, in one frame of reference.

        Returns:
            float32, 0 to 1, on the grid of the contoured image. 0 where the network has seen nothing.

        Raises:
            SeriesNotFound: An input is not there.
            ModelFolderInvalid: The output is not what the declaration says.
            OutOfMemory: The device's memory does not suffice.
        """

    @abstractmethod
    def warm_up(self) -> None:
        """Run the network once on an empty window, so that the first study does not pay for it."""
