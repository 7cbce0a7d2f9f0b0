"""A process that has imported everything once and forks a child for each command.

A command of its own process then starts in milliseconds instead of seconds, and can be killed like
any other. Nothing of the zoo has run in the process that forks: it only imports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

IMPORTED = ("zoo.cli.command", "zoo.training.train", "zoo.exporting.bundle",
            "zoo.exporting.quality", "zoo.evaluation.evaluate", "zoo.cli.arguments", "rich.table",
            "onnxruntime", "matplotlib.figure", "matplotlib.backends.backend_agg", "torch.onnx",
            "onnxscript", "torch.onnx._internal.exporter._core", "torch._inductor",
            "torch._inductor.decomposition", "networkx")  # fmt: skip


class Nursery:
    """The process that forks, seen from outside."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery"],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, words: Sequence[str], out: Path, err: Path, **environment: str) -> int:
        """Begin ``zoo`` with these words in the working directory; return the process's id."""
        wish = {"words": list(words), "cwd": str(Path.cwd()), "out": str(out), "err": str(err),
                "environment": {**os.environ, **environment}}  # fmt: skip
        return int(self._ask(wish))

    def wait(self, pid: int) -> int:
        """Return how a process ended, as `subprocess` tells it."""
        return int(self._ask({"pid": pid}))

    def _ask(self, wish: Mapping[str, Any]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


@cache
def nursery() -> Nursery:
    """The one of this process; it ends with it."""
    return Nursery()


def keep_operators() -> None:
    """Let this process build torch.onnx's list of operators once, and not once a graph.

    The list is the same each time, and building it is a third of the time of a small export.
    """
    from torch.onnx._internal.exporter import _registration

    apis = _registration.onnxscript_apis
    if not hasattr(apis.get_torchlib_ops, "cache_info"):
        apis.get_torchlib_ops = cache(apis.get_torchlib_ops)


def serve(wishes: IO[str], answers: IO[str]) -> None:
    """Fork and wait as asked."""
    import importlib

    for module in IMPORTED:
        importlib.import_module(module)
    keep_operators()
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    ONNXRegistry.from_torchlib()  # what it looks up, the children then have
    for line in wishes:
        wish = json.loads(line)
        if "pid" in wish:
            _, status = os.waitpid(wish["pid"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork() or _be(wish)
        answers.write(f"{answer}\n")
        answers.flush()


def _be(wish: Mapping[str, Any]) -> NoReturn:
    """Become the command."""
    from zoo.cli.command import main

    code: object = 1
    try:
        os.chdir(wish["cwd"])
        os.environ.clear()
        os.environ.update(wish["environment"])
        places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[1:1] = [each for each in places if each and each not in sys.path]
        opened = [os.open(os.devnull, os.O_RDONLY)]
        opened += [
            os.open(wish[each], os.O_WRONLY | os.O_CREAT | os.O_APPEND) for each in ("out", "err")
        ]
        for number, descriptor in enumerate(opened):
            os.dup2(descriptor, number)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(n, m) for n, m in ((0, "r"), (1, "w"), (2, "w"))
        )
        sys.argv = ["zoo", *wish["words"]]
        main()
    except SystemExit as leaving:
        code = leaving.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
