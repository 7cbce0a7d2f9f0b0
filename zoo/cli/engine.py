"""Options of the verbs that run exported files: what ONNX Runtime computes on, and how."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import click

from zoo.cli.output import Choice
from zoo.runtime.engine import AUTO, PROVIDERS

if TYPE_CHECKING:
    from zoo.runtime.bundles import Open

Verb = TypeVar("Verb", bound=Callable[..., None])


def engine_options(verb: Verb) -> Verb:
    """Add --provider, --threads, --memory-pattern and --spin, which `opener` takes."""
    options = (
        click.option(
            "--provider",
            type=Choice([AUTO, *PROVIDERS]),
            default=AUTO,
            show_default=True,
            help="What to compute on; auto: the first that is installed and works, or the CPU.",
        ),
        click.option(
            "--threads", type=click.IntRange(1, 1024), help="[default: one a CPU, up to 8]"
        ),
        click.option(
            "--memory-pattern/--no-memory-pattern",
            default=None,
            help="Lay memory out once for each size. "
            "[default: where FILE fixes all sizes but the batch]",
        ),
        click.option(
            "--spin/--no-spin",
            default=True,
            show_default=True,
            help="Let threads wait busily; --no-spin where other programs need the CPUs.",
        ),
    )
    for option in reversed(options):
        verb = option(verb)
    return verb


def opener(*, provider: str, threads: int | None, memory_pattern: bool | None, spin: bool) -> Open:
    """Return what opens a file as the options say."""
    from zoo.runtime.session import open_session

    return partial(
        open_session, provider=provider, threads=threads, memory_pattern=memory_pattern, spin=spin
    )
