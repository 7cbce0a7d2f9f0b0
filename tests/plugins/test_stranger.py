"""A stranger's plugin that uses the API in unusual ways passes the kit, installed as a wheel."""

from __future__ import annotations

import json
import os
import signal
import time
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from tests.data.pictures import fill
from tests.installing import STRANGER, install_stranger
from tests.nursery import nursery
from tests.process import error_of, zoo, zoo_json
from zoo.grids import grid
from zoo.modalities.text import BETWEEN


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which the plugin is found, built and installed from a wheel."""
    return install_stranger(tmp_path_factory.mktemp("stranger"))


@pytest.mark.slow
def test_it_passes_every_check(site: dict[str, str]) -> None:
    found = json.loads(zoo("plugins", "check", "zoo-stranger", "--json", **site).stdout)
    assert not [each for each in found["checks"] if each["kind"] == "failed"]
    assert found["passed"] >= 30


def test_it_is_trained_exported_and_run_like_any_other(site: dict[str, str]) -> None:
    words = ["--set", "layers=conv,linear", "--set", "critic_dropout=0.1"]
    outcome = zoo_json("train", "three-players", "--steps", "12", *words, **site)
    rows = Path(outcome["path"], "metrics.jsonl").read_text()
    assert "prior/moments" in rows
    zoo("export", "three-players", "--onnx", **site)
    zoo("sample", "three-players", "-n", "4", **site)
    zoo(
        "run",
        "exports/three-players/three-players-crosses.generate.onnx",
        "-n",
        "4",
        "-o",
        "grid.png",
    )
    with_data = zoo_json("eval", "three-players", **site)
    assert "error" in with_data["metrics"]


@pytest.mark.slow
def test_a_graph_takes_pictures_of_other_colours_and_sizes_than_the_data(
    site: dict[str, str], tmp_path: Path
) -> None:
    """What a small grey picture becomes is shown, measured, verified and run like all else."""
    fill(Path("photos/train"), 24, height=16, width=20)
    fill(Path("photos/test"), 8, first=50, height=16, width=20)
    words = ["--data", "photos", "--steps", "6", "--batch-size", "8", "--name", "restored"]
    outcome = zoo_json("train", "restorer", *words, **site)
    with Image.open(Path(outcome["path"], "samples", "step-0000006-restore.png")) as picture:
        page = np.asarray(picture)
    rows = ["input", "restore", "data"]
    blank = np.zeros((len(rows), 16, 20, 3), np.uint8)  # of one picture that was held out
    assert page.shape == grid(blank, 1, rows).shape
    for words in (["--half"], ["--io", "uint8"], []):
        zoo("export", "restored", "--onnx", "-o", "restored", *words, **site)
    zoo("sample", "restored", "-n", "4", **site)
    zoo("run", "restored/restorer-photos.restore.onnx", "photos/test/50.png", "-o", "out", **site)
    with Image.open("out/50.png") as picture:
        assert picture.mode == "RGB"


@pytest.mark.slow
def test_a_step_of_a_loop_is_trained_sampled_exported_and_run(site: dict[str, str]) -> None:
    """Noise becomes the mean picture, in torch as in the file, and nothing else is asked for."""
    outcome = zoo_json("train", "refiner", "--steps", "60", "--name", "refined", **site)
    with Image.open(Path(outcome["path"], "samples", "step-0000060-refine.png")) as picture:
        preview = np.asarray(picture)
    with np.load(Path(__file__).parents[1] / "stranger/zoo_stranger/crosses/crosses.npz") as data:
        mean = data["x_train"].mean(axis=0)
    zoo("sample", "refined", "-n", "64", "-o", "samples.png", **site)
    zoo("export", "refined", "--onnx", "-o", "refined", **site)
    file = "refined/refiner-crosses.refine.onnx"
    zoo("run", file, "-n", "64", "-o", "run.png")
    sampled, ran = (np.asarray(Image.open(name)).astype(int) for name in ("samples.png", "run.png"))
    assert np.abs(sampled - ran).max() <= 1
    assert np.abs(preview.astype(int) - ran).max() <= 1
    zoo("run", file, "-n", "4", "-o", "out/")
    for number in range(1, 5):
        with Image.open(f"out/{number}.png") as picture:
            assert np.abs(np.asarray(picture).astype(int) - mean).mean() < 12

    checks = json.loads(Path("refined/manifest.json").read_text())["files"]["refine"]["checks"]
    assert checks["refined"]["rounds"] == 8
    assert checks["refined"]["greatest_after_rounds"] < 1e-4
    for words in (["--int8"], ["--half"], ["--io", "uint8"]):
        zoo("export", "refined", "--onnx", "-o", "refined", *words, **site)
    zoo("export", "--check", "refined")
    zoo("eval", "refined", **site)
    words = ["-n", "4", "--rounds", "9", "--set", "rate=0.5", "--every", "3"]
    zoo("sample", "refined", *words, "-o", "strip.png", **site)
    zoo("run", file, *words, "-o", "ran.png")
    first, second = (np.asarray(Image.open(name)).astype(int) for name in ("strip.png", "ran.png"))
    assert np.abs(first - second).max() <= 1
    zoo("sample", "refined", "-n", "4", "-o", "all.webp", **site)
    with Image.open("all.webp") as animation:
        assert animation.n_frames == 12


def test_a_loop_that_needs_pictures_begins_with_held_out_ones(site: dict[str, str]) -> None:
    fill(Path("photos/train"), 24)
    fill(Path("photos/test"), 5, first=50)
    zoo("train", "smoother", "--data", "photos", "--steps", "6", "--name", "smoothed", **site)
    words = ["sample", "smoothed", "-n", "3", "--seed", "1"]
    done = zoo(*words, "-o", "page.png", **site)
    assert "3 test pictures of photos" in done.stderr
    blank = np.zeros((6, 12, 12, 3), np.uint8)
    page = np.asarray(Image.open("page.png"))
    assert page.shape == grid(blank, 3, ["input", "smooth"]).shape
    beginning, made = page[: len(page) // 2], page[len(page) // 2 :]
    assert np.abs(beginning.astype(int) - made).mean() > 1
    facts = zoo_json(*words, "--every", "2", "--rounds", "4", "-o", "strip.png", **site)
    assert (facts["count"], facts["rounds"], facts["stopped"]) == (3, 4, False)
    assert np.asarray(Image.open("strip.png")).shape == grid(blank, 2).shape
    zoo(*words, "-o", "all.webp", **site)
    with Image.open("all.webp") as animation:
        assert animation.n_frames == 6
    zoo(*words, "--set", "rate=0", "-o", "out/", **site)
    for name, own in zip("123", ("50", "52", "54"), strict=True):  # from all over the split
        with Image.open(f"out/{name}.png") as one, Image.open(f"photos/test/{own}.png") as other:
            assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1
    fill(Path("others"), 40, first=90)
    done = zoo("sample", "smoothed", "--data", "others", "-o", "others.png", **site)
    assert "2 validation pictures of others" in done.stderr
    error_of("sample", "smoothed", "--class", "a", code=2, error="does-not-apply", **site)
    error_of("sample", "smoothed", "--data", "nowhere", code=3, error="data-not-found", **site)


@pytest.mark.slow
def test_a_loop_that_needs_pictures_gives_what_the_file_gives(site: dict[str, str]) -> None:
    fill(Path("photos/train"), 24)
    fill(Path("photos/test"), 4, first=50)
    zoo("train", "smoother", "--data", "photos", "--steps", "6", "--name", "smoothed", **site)
    previews = list(Path("runs/smoothed/samples").glob("*-smooth.png"))
    assert previews
    zoo("export", "smoothed", "--onnx", "-o", "smoothed", **site)
    words = ["--rounds", "5", "--every", "2"]
    zoo("sample", "smoothed", *words, "-n", "4", "-o", "strip.png", **site)
    pictures = [f"photos/test/{number}.png" for number in range(50, 54)]
    zoo("run", "smoothed/smoother-photos.smooth.onnx", *pictures, *words, "-o", "ran.png")
    first, second = (np.asarray(Image.open(name)).astype(int) for name in ("strip.png", "ran.png"))
    assert np.abs(first - second).max() <= 1


@pytest.mark.slow
def test_ctrl_c_ends_a_loop_with_what_there_is(site: dict[str, str]) -> None:
    zoo("train", "smoother", "--steps", "6", "--name", "smoothed", **site)
    words = ["sample", "smoothed", "-n", "4", "--rounds", "1000000", "-o", "page.png", "--json"]
    out, err = Path("out.txt"), Path("err.txt")
    process = nursery().start(words, out, err, **site)
    deadline = time.monotonic() + 60
    while not (err.exists() and "starts from" in err.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(2)  # by then it is in the loop
    os.kill(process, signal.SIGINT)
    assert nursery().wait(process) == 130, err.read_text()
    facts = json.loads(out.read_text())
    assert facts["stopped"]
    assert 0 < facts["rounds"] < 1_000_000
    blank = np.zeros((8, 16, 16, 1), np.uint8)
    page = np.asarray(Image.open("page.png"))
    assert page.shape == grid(blank, 4, ["input", "smooth"]).squeeze().shape


def test_a_loop_that_needs_a_text_begins_with_a_held_out_one_or_a_prompt(
    site: dict[str, str],
) -> None:
    zoo("train", "teller", "--steps", "40", "--name", "told", **site)
    assert list(Path("runs/told/samples").glob("*-tell.png"))
    text = (STRANGER / "zoo_stranger" / "rhymes" / "rhymes.txt").read_text()
    held_out = text[len(text) - round(0.1 * len(text)) :]
    done = zoo("sample", "told", **site)
    assert "1 validation text" in done.stderr
    assert len(done.stdout) == 10 + 40 - 10 + 1 + 1  # what is given, what follows, the line's end
    assert done.stdout.startswith(held_out[:10])
    both = zoo("sample", "told", "-n", "2", "--rounds", "80", "-o", "both.txt", **site)
    assert "2 validation texts" in both.stderr
    for each in Path("both.txt").read_text().split(BETWEEN):
        assert len(each) == 20 + 80 - 20 + 1
    assert Path("both.txt").read_text().startswith(held_out[:20])
    prompted = zoo("sample", "told", "--set", "prompt=The b", **site)
    assert "validation" not in prompted.stderr
    assert prompted.stdout.startswith("The b")
    Path("mine.txt").write_text("the sea and the tree. " * 100)
    mine = zoo("sample", "told", "--data", "mine.txt", **site)
    assert "of mine" in mine.stderr
    said = error_of("sample", "told", "--set", "prompt=%", code=2, error="unknown-symbol", **site)
    assert "'%'" in said
    words = ["--set", "prompt=The", "--data", "rhymes"]
    error_of("sample", "told", *words, code=2, error="does-not-apply", **site)


@pytest.mark.slow
def test_an_asset_is_verified_kept_out_of_weights_and_named_by_its_hash(
    site: dict[str, str],
) -> None:
    """A model on a frozen network is trained, resumed, judged and exported like any other."""
    words = ["--steps", "12", "--ema", "0.9", "--name", "judged"]
    outcome = zoo_json("train", "perceptual", *words, **site)
    zoo("train", "--resume", "judged", "--steps", "20", **site)
    weights = next(Path(outcome["path"]).glob("checkpoints/*/model.safetensors"))
    with safe_open(weights, "numpy") as file:
        names, header = list(file.keys()), json.loads(file.metadata()["zoo"])
    assert names
    assert not [name for name in names if name.startswith("features")]
    assert len(header["identity"]["assets"]["features"]) == 64
    assert zoo_json("eval", "judged", **site)["metrics"]["error"] > 0
    zoo("export", "judged", "--onnx", "-o", "judged", **site)
    (asset,) = Path(site["PYTHONPATH"].split(os.pathsep)[0]).rglob("features.safetensors")
    whole = asset.read_bytes()
    asset.write_bytes(whole[:-1] + b"x")
    try:
        told = error_of("eval", "judged", code=3, error="hash-mismatch", **site)
    finally:
        asset.write_bytes(whole)
    assert "features" in told


def read_wav(path: str | Path) -> tuple[int, np.ndarray]:
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return file.getframerate(), samples


@pytest.mark.slow
def test_sounds_are_written_as_sounds_and_shown_as_pictures(site: dict[str, str]) -> None:
    outcome = zoo_json("train", "linear-sounds", "--steps", "40", "--name", "sounds", **site)
    preview = Path(outcome["path"], "samples", "step-0000040-decode.png")
    assert zoo("sample", "sounds", **site).stdout.split() == ["samples.png", "samples"]
    assert Path("samples.png").read_bytes() == preview.read_bytes()
    sampled = [read_wav(path) for path in sorted(Path("samples").iterdir())]
    assert [path.name for path in sorted(Path("samples").iterdir())][::15] == ["01.wav", "16.wav"]
    assert {(rate, len(samples)) for rate, samples in sampled} == {(8000, 512)}
    assert len({samples.tobytes() for _, samples in sampled}) == 16
    assert "error" in zoo_json("eval", "sounds", **site)["metrics"]

    zoo("export", "sounds", "--onnx", "-o", "sounds", **site)
    file = "sounds/linear-sounds-tones.decode.onnx"
    folder = Path("linear-sounds-tones.decode")
    assert len(zoo("run", file).stdout.split()) == 16
    for (_, wanted), path in zip(sampled, sorted(folder.iterdir()), strict=True):
        assert np.abs(read_wav(path)[1].astype(int) - wanted).max() <= 2
    zoo("run", file, "-o", "run.png")
    page, wanted = (np.asarray(Image.open(name)) for name in ("run.png", "samples.png"))
    assert page.shape == wanted.shape
    assert (page == wanted).mean() > 0.99
    for verb, target in (("run", file), ("sample", "sounds")):
        zoo(verb, target, "-n", "3", "-o", f"{verb}.wav", **site)
        rate, samples = read_wav(f"{verb}.wav")
        assert len(samples) == 3 * 512 + 2 * rate // 4
        for words in (["-o", "x.txt"], ["-o", "x.webp"], ["--every", "2", "-o", "x.png"]):
            zoo(verb, target, *words, code=2, **site)


@pytest.mark.slow
def test_a_kind_of_data_of_its_own_is_read_shown_learnt_from_and_exported(
    site: dict[str, str],
) -> None:
    """Drawings in files of an ending that nobody else knows, in a folder like any other."""
    for number in range(40):
        size, folder = 60 + number, Path("drawings", "ab"[number % 2])
        folder.mkdir(parents=True, exist_ok=True)
        corners = [(128 - size, 128), (128, 128 - size), (128 + size, 128)]
        lines = [f"{x} {y}" for x, y in corners[: 2 + number % 2]]
        (folder / f"{number}.strokes").write_text("\n".join(lines))
    Path("drawings/a/torn.strokes").write_text("1 2\n300 4\n")
    found = zoo_json("data", "check", "drawings", "-o", "page.png", **site)
    assert set(found["classes"]) == {"a", "b"}
    assert [Path(each["path"]).name for each in found["bad"]] == ["torn.strokes"]
    assert "300" in found["bad"][0]["reason"]
    zoo("data", "check", "doodles", "-o", "doodles.png", **site)
    rows = ["plus", "square", "triangle"]
    with Image.open("doodles.png") as picture:
        page = np.asarray(picture)
    assert page.shape[:2] == grid(np.zeros((24, 64, 64, 1), np.uint8), 8, rows).shape[:2]
    inked = (page < 128).mean()
    assert 0.005 < inked < 0.2

    words = ["--data", "drawings", "--length", "3", "--on-bad-image", "skip", "--name", "short"]
    zoo("train", "pen-ae", *words, "--steps", "4", **site)
    trained = zoo_json("train", "pen-ae", "--name", "drawn", **site)
    assert trained["metrics"]["error"] < 0.05  # 0.2 where every drawing is the mean of all
    zoo("export", "drawn", "--onnx", "-o", "drawn", **site)
    line = np.full((1, 3, 17), -1, np.float32)
    line[0, 0] = np.linspace(-0.5, 0.5, 17)
    np.savez("line.npz", strokes=line)
    zoo("run", "drawn/pen-ae-doodles.reconstruct.onnx", "line.npz", "-o", "made.npz", **site)
    with np.load("made.npz") as file:
        assert file["made"].shape == line.shape
