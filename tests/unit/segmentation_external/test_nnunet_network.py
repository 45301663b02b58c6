"""Trained folders of nnU-Net v2: the same probabilities as nnU-Net itself, and refusals."""

import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.errors import ModelFolderInvalid, ModelHashMismatch
from oncoresponse.segmentation.external.declaration import read_declaration
from oncoresponse.segmentation.external.external_segmenter import ExternalSegmenter, open_lesion_network
from oncoresponse.segmentation.external.nnunet_plans import build_nnunet, read_plans
from oncoresponse.segmentation.external.nnunet_preprocessing import normalize
from oncoresponse.segmentation.external.torch_checkpoint import load_checkpoint

from .conftest import images_of

pytest.importorskip("dynamic_network_architectures")

REFERENCE = Path(__file__).parents[2] / "data" / "nnunet"
TRAINED = "nnUNetTrainer__nnUNetPlans__3d_fullres"


def install(directory, declare, dataset, **more):
    """Copy a trained folder into ``segmentation`` and declare it."""
    shutil.copytree(REFERENCE / dataset / TRAINED, directory / dataset / TRAINED)
    files = [path.relative_to(directory).as_posix() for path in sorted((directory / dataset).rglob("*.*"))]
    settings = {
        "folder": f"{dataset}/{TRAINED}",
        "channels": ["CT", "PT"],
        "reference": "PT",
        "tumor_labels": ["tumor"],
        **more,
    }
    declare(directory, "nnunet", *files, **settings)
    return directory / dataset / TRAINED


@pytest.mark.parametrize(
    ("dataset", "labels", "mirroring", "channels"),
    [
        ("Dataset501_Residual", ["tumor"], False, [2]),
        ("Dataset501_Residual", ["bladder", "tumor"], False, [1, 2]),
        ("Dataset502_Regions", ["lesion"], True, [0]),
        ("Dataset502_Regions", ["core"], True, [1]),
    ],
)
def test_same_probabilities_as_nnunetv2(model_folder, declare, as_volume, dataset, labels, mirroring, channels):
    """nnunetv2 2.8.1 wrote the reference: transposed axes, crop, old and new plans, folds, thick slices, mirrored."""
    directory = model_folder / "segmentation"
    install(directory, declare, dataset, tumor_labels=labels, mirroring=mirroring)
    reference = np.load(REFERENCE / dataset / "reference.npz")
    spacing = reference["spacing_mm"][::-1]
    pet = as_volume(reference["pet"], Quantity.SUV_BODY_WEIGHT, spacing)
    ct = as_volume(reference["ct"], Quantity.HOUNSFIELD, spacing)
    found = open_lesion_network(directory, read_declaration(directory), "cpu").probability(images_of(pet, ct))
    expected = reference["probabilities"][channels].sum(axis=0)
    assert expected.std() > 0.1
    np.testing.assert_allclose(sitk.GetArrayFromImage(found), expected, atol=1e-4)


def test_other_orientation_of_the_scan_gives_the_same_tumor(model_folder, declare, as_volume):
    """The images of the training pointed to LPS; a scan stored feet first and turned is brought there and back."""
    directory = model_folder / "segmentation"
    install(directory, declare, "Dataset501_Residual")
    network = open_lesion_network(directory, read_declaration(directory), "cpu")
    reference = np.load(REFERENCE / "Dataset501_Residual" / "reference.npz")
    spacing = reference["spacing_mm"][::-1]
    pet = as_volume(reference["pet"], Quantity.SUV_BODY_WEIGHT, spacing)
    ct = as_volume(reference["ct"], Quantity.HOUNSFIELD, spacing)
    turned = Volume(sitk.DICOMOrient(pet.image, "IRP"), pet.quantity, pet.frame_of_reference_uid, "1.2.3.4")
    found = network.probability(images_of(turned, ct))
    assert found.GetDirection() != pet.image.GetDirection()
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(sitk.DICOMOrient(found, "LPS")),
        sitk.GetArrayFromImage(network.probability(images_of(pet, ct))),
        atol=1e-5,
    )


def test_totalsegmentator_style_folder_makes_a_mask_without_any_network(
    model_folder, declare, open_model, hot_sphere, monkeypatch
):
    """One CT channel, canonical orientation, one label of many, weights from a local folder; nothing may be fetched."""
    directory = model_folder / "segmentation"
    folder = (
        directory / "Dataset291_TotalSegmentator_part1_organs" / "nnUNetTrainerNoMirroring__nnUNetPlans__3d_fullres"
    )
    (folder / "fold_0").mkdir(parents=True)
    plans = json.loads((REFERENCE / "Dataset502_Regions" / TRAINED / "plans.json").read_text())
    configuration = plans["configurations"]["3d_fullres"]
    configuration |= {
        "patch_size": [16, 16, 16],
        "spacing": [3.0, 3.0, 3.0],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "conv_kernel_sizes": [[1, 1, 1], [1, 1, 1]],
    }
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "spleen": 1, "mass": 2},
        "file_ending": ".nii.gz",
    }
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    network = build_nnunet(
        read_plans(*((folder / name).read_bytes() for name in ("plans.json", "dataset.json")), "3d_fullres")
    )
    checkpoint = {
        "network_weights": threshold_on_first_channel(network).state_dict(),
        "trainer_name": "nnUNetTrainerNoMirroring",
        "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": None,
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    files = [path.relative_to(directory).as_posix() for path in sorted(folder.rglob("*.*"))]
    declare(
        directory,
        "nnunet",
        *files,
        folder=folder.relative_to(directory).as_posix(),
        channels=["CT"],
        reference="CT",
        orientation="RAS",
        spacing_mm=[3.0, 3.0, 3.0],
        tumor_labels=["mass"],
    )
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("something was fetched"))
    pet, ct = hot_sphere()
    segmenter = ExternalSegmenter.open(open_model(), "cpu")
    segmenter.warm_up()
    found = segmenter.segment(images_of(pet, ct))
    sphere = sitk.GetArrayFromImage(pet.image) > 1
    mask = sitk.GetArrayFromImage(found.mask.image).astype(bool)
    assert 2 * (mask & sphere).sum() / (mask.sum() + sphere.sum()) > 0.9


def threshold_on_first_channel(network):
    """Weights by hand: label 2 where the normalized first channel is above 0, background below.

    Instance norm turns the sphere positive and the rest negative, whatever the window.
    """
    for name, parameter in network.named_parameters():
        parameter.data.zero_()
        if name.endswith("norm.weight"):
            parameter.data.fill_(1)
    encoder = network.encoder.stages[0][0].convs[0].conv
    encoder.weight.data[0, 0] = 1
    # The decoder's block sees its upsampled half first, then the skip connection.
    joined = network.decoder.stages[0].convs[0].conv
    joined.weight.data[0, joined.weight.shape[1] // 2] = 1
    output = network.decoder.seg_layers[-1]
    output.weight.data[2, 0] = 20
    output.bias.data[2] = -4
    output.bias.data[1] = -50
    return network


class _Trap:
    """Unpickles as a call of os.system."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("where", ["beside the weights", "instead of the weights", "plain pickle"])
def test_pickle_that_runs_code_is_refused(model_folder, declare, tmp_path, where):
    directory = model_folder / "segmentation"
    folder = install(directory, declare, "Dataset501_Residual")
    path, trace = folder / "fold_0" / "checkpoint_final.pth", tmp_path / "trace"
    if where == "plain pickle":
        path.write_bytes(pickle.dumps(_Trap(trace)))
    else:
        weights = {"network_weights": {"a": torch.zeros(1)}, "logging": _Trap(trace)}
        torch.save(weights if where == "beside the weights" else _Trap(trace), path)
    files = [file.relative_to(directory).as_posix() for file in sorted(folder.rglob("*.*"))]
    declare(
        directory,
        "nnunet",
        *files,
        folder=f"Dataset501_Residual/{TRAINED}",
        channels=["CT", "PT"],
        reference="PT",
        tumor_labels=["tumor"],
    )
    with pytest.raises(ModelFolderInvalid, match="refused"):
        open_lesion_network(directory, read_declaration(directory), "cpu")
    assert not trace.exists()


def with_pickle(content: bytes, change) -> bytes:
    """A file of torch.save whose pickle was changed."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            new.writestr(item.filename, change(data) if item.filename.endswith("data.pkl") else data)
    return changed.getvalue()


def test_numbers_of_old_and_new_numpy_are_read():
    """nnU-Net keeps numbers of numpy beside its weights; numpy 2 moved the function that its pickles name."""
    path = REFERENCE / "Dataset501_Residual" / TRAINED / "fold_0" / "checkpoint_final.pth"
    for change in (lambda data: data, lambda data: data.replace(b"numpy._core.", b"numpy.core.")):
        checkpoint = load_checkpoint(with_pickle(path.read_bytes(), change), "checkpoint")
        assert checkpoint["_best_ema"] == 0.6
        assert checkpoint["logging"]["mean_fg_dice"] == [0.5]
    file = io.BytesIO()
    numbers = [np.float32(1.5), np.int64(-7), np.bool_(True), np.float64(2.5).astype(">f8")]
    torch.save({"numbers": numbers}, file)
    assert load_checkpoint(file.getvalue(), "checkpoint")["numbers"] == [1.5, -7, True, 2.5]


@pytest.mark.parametrize("value", [np.array([1.0]), np.array([None]), np.void(b"12"), np.datetime64("2026-01-01")])
def test_other_values_of_numpy_are_refused(value):
    file = io.BytesIO()
    torch.save({"value": value}, file)
    with pytest.raises(ModelFolderInvalid):
        load_checkpoint(file.getvalue(), "checkpoint")


@pytest.mark.parametrize("end", [0, 10, 2000, -30])
def test_incomplete_checkpoint_is_refused(end):
    path = REFERENCE / "Dataset501_Residual" / TRAINED / "fold_0" / "checkpoint_final.pth"
    with pytest.raises(ModelFolderInvalid):
        load_checkpoint(path.read_bytes()[:end], "checkpoint")


def test_changed_file_is_noticed(model_folder, declare):
    directory = model_folder / "segmentation"
    folder = install(directory, declare, "Dataset501_Residual")
    with (folder / "plans.json").open("a") as file:
        file.write("\n")
    with pytest.raises(ModelHashMismatch, match=r"plans\.json"):
        open_lesion_network(directory, read_declaration(directory), "cpu")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network_class_name": "os.system"}, "names the network 'os.system'"),
        ({"network_class_name": "dynamic_network_architectures.architectures.primus.Primus"}, "names the network"),
        ({"arch_kwargs": {"conv_op": "os.system"}}, "names 'os.system'"),
        ({"arch_kwargs": {"surprise": 1}}, "does not fit the arguments"),
    ],
)
def test_plans_cannot_name_other_code(change, words):
    folder = REFERENCE / "Dataset501_Residual" / TRAINED
    plans = json.loads((folder / "plans.json").read_text())
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    arguments = {**architecture["arch_kwargs"], **change.pop("arch_kwargs", {})}
    architecture |= {**change, "arch_kwargs": arguments}
    read = read_plans(json.dumps(plans).encode(), (folder / "dataset.json").read_bytes(), "3d_fullres")
    with pytest.raises(ModelFolderInvalid, match=words):
        build_nnunet(read)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"previous_stage": "3d_lowres"}, "cascade"),
        ({"preprocessor_name": "MyPreprocessor"}, "preprocessor_name"),
        ({"resampling_fn_data": "resample_torch_fornnunet"}, "resampling_fn_data"),
        ({"patch_size": [32, 32]}, "patch_size"),
        ({"normalization_schemes": ["RGBTo01Normalization"]}, "normalization_schemes"),
        ({"inherits_from": "3d_fullres"}, "circle"),
    ],
)
def test_plans_that_are_not_read(change, words):
    folder = REFERENCE / "Dataset501_Residual" / TRAINED
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["3d_fullres"] |= change
    with pytest.raises(ModelFolderInvalid, match=words):
        read_plans(json.dumps(plans).encode(), (folder / "dataset.json").read_bytes(), "3d_fullres")


def test_unknown_label_and_configuration(model_folder, declare):
    directory = model_folder / "segmentation"
    install(directory, declare, "Dataset501_Residual", tumor_labels=["background"])
    with pytest.raises(ModelFolderInvalid, match=r"no label background\. It has bladder, tumor"):
        open_lesion_network(directory, read_declaration(directory), "cpu")
    shutil.rmtree(directory)
    directory.mkdir()
    install(directory, declare, "Dataset501_Residual", configuration="3d_lowres")
    with pytest.raises(ModelFolderInvalid, match="no configuration 3d_lowres"):
        open_lesion_network(directory, read_declaration(directory), "cpu")


def test_constant_image_does_not_divide_by_zero():
    flat = np.full((3, 3, 3), 5.0, np.float32)
    for scheme in ("ZScoreNormalization", "RescaleTo01Normalization"):
        assert not normalize(flat, scheme, None, None).any()
    with pytest.raises(ModelFolderInvalid, match="foreground_intensity_properties"):
        normalize(flat, "CTNormalization", None, None)
