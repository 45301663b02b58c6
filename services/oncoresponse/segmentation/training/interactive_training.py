"""Train one interactive network of a cross-validation: contours by itself, and follows boxes, clicks and outlines.

Needs torch and numpy alone, so that it runs on a borrowed GPU machine with nothing else installed. What it reads is
written by :mod:`oncoresponse.segmentation.training.interactive_cohort`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import avg_pool3d, binary_cross_entropy_with_logits

from oncoresponse.segmentation.hand_channels import CHANNELS
from oncoresponse.segmentation.segresnet import SegResNetDS
from oncoresponse.segmentation.training.field_sampler import FieldPatient, FieldSampler, FieldSettings
from oncoresponse.segmentation.training.simulated_user import SimulatedUser, UserSettings

BLOCKS_DOWN = (1, 2, 2, 4)
DEEP_SUPERVISION_LEVELS = 3
_CHECKPOINT_SECONDS = 30.0
_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class InteractiveTrainingSettings:
    """One run; together with the data and the device it decides the weights.

    Attributes:
        iterations: Optimizer steps.
        batch_size: Patches a step.
        initial_filters: Feature maps at full resolution.
        learning_rate: Highest; rises linearly over ``warmup_iterations`` and falls as a cosine.
        weight_average_decay: Of the exponential moving average of the weights, which is what is kept.
    """

    iterations: int = 2450
    batch_size: int = 8
    initial_filters: int = 12
    learning_rate: float = 3e-3
    warmup_iterations: int = 100
    weight_decay: float = 1e-2
    weight_average_decay: float = 0.998
    seed: int = 20150629
    fields: FieldSettings = field(default_factory=FieldSettings)
    user: UserSettings = field(default_factory=UserSettings)


def train_interactive_fold(
    patients: Sequence[FieldPatient],
    fold: int,
    settings: InteractiveTrainingSettings,
    device: torch.device,
    checkpoint: Path,
    tell: Callable[[int, float], None],
) -> torch.nn.Module:
    """Train one network; a killed run goes on from its checkpoint.

    Args:
        patients: Those of the other folds.
        fold: Of the network; another fold draws other numbers.
        settings: The run.
        device: CUDA or CPU; bfloat16 on CUDA.
        checkpoint: Written every half minute and at the end.
        tell: Called with the step and its loss.

    Returns:
        The averaged network, in evaluation mode.
    """
    torch.manual_seed(settings.seed + fold)
    network: torch.nn.Module = SegResNetDS(
        in_channels=CHANNELS,
        out_channels=1,
        initial_filters=settings.initial_filters,
        blocks_down=BLOCKS_DOWN,
        normalization="instance",
        deep_supervision_levels=DEEP_SUPERVISION_LEVELS,
    )
    network = network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=device.type == "cuda"
    )
    step = 0
    if checkpoint.exists():
        content = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(content["network"])
        average.load_state_dict(content["average"])
        optimizer.load_state_dict(content["optimizer"])
        step = content["step"]
    sampler = FieldSampler(patients, settings.fields, device)
    saved = time.monotonic()
    while step < settings.iterations:
        # The random state depends on the step alone, so that a run that goes on sees what an uninterrupted one would.
        random = np.random.default_rng([settings.seed, fold, step])
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(settings, step)
        loss = _step(network, sampler, settings, random, device)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_NORM)
        optimizer.step()
        step += 1
        decay = min(settings.weight_average_decay, step / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
        if step % 50 == 0 or step == settings.iterations:
            tell(step, float(loss.detach()))
        if time.monotonic() - saved > _CHECKPOINT_SECONDS or step == settings.iterations:
            _save(checkpoint, network, average, optimizer, step)
            saved = time.monotonic()
    return average.eval()


def _step(
    network: torch.nn.Module,
    sampler: FieldSampler,
    settings: InteractiveTrainingSettings,
    random: np.random.Generator,
    device: torch.device,
) -> torch.Tensor:
    chances = np.array(settings.user.rounds)
    rounds = int(random.choice(len(chances), p=chances / chances.sum()))
    image, tumor, inside = sampler.sample(settings.batch_size, random)
    user = SimulatedUser(image, tumor, inside, settings.user, random)

    def logits() -> list[torch.Tensor]:
        with torch.autocast(device.type, torch.bfloat16) if device.type == "cuda" else nullcontext():
            found = network(user.channels.contiguous(memory_format=torch.channels_last_3d))
        return [level.float() for level in (found if isinstance(found, list) else [found])]

    with torch.no_grad():
        network.eval()
        for _ in range(rounds):
            user.click(torch.sigmoid(logits()[0]))
    network.train()
    return interactive_loss(logits(), tumor)


def interactive_loss(levels: Sequence[torch.Tensor], tumor: torch.Tensor) -> torch.Tensor:
    """Soft Dice over the batch and cross-entropy at each supervised resolution, each counting half of the finer one."""
    total = torch.zeros((), device=tumor.device)
    for number, logits in enumerate(levels):
        factor = tumor.shape[-1] // logits.shape[-1]
        wanted = avg_pool3d(tumor, factor) if factor > 1 else tumor
        chance = torch.sigmoid(logits)
        overlap = 2 * (chance * wanted).sum() / ((chance**2).sum() + (wanted**2).sum() + 1e-3)
        total = total + 0.5**number * (1 - overlap + binary_cross_entropy_with_logits(logits, wanted))
    return total


def _learning_rate(settings: InteractiveTrainingSettings, step: int) -> float:
    if step < settings.warmup_iterations:
        return settings.learning_rate * (step + 1) / settings.warmup_iterations
    done = (step - settings.warmup_iterations) / max(settings.iterations - settings.warmup_iterations, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _save(
    path: Path, network: torch.nn.Module, average: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int
) -> None:
    partial = path.with_suffix(".partial")
    content = {
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
    }
    torch.save(content, partial)
    partial.replace(path)
