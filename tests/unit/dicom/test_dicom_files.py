"""Where files lie and how they begin: links, relative paths, no preamble."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from oncoresponse.dicom.file_kind import is_dicom
from oncoresponse.dicom.reading import read_instance, read_pixels
from oncoresponse.dicom.study import convert_study, read_study
from oncoresponse.errors import MissingAttribute, NotDicom
from oncoresponse.model.definition import ImageInput
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless


def test_linked_folders_and_files_belong_to_the_study(write_series, tmp_path):
    series = write_series(modality="CT")
    study = tmp_path / "study"
    (study / "deep").mkdir(parents=True)
    (study / "deep" / "CT").symlink_to(series.directory)
    assert len(read_study(study).instances) == 5
    (study / "deep" / "CT").unlink()
    for file in series.files:
        (study / file.name).symlink_to(file)
    assert len(read_study(study).instances) == 5


def test_a_folder_that_links_to_itself_or_is_linked_twice_is_read_once(write_series, tmp_path):
    series = write_series(directory=tmp_path)
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "up").symlink_to("..")
    study = read_study(tmp_path)
    assert (len(study.instances), study.left_out) == (len(series.files), 0)


def test_a_link_that_leads_nowhere_is_counted_as_left_out(write_series, tmp_path):
    write_series(directory=tmp_path)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert read_study(tmp_path).left_out == 1


def test_relative_paths_stay_valid_when_the_working_directory_changes(write_series, tmp_path, monkeypatch):
    series = write_series()
    monkeypatch.chdir(series.directory)
    studies = [read_study(Path()), read_study([Path(f.name) for f in series.files])]
    monkeypatch.chdir(tmp_path)
    for study in studies:
        assert convert_study(study, ImageInput.any_of("CT")).volumes["CT"].image.GetSize()[2] == 5


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("with_meta", [True, False])
def test_a_file_without_preamble_is_read(write_series, syntax, with_meta):
    series = write_series(shape=(1, 5, 4))
    file = series.files[0]
    dataset = pydicom.dcmread(file)
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(file, dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True, overwrite=True)
    data = file.read_bytes()
    end_of_meta = 132 + 12 + int.from_bytes(data[140:144], "little")
    file.write_bytes(data[132 if with_meta else end_of_meta :])
    instance = read_instance(file)
    assert instance.sop_instance_uid == dataset.SOPInstanceUID
    np.testing.assert_array_equal(read_pixels(instance), series.stored[0])
    assert len(read_study(file.parent).instances) == 1


def test_compressed_pixels_without_a_transfer_syntax_are_refused(write_series):
    data = write_series(shape=(1, 40, 40), transfer_syntax_uid=RLELossless).files[0].read_bytes()
    end_of_meta = 132 + 12 + int.from_bytes(data[140:144], "little")
    with pytest.raises(MissingAttribute) as caught:
        read_instance(data[end_of_meta:])
    assert caught.value.metadata["keyword"] == "TransferSyntaxUID"


def test_other_files_are_not_taken_for_dicom_without_preamble():
    texts = [b"\x08\0\x09\0" + b"x" * 200, b"\x02\0\0\0" + b"x" * 200, b"\x89PNG" + bytes(200), bytes(300)]
    assert not any(map(is_dicom, texts))
    with pytest.raises(NotDicom):
        read_instance(texts[0])
