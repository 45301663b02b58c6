"""The DICOM files of a study as files for training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset, FileDataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError

from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.errors import InvalidRequest, NoImages
from oncoresponse.export.deidentification import deidentified
from oncoresponse.export.pixel_rules import why_left_out
from oncoresponse.export.site_pseudonyms import SitePseudonyms


@dataclass(frozen=True)
class Source:
    """A file to be exported.

    Attributes:
        path: Where it is.
        patient: Patient ID and its issuer, where they are known to be others than the file says (a study that was
            moved to another patient); the pseudonym follows from them.
    """

    path: Path
    patient: tuple[str, str] | None = None


@dataclass(frozen=True)
class ExportedStudies:
    """What was written.

    Attributes:
        files: In the order of the sources.
        left_out: Why objects were not, with how many.
    """

    files: tuple[Path, ...]
    left_out: Counter[str] = field(default_factory=Counter)


def export_deidentified(
    sources: Iterable[Source], folder: Path, key: bytes, *, no_burned_in: bool = False
) -> ExportedStudies:
    """Write the objects of files without what names the patient, as ``PSEUDONYM/SERIES/INSTANCE.dcm``.

    Args:
        sources: Files; those that are not DICOM are left out.
        folder: Empty, or not there yet.
        key: The secret of the site. The same key gives the same pseudonyms, UIDs and dates again.
        no_burned_in: See :func:`~oncoresponse.export.pixel_rules.why_left_out`.

    Raises:
        InvalidRequest: The folder holds something.
        NoImages: No object may leave.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise InvalidRequest("The folder for the export is not empty. Name a new one.")
    pseudonyms = SitePseudonyms(key)
    written: list[Path] = []
    left_out: Counter[str] = Counter()
    # Its messages quote values.
    with without_pydicom_messages():
        for source in sources:
            try:
                dataset = dcmread(source.path)
            except (InvalidDicomError, OSError, ValueError, EOFError):
                left_out["a file that cannot be read as DICOM"] += 1
                continue
            if source.patient is not None:
                dataset.PatientID, dataset.IssuerOfPatientID = source.patient
            if reason := why_left_out(dataset, no_burned_in=no_burned_in):
                left_out[reason] += 1
                continue
            written.append(_write(dataset, folder, pseudonyms))
    if not written:
        raise NoImages("No object may leave: " + "; ".join(f"{count} are {why}" for why, count in left_out.items()))
    return ExportedStudies(tuple(written), left_out)


def _write(dataset: FileDataset, folder: Path, pseudonyms: SitePseudonyms) -> Path:
    cleaned: Dataset = deidentified(dataset, pseudonyms)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = cleaned.SOPClassUID
    meta.MediaStorageSOPInstanceUID = cleaned.SOPInstanceUID
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    cleaned.file_meta = meta
    path = folder / str(cleaned.PatientID) / str(cleaned.SeriesInstanceUID) / f"{cleaned.SOPInstanceUID}.dcm"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Preamble and file meta header are new: nothing of the source is in them.
    cleaned.save_as(path, enforce_file_format=True)
    path.chmod(0o600)
    return path
