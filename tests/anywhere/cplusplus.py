"""ONNX Runtime's C API through its C++ header: a program of our own, compiled when first used.

The library is the one in the Python wheel. The headers come from Debian's libonnxruntime-dev: from
the system, from the folder that ``make anywhere`` unpacks, or from ``ONNXRUNTIME_INCLUDE``.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.anywhere.worker import Arrays, Worker

HERE = Path(__file__).parent
HEADER = "onnxruntime_cxx_api.h"
PLACES = (
    os.environ.get("ONNXRUNTIME_INCLUDE", ""),
    HERE / "headers" / "usr" / "include" / "onnxruntime",
    "/usr/local/include/onnxruntime",
    "/usr/include/onnxruntime",
)


def absent() -> str:
    """Return why the program cannot be built, or nothing."""
    if shutil.which("g++") is None:
        return "g++ is not installed"
    if _headers() is None:
        return f"{HEADER} is not installed; `make anywhere` fetches it"
    if _library() is None:
        return "the wheel of onnxruntime has no library to link with"
    return ""


def version() -> str:
    from importlib.metadata import version as of

    return of("onnxruntime")


def open_file(path: Path) -> Callable[[Arrays], Arrays]:
    return lambda inputs: _worker().run(path, inputs)


@cache
def _worker() -> Worker:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program, headers, library = Path(folder, "worker"), _headers(), _library()
    assert headers is not None and library is not None
    shared = Path(folder, "libonnxruntime.so.1")  # the name that the linker notes in the program
    shared.symlink_to(library)
    subprocess.run(
        ["g++", "-std=c++17", "-Wall", "-I", headers, HERE / "worker.cpp", shared,
         f"-Wl,-rpath,{folder}", "-o", program],
        check=True,
    )  # fmt: skip
    return Worker([program])


def _headers() -> Path | None:
    return next((Path(place) for place in PLACES if place and Path(place, HEADER).is_file()), None)


def _library() -> Path | None:
    import onnxruntime

    folder = Path(onnxruntime.__file__).parent / "capi"
    return next(folder.glob("libonnxruntime.so.*"), None)
