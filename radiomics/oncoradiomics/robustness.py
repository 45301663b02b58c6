"""How stable each feature is when the contour or the resampling changes as little as it plausibly may.

Contours vary as those of several observers would: the distance to the outline is shifted by a smooth random field, so
neighboring parts of the outline move together (after Zwanenburg et al., Sci Rep 9:614, 2019). Resampling varies by a
tenth of the voxel spacing. The intraclass correlation ICC(1,1) (Shrout and Fleiss, Psychol Bull 86:420, 1979) is the
share of a feature's variance that is between lesions and not between variants of one lesion.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage, stats

from oncoradiomics.errors import ExtractionError, ImageFileError
from oncoradiomics.extraction import describe_lesion
from oncoradiomics.settings import Settings

COLUMNS = (
    "feature",
    "icc",
    "icc_contour",
    "icc_contour_low",
    "icc_resampling",
    "icc_resampling_low",
    "lesions",
    "variants",
)
"""Of the table. ``icc`` is the smaller of the two, ``_low`` the lower end of the 95 % confidence interval; what is
undefined is ``nan``."""

SPACING_FACTORS = (0.9, 1.0, 1.1)
_CORRELATION_LENGTH_MM = 10.0


@dataclass(frozen=True)
class VariantFeatures:
    """Features of one lesion under each variant.

    Attributes:
        contour: One mapping a contour variant, the given contour first.
        resampling: One mapping a spacing factor.
    """

    contour: tuple[Mapping[str, float], ...]
    resampling: tuple[Mapping[str, float], ...]


def contour_variants(mask: sitk.Image, label: int, number: int, deviation_mm: float, seed: int) -> list[sitk.Image]:
    """The mask and ``number`` other plausible contours of the lesion.

    Args:
        mask: Label map.
        label: The lesion.
        number: How many contours beside the given one.
        deviation_mm: Standard deviation of the outline.
        seed: Of the random fields.

    Returns:
        Label maps of 1 on the grid of ``mask``; each touches the given lesion and is never empty.
    """
    region = sitk.GetArrayViewFromImage(mask) == label
    spacing = mask.GetSpacing()[::-1]
    inside = ndimage.distance_transform_edt(region, sampling=spacing)
    outside = ndimage.distance_transform_edt(~region, sampling=spacing)
    # Half-way between the voxels inside and outside the distance is 0.
    distance = np.where(region, -(inside - min(spacing) / 2), outside - min(spacing) / 2)
    random = np.random.default_rng(seed)
    variants = [region]
    for _ in range(number):
        field = ndimage.gaussian_filter(
            random.standard_normal(region.shape), [_CORRELATION_LENGTH_MM / step for step in spacing]
        )
        moved = distance < field / field.std() * deviation_mm
        # Only what hangs together with the lesion; islands far away are no contour of it.
        parts, _ = ndimage.label(moved, np.ones((3, 3, 3)))
        kept = np.isin(parts, np.setdiff1d(np.unique(parts[region]), 0))
        variants.append(kept if kept.any() else region)
    images = []
    for variant in variants:
        image = sitk.GetImageFromArray(variant.astype(np.uint8))
        image.CopyInformation(mask)
        images.append(image)
    return images


def resampling_variants(image: sitk.Image, settings: Settings) -> list[Settings]:
    """The settings with the spacing after resampling 10 % smaller, as it is, and 10 % larger.

    Settings that do not resample are varied around the spacing of the image.
    """
    wanted = settings.setting.resampled_pixel_spacing_mm or (0.0, 0.0, 0.0)
    spacing = [step or own for step, own in zip(wanted, image.GetSpacing(), strict=True)]
    return [
        settings.model_copy(
            update={
                "setting": settings.setting.model_copy(
                    update={
                        "resampled_pixel_spacing_mm": tuple(step * factor for step in spacing),
                        "interpolator": settings.setting.interpolator or "sitkBSpline",
                    }
                )
            }
        )
        for factor in SPACING_FACTORS
    ]


def variant_features(
    image: sitk.Image,
    mask: sitk.Image,
    settings: Settings,
    quantity: str,
    *,
    contours: int,
    deviation_mm: float,
    seed: int,
) -> VariantFeatures:
    """Features and measures of one lesion under each contour and each resampling.

    Raises:
        RadiomicsError: As :func:`~oncoradiomics.extraction.describe_lesion`.
    """
    label = settings.setting.label
    one = settings.model_copy(update={"setting": settings.setting.model_copy(update={"label": 1})})
    masks = contour_variants(mask, label, contours, deviation_mm, seed)

    def values(variant: sitk.Image, what: Settings) -> Mapping[str, float]:
        return describe_lesion(image, variant, what, quantity).values()

    return VariantFeatures(
        tuple(values(variant, one) for variant in masks),
        tuple(values(masks[0], what) for what in resampling_variants(image, one)),
    )


def intraclass_correlation(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """ICC(1,1) and the lower end of its 95 % confidence interval.

    Args:
        values: Shape (lesions, variants).

    Returns:
        Not a number with fewer than two lesions or variants; 1 where variants never differ.
    """
    lesions, variants = values.shape
    if lesions < 2 or variants < 2:
        return math.nan, math.nan
    means = values.mean(axis=1)
    between = variants * float(np.square(means - values.mean()).sum()) / (lesions - 1)
    within = float(np.square(values - means[:, None]).sum()) / (lesions * (variants - 1))
    if within == 0:
        return 1.0, 1.0
    ratio = between / within
    bound = ratio / float(stats.f.ppf(0.975, lesions - 1, lesions * (variants - 1)))
    return (ratio - 1) / (ratio + variants - 1), (bound - 1) / (bound + variants - 1)


def robustness_table(lesions: Sequence[VariantFeatures]) -> list[dict[str, str]]:
    """One row a feature, in the order of the features; see :data:`COLUMNS`.

    A feature that is undefined for a variant of a lesion is judged without that lesion.
    """
    names: dict[str, None] = {}
    for lesion in lesions:
        for variant in (*lesion.contour, *lesion.resampling):
            names |= dict.fromkeys(variant)
    rows = []
    for name in names:
        row = {"feature": name}
        used, found = [], []
        for column, kind in (("icc_contour", "contour"), ("icc_resampling", "resampling")):
            known = [getattr(lesion, kind) for lesion in lesions]
            complete = [[variant[name] for variant in each] for each in known if all(name in v for v in each)]
            used.append(len(complete))
            value, low = intraclass_correlation(np.array(complete)) if complete else (math.nan, math.nan)
            found.append(value)
            row |= {column: f"{value:.4f}", f"{column}_low": f"{low:.4f}"}
        # numpy's minimum, unlike Python's, is not a number if one of the two is not.
        row["icc"] = f"{np.min(found):.4f}"
        row["lesions"] = str(min(used))
        row["variants"] = str(len(lesions[0].contour) + len(lesions[0].resampling))
        rows.append(row)
    return rows


def write_robustness(rows: Sequence[Mapping[str, str]], path: Path) -> str:
    """Write the table as CSV; return its SHA-256, by which a model refers to it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def robust_features(path: Path, minimum_icc: float = 0.75) -> frozenset[str]:
    """Names of the features whose two ICCs are both at least ``minimum_icc``, for training to filter by.

    Args:
        path: What :func:`write_robustness` wrote.
        minimum_icc: 0.75 is good reliability by Koo and Li, J Chiropr Med 15:155, 2016.

    Raises:
        ImageFileError: The file cannot be read.
        ExtractionError: It is not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except OSError as error:
        raise ImageFileError("The robustness table cannot be read. Check that it exists.") from error
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ExtractionError("The robustness table has other columns. Make it with 'oncoradiomics robustness'.")
    return frozenset(row["feature"] for row in rows if float(row["icc"]) >= minimum_icc)
