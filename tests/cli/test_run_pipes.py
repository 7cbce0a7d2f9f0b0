"""`zoo run` among other programs: patterns, standard input, standard output."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.running import Zoo, photo, piped, pixels
from tests.runtime.graphs import decoder, encoder, labelled, negative
from zoo.atomic import SPECIAL


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Zoo:
    return Zoo(capfd)


def picture_in(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_a_pattern_names_the_files_that_fit_it_in_order(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    for name in ("in/b.png", "in/a.png", "in/deep/c.png", "in/d.jpg", "in/.hidden.png"):
        photo(Path(name), 7)
    done = command.run("reconstruct.onnx", "in/*.png", "in/*.jpg", "-o", "out")
    assert done.lines == ["out/a.png", "out/b.png", "out/d.png"]
    deep = command.run("reconstruct.onnx", "in/**/*.png", "-o", "in/out")
    assert deep.lines == ["in/out/a.png", "in/out/b.png", "in/out/c.png"]
    again = command.run("reconstruct.onnx", "in/**/*.png", "-o", "in/out")
    assert again.lines == deep.lines  # what was written is not read


@pytest.mark.parametrize("output", [".", "..", "in"])
def test_inputs_inside_the_output_folder_are_found(
    command: Zoo, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    Path("here").mkdir()
    monkeypatch.chdir("here")
    negative(Path("reconstruct.onnx"))
    photo(Path("in/deep/a.png"), 7)
    for word in ("in/*/*.png", "in/d*", "in/deep"):
        done = command.run("reconstruct.onnx", word, "-o", output)
        assert (done.code, done.lines) == (0, [str(Path(output, "a.png"))])
        Path(output, "a.png").unlink()


def test_an_output_folder_that_fits_a_pattern_is_not_read(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    photo(Path("in/a.png"), 7)
    for _ in range(2):  # the second time, in/out is there
        done = command.run("reconstruct.onnx", "in/*", "-o", "in/out")
        assert (done.code, done.lines) == (0, ["in/out/a.png"])


def test_a_folder_without_pictures_is_passed_over_where_a_pattern_found_it(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    for name in ("in/a.png", "in/more/b.png"):
        photo(Path(name), 7)
    Path("in/empty/still").mkdir(parents=True)
    Path("in/empty/notes.txt").write_text("none here")
    done = command.run("reconstruct.onnx", "in/*", "-o", "out")
    assert (done.code, done.lines) == (0, ["out/a.png", "out/b.png"])
    for word in ("in/empty", "in/e*"):
        words = ("reconstruct.onnx", word, "-o", "out")
        assert word in command.refused(*words, code=3, error="no-pictures")


def test_a_file_that_has_the_name_of_a_pattern_is_that_file(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    photo(Path("photo[1].png"), 7)
    photo(Path("photo1.png"), 9)
    done = command.run("reconstruct.onnx", "photo[1].png", "-o", "out")
    assert done.lines == ["out/photo[1].png"]


def test_a_pattern_that_nothing_fits_is_an_error(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    words = ("reconstruct.onnx", "in/*.png", "-o", "out")
    assert "in/*.png" in command.refused(*words, code=3, error="file-not-found")


def test_a_picture_goes_through_a_pipe() -> None:
    negative(Path("reconstruct.onnx"))
    content = photo(Path("in.png"), 55).read_bytes()
    done = piped("run", "reconstruct.onnx", "-", "-o", "-", content=content)
    assert (done.returncode, done.stderr) == (0, b"")
    assert picture_in(done.stdout).getpixel((0, 0)) == (200, 200, 255)
    beside = piped("run", "reconstruct.onnx", "in.png", "-", "-o", "out", content=content)
    assert beside.stdout.splitlines() == [b"out/in.png", b"out/stdin.png"]


def test_arrays_are_told_from_pictures_by_their_first_bytes() -> None:
    labelled(Path("generate.onnx"))
    array, archive = io.BytesIO(), io.BytesIO()
    np.save(array, np.array([2, 1]))
    np.savez(archive, label=np.array([2, 1]))
    for content in (array.getvalue(), archive.getvalue()):
        done = piped("run", "generate.onnx", "-", "-o", "out", content=content)
        assert done.stdout.splitlines() == [b"out/1.png", b"out/2.png"]
        assert [int(pixels(f"out/{number}.png")[0, 0]) for number in (1, 2)] == [255, 128]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_named_pipe_is_not_waited_for() -> None:
    negative(Path("reconstruct.onnx"))
    photo(Path("in/a.png"), 7)
    for name in ("in/pipe.png", "pipe.npz"):
        os.mkfifo(name)
        done = piped("run", "reconstruct.onnx", name, "-o", "out", "--json")
        assert done.returncode == 3
        error = json.loads(done.stdout)["error"]
        assert (error["code"], error["cause"]) == ("bad-input", SPECIAL)
        assert name in error["message"]
    done = piped("run", "reconstruct.onnx", "in", "-o", "out")
    assert done.stdout.split() == [b"out/a.png"]
    assert b"pipe.png" in done.stderr


def test_numbers_go_through_a_pipe_from_one_graph_to_the_next() -> None:
    encoder(Path("encode.onnx"))
    Image.new("L", (28, 28), 0).save("a.png")
    done = piped("run", "encode.onnx", "a.png", "-o", "-")
    assert (done.returncode, done.stderr) == (0, b"")
    with np.load(io.BytesIO(done.stdout)) as codes:
        assert codes["names"].tolist() == ["a"]
        assert codes["mu"].tolist() == [[-1.0, -1.0]]


def test_a_grid_goes_to_standard_output() -> None:
    decoder(Path("decode.onnx"))
    done = piped("run", "decode.onnx", "-n", 4, "-o", "-")
    piped("run", "decode.onnx", "-n", 4, "-o", "grid.png")
    assert done.stdout == Path("grid.png").read_bytes()


WRONG = {
    "nothing comes": ("reconstruct.onnx -", b"", 3, "bad-input", "standard input"),
    "twice": ("reconstruct.onnx - -", b"x", 2, "conflicting-options", "standard input"),
    "no picture": ("reconstruct.onnx -", b"hello", 3, "bad-picture", "standard input"),
    "damaged arrays": ("decode.onnx -", b"PK", 3, "bad-input", "standard input"),
    "arrays that do not fit": ("reconstruct.onnx -", b"npy", 2, "bad-input", "float64 (3,)"),
    "JSON beside a picture": ("decode.onnx -o -", b"", 2, "conflicting-options", "-o -"),
}


@pytest.mark.parametrize(("words", "content", "code", "error", "name"), WRONG.values(), ids=WRONG)
def test_what_a_pipe_cannot_do_is_an_error(
    words: str, content: bytes, code: int, error: str, name: str
) -> None:
    negative(Path("reconstruct.onnx"))
    decoder(Path("decode.onnx"))
    if content == b"npy":
        array = io.BytesIO()
        np.save(array, np.zeros(3))
        content = array.getvalue()
    done = piped("run", *words.split(), "--json", content=content)
    said = done.stderr.decode()
    assert done.returncode == code
    assert json.loads(done.stdout)["error"]["code"] == error
    assert name in said
    assert len(said.splitlines()) <= 6


def test_several_pictures_do_not_go_to_standard_output() -> None:
    negative(Path("reconstruct.onnx"))
    photo(Path("a.png"), 0)
    done = piped("run", "reconstruct.onnx", "a.png", "a.png", "-o", "-")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"standard output" in done.stderr


def test_a_reader_that_leaves_early_is_no_error() -> None:
    decoder(Path("decode.onnx"))
    line = [sys.executable, "-m", "zoo", "run", "decode.onnx", "-n", "4000", "-o", "-"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(4) == b"\x89PNG"
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_bytes_are_not_written_onto_a_terminal() -> None:
    import pty

    decoder(Path("decode.onnx"))
    master, terminal = pty.openpty()
    try:
        line = [sys.executable, "-m", "zoo", "run", "decode.onnx"]
        for words in (["-o", "-"], ["-"]):
            done = subprocess.run(
                [*line, *words],
                stdin=terminal,
                stdout=terminal,
                stderr=subprocess.PIPE,
                check=False,
                timeout=60,  # a terminal that nobody reads would wait for ever
            )
            assert done.returncode == 2
            assert b"terminal" in done.stderr
    finally:
        os.close(master)
        os.close(terminal)
