"""A run goes on with the data that it was trained on: other classes, ports or symbols are told."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.pictures import fill
from tests.process import error_of, zoo
from tests.training.trials import small_training
from zoo.data.survey import describe_change
from zoo.ports import Port

CGAN, VAE, LSTM = "zoo-gans:cgan", "zoo-autoencoders:vae", "zoo-sequences:char-lstm"


def pets() -> None:
    for number, name in enumerate(("cat", "dog")):
        fill(Path("data", name), 20, first=100 * number)


def table() -> None:
    fill(Path("data"), 20)
    write_table({f"{number}.png": ["even", "odd"][number % 2] for number in range(20)})


def write_table(labels: dict[str, str]) -> None:
    with Path("data/metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "label"])
        writer.writerows(labels.items())


def play(more: str = "") -> None:
    Path("data").mkdir(exist_ok=True)
    Path("data/play.txt").write_text("to be, or not to be. " * 200 + more)


def rename_a_class() -> None:
    Path("data/dog").rename("data/wolf")


def take_the_labels() -> None:
    Path("data/metadata.csv").unlink()


def other_symbols() -> None:
    Path("data/play.txt").write_text("to be, or not to bé? " * 200)


def put_text_in_place() -> None:
    shutil.rmtree("data")
    play()


@pytest.mark.parametrize(
    ("card", "make", "change", "told"),
    [
        (CGAN, pets, rename_a_class, ["'wolf' is new", "'dog' is gone"]),
        (CGAN, table, take_the_labels, ["label"]),
        (LSTM, play, other_symbols, ["'?'", "'é'", "'.'", "symbols of text"]),
        (VAE, pets, put_text_in_place, ["texts"]),
    ],
)
def test_data_with_other_ports_is_refused_by_what_differs(
    card: str, make: Callable[[], None], change: Callable[[], None], told: list[str]
) -> None:
    make()
    zoo(*small_training(card, "run", steps=2), "--data", "data")
    change()
    said = error_of("train", "--resume", "run", "--steps", "4", code=3, error="data-changed")
    for each in ("'run'", *told, "--init-from run"):
        assert each in said


def test_more_of_the_same_classes_is_other_data_too() -> None:
    pets()
    zoo(*small_training(CGAN, "run", steps=2), "--data", "data")
    fill(Path("data/dog"), 1, first=900)
    error_of("train", "--resume", "run", "--steps", "4", code=3, error="data-changed")


def test_a_change_of_a_port_is_described() -> None:
    before = Port("values", "values", ("batch", 3), classes=("a", "b", "c"))
    more = Port("values", "values", ("batch", 4), classes=("a", "b", "d", "c"))
    turned = Port("values", "values", ("batch", 3), classes=("b", "a", "c"))
    assert not describe_change(before, before)
    assert "'d'" in describe_change(before, more)
    assert "values" in describe_change(before, turned)
    assert "values" in describe_change(before, None)
    image = Port("image", "image", ("batch", 1, 8, 8))
    assert "3 × 8 × 8" in describe_change(image, Port("image", "image", ("batch", 3, 8, 8)))
    assert "label" in describe_change(image, Port.label("image", ["a", "b"]))
