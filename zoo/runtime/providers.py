"""Execution providers: what ONNX Runtime computes on, by the names that users call them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import NamedTuple

from zoo.errors import PluginError, did_you_mean

AUTO = "auto"
NVIDIA = 'pip uninstall onnxruntime, then pip install "onnxruntime-gpu[cuda,cudnn]"'
INSTEAD = "pip uninstall onnxruntime, then pip install onnxruntime-{}"  # all share one folder


class Provider(NamedTuple):
    """One provider.

    Args:
        engine: ONNX Runtime's name for it.
        install: how to get it.
        automatic: whether `auto` may take it. TensorRT spends minutes on a file before the first
            run.
        memory_pattern: whether memory may be laid out by the pattern of the first run.
    """

    engine: str
    install: str
    automatic: bool = True
    memory_pattern: bool = True


# In the order in which `auto` tries them.
PROVIDERS: Mapping[str, Provider] = {
    "cuda": Provider("CUDAExecutionProvider", NVIDIA),
    "tensorrt": Provider("TensorrtExecutionProvider", f"{NVIDIA} tensorrt", automatic=False),
    "migraphx": Provider("MIGraphXExecutionProvider", INSTEAD.format("migraphx")),
    "coreml": Provider("CoreMLExecutionProvider", "onnxruntime on a Mac has it"),
    "directml": Provider(
        "DmlExecutionProvider", f"on Windows: {INSTEAD.format('directml')}", memory_pattern=False
    ),
    "openvino": Provider("OpenVINOExecutionProvider", INSTEAD.format("openvino")),
    "cpu": Provider("CPUExecutionProvider", "pip install onnxruntime"),
}


def installed() -> list[str]:
    """Return the providers that this installation of ONNX Runtime has; they may not work."""
    import onnxruntime  # noqa: PLC0415 - help and completion do without

    there = set(onnxruntime.get_available_providers())
    return [name for name, each in PROVIDERS.items() if each.engine in there]


def candidates(wish: str) -> list[str]:
    """Return the providers to try for a wish, the CPU last for `auto`.

    Raises:
        PluginError: this installation of ONNX Runtime does not have what is wished for.
    """
    there = installed()
    if wish == AUTO:
        return [name for name in there if PROVIDERS[name].automatic]
    if wish not in PROVIDERS:
        raise PluginError(f"no provider is called {wish[:40]!r}.{did_you_mean(wish, PROVIDERS)}")
    if wish not in there:
        import onnxruntime  # noqa: PLC0415 - as above

        raise PluginError(
            f"the provider {wish} is not in this installation of ONNX Runtime",
            cause=f"onnxruntime {onnxruntime.__version__} here has {', '.join(there)}",
            hint=f"{PROVIDERS[wish].install}; or --provider auto",
        )
    return [wish]


def prepare(name: str) -> None:
    """Load the libraries that a provider needs where pip has put them, as far as they are there."""
    if name in {"cuda", "tensorrt"}:
        import onnxruntime  # noqa: PLC0415 - as above

        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            onnxruntime.preload_dlls()
