"""Calibrate how much of a tumor may be missing, by cutting whole tumors with planes.

``python -m oncoresponse.segmentation.training.border_calibration --data DATA --model models/sts-petct``

Each whole tumor (a contour that does not reach the border of its image) is cut as the border of an image would cut it:
by one plane across each index axis from each side, by two planes on one axis, and by two planes on two axes, at
uniformly drawn places through the tumor, a plane that only touches it included. Of each visible part the share of its
surface on the cut is measured; in bands of that share, the whole over the visible volume is what the calibration is
about. All cuts of one patient together count as one patient, whatever the size of the tumor, and the figures of a
patient come from a calibration on the others. The staircase of voxels makes the share depend a little on the grid, so
the contours are cut on the grid of the PET and on that of the CT, and the larger factor of the two is kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import SimpleITK as sitk

from oncoresponse.errors import GeometryMismatch, TrainingDataInvalid
from oncoresponse.segmentation.border_interval import (
    CALIBRATION_FILE,
    AutomaticBand,
    BorderBand,
    BorderCalibration,
    BorderContact,
    border_surface,
    grown,
)
from oncoresponse.segmentation.mask_selection import mask_from_probability
from oncoresponse.segmentation.network import load_networks, read_network_description
from oncoresponse.segmentation.preprocessing import prepare
from oncoresponse.segmentation.training.cohort import CohortImages, assign_folds, cohort_patients, read_patient
from oncoresponse.segmentation.training.documentation import write_between_marks
from oncoresponse.segmentation.training.out_of_fold import network_probability
from oncoresponse.segmentation.uncertainty import uncertainty_measures, volume_interval_ml

BEGIN = "<!-- written by oncoresponse.segmentation.training.border_calibration: begin -->"
END = "<!-- written by oncoresponse.segmentation.training.border_calibration: end -->"
LEVEL = 0.8
LARGEST_FACTOR = 5.0
"""An upper bound of more than five times what is seen says nothing that helps anybody."""
BAND_ENDS = (0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25, 0.275, 0.3)
AUTOMATIC_BAND_ENDS = (0.1, 0.15, 0.2, 0.25, 0.3)
CONTACTS: tuple[BorderContact, ...] = ("slice_ends", "slice_sides", "both")

_SMALLEST_VISIBLE_ML = 1.0
_DRAWN_CUTS = 200
_FEWEST_PATIENTS = 10
_KIND_WEIGHTS = {"one plane": 0.5, "one axis": 0.25, "two axes": 0.25}
_NETWORK_CUTS = 14
_SEED = 20261126

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cut:
    """A block of voxels to keep, first and one after the last index along (k, j, i), and how it came to be."""

    kind: str
    low: Indices
    high: Indices


def cuts_through(tumor: npt.NDArray[np.bool_], random: np.random.Generator) -> Iterator[Cut]:
    """The cuts of one tumor; what they keep reaches to the end of the image where there is no cut."""
    where = np.argwhere(tumor)
    first, last = where.min(axis=0), where.max(axis=0) + 1
    whole = np.array(tumor.shape)

    def kept(kind: str, faces: Sequence[tuple[int, int, int]]) -> Cut:
        low, high = np.zeros(3, dtype=np.int64), whole.astype(np.int64)
        for axis, end, place in faces:
            if end:
                high[axis] = place
            else:
                low[axis] = place
        return Cut(kind, low, high)

    for axis in range(3):
        for place in range(int(first[axis]) + 1, int(last[axis]) + 1):
            yield kept("one plane", [(axis, 1, place)])
            yield kept("one plane", [(axis, 0, int(first[axis] + last[axis]) - place)])
    for _ in range(_DRAWN_CUTS):
        axis = int(random.integers(3))
        low, high = np.sort(random.integers(first[axis], last[axis] + 1, 2)).tolist()
        if low < high:
            yield kept("one axis", [(axis, 0, low), (axis, 1, high)])
        faces = []
        for axis in random.choice(3, 2, replace=False).tolist():
            end = int(random.integers(2))
            faces.append((axis, end, int(random.integers(first[axis], last[axis])) + end))
        yield kept("two axes", faces)


def measure_cuts(patient: str, grid: str, tumor: sitk.Image, random: np.random.Generator) -> list[dict[str, Any]]:
    """One row for each cut of a whole tumor that leaves at least 1 ml: share, border, and whole over visible."""
    inside = np.pad(sitk.GetArrayFromImage(_around(tumor)) != 0, 1)
    voxel_ml = float(np.prod(tumor.GetSpacing())) / 1000
    total, extent = int(np.count_nonzero(inside)), _slices(inside)
    rows = []
    for cut in cuts_through(inside, random):
        part = inside[tuple(slice(low, high) for low, high in zip(cut.low, cut.high, strict=True))]
        seen = int(np.count_nonzero(part))
        if seen * voxel_ml < _SMALLEST_VISIBLE_ML:
            continue
        image = sitk.GetImageFromArray(part.astype(np.uint8))
        image.SetSpacing(tumor.GetSpacing())
        share, contact = border_surface(image)
        if contact is None:
            continue
        rows.append(
            {
                "patient": patient,
                "grid": grid,
                "kind": cut.kind,
                "contact": contact,
                "share": share,
                "volume": total / seen,
                "slice_extent": extent / _slices(part),
            }
        )
    counts = pd.Series([row["kind"] for row in rows]).value_counts()
    return [row | {"weight": _KIND_WEIGHTS[str(row["kind"])] / int(counts[str(row["kind"])])} for row in rows]


def fit_bands(cuts: pd.DataFrame, level: float = LEVEL) -> dict[BorderContact, list[tuple[float, float, float, int]]]:
    """Upper end, factor of volume, factor of slice extent and number of patients of each band.

    A factor is the quantile of the patients' cuts, each patient weighing the same, at ``level * (n + 1) / n`` as in
    split-conformal prediction with n patients; of several grids the larger one. It never falls with the share.
    """
    found: dict[BorderContact, list[tuple[float, float, float, int]]] = {}
    for contact in CONTACTS:
        bands: list[tuple[float, float, float, int]] = []
        volume = extent = 1.0
        for low, high in zip((0.0, *BAND_ENDS), BAND_ENDS, strict=False):
            inside = cuts[(cuts["contact"] == contact) & (cuts["share"] > low) & (cuts["share"] <= high)]
            count = int(inside["patient"].nunique())
            if count < _FEWEST_PATIENTS:
                break
            for _, own in inside.groupby("grid"):
                wanted = min(level * (1 + 1 / own["patient"].nunique()), 1.0)
                weight = _patient_weights(own)
                volume = max(volume, _quantile(own["volume"], weight, wanted))
                extent = max(extent, _quantile(own["slice_extent"], weight, wanted))
            bands.append((high, volume, extent, count))
        found[contact] = bands
    return found


def coverage_left_out(cuts: pd.DataFrame) -> pd.DataFrame:
    """The cuts in bands, and whether the bounds fitted without their patient hold what they promise."""
    found = []
    for patient, own in cuts.groupby("patient"):
        bands = fit_bands(cuts[cuts["patient"] != patient])
        for _, row in own.iterrows():
            band = next((band for band in bands[row["contact"]] if row["share"] <= band[0]), None)
            if band is not None:
                held = {
                    "band": band[0],
                    "volume_held": row["volume"] <= band[1],
                    "slice_extent_held": row["slice_extent"] <= band[2],
                }
                found.append(dict(row) | held)
    return pd.DataFrame(found)


def mean_coverage(held: pd.DataFrame, column: str) -> float:
    """Share of cuts that were held, each patient weighing the same; the lowest of the grids."""
    return min(
        float(np.average(own[column].astype(float), weights=_patient_weights(own))) for _, own in held.groupby("grid")
    )


def calibrate(
    whole: Mapping[str, Mapping[str, sitk.Image]], touching: int, cohort: str, command: str
) -> dict[str, Any]:
    """Fit on every patient, with the coverage of each band from the patients left out.

    Args:
        whole: By patient and by grid the contour of a whole tumor.
        touching: Patients that are not among them because their contour reaches the border.
        cohort: Name of the data.
        command: What was run.

    Returns:
        Fields of :class:`~oncoresponse.segmentation.border_interval.BorderCalibration`, without those of networks.

    Raises:
        TrainingDataInvalid: There are too few whole tumors.
    """
    random = np.random.default_rng(_SEED)
    cuts = pd.DataFrame(
        [
            row
            for patient, grids in whole.items()
            for grid, tumor in grids.items()
            for row in measure_cuts(patient, grid, tumor, random)
        ]
    )
    if len(whole) <= _FEWEST_PATIENTS:
        raise TrainingDataInvalid(
            f"{len(whole)} whole tumors are too few to calibrate on; more than {_FEWEST_PATIENTS} are needed."
        )
    fitted = fit_bands(cuts)
    usable = [
        end
        for end in BAND_ENDS
        if all(any(band[0] == end and band[1] <= LARGEST_FACTOR for band in fitted[contact]) for contact in CONTACTS)
    ]
    if not usable:
        raise TrainingDataInvalid("No share of the surface on the border leaves a usable bound. Check the contours.")
    held = coverage_left_out(cuts)
    bands: dict[BorderContact, tuple[BorderBand, ...]] = {}
    for contact in CONTACTS:
        rows = []
        for end, volume, extent, patients in fitted[contact]:
            if end > max(usable):
                break
            own = held[(held["contact"] == contact) & (held["band"] == end)]
            rows.append(
                BorderBand(
                    share_up_to=end,
                    volume_factor=round(volume, 3),
                    slice_extent_factor=round(extent, 3),
                    patients=patients,
                    volume_coverage=round(mean_coverage(own, "volume_held"), 3),
                    slice_extent_coverage=round(mean_coverage(own, "slice_extent_held"), 3),
                )
            )
        bands[contact] = tuple(rows)
    return {
        "level": LEVEL,
        "refuse_above": max(usable),
        "largest_factor": LARGEST_FACTOR,
        "bands": bands,
        "patients": len(whole),
        "left_out_touching": touching,
        "cohort": cohort,
        "command": command,
    }


def with_automatic_bands(contours: Mapping[str, Any], images: pd.DataFrame) -> BorderCalibration:
    """The calibration with what cut images gave for masks of a network.

    Raises:
        TrainingDataInvalid: No band has a usable factor.
    """
    bands = [band for band in fit_automatic_bands(images) if band.volume_factor <= LARGEST_FACTOR]
    if not bands:
        raise TrainingDataInvalid("No mask of the network at the border has a usable bound. Check the networks.")
    return BorderCalibration(
        **contours,
        automatic_refuse_above=bands[-1].share_up_to,
        automatic_bands=tuple(bands),
        automatic_unnoticed=round(float((images["share"] == 0).mean()), 3),
    )


def segment_cut_images(cohort: Sequence[CohortImages], folds: Mapping[str, int], segmentation: Path) -> pd.DataFrame:
    """Contours by the network that has not seen the patient, on images that were cut.

    Args:
        cohort: Patients with whole tumors.
        folds: Fold of each patient.
        segmentation: ``segmentation/`` of a model folder, evaluated.

    Returns:
        One row for each cut image with a mask of at least 1 ml: patient, share of the grown mask's surface on the
        border, ends of the network's own volume interval, volume of the whole physician's contour (ml).

    Raises:
        TrainingDataInvalid: The networks were not evaluated, so they have no volume interval.
    """
    description = read_network_description(segmentation)
    networks = load_networks(segmentation, description)
    settings = description.masks.none
    if settings.volume_interval is None:
        raise TrainingDataInvalid("The networks have no volume interval yet. Evaluate them first.")
    random = np.random.default_rng(_SEED)
    rows = []
    for images in cohort:
        inside = sitk.GetArrayFromImage(images.tumor) != 0
        voxel_ml = float(np.prod(images.tumor.GetSpacing())) / 1000
        for cut in _drawn(list(cuts_through(inside, random)), random):
            part = inside[tuple(slice(low, high) for low, high in zip(cut.low, cut.high, strict=True))]
            if np.count_nonzero(part) * voxel_ml < _SMALLEST_VISIBLE_ML:
                continue
            pet = sitk.RegionOfInterest(images.pet, (cut.high - cut.low)[::-1].tolist(), cut.low[::-1].tolist())
            try:
                inputs = prepare(pet, images.ct, description.preprocessing)
            except GeometryMismatch:  # what is left of the PET lies beyond the CT; such a study is refused
                continue
            probability = network_probability(networks[folds[images.patient]], inputs, None, pet, description)
            mask = mask_from_probability(probability, settings.threshold, None)
            seen = float(np.count_nonzero(sitk.GetArrayViewFromImage(mask))) * voxel_ml
            if seen < _SMALLEST_VISIBLE_ML:
                continue
            uncertainty = uncertainty_measures(probability, mask)
            low, high = volume_interval_ml(seen, uncertainty, settings.volume_interval)
            real = float(np.count_nonzero(inside)) * voxel_ml
            share, _ = border_surface(grown(mask))
            rows.append({"patient": images.patient, "share": share, "low": low, "high": high, "real": real})
    return pd.DataFrame(rows).assign(weight=1.0, grid="PET")


def fit_automatic_bands(images: pd.DataFrame, level: float = LEVEL) -> list[AutomaticBand]:
    """Bands of a network's masks, each with the coverage of patients left out.

    An image whose own lower end already lies above the whole volume cannot be held by any factor; it counts as not
    held, so that both ends together keep the level.
    """
    scored = images.assign(
        score=np.where(images["low"] > images["real"], np.inf, np.maximum(images["real"] / images["high"], 1.0))
    )
    found: list[AutomaticBand] = []
    factor = 1.0
    left_out_factors = dict.fromkeys(scored["patient"].unique(), 1.0)
    for low, high in zip((0.0, *AUTOMATIC_BAND_ENDS), AUTOMATIC_BAND_ENDS, strict=False):
        inside = scored[(scored["share"] > low) & (scored["share"] <= high)]
        count = int(inside["patient"].nunique())
        if count < _FEWEST_PATIENTS:
            break
        factor = max(factor, _conformal(inside, level))
        held = []
        for patient, known in left_out_factors.items():
            own, others = inside[inside["patient"] == patient], inside[inside["patient"] != patient]
            left_out_factors[patient] = max(known, _conformal(others, level))
            held.append(own["score"] <= left_out_factors[patient])
        judged = inside.assign(held=pd.concat(held))
        found.append(
            AutomaticBand(
                share_up_to=high,
                volume_factor=round(factor, 3),
                patients=count,
                images=len(inside),
                volume_coverage=round(mean_coverage(judged, "held"), 3),
            )
        )
    return found


def border_tables(calibration: BorderCalibration) -> str:
    """The calibration as Markdown."""
    level = f"{calibration.level:.0%}"
    lines = [
        f"{calibration.patients} whole tumors ({calibration.cohort}; {calibration.left_out_touching} more reach the "
        f"border by themselves and were left out). Bounds for {level} of tumors; in brackets the share of cuts that "
        "they held with the patient left out, on the grid where that was lower.",
        "",
        "| Surface on the border, up to | Volume, first or last slice | Volume, edge of the slices | Volume, both | "
        "Slice extent, first or last slice | Slice extent, edge of the slices | Slice extent, both |",
        "|---|---|---|---|---|---|---|",
    ]
    for bands in zip(*(calibration.bands[contact] for contact in CONTACTS), strict=True):
        volumes = " | ".join(f"{band.volume_factor:.2f} ({band.volume_coverage:.0%})" for band in bands)
        extents = " | ".join(f"{band.slice_extent_factor:.2f} ({band.slice_extent_coverage:.0%})" for band in bands)
        lines.append(f"| {100 * bands[0].share_up_to:.1f} % | {volumes} | {extents} |")
    lines += [
        "",
        "| Surface of a network's mask, grown by a voxel, on the border, up to | Times the upper end of the network's "
        "volume interval | Held, patient left out | Cut images | Patients |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {100 * band.share_up_to:.0f} % | {band.volume_factor:.2f} | {band.volume_coverage:.0%} | {band.images} | "
        f"{band.patients} |"
        for band in calibration.automatic_bands
    ]
    lines += [
        "",
        f"Above {calibration.refuse_above:.0%} (a network's mask: {calibration.automatic_refuse_above:.0%}) a mask is "
        f"refused: the bound would be more than {calibration.largest_factor:g} times what is seen. On "
        f"{calibration.automatic_unnoticed:.0%} of the cut images the network's mask stayed more than a voxel away "
        "from the border, and nothing is said.",
    ]
    return "\n".join(lines) + "\n"


def write_border_tables(calibration: BorderCalibration, page: Path) -> None:
    """Write the tables between the marks of a Markdown page.

    Raises:
        TrainingDataInvalid: The page lacks the marks.
    """
    write_between_marks(page, BEGIN, END, border_tables(calibration))


def _conformal(images: pd.DataFrame, level: float) -> float:
    wanted = min(level * (1 + 1 / images["patient"].nunique()), 1.0)
    return _quantile(images["score"], _patient_weights(images), wanted)


def _drawn(cuts: Sequence[Cut], random: np.random.Generator) -> list[Cut]:
    """A few of the cuts of a patient, by the weights of their kinds."""
    kinds = pd.Series([cut.kind for cut in cuts])
    weights = (kinds.map(_KIND_WEIGHTS) / kinds.map(kinds.value_counts())).to_numpy(dtype=np.float64)
    return [cuts[index] for index in random.choice(len(cuts), _NETWORK_CUTS, replace=False, p=weights / weights.sum())]


def _around(tumor: sitk.Image) -> sitk.Image:
    """The part of an image that holds the tumor."""
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(sitk.Cast(tumor != 0, sitk.sitkUInt8))
    box = shape.GetBoundingBox(1)
    part: sitk.Image = sitk.RegionOfInterest(tumor, box[3:], box[:3])
    return part


def _slices(inside: npt.NDArray[np.bool_]) -> int:
    found = np.flatnonzero(inside.any(axis=(1, 2)))
    return int(found[-1] - found[0] + 1)


def _patient_weights(cuts: pd.DataFrame) -> npt.NDArray[np.float64]:
    weights = cuts["weight"] / cuts.groupby("patient")["weight"].transform("sum")
    return np.asarray(weights, dtype=np.float64)


def _quantile(values: pd.Series, weights: npt.NDArray[np.float64], level: float) -> float:
    order = np.argsort(values.to_numpy())
    share = np.cumsum(weights[order]) / weights.sum()
    return float(values.to_numpy()[order][min(int(np.searchsorted(share, level)), len(order) - 1)])


def main() -> None:
    """Read the cohort, calibrate, and write ``border_calibration.json`` beside this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Cohort: a folder a patient, as for training.")
    parser.add_argument("--model", type=Path, required=True, help="Model folder with the networks of that cohort.")
    parser.add_argument(
        "--cohort", default="TCIA Soft-tissue-Sarcoma, contours on PET and CT", help="Name of the data."
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name(CALIBRATION_FILE))
    parser.add_argument("--docs", type=Path, help="Folder whose segmentation.md gets the tables.")
    options = parser.parse_args()
    segmentation = options.model / "segmentation"
    description = read_network_description(segmentation)
    patients = cohort_patients(options.data, description.training.held_out_patients)
    cohort = [read_patient(options.data, patient) for patient in patients]
    whole = [images for images in cohort if border_surface(images.tumor)[1] is None]
    contours = {
        images.patient: {
            "PET": images.tumor,
            "CT": sitk.ReadImage(str(options.data / images.patient / "CT_tumor.nii.gz")),
        }
        for images in whole
    }
    command = f"python -m {__spec__.name} --data DATA --model models/{options.model.name}"
    of_contours = calibrate(contours, len(cohort) - len(whole), options.cohort, command)
    folds = assign_folds(patients, len(description.weights), description.training.seed)
    images = segment_cut_images(whole, folds, segmentation)
    calibration = with_automatic_bands(of_contours, images)
    options.output.write_text(json.dumps(calibration.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
    if options.docs is not None:
        write_border_tables(calibration, options.docs / "segmentation.md")


if __name__ == "__main__":
    main()
