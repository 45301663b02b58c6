"""Every command line in the README and in docs/ is run here, as a newcomer would type it.

What a newcomer cannot type literally is replaced: DATA by a small synthetic cohort, addresses by those of servers that
the test started. Training gets settings that make it short. Each documented line has to have its run below.
"""

import hashlib
import json
import re
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pypdf
import pytest
import SimpleITK as sitk
import torch
import yaml
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import study_pb2

from tests.acceptance.documented import ROOT, commands_of, run

PATIENTS, FEW = 24, 4

SHORT_SEGMENTATION = {
    "folds": 2,
    "iterations": 2,
    "warmup_iterations": 1,
    "patch_size": 16,
    "batch_size": 1,
    "threads": 1,
    "checkpoint_every": 1,
    "validate_every": 2,
    "held_out_patients": [],
    "network": {"blocks_down": [1, 1], "deep_supervision_levels": 1},
}
SHORT_VALIDATION = {
    "folds": 3,
    "repeats": 2,
    "inner_repeats": 1,
    "permutations": 2,
    "permutation_repeats": 1,
    "bootstrap_samples": 100,
    "simulated_cohorts": 0,
}


RUN = {
    "the newcomer": ("make demo",),
    "the test itself": ("make test",),
    "one machine": (
        "oncoresponse serve --listen 127.0.0.1:50051 --allow-anonymous",
        "oncoresponse serve --data-dir /srv/oncoresponse --models-dir /opt/oncoresponse/models",
        "python examples/client.py examples/STS_019 127.0.0.1:50051",
        "oncoresponse assess examples/STS_019 --model sts-petct --out result",
        "oncoresponse assess examples/STS_019 --model sts-petct --out result --contour",
        "oncoresponse models show sts-petct",
        "oncoresponse doctor",
        "node examples/node/client.mjs examples/STS_019 127.0.0.1:50051",
    ),
    "stubs": (
        "python -m grpc_tools.protoc -I protos -I third_party/protovalidate -I third_party/googleapis "
        "--python_out=stubs --grpc_python_out=stubs protos/oncoresponse/v1/*.proto buf/validate/validate.proto",
    ),
    "test_separate_processes.py": (
        "oncoresponse recover worker-1 --database-url postgresql://oncoresponse@db/oncoresponse",
    ),
    "training": (
        "oncoradiomics cohort DATA --image PET.nii.gz --mask PET_tumor.nii.gz "
        "--quantity g/mL{SUVbw} --settings models/sts-petct/radiomics/settings.yaml --output features.csv",
        "oncoresponse train segmentation --data DATA --model models/sts-petct --run runs/segmentation",
        "oncoresponse train response --features features.csv --clinical DATA/clinical.csv --model models/sts-petct",
        "oncoresponse evaluate --model sts-petct",
        "oncoresponse train segmentation --data DATA --model models/sts-petct --run runs/segmentation "
        "--config models/sts-petct/segmentation/training.yaml --docs docs",
    ),
    "training for the documentation": (
        "oncoradiomics cohort DATA --image PET.nii.gz --mask PET_tumor.nii.gz "
        "--quantity g/mL{SUVbw} --settings models/sts-petct/radiomics/settings.yaml --output runs/cohort-features.csv",
        "oncoresponse train response --features runs/cohort-features.csv --clinical DATA/clinical.csv "
        "--model models/sts-petct --fingerprint-images DATA --docs docs",
        "oncoresponse train response --cohort ispy2.csv --model models/breast-nac --run runs/breast-nac --docs docs",
    ),
    "a hospital's physicist": (
        "oncoresponse train new-model models/lung-petct",
        "oncoresponse train response --cohort cohort.csv --task models/lung-petct/response/task.yaml "
        "--model models/lung-petct --run runs/lung-petct",
        "oncoresponse train response --cohort STUDIES --clinical clinical.csv "
        "--task models/lung-petct/response/task.yaml --model models/lung-petct --run runs/lung-petct",
        "oncoresponse evaluate --model lung-petct",
        "oncoresponse models show lung-petct",
        "oncoresponse train model-card --model models/lung-petct",
        "oncoresponse train response --dry-run --cohort cohort.csv --model models/lung-petct",
        "oncoresponse train response --quick --cohort cohort.csv --model models/lung-petct --run runs/lung-petct",
    ),
    "a hospital's NIfTI images": (
        "oncoresponse train segmentation --dry-run --data IMAGES --model models/lung-petct",
        "oncoradiomics cohort IMAGES --image PET.nii.gz --mask PET_tumor.nii.gz --quantity g/mL{SUVbw} "
        "--settings models/lung-petct/radiomics/settings.yaml --output image-features.csv",
        "oncoresponse train response --features image-features.csv --clinical image-clinical.csv "
        "--model models/lung-petct --run runs/lung-petct",
    ),
    "a contour on MR": (
        "oncoresponse measure-contour STUDY --modality MR",
        "oncoresponse assess examples/BREAST_DCE --model breast-nac --contour --covariate age_years=47 "
        "--covariate hormone_receptor_positive=1 --covariate her2_positive=0 --covariate mammaprint_high=1 "
        "--out result",
    ),
    "monitoring": (
        "oncoresponse predict --model breast-nac --table inputs.csv --out predictions.csv",
        "oncoresponse record-outcome assessments/ID favorable --server 127.0.0.1:50051 --follow-up-months 30 "
        "--group histology=liposarcoma",
        "oncoresponse monitor --model sts-petct --server 127.0.0.1:50051 --out monitoring",
        "oncoresponse monitor --model sts-petct --data-dir /srv/oncoresponse --out monitoring --since 2026-01",
    ),
    "follow-up": ("oncoresponse forecast --table visits.csv --out forecast.csv",),
    "bring your own network": (
        "oncoresponse models seal models/my-model",
        "oncoresponse assess examples/STS_019 --model my-model --out result",
    ),
    "robustness": (
        "oncoradiomics precompile",
        "oncoradiomics robustness DATA --image PET.nii.gz --mask PET_tumor.nii.gz "
        "--quantity g/mL{SUVbw} --settings models/sts-petct/radiomics/settings.yaml --output robustness.csv",
    ),
    "backup": (
        "oncoresponse backup-key --identity backup.identity --recipient backup.recipient",
        "oncoresponse backup --to /backup/oncoresponse.age --recipient backup.recipient --data-dir /srv/oncoresponse",
        "oncoresponse restore /backup/oncoresponse.age --identity backup.identity --data-dir /srv/restored "
        "--erasures erasures.jsonl",
        "oncoresponse restore --check /backup/oncoresponse.age --identity backup.identity",
    ),
    "benchmark": ("make bench",),
    "scaling": ("make bench-scale SCALE=--simulate-only",),
}


def test_every_documented_command_has_its_run():
    """Those of two pages have tests of their own, test_documented_security.py and test_release.py."""
    own = ("security.md", "release.md")
    pages = (page for page in (ROOT / "docs").glob("*.md") if page.name not in own)
    documented = {command for page in (ROOT / "README.md", *pages) for command in commands_of(page)}
    assert documented == {command for commands in RUN.values() for command in commands}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder that looks like the repository to a command, without being it."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "models", folder / "models")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


@pytest.mark.xdist_group("demo")
def test_demo():
    (newcomer,) = RUN["the newcomer"]
    shutil.rmtree(ROOT / "demo-output", ignore_errors=True)
    printed = run(newcomer, ROOT)
    for word in ("Research use only", "Tumor volume", "SUVmax", "no recurrence or metastasis", "demo-output"):
        assert word in printed
    names = {path.name for path in (ROOT / "demo-output").iterdir()}
    assert {
        "report.json",
        "report.pdf",
        "report.fhir-r5.json",
        "patient-page.html",
        "key-image.png",
        "segmentation.dcm",
        "structured-report.dcm",
        "encapsulated-report.dcm",
        "key-image.dcm",
        "lesion-surface.dcm",
        "surfaces.glb",
        "features.json",
        "timings.json",
    } <= names


@pytest.fixture(scope="module")
def machine(serve_for_module, tmp_path_factory):
    """A server with the shipped models, as the first page starts it: its address and its data folder."""
    data = tmp_path_factory.mktemp("machine") / "data"
    return serve_for_module("--listen", "127.0.0.1:0", "--data-dir", str(data)).wait_until_ready(), data


@pytest.mark.xdist_group("one machine")
def test_one_machine(checkout, machine):
    """A server that a command starts for itself is in the demo, and where a network is brought along."""
    serve_here, _, example, assess, assess_contour, show, doctor, _ = RUN["one machine"]
    assert "--listen" in serve_here
    address, _ = machine
    printed = run(example, checkout, replaced={"127.0.0.1:50051": address})
    assert "100%" in printed
    assert (checkout / "report.json").stat().st_size > 10_000
    assert "Tumor volume" in run(assess, checkout, "--server", address)
    assert "definition differs" in run(RUN["a contour on MR"][1], checkout, "--server", address)
    assert "RTSTRUCT" in run(assess_contour, checkout, "--server", address)
    assert "Not for clinical decisions" in " ".join(run(show, checkout).split())  # wherever the line is wrapped
    assert "WRONG" not in run(doctor, checkout, "--data-dir", str(checkout))


@pytest.mark.xdist_group("one machine")
def test_backup(checkout, machine):
    """Of the server that runs; what is longer stands in tests/integration/test_backup.py."""
    make_key, back_up, restore, check = RUN["backup"]
    folder = checkout / "backups"
    folder.mkdir()
    here = {
        "/backup/oncoresponse.age": str(folder / "oncoresponse.age"),
        "/srv/oncoresponse": str(machine[1]),
        "/srv/restored": str(folder / "restored"),
        "erasures.jsonl": str(machine[1] / "erasures.jsonl"),
    }
    assert "safe place" in run(make_key, checkout, replaced=here)
    assert "MB, as of" in run(back_up, checkout, replaced=here)
    assert "Whole." in run(check, checkout, replaced=here)
    assert "Restored into" in run(restore, checkout, replaced=here)
    assert (folder / "restored" / "studies" / "studies.sqlite").is_file()


@pytest.mark.xdist_group("one machine")
def test_a_client_in_another_language(checkout, machine, require_installed):
    """With the protos of the repository alone: a report, and the reason code where there is none."""
    require_installed("(npm: make node-example)", str(ROOT / "examples/node/node_modules/@grpc/grpc-js/package.json"))
    address, _ = machine
    command = RUN["one machine"][-1].replace("examples/", f"{ROOT}/examples/")
    (checkout / "report.json").unlink(missing_ok=True)
    assert "100%" in run(command, checkout, replaced={"127.0.0.1:50051": address})
    kinds = [entry["resource"]["resourceType"] for entry in json.loads((checkout / "report.json").read_text())["entry"]]
    assert "DiagnosticReport" in kinds
    with pytest.raises(AssertionError, match="REQUIRED_SERIES_MISSING: The study has no CT series"):
        run(command.replace("STS_019", "STS_019/PET"), checkout, replaced={"127.0.0.1:50051": address})


def test_protos_compile_with_protoc_alone(tmp_path):
    (compile_protos,) = RUN["stubs"]
    for name in ("protos", "third_party"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "stubs").mkdir()
    run(compile_protos, tmp_path)
    made = {str(path.relative_to(tmp_path / "stubs")) for path in (tmp_path / "stubs").rglob("*.py")}
    for path in (ROOT / "protos" / "oncoresponse" / "v1").glob("*.proto"):
        assert f"oncoresponse/v1/{path.stem}_pb2_grpc.py" in made
    assert "buf/validate/validate_pb2.py" in made


@pytest.fixture(scope="module")
def few(cohort):
    """The first patients alone."""
    for number in range(FEW):
        shutil.copytree(cohort / f"P{number:02d}", cohort.parent / "few" / f"P{number:02d}")
    return cohort.parent / "few"


@pytest.fixture(scope="module")
def cohort(checkout):
    """Spheres with a noisy background; large ones recur."""
    data = checkout / "cohort"
    random = np.random.default_rng(7)
    rows = ["patient_id,first_failure"]
    for number in range(PATIENTS):
        radius = 12.0 + 12.0 * random.random()
        grid = np.indices((24, 24, 24)) - 11.5
        inside = np.sqrt((grid**2).sum(axis=0)) * 4.0 <= radius
        folder = data / f"P{number:02d}"
        folder.mkdir(parents=True)
        uptake = np.where(inside, 4.0 + 0.2 * radius, 1.0) * random.uniform(0.8, 1.2, inside.shape)
        density = np.where(inside, 40.0, 0.0) + random.normal(0, 5, inside.shape)
        for name, array in (
            ("PET", uptake.astype(np.float32)),
            ("CT", density.astype(np.int16)),
            ("PET_tumor", inside.astype(np.uint8)),
        ):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((4.0, 4.0, 4.0))
            sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
        recurs = radius + random.normal(0, 3) > 18.0
        rows.append(f"P{number:02d},{'Mets - lungs' if recurs else ''}")
    (data / "clinical.csv").write_text("\n".join(rows) + "\n")
    return data


def shorten_task(path: Path) -> None:
    """Training in seconds instead of minutes, on the patients of this test."""
    task = yaml.safe_load(path.read_text())
    task |= {"held_out_patients": [], "audit_groups": task["audit_groups"][-1:], "validation": SHORT_VALIDATION}
    task.pop("follow_up", None)
    task["uncertainty"]["ensemble_members"] = 10
    task["booster"]["rounds"] = task["booster"]["rounds"][:1]
    path.write_text(yaml.safe_dump(task))


def write_breast_table(path: Path) -> None:
    random = np.random.default_rng(5)
    rows = [
        "patient_id,age_years,race,hormone_receptor_positive,her2_positive,mammaprint_high,tumor_volume_ml,"
        "tumor_slice_extent_mm,slice_spacing_mm,pathologic_complete_response"
    ]
    for number in range(200):
        hormone, her2, mammaprint = random.integers(0, 2, 3)
        age = "" if number < 2 else f"{random.uniform(30, 70):.0f}"
        volume, extent = random.uniform(2, 80), random.uniform(20, 90)
        responds = int(random.random() < 1 / (1 + np.exp(1.5 * hormone - her2 + 0.02 * volume)))
        cells = (age, "White", hormone, her2, mammaprint, f"{volume:.3f}", f"{extent:.1f}", 2.0, responds)
        rows.append(",".join(map(str, (f"B{number:03d}", *cells))))
    path.write_text("\n".join(rows) + "\n")


def test_training(checkout, cohort, few):
    measure, train_segmentation, train_response, evaluate, train_again = RUN["training"]
    here = {"DATA": str(few)}
    (checkout / "short.yaml").write_text(yaml.safe_dump(SHORT_SEGMENTATION))
    assert "sealed" in run(train_segmentation, checkout, "--config", "short.yaml", replaced=here)
    here |= {"models/sts-petct/segmentation/training.yaml": "short.yaml"}
    shutil.copytree(ROOT / "docs", checkout / "docs")
    assert "sealed" in run(train_again, checkout, replaced=here)  # the run is complete, so it only evaluates
    assert f"{FEW} patients, 2 folds" in (checkout / "docs" / "segmentation.md").read_text()
    shorten_task(checkout / "models" / "sts-petct" / "response" / "task.yaml")
    here = {"DATA": str(cohort), "DATA/clinical.csv": str(cohort / "clinical.csv")}
    run(measure, checkout, replaced=here)
    assert "sealed" in run(train_response, checkout, replaced=here)
    trained = json.loads((checkout / "models" / "sts-petct" / "response" / "response.json").read_text())
    provenance = json.loads((checkout / "features.provenance.json").read_text())
    assert {name: provenance[name] for name in trained["extraction"]} == trained["extraction"]
    shown = run(evaluate, checkout)
    assert "segmentation, cross-validated" in shown
    assert "response, cross-validated" in shown


def test_training_writes_the_documentation(checkout, cohort):
    measure, sarcoma, breast = RUN["training for the documentation"]
    for name in ("sts-petct", "breast-nac"):
        shorten_task(checkout / "models" / name / "response" / "task.yaml")
    shutil.copytree(ROOT / "docs", checkout / "docs", dirs_exist_ok=True)
    run(measure, checkout, replaced={"DATA": str(cohort)})
    run(sarcoma, checkout, replaced={"DATA": str(cohort), "DATA/clinical.csv": str(cohort / "clinical.csv")})
    write_breast_table(checkout / "ispy2.csv")
    assert "sealed" in run(breast, checkout)
    page = (checkout / "docs" / "response.md").read_text()
    assert f"{PATIENTS} patients" in page
    assert "left out by rule: 2 (Age not recorded)" in page


@pytest.fixture
def studies(checkout, write_series, write_contour) -> tuple[Path, Path]:
    """A folder of DICOM studies and a table of who responded: small tumors do."""
    folder, table = checkout / "studies", checkout / "clinical.csv"
    random = np.random.default_rng(11)
    rows = ["patient_id,responded"]
    for number in range(PATIENTS):
        name, radius = f"L{number:02d}", 9.0 + 12.0 * random.random()
        (folder / name / "any").mkdir(parents=True)
        grid = np.indices((16, 16, 16)) - 7.5
        inside = np.sqrt((grid**2).sum(axis=0)) * 4.0 <= radius
        uptake = np.where(inside, 6.0, 1.0) * random.uniform(0.7, 1.3, inside.shape)
        series = write_series(
            modality="PT",
            unit="GML",
            stored=(100 * uptake).astype(np.int16),
            spacing_mm=(4.0, 4.0, 4.0),
            patient_id=name,
            study=name,
            frame_of_reference=name,
            attributes={"RescaleSlope": "0.01", "SUVType": "BW"},
            directory=folder / name / "any",
        )
        write_contour(series, radius, folder / name / "contour.dcm")
        rows.append(f"{name},{int(radius + random.normal(0, 3) < 15)}")
    table.write_text("\n".join(rows) + "\n")
    return folder, table


def test_a_physicist_trains_a_third_model(checkout, studies, cohort):
    make, train_table, train_studies, evaluate, show, card, dry_run, quick = RUN["a hospital's physicist"]
    printed = run(make, checkout)
    model = checkout / "models" / "lung-petct"
    for name in ("model.yaml", "response/task.yaml", "radiomics/settings.yaml"):
        assert name in printed
        path = model / name
        path.write_text(path.read_text().replace("FILL IN", "Stated"))
    shorten_task(model / "response" / "task.yaml")
    random = np.random.default_rng(3)
    volumes = np.exp(random.normal(4, 1, 40))
    rows = ["patient_id,lesion_volume,suv_max,responded"]
    rows += [
        f"T{number:02d},{volume:.4f},{random.uniform(3, 20):.4f},{int(np.log(volume) + random.normal() < 4)}"
        for number, volume in enumerate(volumes)
    ]
    (checkout / "cohort.csv").write_text("\n".join(rows) + "\n")
    assert "No fault found" in run(dry_run, checkout)
    assert "not for use" in run(quick, checkout)
    printed = run(train_table, checkout)
    assert "Model card" in printed
    assert "lung-petct 0.1.0 sealed" in printed
    folder, table = studies
    printed = run(train_studies, checkout, replaced={"STUDIES": str(folder), "clinical.csv": str(table)})
    assert "version raised to 0.1.1" in printed
    text = (model / "model-card.md").read_text()
    assert f"{PATIENTS} patients" in text
    assert "Funding of the technical implementation.** **Unknown.**" in text
    assert "response, cross-validated" in run(evaluate, checkout)
    assert "Not for clinical decisions" in " ".join(run(show, checkout).split())
    definition = (model / "model.yaml").read_text()
    (model / "model.yaml").write_text(definition.replace("source_attributes: {}", "source_attributes: {funding: ours}"))
    assert "lung-petct 0.1.2 sealed" in run(card, checkout)
    assert "Funding of the technical implementation.** ours" in (model / "model-card.md").read_text()
    check_images, measure_images, train_images = RUN["a hospital's NIfTI images"]
    images = {"IMAGES": str(cohort)}
    assert "No fault found" in run(check_images, checkout, replaced=images)
    run(measure_images, checkout, replaced=images)
    outcomes = (cohort / "clinical.csv").read_text().splitlines()[1:]
    rows = [f"{patient},{int(not failure)}" for patient, failure in (row.split(",") for row in outcomes)]
    (checkout / "image-clinical.csv").write_text("\n".join(["patient_id,responded", *rows]) + "\n")
    assert "lung-petct 0.1.3 sealed" in run(train_images, checkout)


def test_a_contour_is_measured(checkout, write_series, write_contour):
    measure, _ = RUN["a contour on MR"]
    folder = checkout / "breast-mri"
    folder.mkdir()
    series = write_series(
        modality="MR", stored=np.zeros((20, 60, 60)), spacing_mm=(0.8, 0.8, 2.5), study="mri", directory=folder
    )
    write_contour(series, 15.0, folder / "contour.dcm")
    assert "tumor_slice_extent_mm  30.0000" in run(measure, checkout, replaced={"STUDY": str(folder)})


def test_the_next_visit_is_forecast(checkout):
    (forecast,) = RUN["follow-up"]
    (checkout / "visits.csv").write_text("patient,day,diameter_mm\nA,0,30\nA,42,24\nA,84,TOO SMALL TO MEASURE\n")
    assert "Research use only" in run(forecast, checkout)
    assert (checkout / "forecast.csv").read_text().splitlines()[1].startswith("A,126,5.00,0.00,")


@pytest.mark.xdist_group("one machine")
def test_monitoring(tmp_path, machine):
    predict, outcome, ask_server, ask_database = RUN["monitoring"]
    # A checkout of its own: monitoring is of one version of a model, and the training tests make new ones.
    checkout = tmp_path
    shutil.copytree(ROOT / "models", checkout / "models")
    model = json.loads((ROOT / "models" / "breast-nac" / "response" / "response.json").read_text())
    columns = [f"{entry['name']} [{entry['unit']}]" for entry in model["inputs"]]
    assert set(documented_block("monitoring.md", "csv").splitlines()[0].split(",")) <= {"id", *columns}
    values = [str(entry["median"]) for entry in model["training"]]
    (checkout / "inputs.csv").write_text(f"{','.join(['id', *columns])}\n{','.join(['1', *values])}\n")
    assert "Research use only" in run(predict, checkout)
    assert len((checkout / "predictions.csv").read_text().splitlines()) == 2
    address, data = machine
    client = Client(address)
    study = client.upload_study(ROOT / "examples" / "STS_032", lambda *_: None)
    order = Order("sts-petct", contour=study_pb2.SuppliedContour())
    name = client.assess(study, order, lambda *_: None).name
    client.close()
    here = {"assessments/ID": name, "127.0.0.1:50051": address, "/srv/oncoresponse": str(data)}
    deadline = time.monotonic() + 120
    while True:
        try:
            run(outcome, checkout, replaced=here)
            break
        except AssertionError as error:  # the record comes after the report
            assert "PREDICTION_NOT_FOUND" in str(error)
            assert time.monotonic() < deadline
    for command in (ask_server, ask_database):
        assert "Outcomes recorded: 1" in run(command, checkout, replaced=here)
        names = {path.name for path in (checkout / "monitoring").iterdir()}
        assert names == {"monitoring.json", "monitoring.prom", "monitoring.pdf"}


def documented_block(page: str, language: str) -> str:
    """The one fenced block of a language on a page."""
    _, _, after = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(f"```{language}\n")
    return after.partition("```")[0]


class Uptake(torch.nn.Module):
    """Tumor where SUV exceeds 3 g/mL."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 8.0 * (inputs - 3.0)


@pytest.mark.xdist_group("network from elsewhere")
def test_bring_your_own_network(tmp_path):
    """The page's steps: copy a model under a new name, put the network in place of the weights, declare, seal."""
    seal, assess = RUN["bring your own network"]
    model, segmentation = (tmp_path / "models" / "my-model" / part for part in ("", "segmentation"))
    shutil.copytree(ROOT / "models" / "sts-petct", model)
    text = (model / "model.yaml").read_text().replace("name: sts-petct", "name: my-model", 1)
    (model / "model.yaml").write_text(re.sub(r"(?m)^version:.*$", "version: 1.0.0", text, count=1))
    shutil.rmtree(segmentation)
    segmentation.mkdir()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.* is deprecated", category=DeprecationWarning)
        torch.jit.save(torch.jit.script(Uptake()), segmentation / "network.pt")
    declaration = {
        "kind": "torchscript",
        "name": "SUV threshold",
        "source": "Written in a test",
        "files": {"network.pt": hashlib.sha256((segmentation / "network.pt").read_bytes()).hexdigest()},
        "preprocessing": {
            "reference": "PT",
            "orientation": "LPS",
            "axis_order": "zyx",
            "channels": [{"modality": "PT", "outside": 0}],
        },
        "output": {"activation": "sigmoid", "tumor_channels": [0]},
    }
    (segmentation / "external_network.json").write_text(json.dumps(declaration))
    assert "my-model 1.0.0" in run(seal, tmp_path)
    assert "Tumor volume" in run(assess, tmp_path, replaced={"examples/STS_019": str(ROOT / "examples" / "STS_019")})
    # The physician reads whose mask it is.
    report = "".join(page.extract_text() for page in pypdf.PdfReader(tmp_path / "result" / "report.pdf").pages)
    assert "a network from elsewhere (SUV threshold)" in " ".join(report.split())
    summary = json.loads((tmp_path / "result" / "segmentation.json").read_text())
    assert summary["volume_ml"] == pytest.approx(40.2, abs=0.1)  # SUV of 3 and more, counted with SimpleITK


def test_robustness_of_features(checkout, few):
    precompile, robustness = RUN["robustness"]
    run(precompile, checkout)
    run(robustness, checkout, "--contours", "1", replaced={"DATA": str(few)})
    lines = (checkout / "robustness.csv").read_text().splitlines()
    assert lines[0].startswith("feature,icc,icc_contour")
    assert len(lines) > 1000


@pytest.mark.xdist_group("benchmark")
def test_benchmark():
    (bench,) = RUN["benchmark"]
    printed = run(bench, ROOT, "WARM_CALLS=1")
    for word in ("conversion", "segmentation", "features", "prediction", "report", "plain MONAI takes"):
        assert word in printed


@pytest.mark.xdist_group("benchmark")
def test_scaling():
    """Its tables are those of the page."""
    (simulate,) = RUN["scaling"]
    printed = run(simulate, ROOT)
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    tables = printed[printed.index("One study (") :]
    for line in filter(None, map(str.rstrip, tables.splitlines())):
        assert line in page
