"""RadiomicsService: references that do not fit are the caller's error, not ours."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from oncoresponse.errors import InvalidRequest
from oncoresponse.servers.radiomics_servicer import RadiomicsServicer
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import radiomics_pb2
from oncoresponse.volume import Quantity, Volume

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
        model="models/sts-petct", image=stored[image].to_message(), mask=stored[mask].to_message()
    )
    with pytest.raises(InvalidRequest):
        await RadiomicsServicer(artifacts, MODELS, 1).ExtractFeatures(request, None)
