"""A study, its PET or its contour cannot be used."""

from __future__ import annotations

from oncoresponse.errors.base import ErrorKind, OncoResponseError


class DicomError(OncoResponseError):
    """A file or the study cannot be read as the model needs it."""

    kind = ErrorKind.INVALID_INPUT


class NotDicom(DicomError):
    reason = "NOT_DICOM"


class TruncatedFile(DicomError):
    reason = "TRUNCATED_FILE"


class DicomLimitExceeded(DicomError):
    """A file is, or claims to become, larger than allowed, or takes too long or too much memory to decode."""

    reason = "DICOM_LIMIT_EXCEEDED"


class UnsupportedTransferSyntax(DicomError):
    reason = "UNSUPPORTED_TRANSFER_SYNTAX"


class MissingAttribute(DicomError):
    reason = "MISSING_ATTRIBUTE"


class InvalidAttribute(DicomError):
    reason = "INVALID_ATTRIBUTE"


class NoImages(DicomError):
    reason = "NO_IMAGES"


class PatientMismatch(DicomError):
    """The series, or the series and the request, name different patients."""

    reason = "PATIENT_MISMATCH"
    kind = ErrorKind.WRONG_STATE


class SeriesError(DicomError):
    """A series does not make one regular volume, or is not the one a model needs."""

    kind = ErrorKind.WRONG_STATE


class MissingSlices(SeriesError):
    reason = "MISSING_SLICES"


class DuplicateSlices(SeriesError):
    reason = "DUPLICATE_SLICES"


class UnevenSlices(SeriesError):
    reason = "UNEVEN_SLICES"


class GantryTilt(SeriesError):
    reason = "GANTRY_TILT"


class MixedOrientation(SeriesError):
    reason = "MIXED_ORIENTATION"


class TooFewSlices(SeriesError):
    reason = "TOO_FEW_SLICES"


class UnsupportedSopClass(SeriesError):
    reason = "UNSUPPORTED_SOP_CLASS"


class SeriesNotFound(SeriesError):
    reason = "REQUIRED_SERIES_MISSING"


class AmbiguousSeries(SeriesError):
    """Several series fit equally well; choosing one would be a guess."""

    reason = "AMBIGUOUS_SERIES"


class FrameOfReferenceMismatch(SeriesError):
    reason = "FRAME_OF_REFERENCE_MISMATCH"


class GeometryMismatch(SeriesError):
    """Two grids that must be the same, or must overlap, do not."""

    reason = "GEOMETRY_MISMATCH"


class SuvError(OncoResponseError):
    """PET pixel values cannot be turned into body-weight SUV (g/mL)."""

    kind = ErrorKind.WRONG_STATE


class MissingPatientWeight(SuvError):
    reason = "MISSING_PATIENT_WEIGHT"


class MissingInjectedDose(SuvError):
    reason = "MISSING_INJECTED_DOSE"


class ImplausibleSuvInput(SuvError):
    reason = "IMPLAUSIBLE_SUV_INPUT"


class ContradictoryTimes(SuvError):
    """Times of the PET contradict one another, or do not establish when the scan began."""

    reason = "CONTRADICTORY_TIMES"


class UnsupportedPetUnit(SuvError):
    reason = "UNSUPPORTED_PET_UNIT"


class UnsupportedTracer(SuvError):
    reason = "UNSUPPORTED_TRACER"


class UnsupportedDecayCorrection(SuvError):
    reason = "UNSUPPORTED_DECAY_CORRECTION"


class ContourError(OncoResponseError):
    """The supplied or computed contour cannot be used."""

    kind = ErrorKind.WRONG_STATE


class ContourNotFound(ContourError):
    reason = "CONTOUR_NOT_FOUND"


class AutomaticContour(ContourNotFound):
    reason = "AUTOMATIC_CONTOUR"


class ContourNotClosed(ContourError):
    reason = "CONTOUR_NOT_CLOSED"


class ContourAmbiguous(ContourError):
    reason = "CONTOUR_AMBIGUOUS"


class ContourGap(ContourError):
    reason = "CONTOUR_GAP"


class ContourOutsideImage(ContourError):
    reason = "CONTOUR_OUTSIDE_IMAGE"


class EmptyMask(ContourError):
    reason = "EMPTY_MASK"


class MaskTouchesBorder(ContourError):
    reason = "MASK_TOUCHES_BORDER"


class TumorTooSmall(ContourError):
    reason = "TUMOR_TOO_SMALL"


class TumorTooLarge(ContourError):
    reason = "TUMOR_TOO_LARGE"


class FieldOfViewTooLarge(ContourError):
    """Automatic segmentation has not seen so much of the body; a physician's contour is needed."""

    reason = "FIELD_OF_VIEW_TOO_LARGE"


class LesionsOverlap(ContourError):
    reason = "LESIONS_OVERLAP"
