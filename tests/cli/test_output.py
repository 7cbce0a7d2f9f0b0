"""Tables on screens of every width and encoding, and errors that are short."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.process import zoo


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


def test_without_a_verb_help_is_shown_and_the_exit_code_is_that_of_usage() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zoo"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Usage:")
