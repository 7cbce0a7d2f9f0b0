"""What can be downloaded, data sets and published weights, and the cache that it goes to."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args
from urllib.parse import urlsplit

from zoo.catalog.card import check_full_name, check_name
from zoo.errors import UsageError

Layout = Literal[
    "idx",
    "folder",
    "class-folders",
    "unpaired-folders",
    "paired-folders",
    "paired-side-by-side",
    "cifar-batches",
    "npz",
    "dataset-json",
    "metadata",
    "text",
    "table",
]
LAYOUTS: tuple[str, ...] = get_args(Layout)
SPLITS = ("train", "validation", "test")

MAX_SIDE = 2**14  # pixels
MAX_BYTES = 2**50
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class RemoteFile:
    """One file to download.

    Args:
        name: file name in the cache; no folders.
        urls: where it can be had, in the order of preference; none for published weights that are
            in the package zoo-weights alone.
        bytes: its size, or None where it is not published.
        sha256: its hash in lower-case hexadecimal, or None where it is not published.
    """

    name: str
    urls: tuple[str, ...]
    bytes: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if not matches(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise ValueError(f"file name {str(self.name)[:60]!r} is not a plain name")
        if not all(matches(r"https?://\S+", url) for url in self.urls):
            raise ValueError(f"file {self.name!r} needs http(s) URLs")
        if self.bytes is not None and not _is_count(self.bytes):
            raise ValueError(f"file {self.name!r}: bytes must be a whole number above 0")
        if self.sha256 is not None and not matches(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"file {self.name!r}: sha256 must be 64 digits of 0-9a-f")


@dataclass(frozen=True)
class Download:
    """Files to download; the downloader reads the same fields of a data set."""

    title: str  # what errors call it
    folder: str  # where its files lie in the cache, below the cache's home
    licence: str
    files: tuple[RemoteFile, ...]
    embedded: ClassVar[bool] = False

    @property
    def bytes(self) -> int | None:
        """Size of the whole download, or None where a part of it is unknown."""
        return _total_bytes(self.files)


@dataclass(frozen=True)
class Weights:
    """Published weights of one model, which may have several."""

    name: str  # what users type; that of the model is of its default weights
    model: str  # name of the model
    summary: str  # one line on what they were trained on and how good they are
    licence: str  # under which they are published
    file: RemoteFile  # a weight file of the zoo, whose sha256 is known

    def __post_init__(self) -> None:
        check_name(self.name, "weights")
        check_name(self.model, f"weights {self.name!r}: model")
        for field in ("summary", "licence"):
            if not matches(r"[^\r\n]{1,200}", getattr(self, field)):
                raise ValueError(f"weights {self.name!r} need {field}: one line")
        if self.file.sha256 is None or not self.file.name.endswith(".safetensors"):
            raise ValueError(f"weights {self.name!r} need a .safetensors file with its sha256")

    @property
    def download(self) -> Download:
        """What to download."""
        title = f"weights {self.name!r}"
        return Download(title, f"weights/{self.name}", self.licence, (self.file,))


@dataclass(frozen=True)
class Dataset:
    """One row of `zoo data list`.

    Args:
        name: what users type after ``--data``; where it also names another one, the catalogue puts
            the distribution before it: ``distribution:name``.
        summary: one line, without a full stop.
        layout: how the files are laid out.
        licence: the licence as its owners give it, or a word that there is none.
        size: image height and width in pixels to decode to, or None for the files' own.
        kind: of its items, such as ``"audio"``; what the catalogue shows.
        channels: 1 for grey, 3 for RGB.
        classes: names of the classes, by label number.
        domains: names of the two sides of a translation.
        pairs: of unpaired folders, the splits (``train``, ``validation``, ``test``) whose pictures
            of one name, without its suffix, show one thing on both sides.
        files: what to download; empty for embedded data.
        embedded: what holds the data, where nothing is downloaded: of a plugin, a folder of its
            package, such as ``Path(__file__).parent / "tones"``; True for zoo-core's own of that
            name, a relative path for zoo-core's own of another name.
    """

    name: str
    summary: str
    layout: Layout
    licence: str
    size: tuple[int, int] | None = None
    channels: int = 3
    kind: str = "image"
    classes: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    files: tuple[RemoteFile, ...] = ()
    embedded: bool | Path = False

    def __post_init__(self) -> None:
        check_full_name(self.name, "data set")
        for field in ("summary", "licence"):
            self._require(matches(r"[^\r\n]{1,200}", getattr(self, field)), f"{field}: one line")
        self._require(self.layout in LAYOUTS, f"layout: one of {', '.join(LAYOUTS)}")
        self._require(self.size is None or _is_size(self.size), "size: [height, width] in pixels")
        self._require(_is_count(self.channels) and self.channels in {1, 3}, "channels: 1 or 3")
        for field in ("classes", "domains"):
            self._require(_are_words(getattr(self, field)), f"{field}: a list of different words")
        self._require(len(self.domains) in {0, 2}, "domains: two names")
        self._require(
            _are_words(self.pairs) and set(self.pairs) <= set(SPLITS),
            f"pairs: a list of {', '.join(SPLITS)}",
        )
        self._require(
            not self.pairs or self.layout == "unpaired-folders",
            "layout unpaired-folders to name pairs",
        )
        names = [file.name.lower() for file in self.files]
        self._require(len(names) == len(set(names)), "files: no name twice")
        self._require(all(file.urls for file in self.files), "http(s) URLs of every file")
        self._require(
            isinstance(self.embedded, bool | Path) and bool(self.files) != bool(self.embedded),
            "files, unless it is embedded",
        )

    def _require(self, condition: bool, what: str) -> None:
        if not condition:
            raise ValueError(f"data set {self.name!r} needs {what}")

    @property
    def title(self) -> str:
        """What errors call it."""
        return f"data set {self.name!r}"

    @property
    def folder(self) -> str:
        """Where its files lie in the cache."""
        return f"downloads/{self.name.replace(':', '--')}"

    @property
    def bytes(self) -> int | None:
        """Size of the whole download, or None where a part of it is unknown."""
        return _total_bytes(self.files)


Downloadable = Dataset | Download


def cache_home() -> Path:
    """Return the cache's folder; it need not exist yet.

    ``ZOO_HOME`` names it; otherwise it is the place that the platform gives to caches.

    Raises:
        UsageError: ``ZOO_HOME`` names the home of a user that there is not.
    """
    named = os.environ.get("ZOO_HOME", "")
    if not named:
        import platformdirs  # here, because most commands only look at ZOO_HOME or at nothing

        return platformdirs.user_cache_path("zoo", appauthor=False)
    try:
        return Path(named).expanduser().absolute()
    except RuntimeError as problem:
        raise UsageError(
            f"ZOO_HOME={named} cannot be used: {problem}", code="bad-environment"
        ) from None


def is_url(address: str) -> bool:
    """Whether a registry is fetched, and not a file."""
    return address.lower().startswith(("http://", "https://"))


def is_trusted_way(url: object) -> bool:
    """Whether a file cannot be changed on its way to us: https, or a file of this machine."""
    if not matches(r"[!-~]{1,500}", url):
        return False
    try:
        parts = urlsplit(str(url))
        host = parts.hostname or ""
    except ValueError:  # brackets without an address
        return False
    if parts.scheme == "file":
        return host in {"", "localhost"}
    return (parts.scheme == "https" and host != "") or (parts.scheme == "http" and host in LOOPBACK)


def matches(pattern: str, text: object) -> bool:
    """Whether a value is text that matches a pattern from beginning to end."""
    return isinstance(text, str) and re.fullmatch(pattern, text) is not None


def _total_bytes(files: tuple[RemoteFile, ...]) -> int | None:
    sizes = [file.bytes for file in files]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_BYTES


def _is_size(size: object) -> bool:
    return (
        isinstance(size, tuple)
        and len(size) == 2
        and all(_is_count(side) and side <= MAX_SIDE for side in size)
    )


def _are_words(words: object) -> bool:
    return (
        isinstance(words, tuple)
        and all(matches(r"[^\r\n]{1,100}", word) for word in words)
        and len(words) == len(set(words))
    )
