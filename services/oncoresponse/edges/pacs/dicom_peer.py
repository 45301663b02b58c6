"""Finds studies in an archive by C-FIND and has them sent by C-MOVE, study root (PS3.4 annex C). Everything blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from oncoresponse.edges.dicom_association import associated, broke_off
from oncoresponse.edges.pacs.peer_study import PeerStudy, StudyQuery
from oncoresponse.errors import OncoResponseError, PacsAccessDenied, PacsAnswerRefused, PeerUnavailable
from oncoresponse.rpc.edge_settings import DicomPeer

# Study Root Query/Retrieve Information Model, PS3.4 section C.6.2.
_FIND, _MOVE = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2"
# PS3.4 tables C.4-1 and C.4-2.
_SUCCESS, _PENDING = 0x0000, (0xFF00, 0xFF01)
_SOME_FAILED, _DESTINATION_UNKNOWN = 0xB000, 0xA801
_OUT_OF_RESOURCES = (0xA700, 0xA701, 0xA702)


def find_studies(peer: DicomPeer, query: StudyQuery, limit: int) -> list[PeerStudy]:
    """Studies that fit, in the order of the archive.

    Args:
        peer: The archive.
        query: Patient ID and accession number are compared exactly, whatever the archive takes for a wildcard.
        limit: At most this many.

    Raises:
        PeerUnavailable, PacsAccessDenied, TlsHandshakeFailed: It does not answer, or not to us.
        PacsAnswerRefused: It does not answer as it should.
    """
    dates = f"{query.study_date_from}-{query.study_date_to}"
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"
    asked.PatientID = query.patient_id
    asked.IssuerOfPatientID = ""
    asked.AccessionNumber = query.accession_number
    asked.StudyDate = "" if dates == "-" else dates
    asked.StudyTime = ""
    asked.ModalitiesInStudy = query.modality
    asked.StudyInstanceUID = ""
    asked.NumberOfStudyRelatedSeries = ""
    asked.NumberOfStudyRelatedInstances = ""
    association = associated(peer, [(_FIND, None)])
    found: list[PeerStudy] = []
    try:
        _require_accepted(association)
        for status, answer in association.send_c_find(asked, _FIND):
            code = _code(status)
            if code not in _PENDING:
                _require_success(code)
                break
            if answer is not None and _fits(answer, query) and (study := _study(answer)).study_instance_uid:
                found.append(study)
            if len(found) == limit:
                # The rest is not wanted, and the association is ended with it.
                association.abort()
                break
    finally:
        if association.is_established:
            association.release()
    return found


def move_study(peer: DicomPeer, study_instance_uid: str, destination: str) -> int:
    """Have a study sent; gives the number of its objects, once all have been sent and acknowledged.

    Args:
        peer: The archive.
        study_instance_uid: (0020,000D).
        destination: AE title of the receiver, which the archive has to know with its address.

    Raises:
        PeerUnavailable: It does not answer, or could not send everything.
        PacsAccessDenied, TlsHandshakeFailed: It does not answer to us, or does not know the receiver.
        PacsAnswerRefused: It does not answer as it should.
    """
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"
    asked.StudyInstanceUID = study_instance_uid
    association = associated(peer, [(_MOVE, None)])
    try:
        _require_accepted(association)
        for status, _ in association.send_c_move(asked, destination, _MOVE):
            code = _code(status)
            if code not in _PENDING:
                _require_success(code)
                return int(status.get("NumberOfCompletedSuboperations", 0) or 0)
    finally:
        if association.is_established:
            association.release()
    raise broke_off()


def _require_accepted(association: Any) -> None:
    if not association.accepted_contexts:
        raise PacsAccessDenied("The PACS does not offer C-FIND and C-MOVE (study root) to this AE title.")


def _code(status: Dataset) -> int:
    if "Status" not in status:
        raise broke_off()
    return int(status.Status)


def _require_success(code: int) -> None:
    if code == _SUCCESS:
        return
    error: OncoResponseError
    if code == _DESTINATION_UNKNOWN:
        error = PacsAccessDenied(
            "The PACS does not know the AE title of the receiver (pacs: ae_title). Enter it there, with its address.",
            status=f"{code:04X}",
        )
    elif code == _SOME_FAILED or code in _OUT_OF_RESOURCES:
        error = PeerUnavailable(
            "The PACS could not send everything. Check that it reaches the receiver (pacs), and that callers there "
            "has its AE title."
        )
    else:
        error = PacsAnswerRefused(f"The PACS refuses the request (status {code:04X}).", cut="status")
    raise error


def _fits(answer: Dataset, query: StudyQuery) -> bool:
    return all(
        not wanted or _text(answer, keyword) == wanted
        for keyword, wanted in (("PatientID", query.patient_id), ("AccessionNumber", query.accession_number))
    )


def _study(answer: Dataset) -> PeerStudy:
    modalities = answer.get("ModalitiesInStudy") or ()
    return PeerStudy(
        study_instance_uid=_text(answer, "StudyInstanceUID"),
        patient_id=_text(answer, "PatientID"),
        issuer_of_patient_id=_text(answer, "IssuerOfPatientID"),
        study_date=_text(answer, "StudyDate"),
        study_time=_text(answer, "StudyTime"),
        modalities=_texts(modalities),
        series_count=_number(answer, "NumberOfStudyRelatedSeries"),
        instance_count=_number(answer, "NumberOfStudyRelatedInstances"),
    )


def _texts(value: object) -> tuple[str, ...]:
    values: Sequence[object] = value if isinstance(value, MultiValue) else [value] if value else ()
    return tuple(sorted({str(each).strip() for each in values} - {""}))


def _text(answer: Dataset, keyword: str) -> str:
    return str(answer.get(keyword, "") or "").strip()


def _number(answer: Dataset, keyword: str) -> int:
    text = _text(answer, keyword)
    return int(text) if text.isascii() and text.isdigit() else 0
