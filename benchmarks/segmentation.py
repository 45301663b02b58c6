"""Our segmentation against the plain MONAI way, seconds per study and peak memory, on the same machine in one run.

Plain is what a user writes from MONAI's documentation: whole-study preprocessing by dictionary transforms, then
``SlidingWindowInferer`` with its default settings and the window of the training patch, network after network. The
networks and their weights are the same. Each way runs in a fresh process, so its peak memory is its own. CPU seconds
count the work of all threads; they tell more than the clock on a machine that does other work as well.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "models" / "sts-petct"
WARM_CALLS = int(os.environ.get("WARM_CALLS", "3"))
WAYS = ("plain MONAI", "OncoResponse")

Segment = Callable[[], Any]
"""One study from volumes on disk to a mask array on the PET grid."""


def ours(folder: Path, model: Path, device: str) -> Segment:
    """The product's segmenter, as the service holds it."""
    from oncoresponse.case.volume import read_volume
    from oncoresponse.model.folder import ModelFolder
    from oncoresponse.segmentation.inference import Segmenter
    from oncoresponse.segmentation.input_images import InputImages

    segmenter = Segmenter.open(ModelFolder.open(model), device)

    def call() -> Any:
        images = {role: read_volume(folder / f"{role}.nrrd") for role in ("PT", "CT")}
        found = segmenter.segment(InputImages(images, "PT"))
        return np.array(found.mask.array)

    return call


def plain(folder: Path, model: Path, device: str) -> Segment:
    """MONAI's transforms and its sliding window with default settings."""
    import torch
    from monai.inferers.inferer import SlidingWindowInferer
    from monai.transforms import (
        Compose,
        ConcatItemsd,
        EnsureChannelFirstd,
        LoadImaged,
        Orientationd,
        ResampleToMatch,
        ResampleToMatchd,
        ScaleIntensityRanged,
        Spacingd,
    )
    from oncoresponse.case.volume import read_volume
    from oncoresponse.segmentation.mask_selection import mask_from_probability
    from oncoresponse.segmentation.network import INPUT_CHANNELS, load_networks, read_network_description

    # What MONAI says about optional readers of other formats.
    warnings.filterwarnings("ignore", message=".*nvImageCodec", category=UserWarning)
    logging.getLogger("monai").setLevel(logging.ERROR)
    directory = model / "segmentation"
    description = read_network_description(directory)
    settings, size = description.preprocessing, description.patch_size
    networks = [network.to(device) for network in load_networks(directory, description)]
    labels = (("L", "R"), ("P", "A"), ("I", "S"))
    transforms = Compose(
        [
            LoadImaged(["PT", "CT"], reader="NibabelReader"),
            EnsureChannelFirstd(["PT", "CT"]),
            # Axes (k, j, i) of the product are those of (x, y, z) turned; the networks were trained with mirroring.
            Orientationd(["PT", "CT"], axcodes="LPS", labels=labels),
            Spacingd(["PT"], pixdim=(settings.spacing_mm,) * 3, mode="bilinear"),
            ResampleToMatchd(["CT"], key_dst="PT", mode="bilinear", padding_mode="border"),
            ScaleIntensityRanged(["CT"], settings.ct_low_hu, settings.ct_high_hu, 0.0, 1.0, clip=True),
        ]
    )
    stack, back = ConcatItemsd(["PT", "CT"], "image"), ResampleToMatch(mode="bilinear", padding_mode="zeros")
    inferer = SlidingWindowInferer(roi_size=(size, size, size))

    def call() -> Any:
        data = transforms({"PT": str(folder / "PT.nii.gz"), "CT": str(folder / "CT.nii.gz")})
        data["PT"] = torch.log1p(data["PT"].clamp(min=0))
        # The networks see (k, j, i), MONAI holds (i, j, k).
        inputs = torch.zeros(1, INPUT_CHANNELS, *reversed(data["PT"].shape[1:]))
        inputs[:, :2] = stack(data)["image"].as_tensor().permute(0, 3, 2, 1)  # the other channels hold no prompt
        inputs = inputs.to(device)
        with torch.no_grad():
            mean = torch.stack([torch.sigmoid(inferer(inputs, network)) for network in networks]).mean(dim=0)
        probability = data["PT"].clone()
        probability.set_array(mean[0].permute(0, 3, 2, 1).cpu())
        original = LoadImaged(["PT"], reader="NibabelReader")({"PT": str(folder / "PT.nii.gz")})
        on_pet = back(probability, img_dst=EnsureChannelFirstd(["PT"])(original)["PT"])
        return _mask(on_pet[0].numpy(), read_volume(folder / "PT.nrrd"), description, mask_from_probability)

    return call


def _mask(array: Any, pet: Any, description: Any, threshold: Callable[..., Any]) -> Any:
    """The product's own threshold and largest part, so that both ways end with comparable masks."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.CopyInformation(pet.image)
    return sitk.GetArrayFromImage(threshold(image, description.masks.none.threshold))


def _measure(way: str, device: str, folder: Path, model: Path) -> None:
    begun = time.perf_counter()
    call = (ours if way == "OncoResponse" else plain)(folder, model, device)
    mask = call()
    seconds, cpu_seconds = [time.perf_counter() - begun], []
    for _ in range(WARM_CALLS):
        begun, begun_cpu = time.perf_counter(), time.process_time()
        mask = call()
        seconds.append(time.perf_counter() - begun)
        cpu_seconds.append(time.process_time() - begun_cpu)
    found: dict[str, Any] = {
        "first": seconds[0],
        "warm": statistics.median(seconds[1:]),
        "cpu": statistics.median(cpu_seconds),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if device != "cpu":
        import torch

        found["cuda_peak_mib"] = torch.cuda.max_memory_allocated() / 1024**2
    np.save(folder / f"{way}-{device}.npy", mask)
    (folder / f"{way}-{device}.json").write_text(json.dumps(found))


def _in_a_fresh_process(function: Callable[..., None], *arguments: object) -> None:
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode != 0:
        sys.exit(f"The benchmark of {arguments[0]} failed.")


def _convert(folder: Path, study_directory: Path) -> None:
    import SimpleITK as sitk
    from oncoresponse.case.volume import write_volume
    from oncoresponse.dicom.study import convert_study, read_study
    from oncoresponse.model.definition import ImageInput

    for modality, volume in convert_study(read_study(study_directory), ImageInput.any_of("PT", "CT")).volumes.items():
        write_volume(volume, folder / f"{modality}.nrrd")
        sitk.WriteImage(volume.image, folder / f"{modality}.nii.gz")


def _devices(folder: Path) -> None:
    import torch

    found = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    names = {"cpu": f"CPU, {torch.get_num_threads()} threads"}
    if "cuda" in found:
        names["cuda"] = torch.cuda.get_device_name(0)
    (folder / "devices.json").write_text(json.dumps(names))


def main(study_directory: Path, model: Path) -> None:
    """Print one row for each way and device, then what the difference is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _in_a_fresh_process(_convert, folder, study_directory)
        _in_a_fresh_process(_devices, folder)
        devices = json.loads((folder / "devices.json").read_text())
        print(f"Segmentation of {study_directory.name}, first call and median of {WARM_CALLS} warm calls")
        print(
            f"{'way':<14}{'device':<8}{'first, s':>10}{'warm, s':>10}{'CPU, s':>10}{'peak, MiB':>11}{'CUDA, MiB':>11}"
        )
        for device, title in devices.items():
            results = {}
            for way in WAYS:
                _in_a_fresh_process(_measure, way, device, folder, model)
                found = results[way] = json.loads((folder / f"{way}-{device}.json").read_text())
                cuda = f"{found['cuda_peak_mib']:.0f}" if "cuda_peak_mib" in found else "-"
                row = f"{way:<14}{device:<8}{found['first']:>10.2f}{found['warm']:>10.2f}{found['cpu']:>10.2f}"
                print(f"{row}{found['peak_mib']:>11.0f}{cuda:>11}", flush=True)
            masks = [np.load(folder / f"{way}-{device}.npy").astype(bool) for way in WAYS]
            dice = 2 * (masks[0] & masks[1]).sum() / max(masks[0].sum() + masks[1].sum(), 1)
            before, after = (results[way] for way in WAYS)
            seconds, cpu, memory = (before[key] / after[key] for key in ("warm", "cpu", "peak_mib"))
            print(
                f"{title}: plain MONAI takes {seconds:.2f} times our seconds, {cpu:.2f} times our CPU seconds and "
                f"{memory:.2f} times our memory; the masks agree with Dice {dice:.3f}"
            )


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:]]
    main(*(arguments + [ROOT / "examples" / "STS_019", MODEL][len(arguments) :]))
