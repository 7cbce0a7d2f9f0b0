"""What `zoo eval` measures of models that draw and models that translate."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.evaluation.toys import STRIPES, stripes
from tests.process import error_of, zoo


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with small labelled and unlabelled pictures, and runs of three models."""
    place = tmp_path_factory.mktemp("place")
    images = stripes(90, 1)
    for number, (image, label) in enumerate(zip(images["image"], images["label"], strict=True)):
        for name in (f"stripes/{STRIPES.classes[label]}", "plain"):
            (place / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[:, :, 0]).save(place / name / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("ZOO_HOME", str(place / "home"))
        few = ["--data", "stripes", "--size", "8", "--steps", "1", "--batch-size", "8"]
        zoo("train", "dcgan", *few, "--set", "features=8")
        stripes_8 = ["--data", "stripes", "--size", "8", "--batch-size", "16", "--steps", "60"]
        zoo("train", "classifier", *stripes_8, "--name", "stripes-classifier")
        small = ["--set", "features=1", "--set", "blocks=1", "--set", "patch_levels=1"]
        zoo("train", "cyclegan", "--data", "emoji", "--size", "16", "--steps", "1", *small)
    return place


@pytest.fixture(autouse=True)
def _there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("ZOO_HOME", str(place / "home"))


def test_without_a_classifier_of_the_data_the_next_command_is_one_that_trains_it(
    place: Path,
) -> None:
    said = error_of("eval", "dcgan", code=3, error="no-classifier")
    data = (place / "stripes").resolve()
    assert f"zoo train classifier --data {data}" in said
    assert f"zoo eval dcgan --data {data} --extractor RUN" in said
    said = error_of("eval", "dcgan", "--extractor", "dcgan", code=2, error="does-not-apply")
    assert "dcgan" in said
    said = error_of("eval", "dcgan", "--extractor", "classifer", code=3, error="target-not-found")
    assert "'classifier'" in said


def test_samples_of_a_gan_are_classified_by_the_model_that_is_named() -> None:
    first = zoo("eval", "dcgan", "--extractor", "stripes-classifier")
    assert "classified by classifier, trained on stripes" in first.stderr
    assert "1,000 samples of dcgan, classified by an extractor that is right on" in first.stdout
    assert "4 validation images of stripes" in first.stdout
    for word in (
        *STRIPES.classes,
        "all samples",
        "validation images",
        "of 3",
        "90%",
        "6.7%",
        "25%",
    ):
        assert word in first.stdout
    second = zoo("eval", "dcgan", "--extractor", "stripes-classifier", "--samples", "40", "--json")
    answer = json.loads(second.stdout)
    assert answer["metrics"] == {}
    (protocol, *_) = (each["protocol"] for each in answer["measurements"])
    assert (protocol["extractor"], protocol["extractor_data"]) == ("classifier", "stripes")
    (weights,) = Path("runs/stripes-classifier/checkpoints").glob("*/model.safetensors")
    assert protocol["extractor_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert answer["pairs"] == []
    classes = answer["classes"]
    assert classes["names"] == sorted(STRIPES.classes)
    assert classes["samples"]["images"] == 40
    assert sum(classes["samples"]["classified"]) == pytest.approx(1)
    assert classes["real"]["right_of_all"] is not None
    assert classes["real"]["diversity"] == [None] * 3, "four images are too few"


def test_a_class_that_is_one_picture_is_told(place: Path) -> None:
    """A generator whose last layer ignores its input draws one picture."""
    (weights,) = place.glob("runs/dcgan-1/checkpoints/*/model.safetensors")
    tensors, metadata = load_file(weights), safe_open(weights, "pt").metadata()
    last = max(
        name for name in tensors if name.startswith("generator.") and name.endswith("weight")
    )
    tensors[last].zero_()
    save_file(tensors, place / "collapsed.safetensors", metadata)
    done = zoo("eval", "collapsed.safetensors", "--data", "stripes", "--extractor",
               "stripes-classifier")  # fmt: skip
    (row,) = re.findall(r"^ *\w+ +100\.0% .*$", done.stdout, re.M)
    assert re.search(r" 0\.0% +no *$", row), row
    assert re.search(r"^ *all samples .* 0\.0% +0 of 3 *$", done.stdout, re.M), done.stdout


def test_a_gan_without_labels_can_only_be_looked_at() -> None:
    said = error_of("eval", "dcgan", "--data", "plain", code=2, error="does-not-apply")
    assert all(name in said for name in ("dcgan", "plain", "labels")), said


def test_translations_are_compared_with_the_true_partners() -> None:
    done = zoo("eval", "cyclegan")
    assert "Warning" not in done.stderr
    text = done.stdout
    assert re.search(r"^round_trip_twemoji +0\.\d+$", text, re.M), "its own metrics stand first"
    count = int(re.search(r"^([\d,]+) pairs of emoji, test split$", text, re.M)[1])
    assert count > 100
    ways = re.findall(
        r"^ *(\w+) +(\w+) +(0\.\d+) +(0\.\d+) +(\d\.\d+) +[\d.]+% +[\d.]+%$", text, re.M
    )
    there, back = ways
    assert there[:2] == ("twemoji", "noto")
    assert back[:2] == ("noto", "twemoji")
    for *_, error, copying, ratio in ways:
        assert float(ratio) == pytest.approx(float(error) / float(copying), abs=2e-3)
    assert there[3] == back[3], "copying is as wrong both ways"


@pytest.mark.parametrize(
    ("words", "error", "names"),
    [
        (["cyclegan", "--data", "plain"], "wrong-data", ["cyclegan", "a and b", "plain"]),
        (["cyclegan", "--samples", "20"], "does-not-apply", ["cyclegan"]),
        (["dcgan", "--split", "test"], "no-such-split", ["test"]),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else None,
)
def test_what_cannot_be_measured_is_said(words: list[str], error: str, names: list[str]) -> None:
    said = error_of("eval", *words, code=2, error=error)
    assert all(name in said for name in names), said
