"""The one interface behind which networks of all kinds stand."""

from __future__ import annotations

from abc import ABC, abstractmethod

import SimpleITK as sitk

from oncoresponse.case.volume import Volume


class TumorNetwork(ABC):
    """A network that was trained elsewhere, with its own preprocessing, windows and resampling inside.

    Attributes:
        needs_ct: Whether :meth:`probability` must be given a CT.
        device_type: Where the network runs: ``cpu`` or ``cuda``.
    """

    needs_ct: bool
    device_type: str

    @abstractmethod
    def probability(self, pet: Volume, ct: Volume | None) -> sitk.Image:
        """Tumor probability at every voxel of the PET.

        Args:
            pet: ``Quantity.SUV_BODY_WEIGHT``, g/mL.
            ct: ``Quantity.HOUNSFIELD``, same frame of reference, its own grid; None only where ``needs_ct`` is false.

        Returns:
            float32, 0 to 1, on the PET grid. 0 where the network has seen nothing.

        Raises:
            ModelFolderInvalid: The output is not what the declaration says.
            OutOfMemory: The device's memory does not suffice.
        """

    @abstractmethod
    def warm_up(self) -> None:
        """Run the network once on an empty window, so that the first study does not pay for it."""
