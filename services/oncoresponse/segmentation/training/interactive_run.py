"""Train all folds of the interactive networks at once, one process each.

``python -m oncoresponse.segmentation.training.interactive_run --cohort cohort.npz --out FOLDER --iterations 3000``

The folder gets ``fold_N.safetensors``, ``settings.json`` and one log a fold. A run that is called again goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import torch.multiprocessing
from safetensors.torch import save_file

from oncoresponse.segmentation.training.field_sampler import FieldSettings
from oncoresponse.segmentation.training.interactive_cohort import read_field_patients
from oncoresponse.segmentation.training.interactive_training import (
    InteractiveTrainingSettings,
    train_interactive_fold,
)


def train_one(fold: int, cohort: Path, out: Path, settings: InteractiveTrainingSettings, device: str) -> None:
    """Train the network of one fold and write its weights as float16."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    patients, folds = read_field_patients(cohort)
    others = [patient for patient in patients if folds[patient.patient] != fold]
    began = time.monotonic()
    with (out / f"fold_{fold}.log").open("a", encoding="utf-8") as log:

        def tell(step: int, loss: float) -> None:
            line = f"fold {fold} step {step} of {settings.iterations} loss {loss:.4f} {time.monotonic() - began:.1f} s"
            log.write(line + "\n")
            log.flush()
            if step % 200 == 0 or step == settings.iterations:
                print(line, flush=True)  # noqa: T201 (what a user sees while it runs)

        network = train_interactive_fold(others, fold, settings, torch.device(device), out / f"fold_{fold}.pt", tell)
    tensors = {name: value.half().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, out / f"fold_{fold}.safetensors")


def train_folds(
    cohort: Path, out: Path, settings: InteractiveTrainingSettings, device: str, folds: Sequence[int]
) -> bool:
    """Train several folds; on CUDA all at once, on a CPU one after another. Whether all came to their end."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "settings.json").write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf-8")
    context = torch.multiprocessing.get_context("spawn")
    processes = [context.Process(target=train_one, args=(fold, cohort, out, settings, device)) for fold in folds]
    for process in processes:
        process.start()
        if device == "cpu":
            process.join()
    for process in processes:
        process.join()
    return not any(process.exitcode for process in processes)


def main() -> None:
    """Read the arguments and start a process for each fold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=InteractiveTrainingSettings.iterations)
    parser.add_argument("--batch-size", type=int, default=InteractiveTrainingSettings.batch_size)
    parser.add_argument("--patch-size", type=int, default=FieldSettings.patch_size)
    parser.add_argument("--filters", type=int, default=InteractiveTrainingSettings.initial_filters)
    parser.add_argument("--folds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    settings = InteractiveTrainingSettings(
        iterations=arguments.iterations,
        batch_size=arguments.batch_size,
        initial_filters=arguments.filters,
        fields=FieldSettings(patch_size=arguments.patch_size),
    )
    if not train_folds(arguments.cohort, arguments.out, settings, arguments.device, arguments.folds):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
