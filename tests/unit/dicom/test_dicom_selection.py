"""Which series is chosen, and of whom."""

import shutil

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.case.case import SelectedSeries
from oncoresponse.case.quantity import Quantity
from oncoresponse.dicom.patient_identity import ExpectedPatient
from oncoresponse.dicom.study import convert_study, read_study
from oncoresponse.errors import (
    AmbiguousSeries,
    FrameOfReferenceMismatch,
    GeometryMismatch,
    InvalidAttribute,
    MissingAttribute,
    MissingSlices,
    NoImages,
    PatientMismatch,
    SeriesNotFound,
    UnsupportedSopClass,
)
from oncoresponse.model.definition import ImageInput
from pydicom.uid import EnhancedPETImageStorage, SecondaryCaptureImageStorage

BOTH = ImageInput.any_of("PT", "CT")


def _study(*series):
    return read_study([file for one in series for file in one.files])


def _chosen(study, inputs=BOTH, **options):
    found = convert_study(study, inputs, **options).description
    return {one.modality: one.series_instance_uid for one in found.series}


@pytest.mark.parametrize("name", ["STS_019", "STS_032"])
def test_real_study_in_any_order(examples, name):
    converted = convert_study(read_study(sorted((examples / name).rglob("*.dcm"), reverse=True)), BOTH)
    assert set(converted.volumes) == {"PT", "CT"}
    assert converted.volumes["CT"].quantity is Quantity.HOUNSFIELD
    assert converted.volumes["PT"].quantity is Quantity.SUV_BODY_WEIGHT
    assert converted.description.patient.patient_id == name
    assert converted.description.warnings == ()
    pet = converted.description.series_of_role("PT")
    assert len(pet.instance_sha256) == converted.volumes["PT"].geometry.size[2]
    assert pet.radiopharmaceutical == "Fluorodeoxyglucose F^18^"


@given(order=st.permutations(range(8)))
@settings(max_examples=15, deadline=None)
def test_the_order_of_the_files_changes_nothing(write_series, order):
    series = _shared(write_series)
    files = [*series[0].files, *series[1].files]
    converted = convert_study(read_study([files[n] for n in order]), BOTH)
    expected = convert_study(read_study(files), BOTH)
    assert converted.description == expected.description
    for modality in ("PT", "CT"):
        one, other = converted.volumes[modality], expected.volumes[modality]
        assert one.geometry == other.geometry
        assert (one.array == other.array).all()


_written = []


def _shared(write_series):
    if not _written:
        _written.extend((write_series(modality="PT", shape=(4, 3, 3)), write_series(shape=(4, 3, 3))))
    return _written


def test_other_objects_beside_the_series_are_left_alone(write_series):
    pet, ct, mr = write_series(modality="PT"), write_series(), write_series(modality="MR", shape=(2, 3, 3))
    scout = write_series(
        series="scout", shape=(1, 9, 9), attributes={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    )
    screen = write_series(
        modality="PT", series="screen", shape=(3, 5, 5), attributes={"SOPClassUID": SecondaryCaptureImageStorage}
    )
    projection = write_series(
        modality="PT", series="rotating", shape=(3, 5, 5), attributes={"ImageType": ["DERIVED", "SECONDARY", "MIP"]}
    )
    reprojection = write_series(
        modality="PT", series="turning", shape=(3, 5, 5), attributes={"SeriesType": ["STATIC", "REPROJECTION"]}
    )
    chosen = _chosen(_study(pet, ct, mr, scout, screen, projection, reprojection))
    assert chosen == {"PT": pet.series_instance_uid, "CT": ct.series_instance_uid}


def test_localizers_inside_the_series_are_left_out(write_series):
    ct = write_series(
        shape=(6, 4, 4), attributes={"ImageType": lambda k: ["ORIGINAL", "PRIMARY", "LOCALIZER" if k == 0 else "AXIAL"]}
    )
    assert convert_study(_study(ct), ImageInput.any_of("CT")).volumes["CT"].geometry.size == (4, 4, 5)


@pytest.mark.parametrize("left", ["PT", "CT"])
def test_a_missing_modality_is_named(write_series, left):
    with pytest.raises(SeriesNotFound) as caught:
        convert_study(_study(write_series(modality=left)), BOTH)
    assert caught.value.metadata["modality"] == ({"PT", "CT"} - {left}).pop()


def test_a_study_without_images(examples):
    with pytest.raises(NoImages):
        convert_study(read_study([examples / "STS_019" / "CT" / "RTSTRUCT.dcm"]), BOTH)


def test_two_pets_need_a_name(write_series):
    one, other, ct = write_series(modality="PT"), write_series(modality="PT", series="other"), write_series()
    study = _study(one, other, ct)
    with pytest.raises(AmbiguousSeries):
        convert_study(study, BOTH)
    named = [SelectedSeries(series_instance_uid=other.series_instance_uid)]
    assert _chosen(study, selected=named) == {
        "PT": other.series_instance_uid,
        "CT": ct.series_instance_uid,
    }
    with pytest.raises(SeriesNotFound):
        convert_study(study, BOTH, selected=[SelectedSeries(series_instance_uid="1.2.3")])


def test_attenuation_corrected_pet_is_preferred(write_series):
    corrected, ct = write_series(modality="PT"), write_series()
    plain = write_series(modality="PT", series="NAC", attributes={"CorrectedImage": ["DECY", "SCAT"]})
    assert _chosen(_study(plain, corrected, ct))["PT"] == corrected.series_instance_uid
    with pytest.raises(SeriesNotFound):
        convert_study(_study(plain, ct), BOTH)


def test_attenuation_correction_by_its_method(write_series):
    said = write_series(modality="PT", attributes={"CorrectedImage": None, "AttenuationCorrectionMethod": "measured"})
    none = write_series(
        modality="PT", series="NAC", attributes={"CorrectedImage": None, "AttenuationCorrectionMethod": "NONE"}
    )
    assert _chosen(_study(said, none), ImageInput.any_of("PT")) == {"PT": said.series_instance_uid}


def test_a_defective_pet_does_not_give_way_to_another(write_series):
    one, other = write_series(modality="PT", shape=(8, 3, 3)), write_series(modality="PT", series="other")
    files = [file for k, file in enumerate(one.files) if k != 4]
    with pytest.raises(MissingSlices):
        convert_study(read_study(files), ImageInput.any_of("PT"))
    with pytest.raises(AmbiguousSeries):
        convert_study(read_study([*files, *other.files]), ImageInput.any_of("PT"))


def test_ct_is_chosen_by_geometry(write_series):
    pet = write_series(modality="PT", shape=(8, 6, 6), spacing_mm=(4, 4, 3))
    fits = write_series(shape=(8, 24, 24), spacing_mm=(1, 1, 3))
    part = write_series(series="part", shape=(4, 24, 24), spacing_mm=(1, 1, 3))
    thin = write_series(series="thin", shape=(24, 24, 24), spacing_mm=(1, 1, 1))
    coronal = write_series(
        series="coronal",
        shape=(24, 24, 24),
        spacing_mm=(1, 1, 1),
        orientation=(1, 0, 0, 0, 0, -1),
        origin_mm=(-20, -30, 63),
    )
    elsewhere = write_series(
        series="elsewhere", shape=(8, 24, 24), spacing_mm=(1, 1, 3), frame_of_reference="elsewhere"
    )
    chosen = _chosen(_study(pet, fits, part, thin, coronal, elsewhere))
    assert chosen["CT"] == fits.series_instance_uid
    kernel = write_series(series="kernel", shape=(8, 24, 24), spacing_mm=(1, 1, 3))
    with pytest.raises(AmbiguousSeries):
        convert_study(_study(pet, fits, kernel), BOTH)


def test_ct_in_another_frame_of_reference(write_series):
    with pytest.raises(FrameOfReferenceMismatch):
        convert_study(_study(write_series(modality="PT"), write_series(frame_of_reference="other")), BOTH)


def test_ct_of_another_part_of_the_body(write_series):
    with pytest.raises(GeometryMismatch):
        convert_study(_study(write_series(modality="PT"), write_series(origin_mm=(-20, -30, 400))), BOTH)


def test_no_frame_of_reference(write_series):
    with pytest.raises(MissingAttribute):
        convert_study(_study(write_series(attributes={"FrameOfReferenceUID": None})), ImageInput.any_of("CT"))


@pytest.mark.parametrize("modality", ["PT", "CT"])
def test_series_that_names_no_frame_of_reference_is_named(write_series, modality):
    removed = {found: {"FrameOfReferenceUID": None} if found == modality else {} for found in ("PT", "CT")}
    study = _study(*(write_series(modality=found, attributes=change) for found, change in removed.items()))
    with pytest.raises(MissingAttribute) as caught:
        convert_study(study, BOTH)
    assert caught.value.metadata == {"keyword": "FrameOfReferenceUID", "modality": modality}


@pytest.mark.parametrize(("modality", "name"), [("PT", "PET"), ("CT", "CT")])
def test_defect_of_the_slices_says_in_which_series(write_series, modality, name):
    files = {found: list(write_series(modality=found, shape=(9, 6, 7)).files) for found in ("PT", "CT")}
    del files[modality][4]
    with pytest.raises(MissingSlices) as caught:
        convert_study(read_study([*files["PT"], *files["CT"]]), BOTH)
    assert caught.value.message.startswith(f"{name}: ")
    assert caught.value.metadata["modality"] == modality


def test_two_studies(write_series):
    pet, ct, other = write_series(modality="PT"), write_series(), write_series(study="other", series="other")
    assert _chosen(_study(pet, ct, other))["CT"] == ct.series_instance_uid
    with pytest.raises(SeriesNotFound):
        convert_study(_study(pet, other), BOTH)
    with pytest.raises(AmbiguousSeries):
        convert_study(_study(pet, ct, other, write_series(modality="PT", study="other", series="both")), BOTH)


def test_enhanced_multiframe_is_refused_by_name(write_series):
    series = write_series(modality="PT", attributes={"SOPClassUID": EnhancedPETImageStorage})
    with pytest.raises(UnsupportedSopClass):
        convert_study(_study(series), ImageInput.any_of("PT"))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientID", "ANOTHER"),
        ("PatientName", "Synthetic^Sister"),
        ("PatientBirthDate", "19600201"),
        ("PatientSex", "M"),
    ],
)
def test_series_of_different_patients(write_series, keyword, value):
    study = _study(write_series(modality="PT"), write_series(attributes={keyword: value}))
    with pytest.raises(PatientMismatch) as caught:
        convert_study(study, BOTH)
    assert caught.value.metadata["keyword"] == keyword
    assert value not in str(caught.value)
    assert "Synthetic" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "SYNTHETIC^PATIENT",
        "Synthetic^Patient^^^",
        " Synthetic ^ Patient",
        "Synthetic, Patient",
        "Synth\u00e9tic^Patient",
        "Synthetic^Patient=\u5c71\u7530^\u592a\u90ce",
        "=\u5c71\u7530^\u592a\u90ce",
    ],
)
def test_one_name_in_two_formats_is_one_patient(write_series, name):
    character_set = {"SpecificCharacterSet": "ISO_IR 192"}
    study = _study(write_series(modality="PT"), write_series(attributes={**character_set, "PatientName": name}))
    assert convert_study(study, BOTH).description.patient.patient_id == "SYNTHETIC"


def test_names_that_differ_in_one_script_are_different(write_series):
    names = ("Yamada^Taro=\u5c71\u7530^\u592a\u90ce", "Yamada^Taro=\u5c71\u7530^\u82b1\u5b50")
    series = [
        write_series(modality=modality, attributes={"SpecificCharacterSet": "ISO_IR 192", "PatientName": name})
        for modality, name in zip(("PT", "CT"), names, strict=True)
    ]
    with pytest.raises(PatientMismatch):
        convert_study(_study(*series), BOTH)


def test_an_empty_value_contradicts_nothing(write_series):
    study = _study(write_series(modality="PT"), write_series(attributes={"PatientBirthDate": "", "PatientSex": None}))
    assert convert_study(study, BOTH).description.patient.birth_date == "19600131"


@pytest.mark.parametrize(
    "expected",
    [
        ExpectedPatient(patient_id="ANOTHER"),
        ExpectedPatient(birth_date="19610131"),
        ExpectedPatient(patient_id="SYNTHETIC", sex="M"),
    ],
)
def test_the_request_means_another_patient(write_series, expected):
    study = _study(write_series())
    with pytest.raises(PatientMismatch) as caught:
        convert_study(study, ImageInput.any_of("CT"), expected_patient=expected)
    assert "SYNTHETIC" not in str(caught.value)


def test_the_request_means_this_patient(write_series):
    expected = ExpectedPatient(patient_id="SYNTHETIC", birth_date="19600131", sex="F")
    convert_study(_study(write_series()), ImageInput.any_of("CT"), expected_patient=expected)
    with pytest.raises(PatientMismatch):
        convert_study(
            _study(write_series(attributes={"PatientBirthDate": ""})),
            ImageInput.any_of("CT"),
            expected_patient=expected,
        )


@pytest.mark.parametrize(
    ("keyword", "value", "error"),
    [
        ("RescaleSlope", None, MissingAttribute),
        ("RescaleIntercept", None, MissingAttribute),
        ("RescaleSlope", "0", InvalidAttribute),
        ("RescaleType", "US", InvalidAttribute),
    ],
)
def test_ct_without_hounsfield_units(write_series, keyword, value, error):
    with pytest.raises(error) as caught:
        convert_study(_study(write_series(attributes={keyword: value})), ImageInput.any_of("CT"))
    assert caught.value.metadata["keyword"] == keyword


@pytest.mark.parametrize("implicit", [False, True])
def test_padding_outside_the_reconstruction_is_air(write_series, implicit):
    def change(dataset, _k):
        dataset.add_new("PixelPaddingValue", "SS", -2000)
        dataset.PixelData = b"".join(value.to_bytes(2, "little", signed=True) for value in (-2000, 0, 1024, 1064))
        dataset.Rows = dataset.Columns = 2

    series = write_series(shape=(3, 2, 2), change=change)
    if implicit:
        for file in series.files:
            dataset = pydicom.dcmread(file)
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
            pydicom.dcmwrite(file, dataset, implicit_vr=True, little_endian=True, overwrite=True)
    volume = convert_study(_study(series), ImageInput.any_of("CT")).volumes["CT"]
    assert volume.array[0].tolist() == [[-1024, -1024], [0, 40]]


def test_file_names_mean_nothing(write_series, tmp_path):
    series = write_series()
    for number, file in enumerate(series.files):
        shutil.copy(file, tmp_path / f"{(number * 7919) % 10007:064x}")
    assert _chosen(read_study(tmp_path), ImageInput.any_of("CT")) == {"CT": series.series_instance_uid}
