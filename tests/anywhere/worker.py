"""A program in another language that runs ONNX files, started once and asked many times.

A line that it reads names a file, a folder and the inputs, whose numbers lie in the folder as raw
bytes; a line that it writes names the outputs, or is its error. Fields are separated by tabs.
"""

from __future__ import annotations

import atexit
import select
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, "np.ndarray[Any, Any]"]

PATIENCE = 120.0  # seconds for one run


class Worker:
    """One such program.

    Args:
        command: what starts it.
    """

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        atexit.register(self.stop)

    def run(self, path: Path, inputs: Arrays) -> Arrays:
        """Run a file on arrays by name.

        Raises:
            RuntimeError: the program says that it cannot, says nothing, or has ended.
        """
        with tempfile.TemporaryDirectory() as place:
            fields = [str(path.resolve()), place]
            for name, array in inputs.items():
                Path(place, f"{name}.in").write_bytes(np.ascontiguousarray(array).tobytes())
                fields += [name, array.dtype.name, ",".join(map(str, array.shape))]
            status, *said = self._ask("\t".join(fields)).split("\t")
            if status != "ok":
                raise RuntimeError(" ".join(said))
            return {
                name: np.fromfile(Path(place, f"{name}.out"), dtype).reshape(
                    [int(size) for size in shape.split(",")]
                )
                for name, dtype, shape in zip(said[::3], said[1::3], said[2::3], strict=True)
            }

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        if self._process.poll() is None:
            self._process.stdin.write(f"{line}\n")
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            self.stop()
            raise RuntimeError(f"no answer in {PATIENCE:g} seconds")
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"ended with code {self._process.wait()}")
        return answer.rstrip("\n")

    def stop(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.communicate()
