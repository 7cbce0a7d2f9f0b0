"""The random generators of one process, as values that can be kept and put back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

PYTHON, NUMPY, TORCH, DEVICE = "python", "numpy", "torch", "device"


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the states of Python's, NumPy's, torch's and the device's generators."""
    numpy_state = np.random.get_state(legacy=False)  # what a plugin may draw from
    assert isinstance(numpy_state, dict)
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    state = {PYTHON: random.getstate(), NUMPY: numpy_state, TORCH: torch.get_rng_state()}
    if device.type == "cuda":
        state[DEVICE] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state[DEVICE] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Put the generators back to where they were; a device of another kind keeps its own.

    Raises:
        ValueError: the states are none, or damaged.
    """
    try:
        random.setstate(state[PYTHON])
        numpy_state = state[NUMPY]
        numpy_state["state"]["key"] = np.array(numpy_state["state"]["key"], dtype=np.uint32)
        np.random.set_state(numpy_state)
        torch.set_rng_state(state[TORCH])
        if DEVICE in state and device.type == "cuda":
            torch.cuda.set_rng_state(state[DEVICE], device)
        elif DEVICE in state and device.type == "mps":
            torch.mps.set_rng_state(state[DEVICE])
    except (KeyError, TypeError, RuntimeError) as problem:
        raise ValueError(f"the state of a random generator is damaged: {problem}") from None
