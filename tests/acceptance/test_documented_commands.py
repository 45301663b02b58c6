"""Every command line in the README and in docs/ is run here, as a newcomer would type it.

What a newcomer cannot type literally is replaced: DATA by a small synthetic cohort, addresses by those of servers that
the test started. Training gets settings that make it short. Each documented line has to have its run below.
"""

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pypdf
import pytest
import SimpleITK as sitk
import torch
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PROGRAMS = ("make", "oncoresponse", "oncoradiomics", "python")
PATIENTS = 24

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
    "network": {"blocks_down": [1, 1], "blocks_up": [1]},
}
SHORT_VALIDATION = {
    "folds": 3,
    "repeats": 2,
    "inner_repeats": 1,
    "permutations": 5,
    "permutation_repeats": 1,
    "bootstrap_samples": 100,
    "simulated_cohorts": 0,
}


def documented_commands() -> set[str]:
    """Command lines in fenced blocks without a language, continuation lines joined."""
    found = set()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        fence = None
        for line in page.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
            if line.startswith("```"):
                fence = line if fence is None else None
            elif fence == "```" and line.split()[:1] and line.split()[0] in PROGRAMS:
                found.add(" ".join(line.split()))
    return found


RUN = {
    "the newcomer": ("make demo",),
    "the test itself": ("make test",),
    "one machine": (
        "oncoresponse serve --listen 127.0.0.1:50051",
        "oncoresponse serve --data-dir /srv/oncoresponse --models-dir /opt/oncoresponse/models",
        "python examples/client.py examples/STS_019 127.0.0.1:50051",
        "oncoresponse assess examples/STS_019 --model sts-petct --out result",
        "oncoresponse assess examples/STS_019 --model sts-petct --out result --contour",
        "oncoresponse models show sts-petct",
        "oncoresponse doctor",
    ),
    "test_separate_processes.py": (
        "oncoresponse recover worker-1 --database-url postgresql://oncoresponse@db/oncoresponse",
    ),
    "training": (
        "oncoradiomics cohort DATA --image PET.nii.gz --mask PET_tumor.nii.gz "
        "--settings models/sts-petct/radiomics/settings.yaml --output features.csv",
        "oncoresponse train segmentation --data DATA --model models/sts-petct --run runs/segmentation",
        "oncoresponse train response --features features.csv --clinical DATA/clinical.csv --model models/sts-petct",
        "oncoresponse evaluate --model sts-petct",
        "oncoresponse train segmentation --data DATA --model models/sts-petct --run runs/segmentation "
        "--config models/sts-petct/segmentation/training.yaml",
        "oncoresponse train response --features runs/radiomics/cohort-features.csv --clinical DATA/clinical.csv "
        "--model models/sts-petct --docs docs",
    ),
    "bring your own network": (
        "oncoresponse models seal models/my-model",
        "oncoresponse assess examples/STS_019 --model my-model --out result",
    ),
    "benchmark": ("make bench",),
}


def test_every_documented_command_has_its_run():
    assert documented_commands() == {command for commands in RUN.values() for command in commands}


def run(command: str, folder: Path, *more: str, replaced: dict[str, str] | None = None) -> str:
    """Run a documented command in ``folder`` and return what it printed."""
    words = [(replaced or {}).get(word, word) for word in shlex.split(command)]
    if words[0] != "make":
        words[0] = str(BIN / words[0])
    done = subprocess.run([*words, *more], cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder that looks like the repository to a command, without being it."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "models", folder / "models")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


def test_demo():
    (newcomer,) = RUN["the newcomer"]
    shutil.rmtree(ROOT / "demo-output", ignore_errors=True)
    printed = run(newcomer, ROOT)
    for word in ("Research use only", "Tumor volume", "SUVmax", "Durable response", "demo-output"):
        assert word in printed
    names = {path.name for path in (ROOT / "demo-output").iterdir()}
    assert {
        "report.json",
        "report.pdf",
        "key-image.png",
        "segmentation.dcm",
        "features.json",
        "timings.json",
    } <= names


def test_one_machine(checkout, serve):
    serve_here, _, example, assess, assess_contour, show, doctor = RUN["one machine"]
    assert "--listen" in serve_here
    server = serve("--listen", "127.0.0.1:0", "--data-dir", str(checkout / "data"))
    address = server.wait_until_ready()
    printed = run(example, checkout, replaced={"127.0.0.1:50051": address})
    assert "100%" in printed
    assert (checkout / "report.json").stat().st_size > 10_000
    for command in (assess, assess_contour):
        assert "Tumor volume" in run(command, checkout, "--server", address)
    assert "RTSTRUCT" in run(assess_contour, checkout)  # with a server of its own
    assert "Not for clinical decisions" in " ".join(run(show, checkout).split())  # wherever the line is wrapped
    assert "WRONG" not in run(doctor, checkout, "--data-dir", str(checkout))


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


def test_training(checkout, cohort):
    measure, train_segmentation, train_response, evaluate, train_again, train_and_document = RUN["training"]
    here = {"DATA": str(cohort), "DATA/clinical.csv": str(cohort / "clinical.csv")}
    run(measure, checkout, replaced=here)
    (checkout / "short.yaml").write_text(yaml.safe_dump(SHORT_SEGMENTATION))
    assert "sealed" in run(train_segmentation, checkout, "--config", "short.yaml", replaced=here)
    here["models/sts-petct/segmentation/training.yaml"] = "short.yaml"
    assert "sealed" in run(train_again, checkout, replaced=here)  # the run is complete, so it only evaluates
    task = yaml.safe_load((ROOT / "models" / "sts-petct" / "response" / "task.yaml").read_text())
    task |= {"held_out_patients": [], "validation": SHORT_VALIDATION}
    task["uncertainty"]["ensemble_members"] = 10
    (checkout / "models" / "sts-petct" / "response" / "task.yaml").write_text(yaml.safe_dump(task))
    assert "sealed" in run(train_response, checkout, replaced=here)
    shutil.copytree(ROOT / "docs", checkout / "docs")
    here["runs/radiomics/cohort-features.csv"] = "features.csv"
    run(train_and_document, checkout, replaced=here)
    assert f"{PATIENTS} patients" in (checkout / "docs" / "response.md").read_text()
    shown = run(evaluate, checkout)
    assert "segmentation, cross-validated" in shown
    assert "response, cross-validated" in shown


class Uptake(torch.nn.Module):
    """Tumor where SUV exceeds 3 g/mL."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 8.0 * (inputs - 3.0)


def test_bring_your_own_network(tmp_path):
    """The page's steps: copy a model under a new name, put the network in place of the weights, declare, seal."""
    seal, assess = RUN["bring your own network"]
    model, segmentation = (tmp_path / "models" / "my-model" / part for part in ("", "segmentation"))
    shutil.copytree(ROOT / "models" / "sts-petct", model)
    text = (model / "model.yaml").read_text().replace("name: sts-petct", "name: my-model", 1)
    (model / "model.yaml").write_text(text)
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
    assert "my-model 0.1.0" in run(seal, tmp_path)
    assert "Tumor volume" in run(assess, tmp_path, replaced={"examples/STS_019": str(ROOT / "examples" / "STS_019")})
    # The physician reads whose mask it is.
    report = "".join(page.extract_text() for page in pypdf.PdfReader(tmp_path / "result" / "report.pdf").pages)
    assert "a network from elsewhere (SUV threshold)" in " ".join(report.split())
    summary = json.loads((tmp_path / "result" / "segmentation.json").read_text())
    assert summary["volume_ml"] == pytest.approx(40.2, abs=0.1)  # SUV of 3 and more, counted with SimpleITK
    assert summary["expected_dice"] is None


def test_benchmark():
    (bench,) = RUN["benchmark"]
    printed = run(bench, ROOT)
    for word in ("conversion", "segmentation", "features", "prediction", "report", "plain MONAI takes"):
        assert word in printed
