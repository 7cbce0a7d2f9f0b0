"""Networks that torch compiles: which are, and why one cannot be."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from zoo.catalog.dataset import cache_home
from zoo.errors import ZooError
from zoo.model.contract import Model
from zoo.training.config import Settings
from zoo.training.players import networks_called

NO_COMPILER = "there is no C++ compiler here, such as g++ or clang++"
OF_TORCH = ("torch._dynamo", "torch._inductor", "torch._functorch")  # what compiles
LONGEST_REASON = 120  # characters


class SecondDerivativesError(RuntimeError):
    """A compiled network is to be differentiated twice."""

    def __init__(self) -> None:
        super().__init__("its second derivatives are needed, which torch does not compile")


def compile_networks(model: Model, names: Iterable[str]) -> None:
    """Compile networks in place, by their names or those of players, when they are called first.

    Their parameters keep their names. Code is kept in the cache.

    Raises:
        UsageError: the model has none of such a name.
    """
    found = [network for name in names for network in networks_called(model, name, "compile")]
    if not found:
        return
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_home() / "compiled"))
    # what goes wrong is raised as well
    torch._logging.set_logs(all=logging.CRITICAL)  # type: ignore[attr-defined] # it is documented
    warnings.filterwarnings("ignore", module=r"torch\._(dynamo|inductor|functorch)")
    for network in found:
        network._compiled_call_impl = _compiled_call(network)


def _compiled_call(network: nn.Module) -> Callable[..., Any]:
    """Return what `Module.compile` would set as the compiled call of a network.

    Two things of torch 2.13 forbid that method. Of torch's own modules, such as `Sequential`, it
    compiles nothing: frames of torch's code are left out, unless a function of others calls them.
    And a term that is made of gradients, such as a gradient penalty, loses its own gradient
    through compiled code without a word; here that is an error.

    Each shape of a batch has code of its own, whatever shapes came before it, so that a training
    that is resumed computes the same to the bit.
    """

    def call(*inputs: Any, **named: Any) -> Any:
        return network._call_impl(*inputs, **named)  # type: ignore[no-untyped-call] # torch's own

    compiled = torch.compile(  # type: ignore[call-overload] # torch's overloads lack the last one
        call, dynamic=False, fullgraph=True, isolate_recompiles=True
    )

    def checked(*inputs: Any, **named: Any) -> Any:
        outputs = compiled(*inputs, **named)
        for each in tree_leaves(outputs):
            if isinstance(each, Tensor) and each.requires_grad:
                each.register_hook(_check_order)  # type: ignore[no-untyped-call] # torch's own
        return outputs

    return checked


def _check_order(gradient: Tensor) -> None:
    """Check, in a backward pass, that nothing is to be differentiated once more.

    Raises:
        SecondDerivativesError: it is.
    """
    del gradient
    if torch.is_grad_enabled():  # by create_graph=True
        raise SecondDerivativesError


@contextmanager
def explaining_failures(settings: Settings, hint: str) -> Iterator[None]:
    """Raise the failure of torch to compile a network as an error for the user.

    Raises:
        ZooError: torch cannot compile what the settings ask for.
    """
    try:
        yield
    except Exception as problem:
        why = why_not_compiled(problem) if settings.compile else ""
        if not why:
            raise
        raise ZooError(
            f"torch cannot compile {' or '.join(settings.compile)}",
            cause=why,
            hint=hint,
            code="cannot-compile",
        ) from problem


def why_not_compiled(problem: Exception) -> str:
    """Return in one line why torch cannot compile a network; empty where it is another problem."""
    if isinstance(problem, SecondDerivativesError):
        return str(problem)
    if not (type(problem).__module__.startswith(OF_TORCH) or "torch.compile" in str(problem)):
        return ""
    if "C++ compiler" in str(problem):
        return NO_COMPILER
    return first_line(getattr(problem, "inner_exception", problem))


def first_line(problem: BaseException) -> str:
    """Return the kind of an exception and the first line that it says, cut short."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    told = ": ".join([type(problem).__name__, *lines[:1]])
    return told if len(told) <= LONGEST_REASON else f"{told[: LONGEST_REASON - 1]}…"
