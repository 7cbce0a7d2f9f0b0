"""What an author does wrong is told as theirs, by each verb, with file and line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from PIL import Image

from tests.testing.test_planted_bugs import FILE, FOOL, GRAPHS, MOVE, SAMPLE, WITH_LOOP, Bug, plant
from tests.testing.tiny import forget, write
from zoo.catalog.lookup import find_model
from zoo.cli import main
from zoo.model.checks import check_graphs
from zoo.testing.model_under_test import ModelUnderTest

DECIDES = "        if self.generator(noise).sum() > 0:\n            return self.generator(noise)\n"
GRADIENT = """        sum_of = lambda x: self.generator(x).sum()
        return self.generator(noise + torch.func.grad(sum_of)(noise))
"""
CRITIC = '"critic": Player([self.critic], adam)'
RETURNED = MOVE.replace("yield", "return")
ASTRAY = WITH_LOOP.replace('next="grown"', 'next="growing"')
SEQUENTIAL = GRAPHS.replace("self.sample", "self.generator").replace("[image]", "[noise]")


class Told(NamedTuple):
    """How the command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(capfd, tmp_path, monkeypatch):
    """The command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Told:
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        captured = capfd.readouterr()
        assert isinstance(left.value.code, int)
        return Told(left.value.code, captured.out, captured.err)

    return call


def mistake(new: str, *, old: str = SAMPLE, line: str = "def sample") -> Bug:
    return Bug(FILE, old, new, "", line)


# What is wrong, and what the error must name beside the line.
IN_TRAINING = {
    "returns": (mistake(RETURNED, old=MOVE, line="return Update"), ["returns an Update", "yield"]),
    "a float": (
        mistake(FOOL + "        fool = fool.item()\n", old=FOOL, line=MOVE.strip("\n")),
        ["'fool'", "a float"],
    ),
    "not summed": (
        mistake(FOOL.replace(".mean()", ""), old=FOOL, line=MOVE.strip("\n")),
        ["'fool'", "(64, 1)"],
    ),
    "shape": (
        mistake("        return self.generator(noise).flatten(2)\n"),
        ["'sample'", "'image'", "(2, 1, 28, 28)", "(2, 1, 784)"],
    ),
    "number": (
        mistake("        return self.generator(noise), noise\n"),
        ["'sample'", "expected 1", "got 2"],
    ),
    "dtype": (
        mistake("        return self.generator(noise).double()\n"),
        ["'sample'", "'image'", "float32", "float64"],
    ),
    "nothing": (mistake("        self.generator(noise)\n"), ["'sample'", "'image'", "None"]),
    "fails": (
        mistake("        return self.generator(noise[:, :3])\n", line="noise[:, :3]"),
        ["'sample'", "noise (2, 4)"],
    ),
    "a network of torch's": (
        mistake(SEQUENTIAL, old=GRAPHS, line="def graphs"),
        ["'sample'", "'noise'", "(2, 4)", "(2, 1, 28, 28)"],
    ),
    "a loop that leads nowhere": (
        mistake(ASTRAY, old=GRAPHS, line="def graphs"),
        ["'grow'", "'x'", "'growing'"],
    ),
}


@pytest.mark.parametrize(("bug", "names"), IN_TRAINING.values(), ids=IN_TRAINING)
def test_a_training_tells_it(bug: Bug, names: list[str], site: Path, command) -> None:
    line = plant(site, bug)
    done = command("train", "tiny", "--steps", 2, "--batch-size", 64)
    told = [each for each in done.err.splitlines() if not each.startswith("decoding")]
    assert (done.code, done.out) == (4, "")
    assert len(told) <= 6
    for name in (*names, line):
        assert name in done.err, name
    assert "bug" not in done.err
    is_graph = "graph" in done.err
    assert Path("runs").exists() != is_graph, "graphs are run before the run begins"


def test_a_training_tells_a_part_of_a_network_that_a_player_names(site: Path, command) -> None:
    part = CRITIC.replace("self.critic", "self.critic[1], self.critic[3]")
    line = plant(site, mistake(part, old=CRITIC, line="def players"))
    done = command("train", "tiny", "--steps", 2)
    assert done.code == 4
    for name in ("self.critic.1", "self.critic_1", line):
        assert name in done.err, name


@pytest.mark.parametrize(
    ("bug", "names"),
    [
        (mistake(DECIDES + SAMPLE, line="if self.generator"), ["torch.where", "graphs()"]),
        (mistake(GRADIENT, line="def sample"), ["gradient"]),
    ],
    ids=["decides", "takes a gradient"],
)
def test_an_export_tells_what_the_exporter_cannot_do(
    bug: Bug, names: list[str], site: Path, command
) -> None:
    line = plant(site, bug)
    assert command("train", "tiny", "--steps", 1).code == 0
    done = command("export", "tiny", "--onnx")
    assert (done.code, done.out) == (4, "")
    for name in (*names, line):
        assert name in done.err, name
    assert "\x1b" not in done.err
    assert len(done.err.splitlines()) <= 6, "torch's own listings stay away"
    assert not list(Path("exports").rglob("*.onnx"))


def test_an_export_tells_a_graph_that_is_not_as_its_ports(site: Path, command) -> None:
    write(site, "tiny", {})
    forget()
    assert command("train", "tiny", "--steps", 1).code == 0
    line = plant(site, IN_TRAINING["shape"][0])
    done = command("export", "tiny", "--onnx")
    assert (done.code, done.out) == (4, "")
    assert line in done.err
    assert "(2, 1, 784)" in done.err


def test_the_check_of_graphs_leaves_the_random_numbers_alone(site: Path) -> None:
    write(site, "tiny", {})
    forget()
    model = ModelUnderTest.of(find_model("tiny")).untrained
    state = torch.random.get_rng_state()
    check_graphs(model)
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training


def test_a_model_is_checked_on_the_data_that_is_named(site: Path, tmp_path: Path, command) -> None:
    """On pictures in colour, of another size, the small model fails where it is made for grey."""
    for index in range(40):
        for name in ("cat", "dog"):
            path = tmp_path / "pets" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((24, 16), 40 + index).convert("RGB").save(path)
    grey = "            nn.Unflatten(1, shape),\n"
    plant(site, mistake(grey.replace("shape", "(1, 28, 28)"), old=grey, line="class Tiny"))
    own = command("plugins", "check", "tiny")
    assert own.code == 0, own
    done = command("plugins", "check", "tiny", "--data", tmp_path / "pets")
    assert done.code == 4
    assert re.search(r"failed +tiny +training/", done.out)
    missing = command("plugins", "check", "tiny", "--data", "nowhere")
    assert (missing.code, missing.out) == (3, "")
