"""Tables on screens of every width and encoding, and errors that are short."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.process import error_of, zoo


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_names_stay_whole_at_every_width(columns: int) -> None:
    shown = zoo("list", COLUMNS=str(columns)).stdout
    for name in ("denoising-ae", "fashion-mnist-small", "zoo-autoencoders"):
        assert name in shown
    if columns >= 120:
        assert max(map(len, shown.splitlines())) <= columns


def test_what_a_terminal_cannot_show_is_written_in_ascii() -> None:
    shown = zoo("show", "vae", PYTHONIOENCODING="ascii").stdout
    assert "integer >= 1, <= 4,096" in shown
    assert "?" not in shown


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m zoo data list | head -1"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_closed_streams_are_no_error() -> None:
    command = f"{sys.executable} -m zoo list >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (["train", "vea"], 3, "model-not-found"),
        (["train", "vae", "--steps", "many"], 2, "bad-value"),
        (["train", "vae", "--set", "latnet=3"], 2, "unknown-option"),
        (["train", "vae", "--data", "nothing"], 3, "data-not-found"),
        (["show", "nothing"], 3, "model-not-found"),
        (["sample", "nothing"], 3, "target-not-found"),
        (["export", "@last", "--onnx"], 3, "run-not-found"),
        (["list", "--no-such-option"], 2, "unknown-option"),
        (["data", "check", "nothing"], 3, "data-not-found"),
        (["run", "nothing.onnx"], 3, "file-not-found"),
        (["bench", "nothing.onnx"], 3, "file-not-found"),
        (["runs", "show", "nothing"], 3, "run-not-found"),
        (["plugins", "check", "nothing"], 3, "plugin-not-found"),
        (["predict"], 2, "unknown-verb"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_json_is_printed_also_of_an_error(words: list[str], exit_code: int, code: str) -> None:
    done = zoo(*words, "--json", code=exit_code)
    told = json.loads(done.stdout)["error"]
    assert set(told) == {"code", "message", "cause", "hint", "exit_code"}
    assert (told["exit_code"], told["code"]) == (exit_code, code)
    assert f"error: {told['message']}" in done.stderr


def test_zoo_alone_prints_its_help_to_stdout() -> None:
    done = zoo()
    assert done.stdout == zoo("-h").stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("word", "verb"),
    [("predict", "zoo run"), ("generate", "zoo sample"), ("info", "zoo show"),
     ("version", "zoo --version"), ("help", "zoo -h"), ("test", "zoo eval")],
)  # fmt: skip
def test_words_of_other_tools_lead_to_the_verb(word: str, verb: str) -> None:
    assert verb in error_of(word, code=2, error="unknown-verb")


def test_every_option_of_train_is_in_a_group() -> None:
    text = zoo("train", "-h").stdout
    assert text.index("zoo train MODEL") < text.index("Data:") < text.index("--data NAME|PATH")
    rest = " ".join(text[text.index("Other:") :].split())
    assert rest == "Other: -h, --help Show this message and exit."
