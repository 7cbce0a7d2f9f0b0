"""What a training would do and how long it would take, measured in a few steps."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from zoo.atomic import write_bytes
from zoo.data.batches import in_order, length
from zoo.modalities import modality_of
from zoo.model.inference import device_of, evaluation_batch, mean_metrics
from zoo.model.previews import overview, previewed
from zoo.model.weights import describe, save_weights
from zoo.training import devices
from zoo.training.compiling import explaining_failures
from zoo.training.config import Job
from zoo.training.players import TrainState
from zoo.training.reporting import PREVIEWS
from zoo.training.state import TENSORS, WEIGHTS, shared_state
from zoo.training.train import setup_training
from zoo.training.trainer import MIN_STEPS_BETWEEN_VALIDATIONS, Budget, train_steps
from zoo.training.watch import measure_diversity

MEASURED_STEPS = 10
WARM_UP_STEPS = 5
CURVES = 1.0  # seconds to import what draws the curves, and to draw them


@dataclass(frozen=True)
class Plan:
    """What a training would do, as ``--dry-run`` shows it."""

    model: str
    data: str
    training_images: int
    validation_images: int
    ports: dict[str, str]  # what the data is, in words
    parameters: dict[str, int]
    device: str
    precision: str
    batch_size: int
    steps_per_epoch: int
    steps: int | None
    seconds_per_step: float
    estimated_seconds: float
    writes: list[str]


def plan(job: Job) -> Plan | None:
    """Measure a few steps and return what a training would do; None on all ranks but the first.

    Nothing is written.
    """
    began = time.monotonic()
    ranks = devices.start_ranks(job.settings)
    state, batches = setup_training(job, ranks)
    sizes = {
        name: sum(each.numel() for each in player.parameters)
        for name, player in state.players.items()
    }
    trial = Budget(WARM_UP_STEPS + MEASURED_STEPS, math.inf)
    with explaining_failures(job.settings, "the same command with --set compile="):
        times = [time.monotonic() for _ in train_steps(state, batches, trial)]
    started = times[0] - began
    validation, preview = _measure_rest(job, state)
    is_first, device = ranks.is_first, ranks.device
    del state
    devices.stop_ranks(ranks)
    if not is_first:
        return None
    seconds = (times[-1] - times[-1 - MEASURED_STEPS]) / MEASURED_STEPS
    budget = Budget.of(job.settings, batches.steps_per_epoch)
    finite = math.isfinite(budget.steps)
    estimated = budget.seconds
    if finite:
        epochs = math.ceil(MIN_STEPS_BETWEEN_VALIDATIONS / batches.steps_per_epoch)
        validations = math.ceil(budget.steps / (epochs * batches.steps_per_epoch))
        rest = started + CURVES + PREVIEWS * preview + validations * validation
        estimated = min(budget.seconds + rest, budget.steps * seconds + rest)
    spec, splits = job.store.spec, job.store.splits
    return Plan(
        model=job.entry.card.name,
        data=job.data,
        training_images=batches.images,
        validation_images=length(splits["validation"]),
        ports={port.name: modality_of(port).describe(port) for port in spec.ports},
        parameters=sizes,
        device=str(device),
        precision=devices.precision(job.settings, device.type),
        batch_size=batches.batch_size,
        steps_per_epoch=batches.steps_per_epoch,
        steps=int(budget.steps) if finite else None,
        seconds_per_step=seconds,
        estimated_seconds=estimated,
        writes=["config.toml", "run.json", "metrics.jsonl", "events.jsonl", "log.txt",
                "samples/", "checkpoints/", "curves.png"],
    )  # fmt: skip


def _measure_rest(job: Job, state: TrainState) -> tuple[float, float]:
    """Return the seconds of a validation with its checkpoint, and of the previews of one step."""
    model, held_out = state.model, job.store.splits["validation"]
    with tempfile.TemporaryDirectory() as folder:
        times = [time.monotonic()]
        batches = in_order(
            held_out,
            model.data,
            evaluation_batch(model.data),
            device_of(model),
            devices.memory_format(model),
        )
        mean_metrics(model, batches)
        measure_diversity(model, held_out)
        save_weights(Path(folder, WEIGHTS), model, describe(model, job.entry))
        write_bytes(Path(folder, TENSORS), shared_state(state, {})[0])
        times.append(time.monotonic())
        for name in previewed(model):
            overview(model, name, held_out)
        times.append(time.monotonic())
    return times[1] - times[0], times[2] - times[1]
