"""The data set inside the package: what it holds, how it was made, and that the wheel has it."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from zoo.catalog.lookup import find_dataset
from zoo.data.download import fetch

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "zoo" / "data" / "embedded" / "make_fashion_mnist_small.py"
NAMES = [
    f"{split}-{what}.gz"
    for split in ("train", "t10k")
    for what in ("images-idx3-ubyte", "labels-idx1-ubyte")
]


@pytest.fixture
def folder() -> Path:
    return fetch(find_dataset("fashion-mnist-small"))


@pytest.mark.parametrize(("split", "per_class"), [("train", 500), ("t10k", 100)])
def test_every_class_has_as_many_images(folder: Path, split: str, per_class: int) -> None:
    labels = gzip.decompress((folder / f"{split}-labels-idx1-ubyte.gz").read_bytes())
    images = gzip.decompress((folder / f"{split}-images-idx3-ubyte.gz").read_bytes())
    count = 10 * per_class
    assert labels[:8] == bytes([0, 0, 8, 1]) + count.to_bytes(4, "big")
    assert images[:8] == bytes([0, 0, 8, 3]) + count.to_bytes(4, "big")
    assert images[8:16] == (28).to_bytes(4, "big") * 2
    assert len(images) == 16 + count * 28 * 28
    assert np.bincount(np.frombuffer(labels, np.uint8, offset=8)).tolist() == [per_class] * 10


def test_it_is_small_and_says_whose_it_is(folder: Path) -> None:
    assert sum((folder / name).stat().st_size for name in NAMES) < 2_700_000
    assert "Zalando SE" in (folder / "LICENSE").read_text("utf-8")
    assert "Permission is hereby granted" in (folder / "LICENSE").read_text("utf-8")


def test_the_script_makes_it_anew_from_the_published_files(
    folder: Path, shared_data: Path, tmp_path: Path
) -> None:
    subprocess.run(
        [sys.executable, str(SCRIPT), str(shared_data / "fashion-mnist"), str(tmp_path)], check=True
    )
    for name in NAMES:
        made, kept = (tmp_path / name).read_bytes(), (folder / name).read_bytes()
        # The .gz bytes are those of the zlib at hand, so what they hold is compared, and the
        # header, which must not tell the time.
        assert made[:10] == kept[:10] == b"\x1f\x8b\x08" + bytes(5) + b"\x02\xff"
        assert gzip.decompress(made) == gzip.decompress(kept)


@pytest.mark.slow
def test_the_wheel_holds_the_data_and_the_catalogue(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("zoo", "registry.toml", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        copy(PROJECT / name, source / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    subprocess.run([*build, str(tmp_path), str(source)], check=True, capture_output=True)
    installed = tmp_path / "installed"
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(installed)
    assert not list(installed.rglob("make_*.py"))
    program = (
        "from pathlib import Path; import zoo; from zoo.catalog.lookup import find_dataset\n"
        "from zoo.data.download import fetch; find_dataset('horse2zebra')\n"
        "print(fetch(find_dataset('fashion-mnist-small')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    folder = Path(done.stdout.strip())
    assert folder.is_relative_to(installed)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*NAMES, "LICENSE", "README.md"]
    )
