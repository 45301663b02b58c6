"""Which lesions are meant, over gRPC: candidates of a large scan, points, boxes and contours, one or several."""

import json
from pathlib import Path

import grpc
import numpy as np
import pydicom
import pytest
from oncoresponse.case.volume import read_volume
from oncoresponse.cli.main import app
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.client import Client, Order
from oncoresponse.segmentation.metrics import dice
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, lesion_pb2, study_pb2
from pydicom.config import disable_value_validation
from typer.testing import CliRunner

EXAMPLES = Path(__file__).parents[2] / "examples"
SAMPLE = EXAMPLES / "STS_032"
TWO_LESIONS = EXAMPLES / "STS_032_TWO_LESIONS"
AIR_HU = -1024
APART_MM = 234.375
"""The sample twice, side by side: 50 columns of its PET, which is 188 mm wide, and nearly 240 of its CT."""

Selection = assessment_pb2.LesionSelection


def silent(_message: str, _fraction: float) -> None:
    return None


@pytest.fixture(scope="module")
def client(serve_for_module, tmp_path_factory):
    process = serve_for_module("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path_factory.mktemp("data")))
    process.wait_until_ready()
    client = Client(process.address)
    yield client
    client.close()


@pytest.fixture(scope="module")
def assess(client, tmp_path_factory):
    """Factory: an assessment of a study, and the folder of its files."""

    def run(study, *lesions):
        assessment = client.assess(study, Order("sts-petct", lesions=lesions), silent)
        folder = tmp_path_factory.mktemp("result")
        client.download_artifacts(assessment, folder)
        return assessment, folder

    return run


@pytest.fixture(scope="module")
def twin_study(client, tmp_path_factory):
    """The sample twice in one scan, air around: more than the networks were trained on, two tumors, one contour."""
    folder = tmp_path_factory.mktemp("twin")
    write_twin_study(folder)
    return client.upload_study(folder, silent)


def write_twin_study(folder: Path) -> None:
    for modality in ("CT", "PET"):
        (folder / modality).mkdir()
        for path in sorted((SAMPLE / modality).iterdir()):
            with disable_value_validation():
                dataset = pydicom.dcmread(path)
                if dataset.Modality in ("CT", "PT"):
                    put_side_by_side(dataset, AIR_HU if dataset.Modality == "CT" else 0)
                dataset.save_as(folder / modality / path.name)


def put_side_by_side(dataset: pydicom.Dataset, outside: float) -> None:
    step = round(APART_MM / float(dataset.PixelSpacing[1]))
    stored = round((outside - float(dataset.RescaleIntercept)) / float(dataset.RescaleSlope))
    gap = np.full((dataset.Rows, step - dataset.Columns), stored, dataset.pixel_array.dtype)
    pixels = np.concatenate([dataset.pixel_array, gap, dataset.pixel_array], axis=1)
    dataset.PixelData = pixels.tobytes()
    dataset.Rows, dataset.Columns = pixels.shape


@pytest.fixture(scope="module")
def contoured(assess, twin_study):
    """The physician's contour of the first of the twins as a mask, from an assessment that uses it."""
    _, folder = assess(twin_study, Selection(contour=study_pb2.SuppliedContour()))
    return read_volume(folder / "mask.nrrd")


def center_of(mask):
    index = np.argwhere(mask.array)[:, ::-1].mean(axis=0)
    return np.array(mask.image.TransformContinuousIndexToPhysicalPoint(index.tolist()))


def of_second(mask):
    """A mask of the first of the twins at the place of the second."""
    return np.roll(mask.array, round(APART_MM / mask.image.GetSpacing()[0]), axis=2)


def position(values):
    x, y, z = (float(value) for value in values)
    return lesion_pb2.PatientPosition(x_mm=x, y_mm=y, z_mm=z)


def holds(box, place):
    return all(
        getattr(box.low, name) < value < getattr(box.high, name)
        for name, value in zip(("x_mm", "y_mm", "z_mm"), place, strict=True)
    )


def measures_of(lesion):
    return {item.name: item.value for item in lesion.measures}


def require_totals_of_lesions(result):
    totals = {item.name: item.value for item in result.totals}
    assert totals.pop("lesion_count") == len(result.lesions)
    sums = {
        "total_lesion_volume": "lesion_volume",
        "total_metabolic_tumor_volume": "metabolic_tumor_volume",
        "total_lesion_glycolysis": "total_lesion_glycolysis",
        "sum_of_longest_axial_diameters": "longest_axial_diameter",
    }
    for total, measure in sums.items():
        parts = [measures_of(lesion)[measure] for lesion in result.lesions]
        assert totals.pop(total) == pytest.approx(sum(parts), rel=1e-12)
    assert not totals


def test_large_scan_asks_a_physician_and_goes_on_with_both_choices(client, assess, twin_study, contoured):
    asked, folder = assess(twin_study)
    assert asked.state == assessment_pb2.ASSESSMENT_STATE_LESION_CHOICE_NEEDED
    assert not asked.result.HasField("prediction")
    assert {path.name for path in folder.iterdir()} == {
        "lesion-candidates.json",
        "lesion-candidates.png",
        "record.json",
    }
    assert (folder / "lesion-candidates.png").read_bytes().startswith(b"\x89PNG")
    document = json.loads((folder / "lesion-candidates.json").read_text())
    assert len(document["candidates"]) == len(asked.lesion_candidates)
    middle = center_of(contoured)
    chosen = [
        next(item for item in asked.lesion_candidates if holds(item.box, place))
        for place in (middle, middle + np.array([APART_MM, 0, 0]))
    ]
    answered, folder = assess(twin_study, *(Selection(box=item.box) for item in chosen))
    assert answered.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    assert [lesion.number for lesion in answered.result.lesions] == [1, 2]
    assert len({lesion.tracking_uid for lesion in answered.result.lesions}) == 2
    require_totals_of_lesions(answered.result)
    for number, expected in ((1, contoured.array), (2, of_second(contoured))):
        assert dice(read_volume(folder / f"mask-{number}.nrrd").array, expected) > 0.7
        assert json.loads((folder / f"segmentation-{number}.json").read_text())["prompt"] == "box"
    # Watch ends at the choice, and List names the state: an integrator reads the candidates from the stubs alone.
    with grpc.insecure_channel(next(iter(client._channels))) as channel:
        stub = assessment_pb2_grpc.AssessmentServiceStub(channel)
        *_, last = stub.WatchAssessment(assessment_pb2.WatchAssessmentRequest(name=asked.name))
        assert last.assessment.lesion_candidates[0].number == 1
        listed = stub.ListAssessments(assessment_pb2.ListAssessmentsRequest(study=twin_study.name)).assessments
    states = {item.name: item.state for item in listed}
    assert states[asked.name] == assessment_pb2.ASSESSMENT_STATE_LESION_CHOICE_NEEDED


def test_rough_contour_and_point_in_one_request(assess, twin_study, contoured):
    point = position(center_of(contoured) + np.array([APART_MM, 0, 0]))
    assessment, folder = assess(
        twin_study, Selection(rough_contour=study_pb2.SuppliedContour()), Selection(point=point)
    )
    require_totals_of_lesions(assessment.result)
    for number, expected, prompt in ((1, contoured.array, "box"), (2, of_second(contoured), "point")):
        assert dice(read_volume(folder / f"mask-{number}.nrrd").array, expected) > 0.7
        summary = json.loads((folder / f"segmentation-{number}.json").read_text())
        assert (summary["method"], summary["prompt"]) == ("automatic", prompt)


@pytest.fixture(scope="module")
def two_lesions(client):
    return client.upload_study(TWO_LESIONS, silent)


def test_every_structure_is_a_lesion_and_each_is_what_it_is_alone(assess, two_lesions):
    together, folder = assess(two_lesions, Selection(contour=study_pb2.SuppliedContour(every_structure=True)))
    truth = json.loads((EXAMPLES / "ground_truth" / "STS_032_TWO_LESIONS.json").read_text())["lesions"]
    assert [lesion.label for lesion in together.result.lesions] == [item["name"] for item in truth]
    for lesion, item in zip(together.result.lesions, truth, strict=True):
        assert lesion.volume_ml == pytest.approx(item["volume_of_contour_ml"], rel=0.01)
        assert measures_of(lesion)["suv_max"] == pytest.approx(item["suv_max"], abs=0.01)
    require_totals_of_lesions(together.result)
    assert {path.name for path in folder.glob("*-[0-9].*")} == {
        f"{name}-{number}.{ending}"
        for number in (1, 2)
        for name, ending in (
            ("mask", "nrrd"),
            ("segmentation", "json"),
            ("features", "json"),
            ("lesion-surface", "dcm"),
        )
    }
    second = study_pb2.SuppliedContour(structure_name="GTV-2")
    alone, folder_alone = assess(two_lesions, Selection(contour=second))
    assert (folder / "mask-2.nrrd").read_bytes() == (folder_alone / "mask.nrrd").read_bytes()
    assert (folder / "features-2.json").read_bytes() == (folder_alone / "features.json").read_bytes()
    (lesion,) = alone.result.lesions
    assert measures_of(lesion) == measures_of(together.result.lesions[1])


def test_what_cannot_be_is_refused(client, two_lesions):
    far, low = position((0.0, 0.0, 9000.0)), position((0.0, 0.0, 0.0))
    contour = study_pb2.SuppliedContour
    cases = (
        (two_lesions, (Selection(contour=contour(structure_name="GTV-2")), Selection(point=far)), "Lesion 2: "),
        (two_lesions, (Selection(box=lesion_pb2.LesionBox(low=far, high=low)),), "lesions[0].box"),
        (two_lesions, (Selection(),), "lesions[0]"),
        (
            two_lesions,
            (Selection(contour=contour(structure_name="GTV-2", every_structure=True)),),
            "lesions[0].contour",
        ),
    )
    for study, lesions, words in cases:
        with pytest.raises(OncoResponseError) as caught:
            client.assess(study, Order("sts-petct", lesions=lesions), silent)
        assert caught.value.reason == "INVALID_REQUEST"
        assert words in caught.value.message + str(caught.value.metadata)
    # The network draws the larger lesion from either point: one lesion twice is no result.
    points = [Selection(point=position(place)) for place in ((-41.0, 68.4, 471.7), (-52.7, 80.1, 520.8))]
    with pytest.raises(OncoResponseError) as caught:
        client.assess(two_lesions, Order("sts-petct", lesions=tuple(points)), silent)
    assert caught.value.reason == "LESIONS_OVERLAP"
    assert (caught.value.metadata["first"], caught.value.metadata["second"]) == ("1", "2")


def test_command_line_shows_a_table_of_the_lesions(client, tmp_path):
    """A box and a structure; the contour is the second lesion, as boxes come first."""
    arguments = ["assess", str(TWO_LESIONS), "--model", "sts-petct", "--out", str(tmp_path / "out")]
    lesions = ["--lesion-box=-58.6,46.9,421.1,-3.9,105.5,493.0", "--structure", "GTV-2"]
    address = next(iter(client._channels))
    outcome = CliRunner().invoke(app, [*arguments, "--server", address, *lesions], env={"COLUMNS": "120"})
    assert outcome.exit_code == 0, outcome.output
    lines = outcome.stdout.splitlines()
    row = next(line.split() for line in lines if "GTV-2" in line)
    assert row[:4] == ["2", "GTV-2", "8.1", "ml"]
    assert any(line.startswith("2 lesions together: volume 122 ml, MTV ") for line in lines)
    assert (tmp_path / "out" / "features-2.json").is_file()
