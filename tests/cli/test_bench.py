"""`zoo bench`: figures that can be true, a fair comparison, and what is asked wrongly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from tests.process import error_of, zoo, zoo_json
from tests.runtime.graphs import decoder, describe, negative, pixel_negative, save
from zoo.ports import DataSpec, Port
from zoo.runtime.timing import TURNS

QUICK = ("--repeat", "9", "--warmup", "1", "--threads", "1")


def multiplier(path: Path, times: int) -> Path:
    """latent (batch, 512) -> itself, multiplied by a matrix so many times."""
    names = [f"x{index}" for index in range(times)]
    nodes = [
        helper.make_node("MatMul", [before, "matrix"], [after])
        for before, after in zip(["latent", *names], [*names, "value"], strict=False)
    ]
    ports = [Port.latent("latent", 512), Port.latent("value", 512, prior=None)]
    constants = {"matrix": np.eye(512, dtype=np.float32)[::-1].copy()}
    return save(path, describe("multiply", ports[:1], ports[1:]), nodes, constants)


def test_the_table_has_a_row_for_each_file_and_batch() -> None:
    decoder(Path("decode.onnx"))
    lines = zoo("bench", "decode.onnx", "--batch", "1,64", *QUICK).stdout.splitlines()
    assert lines[0].split() == [
        "file", "on", "rows", "p50", "ms", "p90", "ms", "p99", "ms", "rows/s", "speed",
    ]  # fmt: skip
    assert [line.split()[:3] for line in lines[2:]] == [
        ["decode.onnx", "cpu", "1"],
        ["decode.onnx", "cpu", "64"],
    ]


def test_a_file_of_less_work_is_faster_than_the_first() -> None:
    multiplier(Path("slow.onnx"), 40)
    multiplier(Path("fast.onnx"), 2)
    slow, fast = zoo_json("bench", "slow.onnx", "fast.onnx", "--batch", "16", *QUICK)
    assert (slow["file"], slow["speed"]) == ("slow.onnx", 1.0)
    assert fast["speed"] > 2
    for told in (slow, fast):
        assert told["rows"] == 16
        assert 0 < told["p50_ms"] <= told["p90_ms"] <= told["p99_ms"]
        assert told["provider"] == "cpu"
    assert fast["rows_per_second"] > slow["rows_per_second"]


def test_a_file_of_a_fixed_batch_is_measured_on_that() -> None:
    pixel_negative(Path("four.onnx"), batch=4)
    negative(Path("one.onnx"))
    four, one = zoo_json("bench", "four.onnx", "one.onnx", *QUICK)
    assert (four["rows"], one["rows"]) == (4, 4)
    one, four = zoo_json("bench", "one.onnx", "four.onnx", *QUICK)
    assert (one["rows"], four["rows"]) == (4, 4)
    assert four["speed"] > 0
    said = error_of("bench", "four.onnx", "--batch", "1", code=2, error="wrong-size")
    assert "four.onnx" in said
    assert "4" in said.replace("four.onnx", "")


def test_files_that_fix_unlike_batches_have_no_speed_against_each_other() -> None:
    for rows in (4, 8):
        negative(Path(f"{rows}.onnx"), batch=rows)
    negative(Path("any.onnx"))
    four, eight, other = zoo_json("bench", "4.onnx", "8.onnx", "any.onnx", *QUICK)
    assert [told["rows"] for told in (four, eight, other)] == [4, 8, 4]
    assert (four["speed"], eight["speed"]) == (1.0, None)
    assert other["speed"] > 0
    done = zoo("bench", "4.onnx", "8.onnx", *QUICK)
    assert [line.split()[-1] for line in done.stdout.splitlines()[2:]] == ["1.00", "-"]
    assert "no speed of 8.onnx" in done.stderr


def test_the_image_size_that_one_file_fixes_is_that_of_all() -> None:
    small, large = (DataSpec.of_images(name, 3, side, side) for name, side in (("s", 8), ("l", 24)))
    negative(Path("any.onnx"), any_size=True)
    negative(Path("small.onnx"), small)
    pixel_negative(Path("small-pixels.onnx"), small)
    negative(Path("large.onnx"), large)
    decoder(Path("decode.onnx"))
    found = zoo_json(
        "bench", "any.onnx", "small.onnx", "small-pixels.onnx", "large.onnx", "decode.onnx", *QUICK
    )
    assert [told["size"] for told in found] == [[8, 8], [8, 8], [8, 8], [24, 24], None]
    assert [told["speed"] is None for told in found] == [False, False, False, True, False]
    done = zoo("bench", "small.onnx", "large.onnx", *QUICK)
    assert "no speed of large.onnx" in done.stderr
    assert "24x24" in done.stderr


def test_larger_pictures_take_longer() -> None:
    negative(Path("any.onnx"), any_size=True)
    (small,) = zoo_json("bench", "any.onnx", "--size", "8", *QUICK)
    (large,) = zoo_json("bench", "any.onnx", "--size", "512x1024", *QUICK)
    assert large["p50_ms"] > 2 * small["p50_ms"]


def test_help_says_how_files_take_turns() -> None:
    told = " ".join(zoo("bench", "--help").stdout.split())
    assert f"{TURNS} turns" in told
    assert "where FILE fixes all sizes but the batch" in told


WRONG = {
    "no file": ((), 2, "usage", ["FILE"]),
    "misspelt": (("decod.onnx",), 3, "file-not-found", ["'decode.onnx'"]),
    "no batch": (("decode.onnx", "--batch", "1,x"), 2, "bad-value", ["--batch 1,x"]),
    "no size": (("photos.onnx", "--size", "64x"), 2, "bad-value", ["'64x'"]),
    "a size of no image": (("decode.onnx", "--size", "64"), 2, "does-not-apply", ["--size"]),
    "another size": (
        ("photos.onnx", "--size", "64"), 2, "wrong-size", ["photos.onnx", "32x48", "64x64"]
    ),
    "no provider": (("decode.onnx", "--provider", "cdua"), 2, "usage", ["'cuda'"]),
}  # fmt: skip


@pytest.mark.parametrize(("words", "code", "error", "names"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_measured_is_an_error(
    words: tuple[str, ...], code: int, error: str, names: list[str]
) -> None:
    decoder(Path("decode.onnx"))
    negative(Path("photos.onnx"))
    said = error_of("bench", *words, code=code, error=error)
    assert all(name in said for name in names), said
