"""The features stage: references that do not fit are the caller's error, not ours."""

import datetime
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from oncoradiomics.features import FeatureDocument
from oncoresponse.case.case import Case, CaseImage, Lesion, Order
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.volume import Volume
from oncoresponse.errors import InvalidRequest, QuantityMismatch
from oncoresponse.model.folder import seal_model_folder
from oncoresponse.model.template import write_template
from oncoresponse.servers.features_stage import FeaturesStage
from oncoresponse.storage.artifact_store import ArtifactStore

MODELS = Path(__file__).parents[3] / "models"


def case_of(role: str, image: StoredArtifact, mask: StoredArtifact) -> Case:
    """A case of one lesion that was contoured."""
    return Case(
        order=Order(report_id="one", issued=datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC)),
        study_manifest=image,
        images=(CaseImage(input_role=role, modality=role, series_instance_uid="1.2.4", volume=image),),
        lesions=(Lesion(number=1, mask=mask),),
    )


@pytest.mark.parametrize(
    ("image", "mask"), [("pet", "pet"), ("mask", "mask"), ("pet", "document"), ("document", "mask")]
)
async def test_reference_of_another_kind_is_an_invalid_request(tmp_path, image, mask):
    artifacts = ArtifactStore(str(tmp_path))
    grid = sitk.GetImageFromArray(np.ones((4, 4, 4), np.float32))
    pet = Volume(grid, Quantity.SUV_BODY_WEIGHT, "1.2.3", "1.2.4")
    stored = {
        "pet": artifacts.put_volume(pet),
        "mask": artifacts.put_volume(pet.with_image(sitk.Cast(grid, sitk.sitkUInt8), Quantity.MASK)),
        "document": artifacts.put_bytes(b"{}", "application/json"),
    }
    with pytest.raises(InvalidRequest):
        await FeaturesStage(artifacts, MODELS, 1).run(
            case_of("PT", stored[image], stored[mask]), "models/sts-petct", ""
        )


@pytest.fixture
def ct_model(tmp_path: Path) -> Path:
    """A folder of models with one that measures CT."""
    folder = tmp_path / "models" / "lung-ct"
    write_template(folder)
    definition = yaml.safe_load((folder / "model.yaml").read_text())
    for old in ("required_series", "contour_modality"):
        definition.pop(old, None)
    definition |= {
        "kind": "imaging response",
        "inputs": [{"role": "CT", "modality": "CT", "quantity": "HU", "purpose": "All of it"}],
        "segment_on": "CT",
        "features_from": "CT",
        "show": ["CT"],
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(definition))
    settings = (folder / "radiomics" / "settings.yaml").read_text()
    (folder / "radiomics" / "settings.yaml").write_text(settings.replace("binWidth: 0.25", "binWidth: 25"))
    seal_model_folder(folder)
    return folder.parent


async def test_ct_is_measured_in_hounsfield_units_and_never_as_suv(tmp_path, ct_model):
    artifacts = ArtifactStore(str(tmp_path / "store"))
    density = np.random.default_rng(3).normal(40, 10, (24, 24, 24)).astype(np.int16)
    grid = sitk.GetImageFromArray(density)
    grid.SetSpacing((2.0, 2.0, 2.0))
    region = np.zeros(density.shape, np.uint8)
    region[8:16, 8:16, 8:16] = 1
    tumor = sitk.GetImageFromArray(region)
    tumor.CopyInformation(grid)
    ct = Volume(grid, Quantity.HOUNSFIELD, "1.2.3", "1.2.4")
    stored, mask = artifacts.put_volume(ct), artifacts.put_volume(ct.with_image(tumor, Quantity.MASK))
    stage = FeaturesStage(artifacts, ct_model, 1)
    try:
        case = await stage.run(case_of("CT", stored, mask), "models/lung-ct", "")
    finally:
        await stage.close()
    (lesion,) = case.lesions
    measures = {measure.name: (measure.value, measure.unit) for measure in lesion.measures}
    assert measures["mean_density"] == (pytest.approx(density[region == 1].mean()), "[hnsf'U]")
    assert not [name for name in measures if "suv" in name or "metabolic" in name or "glycolysis" in name]
    document = artifacts.read_document(lesion.features, FeatureDocument)
    assert document.image_quantity == "HU"


async def test_an_image_of_another_quantity_than_the_model_measures_is_refused(tmp_path, ct_model):
    artifacts = ArtifactStore(str(tmp_path / "store"))
    grid = sitk.GetImageFromArray(np.ones((4, 4, 4), np.float32))
    pet = Volume(grid, Quantity.SUV_BODY_WEIGHT, "1.2.3", "1.2.4")
    mask = artifacts.put_volume(pet.with_image(sitk.Cast(grid, sitk.sitkUInt8), Quantity.MASK))
    for models, model, role, quantity in (
        (MODELS, "models/sts-petct", "PT", Quantity.HOUNSFIELD),
        (ct_model, "models/lung-ct", "CT", Quantity.SUV_BODY_WEIGHT),
    ):
        image = artifacts.put_volume(pet.with_image(grid, quantity))
        with pytest.raises(QuantityMismatch) as caught:
            await FeaturesStage(artifacts, models, 1).run(case_of(role, image, mask), model, "")
        assert caught.value.metadata["found"] == quantity
