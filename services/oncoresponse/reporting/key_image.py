"""The image a reader looks at first: the axial slice with the most tumor, the contour on it, and where it lies.

Images are shown the radiological way (patient's right on the left, anterior up; coronal: head up), turned to the
nearest anatomical axes without interpolation between slices, and in millimetres, so unequal voxels keep their
proportions.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from PIL import Image
from skimage.measure import find_contours

from oncoresponse.case.volume import Volume, require_same_frame_of_reference, require_same_grid, resample_to
from oncoresponse.errors import EmptyMask
from oncoresponse.reporting.typesetting import displayable, set_picture

CONTOUR_COLOR = "#D55E00"
"""Vermilion of the Okabe-Ito palette: distinct on grey for every kind of color vision."""

SUV_WINDOW = (0.0, 10.0)
"""g/mL, the same in every report, so that two of them compare; hotter tissue is black."""

_CT_WINDOW_HU = (-160.0, 240.0)  # soft tissue: level 40, width 400
_MARGIN_MM = 60.0
_SMALLEST_VIEW_MM = 160.0
_PIXEL_MM = 1.0
_PRINTED_PIXEL_MM = 0.5
_MOST_PIXELS = 900
_SCALE_BARS_MM = (100.0, 50.0, 20.0, 10.0, 5.0)
_SECONDARY_COSINE = 0.26  # 15 degrees off an axis is named in the label, as viewers do


@dataclass(frozen=True)
class Panel:
    """One picture with everything needed to draw it.

    Attributes:
        title: What is shown.
        pixels: Rows downwards, columns to the right; physical units.
        window: Values shown as the two ends of the grey scale.
        inverted: High values dark, as PET is read.
        contour: Tumor on a finer grid of the same extent, 0 or 1.
        extent_mm: Left, right, bottom, top of both, in mm; row 0 is at the top.
        labels: Anatomical direction at left, right, top, bottom.
        caption: Scale and position.
        description: The picture in words, for who cannot see it.
    """

    title: str
    pixels: npt.NDArray[np.float64]
    window: tuple[float, float]
    inverted: bool
    contour: npt.NDArray[np.uint8]
    extent_mm: tuple[float, float, float, float]
    labels: tuple[str, str, str, str]
    caption: str
    description: str


def key_image_panels(pet: Volume, ct: Volume | None, mask: Volume) -> list[Panel]:
    """Panels of the key image: PET axial, CT axial on the same slice (if there is a CT), PET coronal and sagittal.

    Args:
        pet: SUVbw (g/mL), LPS.
        ct: HU, in the frame of reference of the PET; any grid.
        mask: Tumor, 0 or 1, on the PET grid.

    Raises:
        EmptyMask: The mask holds no voxel.
        FrameOfReferenceMismatch: PET, CT and mask cannot be compared.
        GeometryMismatch: The mask is not on the PET grid.
    """
    require_same_grid(pet, mask)
    if ct is not None:
        require_same_frame_of_reference(pet, ct)
    image = sitk.DICOMOrient(sitk.Cast(pet.image, sitk.sitkFloat64), "LPS")
    tumor = sitk.DICOMOrient(sitk.Cast(mask.image > 0, sitk.sitkUInt8), "LPS")
    values, inside = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(tumor)
    if not inside.any():
        raise EmptyMask("The tumor mask is empty. Draw a contour, or check the segmentation.")
    index = int(np.argmax(inside.sum(axis=(1, 2))))
    panels = [_axial_panel("PET", image, tumor, image, index, SUV_WINDOW, inverted=True)]
    if ct is not None:
        panels.append(_axial_panel("CT", ct.image, tumor, image, index, _CT_WINDOW_HU, inverted=False))
    panels += [_coronal_panel(image, values, inside), _sagittal_panel(image, values, inside)]
    return panels


def panel_content(panel: Panel, file: str) -> dict[str, Any]:
    """A panel as the templates read it.

    Args:
        panel: From :func:`key_image_panels`.
        file: Name under which the template finds :func:`panel_png`.
    """
    width, height = _size_mm(panel)
    rows, columns = panel.contour.shape
    padded = np.pad(panel.contour.astype(float), 1)
    rings = [
        [[round(float((x - 0.5) / columns), 4), round(float((y - 0.5) / rows), 4)] for y, x in ring]
        for ring in find_contours(padded, 0.5)  # type: ignore[no-untyped-call]
    ]
    bar = max((step for step in _SCALE_BARS_MM if step <= 0.4 * width), default=_SCALE_BARS_MM[-1])
    return {
        "title": panel.title,
        "file": file,
        "alt": panel.description,
        "width_mm": width,
        "height_mm": height,
        "dark": not panel.inverted,
        "contour": rings,
        "labels": list(panel.labels),
        "caption": panel.caption,
        "bar_mm": bar,
        "bar_text": f"{bar / 10:g} cm",
    }


def panel_png(panel: Panel) -> bytes:
    """The grey pixels of a panel, without contour and letters."""
    low, high = panel.window
    grey = np.clip((panel.pixels - low) / (high - low), 0, 1)
    pixels = np.rint(255 * (1 - grey if panel.inverted else grey)).astype(np.uint8)
    lengths = _size_mm(panel)
    shrink = max(1.0, max(lengths) / _PRINTED_PIXEL_MM / _MOST_PIXELS)
    width, height = (max(round(length / _PRINTED_PIXEL_MM / shrink), 1) for length in lengths)
    buffer = io.BytesIO()
    # Viewers of PDF/A may not smooth, so the picture comes in smooth.
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def key_image_png(panels: Sequence[Panel], note: str) -> tuple[bytes, tuple[int, int]]:
    """The panels side by side as PNG, and its width and height in pixels.

    Args:
        panels: From :func:`key_image_panels`.
        note: One line below the picture: the research-use statement. No patient data.
    """
    files = {f"panel-{number}.png": panel_png(panel) for number, panel in enumerate(panels)}
    content = {"panels": [panel_content(panel, file) for panel, file in zip(panels, files, strict=True)], "note": note}
    data = set_picture("key_image.typ", displayable(content), files)
    with Image.open(io.BytesIO(data)) as image:
        return data, image.size


def anatomical_label(direction: Sequence[float] | npt.NDArray[np.float64]) -> str:
    """Letters of a direction in LPS, strongest first: ``L``, ``PR`` and so on (DICOM PS3.3 C.7.6.1.1.1)."""
    letters = (("L", "R"), ("P", "A"), ("H", "F"))
    ordered = sorted(range(3), key=lambda axis: -abs(float(direction[axis])))
    label = ""
    for axis in ordered:
        if label and abs(direction[axis]) < _SECONDARY_COSINE:
            break
        label += letters[axis][0 if direction[axis] > 0 else 1]
    return label


def _axial_panel(
    title: str,
    source: sitk.Image,
    tumor: sitk.Image,
    pet: sitk.Image,
    index: int,
    window: tuple[float, float],
    *,
    inverted: bool,
) -> Panel:
    (low_i, high_i), (low_j, high_j) = _crop(tumor, pet)
    spacing = pet.GetSpacing()
    direction = np.array(pet.GetDirection()).reshape(3, 3)
    size_mm = ((high_i - low_i) * spacing[0], (high_j - low_j) * spacing[1])
    columns, rows = (max(round(length / _PIXEL_MM), 1) for length in size_mm)
    step = (size_mm[0] / columns, size_mm[1] / rows)
    corner = [low_i - 0.5 + 0.5 * step[0] / spacing[0], low_j - 0.5 + 0.5 * step[1] / spacing[1], float(index)]
    plane = sitk.Image(columns, rows, 1, sitk.sitkUInt8)
    plane.SetSpacing((step[0], step[1], spacing[2]))
    plane.SetOrigin(pet.TransformContinuousIndexToPhysicalPoint(corner))
    plane.SetDirection(pet.GetDirection())
    background = 0.0 if inverted else window[0]
    shown = resample_to(sitk.Cast(source, sitk.sitkFloat64), plane, interpolator=sitk.sitkLinear, outside=background)
    contour = resample_to(tumor, plane, interpolator=sitk.sitkNearestNeighbor, outside=0)
    right, down = direction[:, 0], direction[:, 1]
    unit = f"SUVbw 0 to {window[1]:g} g/mL" if inverted else f"{window[0]:g} to {window[1]:g} HU"
    return Panel(
        title=f"{title}, axial",
        pixels=sitk.GetArrayFromImage(shown)[0],
        window=window,
        inverted=inverted,
        contour=sitk.GetArrayFromImage(contour)[0],
        extent_mm=(0.0, size_mm[0], 0.0, size_mm[1]),
        labels=(
            anatomical_label(-right),
            anatomical_label(right),
            anatomical_label(-down),
            anatomical_label(down),
        ),
        caption=f"{unit}. Largest tumor area: slice {index + 1} of {pet.GetSize()[2]} from the feet",
        description=f"{title}, axial slice with the largest tumor area, tumor outlined",
    )


def _coronal_panel(
    image: sitk.Image,
    values: npt.NDArray[np.float64],
    inside: npt.NDArray[np.uint8],
) -> Panel:
    spacing = image.GetSpacing()
    direction = np.array(image.GetDirection()).reshape(3, 3)
    right, up = direction[:, 0], direction[:, 2]
    repeat = [max(round(length / _PIXEL_MM), 1) for length in (spacing[2], spacing[0])]
    contour = inside.max(axis=1)[::-1].repeat(repeat[0], axis=0).repeat(repeat[1], axis=1)
    return Panel(
        title="PET, coronal",
        pixels=values.max(axis=1)[::-1],
        window=SUV_WINDOW,
        inverted=True,
        contour=contour,
        extent_mm=(0.0, values.shape[2] * spacing[0], 0.0, values.shape[0] * spacing[2]),
        labels=(anatomical_label(-right), anatomical_label(right), anatomical_label(up), anatomical_label(-up)),
        caption=f"SUVbw 0 to {SUV_WINDOW[1]:g} g/mL. Maximum intensity projection",
        description="PET, coronal maximum intensity projection, tumor outlined",
    )


def _sagittal_panel(image: sitk.Image, values: npt.NDArray[np.float64], inside: npt.NDArray[np.uint8]) -> Panel:
    """A section, not a projection: from the side a projection lays both legs on each other."""
    index = int(np.argmax(inside.sum(axis=(0, 1))))
    spacing = image.GetSpacing()
    direction = np.array(image.GetDirection()).reshape(3, 3)
    right, up = direction[:, 1], direction[:, 2]
    repeat = [max(round(length / _PIXEL_MM), 1) for length in (spacing[2], spacing[1])]
    contour = inside[::-1, :, index].repeat(repeat[0], axis=0).repeat(repeat[1], axis=1)
    return Panel(
        title="PET, sagittal",
        pixels=values[::-1, :, index],
        window=SUV_WINDOW,
        inverted=True,
        contour=contour,
        extent_mm=(0.0, values.shape[1] * spacing[1], 0.0, values.shape[0] * spacing[2]),
        labels=(anatomical_label(-right), anatomical_label(right), anatomical_label(up), anatomical_label(-up)),
        caption=f"SUVbw 0 to {SUV_WINDOW[1]:g} g/mL. Section with the largest tumor area",
        description="PET, sagittal section with the largest tumor area, tumor outlined",
    )


def _crop(tumor: sitk.Image, pet: sitk.Image) -> tuple[tuple[int, int], tuple[int, int]]:
    """Index range (first, last + 1) along i and j of what is shown around the tumor."""
    inside = sitk.GetArrayViewFromImage(tumor) > 0
    ranges = []
    for axis, (numpy_axis, other) in enumerate(((2, (0, 1)), (1, (0, 2)))):
        found = np.flatnonzero(inside.any(axis=other))
        spacing, size = pet.GetSpacing()[axis], inside.shape[numpy_axis]
        centre = (found[0] + found[-1] + 1) / 2
        half = max((found[-1] + 1 - found[0]) / 2 + _MARGIN_MM / spacing, _SMALLEST_VIEW_MM / 2 / spacing)
        ranges.append((max(int(np.floor(centre - half)), 0), min(int(np.ceil(centre + half)), size)))
    return ranges[0], ranges[1]


def _size_mm(panel: Panel) -> tuple[float, float]:
    left, right, bottom, top = panel.extent_mm
    return right - left, top - bottom
