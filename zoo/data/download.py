"""A row of the catalogue -> a folder with its verified files.

``<home>/downloads/<data set>/`` and ``<home>/weights/<model>/`` hold the files under their
published names, and ``.verified.json``: size, times, number and hash of each when it was verified,
so that a file that has not changed since is not hashed again.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from zoo.atomic import write_json
from zoo.catalog.card import Asset
from zoo.catalog.dataset import Download, Downloadable, RemoteFile, cache_home
from zoo.errors import NotFoundError, ZooError
from zoo.manifest import sha256_of
from zoo.records import read_json

RECORDS = ".verified.json"
LOCK = ".lock"
PREFIX = ".unfinished-"  # of folders beside the decoded data
ABANDONED = 24 * 3600  # seconds without a change after which a killed process must have left one

State = Literal["yes", "partly", "no"]
PATIENCE = 30.0  # seconds


class FileRecord(TypedDict):
    """A file as it was when it was verified."""

    bytes: int
    mtime_ns: int
    ctime_ns: NotRequired[int]
    inode: NotRequired[int]
    sha256: str


def data_folder(row: Downloadable) -> Path:
    """Return where the files of a row lie, or will lie once they are downloaded.

    Raises:
        NotFoundError: the row says that a package holds the data, and it does not.
    """
    if not row.embedded:
        return cache_home() / row.folder
    place = row.embedded if isinstance(row.embedded, Path) else Path(row.folder).name
    folder = Path(__file__).parent / "embedded" / place  # an absolute path is a plugin's own
    if not folder.is_dir():
        raise NotFoundError(
            f"{row.title} should lie inside the package, at {folder}",
            cause="the installation is damaged, or a plugin without the folder says it has one",
            hint="zoo plugins list says which plugins there are; install that one again",
            code="data-not-found",
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
            code="cache-unusable",
        )


def store_home() -> Path:
    """Return the folder that holds decoded data; it need not exist yet."""
    return cache_home() / "store"


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield an empty folder beside the decoded data; it goes with the block, unless renamed.

    What killed processes left behind long ago is removed first.

    Raises:
        ZooError: the cache cannot be written to.
    """
    home = store_home()
    make_folder(home)
    for leftover in home.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another process may be tidying up as well
            newest = max(path.stat().st_mtime for path in (leftover, *leftover.iterdir()))
            if time.time() - newest > ABANDONED:
                shutil.rmtree(leftover, ignore_errors=True)
    # not by tempfile, whose folders other users cannot read; several users may share a cache
    folder = home / f"{PREFIX}{os.urandom(8).hex()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cached_state(row: Downloadable) -> State:
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
    file: RemoteFile, folder: Path, records: dict[str, FileRecord], *, untouched: bool = False
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


def _read_records(folder: Path) -> dict[str, FileRecord]:
    """Return what was verified; a file that is missing or damaged only costs time."""
    try:
        return read_json(folder / RECORDS, dict[str, FileRecord])
    except (OSError, ValueError):
        return {}


@dataclass(frozen=True)
class DownloadProgress:
    """How far a download is."""

    file: str  # name of the file
    done: int = 0  # bytes that are here
    total: int | None = None  # bytes in all, or None where it is not known
    note: str = ""  # something to tell the user, such as a mirror that failed; otherwise empty


OnProgress = Callable[[DownloadProgress], None]


def asset_files(assets: Sequence[Asset], fetch_one: Callable[[Download], Path]) -> dict[str, Path]:
    """Return the verified file of each asset by its network; `fetch_one` downloads.

    Raises:
        NotFoundError: a file of a plugin's package is not the one that its card names.
    """
    found = {}
    for asset in assets:
        if asset.path is None:
            name, known = f"{asset.network}-{asset.sha256[:16]}", asset.sha256
            file = RemoteFile(name, asset.urls, asset.bytes, known)
            title, folder = f"asset {asset.network!r}", f"assets/{known[:16]}"
            found[asset.network] = fetch_one(Download(title, folder, asset.licence, (file,))) / name
            continue
        if not asset.path.is_file() or sha256_of(asset.path) != asset.sha256:
            raise NotFoundError(
                f"asset {asset.network!r} is not the file that its plugin names: {asset.path}",
                hint="install the plugin anew",
                code="hash-mismatch",
            )
        found[asset.network] = asset.path
    return found


def fetch(
    row: Downloadable, *, report: OnProgress | None = None, patience: float = PATIENCE
) -> Path:
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
    if row.embedded or not missing_files(row, folder):
        with suppress(OSError):  # when it was last used, for `zoo data list --cached`
            os.utime(folder / RECORDS)
        return folder
    from zoo.data.transfer import download  # here, because an HTTP library takes its time to import

    make_folder(folder)
    try:
        download(row, folder, patience, report or (lambda _: None))
    except OSError as problem:
        raise ZooError(
            f"{row.title} could not be written to {folder}: {problem.strerror or problem}",
            hint="make room, or put the cache elsewhere with ZOO_HOME=/another/folder",
            code="cache-unusable",
        ) from problem
    return folder


def missing_files(row: Downloadable, folder: Path) -> dict[RemoteFile, str]:
    """Return the files that cannot be used as they are, each with the reason."""
    troubles = {file: cache_problem(file, folder) for file in row.files}
    return {file: reason for file, reason in troubles.items() if reason}
