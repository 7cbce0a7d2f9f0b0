"""Run by the import checks as a process of its own: import a plugin, and watch what it does.

Everything that it sees goes into a file of JSON: a list of events, each with the kind, what
happened, and the file and line of the plugin that did it.
"""

from __future__ import annotations

import importlib
import io
import json
import linecache
import os
import random
import re
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

HEAVY = {"torch", "onnx", "onnxruntime", "onnxscript", "lightning_fabric", "numpy", "scipy",
         "pandas", "matplotlib", "PIL", "sklearn", "torchvision", "tensorflow", "jax",
         "transformers"}  # fmt: skip
NETWORK = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind",
           "socket.sendto"}  # fmt: skip
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink",
           "os.truncate", "os.chmod"}  # fmt: skip
PROCESSES = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
HOOKS = {"card": ("zoo_models", "zoo_datasets"), "modality": ("zoo_modalities",)}  # by stage
SIGNALS = sorted(signal.valid_signals())
MOST_EVENTS = 50
MOST_LINES = 5000  # of the plugin after which its state is compared at the end only


class Probe:
    """What watches. `stage` is empty where nothing is looked for."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.folders = tuple(folders)
        self.events: list[dict[str, Any]] = []
        self.computing = self.waiting = 0.0  # seconds of the processor, and of the clock
        self.stage = ""
        self.lines = 0
        self.state: dict[str, object] = {}
        self.last: tuple[str, int] = ("", 0)

    def note(self, kind: str, what: str, where: str) -> None:
        """Take note of an event."""
        event = {"stage": self.stage, "kind": kind, "what": what[:300], "where": where}
        if len(self.events) < MOST_EVENTS and event not in self.events:
            self.events.append(event)

    def place(self) -> str:
        """Return the innermost line of the plugin that is being run."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename.startswith(self.folders):
                return f"{frame.f_code.co_filename}, line {frame.f_lineno}"
            frame = frame.f_back
        return ""

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Look at what Python is about to do; refuse what goes out to the network."""
        if not self.stage:
            return
        if event == "import" and self.stage in HOOKS and arguments[0] in HEAVY:
            self.note("heavy", arguments[0], self.place())
        elif event in NETWORK:
            self.note("network", event, self.place())
            raise PermissionError("no network while a plugin is imported")
        elif event in PROCESSES:
            self.note("process", event, self.place())
        elif event in CHANGES or (event == "open" and _writes(*arguments)):
            self.note("file", str(arguments[0]), self.place())

    def trace(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        """Compare the state of the process after each line of the plugin."""
        del argument
        name = frame.f_code.co_filename
        if not name.startswith(self.folders) or self.lines > MOST_LINES:
            return None
        self.lines += 1
        self.compare()
        if event in {"call", "line"}:
            self.last = (name, frame.f_lineno)
        return self.trace

    def compare(self) -> None:
        """Take note of what is not as it was; an import may change what is not the plugin's."""
        began = time.process_time(), time.perf_counter()
        now = _state()
        name, line = self.last
        is_import = re.match(r"\s*(import|from)\s", linecache.getline(name, line)) is not None
        for key, value in now.items():
            if key in self.state and self.state[key] != value and not is_import:
                self.note("state", key, f"{name}, line {line}" if name else "")
        self.state = now
        self.take(began, -1)

    def take(self, began: tuple[float, float], sign: int) -> None:
        """Add the time since then to what is taken so far, or leave it out."""
        self.computing += sign * (time.process_time() - began[0])
        self.waiting += sign * (time.perf_counter() - began[1])

    def load(self, module: str, stage: str) -> None:
        """Import one module, call its hooks, and watch."""
        self.state, self.last, self.stage = _state(), ("", 0), stage
        began = time.process_time(), time.perf_counter()
        try:
            sys.settrace(self.trace)
            loaded = importlib.import_module(module)
            for hook in HOOKS.get(stage, ()):
                getattr(loaded, hook, list)()
        except BaseException as problem:  # SystemExit as well
            frames = [each for each in traceback.extract_tb(problem.__traceback__)
                      if each.filename.startswith(self.folders)]  # fmt: skip
            where = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
            self.note("error", f"{type(problem).__name__}: {problem}", where)
        finally:
            sys.settrace(None)
            self.compare()
            self.take(began, 1)
            self.stage = ""


class Recorder(io.TextIOBase):
    """Stands in the place of an output stream."""

    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self.probe = probe

    def write(self, text: str) -> int:
        """Take note of text that is more than a line's end."""
        if self.probe.stage and text.strip():
            self.probe.note("output", text.strip(), self.probe.place())
        return len(text)


def _writes(path: object, mode: str | None, flags: int = 0) -> bool:
    if isinstance(path, int) or str(path) in {os.devnull, "/dev/tty"}:
        return False
    return bool(set(mode) & set("wax+")) if mode else bool(flags & WRITING)


def _state() -> dict[str, object]:
    """Return what an import must leave as it is."""
    found: dict[str, object] = {
        "Python's random generator": random.getstate(),
        "the filters of warnings": repr(warnings.filters),
        "the working directory": str(Path.cwd()),
        "the environment": dict(os.environ),
        "the standard streams": (id(sys.stdin), id(sys.stdout), id(sys.stderr)),
        "what happens on signals": [signal.getsignal(each) for each in SIGNALS],
        "where modules are looked for": [*sys.path, *map(id, sys.meta_path)],
        "the threads that run": sorted(each.name for each in threading.enumerate()),
    }
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and numpy is not None:
        found |= {
            "torch's random generator": torch.get_rng_state().numpy().tobytes(),
            "NumPy's random generator": repr(numpy.random.get_state(legacy=False)["state"]),
            "torch's default dtype": torch.get_default_dtype(),
            "torch's default device": torch.get_default_device(),
            "whether torch computes gradients": torch.is_grad_enabled(),
            "torch's choice of deterministic algorithms":
                torch.are_deterministic_algorithms_enabled(),
            "torch's number of threads": torch.get_num_threads(),
        }  # fmt: skip
    return found


def main(task: dict[str, Any]) -> None:
    """Import the modules of a distribution, then the files of its models."""
    sys.dont_write_bytecode = True
    zoo = importlib.import_module("zoo")
    for name in ("Card", "Dataset", "Paper", "RemoteFile", "hookimpl"):
        getattr(zoo, name)
    probe = Probe(task["folders"])
    sys.addaudithook(probe.audit)
    stdout, stderr = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = Recorder(probe)
    result = Path(task["result"])
    for module in task["modules"]:
        probe.load(module, "card")
    taken = {"computing": probe.computing, "waiting": probe.waiting}
    result.write_text(json.dumps({"events": probe.events, **taken}))
    with_kinds = [each for each in task["modules"]
                  if hasattr(sys.modules.get(each), "zoo_modalities")]  # fmt: skip
    if with_kinds:
        importlib.import_module("zoo.modalities")  # and with it what a kind of data may import
    for module in with_kinds:
        probe.load(module, "modality")
    if task["models"]:
        importlib.import_module("torch")
        for name in zoo.__all__:
            getattr(zoo, name)
        importlib.import_module("numpy")
        for module in task["models"]:
            probe.load(module, "model")
    sys.stdout, sys.stderr = stdout, stderr
    left = [each.name for each in threading.enumerate()
            if each is not threading.main_thread() and not each.daemon]  # fmt: skip
    for name in left:
        probe.note("state", f"the threads that run: {name} keeps Python from ending", "")
    result.write_text(json.dumps({"events": probe.events, **taken, "done": True}))
    if left:
        os._exit(0)  # without waiting for them


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
