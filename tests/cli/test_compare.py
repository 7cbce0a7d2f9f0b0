"""`zoo compare`: what it says of real runs, and that its picture can be read."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.process import error_of, zoo, zoo_json
from zoo.training.comparison import read_figures
from zoo.training.curves import COLOURS, PANEL_INCHES
from zoo.training.run import Run

DPI = 100


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run ``narrow`` of ``vae``."""
    place = tmp_path_factory.mktemp("narrow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        zoo("train", "vae", "--steps", "40", "--name", "narrow", "--seed", "3", "--ema", "0.9",
            "--set", "latent_size=2", "--set", "hidden=16", ZOO_HOME=str(place / "home"),
        )  # fmt: skip
    return place / "runs" / "narrow"


@pytest.fixture
def runs(trained: Path, narrow: Path) -> Path:
    """Copies of ``wide`` of ``vae``, ``other`` of ``ae`` and `narrow`, in the working directory."""
    for source, name in ((trained / "runs" / "first", "wide"), (narrow, "narrow"),
                         (trained / "runs" / "plain", "other")):  # fmt: skip
        shutil.copytree(source, Path("runs") / name)
    return Path("runs").resolve()


def copies(runs: Path, count: int, name: str = "many") -> None:
    """Copy a run so often; each copy is a little worse than the one before."""
    for number in range(count):
        place = runs / f"{name}-{number}"
        shutil.copytree(runs / "wide", place)
        lines = (place / "metrics.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        for row in rows:
            row["values"] = {key: each + number for key, each in row["values"].items()}
        (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def colours_of(path: Path, top: int = 0) -> Iterator[str]:
    """Yield which of the colours of runs are in a picture, below a row of pixels."""
    pixels = pixels_of(path)[top:].reshape(-1, 3)
    there = {"#{:02x}{:02x}{:02x}".format(*pixel) for pixel in np.unique(pixels, axis=0)}
    return (colour for colour in COLOURS if colour in there)


def height_of(pixels: np.ndarray, colour: str) -> int:
    """Return how many pixels a colour reaches from its highest to its lowest place."""
    wanted = tuple(bytes.fromhex(colour[1:]))
    rows = np.flatnonzero((pixels == wanted).all(axis=2).any(axis=1))
    return int(rows[-1] - rows[0]) if len(rows) else 0


def test_json_has_the_figures_and_the_settings_that_differ(runs: Path) -> None:
    told = zoo_json("compare", "wide", "narrow")
    wide, narrow = told["runs"]
    assert told["differing"] == ["latent_size", "hidden", "steps", "seed", "ema"]
    assert wide["settings"] == {
        "latent_size": 20, "hidden": [512, 512], "steps": 60, "seed": 0, "ema": None,
    }  # fmt: skip
    assert narrow["settings"] == {
        "latent_size": 2, "hidden": [16], "steps": 40, "seed": 3, "ema": 0.9,
    }  # fmt: skip
    for name, each in (("wide", wide), ("narrow", narrow)):
        info = json.loads((runs / name / "run.json").read_text())
        assert each["best"] == info["best"]
        assert each["last"] == info["identity"]["metrics"]
        assert (each["status"], each["steps"]) == ("finished", info["identity"]["step"])
        assert each["minutes"] == pytest.approx(info["seconds"] / 60, abs=0.01)
        assert each["goal"] == {"metric": "elbo", "direction": "highest"}
    best = {each["run"]: each["best"]["metrics"]["elbo"] for each in told["runs"]}
    assert [each["run"] for each in told["runs"] if each["is_best"]] == [max(best, key=best.get)]
    assert told["picture"] is None
    assert not Path("comparison.png").exists()


def test_the_best_checkpoint_is_that_of_the_goal_and_not_the_last(runs: Path) -> None:
    run = Run(runs / "wide")
    best = zoo_json("compare", "wide")["runs"][0]["best"]
    for step, change in ((1000, 50.0), (1020, -70.0)):
        values = {**best["metrics"], "elbo": best["metrics"]["elbo"] + change, "kl": change}
        run.append("metrics.jsonl", {"step": step, "split": "validation", "values": values})
    (told,) = zoo_json("compare", "wide")["runs"]
    assert told["best"]["step"] == 1000
    assert told["best"]["metrics"]["kl"] == 50.0
    assert told["last"]["kl"] == -70.0
    assert told["steps"] == 1020


def test_runs_of_different_models_are_compared_by_what_they_share(runs: Path) -> None:
    told = zoo_json("compare", "narrow", "other", "-o", "both.png")
    assert "ema" in told["differing"]
    assert "latent_size" not in told["differing"], "only one of the models has it"
    narrow, other = (each["settings"] for each in told["runs"])
    assert (narrow["ema"], other["ema"]) == (0.9, None)
    assert not any(each["is_best"] for each in told["runs"]), "their goals differ"
    assert told["picture"] == "both.png"
    assert [*colours_of(Path("both.png"))] == [*COLOURS[:2]]


def test_the_tables_name_the_runs_and_say_where_the_picture_is(runs: Path) -> None:
    shown = zoo("compare", "wide", "narrow").stdout
    assert shown.splitlines()[-1] == "comparison.png"
    assert Path("comparison.png").is_file()
    for word in ("wide", "narrow", "latent_size 2", "seed 3", "elbo highest", "kl at best", " *"):
        assert word in shown
    narrow = zoo("compare", "wide", "narrow", COLUMNS="60").stdout
    assert max(map(len, narrow.splitlines())) <= 100
    assert "  status" in narrow


def test_csv_has_a_column_a_figure_and_a_setting(runs: Path) -> None:
    done = zoo("compare", "narrow", "other", "--csv")
    rows = [*csv.DictReader(io.StringIO(done.stdout))]
    assert [row["run"] for row in rows] == ["narrow", "other"]
    narrow, other = rows
    best = zoo_json("compare", "narrow")["runs"][0]["best"]
    assert float(narrow["elbo best"]) == best["metrics"]["elbo"]
    assert (narrow["mse best"], other["elbo best"]) == ("", "")
    assert (narrow["ema"], other["ema"]) == ("0.9", "none")
    assert not Path("comparison.png").exists()
    zoo("compare", "narrow", "other", "--csv", "-o", "new/curves.png")
    assert Path("new/curves.png").is_file()


def test_without_names_the_error_names_the_runs(runs: Path) -> None:
    said = error_of("compare", code=2, error="missing-argument")
    assert all(name in said for name in ("wide", "narrow", "other"))


def test_without_runs_the_error_says_how_to_make_one() -> None:
    assert "zoo train" in error_of("compare", code=3, error="run-not-found")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["*"], {"wide", "narrow", "other"}),
        (["[nw]*", "wide"], {"wide", "narrow"}),
        (["runs/?ide"], {"wide"}),
        (["runs/wide/", "wide", "./runs/wide"], {"wide"}),
        (["@last"], {"narrow"}),
    ],
    ids=" ".join,
)
def test_runs_are_named_by_id_pattern_or_path(
    runs: Path, words: list[str], names: set[str]
) -> None:
    told = [each["run"] for each in zoo_json("compare", *words)["runs"]]
    assert set(told) == names
    assert len(told) == len(names)


def test_runs_of_one_name_are_told_apart_by_their_folders(runs: Path) -> None:
    shutil.copytree(runs / "wide", Path("elsewhere") / "wide")
    told = [each["run"] for each in zoo_json("compare", "wide", "elsewhere/wide")["runs"]]
    assert len(set(told)) == 2
    assert any("elsewhere" in name for name in told)


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["wied"], 3, "run-not-found"),
        (["dcgan-*"], 3, "run-not-found"),
        (["wide", "-o", "x.jpg"], 2, "bad-output"),
        (["wide", "-o", "runs"], 2, "bad-output"),
        (["wide", "--by", "year"], 2, "usage"),
        (["wide", "--csv"], 2, "conflicting-options"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_compared_is_refused(
    runs: Path, words: list[str], code: int, error: str
) -> None:
    error_of("compare", *words, code=code, error=error)


def test_a_damaged_run_is_an_error_by_name_and_left_out_of_a_pattern(runs: Path) -> None:
    (runs / "wide" / "run.json").write_text("{")
    assert "'wide'" in error_of("compare", "wide", code=3, error="damaged-run")
    done = zoo("compare", "*", "--json")
    assert {each["run"] for each in json.loads(done.stdout)["runs"]} == {"narrow", "other"}
    assert "'wide'" in done.stderr


def test_damaged_lines_are_left_out_and_told(runs: Path) -> None:
    before = zoo_json("compare", "wide")["runs"][0]["last"]
    with (runs / "wide" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 50, "split": "validation", "values": {"elbo": NaN}}\nnonsense\n')
    done = zoo("compare", "wide", "--json")
    assert json.loads(done.stdout)["runs"][0]["last"] == before
    assert done.stderr.count("is damaged") == 1


def test_a_run_without_settings_is_compared_by_its_figures(runs: Path) -> None:
    shutil.rmtree(runs / "wide" / "checkpoints")
    (runs / "wide" / "config.toml").unlink()
    told = zoo_json("compare", "wide", "narrow")
    assert told["differing"] == []
    assert told["runs"][0]["best"]
    assert "'wide'" in error_of("compare", "wide", "--by", "images", code=3, error="damaged-run")


def test_a_run_without_rows_is_told_and_has_no_curve(runs: Path) -> None:
    (runs / "wide" / "metrics.jsonl").unlink()
    done = zoo("compare", "wide", "narrow", "-o", "x.png")
    assert "wide has no metrics" in done.stderr
    assert [*colours_of(Path("x.png"))] == [*COLOURS[:1]]
    zoo("compare", "wide", "-o", "none.png")
    assert not Path("none.png").exists()


def test_a_run_that_is_still_training_is_compared(runs: Path) -> None:
    run = Run(runs / "wide")
    info = json.loads((run.path / "run.json").read_text())
    del info["seconds"]
    (run.path / "run.json").write_text(json.dumps(info))
    run.write_info(status="running", host=platform.node())
    run.append("metrics.jsonl", {"step": 60, "split": "train", "values": {"vae/kl": 1.0}})
    with run.held():
        (told,) = zoo_json("compare", "wide")["runs"]
    assert (told["status"], told["steps"]) == ("running", 60)
    assert told["minutes"] >= 0


@pytest.mark.parametrize("count", [2, 12])
def test_each_run_has_one_colour_in_legend_and_panels(runs: Path, count: int) -> None:
    copies(runs, count)
    zoo("compare", "many-*", "-o", "x.png")
    assert [*colours_of(Path("x.png"))] == [*COLOURS[:count]]
    panels = len(pixels_of(Path("x.png"))) - int(PANEL_INCHES[1] * DPI)
    assert [*colours_of(Path("x.png"), top=panels)] == [*COLOURS[:count]]


def test_too_many_runs_have_a_table_and_no_picture(runs: Path) -> None:
    copies(runs, len(COLOURS) + 1)
    done = zoo("compare", "many-*")
    assert f"many-{len(COLOURS)}" in done.stdout
    assert "no picture" in done.stderr
    assert not Path("comparison.png").exists()
    error_of("compare", "many-*", "-o", "x.png", code=2, error="too-many")


def test_a_spike_does_not_flatten_the_curves(runs: Path) -> None:
    (runs / "wide" / "metrics.jsonl").unlink()
    run = Run(runs / "wide")
    for step in range(100):
        value = 1e12 if step == 50 else -1e300 if step == 70 else step / 100
        run.append("metrics.jsonl", {"step": step, "split": "train", "values": {"vae/kl": value}})
    zoo("compare", "wide", "-o", "x.png")
    panel = int(PANEL_INCHES[1] * DPI)
    first_half = pixels_of(Path("x.png"))[-panel:, :200]  # before both spikes
    assert height_of(first_half, COLOURS[0]) > panel // 6


def test_long_and_foreign_names_leave_room_for_the_panels(runs: Path) -> None:
    for number, name in enumerate(("a-name-of-many-words-" * 11, "$^^{_$ 猫 _é", "_hidden")):
        shutil.copytree(runs / "wide", runs / (name + str(number)))
    done = zoo("compare", "*", "-o", "x.png")
    assert "Warning" not in done.stderr
    assert [*colours_of(Path("x.png"))] == [*COLOURS[:6]]
    assert pixels_of(Path("x.png")).shape[1] < 1500


def test_curves_over_images_end_where_the_images_do(runs: Path) -> None:
    config = tomllib.loads((runs / "wide" / "config.toml").read_text())
    figures = read_figures(Run(runs / "wide"), by_images=True)
    ((images, _),) = figures.panels["elbo"]["validation"].points()
    assert images == figures.steps * config["training"]["batch_size"]
    zoo("compare", "wide", "--by", "images", "-o", "images.png")
    zoo("compare", "wide", "-o", "steps.png")
    assert Path("steps.png").read_bytes() != Path("images.png").read_bytes()


def test_a_picture_that_is_asked_for_needs_matplotlib(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['matplotlib'] = None\n")
    without = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    words = ("compare", "wide", "-o", "x.png")
    assert "[train]" in error_of(*words, code=4, error="missing-package", **without)
    done = zoo("compare", "wide", **without)
    assert "elbo" in done.stdout
    assert "[train]" in done.stderr
