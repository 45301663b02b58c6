"""RadiomicsService: references that do not fit are the caller's error, not ours."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from oncoradiomics.features import FeatureDocument
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.errors import InvalidRequest, QuantityMismatch
from oncoresponse.model.folder import seal_model_folder
from oncoresponse.model.template import write_template
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.servers.radiomics_servicer import RadiomicsServicer
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import radiomics_pb2

MODELS = Path(__file__).parents[3] / "models"


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
    request = radiomics_pb2.ExtractFeaturesRequest(
        model="models/sts-petct", image=artifact_message(stored[image]), mask=artifact_message(stored[mask])
    )
    with pytest.raises(InvalidRequest):
        await RadiomicsServicer(artifacts, MODELS, 1).ExtractFeatures(request, None)


@pytest.fixture
def ct_model(tmp_path: Path) -> Path:
    """A folder of models with one that measures CT."""
    folder = tmp_path / "models" / "lung-ct"
    write_template(folder)
    definition = yaml.safe_load((folder / "model.yaml").read_text())
    definition["required_series"] = [{"modality": "CT", "quantity": "HU", "purpose": "All of it"}]
    definition["contour_modality"] = "CT"
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
    servicer = RadiomicsServicer(artifacts, ct_model, 1)
    try:
        request = radiomics_pb2.ExtractFeaturesRequest(
            model="models/lung-ct", image=artifact_message(stored), mask=artifact_message(mask)
        )
        answer = await servicer.ExtractFeatures(request, None)
    finally:
        await servicer.close()
    measures = {measure.name: (measure.value, measure.unit) for measure in answer.measures}
    assert measures["mean_density"] == (pytest.approx(density[region == 1].mean()), "[hnsf'U]")
    assert not [name for name in measures if "suv" in name or "metabolic" in name or "glycolysis" in name]
    document = artifacts.read_document(stored_artifact(answer.features), FeatureDocument)
    assert document.image_quantity == "HU"


async def test_an_image_of_another_quantity_than_the_model_measures_is_refused(tmp_path, ct_model):
    artifacts = ArtifactStore(str(tmp_path / "store"))
    grid = sitk.GetImageFromArray(np.ones((4, 4, 4), np.float32))
    pet = Volume(grid, Quantity.SUV_BODY_WEIGHT, "1.2.3", "1.2.4")
    mask = artifact_message(artifacts.put_volume(pet.with_image(sitk.Cast(grid, sitk.sitkUInt8), Quantity.MASK)))
    for models, model, quantity in (
        (MODELS, "models/sts-petct", Quantity.HOUNSFIELD),
        (ct_model, "models/lung-ct", Quantity.SUV_BODY_WEIGHT),
    ):
        image = artifact_message(artifacts.put_volume(pet.with_image(grid, quantity)))
        request = radiomics_pb2.ExtractFeaturesRequest(model=model, image=image, mask=mask)
        with pytest.raises(QuantityMismatch) as caught:
            await RadiomicsServicer(artifacts, models, 1).ExtractFeatures(request, None)
        assert caught.value.metadata["found"] == quantity
