"""The page of the report as Encapsulated PDF (PS3.3 A.45.1) and the key image as Secondary Capture (PS3.3 A.8.1)."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from oncoresponse.reporting.dicom_objects.archive_object import (
    SourceSeries,
    code_item,
    new_object,
    part10,
    references,
    set_sources,
)
from oncoresponse.reporting.report_content import ReportContext

_TITLE = "Tumor assessment, research use only"


def encapsulated_report(context: ReportContext, source: SourceSeries, pdf: bytes) -> bytes:
    """The report's page. It shows the patient's identity, so Burned In Annotation is YES.

    Args:
        context: What is reported.
        source: Series the lesions were contoured on.
        pdf: The page.
    """
    made = new_object(context, source, "encapsulated-report", sop_class_uid=EncapsulatedPDFStorage, modality="DOC")
    made.SeriesDescription = _TITLE
    made.ConversionType = "WSD"  # Encapsulated Document Series and SC Equipment, PS3.3 C.24.1 and C.8.6.1
    made.BurnedInAnnotation = "YES"
    made.RecognizableVisualFeatures = "NO"
    made.AcquisitionDateTime = None
    made.DocumentTitle = _TITLE
    made.VerificationFlag = "UNVERIFIED"
    made.ConceptNameCodeSequence = [code_item("18748-4", "LN", "Diagnostic imaging study")]
    made.SourceInstanceSequence = references(source)
    set_sources(made, source)
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(pdf)
    made.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return part10(made)


def key_image_object(context: ReportContext, source: SourceSeries, png: bytes) -> bytes:
    """The key image in 8-bit RGB. It shows no identity of the patient, so Burned In Annotation is NO.

    Args:
        context: What is reported.
        source: Series the lesions were contoured on.
        png: The key image.
    """
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image.convert("RGB"))
    made = new_object(context, source, "key-image", sop_class_uid=SecondaryCaptureImageStorage, modality="OT")
    made.SeriesDescription = "Key image, research use only"
    made.ConversionType = "WSD"
    made.BurnedInAnnotation = "NO"
    made.Laterality = None
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.DerivationDescription = "Slices with the contour of the tumor; not for measurement"
    made.PatientOrientation = None  # panels of several orientations in one picture
    made.SourceImageSequence = references(source)
    set_sources(made, source)
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.Rows, made.Columns = pixels.shape[:2]
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    data = pixels.tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OB"
    return part10(made)
