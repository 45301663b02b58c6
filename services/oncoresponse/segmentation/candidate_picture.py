"""One picture by which a physician chooses among the lesion candidates of a large scan."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.segmentation.lesion_candidates import LesionCandidate

_SHOWN_SUV = 10.0
_SHOWN_PERCENTILES = (1.0, 99.5)
_COLOR = "#d6336c"


def draw_candidates(scan: Volume, candidates: Sequence[LesionCandidate]) -> bytes:
    """Maximum intensity projections from the front and from the side, with the numbered boxes.

    The patient's head is up. From the front, the patient's right is on the left of the picture; from the side, the
    patient looks to the left. Axes are L, P, S in mm, as a lesion prompt takes them.

    Args:
        scan: The image that is contoured; any direction.
        candidates: Of :func:`~oncoresponse.segmentation.lesion_candidates.rank_candidates`.

    Returns:
        PNG.
    """
    axial = _along_the_patient(scan.image)
    intensities = sitk.GetArrayViewFromImage(axial)
    colors, lowest, highest, shown = _window(scan)
    spacing, origin, size = axial.GetSpacing(), axial.GetOrigin(), axial.GetSize()
    faces = [(origin[axis] - spacing[axis] / 2, origin[axis] + (size[axis] - 0.5) * spacing[axis]) for axis in range(3)]
    figure = Figure(figsize=(9, 8), layout="constrained")
    for axes, (across, title) in zip(
        figure.subplots(1, 2, sharey=True), ((0, "from the front"), (1, "from the side")), strict=True
    ):
        axes.imshow(
            intensities.max(axis=1 if across == 0 else 2),
            cmap=colors,
            vmin=lowest,
            vmax=highest,
            origin="lower",
            extent=(*faces[across], *faces[2]),
        )
        for item in candidates:
            low, high = item.low_mm, item.high_mm
            axes.add_patch(
                Rectangle(
                    (low[across], low[2]), high[across] - low[across], high[2] - low[2], fill=False, edgecolor=_COLOR
                )
            )
            axes.annotate(str(item.number), (high[across], high[2]), color=_COLOR, fontsize=11, fontweight="bold")
        axes.set(title=f"{shown}, {title}", xlabel="L (mm)" if across == 0 else "P (mm)")
    figure.axes[0].set_ylabel("S (mm)")
    figure.suptitle("Which of these is the lesion? A physician has to choose. Research use only.")
    stream = io.BytesIO()
    # Without the software and date, so that the same study gives the same bytes.
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return stream.getvalue()


def _window(scan: Volume) -> tuple[str, float, float, str]:
    """Colors, lowest and highest value that is shown, and what that is in words."""
    if scan.quantity is Quantity.SUV_BODY_WEIGHT:
        return "gray_r", 0.0, _SHOWN_SUV, f"PET, SUV 0 to {_SHOWN_SUV:.0f}"
    lowest, highest = (float(value) for value in np.percentile(scan.array.astype(np.float64), _SHOWN_PERCENTILES))
    return "gray", lowest, highest, f"{scan.quantity.value} {lowest:.0f} to {highest:.0f}"


def _along_the_patient(image: sitk.Image) -> sitk.Image:
    """The image on a grid whose axes are L, P, S, so that a turned scan is drawn where it lies."""
    oriented = sitk.DICOMOrient(image, "LPS")
    if np.allclose(oriented.GetDirection(), np.eye(3).ravel(), atol=1e-4):
        along: sitk.Image = oriented
        return along
    last = np.array(oriented.GetSize()) - 1
    corners = [
        oriented.TransformContinuousIndexToPhysicalPoint(np.where(bits, last, 0).astype(float).tolist())
        for bits in np.ndindex(2, 2, 2)
    ]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    spacing = np.array(oriented.GetSpacing())
    size = (np.ceil((high - low) / spacing) + 1).astype(int)
    turned: sitk.Image = sitk.Resample(
        oriented,
        size.tolist(),
        sitk.Transform(),
        sitk.sitkLinear,
        low.tolist(),
        spacing.tolist(),
        np.eye(3).ravel().tolist(),
        0.0,
        sitk.sitkFloat32,
    )
    return turned
