"""Which of several processes this one is, before any of them has found the others."""

from __future__ import annotations

import os


def is_first_rank() -> bool:
    """Whether this process is the only one of a training, or the first of several."""
    numbers = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # by torchrun, by zoo itself, by srun
    return all(os.environ.get(name, "0") == "0" for name in numbers)
