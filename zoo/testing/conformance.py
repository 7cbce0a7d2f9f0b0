"""All checks, put to a distribution or a model, and as a test that pytest collects."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from zoo.catalog.lookup import find_model
from zoo.catalog.registry import normalised
from zoo.errors import PluginError, did_you_mean
from zoo.testing.check import Check, Finding, Outcome, PrerequisiteFailed, run
from zoo.testing.export_checks import EXPORT_CHECKS
from zoo.testing.model_checks import CARD_CHECKS, TRAINING_CHECKS
from zoo.testing.model_under_test import ModelUnderTest
from zoo.testing.package_checks import EXPECTED, PACKAGE_CHECKS, Package


def project_file(package: Package) -> None:
    """The project's ``pyproject.toml`` can be read; what it expects to fail are checks."""
    for expected in package.all_expected.values():
        try:
            known(expected)
        except PluginError as problem:
            raise Finding(problem.message, package.line_of_metadata(EXPECTED)) from problem


OF_DISTRIBUTIONS: Sequence[Check] = (Check("static", project_file), *PACKAGE_CHECKS)
OF_MODELS: Sequence[Check] = (*CARD_CHECKS, *TRAINING_CHECKS, *EXPORT_CHECKS)


def check_distribution(package: Package) -> Iterator[Outcome]:
    """Put a distribution through the checks that are not about one of its models."""
    expected = _expected(package, package.name)
    for check in OF_DISTRIBUTIONS:
        yield run(check, package, expected)


def check_model(model: ModelUnderTest) -> Iterator[Outcome]:
    """Put a model through the checks that are about it."""
    expected = _expected(model.package, model.name)
    for check in OF_MODELS:
        yield run(check, model, expected)


def check_one(check: Check, model: ModelUnderTest, expected: Mapping[str, str]) -> Outcome:
    """Put a model, or the distribution that it comes with, through one check."""
    thing = model if check in OF_MODELS else model.package
    return run(check, thing, {**_expected(model.package, thing.name), **known(expected)})


def known(expected: Mapping[str, str]) -> Mapping[str, str]:
    """Return what is expected to fail; `PluginError` if one of the names is no check's."""
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
    except PrerequisiteFailed:
        return {}


NONE: Mapping[str, str] = MappingProxyType({})


def conformance(
    model: str, *, expected_failures: Mapping[str, str] = NONE
) -> Callable[[Check], None]:
    """Return a test with one case for each check, those of later versions included.

    In a test file of the plugin: ``test_model = conformance("my-model")``.

    Args:
        model: name of an installed model.
        expected_failures: names of checks that it does not pass, each with the reason, beside
            those that the plugin's ``pyproject.toml`` declares. One that passes is a failure.
    """
    import pytest  # noqa: PLC0415 - nothing else of the zoo needs it

    @pytest.mark.parametrize("check", [*OF_DISTRIBUTIONS, *OF_MODELS], ids=lambda each: each.name)
    def test(check: Check) -> None:
        outcome = check_one(check, _subject(model), expected_failures)
        message = f"{outcome.message}\n{check.name}: {check.sentence}"
        if outcome.kind == "failed":
            pytest.fail(message, pytrace=False)
        if outcome.kind == "expected failure":
            pytest.xfail(outcome.message)
        if outcome.kind == "skipped":
            pytest.skip(outcome.message)

    test.__doc__ = f"What {model} promises."
    return test


@functools.lru_cache(maxsize=1)
def _subject(model: str) -> ModelUnderTest:
    """Keep what the last model's checks have in common."""
    return ModelUnderTest.of(find_model(model))
