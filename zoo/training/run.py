"""A run's folder: what it holds, how it is made and removed. Imports no torch."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Required, TypedDict

from zoo.atomic import flush, write_json, write_text
from zoo.errors import NotFoundError, UsageError
from zoo.manifest import MANIFEST
from zoo.records import read_json, read_lines
from zoo.training import lock

RUNS = Path("runs")  # of the working directory
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SCHEMA = 1
ATTEMPT = "ZOO_ATTEMPT"  # environment variable: by which a supervisor knows what it has started

Status = Literal["running", "finished", "interrupted", "failed"]
Damaged = Callable[[int, str], None]  # told of each line that cannot be read: its number, and why


class Best(TypedDict):
    """The best checkpoint of a run."""

    step: int
    metrics: dict[str, float]


class RunInfo(TypedDict, total=False):
    """What ``run.json`` holds; all but the model may be missing, as in a run that just began."""

    model: Required[str]
    schema: int
    id: str
    status: Status | Literal["died"]  # which is not written, but found out
    created: str
    ended: str | None
    error: str | None
    pid: int
    host: str
    command: list[str]
    attempt: str | None
    distribution: str
    version: str
    data: str
    data_spec: dict[str, Any]
    data_from_run: str | None
    planned_steps: float | None
    planned_seconds: float | None
    device: str
    devices: int
    precision: str
    zoo: str
    torch: str
    step: int
    epoch: int
    seconds: float
    metrics: dict[str, float]
    best: Best | None
    verdicts: list[str]
    unwatched: dict[str, str] | None  # None where nobody watched


class MetricsRow(TypedDict, total=False):
    """A line of ``metrics.jsonl``: means over some steps of training, or of one validation."""

    step: Required[int]
    epoch: int
    split: Required[Literal["train", "validation"]]
    images_per_second: float
    values: Required[dict[str, float]]


class EventRow(TypedDict, total=False):
    """A line of ``events.jsonl``: ``verdict``, ``recovered`` or ``trained``."""

    event: Required[str]
    step: int
    illness: str
    evidence: dict[str, float | str]
    message: str
    advice: str


class Run:
    """One folder below ``runs/``.

    ``run.json`` says what the run is and how it stands, ``config.toml`` reproduces it,
    ``metrics.jsonl`` and ``events.jsonl`` grow by lines, ``samples/`` and ``checkpoints/`` hold
    what their names say, ``log.txt`` the messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

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
        number = 1 + max((number_of(path.name, model) for path in RUNS.iterdir()), default=0)
        while True:  # another training may take the number first
            path = RUNS / f"{model}-{number}"
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
            else:
                return cls(path)

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
            ) from None
        info["id"] = self.name  # the folder's name, which somebody may have changed
        if info.get("status") == "running" and not self._is_alive(info):
            info["status"] = "died"
        return info

    def fact(self, key: str) -> Any:
        """Return what run.json says of something; None when it does not, or is damaged."""
        return self._info_or_nothing().get(key)

    def way_to(self, data: str) -> str | None:
        """Return where data lies, from the run's folder; None for a data set of the catalogue."""
        if not Path(data).is_absolute():
            return None
        try:
            return os.path.relpath(data, self.path.absolute())
        except ValueError:  # on another drive
            return None

    def data_places(self, data: str) -> list[str]:
        """Return where the data of the run may lie now: where it was, or the same way from here.

        Args:
            data: name in the catalogue, or absolute path, as the run was trained with.
        """
        way = self.fact("data_from_run")
        if not isinstance(way, str) or not Path(data).is_absolute():
            return [data]
        moved = os.path.normpath(self.path.absolute() / way)
        return [data] if moved == data else [data, moved]

    def write_info(self, **facts: Any) -> None:
        """Add facts to run.json."""
        known: Mapping[str, Any] = {}
        with suppress(OSError, ValueError):  # not there yet, or damaged
            known = self._read_info()
        write_json(self.path / "run.json", {**known, **facts})

    def start(self, **facts: Any) -> None:
        """Say in run.json that this process trains the run, from now on."""
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
        """Say in run.json how the run ended."""
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

    def metrics(self, damaged: Damaged | None = None) -> Iterator[MetricsRow]:
        """Yield the rows of ``metrics.jsonl``; lines that cannot be read are left out."""
        return read_lines(self.path / "metrics.jsonl", MetricsRow, damaged)

    def events(self, damaged: Damaged | None = None) -> Iterator[EventRow]:
        """Yield the rows of ``events.jsonl``; lines that cannot be read are left out."""
        return read_lines(self.path / "events.jsonl", EventRow, damaged)

    def size(self, file: str) -> int:
        """Return the length of one of the files that grow, in bytes, all of them on the disk."""
        path = self.path / file
        if not path.exists():
            return 0
        flush(path)
        return path.stat().st_size

    def cut(self, file: str, size: int) -> bool:
        """Let one of the files that grow be as long as it once was; False when it is shorter."""
        path, now = self.path / file, self.size(file)
        if now > size:
            os.truncate(path, size)
        elif now and now < size and not path.read_bytes().endswith(b"\n"):
            with path.open("ab") as stream:
                stream.write(b"\n")  # what comes next is no part of a torn line
        return now >= size

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from training or removing this run as long as the block lasts.

        Raises:
            UsageError: another process has it.
        """
        with lock.locked(self.path) as ours:
            owner = self._info_or_nothing()
            if not ours or self._is_owned_elsewhere(owner):
                who = f"process {owner.get('pid')} on {owner.get('host')}"
                raise UsageError(
                    f"run {self.name!r} is being trained, by {who}",
                    hint=f"stop it first (Ctrl-C there, or kill {owner.get('pid')}); on another "
                    f"machine, it is taken for dead after {lock.SILENT:.0f} s without a sign",
                )
            yield

    def give_sign(self) -> None:
        """Say now and then that the owner is alive."""
        lock.give_sign(self.path)

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
        """Whether another machine is at it, which the locks of a shared disk may not say."""
        runs_elsewhere = info.get("status") == "running" and info.get("host") != platform.node()
        return runs_elsewhere and not lock.is_taken_for_dead(self.path)

    def _is_alive(self, info: Mapping[str, Any]) -> bool:
        """Whether the process of a running run is there, as far as this machine can tell."""
        try:
            return lock.is_locked(self.path) or self._is_owned_elsewhere(info)
        except OSError:  # a folder in which we may not even open a lock
            return not lock.is_taken_for_dead(self.path)

    @property
    def weights(self) -> Path:
        """The run's best weights, or its last ones where nothing says which are best.

        Raises:
            NotFoundError: no checkpoint has been saved yet.
        """
        for which in ("best", "last"):
            pointer = self.path / "checkpoints" / which
            if pointer.is_file():
                step = pointer.read_text(encoding="utf-8", errors="replace").strip()
                if re.fullmatch(r"step-\d{7,12}", step):
                    return self._weights_of(self.path / "checkpoints" / step)
        raise NotFoundError(
            f"run {self.name!r} has no checkpoint", hint=f"zoo runs show {self.name}"
        )

    def _weights_of(self, checkpoint: Path) -> Path:
        """Return the weights of a checkpoint, which its manifest must list."""
        if not (checkpoint / MANIFEST).is_file():
            raise NotFoundError(
                f"checkpoint {checkpoint} is damaged: {MANIFEST} is missing",
                hint=f"zoo train --resume {self.name} goes on from an older one",
            )
        return checkpoint / "model.safetensors"

    def point(self, which: Literal["best", "last"], checkpoint: str) -> None:
        """Let ``best`` or ``last`` name a checkpoint."""
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
        )


def name_taken(name: str) -> UsageError:
    """Return the error for a name that a run has already."""
    return UsageError(f"run {name!r} exists already", hint=f"another --name, or zoo runs rm {name}")


def now() -> str:
    """Return the time as runs record it, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def number_of(name: str, model: str) -> int:
    """Return the number of a run that was named by its model and a number, or 0."""
    match = re.fullmatch(re.escape(model) + r"-(\d{1,9})", name)
    return int(match[1]) if match else 0
