"""ONNX Runtime: its execution providers, files loaded on one of them, limits of time and memory."""

from __future__ import annotations

import io
import math
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from zoo.errors import PluginError, UsageError, ZooError, did_you_mean
from zoo.runtime.screening import unusable

if TYPE_CHECKING:
    import onnxruntime

AUTO = "auto"
NVIDIA = 'pip uninstall onnxruntime, then pip install "onnxruntime-gpu[cuda,cudnn]"'
INSTEAD = "pip uninstall onnxruntime, then pip install onnxruntime-{}"  # all share one folder

TIME_LIMIT = "ZOO_MAX_SECONDS"  # environment variable: for opening a file, and for each run of it
DEFAULT_SECONDS = 1800.0  # seconds, where the variable is not set
MAX_THREADS = 8  # small graphs gain nothing beyond, and the machine may have other work
SILENT = 4  # of ONNX Runtime's logger; what goes wrong arrives as an exception
# What ONNX Runtime says of a file that is too new, what was found, and the export that it reads:
# opset 18, of 2022, is read by every version of ONNX Runtime that zoo takes
NEWER = (
    (r"IR version: (\d+), max supported IR version: (\d+)",
     "its format is IR version {0}; {1}", "--opset 18"),
    (r"Opset (\d+) is under development.* for domain (\S+) is till opset (\d+)",
     "its operators are of opset {0} ({1}); {2}", "--opset {2}"),
)  # fmt: skip
SOURCE_LINE = re.compile(r"/\S+\.(?:cc|cpp|cu|h|hpp):\d+ ")  # where in its C++ a message comes from

STATUS = Path("/proc/self/status")
MEMORY = Path("/proc/meminfo")
PEAK = Path("/proc/self/clear_refs")
GROUP_LIMITS = (  # of a container, as both versions of control groups show it
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)

Result = TypeVar("Result")
left_running: list[threading.Thread] = []  # of calls that took too long or were interrupted


class Provider(NamedTuple):
    """One execution provider."""

    engine: str  # ONNX Runtime's name for it
    install: str  # how to get it
    automatic: bool = True  # not TensorRT, which spends minutes on a file before the first run
    memory_pattern: bool = True  # whether memory may be laid out by the pattern of the first run


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


def candidates(requested: str) -> list[str]:
    """Return the installed providers to try for a requested one, the CPU last for `auto`.

    `PluginError` if ONNX Runtime is not installed, or does not have the requested one.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - help, completion and `zoo show` do without
    except ImportError as problem:
        raise PluginError(
            "running an exported file needs the package onnxruntime",
            cause=str(problem),
            hint="pip install onnxruntime",
            code="missing-package",
        ) from None
    available = set(onnxruntime.get_available_providers())
    there = [name for name, each in PROVIDERS.items() if each.engine in available]
    if requested == AUTO:
        return [name for name in there if PROVIDERS[name].automatic]
    if requested not in PROVIDERS:
        raise PluginError(
            f"no provider is called {requested[:40]!r}.{did_you_mean(requested, PROVIDERS)}",
            code="provider-unavailable",
        )
    if requested not in there:
        raise PluginError(
            f"the provider {requested} is not in this installation of ONNX Runtime",
            cause=f"onnxruntime {onnxruntime.__version__} here has {', '.join(there)}",
            hint=f"{PROVIDERS[requested].install}; or --provider auto",
            code="provider-unavailable",
        )
    return [requested]


class TooLongError(Exception):
    """ONNX Runtime exceeded the time limit; its thread is left running."""


class NewerFormatError(PluginError):
    """A file is of a newer version of ONNX than the installed ONNX Runtime reads.

    `found` is its version and the newest that is read, in words; `export` the option of `zoo
    export` that writes what is read.
    """

    code = "newer-format"

    def __init__(self, path: Path, found: str, export: str) -> None:
        import onnxruntime  # noqa: PLC0415 - as in `create_inference_session`

        self.found = f"{found} is the newest that ONNX Runtime {onnxruntime.__version__} reads"
        self.export = export
        super().__init__(
            f"{path} is newer than the installed ONNX Runtime: {self.found}",
            cause="it was written for a later version of ONNX",
            hint=f"pip install --upgrade onnxruntime; or zoo export MODEL --onnx {export}",
        )


def call_in_thread(work: Callable[[], Result], stop: Callable[[], object] = lambda: None) -> Result:
    """Call ONNX Runtime in a thread of its own, so that Ctrl-C and the time limit can end the wait.

    ONNX Runtime notices neither while it opens a file or computes one operator. A thread that is
    left running does not keep the process: the command ends without waiting for it. `stop` asks
    ONNX Runtime to stop by itself, where it can. Past `time_limit` comes a `TooLongError`.
    """
    results: list[Result] = []
    problems: list[BaseException] = []

    def do() -> None:
        try:
            results.append(work())
        except BaseException as problem:  # raised again by who waits
            problems.append(problem)

    thread = threading.Thread(target=do, daemon=True)
    left_running.append(thread)
    thread.start()
    try:
        thread.join(time_limit())
    except BaseException:
        stop()
        raise
    if thread.is_alive():
        stop()
        raise TooLongError
    left_running.remove(thread)
    if problems:
        raise problems[0]
    return results[0]


def time_limit() -> float:
    """Return how many seconds opening a file, or one run, may take; `UsageError` if no number."""
    text = os.environ.get(TIME_LIMIT, "")
    try:
        seconds = float(text or DEFAULT_SECONDS)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise UsageError(
            f"{TIME_LIMIT}={text[:40]} is no number of seconds",
            hint=f"{TIME_LIMIT}=3600",
            code="bad-environment",
        )
    return seconds


def create_inference_session(
    path: Path, provider: str, *, threads: int | None, memory_pattern: bool, spin: bool
) -> onnxruntime.InferenceSession:
    """Load a file that was screened; the arguments are those of `open_session`.

    Raises:
        NotFoundError: ONNX Runtime cannot take it.
        NewerFormatError: it is of a newer version of ONNX.
        PluginError: the provider does not work here; ONNX Runtime would take the CPU instead.
    """
    import onnxruntime  # noqa: PLC0415 - as above

    chosen = PROVIDERS[provider]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL  # the graphs are chains
    options.intra_op_num_threads = threads or min(_cpus(), MAX_THREADS)
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = memory_pattern and chosen.memory_pattern
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    engines = dict.fromkeys([chosen.engine, PROVIDERS["cpu"].engine])  # for operators it lacks
    if provider in {"cuda", "tensorrt"}:  # their libraries are where pip has put them
        with redirect_stdout(io.StringIO()):  # it prints what it does not find
            onnxruntime.preload_dlls()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            engine = call_in_thread(
                lambda: onnxruntime.InferenceSession(
                    path,
                    options,
                    providers=list(engines),
                    enable_fallback=0,  # it would print
                )
            )
    except TooLongError:
        raise unusable(
            path, f"it was not open after {time_limit():,.0f} s ({TIME_LIMIT})"
        ) from None
    except ZooError:
        raise
    except Exception as problem:  # its exceptions have no base of their own
        if newer := _newer(path, str(problem)):
            raise newer from None
        if provider != "cpu":
            raise _broken(provider, short_message(problem)) from None
        raise unusable(path, short_message(problem)) from None
    if chosen.engine not in engine.get_providers():
        raise _broken(provider, "ONNX Runtime could not load its libraries, or finds no device")
    return engine


def short_message(problem: Exception) -> str:
    """Return an exception's message in one line, without ONNX Runtime's prefix and source lines."""
    line = " ".join(str(problem).split()).rpartition("[ONNXRuntimeError] : ")[2]
    return (_without_source(line) or type(problem).__name__)[:300]


def _without_source(line: str) -> str:
    """Return a message without the place in ONNX Runtime's source: file, line and C++ function."""
    place = SOURCE_LINE.search(line)
    start = line.find("(", place.end()) if place else -1
    if place is None or start < 0:
        return line
    depth = 0
    for index in range(start, len(line)):  # the function ends with its parameters
        depth += (line[index] == "(") - (line[index] == ")")
        is_end = line[index] == ")" and depth == 0
        if is_end and line[index + 1 : index + 2] not in {"(", ">", ":"}:  # operator()(int)
            rest = line[index + 1 :].strip().removeprefix("const ")
            return f"{line[: place.start()].rstrip()} {rest}".strip()
    return line


def _newer(path: Path, said: str) -> NewerFormatError | None:
    """Return the error for a file that is too new, if the message of ONNX Runtime says so."""
    for pattern, what, export in NEWER:
        if found := re.search(pattern, " ".join(said.split())):
            return NewerFormatError(
                path, what.format(*found.groups()), export.format(*found.groups())
            )
    return None


def _broken(provider: str, cause: str) -> PluginError:
    return PluginError(
        f"the provider {provider} is installed and does not work here",
        cause=cause,
        hint=f"its driver, and {PROVIDERS[provider].install}; or --provider auto",
        code="provider-unavailable",
    )


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Let the process take most of the memory that is free now and no more, while the block runs.

    What asks for more inside is refused, and becomes a `ZooError`. Where a system does not tell how
    much is free, or is not Linux, there is no bound.
    """
    try:
        with _limited():
            yield
    except MemoryError:
        raise ZooError(
            "out of memory",
            hint="fewer or smaller inputs, or a machine with more memory",
            code="out-of-memory",
        ) from None


@contextmanager
def _limited() -> Iterator[None]:
    bound = _bound()
    if sys.platform != "linux" or bound is None:
        yield
        return
    import resource  # noqa: PLC0415 - not on every system

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    ends = [end for end in (bound, soft, hard) if end != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(ends), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def free_memory(*, with_swap: bool = True) -> int | None:
    """Return the bytes that are free for this process, or None where the system does not tell."""
    resident = resident_memory()
    try:
        free = _kilobytes(MEMORY, "MemAvailable:")
        free += _kilobytes(MEMORY, "SwapFree:") if with_swap else 0
    except (OSError, ValueError):
        return None
    if resident is None:
        return None
    for file in GROUP_LIMITS:
        with suppress(OSError, ValueError):  # not there, or "max" where there is no limit
            free = min(free, int(file.read_text()) - resident)
    free = max(free, 0) * 9 // 10  # the rest is for everybody else
    import resource  # noqa: PLC0415 - not on every system

    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if limit != resource.RLIM_INFINITY:
        free = min(free, max(0, limit - _kilobytes(STATUS, "VmData:")))
    return free


def resident_memory() -> int | None:
    """Return the bytes that this process holds, or None where the system does not tell."""
    try:
        return _kilobytes(STATUS, "VmRSS:")
    except (OSError, ValueError):
        return None


def peak_memory(work: Callable[[], object]) -> int | None:
    """Do some work; return how many bytes more the process held at most, None where unknown."""
    try:
        PEAK.write_text("5")  # VmHWM begins anew, see proc_pid_clear_refs(5)
        before = _kilobytes(STATUS, "VmRSS:")
    except (OSError, ValueError):
        work()
        return None
    work()
    return _kilobytes(STATUS, "VmHWM:") - before


def _bound() -> int | None:
    """Return the bytes that the process may have: what it has and what is free.

    Counted is private memory that can be written to, not reserved addresses nor mapped files.
    """
    free = free_memory()
    try:
        return None if free is None else _kilobytes(STATUS, "VmData:") + free
    except (OSError, ValueError):
        return None


def _kilobytes(file: Path, key: str) -> int:
    for line in file.read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise ValueError(f"{file} holds no {key}")
