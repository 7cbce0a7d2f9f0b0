"""Run by `test_ranks`: trains games of several players on two ranks and compares them."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import torch

from tests.training.test_loop import (
    IMAGES,
    SPEC,
    Diverging,
    Dots,
    DotsConfig,
    GradientPenalty,
)
from zoo.data.batches import Batches
from zoo.errors import UnhealthyError, ZooError
from zoo.training import engine
from zoo.training.loop import Budget, play
from zoo.training.seats import sit_down
from zoo.training.settings import Settings


def main() -> None:
    """Print what happened, from the first rank."""
    fabric = engine.start(Settings(devices=2, device="cpu"))
    rank = fabric.global_rank
    said = []
    for kind in (Dots, GradientPenalty):
        torch.manual_seed(0)
        table = sit_down(kind(DotsConfig(), SPEC), fabric, nullcontext())
        torch.manual_seed(rank)  # noise of its own
        split = {"image": IMAGES}
        batches = Batches(split, 8, seed=0, device=fabric.device, rank=rank, ranks=2)
        list(play(table, batches, Budget(6, float("inf"))))
        first, second = engine.check_ranks_agree(table.model, fabric)
        said.append(f"{kind.__name__} {'equal' if first == second else 'unequal'}")
    with torch.no_grad():
        next(table.model.parameters()).add_(rank)
    try:
        engine.check_ranks_agree(table.model, fabric)
    except ZooError as problem:
        said.append(str(problem).splitlines()[0])
    # only the second rank's terms are not numbers; both must stop, with the same error
    kind = Diverging if rank == 1 else Dots
    table = sit_down(kind(DotsConfig(), SPEC), fabric, nullcontext())
    try:
        list(play(table, batches, Budget(2, float("inf"))))
    except UnhealthyError as problem:
        said.append(problem.message)
    if rank == 0:
        sys.stdout.write("\n".join(said) + "\n")
    del table
    engine.stop(fabric)


if __name__ == "__main__":
    main()
