"""The benchmarks: every part can be imported, and what they share does what it says."""

from __future__ import annotations

import itertools
import json
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from benchmarks import dcgan_script, growth, matmul, measuring, peers, training, whole_run
from benchmarks.__main__ import PARTS
from benchmarks.peer_models import ConvVAE, ScriptDCGAN

THERE = [part for part in PARTS if find_spec(f"benchmarks.{part}")]


@pytest.fixture
def images(tmp_path: Path) -> str:
    return str(growth.write_images(tmp_path / "images", 120))


@pytest.mark.parametrize("part", THERE)
def test_every_part_can_be_measured(part: str) -> None:
    assert callable(import_module(f"benchmarks.{part}").measure)


def test_no_part_is_left_out_of_the_list() -> None:
    shared = {"measuring", "training", "peer_models", "dcgan_script", "pythae_script"}
    files = {path.stem for path in Path(measuring.__file__).parent.glob("[a-z]*.py")}
    assert files - shared <= {*PARTS}
    assert {*PARTS} - files <= {"data"}


def test_contenders_take_turns_and_the_first_is_not_counted() -> None:
    calls = []

    def contender(name: str):
        def run() -> float:
            calls.append(name)
            return float(len(calls))

        return run

    taken = measuring.in_turns({"a": contender("a"), "b": contender("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert taken == {"a": [3.0, 5.0], "b": [4.0, 6.0]}
    calls.clear()
    taken = measuring.in_turns({"a": contender("a"), "b": contender("b")}, 1, calls={"b": 3})
    assert calls == ["a", "b", "a", "b", "b", "b"]
    assert taken == {"a": [3.0], "b": [5.0]}


def test_the_ratio_is_that_of_the_turns() -> None:
    assert measuring.median_ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == 3.0


def test_a_table_has_a_column_for_each_name() -> None:
    rows = [{"model": "a", "ms": 0.1234, "images": 12345}, {"model": "b", "ms": 321.4, "images": 1}]
    assert measuring.table(rows).splitlines() == [
        "| model | ms | images |",
        "| --- | --: | --: |",
        "| a | 0.123 | 12,345 |",
        "| b | 321 | 1 |",
    ]


def test_quick_figures_do_not_replace_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "RESULTS", tmp_path)
    quick, real = (measuring.write("part", {"n": 1}, quick=each) for each in (True, False))
    assert quick != real
    written = json.loads(real.read_text())
    assert written["figures"] == {"n": 1}
    assert written["machine"]["cores"] == os.cpu_count()
    assert written["machine"]["memory_gib"] > 0
    assert written["versions"]["torch"] == torch.__version__


def test_a_place_of_its_own_is_left_behind() -> None:
    folder, home = Path.cwd(), os.environ["ZOO_HOME"]
    with measuring.own_place() as place:
        assert Path.cwd().resolve() == place.resolve()
        assert Path(os.environ["ZOO_HOME"]).is_relative_to(place)
    assert (Path.cwd(), os.environ["ZOO_HOME"]) == (folder, home)


def small_dcgan(images: str, **options: object) -> training.Job:
    return training.job_of("dcgan", data=images, size="32", batch_size=8, features=4, **options)


def test_the_bare_loop_takes_the_steps_of_zoos_loop(images: str) -> None:
    own = training.own_loop(small_dcgan(images, precision="32"), 10**6)
    batch = next(own.batches.epoch(0))
    seen = training.Conditions(None, {name: each.stride() for name, each in batch.items()}, "cpu")
    bare = training.bare_loop(small_dcgan(images, precision="32"), own, seen)
    for loop in (own, bare):
        torch.manual_seed(0)
        before = [each.clone() for each in loop.model.parameters()]
        assert sum(1 for _ in itertools.islice(loop.steps, 3)) == 3
        pairs = zip(before, loop.model.parameters(), strict=True)
        assert not any(torch.equal(old, new) for old, new in pairs)
    pairs = zip(own.model.parameters(), bare.model.parameters(), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other)
        assert one.stride() == other.stride()


@pytest.mark.parametrize(("precision", "seen"), [("32", "fp32"), ("bf16", "bfloat16")])
def test_conditions_are_what_the_model_sees(images: str, precision: str, seen: str) -> None:
    loop = training.own_loop(small_dcgan(images, precision=precision), 10**6)
    conditions = training.conditions_of(loop)
    assert conditions.precision == seen
    assert "training_step" not in vars(loop.model)
    batch = next(loop.batches.epoch(0))
    other = {name: each.transpose(2, 3).contiguous() for name, each in batch.items()}
    laid_out = conditions.laid_out(other)["image"]
    assert laid_out.stride() == conditions.strides["image"]
    assert torch.equal(laid_out, other["image"])


def test_steps_and_images_are_planned_as_zoo_train_does(images: str) -> None:
    steps, used = training.planned_steps(small_dcgan(images, epochs=2))
    loop = training.own_loop(small_dcgan(images, epochs=2), 10**6)
    assert steps == 2 * loop.batches.steps_per_epoch
    assert used == steps * 8


def test_operations_of_a_step_are_counted() -> None:
    square = torch.ones(8, 8)
    steps = (torch.mm(square, square) for _ in range(1))
    loop = training.Loop(torch.nn.Identity(), None, steps)  # type: ignore[arg-type]
    assert matmul.flops_of_step(loop) == 2 * 8**3


@pytest.mark.parametrize(("model", "size"), [(ScriptDCGAN, 32), (ConvVAE, None)])
def test_the_peers_networks_train_as_models(model: type, size: int | None, images: str) -> None:
    job = training.job_of_class(model, images, batch_size=4, size=size)
    result = next(training.own_loop(job, 2).steps)
    assert {name.partition("/")[0] for name in result.terms} == {*job.build().players()}


def test_the_script_reads_what_zoo_reads(images: str) -> None:
    pixels = dcgan_script.read_idx(Path(images))
    assert pixels.shape == (120, 28, 28)
    image, _ = dcgan_script.Pictures(pixels)[0]
    assert image.shape == (1, 32, 32)
    assert -1 <= image.min() < 0 < image.max() <= 1


def test_a_peer_that_cannot_be_installed_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(peers.UnavailableError):
        peers.install(tmp_path / "file" / "environment")


def test_without_mnist_its_trainings_are_left_out() -> None:
    assert [*whole_run.cases(None, quick=True)] == ["vae, embedded data"]
    assert [*peers.measure(mnist=None)] == ["left out"]


def test_the_picture_of_growth_is_drawn(tmp_path: Path) -> None:
    rows = [{"images": each, "ms a step": 1.0 * each, "images/s": 5.0} for each in (10, 20)]
    growth.draw({"images": rows}, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
