"""How the verbs open data: brought to its size as asked, with a word on what is lost."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import fill, photo, save
from tests.errors import raises
from tests.exporting.test_exporter import Shift, ShiftConfig
from tests.process import error_of, zoo, zoo_json
from zoo import grids, pictures
from zoo.api.data import open_like_training
from zoo.data.location import locate_data
from zoo.data.store import Store, open_store
from zoo.errors import UsageError
from zoo.identity import Identity
from zoo.model.weights import Trained
from zoo.ports import FITS

SMALL = ("--set", "channels=4", "--steps", "1", "--batch-size", "8")


def originals(path: Path) -> np.ndarray:
    """What `zoo sample` shows of one square original, above what is made of it, beside labels."""
    with Image.open(path) as image:
        page = np.asarray(image.convert("RGB"))
    side = (page.shape[0] - 3 * grids.GAP) // 2
    return page[grids.GAP :, -side - grids.GAP :][:side, :side]


def shown(path: Path, how: pictures.Fit, number: int) -> bool:
    """Whether the original in `path` is a certain photo, brought to 16x16 in a certain way."""
    fitted = pictures.fit(photo(number, 12, 30), 16, 16, 3, how)
    factor = len(originals(path)) // 16
    return bool((originals(path) == fitted.repeat(factor, 0).repeat(factor, 1)).all())


def test_every_way_to_fit_pictures_can_be_asked_for() -> None:
    assert get_args(pictures.Fit) == FITS


def test_a_run_keeps_its_fit_and_every_verb_uses_it() -> None:
    fill(Path("photos/train"), 20, height=12, width=30)
    fill(Path("photos/test"), 1, first=50, height=12, width=30)
    words = ("--data", "photos", "--size", "16", "--name", "wide", "--fit", "contain")
    told = zoo("train", "conv-ae", *words, *SMALL).stderr
    assert "lose" not in told
    assert tomllib.loads(Path("runs/wide/config.toml").read_text())["fit"] == "contain"
    data = json.loads(Path("runs/wide/run.json").read_text())["identity"]["data"]
    assert data["ports"][0]["fit"] == "contain"

    for words, how in (((), "contain"), (("--fit", "stretch"), "stretch")):
        told = zoo("sample", "wide", "-n", "1", "-o", "page.png", *words).stderr
        assert shown(Path("page.png"), how, 50)
    told = zoo("eval", "wide", "--fit", "cover").stderr
    assert "21 of 21 pictures of 12x30 lose 60%" in told
    assert "lose" not in zoo("eval", "wide").stderr
    assert "lose" not in zoo("export", "wide", "--onnx", "--half").stderr

    said = error_of("train", "--resume", "wide", "--steps", "2", "--fit", "cover", code=2)
    assert "contain" in said
    again = zoo_json("train", "--resume", "wide", "--steps", "2", "--fit", "contain")
    assert again["step"] == 2
    zoo("train", "--config", "runs/wide/config.toml", "--name", "anew")
    zoo("sample", "anew", "-n", "1", "-o", "page.png")
    assert shown(Path("page.png"), "contain", 50)


def test_what_is_cut_off_is_told_before_and_while_training() -> None:
    fill(Path("photos"), 19, height=109, width=89)
    save(Path("photos/wide.png"), photo(99, 20, 60))
    share = "20 of 20 pictures lose 21% of their area, at most 67% (of 20x60)"
    assert share in zoo("train", "conv-ae", "--data", "photos", "--size", "64", *SMALL).stderr
    assert share in zoo("data", "check", "photos", "--size", "64").stdout
    assert "lose" not in zoo("data", "check", "photos", "--size", "64", "--fit", "stretch").stdout


def test_a_way_to_fit_that_is_not_one() -> None:
    fill(Path("photos"), 3)
    assert "stretch" in error_of("data", "check", "photos", "--fit", "strech", code=2)
    Path("run.toml").write_text('model = "conv-ae"\ndata = "photos"\nfit = "containn"\n')
    assert "'contain'" in error_of("train", "--config", "run.toml", code=2)


def test_deep_pictures_of_a_run_have_the_range_of_its_training() -> None:
    ramp = np.linspace(0, 1, 16 * 16).reshape(16, 16)
    for number in range(20):
        save(Path(f"deep/{number}.tif"), Image.fromarray((ramp * 1400).astype(np.uint16)))
        save(Path(f"other/{number}.tif"), Image.fromarray((ramp * 700).astype(np.uint16)))
    told = zoo("train", "conv-ae", "--data", "deep", "--name", "deep", *SMALL).stderr
    assert "0 to 1,400" in told
    info = json.loads(Path("runs/deep/run.json").read_text())
    assert info["identity"]["data"]["ports"][0]["value_range"] == [0, 1400]
    assert "0 to 700" in zoo("data", "check", "other").stdout
    told = zoo("sample", "deep", "--data", "other", "-n", "1", "-o", "page.png").stderr
    assert "0 to 1,400" in told
    assert 120 < originals(Path("page.png")).max() <= 128


def test_a_large_picture_is_left_out_unless_it_is_allowed() -> None:
    fill(Path("photos"), 3, height=8, width=8)
    Image.new("1", (9000, 8000)).save("photos/large.png")
    words = ("train", "conv-ae", "--data", "photos", "--size", "8", "--on-bad-image", "skip")
    told = zoo(*words, *SMALL).stderr
    assert "1 of 4 pictures" in told
    assert "ZOO_MAX_MEGAPIXELS=69" in told
    told = zoo(*words, *SMALL, ZOO_MAX_MEGAPIXELS="69").stderr
    assert "decoding 4 pictures" in told
    assert "cannot be read" not in told
    said = error_of("data", "check", "photos", ZOO_MAX_MEGAPIXELS="all", code=2)
    assert "ZOO_MAX_MEGAPIXELS" in said


@pytest.mark.parametrize("verb", ["sample", "export"])
def test_fit_is_refused_where_no_pictures_are_read(in_trained: Path, verb: str) -> None:
    words = ("--onnx",) if verb == "export" else ()
    assert "data" in error_of(verb, "first", "--fit", "cover", *words, code=2)


def opened_like(place: str, other: str, fit: pictures.Fit | None = None) -> Store:
    """Open other data as that of a training on the data at a place."""
    spec = open_store(locate_data(place)).spec
    identity = Identity("toy", "zoo-toy", "1", {}, spec, {})
    like = Trained(Shift(ShiftConfig(), spec), identity, Path("model.safetensors"))
    return open_like_training(like, locate_data(other), fit)


def write_table(place: str, heading: str, *rows: str) -> None:
    Path(place).mkdir()
    Path(place, "train.csv").write_text("\n".join([heading, *rows * 10]))


def test_a_table_is_opened_only_with_the_columns_of_the_training() -> None:
    write_table("first", "height,width,species", "1,2,cat", "3,4,dog")
    write_table("same", "id,height,width,species", "1,5,6,bird", "2,7,8,cat")
    store = opened_like("first", "same")
    assert store.spec["values"].classes == ("height", "width")
    assert store.spec["label"].classes == ("bird", "cat"), "labels are compared by who needs them"

    write_table("renamed", "height,depth", "1,2", "3,4")
    write_table("swapped", "width,height", "1,2", "3,4")
    for place in ("renamed", "swapped"):
        with raises(UsageError, "wrong-data", "values", place):
            opened_like("first", place)
    write_table("more", "height,width,depth", "1,2,3", "4,5,6")
    with raises(UsageError, "wrong-data", "values", "more", "'depth'"):
        opened_like("first", "more")


def test_columns_of_metadata_are_those_of_the_training() -> None:
    """A caption of another alphabet would be other numbers for the same words."""
    captions = {
        "photos": ("a cat", "a dog"),
        "same": ("a dog", "a cat"),
        "other": ("a cow", "a bee"),
        "longer": ("a cat", "two dogs"),
    }
    for place, words in captions.items():
        fill(Path(place), 10)
        lines = [
            f"{number}.png,{words[number % 2]} {letter},{number}"
            for number, letter in enumerate("pqrstuvwxy")
        ]
        Path(place, "metadata.csv").write_text("\n".join(["file_name,caption,age", *lines]))
    store = opened_like("photos", "same")
    assert {port.name for port in store.spec.ports} == {"image", "caption", "age"}
    longer = opened_like("photos", "longer").spec["caption"]
    assert longer.shape == store.spec["caption"].shape, "cut to the length of the training"
    with raises(UsageError, "wrong-data", "caption", "other"):
        opened_like("photos", "other")
