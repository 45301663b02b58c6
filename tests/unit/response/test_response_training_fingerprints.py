"""A model recognizes the patients it was trained on, and makes no call for them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from oncoresponse.case.prediction import Answer
from oncoresponse.errors import ModelFolderInvalid, TrainingDataInvalid
from oncoresponse.model.folder import ModelFolder
from oncoresponse.response.batch_prediction import predict_table, read_prediction_table
from oncoresponse.response.model import ResponseModel
from oncoresponse.response.training_fingerprints import (
    MATCHING_SLICES,
    TrainingFingerprints,
    hash_slices,
    read_key,
)

KEY = b"a secret that only the site has"


def _tomography(seed: int, slices: int = 6) -> np.ndarray:
    """CT (slice, row, column) in HU with a slice of air on top."""
    array = np.random.default_rng(seed).normal(40, 60, size=(slices, 24, 20)).round()
    array[0] = -1000
    return array


def test_a_patient_is_recognized_by_the_images_however_they_are_turned(tmp_path: Path) -> None:
    image = tmp_path / "CT.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(_tomography(1).astype(np.int16)), str(image))
    known = TrainingFingerprints.of_patients(["P1"], None, [image])
    assert known.knows_slices(_tomography(1))
    assert known.knows_slices(_tomography(1)[::-1, ::-1, ::-1]), "NIfTI and DICOM count rows and columns differently"
    assert known.knows_slices(_tomography(1).astype(np.float64) + 1e-6)
    assert not known.knows_slices(_tomography(2))


def test_air_recognizes_nobody() -> None:
    assert len(hash_slices(_tomography(1))) == 5
    assert hash_slices(np.full((9, 30, 30), -1000.0)) == []
    assert hash_slices(np.random.default_rng(0).choice([-1000, 0], size=(3, 30, 30))) == []


def test_a_few_slices_are_not_enough(tmp_path: Path) -> None:
    image = tmp_path / "CT.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(_tomography(1).astype(np.int16)), str(image))
    known = TrainingFingerprints.of_patients([], None, [image])
    mixed = _tomography(2)
    mixed[1:MATCHING_SLICES] = _tomography(1)[1:MATCHING_SLICES]
    assert not known.knows_slices(mixed)
    mixed[1 : MATCHING_SLICES + 1] = _tomography(1)[1 : MATCHING_SLICES + 1]
    assert known.knows_slices(mixed)


def test_identifiers_need_the_key_of_the_site() -> None:
    known = TrainingFingerprints.of_patients(["MRN 0042"], KEY)
    assert known.knows_identifier(" mrn 0042 ", KEY)
    assert not known.knows_identifier("MRN 0043", KEY)
    assert not known.knows_identifier("MRN 0042", b"another key of another site")
    assert not known.knows_identifier("MRN 0042", None)
    assert "0042" not in known.model_dump_json()
    assert TrainingFingerprints.of_patients(["MRN 0042"], None).identifiers == ()


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_key_that_is_no_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    with pytest.raises(TrainingDataInvalid, match="cannot be read"):
        read_key(path)
    path.write_bytes(content)
    with pytest.raises(TrainingDataInvalid, match="openssl rand"):
        read_key(path)
    path.write_bytes(KEY + b"\n")
    assert read_key(path) == KEY


def test_a_training_patient_gets_no_call_and_is_not_their_own_neighbor(
    trained_folder: ModelFolder, training_files: object, tmp_path: Path
) -> None:
    model = ResponseModel.open(trained_folder)
    with training_files.features.open() as stream:
        rows = list(csv.DictReader(stream))
    held_out, trained = rows[0], rows[5]
    table = tmp_path / "patients.csv"
    lines = [",".join(["id", "m0", "m1", "m2"])]
    for name, row in (("a", held_out), ("b", trained)):
        lines.append(",".join([name, row["m0"], row["m1"], row["m2"]]))
    table.write_text("\n".join(lines) + "\n")
    first, second = predict_table(model, read_prediction_table(table, model.inputs))
    assert not first.used_in_training
    assert second.used_in_training
    assert second.answer in (Answer.INDETERMINATE, Answer.OUT_OF_DISTRIBUTION)
    assert second.abstain_reasons[0].code == "USED_IN_TRAINING"
    assert second.nearest_cases == ()
    assert second.changes == ()
    assert first.nearest_cases


def test_a_damaged_file_of_fingerprints_is_refused(trained_folder: ModelFolder) -> None:
    path = trained_folder.path / "response" / "training-fingerprints.json"
    before = path.read_bytes()
    try:
        path.write_bytes(b"{}x")
        with pytest.raises(ModelFolderInvalid, match="schema"):
            TrainingFingerprints.of_model(trained_folder)
    finally:
        path.write_bytes(before)
