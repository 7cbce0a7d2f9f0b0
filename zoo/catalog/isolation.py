"""What a plugin may do while it is discovered, and what is done when it does something else.

Every command imports every plugin. So none of this can wait for `zoo plugins check`: one plugin
that prints would spoil ``--json``, one that hangs, exits or changes the process would stop commands
that have nothing to do with it (tests/catalog/test_plugins.py holds each case).

Heavy imports are refused, time is limited, output is kept from the user's, and an exit or an
interrupt that the plugin raises ends its own import only. Streams, signal handlers, environment,
folder and warning filters that it changes are put back, and a thread that it leaves running is
reported. No process can defend itself from within against code in C that crashes or never returns,
or a loop that catches every `BaseException`: such a plugin ends every command that discovers it.
`zoo plugins disable`, ``ZOO_PLUGINS`` and `--no-plugins` import nothing of it.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import IO, NoReturn, TextIO, TypeVar

Answer = TypeVar("Answer")

HEAVY = frozenset({"torch", "onnx", "onnxruntime", "onnxscript", "lightning_fabric"})
LIMIT = 3.0  # seconds for one import; a light one takes a thousandth of it
AGAIN = 0.5  # seconds until an import that went on all the same is stopped again
GRACE = 0.05  # seconds for a thread that is about to end
MAX_PRINTED = 100  # characters of what a plugin printed
STREAMS = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")  # of sys

left_running: list[threading.Thread] = []  # by plugins; Python would wait for them at its end
_EXIT = os._exit


class HeavyImportError(Exception):
    """A plugin imported at the top level what makes every command slow."""


class TooSlowError(BaseException):
    """An import took too long; not an `Exception`, so that a plugin does not catch it unawares."""


class Isolation:
    """The state of a discovery: one plugin after the other is loaded by `run`.

    Args:
        sink: where the output of plugins goes.
    """

    def __init__(self, sink: IO[bytes]) -> None:
        self.interrupted = False  # by the user, not by a plugin
        self.printed = ""  # by the plugin that was loaded last
        self.left_behind = ""  # by the same: what goes on although its import is over
        self._finder = _RefusingFinder()
        self._sink = sink
        self._redirected = [each for each in (1, 2) if _is_open(each)]
        self._busy = False
        self._process = os.getpid()
        in_main = threading.current_thread() is threading.main_thread()  # no other gets signals
        self._handlers = {
            each: signal.getsignal(each) for each in signal.valid_signals() if in_main
        }
        # A timer that is armed already is the caller's, and there is only one.
        has_timer = in_main and hasattr(signal, "setitimer")
        self._timed = has_timer and signal.getitimer(signal.ITIMER_REAL)[0] == 0
        self._guarded = self._handlers.get(signal.SIGINT) is signal.default_int_handler

    def run(self, load: Callable[[], Answer]) -> Answer:
        """Load one plugin; return what `load` does.

        Raises:
            TooSlowError: it took longer than `LIMIT`; not on Windows, not in other threads and not
                while a timer of the caller's is armed.
            KeyboardInterrupt: the user interrupted it, even if the plugin caught that.
        """
        began = self._end_of_output()
        threads = set(threading.enumerate())
        with _own_streams(), warnings.catch_warnings():
            self._prepare()
            try:
                try:
                    self._busy = True
                    if self._timed:
                        signal.setitimer(signal.ITIMER_REAL, LIMIT, AGAIN)
                    return load()
                finally:  # the timer may ring once more before this line; the outer one still runs
                    self._busy = False
            finally:
                self._busy = False
                if self._timed:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                for descriptor in self._redirected:  # a plugin may have closed them
                    with suppress(OSError):
                        os.dup2(self._sink.fileno(), descriptor)
                self.printed = self._printed_since(began)
                self.left_behind = _running_threads(threads)
                if self.interrupted:
                    raise KeyboardInterrupt

    def _prepare(self) -> None:
        """Set anew what the plugin before may have taken away."""
        if self._finder not in sys.meta_path[:1]:
            self._remove_finder()
            sys.meta_path.insert(0, self._finder)
        os._exit = self.leave
        if self._timed:
            signal.signal(signal.SIGALRM, self.stop)
        if self._guarded:
            signal.signal(signal.SIGINT, self.interrupt)

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

    def end(self) -> None:
        """Put back imports, `os._exit` and what handles signals."""
        self._remove_finder()
        os._exit = _EXIT
        for each, handler in self._handlers.items():
            if handler is not None and signal.getsignal(each) is not handler:
                signal.signal(each, handler)

    def _remove_finder(self) -> None:
        with suppress(ValueError):  # a plugin has removed it
            sys.meta_path.remove(self._finder)

    def _end_of_output(self) -> int:
        _flush()
        return self._sink.seek(0, os.SEEK_END)

    def _printed_since(self, began: int) -> str:
        if self._end_of_output() == began:
            return ""
        self._sink.seek(began)
        text = " ".join(self._sink.read(4096).decode("utf-8", "replace").split())
        return text if len(text) <= MAX_PRINTED else f"{text[: MAX_PRINTED - 1]}…"


@contextmanager
def isolated() -> Iterator[Isolation]:
    """Yield what plugins are loaded under; at the end everything is as it was."""
    with _sink() as sink:
        isolation = Isolation(sink)
        try:
            yield isolation
        finally:
            isolation.end()


@contextmanager
def _own_streams() -> Iterator[None]:
    """Give one plugin streams that it may replace or close; put back what else it may change."""
    streams = {name: getattr(sys, name) for name in STREAMS}
    environment = os.environ.copy()
    folder = _folder()
    given = {"stdin": io.StringIO(), "stdout": _stream(1), "stderr": _stream(2)}
    for name in STREAMS:
        setattr(sys, name, given[name.strip("_")])
    try:
        yield
    finally:
        for name, stream in streams.items():
            setattr(sys, name, stream)
        if os.environ.copy() != environment:
            os.environ.clear()
            os.environ.update(environment)
        if folder and _folder() != folder:
            with suppress(OSError):  # the plugin has removed it
                os.chdir(folder)


def _stream(descriptor: int) -> TextIO:
    try:
        return open(  # of a descriptor that outlives it
            descriptor, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False
        )
    except OSError:  # closed by the caller
        return io.StringIO()


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - thrice as fast, and asked for each plugin
    except OSError:  # removed
        return ""


def _running_threads(before: set[threading.Thread]) -> str:
    """Return in words which threads were not there before; remember them."""
    new = [each for each in threading.enumerate() if each not in before]
    for each in new:
        threading.Thread.join(each, GRACE)
    new = [each for each in new if each.is_alive()]
    left_running.extend(new)
    return f"leaves a thread running: {str(new[0].name)[:40]}" if new else ""


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
