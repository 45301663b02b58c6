"""What leaves is looked at from outside: every byte and every element, and the stages that read it."""

from __future__ import annotations

import datetime
import itertools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from oncoresponse.dicom.study import convert_study, read_study
from oncoresponse.errors import InvalidRequest, NoImages
from oncoresponse.export.deidentification import deidentified, profile_actions
from oncoresponse.export.site_pseudonyms import SitePseudonyms
from oncoresponse.export.study_export import Source, export_deidentified
from oncoresponse.model.folder import ModelFolder
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_has_tag, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.tag import Tag
from pydicom.uid import UID, SecondaryCaptureImageStorage, UltrasoundImageStorage

ROOT = Path(__file__).parents[3]
STUDY = ROOT / "examples" / "STS_032"
KEY = b"0123456789abcdef0123456789abcdef"
PLANTED = "Mustermann"
# Of the sample itself.
pytestmark = pytest.mark.filterwarnings("ignore:The value length")
PATIENT_ID = "MRN-7654321"


def _all_elements(dataset: Dataset) -> Iterator[DataElement]:
    for element in dataset:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from _all_elements(item)


def _plant(dataset: Dataset) -> None:
    """A name in every text of the table, in sequences, private elements and elements that the table does not list."""
    dataset.PatientID, dataset.PatientName = PATIENT_ID, f"{PLANTED}^Erika"
    dataset.PatientBirthDate = "19600229"
    for tag in profile_actions():
        if not dictionary_has_tag(tag) or keyword_for_tag(tag) in ("PatientID", "PatientName", "IssuerOfPatientID"):
            continue
        vr = pydicom.datadict.dictionary_VR(tag)
        if vr in ("LO", "LT", "ST", "UT", "UC", "SH", "PN", "AE"):
            dataset.add_new(tag, vr, PLANTED)
    item = Dataset()
    item.PhysiciansOfRecord, item.CodeMeaning, item.TextValue = f"{PLANTED}^Otto", f"of {PLANTED}", PLANTED
    dataset.ProcedureCodeSequence = [item]
    dataset.AnatomicRegionSequence = [item]
    block = dataset.private_block(0x0009, f"{PLANTED} vendor", create=True)
    block.add_new(0x01, "LO", PLANTED)
    block.add_new(0x02, "UN", PLANTED.encode())
    dataset.Manufacturer, dataset.ManufacturerModelName = f"Scanner of {PLANTED}", PATIENT_ID
    dataset.OtherPatientIDs = [PATIENT_ID, "A-1111111"]
    dataset.add_new(0x60004000, "LT", PLANTED)
    dataset.add_new(0xFFFCFFFC, "OB", PLANTED.encode())
    dataset.file_meta.SourceApplicationEntityTitle = PLANTED
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.3"
    dataset.file_meta.PrivateInformation = PLANTED.encode()
    dataset.preamble = (PLANTED.encode() * 20)[:128]


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    for number, path in enumerate(sorted(path for path in STUDY.rglob("*") if path.is_file())):
        dataset = dcmread(path)
        dataset.PatientID, dataset.PatientName = PATIENT_ID, f"{PLANTED}^Erika"
        if number % 12 == 0:
            _plant(dataset)
        dataset.save_as(folder / f"{PLANTED}-{number}.dcm")
    return folder


@pytest.fixture(scope="module")
def exported(planted, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "out"
    export_deidentified(map(Source, sorted(planted.iterdir())), folder, KEY)
    return folder


def test_no_byte_and_no_element_names_the_patient(planted, exported):
    files = [path for path in exported.rglob("*") if path.is_file()]
    assert len(files) == len(list(planted.iterdir()))
    elements = (element for path in planted.iterdir() for element in _all_elements(dcmread(path)))
    own = {
        str(element.value) for element in elements if element.VR == "UI" and UID(element.value).name == element.value
    }
    assert own
    for path in files:
        assert PLANTED not in str(path)
        data = path.read_bytes()
        for secret in (PLANTED, PLANTED.upper(), PATIENT_ID, "A-1111111", "19600229", "Erika", "Otto"):
            for coded in (secret.encode(), secret.encode("utf-16-le")):
                assert coded not in data, (secret, [e for e in _all_elements(dcmread(path)) if secret in str(e.value)])
        assert data[:128] == bytes(128)
        dataset = dcmread(path)
        for element in (*dataset.file_meta, *_all_elements(dataset)):
            assert not element.tag.is_private
            assert str(element.value) not in own, element.keyword
        assert dataset.PatientIdentityRemoved == "YES"
        codes = [(item.CodeValue, item.CodingSchemeDesignator) for item in dataset.DeidentificationMethodCodeSequence]
        assert codes == [("113100", "DCM"), ("113107", "DCM"), ("113108", "DCM")]
        assert dataset.LongitudinalTemporalInformationModified == "MODIFIED"


def test_the_profile_leaves_no_attribute_that_it_removes(exported):
    kept = {"PatientAge", "PatientSize", "PatientWeight", "TimezoneOffsetFromUTC", "ROIObservationLabel"}
    for path in itertools.islice(exported.rglob("*.dcm"), 20):
        for element in _all_elements(dcmread(path)):
            action = profile_actions().get(int(element.tag), "")
            if action == "X" and element.keyword not in kept:
                # The option of modified dates keeps these.
                assert element.VR in ("DA", "DT", "TM"), element.keyword


def test_uids_stay_consistent_and_intervals_stay(planted, exported):
    pseudonyms = SitePseudonyms(KEY)
    before = [dcmread(path, stop_before_pixels=True) for path in sorted(planted.iterdir())]
    after = {dataset.SOPInstanceUID: dataset for dataset in (dcmread(path) for path in exported.rglob("*.dcm"))}
    shifts = set()
    for dataset in before:
        twin = after[pseudonyms.uid(dataset.SOPInstanceUID)]
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            if keyword in dataset:
                assert twin[keyword].value == pseudonyms.uid(dataset[keyword].value)
        assert twin.SOPClassUID == dataset.SOPClassUID
        days = [datetime.datetime.strptime(each.StudyDate, "%Y%m%d") for each in (dataset, twin)]
        shifts.add((days[1] - days[0]).days)
        assert twin.get("SeriesTime") == dataset.get("SeriesTime")
        if dataset.Modality in ("RTSTRUCT", "SEG"):
            referenced = [
                {e.value for e in _all_elements(each) if e.keyword == "ReferencedSOPInstanceUID"}
                for each in (dataset, twin)
            ]
            assert referenced[1] == {pseudonyms.uid(uid) for uid in referenced[0]} != set()
    assert len(shifts) == 1
    assert -3650 <= shifts.pop() <= -30


def test_what_was_exported_is_measured_like_the_source(tmp_path):
    export_deidentified((Source(path) for path in STUDY.rglob("*") if path.is_file()), tmp_path, KEY)
    inputs = ModelFolder.open(ROOT / "models" / "sts-petct").imaging.inputs
    source, export = (convert_study(read_study(folder), inputs) for folder in (STUDY, tmp_path))
    assert source.volumes.keys() == export.volumes.keys()
    for role, volume in source.volumes.items():
        np.testing.assert_array_equal(volume.array, export.volumes[role].array)
        for name in ("size", "spacing_mm", "origin_mm", "direction"):
            found = [getattr(each, name) for each in (volume.geometry, export.volumes[role].geometry)]
            np.testing.assert_allclose(*found, atol=1e-6)


def test_two_examinations_of_a_patient_keep_their_distance_and_another_patient_gets_another_shift():
    def dated(patient: str, day: str) -> Dataset:
        dataset = Dataset()
        dataset.PatientID, dataset.StudyDate, dataset.PatientAge = patient, day, "093Y"
        return deidentified(dataset, SitePseudonyms(KEY))

    first, second, other = dated("1", "20200227"), dated("1", "20200305"), dated("2", "20200227")
    days = [datetime.datetime.strptime(item.StudyDate, "%Y%m%d") for item in (first, second)]
    assert (days[1] - days[0]).days == 7
    assert (first.PatientID, first.StudyDate) == (dated("1", "20200227").PatientID, dated("1", "20200227").StudyDate)
    assert first.PatientID != other.PatientID
    assert first.StudyDate != other.StudyDate
    assert first.PatientAge == "090Y"
    assert (
        deidentified(Dataset(), SitePseudonyms(b"x" * 32)).PatientID
        != deidentified(Dataset(), SitePseudonyms(KEY)).PatientID
    )


def test_labels_of_contours_become_numbers():
    roi, observation, segment = Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, roi.ROIDescription = 2, f"GTV {PLANTED}", PLANTED
    observation.ObservationNumber, observation.ROIObservationLabel = 3, PLANTED
    segment.SegmentNumber, segment.SegmentLabel, segment.SegmentDescription = 1, PLANTED, PLANTED
    dataset = Dataset()
    dataset.StructureSetROISequence, dataset.RTROIObservationsSequence = [roi], [observation]
    dataset.SegmentSequence, dataset.StructureSetLabel = [segment], PLANTED
    cleaned = deidentified(dataset, SitePseudonyms(KEY))
    assert PLANTED not in str(cleaned)
    assert cleaned.StructureSetROISequence[0].ROIName == "ROI 2"
    assert cleaned.SegmentSequence[0].SegmentLabel == "Segment 1"


@pytest.mark.parametrize(
    ("change", "declared", "leaves"),
    [
        ({}, False, True),
        ({"BurnedInAnnotation": "YES"}, True, False),
        ({"BurnedInAnnotation": "NO"}, False, True),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, False, False),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, True, True),
        ({"SOPClassUID": UltrasoundImageStorage}, False, False),
        ({"SOPClassUID": UID("1.2.840.10008.5.1.4.1.1.104.1"), "PixelData": None}, True, False),
    ],
)
def test_what_may_hold_text_in_its_pixels_stays(tmp_path, change, declared, leaves):
    source = tmp_path / "source.dcm"
    dataset = dcmread(next((STUDY / "CT").iterdir()))
    for keyword, value in change.items():
        if value is None:
            del dataset[Tag(keyword)]
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(source)
    if leaves:
        assert len(export_deidentified([Source(source)], tmp_path / "out", KEY, no_burned_in=declared).files) == 1
    else:
        with pytest.raises(NoImages):
            export_deidentified([Source(source)], tmp_path / "out", KEY, no_burned_in=declared)
        assert not (tmp_path / "out").exists()


def test_nothing_is_written_beside_what_is_there(tmp_path, planted):
    (tmp_path / "x").write_text("x")
    with pytest.raises(InvalidRequest):
        export_deidentified(map(Source, planted.iterdir()), tmp_path, KEY)


def test_dciodvfy_finds_no_error_that_the_source_has_not(tmp_path, require_installed):
    """Of the study as it is: what was planted elsewhere breaks rules of the standard by itself."""
    require_installed("dicom3tools", "dciodvfy")
    exported = tmp_path / "out"
    export_deidentified((Source(path) for path in STUDY.rglob("*") if path.is_file()), exported, KEY)

    def errors(path: Path) -> set[str]:
        found = subprocess.run([shutil.which("dciodvfy"), path], capture_output=True, text=True, check=False)
        # UIDs are others, and what is said of them stays.
        return {re.sub(r"<[\d.]+>", "<UID>", line) for line in found.stderr.splitlines() if line.startswith("Error")}

    twins = {dcmread(path, stop_before_pixels=True).SOPInstanceUID: path for path in exported.rglob("*.dcm")}
    seen = set()
    for path in sorted(path for path in STUDY.rglob("*") if path.is_file()):
        dataset = dcmread(path, stop_before_pixels=True)
        if dataset.Modality not in seen:
            seen.add(dataset.Modality)
            assert errors(twins[SitePseudonyms(KEY).uid(dataset.SOPInstanceUID)]) <= errors(path)


def test_who_was_moved_to_another_patient_leaves_as_that_one(tmp_path, planted):
    files = sorted(planted.iterdir())
    moved = [Source(path, ("SOMEBODY-ELSE", "WARD")) for path in files]
    folders = []
    for number, sources in enumerate((map(Source, files), moved, moved)):
        export_deidentified(sources, tmp_path / str(number), KEY)
        folders.append({path.name for path in (tmp_path / str(number)).iterdir()})
    assert folders[0].isdisjoint(folders[1])
    assert folders[1] == folders[2]
    assert len(folders[1]) == 1
