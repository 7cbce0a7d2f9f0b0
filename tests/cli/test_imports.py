"""Quick verbs stay quick: what each of them imports."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ["torch", "onnx", "onnxruntime", "lightning_fabric", "numpy", "matplotlib", "httpx"]

PROBE = """
import json, sys
from zoo.cli import main
try:
    main(json.loads(sys.argv[1]))
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps([name for name in json.loads(sys.argv[2]) if name in sys.modules]))
"""


def imported_by(*words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(words), json.dumps(HEAVY)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["list"],
        ["list", "--json"],
        ["plugins", "list"],
        ["runs"],
        ["runs", "list"],
        ["data", "list"],
        ["train", "--help"],
        ["run", "--help"],
        ["explore", "--help"],
        ["explore", "map", "--help"],
    ],
    ids=" ".join,
)
def test_light_verbs_import_nothing_heavy(words: list[str]) -> None:
    assert imported_by(*words) == []


def test_show_imports_the_one_model_it_shows() -> None:
    assert "torch" in imported_by("show", "vae")
    assert "onnx" not in imported_by("show", "vae")


def test_importing_zoo_imports_nothing_heavy() -> None:
    code = (
        "import sys, zoo; zoo.Card; zoo.Port; print([n for n in sys.argv[1:] if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "number", "wanted"),
    [("zoo tr", 1, "train"), ("zoo train va", 2, "vae"), ("zoo sample @", 2, "@last")],
)
def test_shell_completion_imports_nothing_heavy(words: str, number: int, wanted: str) -> None:
    """Completion runs the command with an environment variable; it must answer at once."""
    code = PROBE.replace("assert not end.code, end.code", "pass")
    done = subprocess.run(
        [sys.executable, "-c", code, "[]", json.dumps(HEAVY)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={
            "_ZOO_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(number),
            "PATH": "/usr/bin:/bin",
        },
    )
    assert wanted in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
