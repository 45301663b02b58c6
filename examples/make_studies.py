"""Make the two sample studies that nobody acquired, with their contours and their truth, again byte for byte.

``python examples/make_studies.py`` writes them into ``examples/``, with a folder as its argument into that one.

``STS_032_TWO_LESIONS``: the PET/CT of ``STS_032`` with a second lesion. It is the patient's own tumor, made smaller and
put into the muscle above it, with its uptake and its CT texture.

``BREAST_DCE``: a dynamic contrast-enhanced MR of a left breast, wholly synthetic, with an ellipsoid as tumor, of which
volume and extents are known from a formula.

The same bytes need the versions of pydicom, highdicom, scipy, scikit-image and CharLS that ``constraints.txt`` pins.
"""

from __future__ import annotations

import json
import math
import sys
import uuid
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt
from pydicom import Dataset, config, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    MRImageStorage,
    RTStructureSetStorage,
)
from scipy import ndimage
from skimage.measure import find_contours, grid_points_in_poly

Array = npt.NDArray[np.float64]
Contours = list[tuple[int, Array]]
"""Slice number and closed polygon, points (x, y, z) in LPS mm."""

EXAMPLES = Path(__file__).parent
DATE = "20261101"
MM3_PER_ML = 1000.0


# --- both studies ----------------------------------------------------------------------------------


def uid(*words: str) -> str:
    """A DICOM UID (PS3.5 B.2) that the words decide."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, '/'.join(('make_studies', *words))).int}"


def numbers(values: Any, digits: int) -> list[str]:
    """Decimal Strings (at most 16 characters)."""
    return [f"{value:.{digits}f}" for value in values]


def affine(slices: list[FileDataset]) -> Array:
    """From (column, row, slice) to LPS mm, of slices in order."""
    first, last = slices[0], slices[-1]
    row, column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    origin, end = (np.array(found.ImagePositionPatient, float) for found in (first, last))
    found = np.eye(4)
    found[:3, 0], found[:3, 1] = row * float(first.PixelSpacing[1]), column * float(first.PixelSpacing[0])
    found[:3, 2], found[:3, 3] = (end - origin) / (len(slices) - 1), origin
    return found


def save(dataset: Dataset, path: Path, transfer_syntax: str = ExplicitVRLittleEndian) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = uid("implementation"), "MAKE_STUDIES"
    file = FileDataset("", dataset, file_meta=meta, preamble=b"\0" * 128)
    if transfer_syntax == JPEGLSLossless:
        file.compress(JPEGLSLossless, encoding_plugin="pyjpegls", generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


def save_series(slices: list[FileDataset], folder: Path, transfer_syntax: str = ExplicitVRLittleEndian) -> None:
    for number, dataset in enumerate(slices):
        save(dataset, folder / f"{number:06}.dcm", transfer_syntax)


def structure_set(slices: list[FileDataset], regions: dict[str, Contours], description: str) -> Dataset:
    """RTSTRUCT with one region for each name, drawn on the slices (PS3.3 A.19)."""
    image = slices[0]
    dataset = Dataset()
    for keyword in (
        *("SpecificCharacterSet", "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyID"),
        *("ReferringPhysicianName", "StudyDescription", "PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
        *("FrameOfReferenceUID", "PositionReferenceIndicator"),
    ):
        setattr(dataset, keyword, getattr(image, keyword))
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, uid(image.PatientID, "RTSTRUCT", "instance")
    dataset.Modality, dataset.SeriesInstanceUID, dataset.SeriesNumber = "RTSTRUCT", uid(image.PatientID, "RTSTRUCT"), 90
    dataset.SeriesDescription, dataset.InstanceNumber = "Contours", 1
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.SoftwareVersions = "", "make_studies", "1"
    dataset.OperatorsName = ""
    dataset.StructureSetLabel, dataset.StructureSetDescription = "GTV", description
    dataset.StructureSetDate, dataset.StructureSetTime = DATE, "120000"
    dataset.ApprovalStatus = "UNAPPROVED"

    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = image.SeriesInstanceUID
    series.ContourImageSequence = [reference(found) for found in slices]
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", image.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = image.FrameOfReferenceUID, [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame]

    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    for number, (name, contours) in enumerate(regions.items(), start=1):
        region, drawn, observation = Dataset(), Dataset(), Dataset()
        region.ROINumber = drawn.ReferencedROINumber = observation.ReferencedROINumber = number
        region.ReferencedFrameOfReferenceUID = image.FrameOfReferenceUID
        region.ROIName, region.ROIGenerationAlgorithm = name, "MANUAL"
        drawn.ROIDisplayColor = [255, 80 * number, 0]
        drawn.ContourSequence = []
        for k, points in contours:
            contour = Dataset()
            contour.ContourImageSequence = [reference(slices[k])]
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            contour.ContourData = numbers(points.ravel(), 3)
            drawn.ContourSequence.append(contour)
        observation.ObservationNumber, observation.RTROIInterpretedType, observation.ROIInterpreter = number, "GTV", ""
        dataset.StructureSetROISequence.append(region)
        dataset.ROIContourSequence.append(drawn)
        dataset.RTROIObservationsSequence.append(observation)
    return dataset


def reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item


def segmentation(slices: list[FileDataset], masks: dict[str, npt.NDArray[np.bool_]], **anatomy: Any) -> Dataset:
    """DICOM SEG with one binary segment for each name, masks on the slices' grid, axes (k, j, i)."""
    patient = slices[0].PatientID
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Neoplasm,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
            tracking_id=f"{patient} {name}",
            tracking_uid=uid(patient, "tracking", name),
            **anatomy,
        )
        for number, name in enumerate(masks, start=1)
    ]
    dataset = highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=np.stack(list(masks.values()), axis=-1).astype(np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=uid(patient, "SEG"),
        series_number=91,
        sop_instance_uid=uid(patient, "SEG", "instance"),
        instance_number=1,
        manufacturer="make_studies",
        manufacturer_model_name="make_studies",
        software_versions="1",
        device_serial_number="1",
        content_label="GTV",
        series_description="Segments",
    )
    # What highdicom takes from the clock and from chance.
    dataset.ContentDate = dataset.InstanceCreationDate = dataset.SeriesDate = DATE
    dataset.ContentTime = dataset.InstanceCreationTime = dataset.SeriesTime = "120000"
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid(patient, "SEG", "dimensions")
    for item in dataset.ContributingEquipmentSequence:
        item.ContributionDateTime = f"{DATE}120000"
    return dataset


def filled(contours: Contours, to_patient: Array, shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """Voxels whose centers lie inside; a contour in another one is a hole. Axes (k, j, i)."""
    mask = np.zeros(shape, bool)
    to_index = np.linalg.inv(to_patient)
    for k, points in contours:
        index = points @ to_index[:3, :3].T + to_index[:3, 3]
        mask[k] ^= grid_points_in_poly(shape[1:], index[:, 1::-1])
    return mask


def volume_ml(contours: Contours, normal: Array, slice_distance_mm: float) -> float:
    """Area of the polygons times the distance of the slices."""
    area = sum(abs(np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0) @ normal) / 2 for _, points in contours)
    return float(area) * slice_distance_mm / MM3_PER_ML


def write_truth(path: Path, truth: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")


# --- PET/CT with two lesions -----------------------------------------------------------------------

TWO_LESIONS = "STS_032_TWO_LESIONS"
SECOND_CENTER_MM = np.array([-47.0, 80.0, 520.5])
SECOND_SIZE = 0.42
SECOND_UPTAKE = 0.7
EDGE_MM = 4.0
CT_OFFSET_HU = 1024


def make_two_lesions(folder: Path) -> None:
    source = EXAMPLES / "STS_032"
    pet, ct = (sorted_slices(source / name) for name in ("PET", "CT"))
    pet_affine, ct_affine = affine(pet), affine(ct)
    drawn = dcmread(source / "PET" / "RTSTRUCT.dcm").ROIContourSequence[0].ContourSequence
    first = on_slices([np.array(item.ContourData, float).reshape(-1, 3) for item in drawn], pet_affine)

    # Distance to the first lesion's surface, negative inside, on the CT's grid, whose slices are the PET's.
    suv = np.stack([found.pixel_array * float(found.RescaleSlope) for found in pet])
    density = np.stack([found.pixel_array.astype(float) for found in ct])
    inside = filled(first, ct_affine, density.shape)
    voxel = np.linalg.norm(ct_affine[:3, :3], axis=0)[::-1]
    distance = ndimage.distance_transform_edt(~inside, voxel) - ndimage.distance_transform_edt(inside, voxel)
    center = ct_affine[:3, :3] @ np.argwhere(inside).mean(axis=0)[::-1] + ct_affine[:3, 3]

    def with_second(values: Array, to_patient: Array, factor: float) -> Array:
        points = grid_points(to_patient, values.shape)
        copied = sample(values, to_patient, center + (points - SECOND_CENTER_MM) / SECOND_SIZE)
        depth = second_depth(points)
        share = np.clip(0.5 - depth / EDGE_MM, 0, 1)
        return values * (1 - share) + copied * factor * share

    def second_depth(points: Array) -> Array:
        # Outside the CT is far outside the lesion.
        return SECOND_SIZE * sample(distance, ct_affine, center + (points - SECOND_CENTER_MM) / SECOND_SIZE, 1e3)

    second: Contours = []
    fine = pet_affine.copy()
    fine[:3, :2] /= 4
    shape = (len(pet), 4 * suv.shape[1], 4 * suv.shape[2])
    for k, plane in enumerate(second_depth(grid_points(fine, shape))):
        for outline in find_contours(plane, 0.0):
            index = np.column_stack([outline[:-1:2, 1], outline[:-1:2, 0], np.full(len(outline[:-1:2]), k)])
            second.append((k, index @ fine[:3, :3].T + fine[:3, 3]))

    regions = {"GTV-1": first, "GTV-2": second}
    masks = {name: filled(contours, pet_affine, suv.shape) for name, contours in regions.items()}
    suv = with_second(suv, pet_affine, SECOND_UPTAKE)
    set_pet(pet, suv)
    set_ct(ct, np.rint(with_second(density, ct_affine, 1.0)))
    save_series(pet, folder / TWO_LESIONS / "PET")
    save_series(ct, folder / TWO_LESIONS / "CT", JPEGLSLossless)
    text = "GTV-1: the physicians' contour. GTV-2: outline of the lesion that was put in."
    save(structure_set(pet, regions, text), folder / TWO_LESIONS / "RTSTRUCT.dcm")
    save(segmentation(pet, masks), folder / "segmentations" / f"{TWO_LESIONS}.dcm")

    step = np.linalg.norm(pet_affine[:3, :3], axis=0)
    gap = ndimage.distance_transform_edt(~masks["GTV-1"], step[::-1])[masks["GTV-2"]].min()
    lesions = [
        {
            "name": name,
            "volume_of_contour_ml": round(volume_ml(contours, pet_affine[:3, 2] / step[2], step[2]), 3),
            "voxels": int(masks[name].sum()),
            "suv_max": round(float(suv[masks[name]].max()), 2),
            "centroid_mm": [
                round(float(value), 2)
                for value in pet_affine[:3, :3] @ np.argwhere(masks[name]).mean(axis=0)[::-1] + pet_affine[:3, 3]
            ],
        }
        for name, contours in regions.items()
    ]
    write_truth(
        folder / "ground_truth" / f"{TWO_LESIONS}.json",
        {
            "study": TWO_LESIONS,
            "made_from": "STS_032",
            "lesions": lesions,
            "gap_between_voxel_centers_mm": round(float(gap), 2),
            "second_lesion": {"linear_scale": SECOND_SIZE, "uptake_factor": SECOND_UPTAKE, "edge_mm": EDGE_MM},
        },
    )


def sorted_slices(folder: Path) -> list[FileDataset]:
    found = [dcmread(path) for path in sorted(folder.glob("0*.dcm"))]
    return sorted(found, key=lambda dataset: float(dataset.ImagePositionPatient[2]))


def on_slices(polygons: list[Array], to_patient: Array) -> Contours:
    to_index = np.linalg.inv(to_patient)
    return [(round(float(to_index[2, :3] @ points[0] + to_index[2, 3])), points) for points in polygons]


def grid_points(to_patient: Array, shape: tuple[int, ...]) -> Array:
    """LPS position of each voxel center, axes (k, j, i, xyz)."""
    k, j, i = np.indices(shape, float)
    return np.stack([sum(to_patient[n, m] * axis for m, axis in enumerate((i, j, k, 1.0))) for n in range(3)], axis=-1)


def sample(values: Array, to_patient: Array, points: Array, outside: float = 0.0) -> Array:
    """Linear interpolation of a volume at LPS positions."""
    inverse = np.linalg.inv(to_patient)
    index = [sum(inverse[n, m] * points[..., m] for m in range(3)) + inverse[n, 3] for n in (2, 1, 0)]
    return ndimage.map_coordinates(values, index, order=1, mode="constant", cval=outside)


def simulated(dataset: FileDataset, kind: str, number: int) -> None:
    """Identity of its own, and what the sample's header has against the standard put right."""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid(TWO_LESIONS), uid(TWO_LESIONS, kind)
    dataset.SOPInstanceUID, dataset.FrameOfReferenceUID = uid(TWO_LESIONS, kind, str(number)), uid(TWO_LESIONS, "frame")
    dataset.PatientID, dataset.PatientName = TWO_LESIONS, "Sample^Two lesions"
    dataset.StudyDescription, dataset.SeriesDescription = (
        "PET/CT, second lesion put in",
        f"{kind}, second lesion put in",
    )
    dataset.AccessionNumber, dataset.StudyID, dataset.Laterality = "", "1", ""
    dataset.SpecificCharacterSet, dataset.ImageType = "ISO_IR 192", ["DERIVED", "PRIMARY"]
    dataset.DerivationDescription = "STS_032 (TCIA Soft-tissue-Sarcoma); second lesion put in by make_studies.py"
    dataset.InstanceNumber = number + 1
    for keyword in ("InstanceCreatorUID", "NumberOfTimeSlices"):
        if keyword in dataset:
            delattr(dataset, keyword)


def set_pet(slices: list[FileDataset], suv: Array) -> None:
    for number, (dataset, values) in enumerate(zip(slices, suv, strict=True)):
        simulated(dataset, "PET", number)
        del dataset.PatientPosition  # Patient Orientation Code Sequence stands for it (PS3.3 C.7.3.1.1.2)
        slope = f"{max(values.max(), 1e-6) / 32767:.14f}"
        stored = np.rint(values / float(slope)).clip(0, 32767).astype("<i2")
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, "0"
        set_pixels(dataset, stored)


def set_ct(slices: list[FileDataset], density: Array) -> None:
    for number, (dataset, values) in enumerate(zip(slices, density, strict=True)):
        simulated(dataset, "CT", number)
        dataset.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
        dataset.RescaleSlope, dataset.RescaleIntercept = "1", str(-CT_OFFSET_HU)
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 12, 11
        set_pixels(dataset, (values + CT_OFFSET_HU).astype("<u2"))


def set_pixels(dataset: Dataset, stored: npt.NDArray[Any]) -> None:
    dataset.Rows, dataset.Columns = stored.shape
    for keyword, value in (("SmallestImagePixelValue", stored.min()), ("LargestImagePixelValue", stored.max())):
        if keyword in dataset:
            delattr(dataset, keyword)
        dataset.add_new(keyword, "SS" if stored.dtype.kind == "i" else "US", int(value))
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"


# --- dynamic contrast-enhanced MR of a breast ------------------------------------------------------

BREAST = "BREAST_DCE"
SIZE = (72, 64, 32)
SPACING_MM = (1.25, 1.25, 2.4)
BREAST_CENTER_MM = np.array([88.0, -62.0, 24.0])
TUMOR_CENTER_MM = np.array([96.0, -70.0, 29.0])
TUMOR_SEMI_AXES_MM = np.array([19.0, 12.5, 10.0])
PHASES = ("pre", "post_1", "post_2", "post_3")
SCAN_TIMES = ("101400", "101640", "101840", "102040")
INJECTION_TIME = "101530"
# Signal with fat suppression before contrast, and enhancement at each phase as a share of it.
TISSUES: dict[str, tuple[float, tuple[float, ...]]] = {
    "fat": (70.0, (0.0, 0.03, 0.05, 0.06)),
    "skin": (170.0, (0.0, 0.25, 0.30, 0.30)),
    "muscle": (190.0, (0.0, 0.15, 0.20, 0.22)),
    "gland": (230.0, (0.0, 0.10, 0.18, 0.25)),
    "vessel": (150.0, (0.0, 2.2, 1.7, 1.4)),
    "tumor core": (200.0, (0.0, 0.7, 0.8, 0.85)),
    "tumor rim": (205.0, (0.0, 1.6, 1.4, 1.2)),
}
NOISE = 6.0
COVARIATES = {"age_years": 47, "hormone_receptor_positive": 1, "her2_positive": 0, "mammaprint_high": 1}


def rotation(axis: int, degrees: float) -> Array:
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    first, second = (n for n in range(3) if n != axis)
    found = np.eye(3)
    found[first, first] = found[second, second] = cosine
    found[first, second], found[second, first] = -sine, sine
    return found


def make_breast(folder: Path) -> None:
    direction = rotation(0, 8.0) @ rotation(1, 5.0)  # axial, slightly oblique
    to_patient = np.eye(4)
    to_patient[:3, :3] = direction * SPACING_MM
    to_patient[:3, 3] = BREAST_CENTER_MM - to_patient[:3, :3] @ ((np.array(SIZE) - 1) / 2)
    axes = rotation(2, 35.0) @ rotation(1, -25.0)
    form = axes @ np.diag(TUMOR_SEMI_AXES_MM**-2) @ axes.T
    points = grid_points(to_patient, SIZE[::-1])
    signal = dynamic_signal(points, form)
    series = [mr_series(phase, to_patient, signal[phase]) for phase in range(len(PHASES))]
    for name, slices in zip(PHASES, series, strict=True):
        save_series(slices, folder / BREAST / name)
    contours = ellipsoid_contours(to_patient, form)
    mask = tumor_depth(points, form) <= 1
    text = "Outline of the ellipsoid that is the tumor"
    save(structure_set(series[1], {"GTV": contours}, text), folder / BREAST / "RTSTRUCT.dcm")
    anatomy = {"anatomic_regions": [codes.SCT.Breast]}
    save(segmentation(series[1], {"GTV": mask}, **anatomy), folder / "segmentations" / f"{BREAST}.dcm")

    normal = direction[:, 2]
    spread = axes @ np.diag(TUMOR_SEMI_AXES_MM**2) @ axes.T
    planes = np.flatnonzero(mask.any(axis=(1, 2)))
    truth = {
        "study": BREAST,
        "made_from": "nothing: synthetic",
        "covariates": COVARIATES,
        "tumor": {
            "shape": "ellipsoid",
            "center_mm": TUMOR_CENTER_MM.tolist(),
            "semi_axes_mm": TUMOR_SEMI_AXES_MM.tolist(),
            "axes": [[round(float(value), 10) for value in column] for column in axes.T],
            "volume_ml": round(4 / 3 * math.pi * float(TUMOR_SEMI_AXES_MM.prod()) / MM3_PER_ML, 4),
            "maximum_3d_diameter_mm": 2 * float(TUMOR_SEMI_AXES_MM.max()),
            "extent_along_slice_normal_mm": round(2 * math.sqrt(normal @ spread @ normal), 3),
        },
        "voxels_of_segment": int(mask.sum()),
        "slices_of_segment": len(planes),
        "slice_extent_of_segment_mm": round(len(planes) * SPACING_MM[2], 3),
        "volume_of_contour_ml": round(volume_ml(contours, normal, SPACING_MM[2]), 4),
        "phases": [
            {"folder": name, "acquisition_time": time, "contrast": phase > 0}
            for phase, (name, time) in enumerate(zip(PHASES, SCAN_TIMES, strict=True))
        ],
        "injection_time": INJECTION_TIME,
    }
    write_truth(folder / "ground_truth" / f"{BREAST}.json", truth)


def tumor_depth(points: Array, form: Array) -> Array:
    """1 on the tumor's surface, 0 at its center."""
    away = points - TUMOR_CENTER_MM
    return sum(form[n, m] * away[..., n] * away[..., m] for n in range(3) for m in range(3))


def dynamic_signal(points: Array, form: Array) -> Array:
    """Signal of each phase, axes (phase, k, j, i), with the noise of a magnitude image."""
    # The legacy generator, because its stream is the one that no version of numpy changes (NEP 19).
    chance = np.random.RandomState(20261101)
    shape = points.shape[:3]

    def texture(width: float) -> Array:
        found = ndimage.gaussian_filter(chance.standard_normal(shape), width)
        return found / found.std()

    x, y, z = (points[..., n] - BREAST_CENTER_MM[n] for n in range(3))
    wall = 32.0  # the chest wall lies behind this
    outline = np.sqrt((x / 43) ** 2 + ((y - wall) / 68) ** 2 + (z / 40) ** 2)
    gland = np.sqrt((x / 30) ** 2 + ((y - wall + 30) / 34) ** 2 + (z / 28) ** 2) + 0.12 * texture(2.5)
    vessel = np.hypot(x + 20 - 0.1 * y, z - 12 + 0.2 * y)
    depth = np.sqrt(tumor_depth(points, form))
    radius = float(TUMOR_SEMI_AXES_MM.prod()) ** (1 / 3)

    share = {name: np.zeros(shape) for name in TISSUES}

    def lay(name: str, inside: Array) -> None:
        """A tissue takes the place of what was there; 0 to 1 is partial volume."""
        inside = np.clip(inside, 0, 1)
        for other in share:
            share[other] *= 1 - inside
        share[name] += inside

    lay("skin", (1 - outline) * 30 + 0.5)
    lay("fat", (1 - outline) * 30 - 1)
    lay("gland", np.minimum((1 - gland) * 8 + 0.5, (1 - outline) * 30 - 2))
    lay("muscle", (y - wall) / 2 + 0.5)
    lay("vessel", np.where((outline < 0.95) & (y < wall), 2.0 - vessel, 0))
    lay("tumor rim", (1 - depth) * radius / 1.5 + 0.5)
    lay("tumor core", (0.62 - depth) * radius / 4 + 0.5 + 0.2 * texture(1.5))
    grain = 1 + 0.05 * texture(1.2)
    found = np.empty((len(PHASES), *shape))
    for phase in range(len(PHASES)):
        clean = grain * sum(share[name] * start * (1 + curve[phase]) for name, (start, curve) in TISSUES.items())
        found[phase] = np.hypot(clean + NOISE * chance.standard_normal(shape), NOISE * chance.standard_normal(shape))
    return found


def ellipsoid_contours(to_patient: Array, form: Array) -> Contours:
    """Where the planes of the slices cut the ellipsoid: ellipses of 72 points."""
    plane = to_patient[:3, :2] / np.linalg.norm(to_patient[:3, :2], axis=0)
    angles = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    found: Contours = []
    for k in range(SIZE[2]):
        start = to_patient[:3, 3] + k * to_patient[:3, 2]
        away = start - TUMOR_CENTER_MM
        square, mixed = plane.T @ form @ plane, plane.T @ form @ away
        middle = -np.linalg.solve(square, mixed)
        rest = 1 - away @ form @ away - mixed @ middle
        if rest > 0:
            ellipse = middle[:, None] + math.sqrt(rest) * np.linalg.inv(np.linalg.cholesky(square)).T @ circle
            found.append((k, (start[:, None] + plane @ ellipse).T))
    return found


def mr_series(phase: int, to_patient: Array, signal: Array) -> list[FileDataset]:
    direction = to_patient[:3, :3] / SPACING_MM
    slices = []
    for k, values in enumerate(np.rint(signal).astype("<u2")):
        dataset = FileDataset("", {})
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, uid(BREAST, PHASES[phase], str(k))
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid(BREAST), uid(BREAST, PHASES[phase])
        dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = uid(BREAST, "frame"), ""
        dataset.PatientID, dataset.PatientName = BREAST, "Synthetic^Breast"
        dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "", "F", f"{COVARIATES['age_years']:03}Y"
        dataset.PatientWeight = "68"
        dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = DATE
        dataset.StudyTime = "101000"
        dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = SCAN_TIMES[phase]
        dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "1", "", ""
        dataset.StudyDescription = "MR breast, dynamic contrast-enhanced (synthetic)"
        dataset.SeriesDescription = f"Ax T1 FS dynamic {PHASES[phase].replace('_', ' ')}"
        dataset.Modality, dataset.SeriesNumber, dataset.AcquisitionNumber = "MR", 5 + phase, phase + 1
        dataset.InstanceNumber = k + 1
        dataset.Manufacturer, dataset.ManufacturerModelName, dataset.SoftwareVersions = "", "make_studies", "1"
        dataset.BodyPartExamined, dataset.Laterality, dataset.PatientPosition = "BREAST", "L", "HFP"
        dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
        dataset.DerivationDescription = "Synthetic: computed by make_studies.py, of no patient"
        dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "SP", "FS"
        dataset.MRAcquisitionType, dataset.SequenceName = "3D", "fl3d"
        dataset.RepetitionTime, dataset.EchoTime, dataset.FlipAngle, dataset.EchoTrainLength = "5.1", "2.4", "12", 1
        dataset.MagneticFieldStrength, dataset.ImagedNucleus = "1.5", "1H"
        dataset.TemporalPositionIdentifier, dataset.NumberOfTemporalPositions = phase + 1, len(PHASES)
        dataset.TemporalPositionIndex = phase + 1  # of enhanced MR; some scanners write it into single slices too
        if phase:
            dataset.ContrastBolusAgent, dataset.ContrastBolusRoute = "Gadobutrol", "INTRAVENOUS"
            dataset.ContrastBolusVolume, dataset.ContrastBolusStartTime = "6.8", INJECTION_TIME
            dataset.ContrastBolusIngredient = "GADOLINIUM"
        dataset.SliceThickness = dataset.SpacingBetweenSlices = f"{SPACING_MM[2]:g}"
        dataset.PixelSpacing = [f"{SPACING_MM[1]:g}", f"{SPACING_MM[0]:g}"]
        dataset.ImageOrientationPatient = numbers(direction[:, :2].T.ravel(), 10)
        dataset.ImagePositionPatient = numbers(to_patient[:3, 3] + k * to_patient[:3, 2], 6)
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        set_pixels(dataset, values)
        slices.append(dataset)
    return slices


if __name__ == "__main__":
    # STS_032 keeps values that are too long for their VR.
    config.settings.reading_validation_mode = config.IGNORE
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else EXAMPLES
    make_two_lesions(target)
    make_breast(target)
