"""Pages in a real browser, opened from the disk: what they show, and that they ask for nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.anywhere.exports import models
from tests.exporting.test_web_page import HOSTILE, Dots, DotsConfig, trained
from tests.installing import install_stranger
from tests.process import zoo, zoo_json
from zoo import DataSpec, Graph, Port
from zoo.exporting.browser import ABROAD, BrowserError, find_browsers, open_browser, open_page
from zoo.exporting.bundle import PLAIN, export_bundle
from zoo.exporting.variants import Variant
from zoo.exporting.web_page import find_runtime
from zoo.identity import Identity
from zoo.model.weights import Trained, save_weights

pytestmark = pytest.mark.browser

SPEC = DataSpec.of_images("dots", 1, 8, 8)
LETTERS = ("a", "b", "c", "d")


class Loops(Dots):
    """Graphs of all other kinds: codes, pictures of any size, text and pictures step by step."""

    def graphs(self) -> Mapping[str, Graph]:
        image, letter = self.data.image, ("batch",)
        code = Port.latent("code", 3, prior=None)
        symbol = Port("start", "text", letter, "int64", (0.0, 3.0), classes=LETTERS,
                      default=0.0, next="letter")  # fmt: skip
        text = Port("letter", "text", letter, "int64", (0.0, 3.0), classes=LETTERS)
        step = Port("step", "values", letter, range=(0.0, 3.0), default=1.0)
        before = Port("before", "latent", ("batch", 1, 8, 8), prior="zeros", next="after")
        after = Port("after", "latent", ("batch", 1, 8, 8))
        large = Port.image("photo", image, any_size=True)
        darker = Port.image("darker", image, any_size=True)
        return {
            "encode": Graph(self.encode, [image], [code]),
            "decode": Graph(self.decode, [code], [image]),
            "darken": Graph(self.darken, [large], [darker]),
            "write": Graph(self.write, [symbol, step], [text], 12),
            "grow": Graph(self.grow, [before], [image, after], 5),
        }

    def encode(self, image: Tensor) -> Tensor:
        return image.mean(dim=(2, 3)) * torch.tensor([1.0, 2.0, 3.0])

    def decode(self, code: Tensor) -> Tensor:
        return torch.tanh(code.sum(1))[:, None, None, None].expand(-1, 1, 8, 8) + 0.0

    def darken(self, photo: Tensor) -> Tensor:
        return photo / 2 - 0.5

    def write(self, start: Tensor, step: Tensor) -> Tensor:
        return (start + step.long()) % 4

    def grow(self, before: Tensor) -> tuple[Tensor, Tensor]:
        after = before + 0.1
        return after.clamp(-1, 1), after


class Browsing:
    """A page that is open, and what it asked for."""

    def __init__(self, tab: Any, page: Path) -> None:
        self.tab = tab
        self.asked: list[str] = []
        self.problems: list[str] = []
        tab.on("request", lambda request: self.asked.append(request.url))
        tab.on("pageerror", lambda problem: self.problems.append(str(problem)))
        self.seconds = open_page(tab, page)
        tab.wait_for_timeout(500)

    def shown(self, selector: str) -> np.ndarray[Any, Any]:
        """Return the grey levels of a canvas."""
        read = """canvas => [canvas.height, canvas.width,
            ...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"""
        height, width, *values = self.tab.locator(selector).first.evaluate(read)
        return np.array(values).reshape(height, width, 4)[:, :, 0]

    def end(self) -> None:
        assert not self.problems
        assert self.tab.locator(".problem").count() == 0
        assert [url for url in self.asked if url.startswith(ABROAD)] == []
        width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        for wide in (360, 1400, 2560):
            self.tab.set_viewport_size({"width": wide, "height": 800})
            assert self.tab.evaluate(width) <= 0, f"nothing stands over at {wide} pixels"


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = find_browsers().get(request.param)
    if path is None:
        pytest.skip(f"{request.param} is not installed")
    with playwright.sync_playwright() as driver:
        try:
            with open_browser(driver, request.param, path) as found:
                yield found
        except BrowserError as problem:
            pytest.skip(str(problem))


def page_of(subject: Trained, folder: Path, variant: Variant = PLAIN) -> Path:
    """Export a page; other sync sessions of playwright may not run beside the one of the test."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("zoo.exporting.browser.find_browsers", dict)
        page = export_bundle(subject, folder, variant, web=find_runtime()).page
    assert page is not None
    return page.path


@pytest.fixture(scope="module")
def dots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dots")
    return page_of(trained(folder), folder / "bundle")


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loops")
    model = Loops(DotsConfig(), SPEC).eval()
    nn.init.zeros_(model.network.weight)
    graphs = {name: graph.signature for name, graph in model.graphs().items()}
    header = Identity("loops", "tests", "1", {"words": "x"}, SPEC, graphs)
    path = folder / "weights.safetensors"
    save_weights(path, model, header)
    return page_of(Trained(model, header, path), folder / "bundle")


def test_noise_becomes_pictures_of_the_class_that_is_chosen(browser: Any, dots: Path) -> None:
    page = Browsing(browser.new_page(), dots)
    first = page.shown("figure.large canvas")
    assert first.shape == (4, 4) and np.ptp(first) > 0
    assert page.tab.get_by_role("radio", name=HOSTILE, exact=True).count() == 1
    page.tab.get_by_role("radio", name="plain").click()
    page.tab.wait_for_timeout(500)
    other = page.shown("figure.large canvas")
    assert (other != first).any()
    pad = page.tab.get_by_role("application")
    pad.press("ArrowUp")
    pad.press("Shift+ArrowLeft")
    page.tab.wait_for_timeout(300)
    assert (page.shown("figure.large canvas") != other).any()
    page.end()


def test_files_of_pixels_and_of_one_batch_size_show_the_same(
    browser: Any, dots: Path, tmp_path: Path
) -> None:
    other = page_of(trained(tmp_path), tmp_path / "bundle", Variant(io="uint8", batch=3))
    shown = []
    for path in (dots, other):
        page = Browsing(browser.new_page(), path)
        canvases = [".gallery button:nth-child(7) canvas", ".strip canvas:nth-child(5)"]
        shown.append([page.shown(each) for each in ["figure.large canvas", *canvases]])
        page.end()
    for wanted, found in zip(*shown, strict=True):
        assert np.ptp(wanted) > 0
        assert np.abs(wanted - found).max() <= 1


def test_a_link_shows_the_same_again(browser: Any, dots: Path) -> None:
    page = Browsing(browser.new_page(), dots)
    page.tab.get_by_role("radio", name="plain").click()
    page.tab.get_by_role("application").press("Shift+ArrowDown")
    page.tab.wait_for_timeout(500)
    shown = page.shown("figure.large canvas")
    page.tab.get_by_role("button", name="Copy link").click()
    address = page.tab.url
    state = json.loads(page.tab.evaluate("decodeURIComponent(location.hash.slice(1))"))
    assert state["label"] == 2 and len(state["code"]) == 4
    again = browser.new_page()
    again.goto(address)
    again.wait_for_selector("html[data-ready]", state="attached")
    again.wait_for_timeout(500)
    page.tab = again
    assert np.abs(page.shown("figure.large canvas") - shown).max() <= 1
    assert np.ptp(page.shown(".gallery button canvas")) > 0
    page.end()


def test_the_card_tells_the_hash_and_nothing_of_a_stranger_becomes_html(
    browser: Any, dots: Path
) -> None:
    page = Browsing(browser.new_page(), dots)
    page.tab.get_by_role("button", name="About this model").click()
    card = page.tab.get_by_role("dialog")
    assert HOSTILE in card.inner_text()
    assert page.tab.locator("img").count() == 0
    card.locator("summary").first.click()
    card.get_by_role("button", name="Compute the hash here").click()
    card.get_by_text("The bytes in this page are these.").wait_for()
    card.get_by_role("button", name="Licences").click()
    card.get_by_text("MIT License").wait_for()
    page.end()


def test_a_picture_is_encoded_and_decoded(browser: Any, loops: Path) -> None:
    page = Browsing(browser.new_page(), loops)
    page.tab.get_by_role("tab", name="encode and decode").click()
    panel = "#" + str(page.tab.locator("[role=tabpanel]:not([hidden])").get_attribute("id"))
    page.tab.wait_for_timeout(500)
    page.tab.locator(panel).get_by_role("button", name="Clear").click()
    page.tab.wait_for_timeout(500)
    sliders = page.tab.locator(f"{panel} .sliders input")
    code = [float(each.input_value()) for each in sliders.all()]
    assert np.abs(np.array(code) - [-1, -2, -3]).max() < 0.05  # all black; sliders move by steps
    wanted = round((np.tanh(-6) + 1) * 127.5)
    assert set(page.shown(f"{panel} figure.large canvas").ravel()) == {wanted}
    sliders.nth(2).fill("3")
    page.tab.wait_for_timeout(500)
    assert np.abs(page.shown(f"{panel} figure.large canvas") - 127.5).max() < 5  # tanh 0
    page.end()


def test_a_large_picture_is_made_smaller_and_comes_out(
    browser: Any, loops: Path, tmp_path: Path
) -> None:
    from PIL import Image

    Image.new("L", (4000, 3000), 200).save(tmp_path / "photo.jpg")
    page = Browsing(browser.new_page(), loops)
    page.tab.get_by_role("tab", name="darken").click()
    panel = "#" + str(page.tab.locator("[role=tabpanel]:not([hidden])").get_attribute("id"))
    page.tab.locator(f"{panel} input[type=file]").set_input_files(tmp_path / "photo.jpg")
    page.tab.get_by_text("Scaled from 4000 × 3000 to 512 × 384").wait_for()
    page.tab.wait_for_timeout(1000)
    after = page.shown(f"{panel} .compare canvas + canvas")
    assert after.shape == (384, 512)
    assert np.abs(after - 100).max() <= 1  # half of 200 between black and white
    page.end()


def test_text_and_pictures_grow_round_by_round(browser: Any, loops: Path) -> None:
    page = Browsing(browser.new_page(), loops)
    page.tab.get_by_role("tab", name="write").click()
    text = page.tab.get_by_role("log")
    page.tab.get_by_text("Round 12 of 12").wait_for()
    assert text.inner_text() == "bcdabcdabcda"
    page.tab.get_by_label("Beginning of the text").fill("ac?c")
    page.tab.get_by_role("button", name="Start").first.click()
    page.tab.get_by_text("Round 14 of 14; left out, not in the alphabet: ?").wait_for()
    assert text.inner_text() == "acc" + "dabcdabcdabc"
    page.tab.get_by_role("tab", name="grow").click()
    panel = "#" + str(page.tab.locator("[role=tabpanel]:not([hidden])").get_attribute("id"))
    page.tab.locator(panel).get_by_text("Round 5 of 5").wait_for()
    page.tab.wait_for_timeout(300)
    assert np.abs(page.shown(f"{panel} figure canvas") - 1.5 * 127.5).max() <= 1
    page.end()


def checked(folder: Path) -> dict[str, Any]:
    """Return the checks of the page that the manifest lists, by browser."""
    page = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["page"]
    assert page["checks"], "the gate ran the page"
    for groups in page["checks"].values():
        for figures in groups.values():
            assert figures["greatest"] <= figures["tolerance"] and figures["examples"] >= 3
    return dict(page["checks"])


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return install_stranger(tmp_path_factory.mktemp("stranger"))


@pytest.mark.slow
@pytest.mark.parametrize("model", models())
def test_every_model_has_a_page_that_does_what_it_does(model: str) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed")
    run = zoo_json("train", *models()[model], "--steps", "2", "--name", "run")["run"]
    zoo("export", run, "--web", "-o", "out")
    checked(Path("out"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["three-players", "linear-sounds", "refiner", "teller", "pen-ae", "shared-encoder-ae"]
)
def test_the_page_of_a_plugin_that_nobody_here_wrote_works(
    model: str, stranger: dict[str, str]
) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed")
    run = zoo_json("train", model, "--steps", "2", "--name", "run", **stranger)["run"]
    zoo("export", run, "--web", "-o", "out", **stranger)
    checked(Path("out"))
