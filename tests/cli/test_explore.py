"""`zoo explore`: of runs and of exported files, what is drawn, and what is refused."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.process import error_of, zoo, zoo_json
from tests.runtime.graphs import conditional, decoder, halves, negative
from zoo.grids import GAP

SMALL = "fashion-mnist-small"


def cells(
    path: str,
    rows: int,
    columns: int,
    captioned: Collection[int],
    side: int = 28,
    across: int = 1024,
) -> np.ndarray[Any, Any]:
    """The pictures of a page with captions below some rows: (rows, columns, side, side)."""
    with Image.open(path) as picture:
        page = np.asarray(picture.convert("L"))
    factor = min(-(-across // (columns * side)), 2048 // (rows * side))
    factor = max(1, factor, -(-48 // side))
    line = min(max(12, side * factor // 10), 20) * 3 // 2
    step = side * factor + GAP
    left = page.shape[1] - columns * step  # labels stand on the left
    assert page.shape[0] == GAP + rows * step + len(captioned) * line
    found = []
    for row in range(rows):
        top = GAP + row * step + line * sum(each < row for each in captioned)
        line_of = page[top : top + side * factor]
        found.append([line_of[::factor, left + column * step :][:, : side * factor : factor]
                      for column in range(columns)])  # fmt: skip
    return np.array(found)


def halves_of(pictures: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The values of the left and the right half of pictures, as codes have them: (…, 2)."""
    sides = np.stack([pictures[..., 7], pictures[..., 21]], axis=-1)[..., 14, :]
    return sides / 127.5 - 1


def write_halves(path: Path, left: float, right: float) -> np.ndarray[Any, Any]:
    """Write a picture of two halves, and return the values that it has exactly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.rint((np.array([left, right]) + 1) * 127.5)
    Image.fromarray(np.repeat(levels, 14).repeat(28).reshape(28, 28).T.astype(np.uint8)).save(path)
    return levels / 127.5 - 1


# A run: the same draws as `zoo sample`


def test_the_ends_of_a_path_are_samples_of_the_seeds(in_trained: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "path.png")
    told = zoo_json("explore", "first", "interpolate", "3", "11", "-n", "6", "-o", place)
    assert (told["from"], told["to"], told["file"]) == ("seed 3", "seed 11", place)
    found = cells(place, 2, 6, {1})
    for seed, column in ((3, 0), (11, -1)):
        zoo("sample", "first", "-n", "1", "--seed", str(seed), "-o", str(tmp_path / "one.png"))
        sample = cells(str(tmp_path / "one.png"), 1, 1, (), across=512)[0, 0]
        assert np.abs(found[:, column].astype(int) - sample).max() <= 1
    assert (found[0, 2] != found[1, 2]).any(), "straight and on the arc are two paths"
    draws = [np.random.default_rng(seed).standard_normal(20) for seed in (3, 11)]
    assert told["distance"] == pytest.approx(np.linalg.norm(draws[0] - draws[1]), rel=1e-5)
    norms = told["paths"]["spherical"]["norms"]
    assert min(norms) > 0.9 * min(norms[0], norms[-1])
    assert min(told["paths"]["linear"]["norms"]) < min(norms)


def test_a_movement_goes_there_and_back(in_trained: Path, tmp_path: Path) -> None:
    place = tmp_path / "path.webp"
    words = ("explore", "first", "interpolate", "1", "2", "--path", "linear", "-n", "5")
    assert zoo(*words, "-o", str(place)).stdout == f"{place}\n"
    with Image.open(place) as movement:
        assert movement.n_frames == 8
        frames = []
        for number in range(8):
            movement.seek(number)
            frames.append(np.asarray(movement.convert("L")).astype(int))
            assert movement.info["duration"] == 100
    for number in (1, 2, 3):
        assert np.abs(frames[number] - frames[-number]).mean() < 3
    assert np.abs(frames[0] - frames[4]).mean() > 3


def test_classes_and_pictures_of_a_run_have_codes(in_trained: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "x.png")
    told = zoo_json("explore", "first", "interpolate", "Sneaker", "BAG", "-o", place)
    assert (told["from"], told["to"]) == ("sneaker", "bag")
    told = zoo_json("explore", "first", "arithmetic", "class:9", "sneaker", "bag", "-o", place)
    assert told["groups"]["a"] == {"name": "ankle boot", "pictures": 100}
    assert told["examples"] == 8
    assert cells(place, 4, 8, {0}).shape == (4, 8, 28, 28)


def test_a_map_tells_the_share_of_variance(in_trained: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "map.png")
    told = zoo_json("explore", "first", "map", "-n", "300", "-o", place)
    assert (told["pictures"], told["split"], told["data"]) == (300, "test", SMALL)
    first, second = told["shares"]
    assert 1 > first > second > 0
    assert f"{first:.0%}" in told["axes"][0]
    with Image.open(place) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    colours = np.unique(pixels[(np.ptp(pixels.astype(int), axis=1) > 60)], axis=0)
    assert len(colours) > 10, "a colour for each class"


def test_neighbours_of_held_out_pictures_are_mostly_of_their_class(
    in_trained: Path, tmp_path: Path
) -> None:
    place = str(tmp_path / "near.png")
    words = ("explore", "plain", "neighbours", "-n", "5", "--rows", "4", "-o", place)
    told = zoo_json(*words, "--metric", "cosine")
    assert len(told["queries"]) == 4
    for query in told["queries"]:
        assert query["distances"] == sorted(query["distances"])
        assert 0 <= query["distances"][0] < query["distances"][-1] < 2
    assert told["same_class"] > 0.3
    assert cells(place, 4, 6, range(4)).shape == (4, 6, 28, 28)


def test_a_code_without_a_prior_is_looked_at_about_the_codes_of_data(
    in_trained: Path, tmp_path: Path
) -> None:
    place = str(tmp_path / "x.png")
    told = zoo_json("explore", "plain", "traverse", "--principal", "--rows", "3", "-o", place)
    assert [row["name"][0] for row in told["rows"]] == ["1", "2", "3"]
    told = zoo_json("explore", "plain", "manifold", "-n", "3", "-o", place)
    assert "codes of data" in told["plane"]
    assert len(told["shares"]) == 2
    said = error_of("explore", "plain", "interpolate", "1", "2", code=2, error="does-not-apply")
    assert "prior" in said


# Exported files


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_neighbours_are_the_nearest_pictures_of_the_data(metric: str) -> None:
    halves(Path("export"))
    generator = np.random.default_rng(0)
    for number in range(24):
        write_halves(Path(f"data/train/{number:02}.png"), *generator.uniform(-0.9, 0.9, 2))
    asked = write_halves(Path("asked.png"), 0.4, -0.7)
    told = zoo_json("explore", "export", "neighbours", "asked.png", "--data", "data",
                    "-n", "3", "--metric", metric)  # fmt: skip
    page = halves_of(cells("neighbours.png", 1, 4, {0}))[0]
    np.testing.assert_allclose(page[0], asked, atol=1e-6)
    apart = np.linalg.norm(page[1:] - asked, axis=1)
    if metric == "cosine":
        norms = np.linalg.norm(page[1:], axis=1) * np.linalg.norm(asked)
        apart = 1 - page[1:] @ asked / norms
    (query,) = told["queries"]
    assert query["name"] == "asked"
    np.testing.assert_allclose(query["distances"], apart, atol=1e-5)
    assert apart.tolist() == sorted(apart)


def test_a_picture_of_the_data_is_its_own_nearest_neighbour() -> None:
    halves(Path("export"))
    for number in range(6):
        write_halves(Path(f"data/train/{number}.png"), number / 6, -number / 6)
    told = zoo_json("explore", "export", "neighbours", "data/train/3.png", "--data", "data",
                    "--split", "train")  # fmt: skip
    assert told["queries"][0]["distances"][0] == pytest.approx(0, abs=1e-6)


def test_arithmetic_adds_the_difference_of_means() -> None:
    halves(Path("export"))
    first = write_halves(Path("a/1.png"), 0.8, 0.1), write_halves(Path("a/2.png"), 0.6, 0.3)
    second = write_halves(Path("b/1.png"), 0.2, 0.0), write_halves(Path("b/2.png"), 0.0, 0.0)
    third = write_halves(Path("one.png"), -0.5, 0.2), write_halves(Path("two.png"), -0.9, 0.4)
    words = ("a", "b/*.png", "one.png,two.png", "--strength", "0.5", "-o", "sum.png")
    told = zoo_json("explore", "export", "arithmetic", *words)
    assert [told["groups"][each]["pictures"] for each in "abc"] == [2, 2, 2]
    difference = (np.mean(first, axis=0) - np.mean(second, axis=0)) / 2
    found = halves_of(cells("sum.png", 4, 4, {0}))
    means = [np.mean(each, axis=0) for each in (first, second, third)]
    np.testing.assert_allclose(found[0], [*means, means[2] + difference], atol=0.01)
    np.testing.assert_allclose(found[1, :2], third, atol=1e-6)
    np.testing.assert_allclose(found[2, :2], third, atol=0.01)
    np.testing.assert_allclose(found[3, :2], third + difference, atol=0.01)
    assert (found[1:, 2:] == 1).all(), "what is empty is white"


def test_a_path_between_pictures_stands_between_them() -> None:
    halves(Path("export"))
    ends = write_halves(Path("a.png"), 0.8, -0.4), write_halves(Path("b.png"), -0.2, 0.6)
    words = ("--from", "a.png", "--to", "b.png", "--path", "linear", "-n", "5")
    zoo("explore", "export", "interpolate", *words)
    found = halves_of(cells("interpolate.png", 1, 7, {0}))[0]
    np.testing.assert_allclose(found[[0, -1]], ends, atol=1e-6)
    np.testing.assert_allclose(found[1:-1], np.linspace(*ends, 5), atol=0.01)


def test_a_traversal_moves_one_number() -> None:
    halves(Path("export"))
    write_halves(Path("a.png"), 0.5, 0.5)
    words = ("--dims", "1,0", "--from", "a.png", "--span", "0.8", "-n", "5")
    told = zoo_json("explore", "export", "traverse", *words)
    assert [row["name"] for row in told["rows"]] == ["dimension 1", "dimension 0"]
    found = halves_of(cells("traverse.png", 2, 5, {1}))
    np.testing.assert_allclose(found[0, :, 1], np.linspace(-0.8, 0.8, 5), atol=0.01)
    np.testing.assert_allclose(found[0, :, 0], 0.5, atol=0.01)
    np.testing.assert_allclose(found[1, :, 0], np.linspace(-0.8, 0.8, 5), atol=0.01)
    zoo("explore", "export", "traverse", *words, "-o", "moves.webp")
    with Image.open("moves.webp") as movement:
        assert movement.n_frames == 8


def test_the_numbers_that_change_a_picture_most_come_first() -> None:
    decoder(Path("decode.onnx"))
    told = zoo_json("explore", "decode.onnx", "traverse", "--rows", "20", "--seed", "4")
    changes = [row["change"] for row in told["rows"]]
    assert len(changes) == 20
    assert changes == sorted(changes, reverse=True)
    assert len(zoo_json("explore", "decode.onnx", "traverse")["rows"]) == 8


def test_a_manifold_has_the_quantiles_of_the_prior_from_left_to_right_and_upwards() -> None:
    halves(Path("export"))
    told = zoo_json("explore", "export", "manifold", "-n", "6")
    places = [NormalDist().inv_cdf((each + 0.5) / 6) for each in range(6)]
    np.testing.assert_allclose(told["across"], places)
    assert "normal prior" in told["plane"]
    found = halves_of(cells("manifold.png", 6, 6, {5}))
    shown = np.clip(places, -1, 1)
    np.testing.assert_allclose(found[..., 0], np.tile(shown, (6, 1)), atol=0.01)
    np.testing.assert_allclose(found[..., 1], np.tile(shown[::-1, None], (1, 6)), atol=0.01)


def test_without_an_encoder_the_directions_are_those_of_drawn_pictures() -> None:
    decoder(Path("decode.onnx"))
    told = zoo_json("explore", "decode.onnx", "traverse", "--principal", "--rows", "3")
    assert len(told["rows"]) == 3
    told = zoo_json("explore", "decode.onnx", "manifold", "-n", "4", "--seed", "2")
    assert "seed 2" in told["plane"]
    assert sum(told["shares"]) < 1
    told = zoo_json("explore", "decode.onnx", "arithmetic", "1,2,3", "4,5", "6")
    assert [told["groups"][each]["pictures"] for each in "abc"] == [3, 2, 1]


def test_a_conditional_generator_has_a_row_a_class() -> None:
    conditional(Path("generate.onnx"), ["cat", "dog", "bird"])
    words = ("explore", "generate.onnx", "interpolate", "1", "2", "-n", "4")
    zoo(*words, "--class", "all", "-o", "all.png")
    found = cells("all.png", 3, 4, {2}, side=4)[:, :, 0, 0]
    draws = [np.random.default_rng(seed).standard_normal(1)[0] for seed in (1, 2)]
    shades = np.array([[-0.5], [0], [0.5]]) + np.linspace(*draws, 4) / 10
    np.testing.assert_allclose(found / 127.5 - 1, shades, atol=0.02)
    zoo(*words, "--class", "bird", "--path", "linear", "-o", "bird.png")
    assert (cells("bird.png", 1, 4, {0}, side=4)[0, :, 0, 0] == found[2]).all()
    told = zoo(*words, "-o", "drawn.png")
    assert "--class" in told.stderr
    said = error_of(*words[:3], "cat", "dog", code=2, error="does-not-apply")
    assert "--class all" in said


@pytest.mark.slow
def test_exported_files_show_what_their_run_shows(in_trained: Path, tmp_path: Path) -> None:
    folder = str(tmp_path / "export")
    zoo("export", "plain", "--onnx", "-o", folder)
    for view in (("interpolate", "bag", "sneaker", "-n", "4"), ("manifold", "-n", "3")):
        pages = []
        for target in ("plain", folder):
            place = tmp_path / "x.png"
            zoo("explore", target, *view, "-o", str(place))
            with Image.open(place) as picture:
                pages.append(np.asarray(picture).astype(int))
        assert np.abs(pages[0] - pages[1]).max() <= 1


def test_exported_files_need_no_torch(without_torch: dict[str, str]) -> None:
    halves(Path("export"))
    for view in ("manifold", "traverse", "interpolate", "neighbours"):
        zoo("explore", "export", view, *(["--data", SMALL] if view == "neighbours" else []),
            **without_torch)  # fmt: skip
        assert Path(f"{view}.png").is_file()
    said = error_of("explore", "export", "map", "--data", SMALL,
                    code=4, error="missing-package", **without_torch)  # fmt: skip
    assert "[train]" in said


def test_two_numbers_are_mapped_as_they_are() -> None:
    halves(Path("export"))
    told = zoo_json("explore", "export", "map", "--data", SMALL, "-n", "200", "-o", "m/map.png")
    assert told["axes"] == ["mean 0", "mean 1"]
    assert told["shares"] == []
    assert Path("m/map.png").is_file()


# What is refused


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["decode.onnx", "map"], ["interpolate"]),
        (["decode.onnx", "neighbours"], ["interpolate"]),
        (["decode.onnx", "interpolate", "a.png", "2"], ["interpolate 0 1"]),
        (["decode.onnx", "arithmetic", "bag", "1", "2"], ["bag"]),
        (["decode.onnx", "map", "--data", SMALL], ["--data"]),
        (["decode.onnx", "interpolate", "--class", "all"], ["--class"]),
        (["reconstruct.onnx", "map"], ["reconstruct"]),
        (["export/encode.onnx", "traverse"], ["map"]),
        (["generate.onnx", "manifold"], ["traverse"]),
    ],
    ids=" ".join,
)
def test_what_a_model_lacks_is_told_with_what_works(words: list[str], names: list[str]) -> None:
    decoder(Path("decode.onnx"))
    negative(Path("reconstruct.onnx"))
    conditional(Path("generate.onnx"), ["cat", "dog"])
    halves(Path("export"))
    write_halves(Path("a.png"), 0, 0)
    said = error_of("explore", *words, code=2, error="does-not-apply")
    assert all(name in said for name in names), said


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["export"], 2, "missing-argument"),
        (["map", "export"], 2, "unknown-verb"),
        (["export", "interpolat"], 2, "unknown-verb"),
        (["export", "interpolate", "1"], 2, "bad-value"),
        (["export", "interpolate", "1", "2", "--to", "3"], 2, "bad-value"),
        (["export", "interpolate", "gone.png", "2"], 3, "file-not-found"),
        (["export", "interpolate", "notes.png", "2"], 3, "bad-picture"),
        (["export", "interpolate", "gone/", "2", "--data", SMALL], 2, "unknown-class"),
        (["export", "interpolate", "snaeker", "2", "--data", SMALL], 2, "unknown-class"),
        (["export", "interpolate", "snaeker", "2"], 2, "which-data"),
        (["export", "interpolate", "--path", "circular"], 2, "usage"),
        (["export", "traverse", "--dims", "0,2"], 2, "bad-value"),
        (["export", "traverse", "--dims", "0", "--principal"], 2, "conflicting-options"),
        (["export", "manifold", "-o", "x.webp"], 2, "bad-output"),
        (["export", "interpolate", "-o", "x.gif"], 2, "bad-output"),
        (["export", "neighbours", "a.png", "-o", "a.png", "--data", SMALL], 2, "bad-output"),
        (["export", "map", "--data", "fasion-mnist"], 3, "data-not-found"),
        (["export", "map", "--data", SMALL, "--split", "tset"], 2, "no-such-split"),
        (["export", "map"], 2, "which-data"),
        (["gone.onnx", "map"], 3, "file-not-found"),
        (["gone", "map"], 3, "target-not-found"),
        (["mixed", "interpolate"], 2, "which-graph"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_what_is_wrong_is_told(words: list[str], code: int, error: str) -> None:
    halves(Path("export"))
    halves(Path("mixed"))
    halves(Path("other"), weights_sha256="f" * 64)
    Path("other/encode.onnx").rename("mixed/other.onnx")
    write_halves(Path("a.png"), 0, 0)
    before = Path("a.png").read_bytes()
    Path("notes.png").write_text("text")
    error_of("explore", *words, code=code, error=error)
    assert Path("a.png").read_bytes() == before


def test_help_is_there_with_and_without_a_target() -> None:
    for words in (("explore", "-h"), ("explore", "map", "-h"), ("explore", "x", "map", "--help")):
        assert "TARGET" in zoo(*words).stdout
    assert "--split" in zoo("explore", "map", "-h").stdout
