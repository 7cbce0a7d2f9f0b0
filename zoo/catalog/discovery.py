"""What is installed, by its metadata, and how one plugin after the other is loaded.

What is broken of one distribution is reported in its own row and keeps no other from being read.
`importlib.metadata` cannot do that: one byte that is not UTF-8 ends its reading of everything.

Every command imports every plugin. So heavy imports are refused, an import that takes too long is
stopped, what a plugin prints is kept from the user's output, and an exit or an interrupt that it
raises ends its own import only. What else it changes in the process, its environment, signal
handlers or working directory, `zoo plugins check` tells its author. No process can defend itself
from within against code in C that crashes or never returns, or a loop that catches every
`BaseException`: such a plugin ends every command that discovers it. `zoo plugins disable`,
``ZOO_PLUGINS`` and `--no-plugins` import nothing of it.
"""

from __future__ import annotations

import email
import functools
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path, PurePath
from types import FrameType, ModuleType
from typing import IO, NoReturn, TypeVar

from zoo.catalog.registry import CORE, normalised

Answer = TypeVar("Answer")

HEAVY = frozenset({"torch", "onnx", "onnxruntime", "onnxscript", "lightning_fabric"})
LIMIT = 3.0  # seconds for one import; a light one takes a thousandth of it
AGAIN = 0.5  # seconds until an import that went on all the same is stopped again
GRACE = 0.05  # seconds for a thread that is about to end
MAX_PRINTED = 100  # characters of what a plugin printed

left_running: list[threading.Thread] = []  # by plugins; Python would wait for them at its end
_EXIT = os._exit

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?")
PLAIN_VERSION = re.compile(r"\d{1,9}(?:\.\d{1,9})*")
PLAIN_BOUND = re.compile(rf"(>=|<)\s*({PLAIN_VERSION.pattern})")


@dataclass(frozen=True)
class Metadata:
    """What matters of an installed distribution."""

    name: str = ""  # of the distribution; empty where its metadata is lost
    version: str = ""  # of the distribution; empty likewise
    requirements: tuple[str, ...] = ()  # of zoo-core, as they stand
    # its entry points of a group; none where they cannot be read
    entries: tuple[EntryPoint, ...] = ()
    trouble: str = ""  # what is wrong with its metadata; empty when nothing is


def declared(group: str) -> list[Metadata]:
    """Return every installed distribution that has entry points of a group.

    Of one that several folders of the path hold, the first is meant, as where Python imports it.
    """
    places: dict[str, PurePath] = {}
    found: dict[str, Metadata] = {}
    for distribution in distributions():
        place = PurePath(str(getattr(distribution, "_path", "")))
        project = _project(distribution, place)
        first = places.setdefault(project, place)
        if first is place:
            one = _declared(distribution, project, group)
            if one:
                found[project] = one
        elif first != place and first.parent == place.parent and project in found:
            twice = f"is installed twice in one folder: {first.name} and {place.name}"
            found[project] = replace(found[project], trouble=twice)
    return list(found.values())


def read_metadata(distribution: Distribution) -> Metadata:
    """Read name, version and the requirements of zoo-core.

    As for installers, the first of several names holds, and what follows an empty line or one that
    is no header is the description.
    """
    text = _text(distribution, "METADATA") or _text(distribution, "PKG-INFO")
    headers = email.message_from_string(text.partition("\n\n")[0])
    name = str(headers.get("name", "")).strip()
    requirements = [str(each).strip() for each in headers.get_all("requires-dist", ())]
    return Metadata(
        name if NAME.fullmatch(name) else "",
        str(headers.get("version", "")).strip()[:80],
        tuple(each for each in requirements if _is_for_core(each)),
    )


@functools.cache
def unmet(requirement: str, version: str) -> str:
    """Return the range of versions that a requirement of zoo-core asks for, if `version` is not in.

    Returns:
        Such as ``">=0.2,<0.3"``; empty where the requirement is met or does not apply here.
    """
    if _is_plainly_met(requirement, version):
        return ""
    from packaging.requirements import Requirement

    try:
        asked = Requirement(requirement)
        applies = asked.marker is None or asked.marker.evaluate({"extra": ""})
        if not applies or asked.specifier.contains(version, prereleases=True):
            return ""
    except (ValueError, RecursionError):  # also a marker or a number that cannot be evaluated
        return requirement.strip()[:80]
    return str(asked.specifier)


def _project(distribution: Distribution, place: PurePath) -> str:
    """Return what a distribution is called by the folder of its metadata, normalised."""
    if place.suffix in {".dist-info", ".egg-info"}:
        return normalised(place.stem.partition("-")[0])
    try:
        return normalised(distribution.name)  # of a kind that is rare
    except Exception:  # the parser and foreign finders may raise anything
        return ""


def _declared(distribution: Distribution, project: str, group: str) -> Metadata | None:
    try:
        entries = tuple(each for each in distribution.entry_points if each.group == group)
        if not entries:
            return None
    except Exception as problem:  # one broken file must not stop every command
        trouble = f"its entry points cannot be read: {_line(problem)}"
        return Metadata(project, trouble=trouble) if _mentions(distribution, group) else None
    try:
        about = replace(read_metadata(distribution), entries=entries)
    except Exception as problem:  # likewise
        return Metadata(entries=entries, trouble=f"its metadata cannot be read: {_line(problem)}")
    if not about.name:
        trouble = f"its metadata gives no name; it is installed as {project}"
        return replace(about, trouble=trouble)
    if normalised(about.name) != project:
        trouble = f"its metadata calls it {about.name}, but it is installed as {project}"
        return replace(about, name="", trouble=trouble)
    return about


def _mentions(distribution: Distribution, group: str) -> bool:
    try:
        lines = _text(distribution, "entry_points.txt").splitlines()
    except Exception:  # what cannot be read at all says nothing of plugins
        return False
    return f"[{group}]" in (line.strip() for line in lines)


def _text(distribution: Distribution, file: str) -> str:
    """Return a file of the metadata; what is not UTF-8 in it becomes a question mark."""
    try:
        return distribution.read_text(file) or ""
    except UnicodeDecodeError as problem:
        text = bytes(problem.object).decode("utf-8", "replace")
        return text.replace("\r\n", "\n").replace("\r", "\n")


def _line(problem: Exception) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:120]}"


def _is_for_core(requirement: str) -> bool:
    found = REQUIREMENT.match(requirement)
    return found is not None and normalised(found[1]) == CORE


def _is_plainly_met(requirement: str, version: str) -> bool:
    """Whether bounds such as ``>=0.1,<0.2`` are met; False for what is written otherwise.

    Nearly every plugin has such bounds, and `packaging` takes 18 ms of each command to import.
    """
    found = REQUIREMENT.fullmatch(requirement)
    if found is None or not PLAIN_VERSION.fullmatch(version):
        return False
    for bound in filter(None, map(str.strip, found[2].split(","))):
        match = PLAIN_BOUND.fullmatch(bound)
        if match is None or (_numbers(version) >= _numbers(match[2])) != (match[1] == ">="):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    numbers = re.sub(r"(\.0+)+$", "", version)  # 0.1 and 0.1.0 are one version
    return tuple(map(int, numbers.split(".")))


class HeavyImportError(Exception):
    """A plugin imported at the top level what makes every command slow."""


class TooSlowError(BaseException):
    """An import took too long; not an `Exception`, so that a plugin does not catch it unawares."""


class Isolation:
    """What plugins are loaded under, one after the other.

    Args:
        sink: where stdout and stderr lead to as long as it lasts.
    """

    def __init__(self, sink: IO[bytes]) -> None:
        self.interrupted = False  # by the user, not by a plugin
        self.printed = ""  # by the plugin that was loaded last
        self.left_behind = ""  # by the same: what goes on although its import is over
        self._sink = sink
        self._busy = False
        self._process = os.getpid()
        self.in_main = threading.current_thread() is threading.main_thread()
        # A timer that is armed already is the caller's, and there is only one.
        has_timer = self.in_main and hasattr(signal, "setitimer")
        self.timed = has_timer and signal.getitimer(signal.ITIMER_REAL)[0] == 0

    def run(self, load: Callable[[], Answer]) -> Answer:
        """Load one plugin; return what `load` does.

        Raises:
            TooSlowError: it took longer than `LIMIT`; not on Windows, not in other threads and not
                while a timer of the caller's is armed.
            KeyboardInterrupt: the user interrupted it, even if the plugin caught that.
        """
        began = self._sink.seek(0, os.SEEK_END)
        threads = set(threading.enumerate())
        # Streams of its own, so that it may close them; they lead to where stdout does.
        stream = open(  # noqa: SIM115
            self._sink.fileno(), "w", encoding="utf-8", errors="replace", closefd=False
        )
        with redirect_stdout(stream), redirect_stderr(stream):
            try:
                try:
                    self._busy = True
                    if self.timed:
                        signal.setitimer(signal.ITIMER_REAL, LIMIT, AGAIN)
                    return load()
                finally:  # the timer may ring once more before this line; the outer one still runs
                    self._busy = False
            finally:
                self._busy = False
                if self.timed:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                with suppress(OSError, ValueError):  # the plugin has closed it
                    stream.flush()
                self.printed = self._printed_since(began)
                self.left_behind = _running_threads(threads)
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

    def _printed_since(self, began: int) -> str:
        if self._sink.seek(0, os.SEEK_END) == began:
            return ""
        self._sink.seek(began)
        text = " ".join(self._sink.read(4096).decode("utf-8", "replace").split())
        return text if len(text) <= MAX_PRINTED else f"{text[: MAX_PRINTED - 1]}…"


@contextmanager
def isolated() -> Iterator[Isolation]:
    """Yield what plugins are loaded under; at the end, what it changed is as it was."""
    finder = _RefusingFinder()
    with ExitStack() as stack:
        isolation = Isolation(stack.enter_context(_redirected_output()))
        sys.meta_path.insert(0, finder)
        stack.callback(_remove, finder)
        os._exit = isolation.leave
        stack.callback(setattr, os, "_exit", _EXIT)
        handlers = {signal.SIGALRM: isolation.stop} if isolation.timed else {}
        if isolation.in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            handlers[signal.SIGINT] = isolation.interrupt
        for number, handler in handlers.items():
            before = signal.signal(number, handler)
            stack.callback(signal.signal, number, before or signal.SIG_DFL)
        yield isolation


def _remove(finder: MetaPathFinder) -> None:
    with suppress(ValueError):  # a plugin has removed it
        sys.meta_path.remove(finder)


def _running_threads(before: set[threading.Thread]) -> str:
    """Return in words which threads were not there before; remember them."""
    new = [each for each in threading.enumerate() if each not in before]
    for each in new:
        threading.Thread.join(each, GRACE)
    new = [each for each in new if each.is_alive()]
    left_running.extend(new)
    return f"leaves a thread running: {str(new[0].name)[:40]}" if new else ""


@contextmanager
def _redirected_output() -> Iterator[IO[bytes]]:
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


class _RefusingFinder(MetaPathFinder, Loader):
    """Finds heavy modules, as `importlib.util.find_spec` may ask, but refuses to load them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        return ModuleSpec(name, self) if name in HEAVY else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        raise HeavyImportError(
            f"imports {spec.name} when it is discovered, which would slow down every command; "
            "import it in the model's own file"
        )

    def exec_module(self, module: ModuleType) -> None:
        raise AssertionError(f"create_module refused {module} before")
