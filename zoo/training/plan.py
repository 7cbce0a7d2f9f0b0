"""What a training would do and how long it would take, measured without writing anything."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from zoo.data.batches import length
from zoo.training import engine
from zoo.training.job import Job
from zoo.training.loop import Budget, play
from zoo.training.worker import set_up

MEASURED_STEPS = 10
WARM_UP_STEPS = 5


@dataclass(frozen=True)
class Plan:
    """What a training would do, as ``--dry-run`` shows it."""

    model: str
    data: str
    training_images: int
    validation_images: int
    image: list[int]
    parameters: dict[str, int]
    device: str
    precision: str
    batch_size: int
    steps_per_epoch: int
    steps: int | None
    seconds_per_step: float
    estimated_seconds: float
    writes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        return asdict(self)


def plan(job: Job) -> Plan | None:
    """Measure a few steps and say what a training would do; None on all ranks but the first.

    Nothing is written.
    """
    fabric = engine.start(job.settings)
    setup = set_up(job, fabric)
    table, batches = setup.table, setup.batches
    sizes = {
        name: sum(each.numel() for each in seat.parameters) for name, seat in table.seats.items()
    }
    trial = Budget(WARM_UP_STEPS + MEASURED_STEPS, float("inf"))
    times = [time.monotonic() for _ in play(table, batches, trial)]
    is_first, device = fabric.is_global_zero, fabric.device
    del setup, table
    engine.stop(fabric)
    if not is_first:
        return None
    seconds = (times[-1] - times[-1 - MEASURED_STEPS]) / MEASURED_STEPS
    budget = Budget.of(job.settings, batches.steps_per_epoch)
    finite = budget.steps != float("inf")
    spec, splits = job.store.spec, job.store.splits
    return Plan(
        model=job.offer.card.name,
        data=job.data,
        training_images=batches.images,
        validation_images=length(splits["validation"]),
        image=[spec.channels, spec.height, spec.width],
        parameters=sizes,
        device=str(device),
        precision=engine.precision(job.settings, device.type),
        batch_size=batches.batch_size,
        steps_per_epoch=batches.steps_per_epoch,
        steps=int(budget.steps) if finite else None,
        seconds_per_step=seconds,
        estimated_seconds=min(budget.seconds, budget.steps * seconds),
        writes=["config.toml", "run.json", "metrics.jsonl", "events.jsonl", "log.txt",
                "samples/", "checkpoints/", "curves.png"],
    )  # fmt: skip
