"""The whole programs in docs/onnx.md do what it says, on every form of file that they may get."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tests.anywhere import javascript
from tests.documents import files
from tests.runtime.graphs import (
    CLOTHES,
    PHOTOS,
    conditional,
    decoder,
    entry_of,
    fading,
    negative,
    pixel_negative,
)

DOCUMENT = Path(__file__).parents[1] / "docs" / "onnx.md"
HERE = Path(__file__).parent / "anywhere"
ORIENTATION = 0x0112  # in EXIF


@pytest.fixture(autouse=True)
def _programs() -> None:
    written = {path.name for path in files(DOCUMENT, Path())}
    assert written >= {
        "read_entry.py", "translate.py", "classes.py", "loop.py", "draw.mjs", "draw.html",
    }  # fmt: skip


def run(*words: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def photo(width: int, height: int) -> Image.Image:
    """A smooth picture whose corners differ."""
    y, x = np.mgrid[0:height, 0:width]
    red, green, blue = x / width, y / height, (x + y) / (width + height)
    return Image.fromarray((np.stack([red, green, blue], axis=2) * 255).astype(np.uint8))


def gap(found: Path, wanted: Image.Image) -> int:
    with Image.open(found) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", wanted.mode, wanted.size)
        return int(np.abs(np.asarray(picture).astype(int) - np.asarray(wanted)).max())


def negated(picture: Image.Image) -> Image.Image:
    return Image.fromarray(255 - np.asarray(picture))


@pytest.mark.parametrize("write", [negative, pixel_negative])
def test_a_photo_of_any_size_is_translated_at_its_own(write: Any) -> None:
    write(Path("any.onnx"), any_size=True)
    upright = photo(57, 101)
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # what is seen is turned to the right
    upright.rotate(90, expand=True).save("turned.png", exif=exif)
    run("translate.py", "any.onnx", "turned.png", "out.png")
    assert gap(Path("out.png"), negated(upright)) <= 1


@pytest.mark.parametrize("write", [negative, pixel_negative])
@pytest.mark.parametrize("batch", ["batch", 3])
@pytest.mark.parametrize("size", [(57, 101), (101, 57), (48, 32), (9, 5)])
def test_a_photo_goes_through_a_graph_of_fixed_size_and_back(
    write: Any, batch: int | str, size: tuple[int, int]
) -> None:
    write(Path("fixed.onnx"), PHOTOS, batch=batch)
    picture = photo(*size)
    picture.save("photo.png")
    run("translate.py", "fixed.onnx", "photo.png", "out.png")
    assert gap(Path("out.png"), negated(picture)) <= (1 if size == (48, 32) else 16)


def test_modes_of_photos_and_of_graphs_need_not_agree() -> None:
    negative(Path("colour.onnx"), any_size=True)
    negative(Path("grey.onnx"), CLOTHES, any_size=True)
    clear = photo(20, 30).convert("RGBA")
    clear.putalpha(0)
    clear.save("clear.png")
    run("translate.py", "colour.onnx", "clear.png", "out.png")
    assert gap(Path("out.png"), Image.new("RGB", (20, 30), "black")) <= 1
    photo(20, 30).convert("L").save("grey.png")
    run("translate.py", "grey.onnx", "grey.png", "out.png")
    assert gap(Path("out.png"), negated(photo(20, 30).convert("L"))) <= 1
    run("translate.py", "colour.onnx", "grey.png", "out.png")
    assert gap(Path("out.png"), negated(photo(20, 30).convert("L").convert("RGB"))) <= 1


def test_a_graph_of_another_kind_is_refused_by_name() -> None:
    photo(28, 28).save("photo.png")
    for program in (("translate.py", "photo.png"), ("classes.py",)):
        name, *rest = program
        said = run(name, decoder(Path("decode.onnx")), *rest, "out.png", code=1)
        assert "decode.onnx" in said
        assert "Traceback" not in said


@pytest.mark.parametrize("batch", ["batch", 5])
def test_each_class_has_a_row_of_the_same_noise(batch: int | str) -> None:
    names = ["black", "grey", "white", "a name that is longer than a picture"]
    path = conditional(Path("generate.onnx"), names)
    if batch != "batch":
        fix_batch(path, int(batch))
    run("classes.py", path, "classes.png")
    with Image.open("classes.png") as picture:
        page = np.asarray(picture.convert("L")).astype(int)
    assert page.shape[0] == 4 * len(names)
    cells = page[:, -8 * 4 :]
    shades = [cells[4 * row + 1, 1::4] for row in range(len(names))]
    steps = np.diff([(shade - shades[0]).mean() for shade in shades])
    np.testing.assert_allclose(steps, 255 / 2 / 3, atol=1.5)  # from -0.5 to 0.5 in three steps
    for shade in shades:
        np.testing.assert_allclose(shade - shades[0], (shade - shades[0]).mean(), atol=1.5)
    assert page[:, : -8 * 4].min() < 128  # the names


def fix_batch(path: Path, rows: int) -> None:
    """Make a file one of `--batch N`."""
    import onnx
    from onnx import helper

    model, entry = onnx.load(path), entry_of(path)
    for side, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        for port, value in zip(entry["signature"][side], values, strict=True):
            port["shape"][0] = rows
            value.type.tensor_type.shape.dim[0].dim_value = rows
    helper.set_model_props(model, {"zoo": json.dumps(entry)})
    onnx.save(model, path)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, with Python's own server as the document says."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("write", "size", "grid"),
    [
        (decoder, 28, 4),
        (lambda path: conditional(path, ["black", "grey", "white"]), 4, 4),
    ],
    ids=["noise", "noise and a class"],
)
def test_the_page_draws_what_onnx_runtime_draws(write: Any, size: int, grid: int) -> None:
    if why := javascript.absent("onnxruntime-web"):
        pytest.skip(why)
    path = write(Path("decode.onnx"))
    told = {"files": {"decode": {"file": path.name, "description": entry_of(path)}}}
    Path("manifest.json").write_text(json.dumps(told))
    with served(Path.cwd()) as address:
        done = subprocess.run(
            ["node", HERE / "page.mjs", "onnxruntime-web", "draw.mjs", address, "result.json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    result = json.loads(Path("result.json").read_text())
    assert (result["width"], result["height"]) == (grid * size, grid * size)
    assert result["enabled"]
    assert len(result["inputs"]) == 2  # at once, and at a click
    assert result["inputs"][0] != result["inputs"][1]
    engine = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {
        name: np.array(given["data"], given["type"]).reshape(given["dims"])
        for name, given in result["inputs"][0].items()
    }
    if "label" in feed:
        assert set(feed["label"]) <= {0, 1, 2}
    assert abs(feed["latent"].mean()) < 1
    images = engine.run(None, feed)[0]
    for number, (image, painted) in enumerate(zip(images, result["painted"][:16], strict=True)):
        assert (painted["x"], painted["y"]) == (number % 4 * size, number // 4 * size)
        colours = np.array(painted["data"]).reshape(size, size, 4)
        wanted = (image[0] + 1) * 127.5
        assert np.abs(colours[..., :3] - wanted[..., None]).max() <= 1
        assert (colours[..., 3] == 255).all()


@pytest.mark.parametrize("rounds", [1, 5, None])
def test_a_step_is_driven_round_after_round(rounds: int | None) -> None:
    path = fading(Path("fade.onnx"), rounds)
    run("loop.py", path, "result.npz")
    with np.load("result.npz") as result:
        assert result["counted"].tolist() == [rounds or 10] * 4
        light = result["faded"] + 1
    assert 0 < light.max() <= 2 * 0.5 ** (rounds or 10)
    assert light.max() > 1.9 * 0.5 ** (rounds or 10)
    run("read_entry.py", path)


def test_what_the_page_loads_is_there() -> None:
    text = Path("draw.html").read_text(encoding="utf-8")
    imported = [line.split('"')[1] for line in text.splitlines() if "import" in line]
    assert "./draw.mjs" in imported
    assert "export async function start" in Path("draw.mjs").read_text(encoding="utf-8")
    if javascript.absent("onnxruntime-web"):
        pytest.skip("onnxruntime-web is not installed")
    for name in imported:
        folder = HERE if "node_modules" in name else Path()
        assert (folder / name).is_file()
