"""Train the segmentation: one network for each fold of a cross-validation by patient, all of them shipped.

Run folder::

    config.yaml                 every setting of the run
    fingerprint.json            what the cohort is like, and what was decided from it
    fold_0.checkpoint.pt        a killed run goes on from here
    fold_0.csv                  loss and learning rate of each step, Dice of the validation patients now and then
    curves.png                  the same as a picture
    evaluation.csv, out_of_fold/, ...   written by oncoresponse.segmentation.training.evaluation
"""

from __future__ import annotations

import copy
import csv
import logging
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import monai
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import torch
from monai.losses.dice import DiceCELoss
from monai.losses.ds_loss import DeepSupervisionLoss
from rich.progress import Progress

from oncoresponse.case.file_digest import file_sha256
from oncoresponse.errors import ConfigurationError
from oncoresponse.segmentation.device import choose_device
from oncoresponse.segmentation.metrics import dice
from oncoresponse.segmentation.network import (
    NETWORK_FILE,
    FieldOfView,
    NetworkDescription,
    TrainingRecord,
    WeightsFile,
    build_network,
    save_weights,
)
from oncoresponse.segmentation.preprocessing import field_of_view_mm
from oncoresponse.segmentation.training.augmentation import PatchSampler
from oncoresponse.segmentation.training.cohort import (
    TrainingPatient,
    assign_folds,
    cohort_patients,
    cohort_sha256,
    read_patient,
    read_training_patients,
)
from oncoresponse.segmentation.training.fingerprint import FINGERPRINT_FILE, take_fingerprint, write_fingerprint
from oncoresponse.segmentation.training.training_curves import draw_training_curves
from oncoresponse.segmentation.training.training_settings import (
    DecidedSettings,
    SegmentationTrainingSettings,
    write_training_settings,
)
from oncoresponse.segmentation.windowed_prediction import MEMORY_FORMAT, place_network, predict_probabilities

CONFIG_FILE = "config.yaml"
TRAINING_FILE = "training.yaml"
SECONDS_BETWEEN_CHECKPOINTS = 30.0
"""A step may take seconds: a run that is killed in its first minutes loses no more than this."""
_LOG_COLUMNS = ("iteration", "loss", "learning_rate", "validation_dice")

_log = logging.getLogger(__name__)


@dataclass
class _FoldState:
    """What a checkpoint holds."""

    network: torch.nn.Module
    average: torch.nn.Module
    optimizer: torch.optim.Optimizer
    iteration: int = 0
    log: list[list[float]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        partial = path.with_suffix(".partial")
        torch.save(
            {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "iteration": self.iteration,
                "log": self.log,
            },
            partial,
        )
        partial.replace(path)

    def restore(self, path: Path) -> None:
        content = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(content["network"])
        self.average.load_state_dict(content["average"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.iteration = content["iteration"]
        self.log = content["log"]


def train_segmentation(
    settings: SegmentationTrainingSettings,
    data: Path,
    run_directory: Path,
    segmentation_directory: Path,
    progress: Progress | None = None,
    only_folds: Sequence[int] | None = None,
) -> NetworkDescription | None:
    """Train the networks of all folds and write them with ``network.json``, ``training.yaml`` and ``fingerprint.json``.

    A killed run goes on where it stopped. The same settings, data, device and thread count give the same weights,
    interrupted or not.

    Args:
        settings: The run. Patients in ``held_out_patients`` are not read.
        data: Cohort folder, one folder for each patient with ``PET.nii.gz``, ``CT.nii.gz``, ``PET_tumor.nii.gz``.
        run_directory: Checkpoints and logs; created if need be.
        segmentation_directory: ``segmentation/`` of the model folder; gets the weights and ``network.json``.
        progress: Shows a bar with the remaining time for each fold.
        only_folds: Train these folds (from 0) and nothing else, so that several processes or GPUs share a run; a call
            without it afterwards puts the run together.

    Returns:
        What was written; None with ``only_folds``.

    Raises:
        TrainingDataInvalid: The cohort is incomplete or inconsistent.
        ConfigurationError: The run folder belongs to a run with other settings, or there is no such fold.
    """
    if unknown := [fold for fold in only_folds or () if not 0 <= fold < settings.folds]:
        raise ConfigurationError(f"There is no fold {unknown[0]}; this run has folds 0 to {settings.folds - 1}.")
    run_directory.mkdir(parents=True, exist_ok=True)
    segmentation_directory.mkdir(parents=True, exist_ok=True)
    patients = cohort_patients(data, settings.held_out_patients)
    fingerprint = take_fingerprint(
        (read_patient(data, patient) for patient in patients), settings.network.stride, settings.patch_voxels
    )
    settings = settings.decided(fingerprint)
    config = _claim_run_directory(settings, run_directory)
    write_fingerprint(fingerprint, run_directory / FINGERPRINT_FILE)
    _log.info("held out of training and evaluation: %s", ", ".join(settings.held_out_patients) or "none")
    folds = assign_folds(patients, settings.folds, settings.seed)
    prepared: list[TrainingPatient] = []
    extents: list[tuple[float, float, float]] = []
    for images, patient in read_training_patients(data, patients, settings.preprocessing):
        prepared.append(patient)
        extents.append(field_of_view_mm(images.pet))

    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    weights = [
        _train_fold(
            settings,
            fold,
            [patient for patient in prepared if folds[patient.patient] != fold],
            [patient for patient in prepared if folds[patient.patient] == fold],
            run_directory,
            segmentation_directory,
            progress,
        )
        for fold in (range(settings.folds) if only_folds is None else only_folds)
    ]
    if only_folds is not None:
        return None
    draw_training_curves([run_directory / f"fold_{fold}.csv" for fold in range(settings.folds)], run_directory)
    description = NetworkDescription(
        network=settings.network,
        preprocessing=settings.preprocessing,
        inference=settings.inference,
        patch_size=settings.patch_size,
        field_of_view=_field_of_view(extents, settings.field_of_view_margin),
        weights=tuple(weights),
        training=TrainingRecord(
            settings_sha256=file_sha256(config),
            cohort_sha256=cohort_sha256(data, patients),
            seed=settings.seed,
            patient_count=len(patients),
            held_out_patients=settings.held_out_patients,
            versions={
                "torch": torch.__version__,
                "monai": monai.__version__,
                "SimpleITK": sitk.Version.VersionString(),
            },
        ),
    )
    # With the weights goes what defines the run, so that a stranger can repeat it.
    (segmentation_directory / TRAINING_FILE).write_bytes(config.read_bytes())
    write_fingerprint(fingerprint, segmentation_directory / FINGERPRINT_FILE)
    (segmentation_directory / NETWORK_FILE).write_text(description.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return description


def _claim_run_directory(settings: DecidedSettings, run_directory: Path) -> Path:
    config = run_directory / CONFIG_FILE
    wanted = run_directory / "config.partial.yaml"
    write_training_settings(settings, wanted)
    if config.exists() and config.read_bytes() != wanted.read_bytes():
        wanted.unlink()
        raise ConfigurationError(
            "The run folder holds a training run with other settings. Go on with its config.yaml, or name a new folder."
        )
    wanted.replace(config)
    return config


def _field_of_view(extents: Sequence[tuple[float, float, float]], margin: float) -> FieldOfView:
    smallest = np.min(extents, axis=0).round(1)
    largest = np.max(extents, axis=0).round(1)
    return FieldOfView(
        smallest_mm=_triple(smallest), largest_mm=_triple(largest), limit_mm=_triple((largest * margin).round(1))
    )


def _triple(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z


def _train_fold(
    settings: DecidedSettings,
    fold: int,
    training: Sequence[TrainingPatient],
    validation: Sequence[TrainingPatient],
    run_directory: Path,
    segmentation_directory: Path,
    progress: Progress | None,
) -> WeightsFile:
    device = choose_device(settings.device)
    torch.manual_seed(settings.seed + fold)
    network = place_network(build_network(settings.network), device)
    average = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    state = _FoldState(network, average, optimizer)
    checkpoint = run_directory / f"fold_{fold}.checkpoint.pt"
    if checkpoint.exists():
        state.restore(checkpoint)
        _log.info("fold %d goes on at step %d", fold, state.iteration)
    sampler = PatchSampler(settings.patch_size, settings.preprocessing.spacing_mm, settings.augmentation)
    loss_function = DeepSupervisionLoss(DiceCELoss(sigmoid=True, batch=True))
    task = None
    if progress is not None:
        task = progress.add_task(f"fold {fold + 1} of {settings.folds}", total=settings.iterations)
        progress.update(task, completed=state.iteration)
    saved = time.monotonic()
    while state.iteration < settings.iterations:
        rate = _learning_rate(settings, state.iteration)
        loss = _step(settings, fold, state, sampler, training, loss_function, rate, device)
        state.iteration += 1
        validation_dice = math.nan
        if state.iteration % settings.validate_every == 0 or state.iteration == settings.iterations:
            validation_dice = _validation_dice(settings, average, validation, device)
            _log.info("fold %d step %d validation Dice %.3f", fold, state.iteration, validation_dice)
        state.log.append([float(state.iteration), loss, rate, validation_dice])
        told = state.iteration % settings.checkpoint_every == 0 or state.iteration == settings.iterations
        if told or time.monotonic() - saved >= SECONDS_BETWEEN_CHECKPOINTS:
            state.save(checkpoint)
            saved = time.monotonic()
        if told:
            _write_log(state.log, run_directory / f"fold_{fold}.csv")
            recent = [row[1] for row in state.log[-settings.checkpoint_every :]]
            _log.info("fold %d step %d of %d loss %.4f", fold, state.iteration, settings.iterations, np.mean(recent))
        if progress is not None and task is not None:
            progress.update(task, completed=state.iteration)
    return save_weights(average, segmentation_directory / f"fold_{fold}.safetensors")


def _step(
    settings: DecidedSettings,
    fold: int,
    state: _FoldState,
    sampler: PatchSampler,
    training: Sequence[TrainingPatient],
    loss_function: torch.nn.Module,
    learning_rate: float,
    device: torch.device,
) -> float:
    # The random state depends on the step alone, so that a run that goes on sees what an uninterrupted one would.
    random = np.random.default_rng([settings.seed, fold, state.iteration])
    chosen = random.choice(len(training), size=settings.batch_size, replace=len(training) < settings.batch_size)
    patches = [sampler.sample(training[index], random) for index in chosen]
    image = torch.stack([patch[0] for patch in patches]).to(device, memory_format=MEMORY_FORMAT)
    tumor = torch.stack([patch[1] for patch in patches]).to(device)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.network.train()
    reduced = _reduced_precision(settings, device)
    with torch.autocast(device.type, torch.bfloat16) if reduced else nullcontext():
        logits = state.network(image)
    loss: torch.Tensor = loss_function(logits, tumor)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), settings.gradient_norm)
    state.optimizer.step()
    # Early weights are forgotten sooner, else the average starts out near the random initial weights.
    decay = min(settings.weight_average_decay, (1 + state.iteration) / (10 + state.iteration))
    with torch.no_grad():
        for averaged, current in zip(state.average.parameters(), state.network.parameters(), strict=True):
            averaged.lerp_(current, 1 - decay)
        for kept, seen in zip(state.average.buffers(), state.network.buffers(), strict=True):
            kept.copy_(seen)
    return float(loss.detach())


def _learning_rate(settings: DecidedSettings, iteration: int) -> float:
    if iteration < settings.warmup_iterations:
        return settings.learning_rate * (iteration + 1) / settings.warmup_iterations
    done = (iteration - settings.warmup_iterations) / max(settings.iterations - settings.warmup_iterations, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _reduced_precision(settings: DecidedSettings, device: torch.device) -> bool:
    if settings.precision != "auto":
        return settings.precision == "bfloat16"
    return device.type == "cuda" or bool(torch.cpu._is_avx512_bf16_supported())


def _validation_dice(
    settings: DecidedSettings,
    network: torch.nn.Module,
    validation: Sequence[TrainingPatient],
    device: torch.device,
) -> float:
    scores = []
    for patient in validation:
        probability = predict_probabilities(
            [network],
            patient.inputs.with_prompt(None),
            settings.network,
            settings.inference,
            device,
            settings.patch_size,
        )[0]
        scores.append(dice(probability >= 0.5, patient.tumor > 0))
    return float(np.mean(scores))


def _write_log(rows: Sequence[Sequence[float]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_LOG_COLUMNS)
        for iteration, loss, rate, validation_dice in rows:
            shown = "" if math.isnan(validation_dice) else f"{validation_dice:.4f}"
            writer.writerow([int(iteration), f"{loss:.6f}", f"{rate:.8f}", shown])
