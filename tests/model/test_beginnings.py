"""Which rows of data go into the first round of a loop, whatever the kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.errors import raises
from zoo import DataSpec, Graph, Model, Player, Port, Update
from zoo.errors import UsageError
from zoo.model.beginnings import begin_with, inputs_from_data, loops_from_data, source_of
from zoo.model.inference import draw_samples, sample_rounds
from zoo.model.previews import overview, page_of_loop, previewed

ALPHABET = ("a", "b", "c", "d")
IMAGE = Port("image", "image", ("batch", 3, 8, 8), range=(-1.0, 1.0))
TEXT = Port("text", "text", ("batch", 12), "int64", (0.0, 3.0), classes=ALPHABET)
SOUND = Port("audio", "audio", ("batch", 1, 12), range=(-1.0, 1.0), rate=100)
LABEL = Port.label("label", ["x", "y", "z"])
DATA = DataSpec("things", (IMAGE, TEXT, SOUND, LABEL))
SPLIT = {
    "image": np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), np.uint8),
    "text": np.arange(120).reshape(10, 12).astype(np.uint8) % 4,
    "audio": np.arange(120).reshape(10, 12, 1).astype(np.int16),
    "label": np.arange(10) % 3,
}


@dataclass(frozen=True)
class Config:
    pass


class Loop(Model):
    """One graph, of whatever ports a test asks for; an output is the input it comes from."""

    Config = Config

    def __init__(self, inputs: list[Port], rounds: int = 8, data: DataSpec = DATA) -> None:
        super().__init__(Config(), data)
        self.scale = nn.Linear(1, 1)
        self.inputs, self.rounds = inputs, rounds

    def players(self) -> Mapping[str, Player]:
        return {"scale": Player([self.scale], partial(torch.optim.SGD, lr=1.0))}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        raise NotImplementedError

    def graphs(self) -> Mapping[str, Graph]:
        outputs = [
            replace(port, name=port.next, next="", prior=None, default=None)
            for port in self.inputs
            if port.next
        ]
        places = [place for place, port in enumerate(self.inputs) if port.next]
        function = lambda *given: tuple(given[place] for place in places)  # noqa: E731
        return {"go": Graph(function, self.inputs, outputs, self.rounds)}


def symbol(length: int | None = None, **changes: object) -> Port:
    shape = ("batch",) if length is None else ("batch", length)
    port = Port("prompt", "text", shape, "int64", (0.0, 3.0), classes=ALPHABET, next="out")
    return replace(port, **changes)


@pytest.mark.parametrize(
    ("port", "source"),
    [
        (Port("photo", "image", ("batch", 1, 4, 4), range=(-1.0, 1.0)), "image"),
        (symbol(), "text"),
        (symbol(4), "text"),
        (symbol(12), "text"),
        (symbol(13), None),
        (symbol(classes=("a", "b")), None),
        (Port("part", "audio", ("batch", 1, 4), rate=100, range=(-1.0, 1.0), next="out"), "audio"),
        (Port("part", "audio", ("batch", 2, 4), rate=100, range=(-1.0, 1.0)), None),
        (Port.label("of", ["x", "y", "z"]), "label"),
        (Port("code", "latent", ("batch", 8)), None),
        (Port("rate", "values", ("batch",)), None),
    ],
)
def test_the_port_of_the_data_is_found_by_kind_and_form(port: Port, source: str | None) -> None:
    found = source_of(DATA, port)
    assert (found.name if found else None) == source


def test_two_domains_have_their_own_pictures() -> None:
    data = DataSpec.of_images("cat2dog", 3, 8, 8, domains=("cat", "dog"))
    photo = Port("photo", "image", ("batch", 3, 8, 8), range=(-1.0, 1.0), domain="dog")
    found = source_of(data, photo)
    assert found is not None
    assert found.name == "b"


def begun(model: Loop, count: int = 2, **asked: bool) -> dict[str, np.ndarray]:
    ports = inputs_from_data(model, "go", **asked)
    return dict(begin_with(model, "go", ports, SPLIT, count).arrays)


def test_a_text_goes_in_symbol_by_symbol_for_a_quarter_of_the_rounds() -> None:
    model = Loop([symbol()], rounds=8)
    found = begin_with(model, "go", inputs_from_data(model, "go"), SPLIT, 2)
    assert found.arrays["prompt"].tolist() == [[0, 1], [0, 1]]
    assert (found.count, found.items, found.share) == (2, "texts", 2 / 12)
    (*_, last) = sample_rounds(model, "go", count=2, seed=0, given=found.arrays)
    assert last.tolist() == [[0, 1] + [1] * 7] * 2
    assert begun(Loop([symbol()], rounds=1000))["prompt"].shape == (2, 12)
    assert begun(Loop([symbol()], rounds=1))["prompt"].shape == (2, 1)


def test_a_text_in_pieces_and_one_that_fits_as_it_is() -> None:
    assert begun(Loop([symbol(4)], rounds=8))["prompt"].tolist() == [[[0, 1, 2, 3]] * 2] * 2
    assert begun(Loop([symbol(12)]))["prompt"].shape == (2, 12)
    topic = symbol(5, name="topic", next="")
    assert begun(Loop([symbol(), topic]))["topic"].tolist() == [[0, 1, 2, 3, 0]] * 2


def test_a_sound_goes_in_clip_by_clip() -> None:
    part = Port("part", "audio", ("batch", 1, 4), rate=100, range=(-1.0, 1.0), next="out")
    found = begun(Loop([part], rounds=8), count=10)["part"]
    assert found.shape == (10, 2, 1, 4)
    np.testing.assert_allclose(found[3].reshape(-1) * 32768, np.arange(36, 44), atol=1e-3)


def test_pictures_are_brought_to_the_port_and_two_of_them_differ() -> None:
    content = Port("content", "image", ("batch", 1, 4, 4), range=(-1.0, 1.0), next="out")
    style = replace(content, name="style", next="", shape=("batch", 3, 8, 8))
    model = Loop([content, style, replace(LABEL, prior=None)])
    assert loops_from_data(model) == ["go"]
    assert previewed(model) == ["go"]
    found = begun(model, count=3)
    assert found["content"].shape == (3, 1, 4, 4)
    rows = ((found["style"] + 1) * 127.5).round().transpose(0, 2, 3, 1)
    chosen = [int((SPLIT["image"] == row).all(axis=(1, 2, 3)).argmax()) for row in rows]
    assert found["label"].tolist() == (SPLIT["label"][[0, 4, 7]]).tolist(), "those of `content`"
    assert chosen == [2, 5, 9]
    assert begun(model, count=100)["content"].shape[0] == 5, "each picture is used once"
    page = overview(model, "go", SPLIT, rounds=2)
    assert page.ndim == 3
    begin = begin_with(model, "go", inputs_from_data(model, "go"), SPLIT, 3)
    made = draw_samples(model, "go", count=3, seed=0, given=begin.arrays)
    assert page_of_loop(model, "go", begin, made).shape[2] == 3


def test_what_can_be_drawn_begins_with_data_only_where_that_is_asked_for() -> None:
    picture = Port("x", "image", ("batch", 3, 8, 8), range=(-1.0, 1.0), prior="uniform", next="out")
    model = Loop([picture])
    assert not loops_from_data(model)
    assert loops_from_data(model, asked=True) == ["go"]
    assert begun(model, asked=True)["x"].shape == (2, 3, 8, 8)
    state = Port("x", "latent", ("batch", 4), prior="normal", next="out")
    assert not loops_from_data(Loop([state]), asked=True)


def test_an_input_that_no_data_has_is_told_and_not_previewed() -> None:
    model = Loop([symbol(), Port("code", "latent", ("batch", 4))])
    assert inputs_from_data(model, "go") == {"prompt": TEXT, "code": None}
    assert loops_from_data(model) == ["go"]
    assert not previewed(model)


def test_a_split_without_the_port_is_an_error() -> None:
    model = Loop([symbol()])
    with raises(UsageError, "wrong-data", "go", "text"):
        begin_with(model, "go", {"prompt": TEXT}, {"image": SPLIT["image"]}, 2)
