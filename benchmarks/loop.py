"""How long a step of zoo's training loop takes, beside a bare loop of torch.

Both have the same networks, optimisers, batches, number format and memory layout, which are those
that zoo's loop chooses. Blocks of steps alternate in one process; the ratio is the median of those
of the blocks, above 1 where zoo's loop is slower. Neither reports anything.
"""

from __future__ import annotations

from statistics import median, quantiles
from typing import Any

from benchmarks.measuring import Row, in_turns, median_ratio, note, own_place, parser, report
from benchmarks.training import (
    bare_loop,
    block,
    conditions_of,
    job_of,
    layout_of,
    own_loop,
    steps_within,
)

CASES: dict[str, dict[str, Any]] = {
    "vae, batch 64": {"model": "vae", "batch_size": 64},
    "vae, batch 128": {"model": "vae", "batch_size": 128},
    "dcgan tiny": {"model": "dcgan", "preset": "tiny"},
    "dcgan": {"model": "dcgan"},
    "cyclegan, 64 px, batch 1": {"model": "cyclegan", "size": "64", "batch_size": 1},
}
TURNS, SECONDS = 21, 1.0  # of one block
QUICK_TURNS, QUICK_SECONDS = 5, 0.2
MOST_STEPS = 10**6  # of the training that is measured, of which a few thousand are taken


def compare(case: str, *, turns: int, seconds: float) -> Row:
    """Return the milliseconds of a step in both loops, and the ratio."""
    note(f"loop: {case}")
    job = job_of(**CASES[case])
    own = own_loop(job, MOST_STEPS)
    conditions = conditions_of(own)
    bare = bare_loop(job, own, conditions)
    count = min(steps_within(own, seconds), steps_within(bare, seconds))
    taken = in_turns({"zoo": block(own, count), "bare": block(bare, count)}, turns)
    low, _, high = quantiles([a / b for a, b in zip(taken["zoo"], taken["bare"], strict=True)], n=4)
    return {
        "model": case,
        "zoo, ms": 1000 * median(taken["zoo"]),
        "bare, ms": 1000 * median(taken["bare"]),
        "ratio": median_ratio(taken["zoo"], taken["bare"]),
        "ratio, quartiles": f"{low:.3f} to {high:.3f}",
        "format": conditions.precision,
        "layout": layout_of(own.model),
        "steps a block": count,
    }


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Return a row for each case."""
    turns, seconds = (QUICK_TURNS, QUICK_SECONDS) if quick else (TURNS, SECONDS)
    with own_place():
        return {"steps": [compare(case, turns=turns, seconds=seconds) for case in CASES]}


def main() -> None:
    """Measure, print and write the figures."""
    quick = parser(__doc__).parse_args().quick
    report("loop", measure(quick=quick), quick=quick)


if __name__ == "__main__":
    main()
