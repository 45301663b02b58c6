"""TorchScript, ONNX and MONAI bundles: positions, preprocessing as MONAI does it, outputs, refusals."""

import json
import warnings

import monai.networks.nets
import nibabel
import numpy as np
import onnx
import pytest
import SimpleITK as sitk
import torch
import yaml
from monai.data.meta_tensor import MetaTensor
from monai.inferers.utils import sliding_window_inference
from monai.transforms import Compose, NormalizeIntensity, Orientation, ScaleIntensityRange
from oncoresponse.errors import ConfigurationError, ModelFolderInvalid, ModelHashMismatch
from oncoresponse.segmentation.external.declaration import Output, read_declaration
from oncoresponse.segmentation.external.declared_network import tumor_probability
from oncoresponse.segmentation.external.external_segmenter import open_lesion_network
from oncoresponse.segmentation.external.monai_bundle import NETWORKS, build_bundle_network
from safetensors.torch import save_file
from scipy.spatial.transform import Rotation

from .conftest import PREPROCESSING, images_of

SIGMOID = {"activation": "sigmoid", "tumor_channels": [0]}
SMALL_UNET = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8],
    "strides": [2],
    "num_res_units": 1,
}


class Uptake(torch.nn.Module):
    """Tumor where SUV exceeds 3 g/mL and the scaled CT exceeds 0.35 (-20 HU)."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.minimum(20 * (inputs[:, :1] - 3.0), 200 * (inputs[:, 1:2] - 0.35))


def save_torchscript(path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.* is deprecated", category=DeprecationWarning)
        torch.jit.save(torch.jit.script(Uptake()), path)


def save_onnx(path):
    """The same function in operators of ONNX; any size of window."""
    helper = onnx.helper
    shape = [1, None, None, None, None]
    constants = {
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
        "suv": np.array(3.0, np.float32),
        "hu": np.array(0.35, np.float32),
        "twenty": np.array(20.0, np.float32),
        "many": np.array(200.0, np.float32),
    }
    nodes = [
        helper.make_node("Slice", ["x", "zero", "one", "one"], ["pet"]),
        helper.make_node("Slice", ["x", "one", "two", "one"], ["ct"]),
        helper.make_node("Sub", ["pet", "suv"], ["a"]),
        helper.make_node("Mul", ["a", "twenty"], ["b"]),
        helper.make_node("Sub", ["ct", "hu"], ["c"]),
        helper.make_node("Mul", ["c", "many"], ["d"]),
        helper.make_node("Min", ["b", "d"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "uptake",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2, None, None, None])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


SAVE = {"torchscript": save_torchscript, "onnx": save_onnx}


@pytest.fixture
def directory(model_folder):
    return model_folder / "segmentation"


def open_network(directory):
    return open_lesion_network(directory, read_declaration(directory), "cpu")


def dice_with_sphere(found, pet):
    mask, sphere = sitk.GetArrayFromImage(found) >= 0.5, sitk.GetArrayFromImage(pet.image) > 1
    return 2 * (mask & sphere).sum() / (mask.sum() + sphere.sum())


@pytest.mark.parametrize("kind", ["torchscript", "onnx"])
@pytest.mark.parametrize(
    ("angles", "flip", "preprocessing", "windows"),
    [
        ((0, 0, 0), (1, 1, 1), {}, {}),
        ((0, 0, 0), (-1, 1, -1), {"axis_order": "xyz", "orientation": "RAS"}, {"multiple_of": 16}),
        ((20, -30, 10), (1, -1, 1), {"spacing_mm": [3.0, 4.0, 2.5]}, {"size": [20, 16, 12]}),
        ((5, 10, 40), (1, 1, -1), {"reference": "CT", "spacing_mm": [3.0, 3.0, 3.0]}, {"size": [24, 24, 24]}),
    ],
)
def test_tumor_is_found_where_it_is(directory, declare, hot_sphere, kind, angles, flip, preprocessing, windows):
    """Oblique, flipped and anisotropic grids; whole images and windows; both array orders; both references."""
    SAVE[kind](directory / "network.bin")
    declare(
        directory, kind, "network.bin", preprocessing=PREPROCESSING | preprocessing, windows=windows, output=SIGMOID
    )
    direction = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(flip)
    pet, ct = hot_sphere(direction=direction, spacing=(4.4, 3.9, 3.0))
    network = open_network(directory)
    network.warm_up()
    found = network.probability(images_of(pet, ct))
    assert found.GetSize() == pet.image.GetSize()
    assert found.GetDirection() == pet.image.GetDirection()
    assert dice_with_sphere(found, pet) > 0.93
    again = sitk.GetArrayFromImage(network.probability(images_of(pet, ct))).tobytes()
    assert sitk.GetArrayFromImage(found).tobytes() == again


@pytest.mark.parametrize("config", ["inference.json", "inference.yaml"])
@pytest.mark.parametrize("weights", ["model.pt", "model.safetensors"])
def test_bundle_gives_what_monai_gives(directory, declare, hot_sphere, tmp_path, config, weights):
    """The same bundle by MONAI's own transforms and sliding window, on a flipped, oblique, anisotropic image."""
    torch.manual_seed(3)
    network = monai.networks.nets.UNet(**SMALL_UNET).eval()
    (directory / "configs").mkdir()
    (directory / "models").mkdir()
    definition = {
        "channels": [4, 8],
        "network_def": {"_target_": "UNet", **SMALL_UNET, "channels": "@channels"},
        "network": "$@network_def.to('cpu')",  # what MONAI would evaluate is not looked at
    }
    text = json.dumps(definition) if config.endswith("json") else yaml.safe_dump(definition)
    (directory / "configs" / config).write_text(text)
    if weights.endswith(".pt"):
        torch.save({"state_dict": network.state_dict()}, directory / "models" / weights)
    else:
        save_file(network.state_dict(), directory / "models" / weights)
    channel = {
        "modality": "PT",
        "outside": 0,
        "intensity": [
            {"step": "rescale", "from_low": 0, "from_high": 10, "to_low": -1, "to_high": 1},
            {"step": "clip", "low": -1, "high": 1},
            {"step": "standardize"},
        ],
    }
    files = (f"configs/{config}", f"models/{weights}")
    declare(
        directory,
        "monai_bundle",
        *files,
        config=files[0],
        weights=files[1],
        preprocessing={"reference": "PT", "orientation": "RAS", "axis_order": "xyz", "channels": [channel]},
        windows={"size": [16, 16, 16], "overlap": 0.25},
        output={"activation": "softmax", "tumor_channels": [1]},
    )
    turn = Rotation.from_euler("xyz", (15, -10, 20), degrees=True).as_matrix() @ np.diag([1, -1, -1])
    pet, _ = hot_sphere(direction=turn, spacing=(4.4, 3.9, 3.0))
    found = open_network(directory).probability(images_of(pet))

    sitk.WriteImage(pet.image, tmp_path / "pet.nii.gz")
    steps = [
        Orientation(axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
        ScaleIntensityRange(a_min=0, a_max=10, b_min=-1, b_max=1, clip=True),
        NormalizeIntensity(),
    ]
    loaded = nibabel.load(tmp_path / "pet.nii.gz")
    inputs = Compose(steps)(MetaTensor(loaded.get_fdata(dtype=np.float32)[None], affine=loaded.affine))
    with torch.inference_mode():
        logits = sliding_window_inference(
            inputs.as_tensor()[None], (16, 16, 16), 1, network, overlap=0.25, mode="gaussian"
        )
    expected = torch.softmax(logits, dim=1)[0, 1].numpy()
    assert expected.std() > 1e-3
    ours = sitk.GetArrayFromImage(sitk.DICOMOrient(found, "RAS")).transpose(2, 1, 0)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"_target_": "UNet", **SMALL_UNET, "norm": "$__import__('os').system('touch TRACE')"}, "expression"),
        ({"_target_": "UNet", **SMALL_UNET, "norm": "$import os"}, "expression"),
        ({"_target_": "UNet", **SMALL_UNET, "norm": ["batch", {"eps": "$1e-5"}]}, "expression"),
        ({"_target_": "UNet", **SMALL_UNET, "norm": "%other.json::norm"}, "macro"),
        ({"_target_": "UNet", **SMALL_UNET, "norm": "@evil"}, "expression"),
        ({"_target_": "UNet", **SMALL_UNET, "norm": {"_target_": "os.system", "command": "true"}}, "object"),
        ({"_target_": "UNet", **SMALL_UNET, "norm": "@circle"}, "itself"),
        ({"_target_": "UNet", **SMALL_UNET, "norm": "@nowhere"}, "does not hold"),
        ({"_target_": "UNet", **SMALL_UNET, "_requires_": "$print()"}, "expression"),
        ({"_target_": "UNet", **SMALL_UNET, "_mode_": "debug"}, "_mode_"),
        ({"_target_": "UNet", **SMALL_UNET, "surprise": 1}, "does not fit"),
        ({"_target_": "os.system", "command": "true"}, "names 'os.system'"),
        ({"_target_": "evil.UNet", **SMALL_UNET}, "names 'evil.UNet'"),
        ({"_target_": "monai.networks.nets.HoVerNet", "pretrained_url": "http://example.com"}, "names"),
        ("$@other", "no network_def"),
    ],
)
def test_bundle_that_asks_for_code_is_refused(definition, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {"network_def": definition, "evil": "$import os", "circle": "@circle"}
    with pytest.raises(ModelFolderInvalid, match=words):
        build_bundle_network(config)
    assert not list(tmp_path.iterdir())


def test_every_known_network_of_monai_is_there():
    assert all(issubclass(getattr(monai.networks.nets, name), torch.nn.Module) for name in NETWORKS)


def test_weights_of_another_architecture_are_refused(directory, declare):
    (directory / "inference.json").write_text(json.dumps({"network_def": {"_target_": "UNet", **SMALL_UNET}}))
    other = monai.networks.nets.UNet(**SMALL_UNET | {"channels": [4, 16]})
    torch.save(other.state_dict(), directory / "model.pt")
    declare(
        directory,
        "monai_bundle",
        *("inference.json", "model.pt"),
        config="inference.json",
        weights="model.pt",
        preprocessing=PREPROCESSING,
        output=SIGMOID,
    )
    with pytest.raises(ModelFolderInvalid, match="architecture"):
        open_network(directory)


@pytest.mark.parametrize("kind", ["torchscript", "onnx"])
def test_file_of_another_kind_or_changed_is_refused(directory, declare, kind):
    (directory / "network.bin").write_bytes(b"something else")
    declare(directory, kind, "network.bin", preprocessing=PREPROCESSING, output=SIGMOID)
    with pytest.raises(ModelFolderInvalid, match=r"network\.bin is not"):
        open_network(directory)
    (directory / "network.bin").write_bytes(b"changed")
    with pytest.raises(ModelHashMismatch):
        open_network(directory)
    (directory / "network.bin").unlink()
    with pytest.raises(ModelFolderInvalid, match="lacks"):
        open_network(directory)


def test_onnx_on_cuda_needs_its_own_package(directory, declare, monkeypatch):
    save_onnx(directory / "network.onnx")
    declare(directory, "onnx", "network.onnx", preprocessing=PREPROCESSING, output=SIGMOID)
    cuda = torch.device("cuda", 0)
    module = "oncoresponse.segmentation.external.external_segmenter.choose_device"
    monkeypatch.setattr(module, lambda _: cuda)
    with pytest.raises(ConfigurationError, match="onnxruntime-gpu"):
        open_lesion_network(directory, read_declaration(directory), "cuda:0")
    assert open_lesion_network(directory, read_declaration(directory), "auto").device_type == "cpu"


class Shrinking(torch.nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[:, :1, 1:]


def test_output_of_another_size_is_refused(directory, declare, hot_sphere):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.* is deprecated", category=DeprecationWarning)
        torch.jit.save(torch.jit.script(Shrinking()), directory / "network.pt")
    declare(directory, "torchscript", "network.pt", preprocessing=PREPROCESSING, output=SIGMOID)
    with pytest.raises(ModelFolderInvalid, match="window's size"):
        open_network(directory).probability(images_of(*hot_sphere()))


def test_outputs():
    output = torch.tensor([0.2, 0.5, 0.3]).reshape(3, 1, 1, 1)
    softmax = Output(activation="softmax", tumor_channels=(1, 2))
    assert tumor_probability(output.log(), softmax).item() == pytest.approx(0.8)
    sigmoid = Output(activation="sigmoid", tumor_channels=(0, 1))
    assert tumor_probability(torch.logit(output), sigmoid).item() == pytest.approx(0.5)
    plain = Output(activation="none", tumor_channels=(2,))
    assert tumor_probability(output, plain).item() == pytest.approx(0.3)
    with pytest.raises(ModelFolderInvalid, match="leaves 0 to 1"):
        tumor_probability(3 * output + 1, plain)
    with pytest.raises(ModelFolderInvalid, match="not finite"):
        tumor_probability(output * torch.nan, sigmoid)
    with pytest.raises(ModelFolderInvalid, match="3 output channels"):
        tumor_probability(output, Output(activation="none", tumor_channels=(3,)))
