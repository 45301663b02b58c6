"""The lesions as a DICOM Segmentation (PS3.3 A.51) that refers to the series they were drawn on."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from highdicom import AlgorithmIdentificationSequence, PixelMeasuresSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from oncoresponse.case.identifiers import derived_dicom_uid, tracking_identifier, tracking_uid
from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.case.volume import Volume
from oncoresponse.errors import EmptyMask, GeometryMismatch, InvalidAttribute, MissingAttribute
from oncoresponse.reporting.dicom_objects.source_study import clean_copy, set_times
from oncoresponse.reporting.imaging_study import segmentation_series_uid, segmentation_sop_instance_uid
from oncoresponse.reporting.key_image import CONTOUR_COLOR
from oncoresponse.reporting.report_content import ReportContext, ReportedLesion

_INDEX_TOLERANCE = 0.1  # of a voxel: DS rounding and the mean slice spacing of a volume stay far below
_LONGEST_LABEL = 64  # of an LO
_COLORS = tuple(
    CIELabColor.from_string(color)
    for color in (CONTOUR_COLOR, "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
)
"""Okabe-Ito palette: neighbors are told apart by every kind of color vision; begun again after seven lesions."""
_SERIES_NUMBER = 9001  # high, so that it sorts behind the acquired series
_PERSON_NAMES = ("PatientName", "ReferringPhysicianName")


def segmentation_object(context: ReportContext, lesions: Volume, source: Sequence[Dataset]) -> bytes:
    """Write the lesions as a BINARY segmentation with one segment for each, numbered as the lesions are.

    Args:
        context: What is reported; gives identifiers, the algorithms and the time.
        lesions: From :func:`~oncoresponse.reporting.lesion_map.lesion_map`. Its voxel centres must be those of the
            source images; the order of slices, rows and columns may differ.
        source: One dataset for each image of the series the lesions were drawn on, of any modality; pixel data is not
            needed.

    Returns:
        A DICOM Part 10 file. The same arguments give the same bytes.

    Raises:
        EmptyMask: A lesion holds no voxel.
        GeometryMismatch: The voxels of the map are not those of the source images.
        MissingAttribute: A source image lacks what a reference to it needs.
        InvalidAttribute: The source images are not of one study and series.
    """
    with without_pydicom_messages():  # a blemish is dealt with below, and a warning would quote it
        images = [clean_copy(dataset) for dataset in source]
    if not images:
        raise MissingAttribute("The series the tumor was contoured on has no images. Send the complete study.")
    if len({(image.StudyInstanceUID, image.SeriesInstanceUID) for image in images}) != 1:
        raise InvalidAttribute("The source images are of several studies or series. Send one series.")
    if any(image.FrameOfReferenceUID != lesions.frame_of_reference_uid for image in images):
        raise GeometryMismatch(
            "The tumor mask and the source images have different frames of reference. Draw the mask on this series."
        )
    # highdicom quotes a name it finds odd in a warning, which would reach a log; the names go in afterwards.
    names = [images[0][keyword] for keyword in _PERSON_NAMES]
    for keyword in _PERSON_NAMES:
        delattr(images[0], keyword)  # a new element, so that those in ``names`` keep their values
        setattr(images[0], keyword, None)
    frames = frames_on_source_planes(lesions, images)
    numbers = [lesion.number for lesion in context.lesions]
    if np.unique(frames[frames > 0]).tolist() != numbers:
        raise EmptyMask("The tumor mask is empty. Draw a contour, or check the segmentation.")
    measures = _pixel_measures(lesions, images[0])
    for image in images:  # highdicom compares it with the pixel measures and cannot do without
        image.SliceThickness = measures[0].SliceThickness
    what = "Lesion contours" if context.has_several_lesions else "Tumor contour"
    segmentation = Segmentation(
        source_images=images,
        pixel_array=frames,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(context, lesion) for lesion in context.lesions],
        series_instance_uid=segmentation_series_uid(context),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=segmentation_sop_instance_uid(context),
        instance_number=1,
        manufacturer=context.model.manufacturer,
        manufacturer_model_name="OncoResponse",
        software_versions=context.software_version,
        device_serial_number=context.model_sha256[:16],
        pixel_measures=measures,
        content_label="TUMOR",
        content_description=f"{what}, research use only",
        series_description=f"{what}, research use only",
    )
    for element in names:
        segmentation.add(element)
    _set_dimension_organization(segmentation, context)
    if not set_times(segmentation, context.issued, images[0].get("TimezoneOffsetFromUTC")):
        segmentation.ContentDescription = f"{segmentation.ContentDescription}; made at UTC times"
    buffer = io.BytesIO()
    segmentation.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def frames_on_source_planes(lesions: Volume, images: Sequence[Dataset]) -> npt.NDArray[np.uint8]:
    """Rearrange a map of lesions to the planes of the source images.

    Args:
        lesions: 0, or the number of a lesion; LPS.
        images: Source images, in any order.

    Returns:
        Array with axes (image, row, column), in the order of ``images``.

    Raises:
        GeometryMismatch: A pixel is not at a voxel centre of the map, or a voxel of a lesion is on no image.
    """
    geometry = lesions.geometry
    voxels = np.asarray(lesions.array)
    to_index = np.linalg.inv(np.array(geometry.direction).reshape(3, 3) @ np.diag(geometry.spacing_mm))
    frames = np.zeros((len(images), int(images[0].Rows), int(images[0].Columns)), np.uint8)
    for number, image in enumerate(images):
        orientation = np.array(image.ImageOrientationPatient, float)
        row_spacing, column_spacing = (float(value) for value in image.PixelSpacing)
        first = to_index @ (np.array(image.ImagePositionPatient, float) - np.array(geometry.origin_mm))
        along_columns = to_index @ (orientation[:3] * column_spacing)
        along_rows = to_index @ (orientation[3:] * row_spacing)
        column, row = np.arange(frames.shape[2]), np.arange(frames.shape[1])
        exact = (
            first + along_rows * row[:, None, None] + along_columns * column[None, :, None]
        )  # axes (row, column, ijk)
        nearest = np.rint(exact).astype(np.int64)
        if np.abs(exact - nearest).max() > _INDEX_TOLERANCE or nearest.min() < 0 or (nearest >= geometry.size).any():
            raise _mismatch()
        frames[number] = voxels[nearest[..., 2], nearest[..., 1], nearest[..., 0]]
    if np.count_nonzero(frames) != np.count_nonzero(voxels):
        raise _mismatch()
    return frames


def _pixel_measures(lesions: Volume, image: Dataset) -> PixelMeasuresSequence:
    """Voxel size from the grid itself: SliceThickness of a source may be absent, or differ from the slice distance."""
    orientation = np.array(image.ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    geometry = lesions.geometry
    along = np.array(geometry.direction).reshape(3, 3).T @ normal
    distance = float(f"{geometry.spacing_mm[int(np.argmax(np.abs(along)))]:.8g}")
    spacing = [float(value) for value in image.PixelSpacing]
    return PixelMeasuresSequence(pixel_spacing=spacing, slice_thickness=distance, spacing_between_slices=distance)


def _mismatch() -> GeometryMismatch:
    return GeometryMismatch(
        "The tumor mask is not on the voxel grid of the source images. Draw or resample the mask on this series."
    )


def _segment(context: ReportContext, lesion: ReportedLesion) -> SegmentDescription:
    # Mass, not Neoplasm: the software asserts no diagnosis.
    if lesion.contour_is_automatic:
        algorithm_type = SegmentAlgorithmTypeValues.AUTOMATIC
        algorithm = AlgorithmIdentificationSequence(
            name=f"{context.model.name} segmentation",
            family=codes.DCM.ArtificialIntelligence,
            version=context.model.version,
            source=context.model.manufacturer,
            parameters={"network SHA-256": lesion.segmentation.network_sha256},
        )
    else:
        # A person or other software drew it, this software put it on the voxel grid: calculated with assistance, unless
        # no person had a hand in it.
        by_algorithm = lesion.contour_is_by_algorithm
        algorithm_type = (
            SegmentAlgorithmTypeValues.AUTOMATIC if by_algorithm else SegmentAlgorithmTypeValues.SEMIAUTOMATIC
        )
        algorithm = AlgorithmIdentificationSequence(
            name=f"Supplied {'automatic segmentation' if by_algorithm else 'contour'} on voxel grid",
            family=codes.DCM.AnalyticalAlgorithm,
            version=context.software_version,
            source=context.model.manufacturer,
        )
    return SegmentDescription(
        segment_number=lesion.number,
        segment_label=_segment_label(lesion) if context.has_several_lesions else "Tumor",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Mass,
        algorithm_type=algorithm_type,
        algorithm_identification=algorithm,
        tracking_uid=tracking_uid(context.assessment_id, lesion.number),
        tracking_id=tracking_identifier(context.assessment_id, lesion.number),
        display_color=_COLORS[(lesion.number - 1) % len(_COLORS)],
    )


def _segment_label(lesion: ReportedLesion) -> str:
    """Name of the structure, where the Specific Character Set of any source can write it as an LO; else the number."""
    label = " ".join(lesion.label.split())
    fits = label.isascii() and label.isprintable() and "\\" not in label and len(label) <= _LONGEST_LABEL
    return label if label and fits else f"Lesion {lesion.number}"


def _set_dimension_organization(segmentation: Segmentation, context: ReportContext) -> None:
    """Replace the random UID of the dimension organization (PS3.3 C.7.6.17) by one of this assessment."""
    uid = derived_dicom_uid(context.assessment_id, "segmentation-dimensions")
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
