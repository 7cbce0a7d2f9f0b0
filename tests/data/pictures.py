"""Small real data sets for tests, written as users have them."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image


def photo(number: int, height: int = 12, width: int = 12, mode: str = "RGB") -> Image.Image:
    """Return a picture that differs from the others, smooth enough for JPEG."""
    noise = np.random.default_rng(number).integers(0, 256, (3, 3, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR).convert(mode)


def save(path: Path, picture: Image.Image) -> Path:
    """Write a picture, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def fill(folder: Path, count: int, *, first: int = 0, suffix: str = ".png", **options: int) -> None:
    """Write `count` pictures into a folder."""
    for number in range(first, first + count):
        save(folder / f"{number}{suffix}", photo(number, **options))


def idx(array: np.ndarray) -> bytes:
    """Return an array of bytes as an idx file."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def write_mnist(folder: Path, *, train: int = 20, test: int = 5, packed: bool = True) -> np.ndarray:
    """Write the four files of a data set in the layout of MNIST; return the training pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    pictures = {}
    for split, count in (("train", train), ("t10k", test)):
        pictures[split] = random.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", pictures[split]), ("labels-idx1", labels)):
            content = idx(array)
            name = f"{split}-{kind}-ubyte" + (".gz" if packed else "")
            (folder / name).write_bytes(gzip.compress(content, 1) if packed else content)
    return pictures["train"]
