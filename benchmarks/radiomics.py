"""The native engine against pyradiomics and whatever other engines are installed: ``make bench-radiomics``.

Each case runs in a fresh process on one thread: the first call with its imports, then both engines by turns, so that
both see the same machine; times are processor seconds, and the ratio is the median over the pairs. Peak memory is that
of a process in which one engine ran alone, above the process with the images loaded. Parity counts the features within
1e-6 of pyradiomics.

``python -m benchmarks.radiomics [COHORT [DICOM_STUDIES]]``: COHORT has patient folders with CT and PET as NIfTI and
masks, DICOM_STUDIES has STS_008 and STS_032 with MR_T1. Without them the sample studies are measured, with hot voxels
as lesion.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

ROOT = Path(__file__).resolve().parents[1]
IMAGE_TYPES = {"Original": {}, "LoG": {"sigma": [1.0, 3.0, 5.0]}, "Wavelet": {"wavelet": "coif1"}}
PAIRS = 3
RELATIVE, ABSOLUTE = 1e-6, 1e-7
MIB = 1024
MEMORY_LIMIT = 6 * 1024**3
Case = tuple[str, str, float]
"""Name, where it comes from, bin width."""


def cases(arguments: list[str]) -> list[Case]:
    """Up to six real cases."""
    if not arguments:
        return [
            (f"{study} {modality}", "sample", width)
            for study in ("STS_019", "STS_032")
            for modality, width in (("CT", 25.0), ("PET", 0.25))
        ]
    found = [("STS_001 CT", arguments[0], 25.0), ("STS_004 CT", arguments[0], 25.0)]
    found += [("STS_001 PET", arguments[0], 0.25), ("STS_013 PET", arguments[0], 0.25)]
    if len(arguments) > 1:
        found += [("STS_008 MR_T1", arguments[1], 5.0), ("STS_032 MR_T1", arguments[1], 5.0)]
    return found


def load(case: Case) -> tuple[sitk.Image, sitk.Image]:
    """Image and mask of a case."""
    name, source, _ = case
    study, modality = name.split(" ")
    if source == "sample":
        return _sample(study, modality)
    folder = Path(source) / study
    if modality.startswith("MR"):
        return _magnetic_resonance(folder / modality)
    image = sitk.ReadImage(str(folder / f"{modality}.nii.gz"))
    return image, sitk.ReadImage(str(folder / f"{modality}_tumor.nii.gz"))


def _sample(study: str, modality: str) -> tuple[sitk.Image, sitk.Image]:
    series = sitk.ImageSeriesReader.GetGDCMSeriesFileNames
    folder = ROOT / "examples" / study
    pet = sitk.ReadImage(series(str(folder / "PET")), sitk.sitkFloat32)
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(pet > 3.0), sortByObjectSize=True)
    mask = sitk.Cast(parts == 1, sitk.sitkUInt8)
    if modality == "PET":
        return pet, mask
    image = sitk.ReadImage(series(str(folder / "CT")), sitk.sitkInt16)
    return image, sitk.Resample(mask, image, sitk.Transform(), sitk.sitkNearestNeighbor)


def _magnetic_resonance(folder: Path) -> tuple[sitk.Image, sitk.Image]:
    from oncoresponse.dicom.reading import read_instance
    from oncoresponse.dicom.rtstruct import choose_region, rasterize

    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder / "image"))
    image = sitk.ReadImage(files, sitk.sitkFloat32)
    region = choose_region(read_instance(next((folder / "mask").glob("*.dcm"))))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    mask = sitk.GetImageFromArray(rasterize(region, affine, image.GetSize(), region.frame_of_reference_uid))
    mask.CopyInformation(image)
    return image, mask


def settings_of(case: Case) -> Any:
    """The usual settings: 1130 features."""
    from oncoradiomics.settings import Settings

    return Settings.from_mapping({"imageType": IMAGE_TYPES, "setting": {"binWidth": case[2]}})


def _one_thread() -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def compare(case: Case) -> dict[str, Any]:
    """First call, pairs and parity of one case."""
    _one_thread()
    image, mask = load(case)
    # Processor seconds of this one thread: those of the clock on a machine that has nothing else to do.
    start = time.process_time()
    from oncoradiomics.extraction import extract

    what = settings_of(case)
    found = extract(image, mask, what)
    first = time.process_time() - start
    expected = extract(image, mask, what, "pyradiomics")
    pairs = []
    for _ in range(PAIRS):
        times = []
        for engine in ("pyradiomics", "native"):
            start = time.process_time()
            extract(image, mask, what, engine)  # type: ignore[arg-type]
            times.append(time.process_time() - start)
        pairs.append(times)
    return {
        "voxels": int(sitk.GetArrayViewFromImage(mask).astype(bool).sum()),
        "first": first,
        "pairs": pairs,
        "features": len(expected),
        "equal": sum(
            math.isclose(found.get(name, math.nan), value, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
            for name, value in expected.items()
        ),
        "largest": max(
            abs(found[name] - value) / abs(value) for name, value in expected.items() if abs(value) > ABSOLUTE
        ),
    }


def memory(case: Case, engine: str) -> float:
    """Peak memory in MiB of one engine above that of a process that holds the images and the imports."""
    _one_thread()
    from oncoradiomics.extraction import extract
    from oncoradiomics.extraction_processes import warm_up

    image, mask = load(case)
    warm_up()
    import radiomics.featureextractor  # noqa: F401

    # Linux: forget the peak so far, which a new process even inherits from its parent.
    Path("/proc/self/clear_refs").write_text("5")
    before = _kilobytes("VmRSS")
    extract(image, mask, settings_of(case), engine)  # type: ignore[arg-type]
    return (_kilobytes("VmHWM") - before) / MIB


def _kilobytes(entry: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{entry}:"))


def in_parallel(case: Case) -> tuple[float, float]:
    """Seconds of one lesion, and of four lesions on two cores, in threads of one process."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    from oncoradiomics.extraction import extract

    image, mask = load(case)
    what = settings_of(case)
    extract(image, mask, what)
    singles, fours = [], []
    for _ in range(PAIRS):
        start = time.perf_counter()
        extract(image, mask, what)
        singles.append(time.perf_counter() - start)
        start = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: extract(image, mask, what), range(4)))
        fours.append(time.perf_counter() - start)
    return statistics.median(singles), statistics.median(fours)


def cohort_seconds(folder: str) -> tuple[int, float, float]:
    """Patients, wall seconds and processor seconds of CT and PET of a whole cohort on two processes."""
    from oncoradiomics.cohort import cohort_patients, extract_cohort
    from oncoradiomics.quantities import HOUNSFIELD, SUV_BODY_WEIGHT

    earlier = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    for modality, width, quantity in (("CT", 25.0, HOUNSFIELD), ("PET", 0.25, SUV_BODY_WEIGHT)):
        image, mask = f"{modality}.nii.gz", f"{modality}_tumor.nii.gz"
        patients = cohort_patients(Path(folder), image, mask, ())
        what = settings_of(("", "", width))
        done = asyncio.run(
            extract_cohort(
                Path(folder),
                patients,
                image,
                mask,
                what,
                quantity,
                processes=2,
                on_patient_done=lambda _: None,
            )
        )
        for patient, error in done.errors.items():
            print(f"{patient} {modality}: {error.message}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = used.ru_utime + used.ru_stime - earlier.ru_utime - earlier.ru_stime
    return len(patients), time.perf_counter() - start, processor


def _flash(image: sitk.Image, mask: sitk.Image, width: float, folder: Path) -> dict[str, float]:
    from flash_radiomics.featureextractor import RadiomicsFeatureExtractor

    extractor = RadiomicsFeatureExtractor(binWidth=width, additionalInfo=False)
    extractor.disableAllImageTypes()
    extractor.enableImageTypes(Original={})
    extractor.enableAllFeatures()
    found = extractor.execute(image, mask, output_hdf5_path=str(folder / "features.h5"))
    return {name: float(value) for name, value in dict(found).items() if name.startswith("original_")}


def _fastrad(image: sitk.Image, mask: sitk.Image, width: float, _folder: Path) -> dict[str, float]:
    import torch
    from fastrad import FeatureExtractor, FeatureSettings, Mask, MedicalImage

    torch.set_num_threads(1)
    spacing = image.GetSpacing()[::-1]
    classes = ["firstorder", "shape", "glcm", "glrlm", "glszm", "gldm", "ngtdm"]
    extractor = FeatureExtractor(FeatureSettings(classes, width, "cpu", spacing))
    tensors = [torch.from_numpy(sitk.GetArrayFromImage(each).astype(np.float32)) for each in (image, mask)]
    found = extractor.extract(MedicalImage(tensors[0], spacing), Mask(tensors[1], spacing))
    return {f"original_{name}": float(value) for name, value in found.items()}


def _nyxus(image: sitk.Image, mask: sitk.Image, _width: float, folder: Path) -> dict[str, float]:
    from nyxus import Nyxus3D

    paths = [str(folder / f"{name}.nii.gz") for name in ("image", "mask")]
    for each, path in zip((image, mask), paths, strict=True):
        sitk.WriteImage(each, path)
    features = ["*3D_ALL*"]
    Nyxus3D(features, n_feature_calc_threads=1).featurize_files([paths[0]], [paths[1]], False)
    return {}


def _mirp(image: sitk.Image, mask: sitk.Image, width: float, folder: Path) -> dict[str, float]:
    from mirp import extract_features

    paths = [str(folder / f"{name}.nii.gz") for name in ("image", "mask")]
    for each, path in zip((image, mask), paths, strict=True):
        sitk.WriteImage(each, path)
    extract_features(
        image=paths[0],
        mask=paths[1],
        image_modality="pt" if image.GetPixelID() == sitk.sitkFloat32 else "ct",
        base_discretisation_method="fixed_bin_size",
        base_discretisation_bin_width=width,
        resegmentation_intensity_range=[float(sitk.GetArrayViewFromImage(image).min()), math.nan],
    )
    return {}


OTHERS: dict[str, tuple[str, Callable[[sitk.Image, sitk.Image, float, Path], dict[str, float]]]] = {
    "flash-radiomics": ("flash_radiomics", _flash),
    "fastrad": ("fastrad", _fastrad),
    "nyxus": ("nyxus", _nyxus),
    "mirp": ("mirp", _mirp),
}


def other_engine(case: Case, name: str) -> str:
    """Seconds of another engine and of the native one on the original image, as a table cell."""
    _one_thread()
    from oncoradiomics.extraction import extract
    from oncoradiomics.settings import Settings

    # Some engines take ten times the memory of the image and more, which must not stop everything else.
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    image, mask = load(case)
    what = Settings.from_mapping({"setting": {"binWidth": case[2]}})
    expected = extract(image, mask, what)
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            start = time.process_time()
            found = OTHERS[name][1](image, mask, case[2], Path(folder))
            middle = time.process_time()
            extract(image, mask, what)
            pairs.append((middle - start, time.process_time() - middle))
    # The first pair warms both up.
    other, own = pairs[-1]
    theirs = {_spelled_alike(key): value for key, value in found.items()}
    equal = sum(
        math.isclose(theirs.get(_spelled_alike(key), math.nan), value, rel_tol=RELATIVE)
        for key, value in expected.items()
    )
    parity = f"{equal} of {len(expected)}" if found else "own names"
    return f"{other:.2f} s | {other / own:.0f} | {parity}"


def _spelled_alike(name: str) -> str:
    return name.lower().replace("_", "").replace(":", "")


def _call(function: Callable[..., Any], *arguments: Any, seconds: float = 1200.0) -> Any:
    """The result of a function in a fresh process; an error becomes its name."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments).result(seconds)
        except TimeoutError:
            return f"longer than {seconds:.0f} s | |"
        except Exception as error:  # noqa: BLE001, RUF100
            return f"{type(error).__name__}: {str(error)[:60]} | |"


def main() -> None:
    """Measure and print tables as Markdown."""
    chosen = cases(sys.argv[1:])
    print(
        "| case | voxels | pyradiomics s | native s | ratio | first call s "
        "| MiB pyradiomics, native | parity | largest difference |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for case in chosen:
        found = _call(compare, case)
        if isinstance(found, str):
            print(f"| {case[0]} | {found}", flush=True)
            continue
        peaks = [_call(memory, case, engine) for engine in ("pyradiomics", "native")]
        reference, native = (statistics.median(column) for column in zip(*found["pairs"], strict=True))
        ratio = statistics.median(slow / fast for slow, fast in found["pairs"])
        print(
            f"| {case[0]} | {found['voxels']} | {reference:.2f} | {native:.3f} | {ratio:.1f} | {found['first']:.2f} "
            f"| {peaks[0]:.0f}, {peaks[1]:.0f} | {found['equal']} of {found['features']} | {found['largest']:.1e} |",
            flush=True,
        )
    print("\n| other engine, original image | case | seconds | times native | parity |\n|---|---|---|---|---|")
    for name, (module, _) in OTHERS.items():
        if importlib.util.find_spec(module) is None:
            print(f"| {name} | not installed | | | |")
            continue
        for case in chosen:
            print(f"| {name} | {case[0]} | {_call(other_engine, case, name)} |", flush=True)
    single, four = _call(in_parallel, chosen[0])
    print(f"\nFour lesions ({chosen[0][0]}) in threads on two cores: {four / 2 / single:.2f} times one for each pair")
    if len(sys.argv) > 1:
        patients, wall, processor = cohort_seconds(sys.argv[1])
        print(f"CT and PET of {patients} patients on two processes: {wall:.0f} s, {processor:.0f} s of processor time")


if __name__ == "__main__":
    main()
