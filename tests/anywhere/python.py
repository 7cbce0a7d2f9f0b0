"""Runtimes that are Python packages: each opens a file as its own documentation tells.

They are imported when they are used: one is enough for most tests, and together they are large.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

Arrays = dict[str, "np.ndarray[Any, Any]"]


def open_onnxruntime(path: Path) -> Callable[[Arrays], Arrays]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def open_reference(path: Path) -> Callable[[Arrays], Arrays]:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))
    names = evaluator.output_names
    return lambda inputs: dict(zip(names, evaluator.run(names, inputs), strict=True))


def open_openvino(path: Path) -> Callable[[Arrays], Arrays]:
    # It would send statistics of its use; where that package is missing it does without.
    sys.modules["openvino_telemetry"] = None
    import openvino

    # Where the processor can, OpenVINO computes in bfloat16 unless told otherwise.
    wishes = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(path, "CPU", wishes)

    def run(inputs: Arrays) -> Arrays:
        found = compiled(inputs)
        return {name: found[port] for port in compiled.outputs for name in port.get_names()}

    return run


def open_opencv(path: Path) -> Callable[[Arrays], Arrays]:
    import cv2

    net = cv2.dnn.readNetFromONNX(str(path))
    # The network itself only tells the names of its layers.
    names = [output.name for output in onnx.load(path).graph.output]

    def run(inputs: Arrays) -> Arrays:
        for name, array in inputs.items():
            net.setInput(array, name)
        return dict(zip(names, net.forward(names), strict=True))

    return run
