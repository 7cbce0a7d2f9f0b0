"""Which share of the best matrix product's speed a training step reaches.

The product is the quickest of several square ones, in the number format of the step. The
floating-point operations of a step are counted by torch while the step is taken. Products and steps
take turns in one process, because machines of one kind differ and drift.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measuring import (
    Contender,
    Row,
    calls_within,
    in_turns,
    note,
    own_place,
    parser,
    report,
    timed,
)
from benchmarks.training import Loop, block, conditions_of, job_of, own_loop, steps_within

CASES: dict[str, dict[str, Any]] = {
    "dcgan, 28 px": {"model": "dcgan"},
    "dcgan, 64 px": {"model": "dcgan", "size": "64"},
    "cyclegan, 128 px": {"model": "cyclegan", "size": "128"},
    "vae": {"model": "vae"},
}
FORMATS = {"fp32": torch.float32, "bfloat16": torch.bfloat16}
PRECISIONS = {"fp32": "32", "bfloat16": "bf16"}  # what --precision calls them
SIDES = (1024, 1536, 2048, 3072, 4096)
TURNS, SECONDS = 11, 2.0  # of one block of steps
QUICK_TURNS, QUICK_SECONDS = 2, 0.2
QUICK_SIDES = (1024, 2048)
MOST_STEPS = 10**6


def product(side: int, dtype: torch.dtype) -> Contender:
    """Return a contender that multiplies two square matrices."""
    a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
    found = torch.empty_like(a)
    return timed(lambda: torch.mm(a, b, out=found))


def products(sides: tuple[int, ...], turns: int, seconds: float) -> list[Row]:
    """Return GFLOP/s of square products by side and number format."""
    note("matmul: products")
    runs = {(side, name): product(side, dtype) for side in sides for name, dtype in FORMATS.items()}
    named = {f"{side} {name}": run for (side, name), run in runs.items()}
    calls = {name: calls_within(run, seconds / 4) for name, run in named.items()}
    taken = in_turns(named, turns, calls=calls)
    rows: list[Row] = [
        {"side": side}
        | {
            f"{name}, GFLOP/s": 2 * side**3 / median(taken[f"{side} {name}"]) / 1e9
            for name in FORMATS
        }
        for side in sides
    ]
    return rows


def flops_of_step(loop: Loop) -> int:
    """Return the floating-point operations of one step of a loop, which is taken."""
    with FlopCounterMode(display=False) as counter:
        next(loop.steps)
    return counter.get_total_flops()


def compare(case: str, name: str, side: int, *, turns: int, seconds: float) -> Row:
    """Return the share of a product's speed that a step in one number format reaches."""
    note(f"matmul: {case}, {name}")
    job = job_of(**CASES[case], precision=PRECISIONS[name])
    loop = own_loop(job, MOST_STEPS)
    used = conditions_of(loop).precision
    assert used == name, f"{used} in place of {name}"
    flops, count = flops_of_step(loop), steps_within(loop, seconds)
    best = product(side, FORMATS[name])
    calls = {"product": calls_within(best, seconds / 4)}
    taken = in_turns({"product": best, "step": block(loop, count)}, turns, calls=calls)
    speeds = [2 * side**3 / each / 1e9 for each in taken["product"]]
    reached = [flops / each / 1e9 for each in taken["step"]]
    return {
        "model": case,
        "format": name,
        "batch": loop.batches.batch_size,
        "GFLOP a step": flops / 1e9,
        "steps/s": 1 / median(taken["step"]),
        "GFLOP/s": median(reached),
        "product, GFLOP/s": median(speeds),
        "share": median(a / b for a, b in zip(reached, speeds, strict=True)),
    }


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Return the products, and a row for each case and number format."""
    turns, seconds = (QUICK_TURNS, QUICK_SECONDS) if quick else (TURNS, SECONDS)
    square = products(QUICK_SIDES if quick else SIDES, turns, seconds)
    best = {
        name: max(square, key=lambda row, name=name: row[f"{name}, GFLOP/s"])["side"]
        for name in FORMATS
    }
    with own_place():
        rows = [
            compare(case, name, best[name], turns=turns, seconds=seconds)
            for name in FORMATS
            for case in CASES
        ]
    return {"products": square, "steps": rows, "threads": torch.get_num_threads()}


def main() -> None:
    """Measure, print and write the figures."""
    quick = parser(__doc__).parse_args().quick
    report("matmul", measure(quick=quick), quick=quick)


if __name__ == "__main__":
    main()
