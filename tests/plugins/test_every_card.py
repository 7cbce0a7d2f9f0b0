"""What every plugin and model that is installed must do; a new one is tested by being installed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from tests.training.trials import cards
from zoo.catalog.lookup import find_model, installed_models
from zoo.catalog.plugins import installed_plugins
from zoo.data.location import locate_data
from zoo.data.store import open_store
from zoo.testing.check import Outcome
from zoo.testing.conformance import check_distribution, check_model
from zoo.testing.model_under_test import ModelUnderTest
from zoo.testing.package_checks import Package


@pytest.fixture(scope="module", autouse=True)
def _one_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decode each data set once for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("zoo-home")))
        for data in {each.card.data for each in installed_models()}:
            open_store(locate_data(data))
        yield


def failures(outcomes: Iterable[Outcome]) -> list[str]:
    """Return what failed; something must have run."""
    found = list(outcomes)
    assert any(each.kind == "passed" for each in found)
    return [f"{each.check}: {each.message}" for each in found if each.kind == "failed"]


@pytest.mark.parametrize(
    "distribution", sorted({each.distribution for each in installed_plugins()})
)
def test_the_distribution_keeps_what_plugins_promise(distribution: str) -> None:
    assert not failures(check_distribution(Package.called(distribution)))


# One model of each distribution, the quickest of it; that of zoo-diffusion takes long.
@pytest.mark.parametrize(
    "card",
    cards(
        "zoo-autoencoders:vae",
        "zoo-classifiers:classifier",
        "zoo-gans:dcgan",
        "zoo-sequences:char-lstm",
        "zoo-translation:super-resolution",
    ),
)
def test_the_model_keeps_what_models_promise(card: str) -> None:
    assert not failures(check_model(ModelUnderTest.of(find_model(card))))
