"""The segmentation stage, without a server: several lesions of one case, and images that are no PET."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from oncoresponse.case.case import BoxMm, Case, CaseImage, Lesion, LesionRequest, NamedContour, Order
from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.errors import ContourNotFound, LesionsOverlap, SeriesNotFound, TumorTooSmall
from oncoresponse.model.definition import ImageInput, ImagingResponse, LesionLimits
from oncoresponse.segmentation.external.declaration import NnunetDeclaration
from oncoresponse.segmentation.external.external_segmenter import ExternalSegmenter
from oncoresponse.segmentation.external.lesion_network import LesionNetwork
from oncoresponse.segmentation.input_images import InputImages
from oncoresponse.servers.segmentation_stage import segmented
from oncoresponse.storage.artifact_store import ArtifactStore

LIMITS = LesionLimits(minimum_volume_ml=1.0, maximum_volume_ml=500.0)
LARGE, SMALL, TINY = (30.0, 30.0, 30.0), (80.0, 80.0, 60.0), (30.0, 80.0, 60.0)
RADII_MM = {LARGE: 15.0, SMALL: 9.0, TINY: 4.0}
CENTERS = tuple(RADII_MM)


class Threshold(LesionNetwork):
    """Tumor where the contoured image exceeds a value. Counts how often it looked."""

    device_type = "cpu"

    def __init__(self, value: float) -> None:
        self.value, self.looks = value, 0

    def probability(self, images: InputImages) -> sitk.Image:
        self.looks += 1
        return sitk.Cast(images.contoured.image > self.value, sitk.sitkFloat32)

    def warm_up(self) -> None:
        return None


def spheres(inside: float, outside: float, quantity: Quantity, centers: tuple[tuple[float, ...], ...]) -> Volume:
    """Spheres about LPS positions in a cube of 120 mm, voxels of 2 mm."""
    k, j, i = np.ogrid[:60, :60, :60]
    array = np.full((60, 60, 60), outside, np.float32)
    for x, y, z in centers:
        near = (2 * i - x) ** 2 + (2 * j - y) ** 2 + (2 * k - z) ** 2 <= RADII_MM[(x, y, z)] ** 2
        array[near] = inside
    image = sitk.GetImageFromArray(array if quantity is not Quantity.MASK else array.astype(np.uint8))
    image.SetSpacing((2.0, 2.0, 2.0))
    return Volume(image, quantity, "1.2.3", "1.2.3.4")


@pytest.fixture
def store(tmp_path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path))


@pytest.fixture
def pet_and_ct(store) -> dict[str, Volume]:
    pet = spheres(8.0, 0.5, Quantity.SUV_BODY_WEIGHT, CENTERS)
    return {"PT": pet, "CT": pet.with_image(pet.image * 0, Quantity.HOUNSFIELD)}


def model_of(images: dict[str, Volume]) -> ImagingResponse:
    """Contoured is the first image."""
    modalities = {Quantity.SUV_BODY_WEIGHT: "PT", Quantity.HOUNSFIELD: "CT", Quantity.MR_SIGNAL: "MR"}
    inputs = tuple(
        ImageInput(role=role, modality=modalities[volume.quantity], quantity=volume.quantity.value, purpose="-")
        for role, volume in images.items()
    )
    first = inputs[0].role
    return ImagingResponse.model_construct(
        inputs=inputs, segment_on=first, features_from=first, show=(first,), tumor_limits=LIMITS
    )


def network_of(images: dict[str, Volume], value: float, reads: tuple[str, ...], **more: object) -> ExternalSegmenter:
    declaration = NnunetDeclaration(
        kind="nnunet",
        name="Threshold",
        source="Made in a test",
        folder="D",
        channels=reads,
        reference=reads[0],
        tumor_labels=("tumor",),
        files=dict.fromkeys(("D/plans.json", "D/dataset.json", "D/fold_0/checkpoint_final.pth"), "0" * 64),
        **more,
    )
    quantities = {role: volume.quantity.value for role, volume in images.items()}
    return ExternalSegmenter(declaration, Threshold(value), LIMITS, "0" * 64, quantities)


@pytest.fixture
def case_of(store) -> Callable[..., Case]:
    """Factory: a case of images, with lesions; a mask among the requests is a contour of the study."""

    def make(images: dict[str, Volume], *requests: LesionRequest | Volume) -> Case:
        stored = {role: store.put_volume(volume) for role, volume in images.items()}
        lesions = []
        for number, request in enumerate(requests, start=1):
            if isinstance(request, Volume):
                lesions.append(
                    Lesion(
                        number=number,
                        request=LesionRequest(contour=NamedContour()),
                        supplied_mask=store.put_volume(request),
                        supplied_kind="rtstruct",
                    )
                )
            else:
                lesions.append(Lesion(number=number, request=request))
        return Case(
            order=Order(report_id="one", issued=datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC)),
            study_manifest=next(iter(stored.values())),
            images=tuple(
                CaseImage(input_role=role, modality="-", series_instance_uid="1.2.3.4", volume=volume)
                for role, volume in stored.items()
            ),
            lesions=tuple(lesions or [Lesion(number=1)]),
        )

    return make


def box_around(center: tuple[float, float, float]) -> LesionRequest:
    low, high = (tuple(value + sign * 12.0 for value in center) for sign in (-1, 1))
    return LesionRequest(box=BoxMm(low=low, high=high))


def test_each_of_several_lesions_is_what_it_is_alone(store, case_of, pet_and_ct):
    """A point and a contour in one request; the network looks at the study once."""
    model, network = model_of(pet_and_ct), network_of(pet_and_ct, 3.0, ("PT", "CT"))
    contour = spheres(1, 0, Quantity.MASK, (SMALL,))
    both = segmented(case_of(pet_and_ct, LesionRequest(point=LARGE), contour), model, network, store)
    assert set(both.outputs) == {
        *("mask-1.nrrd", "mask-2.nrrd", "segmentation-1.json", "segmentation-2.json", "probability-1.nrrd")
    }
    for lesion, request in zip(both.lesions, (LesionRequest(point=LARGE), contour), strict=True):
        alone = segmented(case_of(pet_and_ct, request), model, network, store)
        (expected,) = alone.lesions
        assert set(alone.outputs) >= {"mask.nrrd", "segmentation.json"}
        assert lesion.mask is not None
        assert lesion.mask.sha256 == expected.mask.sha256
        assert lesion == expected.model_copy(update={"number": lesion.number})
    assert [lesion.volume_ml for lesion in both.lesions] == pytest.approx([14.1, 3.05], rel=0.05)
    assert "Threshold" in both.lesions[0].review_reasons[0]
    several = network_of(pet_and_ct, 3.0, ("PT", "CT"))
    segmented(case_of(pet_and_ct, LesionRequest(point=LARGE), box_around(SMALL)), model, several, store)
    assert several._network.looks == 1


def test_error_of_one_lesion_among_several_says_which(store, case_of, pet_and_ct):
    model, network = model_of(pet_and_ct), network_of(pet_and_ct, 3.0, ("PT", "CT"))
    tiny = LesionRequest(point=TINY)
    with pytest.raises(TumorTooSmall, match=r"^Lesion 2: ") as caught:
        segmented(case_of(pet_and_ct, LesionRequest(point=LARGE), tiny), model, network, store)
    assert caught.value.metadata["lesion"] == "2"
    with pytest.raises(TumorTooSmall) as caught:
        segmented(case_of(pet_and_ct, tiny), model, network, store)
    assert "lesion" not in caught.value.metadata
    assert "Lesion 1" not in caught.value.message
    with pytest.raises(ContourNotFound, match=r"^Lesion 2: This model has no network"):
        segmented(case_of(pet_and_ct, spheres(1, 0, Quantity.MASK, (SMALL,)), tiny), model, None, store)
    with pytest.raises(SeriesNotFound, match="needs the CT image"):
        segmented(case_of({"PT": pet_and_ct["PT"]}, LesionRequest(point=LARGE)), model, network, store)


def test_lesions_that_share_voxels_are_refused(store, case_of, pet_and_ct):
    model, network = model_of(pet_and_ct), network_of(pet_and_ct, 3.0, ("PT", "CT"))
    ways = (LesionRequest(point=LARGE), box_around(LARGE), spheres(1, 0, Quantity.MASK, (LARGE,)))
    for one, other in itertools.combinations(ways, 2):
        with pytest.raises(LesionsOverlap, match=r"Lesions 2 and 3 share 14\.\d ml") as caught:
            segmented(case_of(pet_and_ct, LesionRequest(point=SMALL), one, other), model, network, store)
        assert (caught.value.metadata["first"], caught.value.metadata["second"]) == ("2", "3")


@pytest.mark.parametrize("quantity", [Quantity.MR_SIGNAL, Quantity.HOUNSFIELD])
def test_image_that_is_no_pet_is_contoured_by_a_network_of_its_own(store, case_of, quantity):
    """One input; a CT beside an MR is not compared with it as with a PET; candidates have no SUV."""
    images = {"T2": spheres(400.0, 100.0, quantity, (LARGE, SMALL))}
    if quantity is Quantity.MR_SIGNAL:
        images["CT"] = images["T2"].with_image(images["T2"].image * 0 - 1000, Quantity.HOUNSFIELD)
    model, network = model_of(images), network_of(images, 200.0, ("T2",), field_of_view_limit_mm=(50.0, 50.0, 50.0))
    asked = segmented(case_of(images), model, network, store)
    assert [round(item.volume_ml) for item in asked.candidates] == [14, 3]
    assert [item.suv_max for item in asked.candidates] == [0.0, 0.0]
    assert store.read_bytes(asked.outputs["lesion-candidates.png"]).startswith(b"\x89PNG")
    chosen = [LesionRequest(box=item.box) for item in asked.candidates]
    case = segmented(case_of(images, *chosen), model, network, store)
    assert [round(lesion.volume_ml) for lesion in case.lesions] == [14, 3]
    summary = store.read_document(case.lesions[0].summary, SegmentationSummary)
    assert summary.uptake_outside_ml is None
    assert not summary.warnings
