"""Make `fashion-mnist-small`, the data set inside the package, from the published Fashion-MNIST.

Of each class it takes the first 500 training and the first 100 test images, in the order of the
published files, and leaves out the rest. Run it with the folder of the four published files::

    python tools/make_fashion_mnist_small.py FOLDER [TARGET]

The same files give the same images everywhere, and the same .gz bytes with the same zlib.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

PER_CLASS = {"train": 500, "t10k": 100}


def main(source: Path, target: Path) -> None:
    """Read the published files in `source` and write the four small ones into `target`."""
    for split, per_class in PER_CLASS.items():
        labels = read_idx(source / f"{split}-labels-idx1-ubyte.gz")
        images = read_idx(source / f"{split}-images-idx3-ubyte.gz")
        first = [np.flatnonzero(labels == label)[:per_class] for label in range(10)]
        chosen = np.sort(np.concatenate(first))
        write_idx(target / f"{split}-labels-idx1-ubyte.gz", labels[chosen])
        write_idx(target / f"{split}-images-idx3-ubyte.gz", images[chosen])


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Return the array of an idx file: two zero bytes, type 8 (uint8), rank, sizes, numbers."""
    content = gzip.decompress(path.read_bytes())
    rank = content[3]
    shape = np.frombuffer(content, ">u4", count=rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def write_idx(path: Path, array: npt.NDArray[np.uint8]) -> None:
    """Write an idx file as small as zlib makes it, without the time of day."""
    header = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">u4").tobytes()
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(header + array.tobytes())


if __name__ == "__main__":
    here = Path(__file__).parents[1] / "zoo/data/embedded/fashion-mnist-small"
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else here)
