"""Plugins that a registry lists, installed or not: their rows and releases."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import unquote, urlsplit

from zoo.catalog.card import check_name

Tier = Literal["first-party", "reviewed", "community"]
TIERS: tuple[str, ...] = get_args(Tier)

VERSION = r"\d{1,9}(\.\d{1,9}){0,5}((a|b|rc)\d{1,9})?(\.post\d{1,9})?"  # PEP 440, normalised
BOUND = rf"(>=|<=|==|!=|~=|>|<){VERSION}"
WORD = r"[A-Za-z0-9._]+"  # of a wheel's name: project-version(-build)-python-abi-platform.whl
CORE = "zoo-core"  # the distribution of the command
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Release:
    """One published version of a plugin.

    Args:
        version: of the distribution, such as ``"0.1.0"``.
        wheel: the URL of its wheel: ``https:``, ``file:``, or ``http:`` on this machine.
        sha256: of the wheel, in lower-case hexadecimal.
        requires_core: the versions of zoo-core it was made for, such as ``">=0.1,<0.2"``; empty
            for all.
    """

    version: str
    wheel: str
    sha256: str
    requires_core: str = ""

    def __post_init__(self) -> None:
        if not _matches(VERSION, self.version):
            raise ValueError(f"release {str(self.version)[:40]!r}: version must read like '0.1.0'")
        if not _matches(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"release {self.version}: sha256 must be 64 digits of 0-9a-f")
        if not _matches(rf"({BOUND}(,\s?{BOUND}){{0,9}})?", self.requires_core):
            raise ValueError(f"release {self.version}: requires-core must read like '>=0.1,<0.2'")
        if not is_trusted_way(self.wheel):
            raise ValueError(
                f"release {self.version}: wheel must be an https: or file: URL, or http: on this "
                "machine"
            )
        if not _matches(rf"[A-Za-z0-9]{WORD}(-{WORD}){{4,5}}\.whl", self.file):
            raise ValueError(f"release {self.version}: wheel must be a wheel, not {self.file!r}")

    @property
    def file(self) -> str:
        """The file name of the wheel."""
        return unquote(urlsplit(self.wheel).path.rpartition("/")[2])[:100]


@dataclass(frozen=True)
class KnownPlugin:
    """One row ``[plugin.DISTRIBUTION]`` of a registry.

    Args:
        distribution: what is installed, as it is called in its metadata.
        models: the names of the models it brings.
        summary: one line, without a full stop.
        licence: under which it is published.
        tier: ``first-party`` belongs to zoo, ``reviewed`` was read by the registry's keepers,
            ``community`` is only listed.
        repository: where its source lies; empty where it has no address.
        releases: what can be installed.
        listed_in: file or URL of the registry.
    """

    distribution: str
    models: tuple[str, ...]
    summary: str
    licence: str
    tier: Tier
    repository: str = ""
    releases: tuple[Release, ...] = ()
    listed_in: str = ""

    def __post_init__(self) -> None:
        check_name(self.distribution, "plugin")
        for model in self.models:
            check_name(model, f"plugin {self.distribution!r}: model")
        self._require(len(self.models) == len(set(self.models)), "models: no name twice")
        for field in ("summary", "licence"):
            text = getattr(self, field)
            self._require(
                _matches(r".{1,200}", text) and text.isprintable(),
                f"{field}: one line of what can be shown",
            )
        self._require(self.tier in TIERS, f"tier: one of {', '.join(TIERS)}")
        self._require(
            self.repository == "" or _matches(r"https://[!-~]{1,300}", self.repository),
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


def is_url(address: str) -> bool:
    """Whether a registry is fetched, and not a file."""
    return address.lower().startswith(("http://", "https://"))


def is_trusted_way(url: object) -> bool:
    """Whether nobody between us and the file can change it: https, or a file of this machine."""
    if not _matches(r"[!-~]{1,500}", url):
        return False
    try:
        parts = urlsplit(str(url))
        host = parts.hostname or ""
    except ValueError:  # brackets without an address
        return False
    if parts.scheme == "file":
        return host in {"", "localhost"}
    return (parts.scheme == "https" and host != "") or (parts.scheme == "http" and host in LOOPBACK)


def _matches(pattern: str, text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(pattern, text) is not None
