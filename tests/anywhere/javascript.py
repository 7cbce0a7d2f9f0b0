"""onnxruntime-node and onnxruntime-web, both under Node."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.anywhere.worker import Arrays, Worker

HERE = Path(__file__).parent


def absent(package: str) -> str:
    """Return why a package cannot be used, or nothing."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not _facts(package).is_file():
        return f"{package} is not installed here; `make anywhere` does it"
    return ""


def version(package: str) -> str:
    return str(json.loads(_facts(package).read_text(encoding="utf-8"))["version"])


def open_file(package: str, path: Path) -> Callable[[Arrays], Arrays]:
    return lambda inputs: _worker(package).run(path, inputs)


@cache
def _worker(package: str) -> Worker:
    return Worker(["node", HERE / "worker.mjs", package])


def _facts(package: str) -> Path:
    return HERE / "node_modules" / package / "package.json"
