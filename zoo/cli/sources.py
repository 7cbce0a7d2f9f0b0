"""The ``--data`` and ``--size`` of several verbs -> a decoded store."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zoo.cli.output import say
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.data.source import Source
    from zoo.data.store import OnBadImage, Store


def find(data: str) -> Source:
    """Find a data set; one of the catalogue is downloaded before the user's eyes, where needed."""
    from zoo.catalog.lookup import dataset_called
    from zoo.cli.downloading import fetch_aloud
    from zoo.data.source import find_source

    dataset = dataset_called(data) or dataset_called(data.rpartition(":")[0])
    if dataset:
        fetch_aloud(dataset)
    return find_source(data)


def decode(
    source: Source,
    *,
    size: tuple[int, int] | None,
    on_bad_image: OnBadImage = "auto",
    channels: int | None = None,
    two_domains: bool = False,
) -> Store:
    """Decode a data set, telling the user on stderr what takes time."""
    from zoo.data.store import prepare

    return prepare(
        source,
        size=size,
        channels=channels,
        two_domains=two_domains,
        on_bad_image=on_bad_image,
        report=say,
    )


def read_size(text: object) -> tuple[int, int] | None:
    """Read ``64`` or ``64x96`` (height x width), or the two numbers of a configuration file.

    Raises:
        UsageError: it is neither.
    """
    if text is None:
        return None
    if isinstance(text, list):
        text = "x".join(map(str, text))
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", str(text))
    height = int(match[1]) if match else 0
    width = int(match[2] or match[1]) if match else 0
    if not (8 <= height <= 4096 and 8 <= width <= 4096):
        raise UsageError(
            f"{str(text)[:40]!r} is not an image size",
            hint="--size 64, or --size 64x96 (8 to 4096)",
        )
    return height, width
