"""The features stage: what is measured of which image, of several lesions, and references that do not fit."""

import datetime
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from oncoradiomics.features import FeatureDocument
from oncoresponse.case.case import Case, CaseImage, Lesion, MaskVariant, Order
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.volume import Volume
from oncoresponse.errors import GeometryMismatch, InvalidRequest, QuantityMismatch
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


def models_with(folder: Path, inputs: dict[str, tuple[str, str]], segment_on: str, features_from: str) -> Path:
    """A folder of models with one, ``other-images``, of these inputs: role, modality and quantity."""
    model = folder / "models" / "other-images"
    write_template(model)
    definition = yaml.safe_load((model / "model.yaml").read_text())
    definition |= {
        "kind": "imaging response",
        "inputs": [
            {"role": role, "modality": modality, "quantity": quantity, "purpose": "All of it"}
            for role, (modality, quantity) in inputs.items()
        ],
        "segment_on": segment_on,
        "features_from": features_from,
        "show": [features_from],
    }
    (model / "model.yaml").write_text(yaml.safe_dump(definition))
    settings = (model / "radiomics" / "settings.yaml").read_text()
    (model / "radiomics" / "settings.yaml").write_text(settings.replace("binWidth: 0.25", "binWidth: 25"))
    seal_model_folder(model)
    return model.parent


@pytest.fixture
def ct_model(tmp_path: Path) -> Path:
    """A folder of models with one that measures CT."""
    return models_with(tmp_path, {"CT": ("CT", "HU")}, "CT", "CT")


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
        case = await stage.run(case_of("CT", stored, mask), "models/other-images", "")
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
        (ct_model, "models/other-images", "CT", Quantity.SUV_BODY_WEIGHT),
    ):
        image = artifacts.put_volume(pet.with_image(grid, quantity))
        with pytest.raises(QuantityMismatch) as caught:
            await FeaturesStage(artifacts, models, 1).run(case_of(role, image, mask), model, "")
        assert caught.value.metadata["found"] == quantity


def on_grid(array: np.ndarray, spacing_mm: float, quantity: Quantity) -> Volume:
    """A cube whose lower corner, not the center of its first voxel, lies at the origin."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([spacing_mm] * 3)
    image.SetOrigin([spacing_mm / 2] * 3)
    return Volume(image, quantity, "1.2.3", "1.2.4")


def box_mask(low: int, high: int) -> Volume:
    """A cube of voxels of 4 mm, 24 of them along each axis."""
    region = np.zeros((24, 24, 24), np.uint8)
    region[low:high, low:high, low:high] = 1
    return on_grid(region, 4.0, Quantity.MASK)


async def test_lesions_contoured_in_one_image_are_measured_in_another(tmp_path):
    """Contours on a coarse MR, signal and volume of a fine one; totals are the sums of the lesions."""
    roles = {"coarse": ("MR", "[arb'U]"), "fine": ("MR", "[arb'U]")}
    models = models_with(tmp_path, roles, "coarse", "fine")
    artifacts = ArtifactStore(str(tmp_path / "store"))
    signal = np.random.default_rng(4).normal(500, 60, (48, 48, 48)).astype(np.float32)
    images = {
        "coarse": on_grid(np.zeros((24, 24, 24), np.float32), 4.0, Quantity.MR_SIGNAL),
        "fine": on_grid(signal, 2.0, Quantity.MR_SIGNAL),
    }
    bounds = ((2, 8), (11, 17))
    case = Case(
        order=Order(report_id="one", issued=datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC)),
        study_manifest=artifacts.put_bytes(b"{}", "application/json"),
        images=tuple(
            CaseImage(
                input_role=role, modality="MR", series_instance_uid="1.2.4", volume=artifacts.put_volume(images[role])
            )
            for role in images
        ),
        lesions=tuple(
            Lesion(
                number=number,
                mask=artifacts.put_volume(box_mask(low, high)),
                variants=(
                    MaskVariant(name="larger", mask=artifacts.put_volume(box_mask(low - 1, high + 1))),
                    MaskVariant(name="smaller", mask=artifacts.put_volume(box_mask(low + 1, high - 1))),
                ),
            )
            for number, (low, high) in enumerate(bounds, start=1)
        ),
    )
    stage = FeaturesStage(artifacts, models, 1)
    try:
        measured = await stage.run(case, "models/other-images", "")
        small = images["fine"].with_image(
            sitk.RegionOfInterest(images["fine"].image, (28, 28, 28), (0, 0, 0)), Quantity.MR_SIGNAL
        )
        elsewhere = case.images[1].model_copy(update={"volume": artifacts.put_volume(small)})
        with pytest.raises(GeometryMismatch, match=r"^Lesion 2: .*outside the image") as caught:
            await stage.run(case.model_copy(update={"images": (case.images[0], elsewhere)}), "models/other-images", "")
    finally:
        await stage.close()
    assert caught.value.metadata["lesion"] == "2"
    for lesion, (low, high) in zip(measured.lesions, bounds, strict=True):
        inside = signal[2 * low : 2 * high, 2 * low : 2 * high, 2 * low : 2 * high]
        values = {item.name: (item.value, item.unit) for item in lesion.measures}
        assert set(values) == {
            "lesion_volume",
            "longest_axial_diameter",
            "perpendicular_axial_diameter",
            "maximum_3d_diameter",
            "mean_intensity",
        }
        # Linear interpolation takes the corners of a cube away, IBSI reference manual.
        assert values["lesion_volume"][0] == pytest.approx((4 * (high - low)) ** 3 / 1000, rel=0.05)
        assert values["mean_intensity"] == (pytest.approx(inside.mean(), rel=0.01), "[arb'U]")
        assert len(lesion.variant_features) == 2
    assert set(measured.outputs) == {"features-1.json", "features-2.json"}
    totals = {item.name: (item.value, item.unit) for item in measured.totals}
    assert totals == {
        "lesion_count": (2.0, "1"),
        "total_lesion_volume": (sum(lesion.measure("lesion_volume") for lesion in measured.lesions), "ml"),
        "sum_of_longest_axial_diameters": (
            sum(lesion.measure("longest_axial_diameter") for lesion in measured.lesions),
            "mm",
        ),
    }
