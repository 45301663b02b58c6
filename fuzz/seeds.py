"""Small valid studies that the mutations start from: every kind of object and every compressed transfer syntax."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    PositronEmissionTomographyImageStorage,
    RLELossless,
    RTStructureSetStorage,
)

SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
)
"""Transfer syntaxes of the images; JPEG 2000 stands for the others that its codec decodes."""

SLICES, SIZE, SPACING_MM = 5, 64, 3.0
# Written once by GDCM, the only encoder at hand, which itself aborts now and then; every slice has the same one.
_JPEG_LOSSLESS = Path(__file__).parent / "jpeg-lossless-frame.jpg"
_ROOT = "1.2.826.0.1.3680043.8.498."


def study(syntax: str) -> dict[str, bytes]:
    """Files of one patient: PET in a transfer syntax, CT, RTSTRUCT and SEG, by a name of ours."""
    pets = [_slice("PT", k, syntax) for k in range(SLICES)]
    cts = [_slice("CT", k, ExplicitVRLittleEndian) for k in range(SLICES)]
    files = {f"PT{k}": _bytes(dataset) for k, dataset in enumerate(pets)}
    files |= {f"CT{k}": _bytes(dataset) for k, dataset in enumerate(cts)}
    files["RTSTRUCT"] = _bytes(_structure_set())
    native = [_slice("PT", k, ExplicitVRLittleEndian) for k in range(SLICES)]
    seg_syntax = syntax if syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless) else ExplicitVRLittleEndian
    files["SEG"] = _segmentation(native, seg_syntax)
    return files


def _plane(modality: str, k: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    body = np.hypot(x - SIZE / 2, y - SIZE / 2) < SIZE / 3
    noise = np.random.default_rng(k).integers(0, 20, (SIZE, SIZE))
    values = np.where(body, 1040, 20) + noise if modality == "CT" else np.where(body, 4000, 0) + noise
    return values.astype(np.int16)


def _slice(modality: str, k: int, syntax: str) -> FileDataset:
    dataset = _common("PT" if modality == "PT" else "CT", modality, k)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.FrameOfReferenceUID = _ROOT + "9"
    dataset.ImagePositionPatient = [-96.0, -96.0, k * SPACING_MM]
    dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [SPACING_MM, SPACING_MM]
    dataset.SliceThickness = SPACING_MM
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = SIZE
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024 if modality == "CT" else 0
    if modality == "PT":
        dataset.Units, dataset.DecayCorrection, dataset.PatientWeight = "BQML", "START", 70
        dataset.CorrectedImage, dataset.ActualFrameDuration = ["DECY", "ATTN", "SCAT"], 120000
        tracer = Dataset()
        tracer.Radiopharmaceutical, tracer.RadiopharmaceuticalStartTime = "FDG", "090000"
        tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = 370000000, 6586.2
        dataset.RadiopharmaceuticalInformationSequence = [tracer]
    plane = _plane(modality, k)
    dataset.PixelData = plane.tobytes()
    dataset["PixelData"].VR = "OW"
    _encode(dataset, plane, syntax)
    return dataset


def _common(series: str, modality: str, k: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    classes = {"CT": CTImageStorage, "PT": PositronEmissionTomographyImageStorage, "RTSTRUCT": RTStructureSetStorage}
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID = classes[modality]
    number = {"CT": 3, "PT": 4, "RTSTRUCT": 5}[modality]
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = f"{_ROOT}{number}.{k + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _ROOT + "1", f"{_ROOT}{number}"
    dataset.Modality, dataset.PatientID, dataset.PatientName = modality, "FUZZ", "Fuzz^Patient"
    dataset.PatientBirthDate, dataset.PatientSex = "19600131", "F"
    dataset.AccessionNumber = dataset.StudyID = dataset.ReferringPhysicianName = ""
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "20240301"
    dataset.StudyTime, dataset.SeriesTime, dataset.AcquisitionTime = "095500", "100000", "100000"
    dataset.SeriesDescription = series
    return dataset


def _encode(dataset: FileDataset, plane: np.ndarray[Any, Any], syntax: str) -> None:
    if syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        uid = dataset.SOPInstanceUID
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.SOPInstanceUID = uid
        return
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = plane.astype(">i2").tobytes()
    elif syntax == JPEGBaseline8Bit:
        from PIL import Image

        buffer = BytesIO()
        Image.fromarray((plane // 32).astype(np.uint8)).save(buffer, "JPEG")
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
        dataset.RescaleSlope = 32
        dataset.PixelData = encapsulate([buffer.getvalue()])
        dataset["PixelData"].VR = "OB"
    elif syntax == JPEGLosslessSV1:
        dataset.PixelData = encapsulate([_JPEG_LOSSLESS.read_bytes()])
        dataset.PixelRepresentation = 0
        dataset["PixelData"].VR = "OB"


def _structure_set() -> FileDataset:
    dataset = _common("RTSTRUCT", "RTSTRUCT", 0)
    referenced, examination, frame, roi, drawn, observation = (Dataset() for _ in range(6))
    referenced.SeriesInstanceUID = _ROOT + "4"
    frame.FrameOfReferenceUID = roi.ReferencedFrameOfReferenceUID = _ROOT + "9"
    examination.RTReferencedSeriesSequence, frame.RTReferencedStudySequence = [referenced], [examination]
    roi.ROINumber = drawn.ReferencedROINumber = observation.ReferencedROINumber = 1
    roi.ROIName, drawn.ContourSequence = "GTV", []
    for k in range(1, SLICES - 1):
        contour, z = Dataset(), k * SPACING_MM
        contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 4
        contour.ContourData = [-20, -20, z, 20, -20, z, 20, 20, z, -20, 20, z]
        drawn.ContourSequence.append(contour)
    dataset.ReferencedFrameOfReferenceSequence, dataset.StructureSetROISequence = [frame], [roi]
    dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [drawn], [observation]
    return dataset


def _segmentation(sources: list[FileDataset], syntax: str) -> bytes:
    import highdicom
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence("fuzz", codes.DCM.ArtificialIntelligence, "1")
    description = highdicom.seg.SegmentDescription(
        1,
        "Tumor",
        codes.SCT.MorphologicallyAbnormalStructure,
        codes.SCT.Neoplasm,
        highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm,
    )
    mask = np.zeros((SLICES, SIZE, SIZE), np.float32 if syntax != ExplicitVRLittleEndian else np.uint8)
    mask[1:4, 24:40, 24:40] = 1
    made = highdicom.seg.Segmentation(
        sources,
        mask,
        "FRACTIONAL" if syntax != ExplicitVRLittleEndian else "BINARY",
        [description],
        _ROOT + "6",
        6,
        _ROOT + "6.1",
        1,
        "OncoResponse",
        "fuzz",
        "1",
        "0",
        transfer_syntax_uid=syntax,
    )
    return _bytes(made)


def _bytes(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    syntax = dataset.file_meta.TransferSyntaxUID
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    dcmwrite(buffer, dataset, implicit_vr=implicit, little_endian=little, enforce_file_format=True, overwrite=True)
    return buffer.getvalue()
