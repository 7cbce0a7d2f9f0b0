"""The catalogue of known plugins, data sets and weights: ``registry.toml``, and a second file.

A registry is not trusted. When the zoo runs, the file is read leniently, so that an older
zoo can use a newer catalogue: unknown keys are ignored, and a row that cannot be used is reported
in `Registry.troubles` and affects no other.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args
from urllib.parse import unquote, urljoin, urlsplit

from zoo.catalog.card import check_name
from zoo.catalog.dataset import (
    Dataset,
    RemoteFile,
    Weights,
    cache_home,
    is_trusted_way,
    is_url,
    matches,
)
from zoo.errors import UsageError, ZooError

Tier = Literal["first-party", "reviewed", "community"]
TIERS: tuple[str, ...] = get_args(Tier)

VERSION = r"\d{1,9}(\.\d{1,9}){0,5}((a|b|rc)\d{1,9})?(\.post\d{1,9})?"  # PEP 440, normalised
BOUND = rf"(>=|<=|==|!=|~=|>|<){VERSION}"
WORD = r"[A-Za-z0-9._]+"  # of a wheel's name: project-version(-build)-python-abi-platform.whl
CORE = "zoo-core"  # the distribution of the command
SCHEMA = 1
MAX_FILE_BYTES = 2**20
MAX_DOTS = 60  # in one line; the time of tomllib is quadratic in the parts of a dotted key
PLAIN_KEYS = ("channels", "embedded")
LIST_KEYS = ("size", "classes", "domains", "pairs")
KINDS = {"dataset": "data set", "weights": "weights", "plugin": "plugin"}  # in words


@dataclass(frozen=True)
class Release:
    """One published version of a plugin."""

    version: str  # of the distribution, such as ``"0.1.0"``
    wheel: str  # the URL of its wheel: ``https:``, ``file:``, or ``http:`` on this machine
    sha256: str  # of the wheel, in lower-case hexadecimal
    # the versions of zoo-core it was made for, such as ``">=0.1,<0.2"``; empty for all
    requires_core: str = ""

    def __post_init__(self) -> None:
        if not matches(VERSION, self.version):
            raise ValueError(f"release {str(self.version)[:40]!r}: version must read like '0.1.0'")
        if not matches(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"release {self.version}: sha256 must be 64 digits of 0-9a-f")
        if not matches(rf"({BOUND}(,\s?{BOUND}){{0,9}})?", self.requires_core):
            raise ValueError(f"release {self.version}: requires-core must read like '>=0.1,<0.2'")
        if not is_trusted_way(self.wheel):
            raise ValueError(
                f"release {self.version}: wheel must be an https: or file: URL, or http: on this "
                "machine"
            )
        if not matches(rf"[A-Za-z0-9]{WORD}(-{WORD}){{4,5}}\.whl", self.file):
            raise ValueError(f"release {self.version}: wheel must be a wheel, not {self.file!r}")

    @property
    def file(self) -> str:
        """The file name of the wheel."""
        return unquote(urlsplit(self.wheel).path.rpartition("/")[2])[:100]


@dataclass(frozen=True)
class KnownPlugin:
    """One row ``[plugin.DISTRIBUTION]`` of a registry."""

    distribution: str  # what is installed, as it is called in its metadata
    models: tuple[str, ...]  # the names of the models it brings
    summary: str  # one line, without a full stop
    licence: str  # under which it is published
    # ``first-party`` belongs to zoo, ``reviewed`` was read by the registry's keepers, ``community``
    # is only listed
    tier: Tier
    repository: str = ""  # where its source lies; empty where it has no address
    releases: tuple[Release, ...] = ()  # what can be installed
    listed_in: str = ""  # file or URL of the registry

    def __post_init__(self) -> None:
        check_name(self.distribution, "plugin")
        for model in self.models:
            check_name(model, f"plugin {self.distribution!r}: model")
        self._require(len(self.models) == len(set(self.models)), "models: no name twice")
        for field in ("summary", "licence"):
            text = getattr(self, field)
            self._require(
                matches(r".{1,200}", text) and text.isprintable(),
                f"{field}: one line of what can be shown",
            )
        self._require(self.tier in TIERS, f"tier: one of {', '.join(TIERS)}")
        self._require(
            self.repository == "" or matches(r"https://[!-~]{1,300}", self.repository),
            "repository: an https URL, or none",
        )
        for release in self.releases:
            project, version = release.file.split("-")[:2]
            self._require(
                (normalised(project), version) == (self.distribution, release.version),
                f"a wheel of {self.distribution} {release.version}, not {release.file!r}",
            )
        versions = [release.version for release in self.releases]
        self._require(len(versions) == len(set(versions)), "releases: no version twice")

    def _require(self, condition: bool, what: str) -> None:
        if not condition:
            raise ValueError(f"plugin {self.distribution!r} needs {what}")

    @property
    def how_to_install(self) -> str:
        """What to type to install it."""
        if self.releases:
            return f"zoo plugins install {self.distribution}"
        if self.tier == "first-party":
            return in_a_clone(f"pip install ./plugins/{self.distribution}")
        return f"it has no release yet; see {self.repository or self.listed_in}"


def in_a_clone(command: str) -> str:
    """Return a command that works in a clone of zoo's repository, with these words before it.

    No package index has zoo's own distributions yet; another's may take their names there.
    """
    return f"in a clone of zoo's repository: {command}"


def normalised(name: str) -> str:
    """Return the name of a distribution as installers compare it, such as ``my-plugin``."""
    return re.sub(r"[-_.]+", "-", name).lower()


Row = TypeVar("Row", Dataset, Weights, KnownPlugin)


@dataclass(frozen=True)
class Registry:
    """What the catalogue files hold."""

    datasets: tuple[Dataset, ...]  # the rows that can be used
    weights: tuple[Weights, ...] = ()  # published weights
    plugins: tuple[KnownPlugin, ...] = ()  # plugins that are known, installed or not
    # one line for each row that cannot be used, with the file it stands in
    troubles: tuple[str, ...] = ()


def load_registry(path: Path, address: str) -> Registry:
    """Read a catalogue file; `address` is its path or URL, to which wheels may be relative.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is too large, too deep, no TOML, or of another schema.
    """
    table = _parse(path)
    if table.get("schema") != SCHEMA:
        raise ValueError(f"schema = {SCHEMA} was expected, this file has {table.get('schema')!r}")
    troubles: list[str] = []
    return Registry(
        _read_rows(table, "dataset", _dataset, address, troubles),
        _read_rows(table, "weights", _weights, address, troubles),
        _read_rows(table, "plugin", _plugin, address, troubles),
        tuple(troubles),
    )


def _read_rows(
    table: Mapping[str, Any],
    section: str,
    read: Callable[[str, Mapping[str, Any], str], Row],
    address: str,
    troubles: list[str],
) -> tuple[Row, ...]:
    """Read the rows of a section; those that cannot be used go to `troubles`."""
    rows = table.get(section, {})
    if not isinstance(rows, dict):
        raise ValueError(f"rows must be tables called [{section}.NAME]")
    found = []
    for name, row in rows.items():
        try:
            if not isinstance(row, Mapping):
                raise ValueError("must be a table")
            found.append(read(name, row, address))
        except ValueError as problem:
            kind = KINDS[section]
            where = "" if str(problem).startswith(kind) else f"{kind} {name[:60]!r}: "
            troubles.append(f"{address}: {where}{problem}")
    return tuple(found)


def _parse(path: Path) -> dict[str, Any]:
    """Read TOML that is not trusted, within limits of size and depth."""
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


def _weights(name: str, row: Mapping[str, Any], _: str) -> Weights:
    return Weights(
        name=name,
        model=row.get("model", name),
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


def _dataset(name: str, row: Mapping[str, Any], _: str) -> Dataset:
    mirrors = _list(row, "mirrors")
    values = {key: row[key] for key in PLAIN_KEYS if key in row}
    values |= {key: _list(row, key) for key in LIST_KEYS if key in row}
    if isinstance(where := values.get("embedded"), str):
        check_name(where, f"data set {name[:60]!r}: embedded")
        values["embedded"] = Path(where)
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


def read_registry(second: str | None = None) -> Registry:
    """Return the catalogue that comes with the zoo, and a second one of a class or a company.

    The second one's data sets and weights hold before the zoo's own of the same name. Its plugins
    are added: it cannot take the name of one that the zoo lists, or of a first-party model.

    Args:
        second: path or URL of the second one; None for the one that ``ZOO_REGISTRY`` names. Of a
            URL the copy is read that `zoo plugins search` keeps.

    Raises:
        UsageError: the second one cannot be read, or takes a name that is not its own.
        ZooError: the catalogue of the installation cannot be read.
    """
    own = _own()
    named = os.environ.get("ZOO_REGISTRY", "") if second is None else second
    if not named:
        return own
    added = _second(named, "--registry" if second else "ZOO_REGISTRY")
    rows = {row.name: row for row in (*own.datasets, *added.datasets)}
    weights = {row.name: row for row in (*own.weights, *added.weights)}
    return Registry(
        tuple(rows.values()),
        tuple(weights.values()),
        (*own.plugins, *added.plugins),
        (*own.troubles, *added.troubles),
    )


def reserved_names() -> Mapping[str, str]:
    """Return the names that belong to the zoo, each with the distribution that may use it.

    These are the models of first-party plugins, installed or not, and the data sets of the
    catalogue that ships. They do not depend on a second registry.
    """
    own = _own()
    names = {row.name: CORE for row in own.datasets}
    for plugin in own.plugins:
        if plugin.tier == "first-party":
            names |= dict.fromkeys(plugin.models, plugin.distribution)
    return names


def install_command(distribution: str, *, extra: str = "", upgrade: bool = False) -> str:
    """Return what to type to install a distribution, or the newest version (`upgrade`) of it.

    Raises:
        UsageError: the second registry cannot be read.
    """
    if distribution == CORE:
        what = f"'.[{extra}]'" if extra else "."
        return in_a_clone(f"{'git pull && ' * upgrade}pip install {what}")
    for plugin in read_registry().plugins:
        if plugin.distribution == distribution:
            return plugin.how_to_install
    return f"pip install {'--upgrade ' * upgrade}{distribution}"


def load_second(path: Path, named: str) -> Registry:
    """Read a registry of a class or a company, which must not pass itself off as the zoo's.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no registry.
        UsageError: it takes names that are the zoo's.
    """
    added = load_registry(path, named)
    for plugin in added.plugins:
        _refuse_foreign_names(plugin, named)
    return added


@functools.cache
def _own() -> Registry:
    path = Path(__file__).with_name("registry.toml")  # inside an installed package
    path = path if path.exists() else Path(__file__).parents[2] / "registry.toml"
    try:
        return load_registry(path, str(path))
    except (OSError, ValueError) as problem:
        raise ZooError(
            f"the catalogue {path} cannot be read: {problem}",
            hint=in_a_clone("pip install --force-reinstall ."),
        ) from None


def copy_of(url: str) -> Path:
    """Return where the copy of a registry of the network is kept.

    Raises:
        UsageError: the URL is one that others could change on the way.
    """
    import hashlib

    if not is_trusted_way(url):
        raise UsageError(
            f"registry {url[:200]!r} is not safe from changes",
            hint="an https:// URL",
            code="bad-registry",
        )
    return cache_home() / "registries" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.toml"


def _second(named: str, named_by: str) -> Registry:
    path = copy_of(named) if is_url(named) else Path(named)
    try:
        path = path.expanduser()
        return load_second(path, named if is_url(named) else str(path))
    except (OSError, ValueError, RuntimeError) as problem:  # RuntimeError: ~user is unknown
        if is_url(named) and not path.exists():
            raise UsageError(
                f"there is no copy of the registry {named} yet",
                hint="zoo plugins search",
                code="bad-registry",
            ) from None
        raise UsageError(
            f"{named_by} names a file that cannot be read: {named}",
            cause=str(problem),
            hint=f"correct the file, or leave {named_by} out",
            code="bad-registry",
        ) from None


def _refuse_foreign_names(plugin: KnownPlugin, named: str) -> None:
    """Refuse a row of a second registry that passes itself off as the zoo's."""
    taken = {CORE, *(row.distribution for row in _own().plugins)}
    reserved = reserved_names()
    claims = [f"the plugin {plugin.distribution!r}"] if plugin.distribution in taken else []
    claims += [f"the name {model!r}" for model in plugin.models if model in reserved]
    claims += ["the tier 'first-party'"] if plugin.tier == "first-party" else []
    if claims:
        raise UsageError(
            f"registry {named}: plugin {plugin.distribution!r} claims {claims[0]}, which is zoo's",
            hint="another name in that row; a second registry adds plugins and replaces none",
            code="bad-registry",
        )
