"""All checks, and a distribution or a model put through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from zoo.catalog.registry import normalised
from zoo.errors import PluginError, did_you_mean
from zoo.testing import export, imports, ports, static, training
from zoo.testing.check import Check, Finding, Obstacle, Outcome, run
from zoo.testing.package import EXPECTED, Package
from zoo.testing.subject import Subject


def project_file(package: Package) -> None:
    """The project's ``pyproject.toml`` can be read; what it expects to fail are checks."""
    for expected in package.all_expected.values():
        try:
            known(expected)
        except PluginError as problem:
            raise Finding(problem.message, package.line_of_metadata(EXPECTED)) from problem


OF_DISTRIBUTIONS: Sequence[Check] = (
    Check("static", project_file), *static.CHECKS, *imports.CHECKS
)  # fmt: skip
OF_MODELS: Sequence[Check] = (
    *static.MODEL_CHECKS, *training.CHECKS, *ports.CHECKS, *export.CHECKS
)  # fmt: skip


def check_distribution(package: Package) -> Iterator[Outcome]:
    """Put a distribution through the checks that are not about one of its models."""
    expected = _expected(package, package.name)
    for check in OF_DISTRIBUTIONS:
        yield run(check, package, expected)


def check_model(model: Subject) -> Iterator[Outcome]:
    """Put a model through the checks that are about it."""
    expected = _expected(model.package, model.name)
    for check in OF_MODELS:
        yield run(check, model, expected)


def check_one(check: Check, model: Subject, expected: Mapping[str, str]) -> Outcome:
    """Put a model, or the distribution that it comes with, through one check."""
    thing = model if check in OF_MODELS else model.package
    return run(check, thing, {**_expected(model.package, thing.name), **known(expected)})


def known(expected: Mapping[str, str]) -> Mapping[str, str]:
    """Return what is expected to fail, all of which there is.

    Raises:
        PluginError: there is no check of such a name.
    """
    names = [check.name for check in (*OF_DISTRIBUTIONS, *OF_MODELS)]
    for name in expected:
        if name not in names:
            raise PluginError(
                f"{name[:60]!r} is expected to fail, but is no check.{did_you_mean(name, names)}",
                hint="zoo plugins check prints the names",
            )
    return expected


def _expected(package: Package, name: str) -> Mapping[str, str]:
    """Return what a project expects to fail; where it is wrong, `project_file` says so."""
    try:
        return package.all_expected.get(normalised(name), {})
    except Obstacle:
        return {}
