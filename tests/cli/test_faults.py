"""Faults of plugins, data and the system end in a few lines, with the exit code of their kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.installing import CARD, install
from tests.process import error_of, zoo_json

FAULTY = """
from zoo_autoencoders.vae import VAE


class Missing(VAE):
    def training_step(self, batch):
        yield from super().training_step({"image": batch["picture"]})
"""


def test_a_plugin_that_fails_in_training_is_named_with_file_and_line(tmp_path: Path) -> None:
    card = CARD.format(model="faulty", module="zoo_faulty")
    site = install(tmp_path, {"zoo-faulty": {"__init__.py": card, "model.py": FAULTY}})
    said = error_of("train", "faulty", "--steps", "1", code=4, **site)
    assert "KeyError" in said
    assert "model.py, line 7" in said


def test_a_stray_picture_does_not_change_the_size_of_all(tmp_path: Path) -> None:
    for number in range(40):
        Image.fromarray(np.full((32, 32), number, np.uint8)).save(tmp_path / f"{number}.png")
    Image.new("L", (80, 100)).save(tmp_path / "stray.png")
    spec = zoo_json("data", "check", str(tmp_path))["spec"]
    assert spec["ports"][0]["shape"] == ["batch", 1, 32, 32]


@pytest.mark.parametrize("verb", ["sample", "export"])
def test_a_place_that_cannot_be_written_is_said_without_temporary_names(
    in_trained: Path, verb: str
) -> None:
    Path("a-file").write_text("x")
    words = ["-o", "a-file/x.png"] if verb == "sample" else ["--onnx", "-o", "a-file/x"]
    said = error_of(verb, "first", *words, code=1)
    assert "a-file" in said
    assert ".part" not in said
    assert "Errno" not in said
