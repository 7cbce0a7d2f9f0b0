"""The checks as a test that pytest collects."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType

from zoo.catalog.lookup import find_model
from zoo.testing.check import Check
from zoo.testing.subject import Subject
from zoo.testing.suite import OF_DISTRIBUTIONS, OF_MODELS, check_one

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
        told = f"{outcome.message}\n{check.name}: {check.sentence}"
        if outcome.kind == "failed":
            pytest.fail(told, pytrace=False)
        if outcome.kind == "expected failure":
            pytest.xfail(outcome.message)
        if outcome.kind == "skipped":
            pytest.skip(outcome.message)

    test.__doc__ = f"What {model} promises."
    return test


@functools.lru_cache(maxsize=1)
def _subject(model: str) -> Subject:
    """Keep what the last model's checks have in common."""
    return Subject.of(find_model(model))
