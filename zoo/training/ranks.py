"""Which of several processes this one is, before any of them has found the others."""

from __future__ import annotations

import os


def is_first_rank() -> bool:
    """Whether this process is the only one of a training, or the first of several."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"
