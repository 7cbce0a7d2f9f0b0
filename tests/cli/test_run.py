"""`zoo run`: what goes in, what comes out, what is refused, and what is never imported."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from PIL import Image

from tests.cli.running import Zoo, photo, pixels
from tests.runtime.graphs import (
    PHOTOS,
    conditional,
    decoder,
    describe,
    encoder,
    entry_of,
    labelled,
    mirrored,
    negative,
    pixel_negative,
    save,
    translator,
)
from zoo.grids import grid
from zoo.identity import Precision
from zoo.ports import DataSpec, Port
from zoo.runtime.inputs import safe_file_name


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Zoo:
    return Zoo(capfd)


# Drawn from priors


def test_samples_become_a_grid_that_depends_on_the_seed_alone(command: Zoo) -> None:
    decoder(Path("decode.onnx"))
    first = command.apart("decode.onnx", "-n", 16, "--seed", 3, "-o", "grid.png")
    assert (first.code, first.out, first.err) == (0, "grid.png\n", "")
    command.run("decode.onnx", "-n", 16, "--seed", 3, "-o", "again.png")
    command.run("decode.onnx", "-n", 16, "--seed", 4, "-o", "other.png")
    assert Path("grid.png").read_bytes() == Path("again.png").read_bytes()
    assert Path("grid.png").read_bytes() != Path("other.png").read_bytes()
    assert pixels("grid.png").shape[0] >= 4 * 28


def test_a_sample_is_what_the_graph_makes_of_the_first_draw(command: Zoo) -> None:
    decoder(Path("decode.onnx"))
    done = command.run("decode.onnx", "-n", 12, "--seed", 7, "-o", "out/")
    assert done.lines == [f"out/{number:02}.png" for number in range(1, 13)]
    latent = np.random.default_rng(7).standard_normal((12, 20)).astype(np.float32)
    engine = onnxruntime.InferenceSession("decode.onnx", providers=["CPUExecutionProvider"])
    image = engine.run(None, {"latent": latent})[0]
    expected = np.rint((image[11, 0] + 1) / 2 * 255)
    assert np.abs(pixels("out/12.png") - expected).max() <= 1


def test_more_samples_than_a_batch_are_all_there(command: Zoo) -> None:
    labelled(Path("generate.onnx"))
    assert command.run("generate.onnx", "-n", 150, "-o", "out").code == 0
    labels = np.random.default_rng(0).integers(0, 2, 150, endpoint=True)
    shades = [pixels(f"out/{number:03}.png")[0, 0] for number in range(1, 151)]
    assert shades == [(0, 128, 255)[label] for label in labels]


def test_without_output_the_file_names_the_picture(command: Zoo) -> None:
    decoder(Path("decode.onnx"))
    assert command.run("decode.onnx").lines == ["decode.png"]


def test_json_tells_what_was_done(command: Zoo) -> None:
    decoder(Path("decode.onnx"))
    told = json.loads(command.run("decode.onnx", "-n", 4, "-o", "a/b/grid.png", "--json").out)
    assert told.pop("seconds") > 0
    assert told == {
        "file": "decode.onnx",
        "model": "vae",
        "graph": "decode",
        "provider": "cpu",
        "outputs": ["a/b/grid.png"],
        "count": 4,
        "left_out": 0,
    }


# Classes

CLOTHES = ("T-shirt/top", "Sneaker", "Ankle boot")


def test_all_classes_stand_in_rows_with_the_same_noise(command: Zoo) -> None:
    conditional(Path("generate.onnx"), CLOTHES)
    done = command.run("generate.onnx", "--class", "all", "-n", 5, "--seed", 2, "-o", "all.npz")
    assert done.code == 0
    with np.load("all.npz") as stored:
        assert stored["names"].tolist()[4:6] == ["T-shirt-top-5", "Sneaker-1"]
        shades = stored["image"][:, 0, 0, 0].reshape(3, 5)
    noise = np.random.default_rng(2).standard_normal(5).astype(np.float32) / 10
    np.testing.assert_allclose(shades, noise + np.array([[-0.5], [0], [0.5]]), atol=1e-6)
    command.run("generate.onnx", "--class", "all", "-n", 5, "--seed", 2, "-o", "all.png")
    for name, columns in (("all.png", 5), ("eight.png", 8)):
        if name == "eight.png":
            command.run("generate.onnx", "--class", "all", "-o", name)
        page = pixels(name)
        side = (len(page) - 2) // 3  # three rows
        margin, shown = np.split(page, [page.shape[1] - (columns * side + 2)], axis=1)
        labelled = grid(np.zeros((3 * columns, 4, 4, 1), np.uint8), columns, CLOTHES)[:, :, 0]
        np.testing.assert_array_equal(margin, labelled[:, : margin.shape[1]])
        assert (margin < 100).any()
        assert (shown[:, ::side] == 255).all(), "white gaps stand where they should"


def test_a_grid_of_one_class_has_nothing_to_tell_apart(command: Zoo) -> None:
    conditional(Path("generate.onnx"), CLOTHES)
    command.run("generate.onnx", "--class", "sneaker", "-n", 4, "-o", "one.png")
    height, width = pixels("one.png").shape
    assert height == width


@pytest.mark.parametrize("word", ["sneaker", "Sneaker", "1"])
def test_one_class_is_drawn_by_name_or_number(command: Zoo, word: str) -> None:
    conditional(Path("generate.onnx"), CLOTHES)
    done = command.run("generate.onnx", "--class", word, "-o", "out/")
    assert done.lines == [f"out/Sneaker-{number:02}.png" for number in range(1, 17)]
    noise = np.random.default_rng(0).standard_normal(16).astype(np.float32) / 10
    shades = np.array([pixels(path)[0, 0] for path in done.lines])
    assert np.abs(shades - (noise + 1) / 2 * 255).max() <= 1


def test_several_classes_come_in_the_order_in_which_they_are_named(command: Zoo) -> None:
    conditional(Path("generate.onnx"), CLOTHES)
    done = command.run("generate.onnx", "--class", "ankle boot,0", "-n", 2, "-o", "out/")
    names = ["Ankle-boot-1", "Ankle-boot-2", "T-shirt-top-1", "T-shirt-top-2"]
    assert done.lines == [f"out/{name}.png" for name in names]
    assert pixels(done.lines[0])[0, 0] > pixels(done.lines[2])[0, 0]


def test_pictures_go_with_one_class(command: Zoo) -> None:
    ports = [Port.image("image", PHOTOS.pictures), Port.label("label", CLOTHES)]
    nodes = [
        helper.make_node("Gather", ["shades", "label"], ["shade"], axis=0),
        helper.make_node("Add", ["image", "shade"], ["brighter"]),
    ]
    described = describe("brighten", ports, [Port.image("brighter", PHOTOS.pictures)])
    shades = np.array([0, 0.5, 1], np.float32).reshape(3, 1, 1, 1)
    save(Path("brighten.onnx"), described, nodes, {"shades": shades})
    photo(Path("in/a.png"), 0)
    photo(Path("in/b.png"), 0)
    done = command.run("brighten.onnx", "in", "--class", "sneaker", "-o", "out")
    assert done.lines == ["out/a.png", "out/b.png"]
    assert [int(pixels(path)[0, 0, 0]) for path in done.lines] == [64, 64]
    words = ("brighten.onnx", "in", "--class", "all", "-o", "out2")
    assert "--class" in command.refused(*words, code=2, error="conflicting-options")


@given(st.lists(st.text(max_size=60), min_size=1, max_size=6))
def test_class_names_of_strangers_never_become_paths(names: list[str]) -> None:
    words = [safe_file_name(name) for name in names]
    assert all(len(Path(word, "x").parts) <= 2 and not word.startswith(".") for word in words)
    assert all(word.isprintable() and not set(word) & set('/\\:*?"<>| ') for word in words)


HOSTILE_CLASSES = ("../../up", "/etc/passwd", "", "\x1b[2Jboot", "UP", "a/../../b", "up", ".hidden")


def test_hostile_class_names_stay_in_the_folder_and_apart(command: Zoo) -> None:
    conditional(Path("generate.onnx"), HOSTILE_CLASSES)
    there = set(Path().resolve().parent.parent.rglob("*"))
    done = command.run("generate.onnx", "--class", "all", "-n", 1, "-o", "out/")
    words = ["up", "etc-passwd", "class-2", "2Jboot", "UP-4", "a-b", "up-6", "hidden"]
    assert done.lines == [f"out/{word}-1.png" for word in words]
    new = set(Path().resolve().parent.parent.rglob("*")) - there
    assert new == {Path("out").resolve(), *(Path(line).resolve() for line in done.lines)}
    refused = command.run("generate.onnx", "--class", "shoe", "-o", "out/")
    assert (refused.code, "\x1b" in refused.err) == (2, False)
    assert command.run("generate.onnx", "--class", "all", "-n", 4, "-o", "grid.png").code == 0
    page, numbers = pixels("grid.png"), list(HOSTILE_CLASSES)
    numbers[2], numbers[3] = "2", "3"  # letters that cannot be shown
    labelled = grid(np.zeros((32, 4, 4, 1), np.uint8), 4, numbers)[:, :, 0]
    assert page.shape == labelled.shape
    np.testing.assert_array_equal(page[:, :20], labelled[:, :20])


# Domains


@pytest.fixture
def bundle() -> Path:
    """A folder as `zoo export` writes it for a translation between horses and zebras."""
    folder = Path("exports/cyclegan")
    folder.mkdir(parents=True)
    translator(folder / "horse_to_zebra.onnx", "horse", "zebra")
    translator(folder / "zebra_to_horse.onnx", "zebra", "horse")
    (folder / "manifest.json").write_text("{}")
    return folder


def test_photos_of_all_kinds_come_back_at_their_own_size(command: Zoo, bundle: Path) -> None:
    sizes = {"a": (640, 427), "b": (33, 200), "c": (5, 7), "turned": (20, 30)}
    for name, size in sizes.items():
        photo(Path(f"photos/{name}.png"), 100, size)
    Image.new("L", (51, 47), 100).save("photos/grey.png")
    Image.new("P", (52, 48), 0).save("photos/palette.gif")
    turned = Image.new("RGB", (30, 20), "navy")
    exif = turned.getexif()
    exif[0x0112] = 6  # lies on its side
    turned.save("photos/turned.jpg", exif=exif)
    Path("photos/turned.png").unlink()
    done = command.apart(bundle, "photos/", "--to", "Zebra")
    names = ["a", "b", "c", "grey", "palette", "turned"]
    assert done.lines == [f"horse_to_zebra/{name}.png" for name in names]
    assert done.code == 0
    assert "--size 28" in done.err
    sizes |= {"grey": (51, 47), "palette": (52, 48)}
    for name in names:
        with Image.open(f"horse_to_zebra/{name}.png") as picture:
            assert (picture.size, picture.mode) == (sizes[name], "RGB"), name
    assert pixels("horse_to_zebra/grey.png")[0, 0].tolist() == [155] * 3


def test_the_file_that_leads_to_the_domain_is_run(command: Zoo, bundle: Path) -> None:
    photo(Path("photo.png"), 100)
    for domain, graph in (("zebra", "horse_to_zebra"), ("horse", "zebra_to_horse")):
        told = json.loads(command.run(bundle, "photo.png", "--to", domain, "--json").out)
        assert (told["graph"], told["outputs"]) == (graph, [f"{graph}/photo.png"])
        assert told["file"] == f"{bundle}/{graph}.onnx"
    path = bundle / "zebra_to_horse.onnx"
    assert command.run(path, "photo.png", "--to", "horse", "-o", "x.png").lines == ["x.png"]


def test_a_folder_with_one_graph_is_run_by_its_plain_file(command: Zoo) -> None:
    folder = Path("exports/reconstructor")
    folder.mkdir(parents=True)
    negative(folder / "a.batch-1.onnx", batch=1)
    pixel_negative(folder / "a.uint8.onnx")
    photo(Path("photo.png"), 100)
    done = command.run(folder, "photo.png", "-o", "a.png")
    assert (done.code, done.lines) == (0, ["a.png"])
    assert f"using {folder}/a.batch-1.onnx" in done.err
    negative(folder / "of-any-batch.onnx")
    done = command.run(folder, "photo.png", "--json", "-o", "b.png")
    assert json.loads(done.out)["file"] == f"{folder}/of-any-batch.onnx"


def test_a_folder_with_several_graphs_is_answered_with_a_command_for_each(
    command: Zoo, bundle: Path
) -> None:
    decoder(bundle / "decode.onnx")
    negative(bundle / "negative.onnx")
    said = command.refused(bundle, code=2, error="which-graph")
    assert "4 graphs" in said
    commands = [line.split("zoo run ")[1] for line in said.splitlines() if "zoo run " in line]
    assert sorted(commands) == [
        f"{bundle} --to horse photos/",
        f"{bundle} --to zebra photos/",
        f"{bundle}/decode.onnx",
        f"{bundle}/negative.onnx photos/",
    ]
    photo(Path("photos/a.png"), 100)
    for words in commands:
        assert command.run(*words.split(), "-o", "out.png").code == 0, words
    for number in range(4):
        translator(bundle / f"more-{number}.onnx", "mule", f"zebra-{number}", graph=f"g{number}")
    said = command.refused(bundle, code=2, error="which-graph")
    assert "8 graphs" in said
    assert "4 more" in said
    assert f"zoo show {bundle}" in said
    assert len(said.splitlines()) == 6


TO_WRONG = {
    "no domain": ("exports/cyclegan", "which-graph", "--to horse"),
    "misspelt": ("exports/cyclegan --to zebre", "bad-value", "'zebra'"),
    "unknown": ("exports/cyclegan --to cat", "bad-value", "--to horse or --to zebra"),
    "the other way": ("exports/cyclegan/horse_to_zebra.onnx --to horse", "bad-value", "--to zebra"),
    "no translation": ("decode.onnx --to zebra", "bad-value", "decode.onnx"),
    "empty domain": ("decode.onnx --to=", "bad-value", "decode.onnx"),
    "two ways": ("twice --to zebra", "which-graph", "zoo run twice/mule_to_zebra.onnx photos/"),
    "there and back": ("circle --to horse", "bad-value", "circle"),
    "no graphs": ("photos --to zebra", "bad-path", "zoo export MODEL --onnx"),
    "only damaged graphs": ("damaged --to zebra", "bad-onnx", "damaged/x.onnx"),
}


@pytest.mark.parametrize(("words", "error", "name"), TO_WRONG.values(), ids=TO_WRONG)
def test_a_wrong_domain_is_answered_with_those_there_are(
    command: Zoo, bundle: Path, words: str, error: str, name: str
) -> None:
    decoder(Path("decode.onnx"))
    photo(Path("photos/a.png"), 5)
    for folder in ("twice", "damaged"):
        Path(folder).mkdir()
    translator(Path("twice/horse_to_zebra.onnx"), "horse", "zebra")
    translator(Path("twice/mule_to_zebra.onnx"), "mule", "zebra")
    Path("damaged/x.onnx").write_text("text")
    Path("circle").mkdir()
    translator(Path("circle/horse_cycle.onnx"), "horse", "horse")
    code = 3 if error == "bad-onnx" else 2
    assert name in command.refused(*words.split(), "-o", "out", code=code, error=error)


def test_a_damaged_file_of_an_export_is_not_passed_over(command: Zoo, bundle: Path) -> None:
    path = bundle / "horse_to_zebra.onnx"
    listed = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps({"files": {"horse_to_zebra": listed}}))
    translator(bundle / "horse_to_zebra.uint8.onnx", "horse", "zebra", graph="horse_to_zebra")
    photo(Path("photo.png"), 100)
    assert command.run(bundle, "photo.png", "--to", "zebra", "-o", "out").code == 0
    whole = path.read_bytes()
    changed = whole.replace(b"translated", b"Translated")
    for content in (whole[:-100], changed):
        path.write_bytes(content)
        words = (bundle, "photo.png", "--to", "zebra", "-o", "out")
        said = command.refused(*words, code=3, error="hash-mismatch")
        assert "horse_to_zebra.onnx" in said
        assert "manifest.json" in said


def test_other_files_in_a_bundle_do_no_harm(command: Zoo, bundle: Path) -> None:
    (bundle / "another.onnx").write_text("not of ours")
    negative(bundle / "reconstruct.onnx")
    photo(Path("photo.png"), 100)
    done = command.run(bundle, "photo.png", "--to", "zebra", "-o", "out")
    assert done.lines == ["out/photo.png"]


def there_and_back(path: Path, source: str, target: str) -> Path:
    """image of one domain -> its negative, said to be of the other, and the negative of that."""
    image, negated, back = (
        Port.image(name, PHOTOS.pictures, domain=domain, any_size=True)
        for name, domain in (("image", source), ("translated", target), ("back", source))
    )
    nodes = [
        helper.make_node("Neg", ["image"], ["translated"]),
        helper.make_node("Neg", ["translated"], ["back"]),
    ]
    return save(path, describe("cycle", [image], [negated, back]), nodes)


FORMS: dict[str, tuple[Precision, int | str]] = {
    "": ("float32", "batch"),
    ".batch4": ("float32", 4),
    ".256x256": ("float32", "batch"),
    ".half": ("float16 weights", "batch"),
    ".int8": ("int8", "batch"),
}


@pytest.mark.parametrize(
    ("forms", "taken", "is_told"),
    [
        (["", ".batch4", ".256x256", ".half", ".int8"], "", False),
        ([".batch4", ".int8"], ".batch4", False),
        ([".int8", ".half"], ".half", True),
    ],
)
def test_of_several_files_of_one_graph_the_plain_one_is_run(
    command: Zoo, forms: list[str], taken: str, is_told: bool
) -> None:
    Path("exports").mkdir()
    for form in forms:
        precision, batch = FORMS[form]
        path = Path(f"exports/horses.horse_to_zebra{form}.onnx")
        graph = "horse_to_zebra"
        translator(path, "horse", "zebra", graph=graph, precision=precision, batch=batch)
    translator(Path("exports/horses.zebra_to_horse.onnx"), "zebra", "horse")
    there_and_back(Path("exports/horses.horse_cycle.onnx"), "horse", "zebra")
    photo(Path("photo.png"), 100)
    done = command.run("exports", "photo.png", "--to", "zebra", "-o", "out", "--json")
    expected = f"exports/horses.horse_to_zebra{taken}.onnx"
    assert json.loads(done.out)["file"] == expected
    assert done.err == (f"using {expected}\n" if is_told else "")


@pytest.mark.parametrize("domain", ["\x1b[31mzebra", "a\nb", "z" * 101])
def test_a_domain_that_could_not_be_shown_is_refused(command: Zoo, domain: str) -> None:
    path = translator(Path("a.onnx"), "horse", "zebra")
    entry = entry_of(path)
    entry["signature"]["outputs"][0]["domain"] = domain
    model = onnx.load(path)
    helper.set_model_props(model, {"zoo": json.dumps(entry)})
    onnx.save(model, path)
    said = command.refused(path, "--to", "zebra", code=3, error="bad-onnx")
    assert "'translated'" in said


def test_a_domain_with_a_path_in_it_writes_beside_the_others(command: Zoo) -> None:
    Path("bundle").mkdir()
    translator(Path("bundle/x.onnx"), "horse", "../../zebra")
    photo(Path("photo.png"), 100)
    assert command.run("bundle", "photo.png", "--to", "../../zebra").lines == ["x/photo.png"]


# Sizes


@pytest.mark.parametrize("fit", ["contain", "stretch"])
def test_what_comes_of_a_whole_picture_has_its_own_size(command: Zoo, fit: str) -> None:
    negative(Path("negative.onnx"), DataSpec.of_images("photos", 3, 32, 32))
    page = np.zeros((90, 60, 3), np.uint8)
    page[:30] = 200  # the top third
    Image.fromarray(page).save("tall.png")
    done = command.run("negative.onnx", "tall.png", "-o", "out.png", "--fit", fit)
    assert (done.code, done.err) == (0, "")
    found = pixels("out.png")
    assert found.shape == (90, 60, 3)
    assert abs(found[5, 30].astype(int) - 55).max() <= 2
    assert abs(found[80, 30].astype(int) - 255).max() <= 2
    assert abs(int(found[30, 30, 0]) - 155) < 60  # the border is where it was


def test_a_picture_that_is_cut_is_told_and_keeps_the_size_of_the_file(command: Zoo) -> None:
    negative(Path("negative.onnx"), DataSpec.of_images("photos", 3, 32, 32))
    photo(Path("wide.png"), 100, (64, 32))
    photo(Path("square.png"), 100, (64, 64))
    done = command.run("negative.onnx", "wide.png", "square.png", "-o", "out")
    assert pixels("out/wide.png").shape == (32, 32, 3)
    assert pixels("out/square.png").shape == (64, 64, 3)
    assert "1 of 2 pictures of 32x64 lose 50% of their area" in done.err
    assert "--fit contain" in done.err


def test_pictures_are_fitted_as_in_the_training(command: Zoo) -> None:
    negative(
        Path("negative.onnx"), DataSpec.of_images("photos", 3, 32, 32).with_images(fit="stretch")
    )
    photo(Path("wide.png"), 100, (64, 32))
    done = command.run("negative.onnx", "wide.png", "-o", "out.png")
    assert (done.err, pixels("out.png").shape) == ("", (32, 64, 3))


def test_deep_pictures_have_the_range_of_the_training(command: Zoo) -> None:
    spec = DataSpec.of_images("scans", 1, 16, 16).with_images(value_range=(1000.0, 3000.0))
    negative(Path("negative.onnx"), spec)
    Image.fromarray(np.full((16, 16), 2000, np.uint16)).save("scan.png")
    command.run("negative.onnx", "scan.png", "-o", "out.png")
    assert abs(int(pixels("out.png")[8, 8]) - 127) <= 1


def test_a_size_scales_the_shorter_side(command: Zoo, bundle: Path) -> None:
    photo(Path("large.png"), 100, (600, 400))
    done = command.run(bundle, "large.png", "--to", "zebra", "--size", "40", "-o", "out.png")
    assert (done.code, done.err) == (0, "")
    assert pixels("out.png").shape == (40, 60, 3)
    far = command.run(bundle, "large.png", "--to", "zebra", "-o", "out.png")
    assert "up to 14 times as large" in far.err
    assert "--size 28" in far.err
    assert pixels("out.png").shape == (400, 600, 3)


def test_size_and_fit_are_refused_where_they_decide_nothing(command: Zoo, bundle: Path) -> None:
    photo(Path("a.png"), 100)
    done = command.run(bundle, "a.png", "--to", "zebra", "--fit", "contain")
    assert (done.code, done.out) == (2, "")
    negative(Path("negative.onnx"))
    done = command.run("negative.onnx", "a.png", "--size", "40")
    assert (done.code, done.out) == (2, "")
    assert "32, 48" in done.err


def test_a_large_photo_is_told_what_it_takes(command: Zoo) -> None:
    negative(Path("negative.onnx"), any_size=True)
    photo(Path("large.jpg"), 200, (2400, 1800))
    done = command.run("negative.onnx", "large.jpg", "-o", "out.png")
    assert "large.jpg, 1800x2400, takes about" in done.err
    assert sys.platform != "linux" or "GiB of memory" in done.err


@pytest.mark.parametrize("fit", ["contain", "stretch"])
def test_what_comes_of_a_whole_picture_lies_where_it_was(command: Zoo, fit: str) -> None:
    negative(Path("negative.onnx"), DataSpec.of_images("photos", 3, 32, 32))
    page = np.zeros((90, 30, 3), np.uint8)
    page[:, :6] = 200  # a stripe at the left edge, which contain surrounds
    Image.fromarray(page).save("narrow.png")
    command.run("negative.onnx", "narrow.png", "-o", "out.png", "--fit", fit)
    row = pixels("out.png")[45, :, 0]
    assert row[2] < 100
    assert row[10] > 220


# Photos too large or too small


@pytest.mark.skipif(sys.platform != "linux", reason="the bound is Linux's")
def test_a_photo_too_large_for_memory_is_an_error_that_names_it(command: Zoo) -> None:
    import resource

    mirrored(Path("pad.onnx"))
    photo(Path("photos/large.jpg"), 200, (2400, 1800))
    photo(Path("photos/small.jpg"), 200, (60, 40))
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    program = (
        "import resource, sys, zoo.cli; "
        f"resource.setrlimit(resource.RLIMIT_DATA, (900 * 2**20, {hard})); "
        "zoo.cli.main(['run', *sys.argv[1:]])"
    )

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-c", program, *words]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    refused = run("pad.onnx", "photos/large.jpg", "-o", "out")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "photos/large.jpg, 1800x2400, takes about" in refused.stderr
    assert "GiB are free" in refused.stderr
    assert 8 <= int(refused.stderr.split("--size ")[-1].split()[0]) < 1800
    rest = run("pad.onnx", "photos", "-o", "out")
    assert (rest.returncode, rest.stdout) == (0, "out/small.png\n")
    assert "left out 1 of 2 pictures" in rest.stderr


def test_a_photo_too_small_for_the_graph_does_not_hold_up_the_others(command: Zoo) -> None:
    mirrored(Path("pad.onnx"))
    photo(Path("photos/a.png"), 200, (3, 3))
    photo(Path("photos/b.png"), 200, (30, 20))
    done = command.run("pad.onnx", "photos", "-o", "out")
    assert (done.code, done.lines) == (0, ["out/b.png"])
    assert "left out 1 of 2 pictures" in done.err
    assert "photos/a.png" in done.err
    said = command.refused("pad.onnx", "photos/a.png", "-o", "out", code=1, error="run-failed")
    assert all(name in said for name in ("photos/a.png", "(1, 3, 3, 3)", "height 28, width 28")), (
        said
    )
    Path("photos/b.png").unlink()
    assert command.run("pad.onnx", "photos", "-o", "out").code == 1


# Pictures


def test_files_and_folders_keep_their_names_and_order(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    photo(Path("b.jpg"), 50)
    photo(Path("folder/a.png"), 100)
    photo(Path("folder/deep/c.webp"), 150)
    photo(Path("folder/.hidden.png"), 0)
    photo(Path("folder/.thumbnails/a.png"), 0)
    Path("folder/notes.txt").write_text("not a picture, and not meant as one")
    done = command.apart("reconstruct.onnx", "b.jpg", "folder", "-o", "out/")
    assert (done.code, done.err) == (0, "")
    assert done.lines == ["out/b.png", "out/a.png", "out/deep/c.png"]
    for path, shade in zip(done.lines, (50, 100, 150), strict=True):
        picture = pixels(path)
        assert picture.shape == (32, 48, 3)
        assert np.abs(picture - np.array([255 - shade, 255 - shade, 255.0])).max() <= 3


def test_pictures_of_one_name_do_not_overwrite_each_other(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    for index, name in enumerate(("one/a.png", "two/a.png", "two/A.jpg", "a-2.png")):
        photo(Path(name), 40 * index)
    done = command.run("reconstruct.onnx", "one", "two", "a-2.png", "-o", "out")
    assert done.lines == ["out/a.png", "out/A-2.png", "out/a-3.png", "out/a-2-2.png"]
    reds = [int(pixels(path)[0, 0, 0]) for path in done.lines]
    assert np.abs(np.array(reds) - [255, 175, 215, 135]).max() <= 3


def test_one_picture_goes_to_one_file(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    photo(Path("photo.png"), 200)
    assert command.run("reconstruct.onnx", "photo.png", "-o", "x.png").lines == ["x.png"]
    assert pixels("x.png").shape == (32, 48, 3)
    photo(Path("other.png"), 200)
    words = ("reconstruct.onnx", "photo.png", "other.png", "-o", "y.png")
    assert "-o reconstruct/" in command.refused(*words, code=2, error="bad-output")
    assert not Path("y.png").exists()


def test_pictures_keep_their_size_where_the_graph_lets_them(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"), any_size=True)
    sizes = [(30, 20), (30, 20), (17, 41), (30, 20)]
    for index, size in enumerate(sizes):
        photo(Path(f"in/{index}.png"), 10 * index, size)
    done = command.run("reconstruct.onnx", "in", "-o", "out")
    assert [pixels(path).shape[1::-1] for path in done.lines] == sizes
    assert [int(pixels(path)[0, 0, 0]) for path in done.lines] == [255, 245, 235, 225]


def test_a_grey_graph_takes_colours_and_gives_grey(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"), DataSpec.of_images("clothes", 1, 28, 28))
    Image.new("RGBA", (60, 60), (0, 0, 0, 255)).save("logo.png")
    done = command.run("reconstruct.onnx", "logo.png")
    assert done.lines == ["reconstruct/logo.png"]
    assert (pixels(done.lines[0]) == np.full((60, 60), 255)).all()
    assert "1 of 1 pictures lose their colours" in done.err


def test_many_pictures_go_through_in_parts(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    for index in range(150):
        photo(Path(f"in/{index:03}.png"), index)
    done = command.run("reconstruct.onnx", "in", "-o", "out")
    assert [int(pixels(path)[0, 0, 0]) for path in done.lines] == list(range(255, 105, -1))


def test_a_damaged_picture_in_a_folder_is_left_out_with_a_word(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    photo(Path("in/a.png"), 1)
    Path("in/b.png").write_bytes(photo(Path("in/c.png"), 2).read_bytes()[:60])
    Path("in/d.jpg").write_text("text")
    done = command.run("reconstruct.onnx", "in", "-o", "out")
    assert (done.code, done.lines) == (0, ["out/a.png", "out/c.png"])
    assert "left out 2 of 4 pictures" in done.err
    assert "in/b.png" in done.err
    told = json.loads(command.run("reconstruct.onnx", "in", "-o", "out", "--json").out)
    assert (told["count"], told["left_out"]) == (2, 2)


def test_a_damaged_picture_that_was_named_is_an_error(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    Path("notes.txt").write_text("text")
    words = ("reconstruct.onnx", "notes.txt", "-o", "out")
    said = command.refused(*words, code=3, error="bad-picture")
    assert "notes.txt" in said
    assert "image (batch, 3, 32, 48) in [-1, 1]" in said
    assert not Path("out").exists()


def test_when_no_picture_of_a_folder_can_be_read_it_is_an_error(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    Path("in").mkdir()
    Path("in/a.png").write_text("text")
    said = command.refused("reconstruct.onnx", "in", "-o", "grid/", code=3, error="bad-picture")
    assert "1 pictures" in said
    assert "in/a.png" in said


def test_of_many_pictures_that_cannot_be_read_two_are_told_with_their_reasons(
    command: Zoo,
) -> None:
    negative(Path("reconstruct.onnx"))
    whole = photo(Path("in/a.png"), 1).read_bytes()
    Path("in/a.png").write_bytes(whole[:60])
    for name in "bcd":
        Path(f"in/{name}.png").write_text("text")
    said = command.refused("reconstruct.onnx", "in", "-o", "grid/", code=3, error="bad-picture")
    assert "4 pictures" in said
    assert said.index("in/a.png: ") < said.index("in/b.png: ")
    assert "in/c.png" not in said
    assert len(said.splitlines()) <= 6


def test_arrays_stay_with_their_pictures_when_one_is_left_out(command: Zoo) -> None:
    ports = [Port.image("image", PHOTOS.pictures), Port.label("label", ["black", "grey", "white"])]
    shades = np.array([0, 0.5, 1], np.float32).reshape(3, 1, 1, 1)
    nodes = [
        helper.make_node("Gather", ["shades", "label"], ["shade"], axis=0),
        helper.make_node("Add", ["image", "shade"], ["brighter"]),
    ]
    described = describe("brighten", ports, [Port.image("brighter", PHOTOS.pictures)])
    save(Path("brighten.onnx"), described, nodes, {"shades": shades})
    for name in "abc":
        photo(Path(f"in/{name}.png"), 0)
    Path("in/b.png").write_text("text")
    np.save("labels.npy", np.array([1, 2, 0]))
    done = command.run("brighten.onnx", "labels.npy", "in", "-o", "out")
    assert done.lines == ["out/a.png", "out/c.png"]
    assert [int(pixels(path)[0, 0, 0]) for path in done.lines] == [64, 0]


def test_inputs_are_never_overwritten(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    before = photo(Path("in/a.png"), 7).read_bytes()
    for words in (("in", "-o", "in"), ("in/a.png", "-o", "in/a.png"), ("in/a.png", "-o", "in/")):
        said = command.refused("reconstruct.onnx", *words, code=2, error="bad-output")
        assert "in/a.png" in said
        assert Path("in/a.png").read_bytes() == before


def test_results_are_not_taken_for_inputs_the_second_time(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    photo(Path("in/a.png"), 7)
    first = command.run("reconstruct.onnx", "in", "-o", "in/out")
    assert command.run("reconstruct.onnx", "in", "-o", "in/out").lines == first.lines
    assert first.lines == ["in/out/a.png"]


# Numbers


def test_codes_go_to_a_file_and_come_back_as_pictures(command: Zoo) -> None:
    encoder(Path("encode.onnx"))
    photo(Path("in/a.png"), 255)
    photo(Path("in/b.png"), 0)
    done = command.run("encode.onnx", "in", "-o", "codes.npz")
    assert done.lines == ["codes.npz"]
    with np.load("codes.npz") as codes:
        assert codes["names"].tolist() == ["a", "b"]
        assert codes["mu"].shape == codes["logvar"].shape == (2, 2)
        assert codes["mu"][1].tolist() == [-1.0, -1.0]
    identity = helper.make_node("MatMul", ["latent", "spread"], ["flat"])
    shaped = helper.make_node("Reshape", ["flat", "shape"], ["image"])
    image = Port.image("image", DataSpec.of_images("squares", 1, 4, 4).pictures)
    save(
        Path("decode.onnx"),
        describe("decode", [Port.latent("latent", 2)], [image]),
        [identity, shaped],
        {"spread": np.full((2, 16), 0.5, np.float32), "shape": np.array([-1, 1, 4, 4])},
    )
    back = command.run("decode.onnx", "codes.npz", "-o", "out")
    assert back.lines == ["out/1.png", "out/2.png"]
    assert back.err == "latent is 'mu' of codes.npz\n"
    assert pixels("out/2.png").max() == 0


def test_codes_without_output_are_json_on_stdout(command: Zoo) -> None:
    encoder(Path("encode.onnx"))
    photo(Path("a.png"), 0)
    told = json.loads(command.apart("encode.onnx", "a.png").out)
    assert told["names"] == ["a"]
    assert told["values"] == {"mu": [[-1.0, -1.0]], "logvar": [[-1.0, -1.0]]}
    assert told["outputs"] == []


def test_arrays_are_matched_by_name_before_shape(command: Zoo) -> None:
    labelled(Path("generate.onnx"))
    np.savez("labels.npz", other=np.array([0, 0]), label=np.array([2, 1]))
    command.run("generate.onnx", "labels.npz", "-o", "out")
    assert [int(pixels(f"out/{number}.png")[0, 0]) for number in (1, 2)] == [255, 128]
    np.save("labels.npy", np.array([1, 2, 0], np.uint8))
    assert len(command.run("generate.onnx", "labels.npy", "-o", "out").lines) == 3


def test_pictures_out_can_be_kept_as_numbers(command: Zoo) -> None:
    decoder(Path("decode.onnx"))
    command.run("decode.onnx", "-n", 3, "-o", "images.npz")
    with np.load("images.npz") as stored:
        assert stored["image"].shape == (3, 1, 28, 28)
        assert stored["image"].dtype == np.float32


def test_pictures_of_several_sizes_do_not_go_into_one_array(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"), any_size=True)
    photo(Path("in/a.png"), 7, (20, 30))
    photo(Path("in/b.png"), 7, (30, 20))
    command.refused("reconstruct.onnx", "in", "-o", "all.npz", code=2, error="bad-output")


def test_numbers_of_an_open_size_are_bounded_when_they_come(command: Zoo) -> None:
    image = Port.image("image", PHOTOS.pictures, any_size=True)
    heights = Port("heights", "values", image.shape)
    node = helper.make_node("Neg", ["image"], ["heights"])
    save(Path("heights.onnx"), describe("heights", [image], [heights]), [node])
    photo(Path("small.png"), 7, (2, 1))
    photo(Path("large.png"), 7, (700, 600))
    assert np.shape(json.loads(command.run("heights.onnx", "small.png").out)["values"]["heights"])
    assert "1,048,576" in command.refused("heights.onnx", "large.png", code=2, error="too-many")


def write_object_array() -> None:
    np.save("x.npy", np.array([{}], object), allow_pickle=True)


def write_absurd_header() -> None:
    with Path("x.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**60, 20)}
        np.lib.format.write_array_header_1_0(file, header)


BAD_ARRAYS = {
    "text": (lambda: Path("x.npy").write_text("1 2 3"), 3, ""),
    "objects": (write_object_array, 3, ""),
    "absurd header": (write_absurd_header, 3, ""),
    "wrong shape": (lambda: np.save("x.npy", np.zeros((2, 21))), 2, "float64 (2, 21)"),
    "words": (lambda: np.save("x.npy", np.zeros((2, 20), "U1")), 2, "(2, 20)"),
    "no rows": (lambda: np.save("x.npy", np.zeros((0, 20))), 2, "latent"),
    "not a number": (lambda: np.save("x.npy", np.full((1, 20), np.nan)), 3, "latent"),
    "too great": (lambda: np.save("x.npy", np.full((1, 20), 1e300)), 3, "latent"),
}


@pytest.mark.parametrize(("write", "code", "name"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_arrays_that_do_not_fit_are_refused(command: Zoo, write: Any, code: int, name: str) -> None:
    decoder(Path("decode.onnx"))
    write()
    words = ("decode.onnx", "x.npy", "-o", "grid.png")
    said = command.refused(*words, code=code, error="bad-input")
    assert "x.npy" in said
    assert name in said
    assert "''" not in said
    assert not Path("grid.png").exists()


def test_a_damaged_archive_of_arrays_is_refused(command: Zoo) -> None:
    decoder(Path("decode.onnx"))
    np.savez("codes.npz", latent=np.zeros((4, 20), np.float32))
    content = Path("codes.npz").read_bytes()
    for damaged in (content[:100], content.replace(b"\x93NUMPY", b"\x93NUMBY"), b"PK", b""):
        Path("codes.npz").write_bytes(damaged)
        command.refused("decode.onnx", "codes.npz", "-o", "x.png", code=3, error="bad-input")


def test_an_archive_of_too_many_arrays_is_refused(command: Zoo) -> None:
    decoder(Path("decode.onnx"))
    np.savez("codes.npz", **{f"a{index}": np.zeros((1, 20)) for index in range(65)})
    said = command.refused("decode.onnx", "codes.npz", "-o", "x.png", code=3, error="bad-input")
    assert "65" in said


def test_a_label_that_does_not_exist_is_refused(command: Zoo) -> None:
    labelled(Path("generate.onnx"))
    np.save("labels.npy", np.array([0, 3]))
    said = command.refused("generate.onnx", "labels.npy", "-o", "out", code=2, error="bad-input")
    assert "[0, 2]" in said


# What is asked wrongly


@pytest.fixture
def _files() -> None:
    decoder(Path("decode.onnx"))
    encoder(Path("encode.onnx"))
    negative(Path("reconstruct.onnx"))
    labelled(Path("generate.onnx"))
    needy = describe(
        "decode", [Port.latent("latent", 20, prior=None)], [Port.latent("mu", 20, prior=None)]
    )
    save(Path("needy.onnx"), needy, [helper.make_node("Neg", ["latent"], ["mu"])])
    photo(Path("photo.png"), 9)
    Path("empty").mkdir()
    np.save("three.npy", np.zeros((3, 20)))


WRONG = {
    "no such file": ("decoder.onnx", 3, "file-not-found", "'decode.onnx'"),
    "a folder for a file": ("empty", 2, "bad-path", "empty"),
    "a picture for a file": ("photo.png", 3, "bad-onnx", "photo.png"),
    "a photo to a sampler": (
        "decode.onnx photo.png -o x.png", 2, "does-not-apply", "zoo run decode.onnx -n 16"
    ),
    "it says what it takes": (
        "decode.onnx photo.png", 2, "does-not-apply", "latent (batch, 20), standard normal"
    ),
    "no photo": (
        "reconstruct.onnx -o out", 2, "missing-input", "zoo run reconstruct.onnx photo.png folder/"
    ),
    "no code": ("needy.onnx -n 3", 2, "missing-input", "latent (batch, 20)"),
    "an empty folder": ("reconstruct.onnx empty -o out", 3, "no-pictures", "empty"),
    "no such photo": ("reconstruct.onnx foto.png -o out", 3, "file-not-found", "foto.png"),
    "a count and inputs": (
        "reconstruct.onnx photo.png -n 3 -o out", 2, "conflicting-options", "-n"
    ),
    "other suffix": ("decode.onnx -o grid.jpg", 2, "bad-output", ".png"),
    "pictures of numbers": ("encode.onnx photo.png -o x.png", 2, "bad-output", "latent mu"),
    "a folder of numbers": ("encode.onnx photo.png -o out/", 2, "bad-output", "-o codes.npz"),
    "none": ("decode.onnx -n 0", 2, "usage", "-n"),
    "too many to draw": ("decode.onnx -n 99999999999", 2, "too-many", "99,999,999,999"),
    "an unknown class": ("generate.onnx --class gray", 2, "unknown-class", "'grey'"),
    "a class of a photo graph": (
        "reconstruct.onnx photo.png --class 1", 2, "does-not-apply", "--class"
    ),
    "a class without labels": ("decode.onnx --class 1", 2, "does-not-apply", "latent"),
    "too many of a class": ("generate.onnx --class all -n 99999999", 2, "too-many", "299,999,997"),
    "too many for a grid": ("decode.onnx -n 500000 -o x.png", 2, "too-many", "-o folder/"),
    "a seed below nought": ("decode.onnx --seed -1", 2, "usage", "--seed"),
    "arrays twice": ("decode.onnx three.npy three.npy", 2, "bad-input", "three.npy"),
    "arrays to a photo graph": (
        "reconstruct.onnx three.npy", 2, "bad-input", "image (batch, 3, 32, 48)"
    ),
}  # fmt: skip


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize(("words", "code", "error", "name"), WRONG.values(), ids=WRONG)
def test_a_wrong_request_is_answered_with_the_right_one(
    command: Zoo, words: str, code: int, error: str, name: str
) -> None:
    there = sorted(Path().rglob("*"))
    assert name in command.refused(*words.split(), code=code, error=error)
    assert sorted(Path().rglob("*")) == there  # nothing was begun


def test_inputs_of_different_lengths_are_refused(command: Zoo) -> None:
    image = Port.image("image", PHOTOS.pictures)
    described = describe("blend", [image, Port.latent("latent", 2)], [replace(image, name="out")])
    save(Path("blend.onnx"), described, [helper.make_node("Neg", ["image"], ["out"])])
    np.save("two.npy", np.zeros((2, 2)))
    photo(Path("a.png"), 5)
    said = command.refused("blend.onnx", "two.npy", "a.png", "-o", "out", code=2, error="bad-input")
    assert "[1, 2]" in said
    assert command.run("blend.onnx", "a.png", "-o", "out").lines == ["out/a.png"]  # latent drawn


# The process


def test_without_onnxruntime_the_package_is_named(command: Zoo, tmp_path: Path) -> None:
    decoder(Path("decode.onnx"))
    missing = tmp_path / "shadow" / "onnxruntime.py"
    missing.parent.mkdir()
    missing.write_text("raise ImportError(\"No module named 'onnxruntime'\")")
    done = command.apart("decode.onnx", "-o", "x.png", PYTHONPATH=str(missing.parent))
    assert (done.code, done.out) == (4, "")
    assert "pip install onnxruntime" in done.err


def test_neither_torch_nor_onnx_nor_a_plugin_is_imported() -> None:
    decoder(Path("decode.onnx"))
    negative(Path("reconstruct.onnx"))
    photo(Path("photo.png"), 9)
    program = """
import sys, zoo.cli
for words in (["decode.onnx", "-o", "x.png"], ["reconstruct.onnx", "photo.png", "-o", "out"]):
    try:
        zoo.cli.main(["run", *words])
    except SystemExit as left:
        assert left.code == 0, left.code
print(*sorted(name.partition(".")[0] for name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    imported = set(done.stdout.splitlines()[-1].split())
    assert "onnxruntime" in imported
    unwanted = {"torch", "onnx", "onnxscript", "lightning_fabric", "safetensors", "httpx", "pluggy"}
    assert not imported & unwanted
    assert not [name for name in imported if name.startswith("zoo_")]


def test_help_imports_nothing_heavy() -> None:
    program = """
import sys, zoo.cli
try:
    zoo.cli.main(["run", "-h"])
except SystemExit:
    print(*sorted(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "\n  zoo run clothes.decode.onnx codes.npz -o grid.png\n" in done.stdout
    assert not {"numpy", "onnxruntime", "PIL"} & set(done.stdout.splitlines()[-1].split())


def test_a_file_name_that_is_no_text_is_written_all_the_same(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    name = os.fsdecode(b"caf\xe9.png")
    photo(Path("in.png"), 3).rename(name)
    done = command.apart("reconstruct.onnx", name, "-o", "out", "--json")
    assert (done.code, done.err) == (0, "")
    assert Path("out", name).is_file()
    assert len(json.loads(done.out)["outputs"]) == 1
