"""The image a reader looks at first: the axial slice with the most tumor, the contour on it, and where it lies.

What is shown follows from what the voxels measure, never from the name of an input: PET and CT have a fixed window, the
signal of MR, which has no unit, one between percentiles of the image. Of several lesions one is looked at, the others
are drawn where they cross its slices, and all of them have their numbers.

Images are shown the radiological way (patient's right on the left, anterior up; coronal: head up), turned to the
nearest anatomical axes without interpolation between slices, and in millimetres, so unequal voxels keep their
proportions.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from PIL import Image
from skimage.measure import find_contours

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume, require_same_frame_of_reference, resample_to, same_grid
from oncoresponse.errors import EmptyMask
from oncoresponse.reporting.typesetting import displayable, set_picture

CONTOUR_COLOR = "#D55E00"
"""Vermilion of the Okabe-Ito palette: distinct on grey for every kind of color vision."""

SUV_WINDOW = (0.0, 10.0)
"""g/mL, the same in every report, so that two of them compare; hotter tissue is black."""

_CT_WINDOW_HU = (-160.0, 240.0)  # soft tissue: level 40, width 400
_SIGNAL_PERCENTILES = (1.0, 99.5)
_MARGIN_MM = 60.0
_SMALLEST_VIEW_MM = 160.0
_PIXEL_MM = 1.0
_PRINTED_PIXEL_MM = 0.5
_MOST_PIXELS = 900
_SCALE_BARS_MM = (100.0, 50.0, 20.0, 10.0, 5.0)
_SECONDARY_COSINE = 0.26  # 15 degrees off an axis is named in the label, as viewers do


@dataclass(frozen=True, eq=False)
class ShownImage:
    """An image with the name under which a reader knows it.

    Attributes:
        title: Such as ``PET``; of several images of one modality with the input role.
        volume: LPS; any grid.
    """

    title: str
    volume: Volume

    @cached_property
    def window(self) -> _Window:
        """How its values become grey."""
        return _Window.of(self.volume)


@dataclass(frozen=True)
class Panel:
    """One picture with everything needed to draw it.

    Attributes:
        title: What is shown.
        pixels: Rows downwards, columns to the right; physical units.
        window: Values shown as the two ends of the grey scale.
        inverted: High values dark, as PET is read.
        contours: Each lesion on a finer grid of the same extent, 0 or 1; without a voxel where the panel misses it.
        extent_mm: Left, right, bottom, top of both, in mm; row 0 is at the top.
        labels: Anatomical direction at left, right, top, bottom.
        caption: Scale and position.
        description: The picture in words, for who cannot see it.
    """

    title: str
    pixels: npt.NDArray[np.float64]
    window: tuple[float, float]
    inverted: bool
    contours: tuple[npt.NDArray[np.uint8], ...]
    extent_mm: tuple[float, float, float, float]
    labels: tuple[str, str, str, str]
    caption: str
    description: str


@dataclass(frozen=True)
class _Window:
    """How values become grey, and how the caption says it."""

    low: float
    high: float
    text: str
    is_inverted: bool = False

    @classmethod
    def of(cls, volume: Volume) -> Self:
        if volume.quantity is Quantity.SUV_BODY_WEIGHT:
            low, high = SUV_WINDOW
            return cls(low, high, f"SUVbw {low:g} to {high:g} g/mL", is_inverted=True)
        if volume.quantity is Quantity.HOUNSFIELD:
            low, high = _CT_WINDOW_HU
            return cls(low, high, f"{low:g} to {high:g} HU")
        low, high = (float(value) for value in np.percentile(np.asarray(volume.array), _SIGNAL_PERCENTILES))
        first, last = _SIGNAL_PERCENTILES
        return cls(low, max(high, low + 1e-6), f"Signal, percentile {first:g} to {last:g} of the image")


@dataclass(frozen=True, eq=False)
class _Scene:
    """Lesions on the grid that everything is shown on, and the one that is looked at.

    Attributes:
        grid: 0, or the number of a lesion; axes i, j, k as near as can be to left, back, head.
        labels: The same as an array, axes (k, j, i).
        main: Number of the lesion that is looked at.
    """

    grid: sitk.Image
    labels: npt.NDArray[np.uint8]
    main: int

    @classmethod
    def of(cls, lesions: Volume, main: int) -> Self:
        grid = sitk.DICOMOrient(sitk.Cast(lesions.image, sitk.sitkUInt8), "LPS")
        return cls(grid, sitk.GetArrayFromImage(grid), main)

    @cached_property
    def numbers(self) -> range:
        return range(1, int(self.labels.max()) + 1)

    def position(self, axis: int) -> int:
        """Index of the slice with the most of the lesion, along an axis of the array."""
        others = tuple(other for other in range(3) if other != axis)
        return int(np.argmax((self.labels == self.main).sum(axis=others)))

    def contours(self, labels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], ...]:
        """Each lesion of a plane of labels, 0 or 1."""
        return tuple((labels == number).astype(np.uint8) for number in self.numbers)

    @property
    def largest_area(self) -> str:
        return f"area of lesion {self.main}" if len(self.numbers) > 1 else "tumor area"

    @property
    def outlined(self) -> str:
        return "lesions outlined and numbered" if len(self.numbers) > 1 else "tumor outlined"


def key_image_panels(shown: Sequence[ShownImage], lesions: Volume, main: int = 1) -> list[Panel]:
    """Panels of the key image: each image on the axial slice with the most tumor, the first also from front and side.

    From the front PET is a maximum intensity projection, which shows every lesion; other images are a section.

    Args:
        shown: The first is the main one.
        lesions: 0, or the number of a lesion; LPS. Everything is shown on its grid.
        main: Number of the lesion that slices go through.

    Raises:
        EmptyMask: There is no lesion.
        FrameOfReferenceMismatch: Images and lesions cannot be compared.
    """
    for image in shown:
        require_same_frame_of_reference(image.volume, lesions)
    scene = _Scene.of(lesions, main)
    if not (scene.labels == main).any():
        raise EmptyMask("The tumor mask is empty. Draw a contour, or check the segmentation.")
    panels = [_axial_panel(image, scene) for image in shown]
    first = shown[0]
    values = sitk.DICOMOrient(sitk.Cast(first.volume.image, sitk.sitkFloat64), "LPS")
    if not same_grid(values, scene.grid):
        values = resample_to(values, scene.grid, interpolator=sitk.sitkLinear, outside=_outside(first.volume))
    array = sitk.GetArrayFromImage(values)
    return [*panels, _coronal_panel(first, array, scene), _sagittal_panel(first, array, scene)]


def _outside(volume: Volume) -> float:
    """What is shown beyond an image: no uptake, no signal, air."""
    return _CT_WINDOW_HU[0] if volume.quantity is Quantity.HOUNSFIELD else 0.0


def panel_content(panel: Panel, file: str) -> dict[str, Any]:
    """A panel as the templates read it.

    Args:
        panel: From :func:`key_image_panels`.
        file: Name under which the template finds :func:`panel_png`.
    """
    width, height = _size_mm(panel)
    outlines = [_outline(contour) for contour in panel.contours]
    bar = max((step for step in _SCALE_BARS_MM if step <= 0.4 * width), default=_SCALE_BARS_MM[-1])
    return {
        "title": panel.title,
        "file": file,
        "alt": panel.description,
        "width_mm": width,
        "height_mm": height,
        "dark": not panel.inverted,
        "contour": [ring for rings in outlines for ring in rings],
        "numbers": _numbers(outlines) if len(outlines) > 1 else [],
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


_Ring = list[list[float]]


def _outline(contour: npt.NDArray[np.uint8]) -> list[_Ring]:
    """Closed lines around a lesion; x and y as shares of the panel's width and height."""
    rows, columns = contour.shape
    padded = np.pad(contour.astype(float), 1)
    return [
        [[round(float((x - 0.5) / columns), 4), round(float((y - 0.5) / rows), 4)] for y, x in ring]
        for ring in find_contours(padded, 0.5)  # type: ignore[no-untyped-call]
    ]


def _numbers(outlines: Sequence[list[_Ring]]) -> list[dict[str, Any]]:
    """The number of each lesion that a panel shows, and the middle of the right side of the box around it."""
    found = []
    for number, rings in enumerate(outlines, start=1):
        points = [point for ring in rings for point in ring]
        if points:
            heights = [y for _, y in points]
            place = {"x": max(x for x, _ in points), "y": (min(heights) + max(heights)) / 2}
            found.append({"text": str(number), **place})
    return found


def _axial_panel(image: ShownImage, scene: _Scene) -> Panel:
    grid, index = scene.grid, scene.position(0)
    window = image.window
    (low_i, high_i), (low_j, high_j) = _crop(scene)
    spacing = grid.GetSpacing()
    direction = np.array(grid.GetDirection()).reshape(3, 3)
    size_mm = ((high_i - low_i) * spacing[0], (high_j - low_j) * spacing[1])
    columns, rows = (max(round(length / _PIXEL_MM), 1) for length in size_mm)
    step = (size_mm[0] / columns, size_mm[1] / rows)
    corner = [low_i - 0.5 + 0.5 * step[0] / spacing[0], low_j - 0.5 + 0.5 * step[1] / spacing[1], float(index)]
    plane = sitk.Image(columns, rows, 1, sitk.sitkUInt8)
    plane.SetSpacing((step[0], step[1], spacing[2]))
    plane.SetOrigin(grid.TransformContinuousIndexToPhysicalPoint(corner))
    plane.SetDirection(grid.GetDirection())
    source = sitk.Cast(image.volume.image, sitk.sitkFloat64)
    shown = resample_to(source, plane, interpolator=sitk.sitkLinear, outside=_outside(image.volume))
    labels = resample_to(grid, plane, interpolator=sitk.sitkNearestNeighbor, outside=0)
    right, down = direction[:, 0], direction[:, 1]
    return Panel(
        title=f"{image.title}, axial",
        pixels=sitk.GetArrayFromImage(shown)[0],
        window=(window.low, window.high),
        inverted=window.is_inverted,
        contours=scene.contours(sitk.GetArrayFromImage(labels)[0]),
        extent_mm=(0.0, size_mm[0], 0.0, size_mm[1]),
        labels=(
            anatomical_label(-right),
            anatomical_label(right),
            anatomical_label(-down),
            anatomical_label(down),
        ),
        caption=f"{window.text}. Largest {scene.largest_area}: slice {index + 1} of {grid.GetSize()[2]} from the feet",
        description=f"{image.title}, axial slice with the largest {scene.largest_area}, {scene.outlined}",
    )


def _coronal_panel(image: ShownImage, values: npt.NDArray[np.float64], scene: _Scene) -> Panel:
    is_projection = image.volume.quantity is Quantity.SUV_BODY_WEIGHT
    index = scene.position(1)
    return _upright_panel(
        image,
        scene,
        pixels=values.max(axis=1) if is_projection else values[:, index, :],
        contours=[(scene.labels == number).max(axis=1).astype(np.uint8) for number in scene.numbers]
        if is_projection
        else scene.contours(scene.labels[:, index, :]),
        axis=0,
        view="coronal",
        what="maximum intensity projection" if is_projection else f"section with the largest {scene.largest_area}",
    )


def _sagittal_panel(image: ShownImage, values: npt.NDArray[np.float64], scene: _Scene) -> Panel:
    """A section, not a projection: from the side a projection lays both legs on each other."""
    index = scene.position(2)
    return _upright_panel(
        image,
        scene,
        pixels=values[:, :, index],
        contours=scene.contours(scene.labels[:, :, index]),
        axis=1,
        view="sagittal",
        what=f"section with the largest {scene.largest_area}",
    )


def _upright_panel(
    image: ShownImage,
    scene: _Scene,
    *,
    pixels: npt.NDArray[np.float64],
    contours: Sequence[npt.NDArray[np.uint8]],
    axis: int,
    view: str,
    what: str,
) -> Panel:
    """A panel with the head up.

    Args:
        image: What is shown.
        scene: Where.
        pixels: Axes (k, ``axis``).
        contours: The same axes, one for each lesion.
        axis: Grid axis that goes to the right: 0 (i) or 1 (j).
        view: Such as ``coronal``.
        what: What the picture is, for its caption.
    """
    window = image.window
    spacing = scene.grid.GetSpacing()
    direction = np.array(scene.grid.GetDirection()).reshape(3, 3)
    right, up = direction[:, axis], direction[:, 2]
    repeat = [max(round(length / _PIXEL_MM), 1) for length in (spacing[2], spacing[axis])]
    return Panel(
        title=f"{image.title}, {view}",
        pixels=pixels[::-1],
        window=(window.low, window.high),
        inverted=window.is_inverted,
        contours=tuple(item[::-1].repeat(repeat[0], axis=0).repeat(repeat[1], axis=1) for item in contours),
        extent_mm=(0.0, pixels.shape[1] * spacing[axis], 0.0, pixels.shape[0] * spacing[2]),
        labels=(anatomical_label(-right), anatomical_label(right), anatomical_label(up), anatomical_label(-up)),
        caption=f"{window.text}. {what[0].upper()}{what[1:]}",
        description=f"{image.title}, {view} {what}, {scene.outlined}",
    )


def _crop(scene: _Scene) -> tuple[tuple[int, int], tuple[int, int]]:
    """Index range (first, last + 1) along i and j of what is shown around the lesion that is looked at."""
    inside = scene.labels == scene.main
    ranges = []
    for axis, (numpy_axis, other) in enumerate(((2, (0, 1)), (1, (0, 2)))):
        found = np.flatnonzero(inside.any(axis=other))
        spacing, size = scene.grid.GetSpacing()[axis], inside.shape[numpy_axis]
        centre = (found[0] + found[-1] + 1) / 2
        half = max((found[-1] + 1 - found[0]) / 2 + _MARGIN_MM / spacing, _SMALLEST_VIEW_MM / 2 / spacing)
        ranges.append((max(int(np.floor(centre - half)), 0), min(int(np.ceil(centre + half)), size)))
    return ranges[0], ranges[1]


def _size_mm(panel: Panel) -> tuple[float, float]:
    left, right, bottom, top = panel.extent_mm
    return right - left, top - bottom
