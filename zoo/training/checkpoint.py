"""Checkpoints of a run: a folder each, which gets its name when all files are written.

Imports no torch: what the files hold is written and read by `zoo.training.state`.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict, TypeVar

from zoo.atomic import as_json, building, flush, write_bytes, write_json
from zoo.errors import NotFoundError
from zoo.manifest import MANIFEST, sha256_of
from zoo.ports import Fit
from zoo.records import read_json
from zoo.training.run import CHECKPOINT, Run

SCHEMA = 1
STATE = "state.json"

Record = TypeVar("Record")


class JobRecord(TypedDict):
    """What was trained, as a configuration file asks for it."""

    model: str
    data: str
    size: NotRequired[list[int]]
    fit: NotRequired[Fit]
    length: NotRequired[int]
    rate: NotRequired[int]
    fields: NotRequired[dict[str, str]]
    training: dict[str, Any]
    options: dict[str, Any]


class _State(TypedDict):
    schema: int
    step: int
    ranks: int
    cursor: dict[str, int | float]
    players: dict[str, Any]
    reporter: dict[str, Any]
    job: JobRecord
    environment: dict[str, str]


class _File(TypedDict):
    bytes: int
    sha256: str


class _Manifest(TypedDict):
    schema: int
    files: dict[str, _File]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are all unchanged since they were written: what `STATE` holds."""

    path: Path
    content: Mapping[str, Any]

    @property
    def step(self) -> int:
        """Training steps done."""
        return int(self.content["step"])

    @property
    def ranks(self) -> int:
        """Number of processes that were training."""
        return int(self.content["ranks"])


def save_checkpoint(
    run: Run,
    step: int,
    files: Mapping[str, bytes],
    content: Mapping[str, Any],
    *,
    is_best: bool,
    keep: int,
    grown: Sequence[str] = (),
) -> None:
    """Write a checkpoint, and point ``last`` and, if it is the best, ``best`` to it.

    Older checkpoints are removed afterwards, so that there is always one: the last ones, as many
    as `keep` says, and the best stay. `content` is that of `STATE`, beside schema and step;
    `grown` are files of the run whose sizes it holds, which are on the disk before it is.

    Raises:
        OSError: the disk is full or cannot be written to; what was there before is untouched.
    """
    folder = run.path / "checkpoints"
    folder.mkdir(exist_ok=True)
    for file in grown:
        if (run.path / file).exists():
            flush(run.path / file)
    name = f"step-{step:07d}"
    with building(folder / name) as temporary:
        for file, bytes_of_file in files.items():
            write_bytes(temporary / file, bytes_of_file)
        write_json(temporary / STATE, {"schema": SCHEMA, "step": step, **content})
        described = {path.name: _describe(path) for path in sorted(temporary.iterdir())}
        write_json(temporary / MANIFEST, {"schema": SCHEMA, "files": described})
    if is_best:
        run.point("best", name)
    run.point("last", name)
    pointer = folder / "best"
    best = pointer.read_text(encoding="utf-8", errors="replace") if pointer.exists() else ""
    for path in _checkpoints(folder)[:-keep]:
        if path.name != best.strip():
            shutil.rmtree(path)


class BackgroundWriter:
    """Runs one function at a time in a thread; what it raises is raised by `wait`.

    The thread ends with the process, like a process that is killed.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._problem: BaseException | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the function has returned or raised since the last `wait`."""
        return self._thread is not None and not self._thread.is_alive()

    def start(self, function: Callable[[], None]) -> None:
        """Run a function when the one before has ended."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the function has ended, and raise what it raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem

    def _run(self, function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as problem:
            self._problem = problem


def newest(run: Run) -> tuple[Checkpoint | None, dict[Path, str]]:
    """Return the newest undamaged checkpoint, and the newer ones with what is wrong with each.

    A run that ended before its first checkpoint has none.

    Raises:
        NotFoundError: there are some, and all of them are damaged.
    """
    unusable: dict[Path, str] = {}
    for path in reversed(_checkpoints(run.path / "checkpoints")):
        try:
            return read_checkpoint(path), unusable
        except NotFoundError as problem:
            unusable[path] = problem.message
        except OSError as problem:  # a disk with a bad place
            unusable[path] = damaged(path, problem.strerror or str(problem)).message
    if not unusable:
        return None, unusable
    raise NotFoundError(
        f"all checkpoints of run {run.name!r} are damaged; {next(iter(unusable.values()))}",
        hint=f"zoo train --config {run.path}/config.toml starts again from the beginning",
        code="damaged-checkpoint",
    )


def saved_job(run: Run) -> JobRecord | None:
    """Return the job that the newest readable checkpoint holds; None without a checkpoint."""
    for path in reversed(_checkpoints(run.path / "checkpoints")):
        with suppress(NotFoundError, OSError):
            if _read_manifest(path)["files"].get(STATE) == _describe(path / STATE):
                return _read(path / STATE, _State)["job"]
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Return a checkpoint after comparing every byte with what its manifest says.

    Raises:
        NotFoundError: something is missing or has changed.
    """
    files = _read_manifest(path)["files"]
    for name, described in files.items():
        if Path(name).name != name:
            raise damaged(path, f"{MANIFEST} names a file elsewhere")
        if not (path / name).is_file() or _describe(path / name) != described:
            raise damaged(path, f"{name} is missing or has changed")
    content = _read(path / STATE, _State)
    if STATE not in files or content["step"] != int(path.name.removeprefix("step-")):
        raise damaged(path, f"{STATE} is of another step")
    return Checkpoint(path, content)


def damaged(path: Path, why: str) -> NotFoundError:
    """Return the error for a checkpoint that cannot be used."""
    return NotFoundError(
        f"checkpoint {path} is damaged: {' '.join(why.split())[:200]}", code="damaged-checkpoint"
    )


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint, so that its step can be saved again; return where it is now."""
    number = 1
    while (aside := path.with_name(f"damaged-{number}-{path.name}")).exists():
        number += 1
    return path.rename(aside)


def remove_leftovers(run: Run) -> None:
    """Remove what a killed process left half-written in a run that nobody else trains."""
    for leftover in (*run.path.glob(".*.part"), *run.path.glob("*/.*.part")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def set_pointers(run: Run, checkpoint: Checkpoint) -> None:
    """Set ``last`` and ``best`` to what they were when a checkpoint was written."""
    folder = run.path / "checkpoints"
    run.point("last", f"step-{checkpoint.step:07d}")
    best = (checkpoint.content["reporter"]["best"] or {}).get("step")
    if best is not None and (folder / f"step-{best:07d}").is_dir():
        run.point("best", f"step-{best:07d}")
    else:
        (folder / "best").unlink(missing_ok=True)


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the oldest first."""
    found = [path for path in folder.glob("step-*") if CHECKPOINT.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def _describe(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def _read_manifest(path: Path) -> _Manifest:
    """Return the manifest of a checkpoint, which must be byte for byte as this zoo writes it."""
    manifest = _read(path / MANIFEST, _Manifest)
    is_ours = (path / MANIFEST).read_text(encoding="utf-8") == as_json(manifest)
    if manifest["schema"] != SCHEMA or not is_ours:
        raise damaged(path, f"{MANIFEST} is not as this zoo writes it")
    return manifest


def _read(path: Path, kind: type[Record]) -> Record:
    try:
        return read_json(path, kind)
    except (OSError, ValueError) as problem:
        raise damaged(path.parent, f"{path.name} cannot be read: {problem}") from None
