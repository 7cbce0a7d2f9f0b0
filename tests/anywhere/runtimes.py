"""The runtimes, in the order of the table's columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tests.anywhere import cplusplus, javascript, python

Arrays = dict[str, "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class Runtime:
    """One program that runs ONNX files.

    Args:
        name: the head of its column.
        open: a file -> what runs it on arrays by name, as often as one likes; raises what it likes.
        version: of the program.
        absent: why it cannot be had here, or nothing.
    """

    name: str
    open: Callable[[Path], Callable[[Arrays], Arrays]]
    version: Callable[[], str]
    absent: Callable[[], str] = lambda: ""


IN_PYTHON = (
    Runtime("ONNX Runtime", python.open_onnxruntime, partial(version, "onnxruntime")),
    Runtime("ONNX reference", python.open_reference, partial(version, "onnx")),
    Runtime("OpenVINO", python.open_openvino, partial(version, "openvino")),
    Runtime("OpenCV dnn", python.open_opencv, partial(version, "opencv-python-headless")),
)
ELSEWHERE = (
    *(
        Runtime(
            name,
            partial(javascript.open_file, name),
            partial(javascript.version, name),
            partial(javascript.absent, name),
        )
        for name in ("onnxruntime-node", "onnxruntime-web")
    ),
    Runtime("ONNX Runtime in C++", cplusplus.open_file, cplusplus.version, cplusplus.absent),
)
RUNTIMES: Sequence[Runtime] = (*IN_PYTHON, *ELSEWHERE)
