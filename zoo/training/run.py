"""Run folders: what they hold, how they are made, found, locked and removed. Imports no torch.

A run belongs to one process at a time. Its lock is the operating system's: it ends with its
process, however that ends, so that no lock is ever stale. (On a file system without locks,
filelock's file takes their place; it may have to be removed by hand.) Where a shared disk does not
show the locks of other machines, the time of ``run.json`` is that of the owner's last heartbeat.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Required, TypedDict

from filelock import FileLock, Timeout

from zoo.atomic import write_json, write_text
from zoo.errors import NotFoundError, UsageError, did_you_mean
from zoo.identity import SCHEMA, Identity
from zoo.manifest import MANIFEST
from zoo.records import read_json, read_lines, to_plain

RUNS = Path("runs")  # of the working directory
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
CHECKPOINT = re.compile(r"step-\d{7,12}")  # name of its folder
ATTEMPT = "ZOO_ATTEMPT"  # environment variable: by which a supervisor finds the run it started
FILES = ("run.json", "config.toml")  # a folder with one of these is a run
LOCK, HEARTBEAT = "lock", "run.json"  # files of a run
LOCK_TIMEOUT = 2.0  # seconds to wait for a process that only looks whether the lock is taken
HEARTBEAT_EVERY = 30.0  # seconds between two heartbeats of the owner
DEAD_AFTER = 300.0  # seconds without a heartbeat, after which an owner elsewhere counts as dead

Status = Literal["running", "finished", "interrupted", "failed"]
OnDamaged = Callable[[int, str], None]  # called with the number of a damaged line, and why


class Best(TypedDict):
    """The best checkpoint of a run."""

    step: int
    metrics: dict[str, float]


class RunInfo(TypedDict, total=False):
    """What ``run.json`` holds; all but the identity may be missing, as in a run that just began."""

    identity: Required[Identity]
    schema: int
    id: str
    status: Status | Literal["died"]  # never written: found when the process is gone
    created: str
    ended: str | None
    error: str | None
    pid: int
    host: str
    command: list[str]
    attempt: str | None
    data: str
    data_from_run: str | None
    planned_steps: float | None
    planned_seconds: float | None
    goal: str | None  # validation metric that says which checkpoint is best …
    goal_direction: Literal["lowest", "highest"] | None  # … and which of its values that is
    device: str
    devices: int
    precision: str
    memory_layout: str
    compiled: list[str]
    zoo: str
    torch: str
    epoch: int
    seconds: float
    best: Best | None
    alerts: list[str]
    unwatched: dict[str, str] | None  # None in a run without monitors


class MetricsRow(TypedDict, total=False):
    """A line of ``metrics.jsonl``: means over some steps of training, or of one validation."""

    step: Required[int]
    epoch: int
    split: Required[Literal["train", "validation"]]
    images_per_second: float
    values: Required[dict[str, float]]


class EventRow(TypedDict, total=False):
    """A line of ``events.jsonl``: ``alert``, ``recovered`` or ``trained``."""

    event: Required[str]
    step: int
    monitor: str
    evidence: dict[str, float | str]
    message: str
    advice: str


class Run:
    """One folder below ``runs/``.

    ``run.json`` holds what the run is and its status, ``config.toml`` reproduces it,
    ``metrics.jsonl`` and ``events.jsonl`` grow by lines, ``samples/`` and ``checkpoints/`` hold
    what their names say, ``log.txt`` the messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last_heartbeat = -math.inf  # of this process

    @property
    def name(self) -> str:
        """The run's id."""
        return self.path.name

    @classmethod
    def create(cls, model: str, name: str | None = None) -> Run:
        """Make a new folder: `name`, or the model's name and the next free number.

        Raises:
            UsageError: the name is taken or unusable.
        """
        RUNS.mkdir(exist_ok=True)
        if name is not None:
            check_run_name(name)
            try:
                (RUNS / name).mkdir()
            except FileExistsError:
                raise name_taken(name) from None
            return cls(RUNS / name)
        highest = max((number_of(path.name, model) for path in RUNS.iterdir()), default=0)
        for number in itertools.count(highest + 1):  # another training may take the number first
            with suppress(FileExistsError):
                (RUNS / f"{model}-{number}").mkdir()
                break
        return cls(RUNS / f"{model}-{number}")

    def info(self) -> RunInfo:
        """Return run.json, with status ``died`` for a run whose process is gone.

        Raises:
            NotFoundError: run.json is missing or damaged.
        """
        try:
            info = self._read_info()
        except (OSError, ValueError) as problem:
            raise NotFoundError(
                f"run {self.name!r} is damaged: run.json: "
                f"{getattr(problem, 'strerror', None) or problem}",
                hint=f"zoo train --resume {self.name} goes on with its checkpoints",
                code="damaged-run",
            ) from None
        info["id"] = self.name  # the folder's name, which somebody may have changed
        if info.get("status") == "running" and not self._is_alive(info):
            info["status"] = "died"
        return info

    def fact(self, key: str) -> Any:
        """Return a value of run.json; None if it is missing, or the file is damaged."""
        return self._info_or_nothing().get(key)

    @property
    def identity(self) -> Identity | None:
        """What the model is at the last checkpoint; None if run.json is missing or damaged."""
        identity = self.fact("identity")
        assert identity is None or isinstance(identity, Identity)
        return identity

    def relative_path_to(self, data: str) -> str | None:
        """Return the path of data relative to the run folder; None for a catalogue data set."""
        with suppress(ValueError):  # on another drive
            if Path(data).is_absolute():
                return os.path.relpath(data, self.path.absolute())
        return None

    def data_places(self, data: str) -> list[str]:
        """Return where the data of the run may be: where it was, or at the same relative path."""
        relative = self.fact("data_from_run")
        if not isinstance(relative, str) or not Path(data).is_absolute():
            return [data]
        moved = os.path.normpath(self.path.absolute() / relative)
        return [data] if moved == data else [data, moved]

    def write_info(self, **facts: Any) -> None:
        """Add facts to run.json."""
        known: Mapping[str, Any] = {}
        with suppress(OSError, ValueError):  # not there yet, or damaged
            known = self._read_info()
        write_json(self.path / "run.json", to_plain({**known, **facts}))

    def start(self, **facts: Any) -> None:
        """Write to run.json that this process trains the run from now on."""
        self.write_info(
            schema=SCHEMA,
            id=self.name,
            status="running",
            pid=os.getpid(),
            host=platform.node(),
            command=["zoo", *sys.argv[1:]],
            attempt=os.environ.get(ATTEMPT),
            ended=None,
            error=None,
            **facts,
        )

    def end(self, status: Status, **facts: Any) -> None:
        """Write to run.json how the run ended."""
        self.write_info(status=status, ended=now(), **facts)

    def append(self, file: str, row: Mapping[str, Any]) -> None:
        """Add a line to one of the ``.jsonl`` files."""
        line = json.dumps(row, allow_nan=False, ensure_ascii=False)
        with (self.path / file).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def log(self, message: str) -> None:
        """Add a message to log.txt, with the time."""
        with (self.path / "log.txt").open("a", encoding="utf-8") as stream:
            stream.write(f"{now()} {message}\n")

    def metrics(self, on_damaged: OnDamaged | None = None) -> Iterator[MetricsRow]:
        """Yield the rows of ``metrics.jsonl``; lines that cannot be read are left out."""
        return read_lines(self.path / "metrics.jsonl", MetricsRow, on_damaged)

    def events(self, on_damaged: OnDamaged | None = None) -> Iterator[EventRow]:
        """Yield the rows of ``events.jsonl``; lines that cannot be read are left out."""
        return read_lines(self.path / "events.jsonl", EventRow, on_damaged)

    def size(self, file: str) -> int:
        """Return the size of a file that grows in bytes; 0 where there is none."""
        path = self.path / file
        return path.stat().st_size if path.exists() else 0

    def cut(self, file: str, size: int) -> bool:
        """Cut a file that grows to an earlier size; return False if it is shorter than that."""
        path, now = self.path / file, self.size(file)
        if now > size:
            os.truncate(path, size)
        elif now and now < size and not path.read_bytes().endswith(b"\n"):
            with path.open("ab") as stream:
                stream.write(b"\n")  # what comes next is no part of a torn line
        return now >= size

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock of this run inside the block: no other process can train or remove it.

        Raises:
            UsageError: another process has it.
        """
        lock, is_ours = FileLock(self.path / LOCK), True
        try:
            lock.acquire(timeout=LOCK_TIMEOUT, poll_interval=0.02)
        except Timeout:
            is_ours = False
        try:
            owner = self._info_or_nothing()
            if not is_ours or self._is_owned_elsewhere(owner):
                who = f"process {owner.get('pid')} on {owner.get('host')}"
                raise UsageError(
                    f"run {self.name!r} is being trained, by {who}",
                    hint=f"stop it first (Ctrl-C there, or kill {owner.get('pid')}); if it is on "
                    f"another machine, it counts as dead after {DEAD_AFTER:.0f} s without a "
                    "heartbeat",
                    code="run-in-use",
                )
            yield
        finally:
            if is_ours:
                lock.release()

    def heartbeat(self) -> None:
        """Show other machines that the owner is alive: touch run.json now and then."""
        if time.monotonic() - self._last_heartbeat > HEARTBEAT_EVERY:
            os.utime(self.path / HEARTBEAT)
            self._last_heartbeat = time.monotonic()

    def _read_info(self) -> RunInfo:
        info = read_json(self.path / "run.json", RunInfo)
        if info.get("schema", SCHEMA) != SCHEMA:
            raise ValueError(f"schema {SCHEMA} was expected, not {info['schema']}")
        return info

    def _info_or_nothing(self) -> Mapping[str, Any]:
        try:
            return self.info()
        except NotFoundError:
            return {}

    def _is_owned_elsewhere(self, info: Mapping[str, Any]) -> bool:
        """Whether another machine trains it, which locks on a shared disk may not show."""
        runs_elsewhere = info.get("status") == "running" and info.get("host") != platform.node()
        return runs_elsewhere and not self._is_silent()

    def _is_silent(self) -> bool:
        """Whether the owner's last heartbeat is so long ago that it must be dead."""
        try:
            return time.time() - (self.path / HEARTBEAT).stat().st_mtime > DEAD_AFTER
        except FileNotFoundError:
            return True

    def _is_alive(self, info: Mapping[str, Any]) -> bool:
        """Whether the process of a running run is there, as far as this machine can tell."""
        lock = FileLock(self.path / LOCK)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return True
        except OSError:  # a folder in which we may not even open a lock
            return not self._is_silent()
        lock.release()
        return self._is_owned_elsewhere(info)

    @property
    def weights(self) -> Path:
        """The run's best weights, or its last ones where nothing says which are best.

        Raises:
            NotFoundError: no checkpoint has been saved yet, or it is damaged.
        """
        folder = self.path / "checkpoints"
        pointers = [folder / which for which in ("best", "last") if (folder / which).is_file()]
        named = [path.read_text(encoding="utf-8", errors="replace").strip() for path in pointers]
        checkpoint = next((folder / name for name in named if CHECKPOINT.fullmatch(name)), None)
        if checkpoint is None:
            raise NotFoundError(
                f"run {self.name!r} has no checkpoint",
                hint=f"zoo runs show {self.name}",
                code="no-checkpoint",
            )
        if not (checkpoint / MANIFEST).is_file():
            raise NotFoundError(
                f"checkpoint {checkpoint} is damaged: {MANIFEST} is missing",
                hint=f"zoo train --resume {self.name} goes on from an older one",
                code="damaged-checkpoint",
            )
        return checkpoint / "model.safetensors"  # which the manifest must list

    def point(self, which: Literal["best", "last"], checkpoint: str) -> None:
        """Point ``best`` or ``last`` to a checkpoint."""
        write_text(self.path / "checkpoints" / which, checkpoint + "\n")

    def remove(self) -> Path | None:
        """Delete the folder; of a link to a folder, the link alone.

        Returns:
            The folder that a link led to, which stays.

        Raises:
            UsageError: the run is being trained.
        """
        with self.held():
            if self.path.is_symlink():
                kept = self.path.resolve()
                self.path.unlink()
                return kept
            removed = self.path.rename(self.path.with_name(f".removed-{self.name}-{os.getpid()}"))
        shutil.rmtree(removed)
        return None


def check_run_name(name: str) -> None:
    """Check a name that becomes a folder below ``runs/``.

    Raises:
        UsageError: the name holds more than letters, digits, dots, underscores and hyphens.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name[:60]!r} cannot be the name of a run",
            hint="at most 64 letters, digits, dots, underscores and hyphens, such as first-try",
            code="bad-value",
        )


def name_taken(name: str) -> UsageError:
    """Return the error for a name that a run has already."""
    return UsageError(
        f"run {name!r} exists already",
        hint=f"another --name, or zoo runs rm {name}",
        code="already-exists",
    )


def now() -> str:
    """Return the time as runs record it, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def number_of(name: str, model: str) -> int:
    """Return the number of a run that was named by its model and a number, or 0."""
    match = re.fullmatch(re.escape(model) + r"-(\d{1,9})", name)
    return int(match[1]) if match else 0


def all_runs() -> list[Run]:
    """Return the runs of the working directory, the oldest first; other folders are skipped."""
    if not RUNS.is_dir():
        return []
    folders = [path for path in RUNS.iterdir() if any((path / file).is_file() for file in FILES)]
    return [Run(path) for path in sorted(folders, key=_start_time)]


def find_run(name: str) -> Run:
    """Return the run called `name`, or ``runs/name``, or the latest for ``@last``.

    Raises:
        NotFoundError: there is none.
    """
    runs = {run.name: run for run in all_runs()}
    name = name.removeprefix(f"{RUNS}/").rstrip("/")
    if name == "@last":
        if not runs:
            raise NotFoundError(
                f"no runs in {RUNS.resolve()}",
                hint="zoo list, then zoo train MODEL",
                code="run-not-found",
            )
        return [*runs.values()][-1]
    if name in runs:
        return runs[name]
    path = RUNS / name
    if NAME.fullmatch(name) and path.is_dir() and not list(path.glob("[!l]*")):
        return Run(path)  # whose process was killed before it wrote run.json
    raise NotFoundError(
        f"run {name[:60]!r} not found in {RUNS.resolve()}.{did_you_mean(name, runs)}",
        hint="zoo runs",
        code="run-not-found",
    )


def _start_time(path: Path) -> tuple[float, int, str]:
    """Return a sort key: when a run began, then its number, then its name."""
    try:
        created = read_json(path / "run.json", RunInfo).get("created", "")
        began = datetime.fromisoformat(created).timestamp()
    except (OSError, ValueError, OverflowError):  # a damaged run hides no other
        began = 0.0
    return began, number_of(path.name, path.name.rpartition("-")[0]), path.name
