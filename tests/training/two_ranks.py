"""Run by `test_ranks`: trains games of several players on two ranks and compares them."""

from __future__ import annotations

import math
import signal
import sys
from contextlib import nullcontext

import torch

from tests.training.test_trainer import (
    IMAGES,
    SPEC,
    Diverging,
    Dots,
    DotsConfig,
    GradientPenalty,
)
from zoo import gather_rows
from zoo.data.batches import Batches
from zoo.errors import UnhealthyError, ZooError
from zoo.training import devices
from zoo.training.config import Settings
from zoo.training.players import TrainState, setup_players
from zoo.training.trainer import Budget, train_steps


def main() -> None:
    """Print what happened, from the first rank."""
    ranks = devices.start_ranks(Settings(devices=2, device="cpu"))
    rank = ranks.rank
    said = []
    for kind in (Dots, GradientPenalty):
        torch.manual_seed(0)
        state = setup_players(kind(DotsConfig(), SPEC), ranks, nullcontext())
        torch.manual_seed(rank)  # noise of its own
        split = {"image": IMAGES}
        batches = Batches(split, SPEC, 8, seed=0, device=ranks.device, rank=rank, ranks=2)
        list(train_steps(state, batches, Budget(6, float("inf"))))
        first, second = devices.check_ranks_agree(state.model, ranks)
        said.append(f"{kind.__name__} {'equal' if first == second else 'unequal'}")
    said.append(stopped_by_one_rank(state, batches))
    rows = gather_rows(torch.tensor([[rank, 10.0 * rank]]))
    said.append(f"rows of both {rows.flatten().tolist()}")
    with torch.no_grad():
        next(state.model.parameters()).add_(rank)
    try:
        devices.check_ranks_agree(state.model, ranks)
    except ZooError as problem:
        said.append(str(problem).splitlines()[0])
    # only the second rank's terms are not numbers; both must stop, with the same error
    kind = Diverging if rank == 1 else Dots
    state = setup_players(kind(DotsConfig(), SPEC), ranks, nullcontext())
    try:
        list(train_steps(state, batches, Budget(2, float("inf"))))
    except UnhealthyError as problem:
        said.append(problem.message)
    if rank == 0:
        sys.stdout.write("\n".join(said) + "\n")
    del state
    devices.stop_ranks(ranks)


def stopped_by_one_rank(state: TrainState, batches: Batches) -> str:
    """Train until only the second rank hears a signal; return where both stopped."""
    asked = 0

    def stop_signal() -> int:
        nonlocal asked
        asked += 1
        return signal.SIGTERM if state.ranks.rank == 1 and asked == 5 else 0

    results = list(train_steps(state, batches, Budget(1000, math.inf), stop_signal=stop_signal))
    steps = results[-1].step
    same = devices.max_over_ranks(state.ranks, steps, -steps) == [steps, -steps]
    seldom = asked < steps / 2
    return (
        f"stopped at {'one step' if same else 'two steps'}, asked {'seldom' if seldom else 'often'}"
    )


if __name__ == "__main__":
    main()
