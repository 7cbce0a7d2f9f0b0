"""How long a whole training takes, beside its steps alone.

Whole is `zoo train` in this process from the first step to the end, with validations, previews,
checkpoints, monitors and curves, and with the imports that these need. Both take as many steps, and
take turns, each time in a new process; the ratio is the median of those of the turns.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measuring import (
    Row,
    in_turns,
    median_ratio,
    mnist_option,
    note,
    own_place,
    parser,
    report,
)
from benchmarks.training import (
    in_own_process,
    job_of,
    planned_steps,
    train_steps_alone,
    train_whole,
)

TURNS, QUICK_TURNS = 7, 1
QUICK_STEPS = 100  # a training that is only tried


def cases(mnist: Path | None, *, quick: bool) -> dict[str, dict[str, Any]]:
    """Return the options of the trainings, by what the table calls them."""
    found: dict[str, dict[str, Any]] = {"vae, embedded data": {"model": "vae"}}
    if mnist:
        found["vae, MNIST, 2 epochs"] = {"model": "vae", "data": str(mnist), "epochs": "2"}
    if quick:
        for options in found.values():
            options["steps"] = QUICK_STEPS
            options.pop("epochs", None)
    return found


def whole(options: dict[str, Any]) -> float:
    """Return the seconds of a whole training."""
    return train_whole(job_of(**options))


def steps_alone(options: dict[str, Any]) -> float:
    """Return the seconds of the steps of this training."""
    job = job_of(**options)
    return train_steps_alone(job, planned_steps(job)[0])


def compare(case: str, options: dict[str, Any], turns: int) -> Row:
    """Return the seconds of a whole training and of its steps, and the ratio."""
    note(f"whole_run: {case}")
    steps, images = planned_steps(job_of(**options))
    runs = {"whole": whole, "steps": steps_alone}
    taken = in_turns(
        {name: partial(in_own_process, run, options) for name, run in runs.items()}, turns
    )
    return {
        "training": case,
        "steps": steps,
        "images": images,
        "whole, s": median(taken["whole"]),
        "steps alone, s": median(taken["steps"]),
        "ratio": median_ratio(taken["whole"], taken["steps"]),
    }


def measure(*, mnist: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Return a row for each training; those on MNIST only where its folder is given."""
    turns = QUICK_TURNS if quick else TURNS
    with own_place():
        chosen = cases(mnist, quick=quick)
        rows = [compare(case, options, turns) for case, options in chosen.items()]
    left_out = {} if mnist else {"left out": "MNIST: no folder is given (--mnist)"}
    return {"trainings": rows, **left_out}


def main() -> None:
    """Measure, print and write the figures."""
    options = parser(__doc__)
    mnist_option(options)
    asked = options.parse_args()
    report("whole_run", measure(mnist=asked.mnist, quick=asked.quick), quick=asked.quick)


if __name__ == "__main__":
    main()
