"""`zoo.load`: a trained model, or its exported files, run on arrays and tensors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from tests.errors import raises
from tests.process import zoo as command

pytestmark = pytest.mark.usefixtures("trained")


@pytest.fixture
def codes() -> zoo.LoadedModel:
    return zoo.load("codes", log=None)


def test_a_run_is_found_by_its_name_its_path_its_weights_and_its_model() -> None:
    by_name = zoo.load("codes", log=None)
    assert by_name.name == "vae"
    assert by_name.config["latent_size"] == 2
    assert by_name.data.image.shape[1:] == (1, 28, 28)
    assert isinstance(by_name.model, torch.nn.Module)
    assert not by_name.model.training
    for target in ("runs/codes", Path("runs/codes"), by_name.path, "vae", by_name):
        assert zoo.load(target, log=None).path == by_name.path
    assert zoo.load("@last", log=None).name == "char-lstm"


def test_what_is_used_is_told_on_stderr_or_to_a_function(
    capfd: pytest.CaptureFixture[str],
) -> None:
    told: list[str] = []
    zoo.load("codes", log=told.append)
    assert "model.safetensors" in told[0]
    assert capfd.readouterr() == ("", "")
    zoo.load("codes")
    assert capfd.readouterr().err == f"{told[0]}\n"
    zoo.load("codes", log=None)
    assert capfd.readouterr() == ("", "")


def test_what_is_nothing_is_told_as_the_command_tells_it() -> None:
    with raises(zoo.NotFoundError, "target-not-found", "Did you mean 'codes'"):
        zoo.load("codse", log=None)
    with raises(zoo.NotFoundError, "file-not-found", "nowhere.onnx"):
        zoo.load("nowhere.onnx", log=None)


def test_samples_are_those_of_the_command(codes: zoo.LoadedModel) -> None:
    samples = codes.sample(1, seed=3)
    assert samples.dtype == np.uint8
    assert samples.shape == (1, 28, 28, 1)
    command("sample", "codes", "-n", "1", "--seed", "3", "-o", "one.png")
    with Image.open("one.png") as page:
        shown = np.asarray(page.convert("L"))
    step = len(shown) // 28  # pages show small pictures larger
    edge = (len(shown) - 28 * step) // 2
    inner = shown[edge : len(shown) - edge : step, edge : len(shown) - edge : step]
    assert np.array_equal(inner, samples[0, :, :, 0])
    assert not np.array_equal(codes.sample(1, seed=4), samples)
    assert len(codes.sample()) == 64


def test_classes_are_asked_for_by_name_and_by_number() -> None:
    model = zoo.load("classes", log=None)
    names = model.data.classes
    rows = model.sample(2, classes=[names[3], 5])
    assert len(rows) == 4
    assert np.array_equal(rows[:2], model.sample(2, classes=3))
    assert np.array_equal(rows[2:], model.sample(2, classes=names[5].upper()))
    assert len(model.sample(1, classes="all")) == len(names)
    with raises(zoo.UsageError, "unknown-class", "10"):
        model.sample(1, classes=10)
    with raises(zoo.UsageError, "too-many"):
        model.sample(2000, classes="all")


def test_text_comes_as_text_and_begins_as_it_is_asked_to() -> None:
    model = zoo.load("letters", log=None)
    (text,) = model.sample(1, rounds=20, prompt="To be")
    assert text.startswith("To be")
    assert len(list(model.sample_rounds(1, rounds=7))) == 7
    with raises(zoo.UsageError, "unknown-symbol"):
        model.sample(1, rounds=3, prompt="☃")
    with raises(zoo.UsageError, "does-not-apply", "promt", "prompt"):
        model.sample(1, rounds=3, promt="To be")


def test_a_model_without_a_loop_has_no_rounds(codes: zoo.LoadedModel) -> None:
    with raises(zoo.UsageError, "does-not-apply"):
        codes.sample(1, rounds=3)
    with raises(zoo.UsageError, "too-many"):
        codes.sample(-1)


def test_graphs_take_arrays_and_tensors_and_give_the_same_kind(codes: zoo.LoadedModel) -> None:
    latent = np.array([[0.5, -1.0], [0.0, 2.0]])  # of float64, as numpy makes them
    given = codes.run("decode", latent=latent)["image"]
    assert given.shape == (2, 1, 28, 28)
    tensor = torch.tensor(latent, requires_grad=True)
    found = codes.run("decode", latent=tensor)["image"]
    assert isinstance(found, torch.Tensor)
    assert not found.requires_grad
    assert np.array_equal(found.numpy(), given)
    with torch.no_grad():
        direct = codes.model.graphs()["decode"].function(torch.tensor(latent, dtype=torch.float32))
    assert torch.equal(direct, found)


def test_wrong_graphs_ports_and_shapes_are_told_with_what_would_be_right(
    codes: zoo.LoadedModel,
) -> None:
    latent = np.zeros((2, 2))
    with raises(zoo.UsageError, "does-not-apply", "Did you mean 'decode'"):
        codes.run("decoder", latent=latent)
    with raises(zoo.UsageError, "unknown-port", "Did you mean 'latent'", "(batch, 2)"):
        codes.run("decode", latents=latent)
    with raises(zoo.UsageError, "missing-input", "latent"):
        codes.run("decode")
    with raises(zoo.UsageError, "bad-input", "latent (batch, 2)", "(2, 3)"):
        codes.run("decode", latent=np.zeros((2, 3)))
    with raises(zoo.UsageError, "bad-input", "[-1, 1]", "255"):
        codes.run("encode", image=np.full((1, 1, 28, 28), 255, np.uint8))
    with raises(zoo.NotFoundError, "bad-input", "latent"):
        codes.run("decode", latent=np.full((1, 2), np.nan))
    with raises(zoo.UsageError, "bad-input", "[1, 2]"):
        codes.run("sample", image=np.zeros((1, 1, 28, 28)), noise=np.zeros((2, 2)))


def test_pictures_become_codes_and_codes_pictures(codes: zoo.LoadedModel) -> None:
    data = codes.load_data(split="test", log=None)
    assert data["image"].dtype == np.uint8
    assert len(data["image"]) == len(data["label"])
    pictures = np.array(data["image"][:3])
    latent = codes.encode(pictures)
    assert latent.shape == (3, 2)
    numbers = np.moveaxis(pictures, 3, 1).astype(np.float32) / 127.5 - 1
    (first, *_) = codes.run("encode", image=numbers).values()
    assert np.allclose(latent, first, atol=1e-6)
    decoded = codes.decode(latent)
    assert (decoded.dtype, decoded.shape) == (np.uint8, pictures.shape)
    assert isinstance(codes.decode(codes.encode(torch.from_numpy(pictures))), torch.Tensor)
    with raises(zoo.UsageError, "bad-input", "float32"):
        codes.encode(numbers)
    with raises(zoo.UsageError, "bad-input", "(N, 2)", "(2,)"):
        codes.decode(latent[0])
    with raises(zoo.UsageError, "no-such-split", "validation"):
        codes.load_data(split="valid", log=None)


def test_pictures_become_pictures(codes: zoo.LoadedModel) -> None:
    pictures = np.array(codes.load_data(log=None)["image"][:2])
    made = codes.transform(pictures, "reconstruct")
    assert (made.dtype, made.shape) == (np.uint8, pictures.shape)
    assert np.abs(made.astype(int) - codes.decode(codes.encode(pictures))).max() <= 1
    larger = pictures.repeat(2, axis=1).repeat(2, axis=2).repeat(3, axis=3)
    assert np.abs(codes.transform(larger, "reconstruct").astype(int) - made).max() <= 2
    with raises(zoo.UsageError, "does-not-apply", "Did you mean 'reconstruct'"):
        codes.transform(pictures, "reconstuct")
    with raises(zoo.UsageError, "does-not-apply"):
        zoo.load("classes", log=None).transform(pictures)
    with raises(zoo.UsageError, "bad-input", "uint8", "float32"):
        codes.transform(pictures.astype(np.float32), "reconstruct")


def test_a_decoder_that_takes_a_class_is_told_which() -> None:
    model = zoo.load("classes", log=None)
    latent = np.random.default_rng(0).standard_normal((2, model.latent_space.size))
    both = model.decode(latent, classes=[1, 2])
    assert np.array_equal(both[2:], model.decode(latent, classes=2))
    with raises(zoo.UsageError, "does-not-apply"):
        model.encode(np.zeros((1, 28, 28, 1), np.uint8))


def test_exported_files_do_the_same_as_the_model(codes: zoo.LoadedModel) -> None:
    files = zoo.load("exports/codes", log=None)
    assert files.graphs.keys() == codes.graphs.keys()
    assert (files.config, files.data) == (codes.config, codes.data)
    mine, theirs = (each.sample(70, seed=1).astype(int) for each in (codes, files))
    assert np.abs(mine - theirs).max() <= 1
    pictures = codes.load_data(log=None)["image"][:2]
    assert np.allclose(codes.encode(pictures), files.encode(pictures), atol=1e-4)
    assert len(files.load_data(log=None)["image"]) == len(codes.load_data(log=None)["image"])
    (one,) = Path("exports/codes").glob("*.decode.onnx")
    assert list(zoo.load(one, log=None).graphs) == ["decode"]
    with raises(zoo.UsageError, "does-not-apply", "exports"):
        _ = files.model


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import zoo
assert zoo.load("exports/codes", log=None).sample(2).shape == (2, 28, 28, 1)
try:
    zoo.load("codes", log=None)
except zoo.ZooError as problem:
    print(problem.code, problem.exit_code)
"""


def test_exported_files_need_no_torch_and_weights_say_that_they_do() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=True,
        env=dict(os.environ),
    )  # fmt: skip
    assert done.stdout.split() == ["missing-package", "4"], done.stderr


def test_importing_zoo_imports_nothing_slow() -> None:
    heavy = '("torch", "numpy", "onnx", "onnxruntime", "click", "msgspec")'
    probe = f"import sys, zoo; print([each for each in {heavy} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
