"""Seconds and peak memory of each stage on a sample study: ``make bench``.

Each stage runs in a fresh process that has only that stage's libraries loaded, so its peak memory is its own. The first
call (with imports, weights, caches) and the median of the warm calls after it are both told.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "models" / "sts-petct"
WARM_CALLS = int(os.environ.get("WARM_CALLS", "5"))


def conversion(folder: Path, study_directory: Path) -> Callable[[], None]:
    """DICOM files to volumes on disk."""
    from oncoresponse.case.volume import write_volume
    from oncoresponse.dicom.study import convert_study, read_study
    from oncoresponse.model.folder import ModelFolder

    inputs = ModelFolder.open(MODEL).imaging.inputs

    def call() -> None:
        converted = convert_study(read_study(study_directory), inputs)
        for modality, volume in converted.volumes.items():
            write_volume(volume, folder / f"{modality}.nrrd")
        (folder / "description.json").write_text(converted.description.model_dump_json())

    return call


def segmentation(folder: Path, _study_directory: Path) -> Callable[[], None]:
    """Volumes to mask."""
    from oncoresponse.case.volume import read_volume, write_volume
    from oncoresponse.model.folder import ModelFolder
    from oncoresponse.segmentation.inference import Segmenter
    from oncoresponse.segmentation.input_images import InputImages

    segmenter = Segmenter.open(ModelFolder.open(MODEL))

    def call() -> None:
        images = {role: read_volume(folder / f"{role}.nrrd") for role in ("PT", "CT")}
        found = segmenter.segment(InputImages(images, "PT"))
        write_volume(found.mask, folder / "mask.nrrd")
        (folder / "segmentation.json").write_text(found.summary.model_dump_json())

    return call


def features(folder: Path, _study_directory: Path) -> Callable[[], None]:
    """Mask to features and measures."""
    from oncoradiomics.extraction import describe_lesion
    from oncoradiomics.image_files import read_image
    from oncoradiomics.quantities import SUV_BODY_WEIGHT
    from oncoradiomics.settings import Settings

    settings = Settings.from_yaml(MODEL / "radiomics" / "settings.yaml")

    def call() -> None:
        pet, mask = read_image(folder / "PT.nrrd"), read_image(folder / "mask.nrrd")
        document = describe_lesion(pet, mask, settings, SUV_BODY_WEIGHT)
        (folder / "features.json").write_text(document.model_dump_json())

    return call


def prediction(folder: Path, _study_directory: Path) -> Callable[[], None]:
    """Features to prediction."""
    from oncoradiomics.features import FeatureDocument
    from oncoresponse.model.folder import ModelFolder
    from oncoresponse.response.measures_only import open_response_model

    model = open_response_model(ModelFolder.open(MODEL))

    def call() -> None:
        document = FeatureDocument.model_validate_json((folder / "features.json").read_bytes())
        (folder / "prediction.json").write_text(model.predict(document.values()).model_dump_json())

    return call


def report(folder: Path, study_directory: Path) -> Callable[[], None]:
    """Everything to FHIR, PDF, PNG and DICOM SEG."""
    import oncoresponse
    from oncoradiomics.features import FeatureDocument
    from oncoresponse.case.contour_summary import SegmentationSummary
    from oncoresponse.case.prediction import Prediction
    from oncoresponse.case.study_description import StudyDescription
    from oncoresponse.case.volume import read_volume
    from oncoresponse.dicom.study import read_study
    from oncoresponse.model.folder import ModelFolder
    from oncoresponse.reporting.compose import compose_report
    from oncoresponse.reporting.lesion_map import lesion_map
    from oncoresponse.reporting.report_content import ReportContext, ReportedLesion

    model = ModelFolder.open(MODEL)
    description = StudyDescription.model_validate_json((folder / "description.json").read_bytes())
    context = ReportContext(
        assessment_id="benchmark",
        issued=datetime(2026, 1, 1, tzinfo=UTC),
        model=model.imaging,
        model_sha256=model.sha256,
        study=description,
        lesions=(
            ReportedLesion(
                number=1,
                label="",
                features=FeatureDocument.model_validate_json((folder / "features.json").read_bytes()),
                segmentation=SegmentationSummary.model_validate_json((folder / "segmentation.json").read_bytes()),
            ),
        ),
        prediction=Prediction.model_validate_json((folder / "prediction.json").read_bytes()),
        software_version=oncoresponse.__version__,
    )
    pet_uids = next(series.sop_instance_uids for series in description.series if series.modality == "PT")
    instances = {item.sop_instance_uid: item.dataset for item in read_study(study_directory).instances}
    images = {role: read_volume(folder / f"{role}.nrrd") for role in model.imaging.show}
    lesions = lesion_map([read_volume(folder / "mask.nrrd")])

    def call() -> None:
        compose_report(context, images, lesions, [instances[uid] for uid in pet_uids])

    return call


STAGES = (conversion, segmentation, features, prediction, report)


def _measure(number: int, folder: Path, study_directory: Path) -> None:
    start = time.perf_counter()
    call = STAGES[number](folder, study_directory)
    call()
    seconds = [time.perf_counter() - start]
    for _ in range(WARM_CALLS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (folder / f"{number}.json").write_text(json.dumps({"seconds": seconds, "peak_mib": peak}))


def main() -> None:
    """Print one row a stage."""
    study_directory = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "examples" / "STS_019"
    print(f"{study_directory.name}, {os.cpu_count()} CPU cores, first call and median of {WARM_CALLS} warm calls")
    print(f"{'stage':<14}{'first, s':>10}{'warm, s':>10}{'peak, MiB':>11}")
    totals = [0.0, 0.0]
    with tempfile.TemporaryDirectory() as name:
        for number, stage in enumerate(STAGES):
            process = multiprocessing.get_context("spawn").Process(
                target=_measure, args=(number, Path(name), study_directory)
            )
            process.start()
            process.join()
            if process.exitcode != 0:
                sys.exit(f"stage {stage.__name__} failed")
            found = json.loads((Path(name) / f"{number}.json").read_text())
            first, warm = found["seconds"][0], statistics.median(found["seconds"][1:])
            totals[0] += first
            totals[1] += warm
            print(f"{stage.__name__:<14}{first:>10.2f}{warm:>10.2f}{found['peak_mib']:>11.0f}", flush=True)
    print(f"{'all':<14}{totals[0]:>10.2f}{totals[1]:>10.2f}")


if __name__ == "__main__":
    main()
