"""Any words after ``zoo`` end in what was asked for or in a short error of the right kind.

What this does not reach: trainings on several devices and restarted ones (they start processes),
values that are allowed and larger than the machine (a layer of 65,536 units), places that cannot
be written to (`test_places`), data that must be downloaded (`test_servers`) and a NUL, which no
command line can hold. Exports that succeed are few, because each takes seconds.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import click
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.runtime.graphs import (
    conditional,
    decoder,
    describe,
    encoder,
    negative,
    save,
    translator,
)
from tests.security.inside import command, listing, no_network, unfinished
from zoo.cli.command import VERBS, group
from zoo.ports import Port

ALLOWED = {0, 2, 3, 4}

# Small enough that every training takes a fraction of a second; later words replace these.
TINY = (
    "--data", "photos", "--size", "8", "--steps", "1", "--batch-size", "4", "--device", "cpu",
    "--set", "hidden=8", "--set", "latent_size=2",
)  # fmt: skip

ODD = (
    "", " ", "-", "--", "-x", "--xyz", "=", "\n", "\t", "\r\n", "\x1b[31m", "\x07", "\u202e", "é",
    "🦓", "zébré/🦓", "٣", "\udcff", "a" * 5000, "é" * 300, "a/" * 2000, ".", "..", "../../x",
    "x/../../..", "runs/../../x", "~no-such-user/x", "@", "@last", "%s%n", "{0}", "[/red]", "$(x)",
    "*", ":", "a:b", "vae:vae", "con", "nul.png", "-1", "0", "1", "1.5", "1e400", "-1e400", "nan",
    "inf", "9" * 400, "9" * 5000, "0x10", "1_000", "true", "none", "--help", "--json",
    "--no-color",
)  # fmt: skip
MODELS = ("vae", "ae", "zoo-autoencoders:vae", "vea", "VAE", "cgan", "nobody", "nobody:vae")
TARGETS = (
    "first", "first", "first", "@last", "runs/first", "runs/first/checkpoints",
    "weights.safetensors",
    "damaged.safetensors", "none.safetensors", "photos", "runs", "runs/broken", "broken", "vae",
    "frist", "decode.onnx", "a" * 300,
)  # fmt: skip
GRAPHS = (
    "decode.onnx", "encode.onnx", "reconstruct.onnx", "generate.onnx", "bundle", "cut.onnx",
    "decoder.onnx", "photos", "weights.safetensors", "vae",
)  # fmt: skip
INPUTS = (
    "photos", "photos/1.png", "damaged.png", "codes.npy", "objects.npy", "empty", "none.png", "odd",
)  # fmt: skip
DATA = (
    "photos", "photos:folder", "photos:idx", "photos:foldr", "classes", "sides", "empty", "odd",
    "set.zip", "damaged.zip", "photos/1.png", "nowhere", "nowhere/at/all", "fashion-mnits",
)  # fmt: skip
COUNTS = ("1", "3", "0", "-3", "x", "2.0", "10001", str(10**12), str(2**63), "9" * 400)
OUTPUTS = (
    "out", "out/", "out.png", "out.npz", "deep/er/out.png", "out.jpg", "photos", "photos/1.png",
    "a" * 254 + ".png", "-", "é🦓.png", ".hidden.png", ".png", "../out.png", "\udcff.png",
)  # fmt: skip

WORDS: dict[str, tuple[str, ...]] = {
    "model": MODELS,
    "subject": (*GRAPHS, *MODELS, "./bundle/", "bundle/horse_to_zebra.onnx", "theirs.onnx", "."),
    "target": TARGETS,
    "run": ("first", "@last", "broken", "runs/first", "frist"),
    "runs": ("first", "@last", "broken", "runs/first", "frist"),
    "file": GRAPHS,
    "files": GRAPHS,
    "inputs": INPUTS,
    "provider": ("cpu", "auto", "cuda", "cdua"),
    "threads": ("1", "2", "0", "-1", "x", "1025"),
    "batches": ("1", "1,2", "0", ",", "x", "1,,2", "-1", str(10**9)),
    "repeat": ("2", "1", "0", "x", "-1"),
    "warmup": ("1", "0", "-1", "x"),
    "io": ("uint8", "float", "unit8"),
    "opset": ("20", "18", "9", "0", "999", "1001", "x"),
    "batch": ("2", "dynamic", "0", "x", "9999", "-1", "٣"),
    "most_loss": ("5", "0", "101", "nan", "x", "-1"),
    "name": ("fashion-mnist-small", "emoji", "mnits", "photos", "first", "new", "vae", "a/b"),
    "data": DATA,
    "count": COUNTS,
    "seed": ("0", "7", "-1", "x", str(2**31), str(2**64), "1e3"),
    "classes": ("all", "0", "1,0", "boot", "bot", ",", "0,0", "99", "-1"),
    "to": ("zebra", "horse", "ZEBRA", "zebr", "-"),
    "output": OUTPUTS,
    "split": ("train", "validation", "test", "tset"),
    "samples": ("10", "9", "x", "100001", "-1"),
    "task": ("generation", "translation", "generaton"),
    "timeout": ("1", "0", "-1", "86401", "x"),
    "preset": ("tiny", "none", "x"),
    "size": ("8", "9", "8x12", "12x8", "7", "0", "-8", "8x", "4097", "8x8x8", "99999", "8.0"),
    "on_bad_image": ("auto", "skip", "fail", "fial"),
    "epochs": ("1", "2", "0", "-1", "x", "1000001", "nan"),
    "steps": ("1", "2", "0", "-1", "x", str(10**9 + 1), "1e1"),
    "duration": ("0.05s", "0s", "soon", "-1s", "1e400s", "9" * 30 + "h"),
    "batch_size": ("1", "2", "4", "0", "-1", "100001", "13", "x"),
    "lr": ("1e-3", "0", "-1", "nan", "inf", "1e400", "2", "x"),
    "ema": ("0.9", "0", "1", "nan", "x"),
    "device": ("cpu", "auto", "cdua"),
    "devices": ("1", "0", "-1", "4097", "x", "nan"),
    "retries": ("0", "-1", "1001", "x"),
    "resume": ("first", "@last", "broken", "frist", "vae", "runs/first"),
    "checkpoint_every": ("1", "30s", "0", "-1s", "0s", "soon", "1e400"),
    "keep": ("1", "2", "0", "-1", "x"),
    "fail_on": ("diverged", "divergd", "diverged,collapse", ",", "all"),
    "strategy": ("auto", "dpp"),
    "precision": ("32", "auto", "64"),
    "config": ("good.toml", "types.toml", "ranges.toml", "odd.toml", "none.toml", "photos",
               "damaged.png"),
    "assignments": (
        "hidden=4", "hidden=4,2", "hidden=", "hidden=4,,2", "hidden=0", "hidden=65537",
        "hidden=-1", "hidden=x", "hidden=nan", "latent_size=3", "latent-size=3", "latent_size=0",
        "latent_size=1e400", "laten_size=2", "beta=0.5", "beta=nan", "beta=-1", "beta=-inf",
        "likelihood=gaussian", "likelihood=gausian", "likelihood=", "steps=none", "steps=2",
        "epochs=1", "epochs=none", "seed=1", "seed=-1", "seed=1.5", "lr=1e-3", "lr=1e400", "lr",
        "=", "=3", "lr==3", "deterministic=maybe", "deterministic=true", "devices=0", "device=gpu",
        "precision=16", "é=1", "\x1b[31m=1", "batch_size=0", "a" * 5000, "hidden=" + "1," * 5000,
        "a" * 5000 + "=1", "hidden=" + "9" * 5000, "ema=0.5", "max_seconds=0.05", "max_seconds=0",
        "on_bad_image=skip", "keep=0", "checkpoint_every=soon", "checkpoint_every=1",
    ),
}  # fmt: skip
NEVER_ODD = {"retries", "devices"}  # what else they take starts processes
# Verbs with what they are chosen by: how much there is to say wrongly, and how long it takes.
WEIGHTS = {"train": 5, "run": 8, "sample": 5, "eval": 3, "data check": 3, "runs show": 2, "show": 3}


def _paths() -> list[str]:
    """Return every verb, with its second word where it has several."""
    found = []
    for verb in VERBS:
        command_ = group.get_command(click.Context(group), verb)
        inner = command_.commands if isinstance(command_, click.Group) else {}
        found += [verb, *(f"{verb} {each}" for each in inner)]
    return [path for path in found for _ in range(WEIGHTS.get(path, 1))]


PATHS = _paths()


def _command_of(path: str) -> click.Command:
    verb, _, second = path.partition(" ")
    found = group.get_command(click.Context(group), verb)
    assert found is not None
    if not second:
        return found
    assert isinstance(found, click.Group)
    return found.commands[second]


def _is_safe(text: str) -> bool:
    """Whether a made-up word leads to no place outside of the test's folder."""
    return not text.startswith(("/", "~")) and ".." not in text and "\0" not in text


made_up = st.text(max_size=12).filter(_is_safe)


class Writer:
    """Writes one command line, nearly right most of the time, so that it comes far.

    A generator of our own chooses: of Hypothesis's own choices, two in five repeat a line.
    """

    def __init__(self, seed: int, made_up: str) -> None:
        self._random = Random(seed)
        self._odd = (*ODD, *[made_up] * (len(ODD) // 3))

    def line(self) -> tuple[str, ...]:
        """Return the words after ``zoo``."""
        path = self._random.choice(PATHS)
        if self._happens(0.05):
            return tuple(self._word("") for _ in range(self._random.randint(0, 3)))
        found = _command_of(path)
        options = [each for each in found.params if isinstance(each, click.Option)]
        chosen = self._random.choices(options, k=self._random.randint(0, 3)) if options else []
        flagged = [word for each in chosen for word in self._option(each)]
        given = [word for each in found.params for word in self._argument(each)]
        if path == "export" and "--onnx" in flagged and not self._happens(0.05):
            given = ["none.safetensors"]  # else most of the time goes into exports
        line = [*given, *flagged] if self._happens(0.5) else [*flagged, *given]
        if self._happens(0.1) and not {"--devices", "--retries"} & set(line):
            line.insert(self._random.randint(0, len(line)), self._word(""))
        if path == "train":
            line = [*TINY, *line, *(() if self._happens(0.15) else ["--dry-run"])]
        return (*path.split(), *line)

    def _option(self, option: click.Option) -> list[str]:
        flag = self._random.choice(option.opts)
        return [flag] if option.is_flag else [flag, self._word(str(option.name))]

    def _argument(self, parameter: click.Parameter) -> list[str]:
        if not isinstance(parameter, click.Argument):
            return []
        several = parameter.nargs == -1
        count = self._random.choice([0, 1, 1, 2]) if several else 1 - self._happens(0.03)
        return [self._word(str(parameter.name)) for _ in range(count)]

    def _word(self, name: str) -> str:
        expected = WORDS.get(name, ())
        if not expected or (name not in NEVER_ODD and self._happens(0.12)):
            return self._random.choice(self._odd)
        if self._happens(0.35):  # the first is right
            return expected[0]
        return self._random.choice(expected)

    def _happens(self, chance: float) -> bool:
        return self._random.random() < chance


lines = st.builds(
    lambda seed, made_up: Writer(seed, made_up).line(), st.integers(0, 2**64 - 1), made_up
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder with a trained run, weights, exported files, pictures, and some of each damaged."""
    place = tmp_path_factory.mktemp("fuzz") / "far" / "down" / "prepared"
    place.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(place.parent / "home"))
        patch.setenv("COLUMNS", "100")
        no_network(patch)
        patch.chdir(place)
        _write_files()
        done = command("train", "vae", *TINY, "--name", "first")
        assert done.code == 0, done.err
        weights = next(Path("runs/first/checkpoints").glob("*/model.safetensors"))
        shutil.copy(weights, "weights.safetensors")
        Path("damaged.safetensors").write_bytes(weights.read_bytes()[:-9])
        yield place


def _write_files() -> None:
    for folder in ("photos", "classes/cat", "classes/dog", "sides/trainA", "sides/trainB", "odd"):
        Path(folder).mkdir(parents=True)
        for number in range(12):
            pixels = np.random.default_rng(number).integers(0, 255, (8, 8), np.uint8)
            Image.fromarray(pixels).save(f"{folder}/{number}.png")
    Path("odd/1.png").write_bytes(b"not a picture")
    Path("odd/\x1b[31m🦓.png").write_bytes(Path("odd/2.png").read_bytes())
    Path("damaged.png").write_bytes(Path("photos/1.png").read_bytes()[:40])
    Path("empty").mkdir()
    Path("bundle").mkdir()
    for write, name in [(decoder, "decode"), (encoder, "encode"), (negative, "reconstruct")]:
        write(Path(f"{name}.onnx"))
    conditional(Path("generate.onnx"), ["shirt", "boot"])
    translator(Path("bundle/horse_to_zebra.onnx"), "horse", "zebra")
    translator(Path("bundle/zebra_to_horse.onnx"), "zebra", "horse")
    save(Path("theirs.onnx"), describe("f", [Port.latent("x", 2)], [Port.latent("y", 2)]), [],
         zoo_entry=None)  # fmt: skip
    Path("cut.onnx").write_bytes(Path("decode.onnx").read_bytes()[:500])
    np.save("codes.npy", np.zeros((3, 20), np.float32))
    np.save("objects.npy", np.array([{}], object), allow_pickle=True)
    shutil.make_archive("set", "zip", ".", "photos")
    Path("damaged.zip").write_bytes(Path("set.zip").read_bytes()[:300])
    Path("runs/broken").mkdir(parents=True)
    Path("runs/broken/run.json").write_text('{"model": 3}')
    Path("good.toml").write_text('model = "vae"\n[options]\nhidden = [4]\n[training]\nsteps = 1\n')
    Path("types.toml").write_text('[options]\nhidden = "x"\nlr = [1]\n[training]\nsteps = {}\n')
    Path("ranges.toml").write_text("[options]\nlr = nan\n[training]\nsteps = -1\n")
    Path("odd.toml").write_text('model = ["vae"]\ndata = 3\nsize = [[8], 8]\n')


def check(prepared: Path, words: tuple[str, ...]) -> None:
    """Run a command in a copy of the folder; nothing unfinished may lie there afterwards."""
    work = prepared.parent / "work"
    pristine = prepared.parent / "pristine"
    if not work.exists():
        shutil.copytree(prepared, work)
        pristine.mkdir()
    os.chdir(work)
    before = listing(work)
    try:
        done = command(*words)
        told = f"zoo {shlex.join(words)[:2000]}\nexit {done.code}\n{done.err[-3000:]}"
        assert done.code in ALLOWED, told
        assert not unfinished(prepared.parents[2]), told
    finally:
        torch.use_deterministic_algorithms(False)
        os.environ.pop("NO_COLOR", None)
        os.chdir(prepared)
        if not work.exists() or listing(work) != before:
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(prepared, work)


RELAXED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=RELAXED)
@given(lines)
@example(("runs", "rm", "first", "@last"))
@example(("sample", "first", "-o", "\udcff.png"))
@example(("sample", "a" * 5000))
@example(("train", "vae", *TINY, "--config", "types.toml"))
@example(("train", "vae", *TINY, "--config", "good.toml", "--name", "new"))
def test_any_words_end_well_or_in_a_short_error(prepared: Path, words: tuple[str, ...]) -> None:
    check(prepared, words)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None, suppress_health_check=RELAXED)
@given(lines)
def test_other_words_every_time(prepared: Path, words: tuple[str, ...]) -> None:
    check(prepared, words)


changes = st.lists(
    st.tuples(
        st.floats(0, 1), st.sampled_from(["flip", "insert", "remove"]), st.binary(max_size=8)
    ),
    max_size=4,
)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=RELAXED)
@given(st.sampled_from(GRAPHS[:4]), changes, st.floats(0, 1))
def test_any_bytes_are_shown_or_told_to_be_no_onnx_file(
    prepared: Path, name: str, made: list[tuple[float, str, bytes]], length: float
) -> None:
    content = bytearray((prepared / name).read_bytes())
    weights = content.find(b"patterns")  # most of the file, where a change changes nothing
    for where, how, what in made:
        place = int(where * (weights if weights > 0 else len(content)))
        end = place if how == "insert" else place + len(what)
        content[place:end] = b"" if how == "remove" else what
    path = prepared.parent / "changed.onnx"
    path.write_bytes(content if length > 0.3 else content[: int(length * 3.3 * len(content))])
    for words in (("show", str(path)), ("show", str(path), "--json")):
        assert command(*words).code in {0, 3}
