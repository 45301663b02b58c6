"""A model folder with a network from elsewhere: its declaration, the mask it leads to, and what is said about it."""

import json
import re
import warnings

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume, require_same_grid
from oncoresponse.cli import doctor
from oncoresponse.errors import (
    ConfigurationError,
    EmptyMask,
    FieldOfViewTooLarge,
    FrameOfReferenceMismatch,
    GeometryMismatch,
    InvalidRequest,
    ModelFolderInvalid,
    SeriesNotFound,
)
from oncoresponse.segmentation.device import choose_device
from oncoresponse.segmentation.external.channel_sampling import network_grid
from oncoresponse.segmentation.external.declaration import EXTERNAL_NETWORK_FILE, read_declaration
from oncoresponse.segmentation.external.external_segmenter import ExternalSegmenter
from oncoresponse.segmentation.inference import Segmenter
from oncoresponse.segmentation.input_images import InputImages
from oncoresponse.segmentation.lesion_prompt import LesionBox, LesionPoint
from oncoresponse.segmentation.open_segmenter import open_segmenter
from scipy.spatial.transform import Rotation

from .conftest import PREPROCESSING, ROOT, images_of

SIGMOID = {"activation": "sigmoid", "tumor_channels": [0]}


class Uptake(torch.nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 8.0 * (inputs[:, :1] - 3.0)


@pytest.fixture(scope="session")
def torchscript_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("torchscript") / "network.pt"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.* is deprecated", category=DeprecationWarning)
        torch.jit.save(torch.jit.script(Uptake()), path)
    return path.read_bytes()


@pytest.fixture
def install(model_folder, declare, torchscript_bytes):
    def make(**more):
        directory = model_folder / "segmentation"
        (directory / "network.pt").write_bytes(torchscript_bytes)
        settings = {"preprocessing": PREPROCESSING, "output": SIGMOID, **more}
        return declare(directory, "torchscript", "network.pt", **settings)

    return make


def test_model_folder_segments_and_says_that_nothing_was_measured(install, open_model, hot_sphere):
    install()
    segmenter = open_segmenter(open_model(), "cpu")
    assert isinstance(segmenter, ExternalSegmenter)
    segmenter.warm_up()
    pet, ct = hot_sphere()
    found = segmenter.segment(images_of(pet, ct))
    require_same_grid(pet, found.mask)
    assert found.probability.quantity is Quantity.PROBABILITY
    assert found.summary.volume_ml == pytest.approx(4 / 3 * np.pi * 2.2**3, rel=0.1)
    assert found.summary.volume_low_ml is None
    assert 0 <= found.summary.mean_uncertainty < 0.5
    assert len(found.summary.network_sha256) == 64
    (warning,) = found.summary.review_reasons
    assert "Test network" in warning
    assert "was not measured here" in warning
    assert found.summary.needs_review
    smaller, larger = (sitk.GetArrayFromImage(found.variants[name].image).sum() for name in ("smaller", "larger"))
    assert smaller < sitk.GetArrayFromImage(found.mask.image).sum() < larger


def test_folder_without_declaration_holds_the_built_in_ensemble(model_folder, open_model):
    (model_folder / "segmentation" / "network.json").write_text("{}")
    with pytest.raises(ModelFolderInvalid, match=r"network\.json is not valid"):
        open_segmenter(open_model(), "cpu")


def test_both_networks_in_one_folder_are_refused(install, model_folder, open_model):
    install()
    (model_folder / "segmentation" / "network.json").write_text("{}")
    with pytest.raises(ModelFolderInvalid, match="both"):
        open_segmenter(open_model(), "cpu")


def test_mask_settings_and_limits_of_the_declaration_count(install, open_model, hot_sphere):
    install(mask={"threshold": 0.5}, field_of_view_limit_mm=[100, 500, 500])
    pet, ct = hot_sphere()
    with pytest.raises(FieldOfViewTooLarge) as caught:
        open_segmenter(open_model(), "cpu").segment(images_of(pet, ct))
    assert caught.value.metadata["field_of_view_mm"] == "128 x 120 x 120 mm"
    install(
        mask={"threshold": 0.9999999},
        output={"activation": "sigmoid", "tumor_channels": [0]},
        preprocessing=PREPROCESSING
        | {"channels": [{"modality": "PT", "outside": 0, "intensity": [{"step": "clip", "low": 0, "high": 4}]}]},
    )
    segmenter = open_segmenter(open_model(), "cpu")
    with pytest.raises(EmptyMask):
        segmenter.segment(images_of(pet))


def two_spheres(hot_sphere):
    """A large hot sphere and a small one, and the CT of both."""
    first, ct = hot_sphere(center=(-25.0, 20.0, 0.0), radius=20.0)
    second, _ = hot_sphere(center=(30.0, -25.0, 10.0), radius=12.0)
    both = sitk.Maximum(first.image, second.image)
    return first.with_image(both, Quantity.SUV_BODY_WEIGHT), ct


@pytest.mark.parametrize(
    ("prompt", "radius"),
    [
        (None, 20.0),
        (LesionPoint((30.0, -25.0, 10.0)), 12.0),
        (LesionPoint((-25.0, 20.0, 0.0)), 20.0),
        (LesionBox((15.0, -40.0, -5.0), (45.0, -10.0, 25.0)), 12.0),
    ],
)
def test_prompt_says_which_lesion_is_meant(install, open_model, hot_sphere, prompt, radius):
    install()
    pet, ct = two_spheres(hot_sphere)
    found = open_segmenter(open_model(), "cpu").segment(images_of(pet, ct), prompt)
    assert found.summary.volume_ml == pytest.approx(4 / 3 * np.pi * (radius / 10) ** 3, rel=0.15)
    assert found.summary.component_count == 1


def test_large_scan_gives_candidates(install, open_model, hot_sphere):
    install(field_of_view_limit_mm=[100, 100, 100])
    pet, ct = two_spheres(hot_sphere)
    segmenter = open_segmenter(open_model(), "cpu")
    assert segmenter.needs_prompt(images_of(pet))
    candidates = segmenter.find_candidates(images_of(pet, ct))
    assert sorted(round(item.volume_ml) for item in candidates) == pytest.approx([7, 34], rel=0.15)


@pytest.mark.parametrize(("modality", "quantity"), [("MR", Quantity.MR_SIGNAL), ("CT", Quantity.HOUNSFIELD)])
def test_model_that_contours_one_mr_or_ct(install, model_folder, open_model, hot_sphere, modality, quantity):
    """The declaration names inputs of model.yaml; the built-in networks, and inputs it lacks, are refused."""
    pet, _ = hot_sphere()
    images = InputImages({"T2": pet.with_image(pet.image, quantity)}, "T2")
    declared = yaml.safe_load((model_folder / "model.yaml").read_text(encoding="utf-8"))
    for earlier in ("required_series", "contour_modality"):
        declared.pop(earlier, None)
    declared |= {"kind": "imaging response", "segment_on": "T2", "features_from": "T2", "show": ["T2"]}
    declared["inputs"] = [{"role": "T2", "modality": modality, "quantity": quantity.value, "purpose": "All of it"}]
    (model_folder / "model.yaml").write_text(yaml.safe_dump(declared), encoding="utf-8")
    install(preprocessing=PREPROCESSING | {"reference": "T2", "channels": [{"input_role": "T2", "outside": 0}]})
    found = open_segmenter(open_model(), "cpu").segment(images)
    require_same_grid(images.contoured, found.mask)
    assert found.summary.volume_ml == pytest.approx(4 / 3 * np.pi * 2.2**3, rel=0.1)
    install()
    with pytest.raises(ModelFolderInvalid, match="reads the input PT"):
        open_segmenter(open_model(), "cpu")
    with pytest.raises(ModelFolderInvalid, match="declares other inputs"):
        Segmenter.open(open_model(), "cpu")


def test_doctor_says_when_a_package_is_missing(install, model_folder, open_model, declare, monkeypatch):
    install()
    open_model()

    def network():
        found = doctor.findings(model_folder.parent, model_folder.parent, None)
        return next(item for item in found if item.subject == "network of sts-petct")

    assert network().ok is None
    assert "not measured here" in network().text
    more = {"preprocessing": PREPROCESSING, "output": SIGMOID}
    declare(model_folder / "segmentation", "onnx", "network.pt", **more)
    open_model()
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else name)
    assert network().ok is False
    assert "oncoresponse[onnx]" in network().text


def test_refusals(install, open_model, hot_sphere, as_volume):
    install()
    segmenter = open_segmenter(open_model(), "cpu")
    pet, ct = hot_sphere()
    with pytest.raises(SeriesNotFound, match="needs the CT image"):
        segmenter.segment(images_of(pet))
    for swapped in (images_of(ct, ct), images_of(pet, pet)):
        with pytest.raises(InvalidRequest, match="reads"):
            segmenter.segment(swapped)
    with pytest.raises(FrameOfReferenceMismatch):
        segmenter.segment(images_of(pet, Volume(ct.image, ct.quantity, "1.2.3", "1.2.3.5")))
    small = sitk.RegionOfInterest(ct.image, (20, 20, 20), (0, 0, 0))
    with pytest.raises(GeometryMismatch, match="covers"):
        segmenter.segment(images_of(pet, ct.with_image(small, Quantity.HOUNSFIELD)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"surprise": 1}, "surprise"),
        ({"kind": "pickle"}, "pickle"),
        ({"files": {"../outside.pt": "0" * 64}}, "does not lie in the folder"),
        ({"files": {"/etc/passwd": "0" * 64}}, "does not lie in the folder"),
        ({"files": {"network.pt": "abc"}}, "files"),
        ({"preprocessing": PREPROCESSING | {"orientation": "LLS"}}, "three letters"),
        ({"preprocessing": PREPROCESSING | {"spacing_mm": [4, 4, 0]}}, "spacing_mm"),
        (
            {"preprocessing": PREPROCESSING | {"reference": "CT", "channels": PREPROCESSING["channels"][:1]}},
            "reference",
        ),
        ({"output": {"activation": "softmax", "tumor_channels": []}}, "tumor_channels"),
        (
            {
                "preprocessing": PREPROCESSING
                | {"channels": [{"modality": "PT", "outside": 0, "intensity": [{"step": "eval"}]}]}
            },
            "step",
        ),
    ],
)
def test_declaration_that_does_not_follow_its_schema(install, model_folder, change, words):
    declared = install()
    directory = model_folder / "segmentation"
    (directory / EXTERNAL_NETWORK_FILE).write_text(json.dumps({**declared, **change}))
    with pytest.raises(ModelFolderInvalid, match=words):
        read_declaration(directory)


def test_documented_declarations_follow_the_schema(model_folder):
    page = (ROOT / "docs" / "bring-your-own-network.md").read_text(encoding="utf-8")
    examples = re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL)
    kinds = set()
    for example in examples:
        (model_folder / "segmentation" / EXTERNAL_NETWORK_FILE).write_text(example)
        kinds.add(read_declaration(model_folder / "segmentation").kind)
    assert kinds == {"nnunet", "monai_bundle", "onnx"}


def test_link_out_of_the_folder_is_refused(install, model_folder, tmp_path):
    install()
    weights = model_folder / "segmentation" / "network.pt"
    weights.rename(tmp_path / "elsewhere.pt")
    weights.symlink_to(tmp_path / "elsewhere.pt")
    from oncoresponse.segmentation.external.external_segmenter import open_lesion_network

    with pytest.raises(ModelFolderInvalid, match="link"):
        open_lesion_network(weights.parent, read_declaration(weights.parent), "cpu")


spacings = st.tuples(*[st.floats(0.5, 6.0)] * 3)


@given(
    size=st.tuples(*[st.integers(1, 20)] * 3),
    old=spacings,
    new=spacings,
    angles=st.tuples(*[st.integers(-180, 180)] * 3),
    orientation=st.sampled_from(["LPS", "RAS", "SAR", "IPL"]),
)
def test_network_grid_covers_the_image(size, old, new, angles, orientation):
    """Every voxel center of the image lies inside the grid, and both have one center, whatever the orientation."""
    image = sitk.Image(size, sitk.sitkFloat32)
    image.SetSpacing(old)
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection(Rotation.from_euler("xyz", angles, degrees=True).as_matrix().ravel().tolist())
    grid = network_grid(image, orientation, new)
    assert sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(grid.GetDirection()) == orientation
    middles = [
        each.TransformContinuousIndexToPhysicalPoint([(count - 1) / 2 for count in each.GetSize()])
        for each in (image, grid)
    ]
    np.testing.assert_allclose(middles[0], middles[1], atol=1e-6)
    for corner in np.ndindex(2, 2, 2):
        index = [bit * (count - 1) for bit, count in zip(corner, size, strict=True)]
        place = grid.TransformPhysicalPointToContinuousIndex(image.TransformIndexToPhysicalPoint(index))
        assert all(
            -0.5 - 1e-6 <= value <= count - 0.5 + 1e-6 for value, count in zip(place, grid.GetSize(), strict=True)
        )


def test_devices(monkeypatch):
    assert choose_device("cpu").type == "cpu"
    for name in ("gpu", "cuda:", "cuda:x", "cuda:0 "):
        with pytest.raises(ConfigurationError, match="No device is called"):
            choose_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigurationError, match="no CUDA device"):
        choose_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ConfigurationError, match="2 CUDA devices"):
        choose_device("cuda:2")
