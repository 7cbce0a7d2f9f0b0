"""A file like registry.toml: parsed as a stranger's, read row by row, checked for its editors.

When the zoo runs, the file is read leniently, so that an older zoo can use a newer catalogue:
unknown keys are passed over, and a row that cannot be used is told in `Registry.troubles` and
spoils no other. `check_registry` is the strict reading for those who edit the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from zoo.catalog.dataset import Dataset, RemoteFile, Weights
from zoo.catalog.known import KnownPlugin, Release, is_url

Row = TypeVar("Row", Dataset, Weights, KnownPlugin)

SCHEMA = 1
MAX_FILE_BYTES = 2**20
MAX_DOTS = 60  # in one line; the time of tomllib is quadratic in the parts of a dotted key

PLAIN_KEYS = ("channels", "embedded")
LIST_KEYS = ("size", "classes", "domains", "pairs")
ROW_KEYS = {
    "dataset": {"summary", "layout", "licence", "mirrors", "files", *PLAIN_KEYS, *LIST_KEYS},
    "weights": {"summary", "licence", "file"},
    "plugin": {"summary", "licence", "tier", "models", "repository", "releases"},
}
FILE_KEYS = {"name", "bytes", "sha256", "urls"}
RELEASE_KEYS = {"version", "requires-core", "wheel", "sha256"}
KINDS = {"dataset": "data set", "weights": "weights of", "plugin": "plugin"}  # in words


@dataclass(frozen=True)
class Registry:
    """What the catalogue files hold.

    Args:
        datasets: the rows that can be used.
        weights: published weights, at most one row a model.
        plugins: plugins that are known, installed or not.
        troubles: one line for each row that cannot be used, with the file it stands in.
    """

    datasets: tuple[Dataset, ...]
    weights: tuple[Weights, ...] = ()
    plugins: tuple[KnownPlugin, ...] = ()
    troubles: tuple[str, ...] = ()


def load_registry(path: Path, address: str) -> Registry:
    """Read a catalogue file.

    Args:
        path: where the file lies.
        address: where it comes from, a path or a URL, to which wheels may be relative.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is too large, too deep, no TOML, or of another schema.
    """
    table = _parse(path)
    if table.get("schema") != SCHEMA:
        raise ValueError(f"schema = {SCHEMA} was expected, this file has {table.get('schema')!r}")
    troubles: list[str] = []

    def plugin(name: str, row: Mapping[str, Any]) -> KnownPlugin:
        return _plugin(name, row, address)

    datasets = _read_rows(table, "dataset", _dataset, address, troubles)
    weights = _read_rows(table, "weights", _weights, address, troubles)
    plugins = _read_rows(table, "plugin", plugin, address, troubles)
    return Registry(tuple(datasets), tuple(weights), tuple(plugins), tuple(troubles))


def check_registry(path: Path) -> list[str]:
    """Return everything that is wrong with a catalogue file, one line each; empty when all is well.

    Unlike `load_registry`, this also minds keys that nobody knows.
    """
    try:
        table = _parse(path)
        registry = load_registry(path, str(path))
    except (OSError, ValueError) as problem:
        return [str(problem)]
    unknown = [f"unknown key {key!r}" for key in table.keys() - {"schema", *ROW_KEYS}]
    for section, keys in ROW_KEYS.items():
        for name, row in table.get(section, {}).items():
            if isinstance(row, dict):
                where = f"{KINDS[section]} {name!r}"
                unknown += [f"{where}: unknown key {key!r}" for key in row.keys() - keys]
                unknown += [f"{where}: unknown key {each}" for each in _unknown_inside(row)]
    return [*registry.troubles, *sorted(unknown)]


def _unknown_inside(row: Mapping[str, Any]) -> set[str]:
    """Return the keys that nobody knows of a row's files and releases."""
    found = set()
    for section, keys, kind in (
        ("file", FILE_KEYS, "file"),
        ("files", FILE_KEYS, "file"),
        ("releases", RELEASE_KEYS, "release"),
    ):
        value = row.get(section)
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, dict):
                found |= {f"{key!r} of a {kind}" for key in entry.keys() - keys}
    return found


def _read_rows(
    table: Mapping[str, Any],
    section: str,
    read: Callable[[str, Mapping[str, Any]], Row],
    address: str,
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
            troubles.append(f"{address}: {where}{problem}")
    return found


def _parse(path: Path) -> dict[str, Any]:
    """Read TOML that may come from a stranger."""
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


def _plugin(name: str, row: Mapping[str, Any], address: str) -> KnownPlugin:
    return KnownPlugin(
        distribution=name,
        models=_list(row, "models"),
        summary=row.get("summary", ""),
        licence=row.get("licence", ""),
        tier=row.get("tier", "community"),
        repository=row.get("repository", ""),
        releases=tuple(_release(entry, address) for entry in _list(row, "releases")),
        listed_in=address,
    )


def _release(entry: object, address: str) -> Release:
    if not isinstance(entry, Mapping):
        raise ValueError("a release must be a table: { version = …, wheel = …, sha256 = … }")
    is_remote = is_url(address)
    base = address if is_remote else Path(address).absolute().as_uri()
    wheel = entry.get("wheel")
    try:
        wheel = urljoin(base, wheel) if isinstance(wheel, str) else ""
        wheel = urlsplit(wheel).geturl()  # FILE: and file: are one
    except ValueError as problem:  # brackets without an address
        raise ValueError(f"wheel: {problem}") from None
    if is_remote and wheel.startswith("file:"):
        raise ValueError("a registry of the network must not name files of this machine")
    return Release(
        version=entry.get("version", ""),
        wheel=wheel,
        sha256=entry.get("sha256", ""),
        requires_core=entry.get("requires-core", ""),
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
