"""What signing makes of the objects in the archive: verified SR and page, and notes that reject what is out of use.

A signed version has an SR and a page of its own, each in a new series, that name those of the version before as
predecessors. Notes are Key Object Selections of IHE IOCM (RAD TF-2, 4.66.4.1.3), which knows four titles:

- 113038 Incorrect Modality Worklist Entry: withdrawn, as of another patient or study.
- 113037 Rejected for Patient Safety Reasons: withdrawn for another reason. An archive never shows it again.
- 113001 Rejected for Quality Reasons: withdrawn as technically unfit; **replaced by an amended version**.
- 113039 Data Retention Policy Expired: not used; nothing is to be deleted for its age.

None says "superseded": DICOM says that by Predecessor Documents Sequence (0040,A360), which hides nothing, so that both
stay on the screen. Of the four, 113001 alone says nothing untrue of a replaced document: it was not good enough, and an
archive may be set to keep showing it, where 113037 would be an alarm and 113038 a false account of the order. The text
of the note says what happened. Of a first signature no note is made: it takes nothing back.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from types import MappingProxyType

from highdicom import ko
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from oncoresponse.case.identifiers import derived_dicom_uid
from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.case.sign_off import FIRST_VERSION, SignOff, WithdrawalReason
from oncoresponse.reporting.dicom_objects.archive_object import (
    SERIES_NUMBERS,
    copy_study,
    part10,
    reference,
    verifier_name,
)
from oncoresponse.reporting.dicom_objects.source_study import date_and_time, set_times
from oncoresponse.reporting.sign_off_wording import reason_words, status_lines
from oncoresponse.reporting.wording import NOT_SIGNED

_UNKNOWN_ORGANIZATION = "Not stated"  # Verifying Organization is of type 1
_EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "InstitutionName")

REJECTION_TITLES = MappingProxyType(
    {
        # The result was made for a patient or an order that it is not of.
        WithdrawalReason.WRONG_PATIENT: codes.DCM.IncorrectModalityWorklistEntry,
        WithdrawalReason.WRONG_STUDY: codes.DCM.IncorrectModalityWorklistEntry,
        WithdrawalReason.TECHNICAL: codes.DCM.RejectedForQualityReasons,
        # Nobody may use it, for a reason that no code says.
        WithdrawalReason.OTHER: codes.DCM.RejectedForPatientSafetyReasons,
    }
)
"""Document titles of IHE RAD TF-2, 4.66.4.1.3 (Imaging Object Change Management; PS3.16 CID 7010)."""
REPLACED_TITLE = codes.DCM.RejectedForQualityReasons


def verified_report(first: bytes, sign_offs: Sequence[SignOff]) -> bytes:
    """The structured report of a signed or amended version: final, verified by the signer, in a series of its own.

    Args:
        first: The structured report as the chain made it.
        sign_offs: In order; the last one is of this version. The document before it is its predecessor.

    Returns:
        A DICOM Part 10 file. The same arguments give the same bytes.
    """
    with without_pydicom_messages():
        made = dcmread(io.BytesIO(first))
        newest = sign_offs[-1]
        before = _uids(made, newest.version - 1)
        made.PredecessorDocumentsSequence = [_hierarchy(made, *before)]
        made.SeriesInstanceUID, made.SOPInstanceUID = _uids(made, newest.version)
        made.SeriesNumber = SERIES_NUMBERS["verified-report"]
        made.SeriesDescription = "Tumor measurements, signed, research use only"
        made.PreliminaryFlag, made.VerificationFlag = "FINAL", "VERIFIED"
        offset = made.get("TimezoneOffsetFromUTC")
        observer = Dataset()
        observer.VerifyingObserverName = verifier_name(newest.shown_signer)
        observer.VerifyingObserverIdentificationCodeSequence = []
        observer.VerifyingOrganization = made.get("InstitutionName") or _UNKNOWN_ORGANIZATION
        observer.VerificationDateTime = "".join(date_and_time(newest.time, offset))
        made.VerifyingObserverSequence = [observer]
        said = status_lines(sign_offs)
        if newest.comment:
            said.append(f'Comment of the signer: "{newest.comment}"')
        _replace_text(made, NOT_SIGNED, " ".join(said))
        set_times(made, newest.time, offset)
        return part10(made)


def signed_page_object(first: bytes, sign_offs: Sequence[SignOff], pdf: bytes) -> bytes:
    """The page of a signed or amended version as Encapsulated PDF, verified, in a series of its own.

    Verification Flag and Predecessor Documents Sequence are those of PS3.3 C.24.2; the page names the signer.

    Args:
        first: The Encapsulated PDF as the chain made it.
        sign_offs: In order; the last one is of this version. The document before it is its predecessor.
        pdf: The page with the signature.

    Returns:
        A DICOM Part 10 file. The same arguments give the same bytes.
    """
    with without_pydicom_messages():
        made = dcmread(io.BytesIO(first))
        newest = sign_offs[-1]
        made.PredecessorDocumentsSequence = [_hierarchy(made, *_uids(made, newest.version - 1))]
        made.SeriesInstanceUID, made.SOPInstanceUID = _uids(made, newest.version)
        made.SeriesNumber = SERIES_NUMBERS["verified-page"]
        made.SeriesDescription = "Tumor assessment, signed, research use only"
        made.DocumentTitle = f"Tumor assessment, {newest.status.value}, version {newest.version}, research use only"
        made.VerificationFlag = "VERIFIED"
        made.EncapsulatedDocumentLength = len(pdf)
        made.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
        set_times(made, newest.time, made.get("TimezoneOffsetFromUTC"))
        return part10(made)


def rejection_note(objects: Sequence[bytes], withdrawn: SignOff) -> bytes:
    """Key Object Selection that rejects every object of a withdrawn report (IHE IOCM).

    Args:
        objects: All objects that were made of the report, signed ones among them; the first gives patient and study.
        withdrawn: The step; its reason decides the title.
    """
    title = REJECTION_TITLES[withdrawn.reason or WithdrawalReason.OTHER]
    return _note(objects, withdrawn, title, "Withdrawn results", f"Withdrawn: {reason_words(withdrawn)}.")


def replacement_note(replaced: Sequence[bytes], amended: SignOff) -> bytes:
    """Key Object Selection that rejects the documents that an amended version replaces (IHE IOCM).

    Args:
        replaced: Documents of the versions before; the first gives patient and study.
        amended: The step.
    """
    text = f"Replaced by version {amended.version} of the report, which a physician amended and signed."
    return _note(replaced, amended, REPLACED_TITLE, "Replaced documents", text)


def _note(objects: Sequence[bytes], step: SignOff, title: Code, series_description: str, text: str) -> bytes:
    """Its UIDs are of the first object and the version."""
    with without_pydicom_messages():
        read = [dcmread(io.BytesIO(data), stop_before_pixels=True) for data in objects]
        evidence = [_bare(each) for each in read]
        seed, version = str(read[0].SOPInstanceUID), str(step.version)
        note = ko.KeyObjectSelectionDocument(
            evidence=evidence,
            content=ko.KeyObjectSelection(document_title=title, referenced_objects=evidence, description=text),
            series_instance_uid=derived_dicom_uid(seed, "rejection-series", version),
            series_number=SERIES_NUMBERS["rejection-note"],
            sop_instance_uid=derived_dicom_uid(seed, "rejection-note", version),
            instance_number=1,
            manufacturer=str(read[0].Manufacturer),
        )
        made = Dataset()
        made.update(note)
        made.pop("ContributingEquipmentSequence", None)
        copy_study(read[0], made)
        for keyword in _EQUIPMENT:
            if keyword in read[0]:
                made[keyword] = read[0][keyword]
        made.SeriesDescription = series_description
        made.ContentDate = made.ContentTime = made.SeriesDate = made.SeriesTime = None
        set_times(made, step.time, read[0].get("TimezoneOffsetFromUTC"))
        return part10(made)


def _uids(first: Dataset, version: int) -> tuple[str, str]:
    """Series and instance of a version; those of the first document for the first."""
    series, instance = str(first.SeriesInstanceUID), str(first.SOPInstanceUID)
    if version == FIRST_VERSION:
        return series, instance
    return (
        derived_dicom_uid(series, "verified-series", str(version)),
        derived_dicom_uid(instance, "verified", str(version)),
    )


def _hierarchy(made: Dataset, series_uid: str, instance_uid: str) -> Dataset:
    """Hierarchical SOP Instance Reference (PS3.3 Table C.17-3)."""
    series, study = Dataset(), Dataset()
    series.SeriesInstanceUID = series_uid
    series.ReferencedSOPSequence = [reference(str(made.SOPClassUID), instance_uid)]
    study.StudyInstanceUID = made.StudyInstanceUID
    study.ReferencedSeriesSequence = [series]
    return study


def _bare(read: Dataset) -> Dataset:
    """What a reference needs, without names that highdicom would quote in a warning."""
    item = Dataset()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "Rows", "Columns"):
        if keyword in read:
            item[keyword] = read[keyword]
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(item, keyword, None)
    item.StudyDate = item.StudyTime = None
    return item


def _replace_text(item: Dataset, text: str, by: str) -> None:
    for each in _items(item):
        if each.get("ValueType") == "TEXT" and each.TextValue == text:
            each.TextValue = by


def _items(item: Dataset) -> Iterator[Dataset]:
    for each in item.get("ContentSequence", []):
        yield each
        yield from _items(each)
