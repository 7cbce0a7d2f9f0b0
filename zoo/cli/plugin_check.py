"""`zoo plugins check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from zoo.cli.output import json_option, print_json, say

if TYPE_CHECKING:
    from zoo.catalog.lookup import Offer
    from zoo.testing.check import Outcome


@click.command("check")
@click.argument("names", nargs=-1, metavar="[DIST|MODEL]...")
@json_option
def check(names: tuple[str, ...], as_json: bool) -> None:
    """Check that a plugin keeps what it promises; all but the zoo's own where none is named.

    Names are those of installed distributions or models. Each check passes, fails, is skipped, or
    fails as its author expects. A model's own data set is downloaded if it is not here yet.
    """
    from zoo.errors import PluginError

    distributions, offers = _choose(names)
    if not distributions and not offers:
        say("no plugin but the zoo's own is installed; name one to check it all the same")
    outcomes = []
    for outcome in _outcomes(distributions, offers):
        outcomes.append(outcome)
        if not as_json:
            _tell(outcome)
    kinds: Counter[str] = Counter(outcome.kind for outcome in outcomes)
    ran = len(outcomes) - kinds["skipped"]
    if as_json:
        print_json({"ran": ran, **_counts(kinds), "checks": [asdict(each) for each in outcomes]})
    elif outcomes:
        counts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in _counts(kinds).items())
        click.echo(f"ran {ran}, {counts}")
    if kinds["failed"]:
        first = next(each for each in outcomes if each.kind == "failed")
        raise PluginError(
            f"{kinds['failed']} of {ran} checks failed, first {first.check} of {first.subject}"
        )


def _choose(names: tuple[str, ...]) -> tuple[set[str], dict[str, Offer]]:
    """Return the distributions and the models that are meant, each once.

    Where no name is given, that is everything but the zoo's own and what is disabled.
    """
    from zoo.catalog.lookup import find_plugin
    from zoo.catalog.plugins import installed
    from zoo.catalog.registry import normalised, reserved_names
    from zoo.errors import NotFoundError, did_you_mean

    plugins = installed()
    known = sorted({each.distribution for each in plugins})
    left = {*reserved_names().values(), *(each.distribution for each in plugins if each.left_out)}
    left = {normalised(each) for each in left}
    distributions: set[str] = set()
    offers: dict[str, Offer] = {}
    for name in names or [each for each in known if normalised(each) not in left]:
        whole, models = find_plugin(name)
        if not whole:
            known += [card.name for each in plugins for card in each.models]
            near = did_you_mean(name, known)
            broken = [each.distribution for each in plugins if each.trouble]
            raise NotFoundError(
                f"no plugin and no model {name[:60]!r} is installed and loaded.{near}",
                cause=f"not loaded: {', '.join(broken)}" if broken else "",
                hint=f"zoo plugins check {broken[0]}" if broken else "zoo plugins list",
            )
        distributions |= set(whole)
        offers |= {each.full_name: each for each in models}
    return distributions, offers


def _outcomes(distributions: set[str], offers: dict[str, Offer]) -> Iterator[Outcome]:
    from zoo.testing.conformance import check_distribution, check_model
    from zoo.testing.model_under_test import ModelUnderTest, Package

    for name in sorted(distributions):
        yield from check_distribution(Package.called(name))
    for offer in offers.values():
        yield from check_model(ModelUnderTest.of(offer))


def _tell(outcome: Outcome) -> None:
    """Print a line, and the reason below where there is one."""
    click.echo(f"{outcome.kind:<17} {outcome.subject}  {outcome.check}")
    if outcome.message:
        click.echo(f"{'':<17} {outcome.message}")


def _counts(kinds: Counter[str]) -> dict[str, int]:
    return {
        "passed": kinds["passed"],
        "failed": kinds["failed"],
        "skipped": kinds["skipped"],
        "expected_failures": kinds["expected failure"],
    }
