"""Checkpoints of a run: a folder each, which takes its name when it is whole."""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from zoo.atomic import as_json, building, write_json
from zoo.errors import NotFoundError
from zoo.manifest import MANIFEST, sha256_of
from zoo.ports import Fit
from zoo.records import read_json
from zoo.training.run import Run
from zoo.training.settings import Settings, interval

SCHEMA = 1
NAME = re.compile(r"step-(\d{7,12})")
STATE = "state.json"

Facts = TypeVar("Facts")


class JobRecord(TypedDict):
    """What was trained, as a configuration file asks for it."""

    model: str
    data: str
    size: list[int]
    fit: Fit
    training: dict[str, Any]
    options: dict[str, Any]


class _State(TypedDict):
    schema: int
    step: int
    ranks: int
    position: dict[str, int | float]
    optimisers: dict[str, Any]
    record: dict[str, Any]
    job: JobRecord
    circumstances: dict[str, str]


class _File(TypedDict):
    bytes: int
    sha256: str


class _Manifest(TypedDict):
    schema: int
    files: dict[str, _File]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are all as they were written.

    Args:
        path: its folder.
        facts: what `STATE` holds.
    """

    path: Path
    facts: Mapping[str, Any]

    @property
    def step(self) -> int:
        """Rounds played."""
        return int(self.facts["step"])

    @property
    def ranks(self) -> int:
        """How many processes were training."""
        return int(self.facts["ranks"])


@dataclass
class Due:
    """When a checkpoint is due beside those at the end of each epoch: by steps, or by time.

    Args:
        steps: save at each multiple of so many steps.
        seconds: save when so much time has gone by.
    """

    steps: float
    seconds: float
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, settings: Settings) -> Due:
        """Return what ``--checkpoint-every`` asks for."""
        steps, seconds = interval(settings.checkpoint_every)
        return cls(steps or math.inf, seconds or math.inf)

    def is_due(self, step: int) -> bool:
        """Whether this rank wants a checkpoint after a step."""
        return step % self.steps == 0 or time.monotonic() - self.began >= self.seconds

    def saved(self) -> None:
        """Take note that there is one now."""
        self.began = time.monotonic()


def save_checkpoint(
    run: Run,
    step: int,
    write: Callable[[Path], Mapping[str, Any]],
    *,
    is_best: bool,
    keep: int,
) -> None:
    """Write the state of a step, and let ``last``, perhaps ``best``, name it.

    Older checkpoints are removed afterwards, so that at no moment there is none.

    Args:
        run: whose checkpoint it is.
        step: rounds played.
        write: writes the files into a folder and returns what else is to be remembered, as JSON.
        is_best: whether no earlier checkpoint was better.
        keep: how many of the last ones to keep, beside the best.

    Raises:
        OSError: the disk is full or cannot be written to; what was there before is untouched.
    """
    folder = run.path / "checkpoints"
    folder.mkdir(exist_ok=True)
    name = f"step-{step:07d}"
    with building(folder / name) as temporary:
        facts = write(temporary)
        write_json(temporary / STATE, {"schema": SCHEMA, "step": step, **facts})
        files = {path.name: _describe(path) for path in sorted(temporary.iterdir())}
        write_json(temporary / MANIFEST, {"schema": SCHEMA, "files": files})
    if is_best:
        run.point("best", name)
    run.point("last", name)
    _prune(folder, keep)


def newest(run: Run) -> tuple[Checkpoint | None, dict[Path, str]]:
    """Return the newest checkpoint that is whole, and the newer ones with what ails them.

    A run that ended before its first checkpoint has none.

    Raises:
        NotFoundError: there are some, and all of them are damaged.
    """
    ill: dict[Path, str] = {}
    for path in reversed(_checkpoints(run.path / "checkpoints")):
        try:
            return read_checkpoint(path), ill
        except NotFoundError as problem:
            ill[path] = problem.message
        except OSError as problem:  # a disk with a bad place
            ill[path] = damaged(path, problem.strerror or str(problem)).message
    if not ill:
        return None, ill
    raise NotFoundError(
        f"no checkpoint of run {run.name!r} is whole; {next(iter(ill.values()))}",
        hint=f"zoo train --config {run.path}/config.toml begins anew",
    )


def own_job(run: Run) -> JobRecord | None:
    """Return what the newest checkpoint that can be read says was being trained; None without."""
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
    if not (path / MANIFEST).exists() and not (path / STATE).exists():
        raise NotFoundError(f"checkpoint {path} is of an earlier zoo and holds weights only")
    files = _read_manifest(path)["files"]
    for name, described in files.items():
        if Path(name).name != name:
            raise damaged(path, f"{MANIFEST} names a file elsewhere")
        if not (path / name).is_file() or _describe(path / name) != described:
            raise damaged(path, f"{name} is missing or has changed")
    facts = _read(path / STATE, _State)
    if STATE not in files or facts["step"] != int(NAME.fullmatch(path.name)[1]):  # type: ignore[index] # callers give folders of this name
        raise damaged(path, f"{STATE} is of another step")
    return Checkpoint(path, facts)


def damaged(path: Path, why: str) -> NotFoundError:
    """Return the error for a checkpoint that cannot be used."""
    return NotFoundError(f"checkpoint {path} is damaged: {' '.join(why.split())[:200]}")


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


def set_pointers(run: Run, facts: Mapping[str, Any]) -> None:
    """Let ``last`` and ``best`` be as the checkpoint says that the run goes on from."""
    folder = run.path / "checkpoints"
    run.point("last", f"step-{facts['step']:07d}")
    best = (facts["record"]["best"] or {}).get("step")
    if best is not None and (folder / f"step-{best:07d}").is_dir():
        run.point("best", f"step-{best:07d}")
    else:
        (folder / "best").unlink(missing_ok=True)


def _prune(folder: Path, keep: int) -> None:
    best = folder / "best"
    named = best.read_text(encoding="utf-8", errors="replace").strip() if best.exists() else ""
    for path in _checkpoints(folder)[:-keep]:
        if path.name != named:
            shutil.rmtree(path)


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the oldest first."""
    found = [path for path in folder.glob("step-*") if NAME.fullmatch(path.name)]
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


def _read(path: Path, kind: type[Facts]) -> Facts:
    try:
        return read_json(path, kind)
    except (OSError, ValueError) as problem:
        raise damaged(path.parent, f"{path.name} cannot be read: {problem}") from None
