"""From a DCE-MR study to what breast-nac says of it, stage by stage without a server."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from oncoradiomics.features import FeatureDocument
from oncoresponse.case.case import Case, LesionRequest, NamedContour, Order
from oncoresponse.case.prediction import Answer, Prediction
from oncoresponse.errors import ContourNotFound, ModelFolderInvalid, SeriesNotFound
from oncoresponse.model.folder import ModelFolder, seal_model_folder
from oncoresponse.response.model import ResponseModel
from oncoresponse.servers.conversion_stage import converted
from oncoresponse.servers.features_stage import FeaturesStage
from oncoresponse.servers.prediction_stage import PredictionStage
from oncoresponse.servers.segmentation_stage import segmented
from oncoresponse.storage.artifact_store import DICOM_MEDIA_TYPE, ArtifactStore
from oncoresponse.storage.study_manifest import ManifestInstance, StudyManifest
from pydicom import dcmread

ROOT = Path(__file__).parents[3]
MODELS, STUDY = ROOT / "models", ROOT / "examples" / "BREAST_DCE"
TRUTH = json.loads((ROOT / "examples" / "ground_truth" / "BREAST_DCE.json").read_text())
CLINICAL = {name: float(value) for name, value in TRUTH["covariates"].items()}
SIZES = {"tumor_volume_ml": 12.0, "tumor_slice_extent_mm": 40.0}
CONTOURS = {"RTSTRUCT": STUDY / "RTSTRUCT.dcm", "SEG": ROOT / "examples" / "segmentations" / "BREAST_DCE.dcm"}


def files(contour: str | None) -> list[Path]:
    images = [path for path in STUDY.rglob("*.dcm") if path.name != "RTSTRUCT.dcm"]
    return images if contour is None else [*images, CONTOURS[contour]]


def ordered(store: ArtifactStore, paths: list[Path], *, with_contour: bool = True) -> Case:
    stored = [store.put_file(path, DICOM_MEDIA_TYPE) for path in paths]
    manifest = StudyManifest(
        instances=tuple(ManifestInstance(sha256=item.sha256, size_bytes=item.size_bytes) for item in stored)
    )
    lesions = (LesionRequest(contour=NamedContour()),) if with_contour else ()
    issued = datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC)
    return Case(
        order=Order(report_id="one", issued=issued, lesions=lesions), study_manifest=store.put_document(manifest)
    )


def contoured(store: ArtifactStore, case: Case) -> Case:
    model = ModelFolder.open(MODELS / "breast-nac").imaging
    return segmented(converted(case, model, store), model, None, store)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return ArtifactStore(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def measured(store: ArtifactStore) -> dict[str, Case]:
    """The study with each kind of contour, up to the measures."""

    async def measure() -> dict[str, Case]:
        stage = FeaturesStage(store, MODELS, 1)
        try:
            return {
                kind: await stage.run(contoured(store, ordered(store, files(kind))), "models/breast-nac", "")
                for kind in CONTOURS
            }
        finally:
            await stage.close()

    return asyncio.run(measure())


async def predicted(stage: PredictionStage, case: Case, **covariates: float) -> tuple[Case, Prediction]:
    asked = case.with_changes(order=case.order.model_copy(update={"covariates": covariates}))
    done = await stage.run(asked, "models/breast-nac", "")
    (finding,) = done.findings
    return done, stage.artifacts.read_document(finding.document, Prediction)


@pytest.fixture(scope="module")
def shipped(store: ArtifactStore) -> PredictionStage:
    return PredictionStage(store, MODELS)


def with_lesions(case: Case, count: int) -> Case:
    """The same lesion several times, as if there were more."""
    (lesion,) = case.lesions
    return case.with_changes(lesions=tuple(lesion.model_copy(update={"number": n + 1}) for n in range(count)))


@pytest.fixture
def changed_model(tmp_path: Path) -> Callable[..., Path]:
    """Folder of models with breast-nac after a change of what model.yaml says."""

    def change(change: Callable[[dict], None]) -> Path:
        folder = tmp_path / "models" / "breast-nac"
        shutil.copytree(MODELS / "breast-nac", folder, copy_function=os.link)
        definition = yaml.safe_load((folder / "model.yaml").read_text())
        change(definition)
        (folder / "model.yaml").unlink()  # linked: never written through
        (folder / "manifest.json").unlink()
        (folder / "model.yaml").write_text(yaml.safe_dump(definition))
        seal_model_folder(folder)
        return folder.parent

    return change


async def test_the_contour_is_measured_on_the_first_phase_after_contrast(
    store: ArtifactStore, measured: dict[str, Case]
) -> None:
    uid = dcmread(STUDY / "post_1" / "000000.dcm").SeriesInstanceUID
    for case in measured.values():
        assert [item.series_instance_uid == uid for item in case.images] == [True, False]
        assert [item.input_role for item in case.images] == ["post", "pre"]
        (lesion,) = case.lesions
        assert lesion.measure("lesion_volume") == pytest.approx(TRUTH["volume_of_contour_ml"], rel=0.01)
        assert lesion.measure("slice_extent") == pytest.approx(TRUTH["slice_extent_of_segment_mm"])
        assert lesion.measure("maximum_3d_diameter") == pytest.approx(
            TRUTH["tumor"]["maximum_3d_diameter_mm"], rel=0.05
        )
        assert not [item.name for item in lesion.measures if "suv" in item.name]
        variants = [store.read_document(item, FeatureDocument).values() for item in lesion.variant_features]
        assert min(v["slice_extent"] for v in variants) < lesion.measure("slice_extent")
        assert max(v["slice_extent"] for v in variants) > lesion.measure("slice_extent")


async def test_sizes_of_a_contour_are_measured_and_not_predicted_from(
    shipped: PredictionStage, measured: dict[str, Case]
) -> None:
    for case in measured.values():
        done, found = await predicted(shipped, case, **CLINICAL)
        assert found.answer is Answer.MEASURED_ONLY
        assert found.answer_text == "Measured only: definition differs from training"
        assert [reason.code for reason in found.abstain_reasons] == ["DEFINITION_DIFFERS"] * 2
        assert "functional tumor volume" in found.abstain_reasons[0].text
        assert "Measured in the contour: tumor volume 9.9" in found.sentences[1]
        assert "26.4 mm" in found.sentences[1]
        assert (found.probability, found.interval_low, found.baseline, found.contributions) == (None, None, None, ())
        assert done.findings[0].lesions == (1,)


async def test_a_study_without_clinical_inputs_is_measured_and_says_what_lacks(
    shipped: PredictionStage, measured: dict[str, Case]
) -> None:
    _, found = await predicted(shipped, measured["SEG"])
    assert [reason.code for reason in found.abstain_reasons] == ["DEFINITION_DIFFERS"] * 2 + ["CLINICAL_INPUTS_MISSING"]
    _, found = await predicted(shipped, measured["SEG"], **SIZES, age_years=47.0, her2_positive=0.0)
    assert found.answer is Answer.MEASURED_ONLY
    (reason,) = found.abstain_reasons
    assert reason.text.startswith("Clinical inputs missing: hormone receptor positive, MammaPrint high risk.")


@pytest.mark.parametrize("lesions", [1, 2])
async def test_sizes_that_come_with_the_request_give_the_prediction_of_the_table(
    shipped: PredictionStage, measured: dict[str, Case], lesions: int
) -> None:
    """Whatever the contour: it is not what is predicted from, so several lesions leave nothing open either."""
    done, found = await predicted(shipped, with_lesions(measured["RTSTRUCT"], lesions), **CLINICAL, **SIZES)
    table = ResponseModel.open(ModelFolder.open(MODELS / "breast-nac")).predict({}, CLINICAL | SIZES)
    assert found == table
    assert found.probability is not None
    assert done.findings[0].lesions == ()
    assert done.findings[0].made_from == "the values that came with the request"


async def test_of_several_lesions_it_says_that_it_predicts_from_a_single_one(
    shipped: PredictionStage, measured: dict[str, Case]
) -> None:
    done, found = await predicted(shipped, with_lesions(measured["SEG"], 3), **CLINICAL)
    assert found.answer is Answer.MEASURED_ONLY
    assert "SEVERAL_LESIONS" in [reason.code for reason in found.abstain_reasons]
    assert done.findings[0].lesions == ()
    assert "3 lesions" in done.findings[0].made_from


async def test_a_measure_of_the_same_definition_is_the_input(
    store: ArtifactStore, measured: dict[str, Case], changed_model: Callable[..., Path]
) -> None:
    def same(definition: dict) -> None:
        for item in definition["measured_inputs"]:
            item["same_definition"] = True

    stage, case = PredictionStage(store, changed_model(same)), measured["SEG"]
    (lesion,) = case.lesions
    _, found = await predicted(stage, case, **CLINICAL)
    values = {item.input: item.value for item in found.contributions}
    assert values["tumor_volume_ml"] == lesion.measure("lesion_volume")
    assert values["tumor_slice_extent_mm"] == lesion.measure("slice_extent")
    assert values["age_years"] == 47
    assert found.contour_interval is not None
    assert found.contour_interval.low < found.probability < found.contour_interval.high
    # A value of the request goes before what was measured; several lesions leave open which one is meant.
    _, given = await predicted(stage, case, **CLINICAL, tumor_volume_ml=30.0)
    assert {item.input: item.value for item in given.contributions}["tumor_volume_ml"] == 30.0
    _, several = await predicted(stage, with_lesions(case, 2), **CLINICAL)
    assert [reason.code for reason in several.abstain_reasons] == ["SEVERAL_LESIONS"]
    assert several.answer_text == "Measured only: the model predicts from a single lesion"


async def test_all_lesions_together_are_their_totals_and_their_contours_shrink_and_grow_together(
    store: ArtifactStore, measured: dict[str, Case], changed_model: Callable[..., Path]
) -> None:
    def together(definition: dict) -> None:
        definition["predict_from"] = "all lesions"
        definition["measured_inputs"] = [
            {
                "input": "tumor_volume_ml",
                "measure": "total_lesion_volume",
                "same_definition": True,
                "definition": "The sum of all contours.",
            }
        ]

    stage, case = PredictionStage(store, changed_model(together)), measured["SEG"]
    (lesion,) = case.lesions
    volumes = [store.read_document(item, FeatureDocument).values()["lesion_volume"] for item in lesion.variant_features]
    clinical = CLINICAL | {"tumor_slice_extent_mm": 40.0}
    done, found = await predicted(stage, with_lesions(case, 2), **clinical)
    total = 2 * lesion.measure("lesion_volume")
    assert {item.input: item.value for item in found.contributions}["tumor_volume_ml"] == pytest.approx(total)
    assert done.findings[0].lesions == (1, 2)
    assert done.findings[0].made_from == "all 2 lesions together"
    ends = [
        (await predicted(stage, case, **clinical, tumor_volume_ml=2 * volume))[1].probability
        for volume in (min(volumes), max(volumes))
    ]
    assert found.contour_interval.low == pytest.approx(min(*ends, found.probability))
    assert found.contour_interval.high == pytest.approx(max(*ends, found.probability))


def test_a_model_that_names_what_is_not_there_does_not_open(
    store: ArtifactStore, changed_model: Callable[..., Path]
) -> None:
    def unknown(definition: dict) -> None:
        definition["predict_from"] = "all lesions"

    with pytest.raises(ModelFolderInvalid, match="'lesion_volume', which is no total"):
        PredictionStage(store, changed_model(unknown)).models.load_all()


def test_without_a_contour_the_refusal_says_what_to_do(store: ArtifactStore) -> None:
    with pytest.raises(ContourNotFound, match="Contour it"):
        contoured(store, ordered(store, files(None), with_contour=False))
    with pytest.raises(ContourNotFound):
        contoured(store, ordered(store, files(None)))


@pytest.mark.parametrize(
    ("keyword", "value", "rule"),
    [
        ("BodyPartExamined", "PELVIS", 'BodyPartExamined contains "BREAST"'),
        ("BodyPartExamined", None, 'BodyPartExamined contains "BREAST"'),
        ("ScanningSequence", "SE", 'ScanningSequence equals "GR"'),
        ("ContrastBolusAgent", None, "ContrastBolusAgent matches"),
    ],
)
def test_another_part_of_the_body_or_another_sequence_is_refused_by_its_rule(
    store: ArtifactStore, tmp_path: Path, keyword: str, value: str | None, rule: str
) -> None:
    changed = []
    for path in sorted((STUDY / "post_1").iterdir()):
        dataset = dcmread(path)
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
        dataset.save_as(tmp_path / path.name)
        changed.append(tmp_path / path.name)
    with pytest.raises(SeriesNotFound) as caught:
        contoured(store, ordered(store, [*changed, CONTOURS["RTSTRUCT"]]))
    assert rule in caught.value.message
