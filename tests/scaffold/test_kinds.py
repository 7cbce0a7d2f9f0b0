"""Each kind of new plugin is built, installed, trained, exported, run and tested, as it stands."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import wave
from pathlib import Path

import pytest
from PIL import Image

from tests.process import zoo_json
from tests.scaffold.projects import DATA, KINDS, install, python, write

NAMES = {kind: f"sketch-{kind}" for kind in KINDS}
GRAPHS = {
    "autoencoder": {"encode", "decode", "reconstruct"},
    "gan": {"generate"},
    "diffusion": {"denoise"},
    "pairs": {"a_to_b"},
    "restoration": {"enlarge"},
    "sequence": {"next"},
    "sound": {"generate"},
    "table": {"encode", "decode", "reconstruct"},
    "translation": {"noto_to_twemoji", "twemoji_to_noto"},
    "bare": {"denoise"},
}
MAPS = {"autoencoder": "reconstruct", "translation": "noto_to_twemoji", "bare": "denoise"}

# Several commands by one process, which imports torch once.
COMMANDS = """
import json, sys
from zoo.cli.command import main
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as leaving:
        assert not leaving.code, words
"""


def exported(kind: str, graph: str) -> str:
    usual = "emoji" if kind == "translation" else "fashion-mnist-small"
    data = NAMES[kind] if kind in DATA else usual
    return f"{kind}/{NAMES[kind]}-{data}.{graph}.onnx"


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("projects")
    return {kind: write(folder, kind, name) for kind, name in NAMES.items()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, projects: dict[str, Path]) -> dict[str, str]:
    return install(tmp_path_factory.mktemp("plugins") / "site", projects.values())


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(["autoencoder", "gan"], id="autoencoder and gan", marks=pytest.mark.slow),
        pytest.param(
            ["gan", "translation", "bare"], id="translation and bare", marks=pytest.mark.slow
        ),
    ],
)
def test_it_is_listed_trained_sampled_exported_and_run(
    kinds: list[str], site: dict[str, str]
) -> None:
    listed = {row["name"] for row in zoo_json("list", **site)}
    assert set(NAMES.values()) <= listed
    words = []
    for kind in kinds:
        words += [
            ["train", NAMES[kind], "--steps", "5", "--batch-size", "16"],
            ["sample", NAMES[kind], "-o", f"{kind}.png"],
            ["export", NAMES[kind], "--onnx", "-o", kind],
        ]
    words.append(["run", exported("gan", "generate"), "-n", "4", "-o", "drawn"])
    mapped = [kind for kind in kinds if kind in MAPS]
    words += [["run", exported(kind, MAPS[kind]), "drawn", "-o", f"{kind}-made"] for kind in mapped]
    python("-c", COMMANDS, json.dumps(words), cwd=Path.cwd(), **site)
    for kind in kinds:
        lines = Path("runs", f"{NAMES[kind]}-1", "metrics.jsonl").read_text().splitlines()
        numbers = [number for line in lines for number in json.loads(line)["values"].values()]
        assert numbers, kind
        assert all(map(math.isfinite, numbers)), kind
        assert Path(f"{kind}.png").stat().st_size > 1000
        assert {path.stem.partition(".")[2] for path in Path(kind).glob("*.onnx")} == GRAPHS[kind]
    for made in ("drawn", *(f"{kind}-made" for kind in mapped)):
        assert len(list(Path(made).glob("*.png"))) == 4, made


@pytest.mark.slow
def test_samples_are_of_the_kind_of_the_data(site: dict[str, str]) -> None:
    """Text is printed, sounds are WAV files, steps of a loop make pictures, rows stay rows."""
    words = []
    for kind in ("diffusion", "pairs", "restoration", "sequence", "sound", "table"):
        words += [
            ["train", NAMES[kind], "--steps", "5", "--batch-size", "8"],
            ["export", NAMES[kind], "--onnx", "-o", kind],
        ]
    words += [
        ["run", exported("diffusion", "denoise"), "-n", "4", "-o", "made.png"],
        ["run", exported("sequence", "next"), "--set", "prompt=one", "-o", "made.txt"],
        ["run", exported("sound", "generate"), "-n", "2", "-o", "made.wav"],
        ["run", exported("pairs", "a_to_b"), "made.png", "-o", "translated"],
        ["run", exported("restoration", "enlarge"), "made.png", "-o", "enlarged"],
    ]
    python("-c", COMMANDS, json.dumps(words), cwd=Path.cwd(), **site)
    for kind in GRAPHS.keys() & {words[1].removeprefix("sketch-") for words in words}:
        assert {path.stem.partition(".")[2] for path in Path(kind).glob("*.onnx")} == GRAPHS[kind]
    assert Path("made.txt").read_text().startswith("one")
    with wave.open("made.wav") as file:
        assert file.getframerate() == 4000
    with Image.open("made.png") as made, Image.open("enlarged/made.png") as enlarged:
        assert enlarged.size == (2 * made.width, 2 * made.height)
    with Image.open("translated/made.png") as translated:
        assert translated.mode == "RGB"


@pytest.mark.slow
def test_its_own_tests_fail_in_nothing_but_what_is_left_to_fill_in(
    projects: dict[str, Path], site: dict[str, str]
) -> None:
    assert own_tests(projects["bare"], site) == ["static/placeholders"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_its_own_tests_pass_when_the_card_is_filled_in(
    kind: str, site: dict[str, str], tmp_path: Path
) -> None:
    project = write(tmp_path, kind, NAMES[kind])
    card = next(project.glob("zoo_*/__init__.py"))
    paper = 'Paper("Attention Is All You Need", "Vaswani et al.", 2017, "https://arxiv.org/"),'
    card.write_text(re.sub(r'Paper\("TODO.*\),', paper, card.read_text()))
    assert own_tests(project, site) == []


def own_tests(project: Path, site: dict[str, str]) -> list[str]:
    """Return the checks that fail in the tests of a project; more than thirty must have passed."""
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=project,
        env={**os.environ, **site},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout + done.stderr
    assert int(passed[1]) > 30
    return re.findall(r"^FAILED .*\[(.*?)\]", done.stdout, flags=re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "epochs", "path", "below"),
    [
        ("autoencoder", 2, ["metrics", "mse"], 0.03),
        ("bare", 2, ["metrics", "mse"], 0.03),  # 0.0625 before: the noise
        ("diffusion", 3, ["metrics", "error"], 0.25),  # 0.35 for the mean image
        ("pairs", 40, ["metrics", "error"], 0.08),  # 0.1 for the outlines as they are
        ("sequence", 10, ["metrics", "bits"], 1.5),  # 4 for letters by their frequency
        ("table", 20, ["metrics", "mse"], 0.01),
        ("translation", 6, ["pairs", 0, "ratio"], 0.95),  # 1 for pictures as they are
    ],
)
def test_it_learns(
    kind: str,
    epochs: int,
    path: list[str | int],
    below: float,
    site: dict[str, str],
    tmp_path: Path,
) -> None:
    words = [["train", NAMES[kind], "--epochs", str(epochs)], ["eval", NAMES[kind], "--json"]]
    done = python("-c", COMMANDS, json.dumps(words), cwd=tmp_path, **site)
    found = json.loads(done.stdout[done.stdout.index("{") :])
    for key in path:
        found = found[key]
    assert found < below
