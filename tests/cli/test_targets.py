"""What can be done with a trained model: sample, eval, export, and which one is meant."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.data.loopback import loopback
from tests.process import error_of, zoo, zoo_json
from zoo import grids, pictures
from zoo.data.location import locate_data
from zoo.data.store import open_store
from zoo.model.inference import draw_samples, map_images
from zoo.model.weights import load_weights

pytestmark = pytest.mark.usefixtures("in_trained")


@pytest.fixture
def in_empty(
    in_trained: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An empty working directory, with the cache of the trained one."""
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.chdir(empty)
    return empty


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("first", "runs/first"),
        ("vae", "runs/first"),
        ("zoo-autoencoders:vae", "runs/first"),
        ("@last", "runs/plain"),
        ("runs/first", "runs/first"),
    ],
)
def test_the_choice_is_echoed(target: str, meant: str) -> None:
    said = zoo("eval", target, "--metrics", "model").stderr
    assert f"using {meant}/" in said


def test_a_weight_file_alone_is_a_target(tmp_path: Path) -> None:
    (weights,) = Path("runs/first/checkpoints").glob("*/model.safetensors")
    alone = tmp_path / "anything.safetensors"
    shutil.copyfile(weights, alone)
    picture = tmp_path / "samples.png"
    assert zoo("sample", str(alone), "-n", "4", "-o", str(picture)).stdout.strip() == str(picture)
    assert picture.is_file()


def test_the_seed_decides_the_samples(tmp_path: Path) -> None:
    def draw(seed: int, name: str) -> bytes:
        zoo("sample", "first", "-n", "4", "--seed", str(seed), "-o", str(tmp_path / name))
        return (tmp_path / name).read_bytes()

    assert draw(1, "a.png") == draw(1, "b.png")
    assert draw(1, "a.png") != draw(2, "c.png")


def test_eval_measures_the_test_split_and_agrees_with_itself() -> None:
    first, second = (zoo_json("eval", "first") for _ in range(2))
    assert first == second
    assert first["split"] == "test"
    assert first["images"] == 1000
    assert first["classes"] is None, "a model that has a measure is judged when asked to"
    metrics = first["metrics"]
    assert metrics["elbo"] == pytest.approx(-metrics["reconstruction"] - metrics["kl"], abs=1e-3)
    assert zoo_json("eval", "first", "--split", "validation", "--metrics", "model")["images"] == 250


def assert_labels(
    page: pictures.Pixels, expected: pictures.Pixels, *, columns: int, side: int
) -> None:
    """Assert that two grids have the same text on their left, some in each row."""
    assert page.shape == expected.squeeze().shape
    width = page.shape[1] - (columns * side + grids.GAP)
    margin = page[:, :width]
    np.testing.assert_array_equal(margin, expected.squeeze()[:, :width])
    for top in range(grids.GAP, len(page) - 1, side):
        assert margin[top : top + side].min() < 100


def test_a_model_that_maps_pictures_is_shown_on_test_pictures(tmp_path: Path) -> None:
    picture = tmp_path / "shown.png"
    zoo("sample", "plain", "-n", "8", "-o", str(picture))
    page = np.asarray(Image.open(picture))
    side = (page.shape[0] - grids.GAP) // 2  # pictures, and what became of them
    assert side % (28 * 3) == grids.GAP
    rows = np.zeros((16, 28, 28, 1), np.uint8)
    assert_labels(page, grids.grid(rows, 8, ["input", "reconstruct"]), columns=8, side=side)
    said = error_of("sample", "plain", "--class", "bag", code=2, error="does-not-apply")
    assert "ae" in said


def test_a_class_is_asked_for_by_name_or_number(in_empty: Path) -> None:
    zoo("train", "cgan", "--steps", "2", "--batch-size", "8", "--set", "features=2")
    for name, chosen in (("a", "sneaker"), ("b", "7"), ("c", "bag")):
        zoo("sample", "cgan", "--class", chosen, "-n", "3", "-o", f"{name}.png")
    first, same, other = (Path(f"{name}.png").read_bytes() for name in "abc")
    assert first == same != other
    answer = zoo_json("sample", "cgan", "--class", "all", "-n", "3", "-o", "all.png")
    assert answer["count"] == 30
    page = np.asarray(Image.open("all.png"))
    side = (page.shape[0] - grids.GAP) // 10  # ten rows of three
    (weights,) = Path("runs").glob("*/checkpoints/*/model.safetensors")
    model = load_weights(weights).model
    names = model.data.classes
    samples = draw_samples(model, "generate", count=3, seed=0, classes=range(10))
    assert_labels(page, grids.grid(samples, 3, names), columns=3, side=side)
    zoo("sample", "cgan", "--class", "sneaker,bag", "-n", "3", "-o", "two.png")
    two = np.asarray(Image.open("two.png"))
    assert_labels(two, grids.grid(samples[-6:], 3, ["sneaker", "bag"]), columns=3, side=side)
    preview = np.asarray(Image.open("runs/cgan-1/samples/step-0000002-generate.png"))
    side = (preview.shape[0] - grids.GAP) // 10
    eight = np.zeros((80, 28, 28, 1), np.uint8)
    assert_labels(preview, grids.grid(eight, 8, names), columns=8, side=side)
    said = error_of("sample", "cgan", "--class", "sneeker", code=2, error="unknown-class")
    assert "'sneaker'" in said
    said = error_of("sample", "cgan", "--data", "emoji", code=2, error="does-not-apply")
    assert "cgan" in said


def test_a_translation_is_shown_there_and_back_both_ways(in_empty: Path) -> None:
    small = ["--set", "features=4", "--set", "blocks=1", "--set", "discriminator_features=4"]
    zoo("train", "cyclegan", "--steps", "2", "--batch-size", "4", *small)
    previews = sorted(path.name for path in Path("runs/cyclegan-1/samples").iterdir())
    assert "step-0000000-noto_to_twemoji.png" in previews
    assert "step-0000002-twemoji_to_noto.png" in previews
    zoo("sample", "cyclegan", "-n", "4")
    page = np.asarray(Image.open("samples.png"))
    side = (page.shape[0] - grids.GAP) // 6
    there, back = "twemoji_to_noto", "noto_to_twemoji"
    labels = ["twemoji", there, back, "noto", back, there]
    labelled = grids.grid(np.zeros((24, 32, 32, 3), np.uint8), 4, labels)
    assert_labels(page, labelled, columns=4, side=side)
    page = page[:, -(4 * side + grids.GAP) :]
    model = load_weights(next(Path("runs").glob("*/checkpoints/*/model.safetensors"))).model
    test = open_store(locate_data("emoji")).splits["test"]
    there = map_images(model, "twemoji_to_noto", test["a"][:1])
    back = map_images(model, "noto_to_twemoji", there)
    rows = [page[grids.GAP + side * row :][: side - grids.GAP] for row in range(3)]
    for row, image in zip(rows, (test["a"][:1], there, back), strict=True):
        shown = row[:, grids.GAP : side]
        factor = shown.shape[0] // 32
        np.testing.assert_array_equal(shown[::factor, ::factor], image[0])
    words = ["sample", "cyclegan", "--data", "fashion-mnist-small"]
    assert "twemoji" in error_of(*words, code=2, error="does-not-apply")


def test_an_export_is_verified_complete_and_says_what_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    answer = zoo_json("export", "first", "--onnx", "-o", str(folder))
    assert answer["verified"] is True
    assert set(answer["max_abs_difference"]) == {
        "encode/mu", "encode/logvar", "decode/image", "reconstruct/reconstruction",
        "sample/reconstruction",
    }  # fmt: skip
    assert all(0 <= gap <= 1e-4 for gap in answer["max_abs_difference"].values())
    assert all(Path(file).is_file() for file in answer["files"])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["identity"]["model"] == "vae"
    assert set(manifest["files"]) == {"encode", "decode", "reconstruct", "sample"}
    assert not [path for path in folder.parent.iterdir() if path != folder], "nothing left beside"
    again = load_weights(folder / "model.safetensors")
    assert again.identity.step == 60
    with Image.open(folder / "pictures" / "decode.png") as image:
        assert image.size[0] > 200


def test_onnx_runtime_draws_what_torch_draws(tmp_path: Path) -> None:
    """The same seed gives the same latents, and those the same pictures."""
    zoo("export", "first", "--onnx", "-o", str(tmp_path))
    zoo(
        "run",
        str(tmp_path / "vae-fashion-mnist-small.decode.onnx"),
        "-n",
        "9",
        "--seed",
        "3",
        "-o",
        str(tmp_path / "a.png"),
    )
    zoo("sample", "first", "-n", "9", "--seed", "3", "-o", str(tmp_path / "b.png"))
    a, b = (np.asarray(Image.open(tmp_path / name), int) for name in ("a.png", "b.png"))
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= 1, "one grey level, by rounding"


def test_an_exported_file_has_an_open_batch_and_no_random_operator(tmp_path: Path) -> None:
    zoo("export", "first", "--onnx", "-o", str(tmp_path))
    for path in tmp_path.glob("*.onnx"):
        model = onnx.load(path)
        for value in (*model.graph.input, *model.graph.output):
            assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
        assert not [node for node in model.graph.node if "Random" in node.op_type]
        assert not [each for each in model.graph.initializer if each.external_data]


def test_an_export_into_the_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    zoo("export", "plain", "--onnx", "-o", str(tmp_path))
    (tmp_path / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words = ["export", "first", "--onnx", "-o", str(tmp_path)]
    assert "zoo-autoencoders:ae" in error_of(*words, code=2, error="already-exists")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    zoo("export", "plain", "--onnx", "-o", str(tmp_path))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_previews_are_the_samples_of_the_model(in_trained: Path) -> None:
    preview = in_trained / "runs" / "first" / "samples" / "step-0000060-decode.png"
    (weights,) = (in_trained / "runs" / "first" / "checkpoints").glob("*/model.safetensors")
    pixels = draw_samples(load_weights(weights).model, "decode", count=64, seed=0)
    with Image.open(preview) as image:
        assert np.array_equal(np.asarray(image), grids.grid(pixels, 8).squeeze())


def test_an_export_is_called_as_what_was_named(tmp_path: Path) -> None:
    for target, folder in (("ae", "ae"), ("plain", "plain"), ("runs/plain", "plain")):
        files = zoo_json("export", target, "--onnx")["files"]
        assert {Path(file).parts[:2] for file in files} == {("exports", folder)}


def test_eval_measures_on_what_the_run_was_trained_on(tmp_path: Path) -> None:
    """A folder whose name is also that of a data set is not mistaken for it."""
    folder = tmp_path / "fashion-mnist-small"
    folder.mkdir()
    for number in range(40):
        noise = np.random.default_rng(number).integers(0, 255, (16, 16), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    zoo("train", "ae", "--data", str(folder), "--steps", "2", "--name", "noise")
    assert zoo_json("eval", "noise", "--metrics", "model")["images"] == 2
    weights = next(Path("runs/noise/checkpoints").glob("*/model.safetensors"))
    alone = tmp_path / "alone.safetensors"
    shutil.copyfile(weights, alone)
    assert "--data" in error_of("eval", str(alone), code=2)
    zoo("runs", "rm", "noise")


def test_a_damaged_run_hides_no_other(in_trained: Path) -> None:
    damaged = in_trained / "runs" / "damaged"
    damaged.mkdir()
    (damaged / "run.json").write_text("{}")
    try:
        assert "runs/first/" in zoo("eval", "vae", "--metrics", "model").stderr
        assert "damaged" in zoo("runs").stdout
    finally:
        shutil.rmtree(damaged)


@pytest.mark.parametrize(
    ("words", "code", "error", "name"),
    [
        (["export", "vae"], 2, "missing-argument", "--onnx"),
        (["sample", "frist"], 3, "target-not-found", "'first'"),
        (["sample", "none.safetensors"], 3, "file-not-found", "none.safetensors"),
        (["sample", "first", "-n", "0"], 2, "usage", "0"),
        (["eval", "first", "--split", "tset"], 2, "usage", "'test'"),
        (["sample", "first", "-o", "grid.jpg"], 2, "bad-output", "grid.jpg"),
        (["sample", "nonsense:vae"], 3, "target-not-found", "'nonsense:vae'"),
        (["eval", "first", "--data", "nowhere"], 3, "data-not-found", "nowhere"),
        (["runs", "show", "nothing"], 3, "run-not-found", "'nothing'"),
        (["runs", "rm", "../work"], 3, "run-not-found", "'../work'"),
        (["show", "vea"], 3, "model-not-found", "'vae'"),
        (["list", "--task", "generaton"], 2, "bad-value", "'generation'"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else None,
)
def test_what_is_wrong_is_said_shortly(words: list[str], code: int, error: str, name: str) -> None:
    assert name in error_of(*words, code=code, error=error)


def test_no_run_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_weights: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = error_of("export", "vae", "--onnx", code=3, error="no-finished-run", **without_weights)
    assert "zoo train vae" in said
    error_of("sample", "@last", code=3, error="run-not-found")
    assert "not installed" in zoo("show", "vae", **without_weights).stdout


def test_in_a_new_installation_published_weights_are_sampled_and_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = zoo("sample", "vae", "-n", "4", "-o", "four.png")
    assert "published" in done.stderr
    with Image.open("four.png") as picture:
        assert np.asarray(picture).std() > 30, "clothes on black"
    zoo("export", "vae", "--onnx")
    (decoder,) = Path("exports/vae").glob("*.decode.onnx")
    zoo("run", str(decoder), "-n", "4", "-o", "again.png")
    # pictures come with the package, where those of the training would have to be downloaded
    told = zoo("sample", "ae", "-o", "pictures.png", ZOO_HOME=str(tmp_path / "home")).stderr
    assert "data: fashion-mnist-small" in told
    assert "zoo data get fashion-mnist " in told
    rows = {row["name"]: row["weights"] for row in zoo_json("list")}
    assert rows["vae"] == "published"


def test_runs_are_listed_and_shown(in_trained: Path) -> None:
    listed = zoo("runs").stdout
    assert listed.index("first") < listed.index("plain"), "the oldest first"
    shown = zoo_json("runs", "show", "first")
    assert shown["model"] == "vae"
    assert any(file.endswith("curves.png") for file in shown["files"])


def test_list_and_show() -> None:
    rows = zoo_json("list", "--task", "generation")
    assert {"vae", "dcgan"} <= {row["name"] for row in rows}
    assert {row["task"] for row in rows} == {"generation"}
    shown = zoo_json("show", "vae")
    assert shown["options"][0]["name"] == "latent_size"
    assert all(option["reason"] for option in shown["options"] + shown["training"])
    assert shown["graphs"]["decode"]["inputs"][0]["prior"] == "normal"
    text = zoo("show", "vae").stdout
    for word in ("Kingma", "arxiv.org", "latent_size", "batch_size", "published", "encode"):
        assert word in text
    assert "skip=true" in zoo("show", "cyclegan").stdout  # of a preset


def test_published_weights_serve_where_there_is_no_run(
    in_trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    without_weights: dict[str, str],
) -> None:
    (weights,) = (in_trained / "runs" / "first" / "checkpoints").glob("*/model.safetensors")
    body = weights.read_bytes()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with loopback() as server:
        server.put("/vae.safetensors", body)
        (tmp_path / "catalogue.toml").write_text(
            'schema = 1\n[weights.vae]\nsummary = "60 steps"\nlicence = "CC0"\n'
            f'file = {{ name = "vae.safetensors", bytes = {len(body)}, '
            f'sha256 = "{hashlib.sha256(body).hexdigest()}", '
            f'urls = ["{server.url("/vae.safetensors")}"] }}\n'
        )
        monkeypatch.setenv("ZOO_REGISTRY", str(tmp_path / "catalogue.toml"))
        assert "60 steps" in zoo("show", "vae", **without_weights).stdout
        assert "licence: CC0" in zoo("sample", "vae", "-n", "1", **without_weights).stderr
    zoo(
        "sample", "vae", "-n", "1", **without_weights
    )  # the server has gone, the file is in the cache


def test_a_run_of_another_distributions_model_of_that_name_is_not_taken(
    in_trained: Path, without_weights: dict[str, str]
) -> None:
    shutil.copytree(in_trained / "runs" / "first", "elsewhere/runs/theirs")
    path = Path("elsewhere/runs/theirs/run.json")
    path.write_text(path.read_text().replace('"zoo-autoencoders"', '"zoo-of-theirs"'))
    os.chdir("elsewhere")
    try:
        assert "vae" in error_of(
            "sample", "vae", code=3, error="no-finished-run", **without_weights
        )
    finally:
        os.chdir("..")
        shutil.rmtree("elsewhere")


def _flip(path: Path) -> None:
    """Change two bits of the last tensor: still finite, still of the right shape."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 0b1
    content[-7] ^= 0b1
    path.write_bytes(content)


@pytest.mark.parametrize("verb", ["sample", "eval", "export"])
def test_damaged_weights_of_a_run_are_used_by_no_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    shutil.copytree("runs/first", tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    (weights,) = Path("runs/first/checkpoints").glob("*/model.safetensors")
    _flip(weights)
    options = ["--onnx"] if verb == "export" else []
    for target in ("first", str(weights)):
        said = error_of(verb, target, *options, code=3, error="hash-mismatch")
        assert "manifest.json" in said
        assert "sha256" in said
    assert not Path("exports").exists()
    (weights.parent / "manifest.json").write_text("{")
    error_of(verb, "first", *options, code=3, error="damaged-manifest")
    (weights.parent / "manifest.json").unlink()
    said = error_of(verb, "first", *options, code=3, error="damaged-checkpoint")
    assert "manifest.json" in said


def test_a_damaged_best_checkpoint_leads_to_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree("runs/first", tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    (weights,) = Path("runs/first/checkpoints").glob("*/model.safetensors")
    shutil.copytree(weights.parent, weights.parent.with_name("step-0000001"))
    _flip(weights)
    said = error_of("sample", "first", code=3)
    assert "step-0000001/model.safetensors" in said


def test_damaged_weights_of_an_export_are_not_used(tmp_path: Path) -> None:
    zoo("export", "first", "--onnx", "-o", str(tmp_path / "out"))
    weights = tmp_path / "out" / "model.safetensors"
    _flip(weights)
    said = error_of("sample", str(weights), code=3)
    assert "manifest.json" in said
    (tmp_path / "alone").mkdir()
    alone = shutil.copy(weights, tmp_path / "alone")
    zoo("sample", str(alone), "-n", "1", "-o", str(tmp_path / "picture.png"))
    onnx_file = next((tmp_path / "out").glob("*.decode.onnx"))
    _flip(onnx_file)
    assert "manifest.json" in error_of("run", str(onnx_file), "-n", "1", code=3)
    assert "manifest.json" in error_of("bench", str(onnx_file), code=3)
    refused = zoo_json("show", str(onnx_file))["refused"]
    assert "manifest.json" in refused
    (tmp_path / "out" / "manifest.json").write_text('{"name": "a web page"}')
    zoo("show", str(onnx_file))
    zoo("sample", str(weights), "-n", "1", "-o", str(tmp_path / "picture.png"))
