"""What a plugin may do while it is discovered, and what is done when it does something else.

Heavy imports are refused, time is limited, output is kept from the user's, and an exit or an
interrupt that the plugin raises ends its own import only. What no process can defend itself
against from within remains: code in C that crashes or never returns, a loop that catches every
`BaseException`. `zoo plugins disable`, ``ZOO_PLUGINS`` and `--no-plugins` import nothing of a
plugin that does so, and `zoo plugins check` imports in a process of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import IO, NoReturn

HEAVY = frozenset({"torch", "onnx", "onnxruntime", "onnxscript", "lightning_fabric"})
LIMIT = 3.0  # seconds for one import; a light one takes a thousandth of it
AGAIN = 0.5  # seconds until an import that went on all the same is told again to stop
MOST_TOLD = 100  # characters of what a plugin printed


class HeavyImportError(Exception):
    """A plugin imported at the top level what makes every command slow."""


class TooSlowError(BaseException):
    """An import took too long; not an `Exception`, so that a plugin does not catch it unawares."""


class Isolation:
    """The state of a discovery: one plugin after the other is loaded under `watch`.

    Args:
        sink: where the output of plugins goes.
    """

    def __init__(self, sink: IO[bytes]) -> None:
        self.interrupted = False  # by the user, not by a plugin
        self.printed = ""  # by the plugin that was loaded last
        self._sink = sink
        self._busy = False
        self._process = os.getpid()
        self._timed = hasattr(signal, "setitimer") and _in_main_thread()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Load one plugin in the block.

        Raises:
            TooSlowError: it took longer than `LIMIT`; not on Windows and not in other threads.
            KeyboardInterrupt: the user interrupted it, even if the plugin caught that.
        """
        began = self._end_of_output()
        self._busy = True
        if self._timed:
            signal.setitimer(signal.ITIMER_REAL, LIMIT, AGAIN)
        try:
            yield
        finally:
            self._busy = False
            if self._timed:
                signal.setitimer(signal.ITIMER_REAL, 0)
            self.printed = self._printed_since(began)
            if self.interrupted:
                raise KeyboardInterrupt

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Take the timer's signal."""
        del number, frame
        if self._busy:
            raise TooSlowError(f"takes longer than {LIMIT:g} s to import")

    def interrupt(self, number: int, frame: FrameType | None) -> NoReturn:
        """Take the user's Ctrl-C; a second one ends the process, whatever the plugin catches."""
        del number, frame
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.interrupted = True
        raise KeyboardInterrupt

    def leave(self, status: int = 0) -> NoReturn:
        """Stand in for `os._exit`, which would end the command without a word."""
        if self._busy and os.getpid() == self._process:
            raise SystemExit(f"os._exit({status})")
        _EXIT(status)

    def _end_of_output(self) -> int:
        _flush()
        return self._sink.seek(0, os.SEEK_END)

    def _printed_since(self, began: int) -> str:
        if self._end_of_output() == began:
            return ""
        self._sink.seek(began)
        told = " ".join(self._sink.read(4096).decode("utf-8", "replace").split())
        return told if len(told) <= MOST_TOLD else f"{told[: MOST_TOLD - 1]}…"


_EXIT = os._exit


@contextmanager
def isolated() -> Iterator[Isolation]:
    """Yield what plugins are loaded under; at the end everything is as it was."""
    with ExitStack() as stack:
        isolation = Isolation(stack.enter_context(_sink()))
        finder = _RefusingFinder()
        sys.meta_path.insert(0, finder)
        stack.callback(_remove, finder)
        os._exit = isolation.leave
        stack.callback(setattr, os, "_exit", _EXIT)
        if _in_main_thread():
            if hasattr(signal, "setitimer"):
                before = signal.signal(signal.SIGALRM, isolation.stop)
                stack.callback(signal.signal, signal.SIGALRM, before)
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, isolation.interrupt)
                stack.callback(signal.signal, signal.SIGINT, signal.default_int_handler)
        yield isolation


@contextmanager
def _sink() -> Iterator[IO[bytes]]:
    """Send what is written to stdout and stderr, by whatever means, to a file of its own."""
    with ExitStack() as stack:
        try:
            sink = stack.enter_context(tempfile.TemporaryFile())
        except OSError:  # nowhere to keep it: what is printed is lost
            sink = stack.enter_context(Path(os.devnull).open("r+b"))
        _flush()
        for descriptor in (1, 2):
            with suppress(OSError):  # closed by the caller
                aside = os.dup(descriptor)
                stack.callback(os.close, aside)
                stack.callback(os.dup2, aside, descriptor)
                os.dup2(sink.fileno(), descriptor)
        stack.callback(_flush)
        yield sink


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or none at all
            stream.flush()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class _RefusingLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        raise HeavyImportError(
            f"imports {spec.name} when it is discovered, which would slow down every command; "
            "import it in the model's own file"
        )

    def exec_module(self, module: ModuleType) -> None:
        raise AssertionError(f"create_module refused {module} before")


class _RefusingFinder(MetaPathFinder):
    """Finds heavy modules, as `importlib.util.find_spec` may ask, but refuses to load them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        return ModuleSpec(name, _RefusingLoader()) if name in HEAVY else None


def _remove(finder: MetaPathFinder) -> None:
    with suppress(ValueError):  # a plugin has removed it
        sys.meta_path.remove(finder)
