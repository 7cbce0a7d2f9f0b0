"""A row of the catalogue -> a folder with its verified files.

``<home>/downloads/<data set>/`` and ``<home>/weights/<model>/`` hold the files under their
published names, and ``.verified.json``: size, times, number and hash of each when it was verified,
so that a file that has not changed since is not hashed again.

A download under way is a *part*: a private folder, ``.<file>.<random>.part``, with the bytes that
have come (`part_content`) and where they came from (`source.json`). A download that fails renames
it to ``.rest``; the next one renames either kind to a name of its own and goes on. Nobody else ever
writes into the folder that a process owns, so correctness does not rest on a lock.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from zoo.atomic import write_json
from zoo.catalog.dataset import Download, RemoteFile, cache_home
from zoo.errors import NotFoundError, ZooError
from zoo.manifest import sha256_of
from zoo.records import read_json

RECORDS = ".verified.json"
LOCK = ".lock"

State = Literal["yes", "partly", "no"]
PATIENCE = 30.0  # seconds


class Verified(TypedDict):
    """A file as it was when it was verified."""

    bytes: int
    mtime_ns: int
    ctime_ns: NotRequired[int]
    inode: NotRequired[int]
    sha256: str


def data_folder(row: Download) -> Path:
    """Return where the files of a row lie, or will lie once they are downloaded.

    Raises:
        NotFoundError: the row says that a package holds the data, and it does not.
    """
    if not row.embedded:
        return cache_home() / row.folder
    own = Path(__file__).parent / "embedded" / Path(row.folder).name
    folder = row.embedded if isinstance(row.embedded, Path) else own
    if not folder.is_dir():
        raise NotFoundError(
            f"{row.title} should lie inside the package, at {folder}",
            cause="the installation is damaged, or a plugin without the folder says it has one",
            hint="zoo plugins list says which plugins there are; install that one again",
        )
    return folder


def make_folder(folder: Path) -> None:
    """Make a folder of the cache that can be written to.

    Raises:
        ZooError: it cannot be made, or belongs to another user.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        problem = "" if os.access(folder, os.W_OK | os.X_OK) else "no permission to write there"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise ZooError(
            f"the cache folder {folder} cannot be used: {problem}",
            hint="ZOO_HOME=/a/folder/of/yours before the command puts the cache elsewhere",
        )


def cached_state(row: Download) -> State:
    """Return how much of a row is here and verified; hashes nothing."""
    if row.embedded:
        return "yes"
    folder = data_folder(row)
    records = _read_records(folder)
    here = [_is_recorded(file, folder, records) for file in row.files]
    if all(here):
        return "yes"
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return "partly" if present - {RECORDS, LOCK} else "no"


def verified_hash(file: RemoteFile, folder: Path) -> str | None:
    """Return the sha256 under which a file was verified, or None."""
    records = _read_records(folder)
    return records[file.name]["sha256"] if _is_recorded(file, folder, records) else None


def cache_problem(file: RemoteFile, folder: Path) -> str:
    """Return why a file of the cache cannot be used; empty when it is verified.

    A file that was touched or replaced since it was verified is hashed again.
    """
    path = folder / file.name
    if not path.is_file():
        return "not there"
    records = _read_records(folder)
    if _is_recorded(file, folder, records, untouched=True):
        return ""
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        return f"{size} bytes instead of {file.bytes}"
    found = sha256_of(path)
    expected = file.sha256 or (records[file.name]["sha256"] if file.name in records else None)
    if expected is not None and found != expected:
        return f"sha256 {found[:12]}… instead of {expected[:12]}…"
    with suppress(OSError):  # a cache that others keep for us may be read-only
        record_verified(path, found)
    return ""


def record_verified(path: Path, sha256: str) -> None:
    """Remember that a file was verified as it is now."""
    status = path.stat()
    records = _read_records(path.parent)
    records[path.name] = {
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
        "inode": status.st_ino,
        "sha256": sha256,
    }
    write_json(path.parent / RECORDS, records)


def _is_recorded(
    file: RemoteFile, folder: Path, records: dict[str, Verified], *, untouched: bool = False
) -> bool:
    """Whether a file was verified: by size and time, and, if `untouched`, change time and inode."""
    known = records.get(file.name)
    if known is None:
        return False
    try:
        status = (folder / file.name).stat()
    except OSError:
        return False
    change = (known.get("ctime_ns"), known.get("inode"))
    return (
        (known["bytes"], known["mtime_ns"]) == (status.st_size, status.st_mtime_ns)
        and (not untouched or change == (status.st_ctime_ns, status.st_ino))
        and file.bytes in {None, status.st_size}
        and file.sha256 in {None, known["sha256"]}
    )


def _read_records(folder: Path) -> dict[str, Verified]:
    """Return what was verified; a file that is missing or damaged only costs time."""
    try:
        return read_json(folder / RECORDS, dict[str, Verified])
    except (OSError, ValueError):
        return {}


@dataclass(frozen=True)
class Progress:
    """How far a download is.

    Args:
        file: name of the file.
        done: bytes that are here.
        total: bytes in all, or None where it is not known.
        note: something to tell the user, such as a mirror that failed; otherwise empty.
    """

    file: str
    done: int = 0
    total: int | None = None
    note: str = ""


Report = Callable[[Progress], None]


@contextmanager
def part_of(folder: Path, name: str, *, alone: bool) -> Iterator[Path]:
    """Yield a private part for the file `name`, with what an earlier download left of it.

    When the block fails, the part stays for the next download; when it ends well, all go.

    Args:
        folder: where the file will lie.
        name: its name.
        alone: whether a lock says that the owner of any other part is dead.
    """
    part = folder / f".{name}.{os.urandom(4).hex()}.part"
    _adopt(part, [left for left in leftovers(folder, name) if alone or left.suffix == ".rest"])
    part.mkdir(exist_ok=True)
    try:
        yield part
    except BaseException:
        if size_of(part):
            with suppress(OSError):
                part.rename(part.with_suffix(".rest"))
        else:
            shutil.rmtree(part, ignore_errors=True)
        raise
    for left in leftovers(folder, name):
        shutil.rmtree(left, ignore_errors=True)


def leftovers(folder: Path, name: str) -> list[Path]:
    """Return the parts of a file, the fullest first."""
    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.(part|rest)")
    found = [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
    return sorted(found, key=size_of, reverse=True)


def size_of(part: Path) -> int:
    """Return how many bytes of its file a part holds."""
    try:
        return part_content(part).stat().st_size
    except OSError:
        return 0


def part_content(part: Path) -> Path:
    """Return where the bytes of a part lie."""
    return part / "content"


def empty_part(part: Path) -> None:
    """Drop the bytes of a part."""
    part_content(part).unlink(missing_ok=True)


def write_source(part: Path, url: str, validator: str | None) -> None:
    """Remember where the bytes come from, and the server's mark of that state of its file."""
    write_json(part / "source.json", {"url": url, "validator": validator})


def validator_of(part: Path, url: str) -> str | None:
    """Return the mark that came with the bytes of a part, if they came from `url`."""
    try:
        source = read_json(part / "source.json", dict[str, str | None])
    except (OSError, ValueError):
        return None
    return source.get("validator") if source.get("url") == url else None


def _adopt(part: Path, candidates: list[Path]) -> None:
    """Rename the fullest part that another download has left to `part`, if there is one."""
    for left in candidates:
        try:
            left.rename(part)
        except OSError:  # another process was quicker
            continue
        if left.suffix == ".part":
            # Its process was killed; or it is alive, where locks lie: write to a copy.
            with suppress(FileNotFoundError):
                shutil.copyfile(part_content(part), part / "copy")
                (part / "copy").replace(part_content(part))
        return


def fetch(row: Download, *, report: Report | None = None, patience: float = PATIENCE) -> Path:
    """Return the folder that holds the verified files of a row, downloading what is missing.

    A file takes its name in the cache only when its size and sha256 are right. A file that
    somebody put there by hand is used when it is right, and replaced when it is not.

    Args:
        row: a data set or weights; embedded data needs no download.
        report: called with the bytes that come and the mirrors that fail.
        patience: seconds of silence, or of less than 1 kB a second, after which a server is left.

    Raises:
        NotFoundError: no mirror gave a file; the hint says what to fetch by hand, and whereto.
        ZooError: the cache cannot be written to.
    """
    folder = data_folder(row)
    if row.embedded or not _missing(row, folder):
        with suppress(OSError):  # when it was last used, for `zoo data list --cached`
            os.utime(folder / RECORDS)
        return folder
    report = report or (lambda _: None)
    make_folder(folder)
    try:
        with _one_at_a_time(folder, patience, report) as alone:
            _download(row, folder, patience, report, alone=alone)
    except OSError as problem:
        raise ZooError(
            f"{row.title} could not be written to {folder}: {problem.strerror or problem}",
            hint="make room, or put the cache elsewhere with ZOO_HOME=/another/folder",
        ) from problem
    return folder


def _missing(row: Download, folder: Path) -> dict[RemoteFile, str]:
    """Return the files that cannot be used as they are, each with the reason."""
    troubles = {file: cache_problem(file, folder) for file in row.files}
    return {file: reason for file, reason in troubles.items() if reason}


def _download(row: Download, folder: Path, patience: float, report: Report, *, alone: bool) -> None:
    missing = _missing(row, folder)  # none, if we have waited for another process
    if not missing:
        return
    from zoo.data import transfer  # here, because an HTTP library takes its time to import

    with transfer.open_client(patience) as client:
        for file, reason in missing.items():
            if (folder / file.name).exists():
                report(Progress(file.name, note=f"cannot be used ({reason}); downloading it anew"))
            try:
                transfer.obtain(client, file, folder, report, alone=alone)
            except transfer.MirrorError as problem:
                raise _unreachable(row, folder, str(problem)) from None


def _unreachable(row: Download, folder: Path, failures: str) -> NotFoundError:
    missing = _missing(row, folder)
    wrong = [
        f"the {file.name} there cannot be used ({reason})"
        for file, reason in missing.items()
        if (folder / file.name).exists()
    ]
    urls = " ".join(
        url if url.endswith(f"/{file.name}") else f"{url} (as {file.name})"
        for file in missing
        for url in file.urls[:1]
    )
    return NotFoundError(
        f"{row.title} is not in the cache and could not be downloaded",
        cause="; ".join([failures, *wrong]),
        hint=f"fetch by hand into {folder}: {urls}",
    )


@contextmanager
def _one_at_a_time(folder: Path, patience: float, report: Report) -> Iterator[bool]:
    """Wait until no other process downloads the same; yield whether that is certain.

    This only saves bandwidth. Where the file system has no locks, or the other process stands
    still, we go on without.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    seen, since = -1, time.monotonic()
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0.5)
        except Timeout:
            if seen == -1:
                report(Progress("", note="another process downloads the same; waiting for it"))
            now = sum(map(size_of, folder.glob(".*.part")))
            if now != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() - since > 2 * patience:
                break
        except (OSError, NotImplementedError):
            break
    try:
        yield lock.is_locked
    finally:
        lock.release()
