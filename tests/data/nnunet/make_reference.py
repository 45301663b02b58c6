"""Writes the trained folders and reference probabilities beside this file, with nnU-Net v2 itself.

Run by hand where nnunetv2 is installed; version 2.8.1 was used. The project and its tests need neither nnunetv2 nor
this script. Weights are random, so the numbers mean nothing; what counts is that nnU-Net turned these images into these
probabilities.

nnU-Net adds its windows up in half precision, in which the weights at a window's corner round to nothing and outputs
there are off by up to 0.08. Here it is made to add in single precision, so that the rest can be compared closely.
"""

import functools
import json
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference import predict_from_raw_data
from nnunetv2.training.logging.nnunet_logger import LocalLogger
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from scipy import ndimage

HERE = Path(__file__).parent
RESAMPLING = {
    "resampling_fn_data": "resample_data_or_seg_to_shape",
    "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    "resampling_fn_seg": "resample_data_or_seg_to_shape",
    "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
    "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
    "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
}
NORM = {"norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-05, "affine": True}}
INTENSITIES = {
    "0": {"mean": 60.0, "median": 55.0, "std": 80.0, "min": -900, "max": 900, "percentile_00_5": -180.0,
          "percentile_99_5": 260.0},
    "1": {"mean": 4.0, "median": 3.0, "std": 2.0, "min": 0, "max": 20, "percentile_00_5": 0.5, "percentile_99_5": 12.0},
}  # fmt: skip

RESIDUAL = {
    "name": "Dataset501_Residual",
    "labels": {"background": 0, "bladder": 1, "tumor": 2},
    "transpose": [2, 0, 1],
    "spacing_mm": (3.0, 2.5, 2.0),
    "mirroring": False,
    "folds": 2,
    "configuration": {
        "patch_size": [12, 8, 8],
        "spacing": [2.4, 3.4, 2.9],
        "normalization_schemes": ["CTNormalization", "ZScoreNormalization"],
        "use_mask_for_norm": [False, True],
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
            "arch_kwargs": {
                "n_stages": 2,
                "features_per_stage": [4, 8],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
                "strides": [[1, 1, 1], [2, 2, 2]],
                "n_blocks_per_stage": [1, 1],
                "n_conv_per_stage_decoder": [1],
                "conv_bias": True,
                **NORM,
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    },
}
# Plans as before nnU-Net 2.2; regions; slices so thick that nnU-Net resamples them by themselves.
REGIONS = {
    "name": "Dataset502_Regions",
    "labels": {"background": 0, "lesion": [1, 2], "core": 2},
    "transpose": [0, 1, 2],
    "spacing_mm": (8.0, 2.0, 1.9),
    "mirroring": True,
    "folds": 1,
    "configuration": {
        "patch_size": [4, 12, 12],
        "spacing": [6.0, 1.8, 1.8],
        "normalization_schemes": ["NoNormalization", "RescaleTo01Normalization"],
        "use_mask_for_norm": [False, False],
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "n_conv_per_stage_encoder": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "num_pool_per_axis": [0, 1, 1],
        "pool_op_kernel_sizes": [[1, 1, 1], [1, 2, 2]],
        "conv_kernel_sizes": [[1, 3, 3], [3, 3, 3]],
        "unet_max_num_features": 320,
    },
}


def image(case: dict, random: np.random.Generator) -> np.ndarray:
    """CT and PET, axes (channel, z, y, x), with a border of zeros that nnU-Net crops away."""
    shape = (14, 17, 19) if case is RESIDUAL else (7, 20, 22)
    smooth = np.stack([ndimage.gaussian_filter(random.normal(size=shape), 1.2) for _ in range(2)])
    smooth /= smooth.std(axis=(1, 2, 3), keepdims=True)
    scaled = np.stack([np.round(40 + 120 * smooth[0]), np.round(np.maximum(3 + 3 * smooth[1], 0), 1)])
    if case is REGIONS:
        scaled[0] = np.round(scaled[0] / 100, 1)
    inside = np.zeros(shape, bool)
    inside[1:-1, 2:-1, 1:-3] = True
    return np.where(inside, scaled, 0).astype(np.float32)


def write(case: dict) -> None:
    """One trained folder, its image and what nnU-Net makes of it."""
    folder = HERE / case["name"] / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    folder.mkdir(parents=True, exist_ok=True)
    transpose = case["transpose"]
    plans = {
        "dataset_name": case["name"],
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "transpose_forward": transpose,
        "transpose_backward": [transpose.index(axis) for axis in range(3)],
        "configurations": {
            "3d_fullres": {
                "data_identifier": "nnUNetPlans_3d_fullres",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                **case["configuration"],
                **RESAMPLING,
            }
        },
        "foreground_intensity_properties_per_channel": INTENSITIES,
    }
    dataset = {"channel_names": {"0": "CT", "1": "PET"}, "labels": case["labels"], "numTraining": 2,
               "file_ending": ".nii.gz"}  # fmt: skip
    if case is REGIONS:
        dataset["regions_class_order"] = [1, 2]
    (folder / "plans.json").write_text(json.dumps(plans, indent=1))
    (folder / "dataset.json").write_text(json.dumps(dataset, indent=1))
    heads = 2 if case is REGIONS else len(case["labels"])
    for fold in range(case["folds"]):
        torch.manual_seed(fold + 7 * heads)
        architecture = case["configuration"].get("architecture") or old_architecture(plans)
        network = get_network_from_plans(
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            ["conv_op", "norm_op", "dropout_op", "nonlin"],
            2,
            heads,
            deep_supervision=True,
        )
        # Untrained outputs lie near each other; spread, so that the probabilities differ from voxel to voxel.
        for parameter in network.parameters():
            parameter.data = parameter.data + 0.5 * torch.randn_like(parameter) * parameter.abs().mean()
        network.decoder.seg_layers[-1].weight.data *= 4
        logger = LocalLogger()
        logger.log("mean_fg_dice", np.float64(0.5), 0)
        (folder / f"fold_{fold}").mkdir(exist_ok=True)
        checkpoint = {
            "network_weights": network.state_dict(),
            "optimizer_state": torch.optim.SGD(network.parameters(), 1e-2, momentum=0.99).state_dict(),
            "grad_scaler_state": None,
            "logging": logger.get_checkpoint(),
            "_best_ema": np.float64(0.6),
            "current_epoch": 1000,
            "init_args": {"configuration": "3d_fullres", "fold": fold, "device": torch.device("cuda")},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": (0, 1, 2),
        }
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    exact = functools.partial(predict_from_raw_data.compute_gaussian, dtype=torch.float32)
    exact.cache_clear = lambda: None
    predict_from_raw_data.compute_gaussian = exact
    torch.half = torch.float32
    predictor = predict_from_raw_data.nnUNetPredictor(
        use_mirroring=case["mirroring"], device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(folder), tuple(range(case["folds"])), "checkpoint_final.pth")
    channels = image(case, np.random.default_rng(5))
    _, probabilities = predictor.predict_single_npy_array(
        channels, {"spacing": list(case["spacing_mm"])}, None, None, True
    )
    np.savez_compressed(
        HERE / case["name"] / "reference.npz",
        ct=channels[0],
        pet=channels[1],
        spacing_mm=np.array(case["spacing_mm"]),
        probabilities=probabilities.astype(np.float32),
    )


def old_architecture(plans: dict) -> dict:
    """What nnU-Net itself makes of plans before 2.2."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(json.loads(json.dumps(plans))).get_configuration("3d_fullres")
    return manager.configuration["architecture"]


if __name__ == "__main__":
    write(RESIDUAL)
    write(REGIONS)
