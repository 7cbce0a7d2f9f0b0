"""registry.toml: the catalogue of known data sets and weights, as data that people review.

When the zoo runs, the file is read leniently, so that an older zoo can use a newer catalogue:
unknown keys are passed over, and a row that cannot be used is told in `Registry.troubles` and
spoils no other. `check_registry` is the strict reading for those who edit the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from zoo.catalog.dataset import Dataset, RemoteFile, Weights
from zoo.errors import UsageError, ZooError

Row = TypeVar("Row", Dataset, Weights)

SCHEMA = 1
MAX_FILE_BYTES = 2**20
MAX_DOTS = 60  # in one line; the time of tomllib is quadratic in the parts of a dotted key

PLAIN_KEYS = ("channels", "embedded")
LIST_KEYS = ("size", "classes", "domains", "pairs")
ROW_KEYS = {"summary", "layout", "licence", "mirrors", "files", *PLAIN_KEYS, *LIST_KEYS}
WEIGHTS_KEYS = {"summary", "licence", "file"}
KINDS = {"dataset": "data set", "weights": "weights of"}  # in words
FILE_KEYS = {"name", "bytes", "sha256", "urls"}


@dataclass(frozen=True)
class Registry:
    """What the catalogue files hold.

    Args:
        datasets: the rows that can be used.
        weights: published weights, at most one row a model.
        troubles: one line for each row that cannot, with the file it stands in.
    """

    datasets: tuple[Dataset, ...]
    weights: tuple[Weights, ...] = ()
    troubles: tuple[str, ...] = ()


def read_registry() -> Registry:
    """Return the catalogue that comes with the zoo, and the one that ``ZOO_REGISTRY`` names.

    ``ZOO_REGISTRY=PATH`` adds a second file of the same form, of a class or a company; where both
    have a row of one name, the second file's row holds.

    Raises:
        UsageError: ``ZOO_REGISTRY`` names a file that cannot be read.
        ZooError: the catalogue of the installation cannot be read.
    """
    try:
        registry = _load(_own_path())
    except (OSError, ValueError) as problem:
        raise ZooError(
            f"the catalogue {_own_path()} cannot be read: {problem}",
            hint="pip install --force-reinstall zoo-core",
        ) from None
    second = os.environ.get("ZOO_REGISTRY", "")
    if not second:
        return registry
    try:
        added = _load(Path(second).expanduser())
    except (OSError, ValueError, RuntimeError) as problem:  # RuntimeError: ~nobody has no home
        raise UsageError(
            f"ZOO_REGISTRY names a file that cannot be read: {second}",
            cause=str(problem),
            hint="correct the file, or unset ZOO_REGISTRY",
        ) from None
    rows = {row.name: row for row in (*registry.datasets, *added.datasets)}
    weights = {row.model: row for row in (*registry.weights, *added.weights)}
    troubles = registry.troubles + added.troubles
    return Registry(tuple(rows.values()), tuple(weights.values()), troubles)


def check_registry(path: Path) -> list[str]:
    """Return everything that is wrong with a catalogue file, one line each; empty when all is well.

    Unlike `read_registry`, this also minds keys that nobody knows.
    """
    try:
        table = _parse(path)
        registry = _load(path)
    except (OSError, ValueError) as problem:
        return [str(problem)]
    known = {"schema", "dataset", "weights"}
    unknown = [f"unknown key {key!r}" for key in table.keys() - known]
    for section, keys in (("dataset", ROW_KEYS), ("weights", WEIGHTS_KEYS)):
        for name, row in table.get(section, {}).items():
            if isinstance(row, dict):
                where = f"{KINDS[section]} {name!r}"
                unknown += [f"{where}: unknown key {key!r}" for key in row.keys() - keys]
                unknown += [f"{where}: unknown key {key!r} of a file" for key in _file_keys(row)]
    return [*registry.troubles, *sorted(unknown)]


def _file_keys(row: Mapping[str, Any]) -> set[str]:
    """Return the keys of a row's files that nobody knows."""
    files = row.get("files")
    entries = [row.get("file"), *(files if isinstance(files, list) else [])]
    return {key for entry in entries if isinstance(entry, dict) for key in entry.keys() - FILE_KEYS}


def _own_path() -> Path:
    """Return the copy inside an installed package, else the file at the root of the repository."""
    packaged = Path(__file__).with_name("registry.toml")
    return packaged if packaged.exists() else Path(__file__).parents[2] / "registry.toml"


def _load(path: Path) -> Registry:
    table = _parse(path)
    if table.get("schema") != SCHEMA:
        raise ValueError(f"schema = {SCHEMA} was expected, this file has {table.get('schema')!r}")
    troubles: list[str] = []
    datasets = _read_rows(table, "dataset", _dataset, path, troubles)
    weights = _read_rows(table, "weights", _weights, path, troubles)
    return Registry(tuple(datasets), tuple(weights), tuple(troubles))


def _read_rows(
    table: Mapping[str, Any],
    section: str,
    read: Callable[[str, Mapping[str, Any]], Row],
    path: Path,
    troubles: list[str],
) -> list[Row]:
    """Read the rows of a section; those that cannot be used go to `troubles`."""
    rows = table.get(section, {})
    if not isinstance(rows, dict):
        raise ValueError(f"rows must be tables called [{section}.NAME]")
    found = []
    for name, row in rows.items():
        try:
            if not isinstance(row, Mapping):
                raise ValueError("must be a table")
            found.append(read(name, row))
        except ValueError as problem:
            kind = KINDS[section]
            where = "" if str(problem).startswith(kind) else f"{kind} {name[:60]!r}: "
            troubles.append(f"{path}: {where}{problem}")
    return found


def _parse(path: Path) -> dict[str, Any]:
    """Read TOML that may come from a stranger.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is too large, too deep or no TOML.
    """
    import tomllib  # here, because most commands never ask for a data set

    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
    text = content.decode("utf-8")
    if any(line.count(".") > MAX_DOTS for line in text.splitlines()):
        raise ValueError(f"more than {MAX_DOTS} dots in one line")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _weights(model: str, row: Mapping[str, Any]) -> Weights:
    return Weights(
        model=model,
        summary=row.get("summary", ""),
        licence=row.get("licence", ""),
        file=_remote_file(row.get("file"), ()),
    )


def _dataset(name: str, row: Mapping[str, Any]) -> Dataset:
    mirrors = _list(row, "mirrors")
    values = {key: row[key] for key in PLAIN_KEYS if key in row}
    values |= {key: _list(row, key) for key in LIST_KEYS if key in row}
    return Dataset(
        name=name,
        summary=row.get("summary", ""),
        layout=row.get("layout", ""),
        licence=row.get("licence", ""),
        files=tuple(_remote_file(entry, mirrors) for entry in _list(row, "files")),
        **values,
    )


def _remote_file(entry: object, mirrors: tuple[Any, ...]) -> RemoteFile:
    if not isinstance(entry, Mapping):
        raise ValueError("a file must be a table: { name = …, bytes = …, sha256 = … }")
    name = entry.get("name", "")
    urls = _list(entry, "urls") or tuple(f"{str(mirror).rstrip('/')}/{name}" for mirror in mirrors)
    return RemoteFile(name, urls, entry.get("bytes"), entry.get("sha256"))


def _list(table: Mapping[str, Any], key: str) -> tuple[Any, ...]:
    value = table.get(key, [])
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list")
    return tuple(value)
