"""Pictures one after the other as an animation in one file, or side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from zoo.atomic import replacing
from zoo.errors import UsageError
from zoo.grids import grid
from zoo.pictures import Pixels

FRAME = 100  # milliseconds that a frame is shown …
LAST_FRAME = 2000  # … and the last one, before the animation begins again
QUALITY = 90  # of WebP, at most 100
MAX_SIDE = 16383  # pixels of a WebP picture


def write_webp(
    path: Path | BinaryIO,
    frames: Iterable[Pixels],
    milliseconds: int = FRAME,
    last: int = LAST_FRAME,
) -> None:
    """Write pictures (H, W, 1 or 3) of one size as an animation that begins again after its end.

    To a stream, or in one piece as a file. Each frame is shown for so many milliseconds, and the
    last one as long as `last` says.

    Raises:
        UsageError: they are larger than WebP allows.
    """
    images = [
        Image.fromarray(each[:, :, 0] if each.shape[2] == 1 else each).convert("RGB")
        for each in frames
    ]
    width, height = images[0].size
    if max(height, width) > MAX_SIDE:
        raise UsageError(
            f"{height}x{width} pixels are too many for an animation",
            cause=f"WebP has at most {MAX_SIDE:,} a side",
            hint="fewer or smaller pictures: -n, --size",
            code="too-many",
        )
    durations = [milliseconds] * (len(images) - 1) + [last]
    with replacing(path) if isinstance(path, Path) else nullcontext(path) as opened:
        images[0].save(
            opened,
            format="WEBP",
            save_all=True,
            append_images=images[1:],
            duration=durations,
            loop=0,
            quality=QUALITY,
        )


def there_and_back(frames: Sequence[Pixels]) -> list[Pixels]:
    """Return frames and, but for both ends, the same once more in reverse."""
    return [*frames, *frames[-2:0:-1]]


def strip(rounds: Sequence[Pixels], labels: Sequence[str] = ()) -> Pixels:
    """Lay rounds of pictures, each (N, H, W, C), side by side: one row a picture, (H', W', C)."""
    pages = np.stack(rounds, axis=1)
    return grid(pages.reshape(-1, *pages.shape[2:]), len(rounds), labels)
