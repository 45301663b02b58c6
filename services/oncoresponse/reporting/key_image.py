"""The image a reader looks at first: the axial slice with the most tumor, the contour on it, and where it lies.

Images are shown the radiological way (patient's right on the left, anterior up; coronal: head up), turned to the
nearest anatomical axes without interpolation between slices, and in millimetres, so unequal voxels keep their
proportions.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import matplotlib
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from oncoresponse.errors import EmptyMask
from oncoresponse.volume import Volume, require_same_frame_of_reference, require_same_grid, resample_to

CONTOUR_COLOR = "#D55E00"
"""Vermilion of the Okabe-Ito palette: distinct on grey for every kind of color vision."""

_CT_WINDOW_HU = (-160.0, 240.0)  # soft tissue: level 40, width 400
_SUV_UPPER_LIMITS = (5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0)
_MARGIN_MM = 60.0
_SMALLEST_VIEW_MM = 160.0
_PIXEL_MM = 1.0
_SECONDARY_COSINE = 0.26  # 15 degrees off an axis is named in the label, as viewers do
_DPI = 150
_LOCK = threading.Lock()  # matplotlib's rcParams are one for the whole process
_STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so every machine draws the same
    "font.size": 8,
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "pdf.compression": 6,
    "savefig.bbox": None,
    "axes.unicode_minus": True,
    "path.simplify": True,
    "image.composite_image": True,
    "svg.hashsalt": "oncoresponse",
}


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
    """

    title: str
    pixels: npt.NDArray[np.float64]
    window: tuple[float, float]
    inverted: bool
    contour: npt.NDArray[np.uint8]
    extent_mm: tuple[float, float, float, float]
    labels: tuple[str, str, str, str]
    caption: str


@contextmanager
def report_style() -> Iterator[None]:
    """Fixed drawing settings, whatever the machine's own; one thread at a time."""
    with _LOCK, matplotlib.rc_context(cast(Any, _STYLE)):
        yield


def key_image_panels(pet: Volume, ct: Volume | None, mask: Volume) -> list[Panel]:
    """Panels of the key image: PET axial, CT axial on the same slice (if there is a CT), PET coronal projection.

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
    suv_window = (0.0, _suv_upper_limit(float(values[inside > 0].max())))
    panels = [_axial_panel("PET", image, tumor, image, index, suv_window, inverted=True)]
    if ct is not None:
        panels.append(_axial_panel("CT", ct.image, tumor, image, index, _CT_WINDOW_HU, inverted=False))
    panels.append(_coronal_panel(image, values, inside, suv_window))
    return panels


def draw_panel(axes: Axes, panel: Panel) -> None:
    """Draw one panel into axes; the picture keeps the proportions of the patient."""
    axes.imshow(
        panel.pixels,
        cmap="gray_r" if panel.inverted else "gray",
        vmin=panel.window[0],
        vmax=panel.window[1],
        extent=panel.extent_mm,
        interpolation="bilinear",
        aspect="equal",
    )
    rows, columns = panel.contour.shape
    left, right, bottom, top = panel.extent_mm
    x = left + (np.arange(columns) + 0.5) * (right - left) / columns
    y = top - (np.arange(rows) + 0.5) * (top - bottom) / rows
    if panel.contour.any() and not panel.contour.all():
        axes.contour(x, y, panel.contour, levels=[0.5], colors=[CONTOUR_COLOR], linewidths=1.4)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    ink, halo = _annotation_colors(panel)
    outline = [withStroke(linewidth=2, foreground=halo)]
    places = (
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
        (0.5, 0.98, "center", "top"),
        (0.5, 0.02, "center", "bottom"),
    )
    for label, (across, up, horizontal, vertical) in zip(panel.labels, places, strict=True):
        axes.text(
            across,
            up,
            label,
            transform=axes.transAxes,
            ha=horizontal,
            va=vertical,
            color=ink,
            weight="bold",
            path_effects=outline,
        )
    _draw_scale_bar(axes, panel)
    axes.set_title(panel.title, fontsize=8.5, weight="bold", loc="left", pad=3)
    axes.set_xlabel(panel.caption, fontsize=7, labelpad=3)


def key_image_png(panels: Sequence[Panel], note: str) -> tuple[bytes, tuple[int, int]]:
    """The panels side by side as PNG, and its width and height in pixels.

    Args:
        panels: From :func:`key_image_panels`.
        note: One line below the picture: the research-use statement. No patient data.
    """
    ratios = [_width_over_height(panel) for panel in panels]
    with report_style():
        height = 4.0
        figure = Figure(figsize=(height * sum(ratios) * 0.8 + 0.25 * (len(panels) + 1), height), dpi=_DPI)
        canvas: Any = FigureCanvasAgg(figure)
        figure.set_facecolor("white")
        grid = figure.add_gridspec(1, len(panels), width_ratios=ratios, left=0.02, right=0.98, bottom=0.16, top=0.93)
        for column, panel in enumerate(panels):
            draw_panel(figure.add_subplot(grid[0, column]), panel)
        figure.text(0.5, 0.015, note, ha="center", va="bottom", fontsize=7, wrap=True)
        buffer = io.BytesIO()
        canvas.print_png(buffer, metadata={"Software": None})
        width, height_px = canvas.get_width_height()
    return buffer.getvalue(), (width, height_px)


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
        caption=f"{unit}\nLargest tumor area: slice {index + 1} of {pet.GetSize()[2]} from the feet",
    )


def _coronal_panel(
    image: sitk.Image,
    values: npt.NDArray[np.float64],
    inside: npt.NDArray[np.uint8],
    window: tuple[float, float],
) -> Panel:
    spacing = image.GetSpacing()
    direction = np.array(image.GetDirection()).reshape(3, 3)
    right, up = direction[:, 0], direction[:, 2]
    repeat = [max(round(length / _PIXEL_MM), 1) for length in (spacing[2], spacing[0])]
    contour = inside.max(axis=1)[::-1].repeat(repeat[0], axis=0).repeat(repeat[1], axis=1)
    return Panel(
        title="PET, coronal",
        pixels=values.max(axis=1)[::-1],
        window=window,
        inverted=True,
        contour=contour,
        extent_mm=(0.0, values.shape[2] * spacing[0], 0.0, values.shape[0] * spacing[2]),
        labels=(anatomical_label(-right), anatomical_label(right), anatomical_label(up), anatomical_label(-up)),
        caption=f"SUVbw 0 to {window[1]:g} g/mL\nMaximum intensity projection",
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


def _suv_upper_limit(suv_max: float) -> float:
    """Fixed steps, so that two reports compare; the first that shows the tumor below the end of the scale."""
    return next((limit for limit in _SUV_UPPER_LIMITS if suv_max <= 1.2 * limit), _SUV_UPPER_LIMITS[-1])


def _width_over_height(panel: Panel) -> float:
    left, right, bottom, top = panel.extent_mm
    return max(min((right - left) / (top - bottom), 2.5), 0.4)


def _annotation_colors(panel: Panel) -> tuple[str, str]:
    """Text and its halo: dark on the light background of an inverted PET, light on a CT."""
    return ("black", "white") if panel.inverted else ("white", "black")


def _draw_scale_bar(axes: Axes, panel: Panel) -> None:
    left, right, bottom, top = panel.extent_mm
    width, height = right - left, top - bottom
    length = max((step for step in (100.0, 50.0, 20.0, 10.0, 5.0) if step <= 0.4 * width), default=5.0)
    x, y = left + 0.05 * width, bottom + 0.07 * height
    ink, halo = _annotation_colors(panel)
    outline = [withStroke(linewidth=4, foreground=halo)]
    axes.plot([x, x + length], [y, y], color=ink, linewidth=2, solid_capstyle="butt", path_effects=outline)
    axes.text(
        x,
        y + 0.02 * height,
        f"{length / 10:g} cm",
        color=ink,
        fontsize=7,
        ha="left",
        va="bottom",
        path_effects=[withStroke(linewidth=2, foreground=halo)],
    )
