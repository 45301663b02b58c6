"""RTSTRUCT and SEG to masks."""

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import same_grid
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.study import convert_study, read_contour, read_study
from oncoresponse.errors import (
    AmbiguousSeries,
    ContourNotFound,
    EmptyMask,
    FrameOfReferenceMismatch,
    GeometryMismatch,
    InvalidAttribute,
    MissingAttribute,
)
from oncoresponse.model.definition import ImageInput
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid
from scipy.spatial.transform import Rotation
from skimage.draw import polygon as draw_polygon

OBLIQUE = tuple(Rotation.from_euler("xyz", [15, 40, -25], degrees=True).as_matrix()[:, :2].T.ravel())
ORIENTATIONS = [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0), (0, 1, 0, 0, 0, -1), OBLIQUE]
# Vertices in index coordinates (i, j), no voxel centre on an edge.
OUTER = [(2.3, 1.6), (15.2, 3.3), (13.7, 14.4), (4.6, 12.1)]
INNER = [(6.4, 5.7), (10.6, 5.2), (9.3, 9.6)]


def _structure_set(series, regions, path, **attributes):
    """Write an RTSTRUCT; regions: name -> list of polygons (points, 3) in LPS mm."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, RTStructureSetStorage
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.Modality, dataset.PatientID = RTStructureSetStorage, "RTSTRUCT", "SYNTHETIC"
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = series.study_instance_uid, generate_uid()
    referenced, study, frame = Dataset(), Dataset(), Dataset()
    referenced.SeriesInstanceUID = series.series_instance_uid
    study.RTReferencedSeriesSequence = [referenced]
    frame.FrameOfReferenceUID = series.frame_of_reference_uid
    frame.RTReferencedStudySequence = [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    for number, (name, polygons) in enumerate(regions.items(), start=1):
        roi, contours, observation = Dataset(), Dataset(), Dataset()
        roi.ROINumber = contours.ReferencedROINumber = observation.ReferencedROINumber = number
        roi.ROIName, roi.ReferencedFrameOfReferenceUID = name, series.frame_of_reference_uid
        observation.RTROIInterpretedType = attributes.get("interpreted_type", "")
        contours.ContourSequence = []
        for polygon in polygons:
            contour = Dataset()
            contour.ContourGeometricType = attributes.get("geometric_type", "CLOSED_PLANAR")
            contour.ContourData = [f"{value:.9g}" for value in np.ravel(polygon)]
            contours.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(contours)
        dataset.RTROIObservationsSequence.append(observation)
    for keyword in attributes.get("without", ()):
        delattr(dataset, keyword)
    dataset.save_as(path)
    return path


def _to_patient(image, vertices, k):
    return [image.TransformContinuousIndexToPhysicalPoint((float(i), float(j), float(k))) for i, j in vertices]


def _setting(write_series, **options):
    series = write_series(**{"shape": (6, 17, 19), **options})
    study = read_study(series.directory)
    return series, convert_study(study, ImageInput.any_of("CT")).volumes["CT"]


def _read(series, path, grid, *, more=(), **request):
    return read_contour(read_study([*series.files, *more, path]), ContourRequest(**request), grid)


def _voxels(contour):
    return int(contour.mask.array.sum())


def _expected(slices, rings):
    """Mask by scikit-image's own scan conversion, an algorithm other than the one under test."""
    plane = np.zeros((17, 19), bool)
    for ring in rings:
        one = np.zeros_like(plane)
        i, j = np.transpose(ring)
        one[draw_polygon(j, i, plane.shape)] = True
        plane ^= one
    mask = np.zeros((6, 17, 19), np.uint8)
    mask[slices] = plane
    return mask


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_contours_with_a_hole_on_any_plane(write_series, tmp_path, orientation):
    series, grid = _setting(write_series, orientation=orientation, spacing_mm=(1.3, 0.8, 2.1))
    polygons = [_to_patient(grid.image, ring, k) for k in (1, 2, 3) for ring in (OUTER, INNER)]
    path = _structure_set(series, {"GTV_Mass": polygons}, tmp_path / "rt", geometric_type="CLOSEDPLANAR_XOR")
    contour = _read(series, path, grid)
    np.testing.assert_array_equal(contour.mask.array, _expected(slice(1, 4), [OUTER, INNER]))
    assert (contour.kind, contour.mask.quantity) == ("rtstruct", Quantity.MASK)
    assert same_grid(contour.mask.image, grid.image)
    assert contour.mask.image.GetPixelID() == sitk.sitkUInt8


def test_contours_drawn_on_another_series_are_sampled(write_series, tmp_path):
    ct = write_series(shape=(24, 40, 40), spacing_mm=(1, 1, 1))
    pet_series = write_series(modality="PT", shape=(6, 8, 8), spacing_mm=(5, 5, 4), origin_mm=(-18, -28, 41.6))
    study = read_study([*ct.files, *pet_series.files])
    volumes = convert_study(study, ImageInput.any_of("PT", "CT")).volumes
    square = [(4.5, 9.5), (29.5, 9.5), (29.5, 29.5), (4.5, 29.5)]
    polygons = [_to_patient(volumes["CT"].image, square, k) for k in range(5, 17)]
    path = _structure_set(ct, {"GTV": polygons}, tmp_path / "rt")
    uid = pydicom.dcmread(path).SOPInstanceUID
    unnamed = _read(ct, path, volumes["PT"], more=pet_series.files)
    assert any("drawn on another series" in warning for warning in unnamed.warnings)
    contour = _read(ct, path, volumes["PT"], more=pet_series.files, sop_instance_uid=uid)
    # 25 x 20 x 12 mm in voxels of 5 x 5 x 4 mm.
    assert _voxels(contour) == _voxels(unnamed) == 5 * 4 * 3
    with pytest.raises(GeometryMismatch):
        read_contour(read_study([*pet_series.files, path]), ContourRequest(sop_instance_uid=uid), volumes["PT"])


def test_which_region_is_the_tumor(write_series, tmp_path):
    series, grid = _setting(write_series)
    small = [_to_patient(grid.image, INNER, 2)]
    large = [_to_patient(grid.image, OUTER, 2)]

    def voxels(regions, **options):
        request = {key: options.pop(key) for key in ("structure_name",) if key in options}
        return _voxels(_read(series, _structure_set(series, regions, tmp_path / "rt", **options), grid, **request))

    inner, outer = (int(_expected(slice(2, 3), [ring]).sum()) for ring in (INNER, OUTER))
    assert voxels({"GTV_Mass": small, "GTV_Edema": large, "Liver": large}) == inner
    assert voxels({"Gross Tumour": small, "Body": large}) == inner
    assert voxels({"sarcoma": small}, interpreted_type="GTV") == inner
    assert voxels({"GTV_Mass": small, "GTV_Edema": large}, structure_name="GTV_Edema") == outer
    with pytest.raises(AmbiguousSeries):
        voxels({"GTV 1": small, "GTV 2": large})
    with pytest.raises(ContourNotFound):
        voxels({"Liver": large})
    with pytest.raises(ContourNotFound):
        voxels({"GTV": large}, structure_name="gtv")
    with pytest.raises(MissingAttribute):
        voxels({"GTV": small}, without=["RTROIObservationsSequence"])


def test_contours_that_do_not_fit_the_grid(write_series, tmp_path):
    series, grid = _setting(write_series)
    path = tmp_path / "rt"
    between = [_to_patient(grid.image, OUTER, k + 0.4) for k in range(3)]
    with pytest.raises(GeometryMismatch):
        _read(series, _structure_set(series, {"GTV": between}, path), grid)
    tiny = [_to_patient(grid.image, [(3.2, 3.2), (3.6, 3.2), (3.6, 3.6)], 2)]
    with pytest.raises(EmptyMask):
        _read(series, _structure_set(series, {"GTV": tiny}, path), grid)
    leaning = [np.add(_to_patient(grid.image, OUTER, 2), np.outer([0, 0, 1, 1], [0, 0, 3.0]))]
    with pytest.raises(GeometryMismatch):
        _read(series, _structure_set(series, {"GTV": leaning}, path), grid)


def test_contours_of_another_frame_of_reference(write_series, tmp_path):
    series, grid = _setting(write_series)
    other = write_series(frame_of_reference="other", shape=(6, 17, 19))
    path = _structure_set(other, {"GTV": [_to_patient(grid.image, OUTER, 2)]}, tmp_path / "rt")
    with pytest.raises(FrameOfReferenceMismatch):
        _read(series, path, grid)


def test_contours_that_fit_nothing_are_named_by_what_they_were_drawn_on(write_series, tmp_path):
    series, grid = _setting(write_series)
    other = write_series(frame_of_reference="other", series="other", shape=(6, 17, 19))
    path = _structure_set(other, {"GTV": [_to_patient(grid.image, OUTER, 2)]}, tmp_path / "rt")
    with pytest.raises(ContourNotFound, match="1 contour object drawn on images of another frame of reference"):
        _read(series, path, grid, more=other.files)
    with pytest.raises(ContourNotFound, match="1 contour object drawn on images that were not sent"):
        _read(series, path, grid)


def test_two_contour_objects_need_a_name(write_series, tmp_path):
    series, grid = _setting(write_series)
    files = [
        _structure_set(series, {"GTV": [_to_patient(grid.image, ring, 2)]}, tmp_path / name)
        for name, ring in (("one", OUTER), ("two", INNER))
    ]
    study = read_study([*series.files, *files])
    with pytest.raises(AmbiguousSeries):
        read_contour(study, ContourRequest(), grid)
    named = ContourRequest(sop_instance_uid=pydicom.dcmread(files[1]).SOPInstanceUID)
    assert _voxels(read_contour(study, named, grid)) == _expected(slice(2, 3), [INNER]).sum()
    with pytest.raises(ContourNotFound):
        read_contour(study, ContourRequest(sop_instance_uid="1.2.3"), grid)
    with pytest.raises(ContourNotFound):
        read_contour(read_study(series.files), ContourRequest(), grid)


@pytest.mark.parametrize("study", ["STS_019", "STS_032"])
def test_real_contours_of_pet_and_ct_agree(examples, study):
    read = read_study(examples / study)
    volumes = convert_study(read, ImageInput.any_of("PT", "CT")).volumes
    voxels, millilitres = {}, {}
    for modality, volume in volumes.items():
        voxels[modality] = _voxels(read_contour(read, ContourRequest(), volume))
        millilitres[modality] = voxels[modality] * volume.geometry.voxel_volume_mm3 / 1000
    # The physician drew one outline and copied it to the other image.
    assert millilitres["PT"] == pytest.approx(millilitres["CT"], rel=0.03)
    # Voxels of the NIfTI masks that the Image Biomarker Standardisation Initiative made of the same contours.
    expected = {"STS_019": {"PT": 239, "CT": 5564}, "STS_032": {"PT": 2228, "CT": 35591}}
    assert voxels == expected[study]


def _segmentation(series, array, path, labels=("GTV",), kind="BINARY", code=codes.SCT.Neoplasm):
    source = [pydicom.dcmread(file) for file in series.files]
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=code,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, label in enumerate(labels, start=1)
    ]
    segmentation = highdicom.seg.Segmentation(
        source_images=source,
        pixel_array=array,
        segmentation_type=kind,
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(),
        series_number=100,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Test",
        manufacturer_model_name="Test",
        software_versions="1",
        device_serial_number="1",
    )
    segmentation.save_as(path)
    return path


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_segmentation_object_on_its_own_grid(write_series, tmp_path, orientation, kind):
    series, grid = _setting(write_series, orientation=orientation)
    expected = _expected(slice(2, 5), [OUTER, INNER])
    array = expected if kind == "BINARY" else (expected * 0.8 + (1 - expected) * 0.3).astype(np.float32)
    contour = _read(series, _segmentation(series, array, tmp_path / "seg", kind=kind), grid)
    np.testing.assert_array_equal(contour.mask.array, expected)
    assert contour.kind == "segmentation"
    assert same_grid(contour.mask.image, grid.image)


def test_which_segment_is_the_tumor(write_series, tmp_path):
    series, grid = _setting(write_series)
    planes = np.stack([_expected(slice(2, 4), [INNER]), _expected(slice(1, 2), [OUTER])], axis=-1)
    path = _segmentation(series, planes, tmp_path / "seg", ("GTV_Mass", "GTV_Edema"))
    chosen = _read(series, path, grid)
    np.testing.assert_array_equal(chosen.mask.array, planes[..., 0])
    named = _read(series, path, grid, structure_name="GTV_Edema")
    np.testing.assert_array_equal(named.mask.array, planes[..., 1])
    with pytest.raises(ContourNotFound):
        _read(series, path, grid, structure_name="Liver")
    with pytest.raises(AmbiguousSeries):
        _read(series, _segmentation(series, planes, path, ("GTV 1", "GTV 2")), grid)
    with pytest.raises(ContourNotFound):
        _read(series, _segmentation(series, planes, path, ("Liver", "Spleen"), code=codes.SCT.Organ), grid)


def test_segmentation_of_another_frame_of_reference(write_series, tmp_path):
    series, grid = _setting(write_series)
    other = write_series(frame_of_reference="other", shape=(6, 17, 19))
    path = _segmentation(other, _expected(slice(2, 4), [OUTER]), tmp_path / "seg")
    with pytest.raises(FrameOfReferenceMismatch):
        _read(series, path, grid)


def test_a_contour_with_half_a_point_is_refused(write_series, tmp_path):
    series, grid = _setting(write_series)
    path = _structure_set(series, {"GTV": [np.arange(10.0)]}, tmp_path / "rt")
    with pytest.raises(InvalidAttribute):
        _read(series, path, grid)
