"""Runs a page in a headless browser on stored reference inputs, and compares what comes out.

It needs the package playwright, and Chromium or Firefox; without them, a page is not run.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.errors import ZooError
from zoo.identity import ExportedFile, Figures, Manifest
from zoo.ports import Port
from zoo.runtime.reference import (
    FOLDER,
    Difference,
    Example,
    compare_outputs,
    describe_excess,
    read_reference,
)
from zoo.runtime.session import Arrays

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright
    from playwright.sync_api import Page as Tab

# By name of the browser, the programs that it may be, and what else playwright needs to start it.
PROGRAMS: Mapping[str, Sequence[str]] = {
    "chromium": ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    "firefox": ("firefox", "firefox-esr"),
}
OPTIONS: Mapping[str, Mapping[str, str]] = {"chromium": {}, "firefox": {"channel": "moz-firefox"}}
ABROAD = ("http:", "https:", "ws:", "wss:", "ftp:")  # addresses that a page never asks
SECONDS = 120  # until the first result must be there
STARTS = 30_000  # milliseconds in which a browser starts
RUN = """async ([name, feeds]) => {
  const arrays = { float32: Float32Array, int64: BigInt64Array, uint8: Uint8Array };
  for (const feed of Object.values(feeds)) {
    const bytes = Uint8Array.from(atob(feed.data), (letter) => letter.charCodeAt(0));
    feed.data = new arrays[feed.type](bytes.buffer);
  }
  const found = await zoo.run(name, feeds);
  const results = {};
  for (const [output, { data, dims }] of Object.entries(found)) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    let text = "";
    for (let place = 0; place < bytes.length; place += 32768) {
      text += String.fromCharCode(...bytes.subarray(place, place + 32768));
    }
    results[output] = { dims, data: btoa(text) };
  }
  return results;
}"""


@dataclass(frozen=True)
class BrowserRun:
    """What came of running a page in one browser.

    Args:
        browser: name and version.
        seconds: from opening the file to the first result.
        checks: by graph and output, greatest and mean difference, what is allowed, and the number
            of examples.
    """

    browser: str
    seconds: float
    checks: Figures


@dataclass(frozen=True)
class PageCheck:
    """What came of running a page in all browsers that are here, and why others did not run it."""

    runs: tuple[BrowserRun, ...]
    why_not: tuple[str, ...]


def find_browsers() -> dict[str, str]:
    """Return the paths of browsers that are installed, by name."""
    found = {
        name: next(filter(None, map(shutil.which, each)), "") for name, each in PROGRAMS.items()
    }
    return {name: path for name, path in found.items() if path}


@contextmanager
def open_browser(playwright: Playwright, name: str, path: str) -> Iterator[Browser]:
    """Start a browser without a window, and close it at the end of the block.

    Raises:
        BrowserError: it cannot be started, or playwright cannot talk to this version.
    """
    from playwright.sync_api import Error  # noqa: PLC0415 - not a requirement

    as_root = hasattr(os, "geteuid") and os.geteuid() == 0  # its sandbox does not start then
    arguments = ["--no-sandbox"] if as_root and name == "chromium" else []
    try:
        browser = getattr(playwright, name).launch(
            executable_path=path, args=arguments, headless=True, timeout=STARTS, **OPTIONS[name]
        )
    except Error as problem:
        reason = " ".join(str(problem).split())[:120]
        raise BrowserError(f"{name} cannot be driven by this playwright ({reason})") from None
    try:
        yield browser
    finally:
        browser.close()


class BrowserError(Exception):
    """A browser that is here cannot be used; says why."""


def check_page(
    page: Path, manifest: Manifest, folder: Path, max_loss: float | None = None
) -> PageCheck:
    """Run a page on the reference inputs of its files and compare with what the model gave.

    Args:
        page: the HTML file.
        manifest: of the files in it.
        folder: that they were exported to, with their references.
        max_loss: that files of reduced precision may have, in percent of an output's range.

    Raises:
        ZooError: the page does not start, asks the network for something, or differs.
    """
    if importlib.util.find_spec("playwright") is None:
        return PageCheck((), ("playwright is not installed (pip install playwright)",))
    browsers = find_browsers()
    if not browsers:
        return PageCheck((), ("neither Chromium nor Firefox is found",))
    from playwright.sync_api import Error, sync_playwright  # noqa: PLC0415 - not a requirement

    runs, why_not = [], []
    with sync_playwright() as playwright:
        for name, path in browsers.items():
            try:
                with open_browser(playwright, name, path) as browser:
                    runs.append(_run(browser, name, page, manifest, folder, max_loss))
            except BrowserError as problem:
                why_not.append(str(problem))
            except Error as problem:
                raise _failed(page, str(problem).strip().splitlines()[0]) from None
    return PageCheck(tuple(runs), tuple(why_not))


def _run(
    browser: Browser, name: str, page: Path, manifest: Manifest, folder: Path,
    max_loss: float | None,
) -> BrowserRun:  # fmt: skip
    tab = browser.new_page()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    seconds = open_page(tab, page)
    problem = tab.locator(".problem")
    if problem.count():
        raise _failed(page, problem.inner_text())
    checks = {
        f"{entry.graph}/{output}": figures
        for entry in manifest.files.values()
        for output, figures in _compare(tab, entry, folder, max_loss).items()
    }
    abroad = [url for url in asked if url.startswith(ABROAD)]
    if abroad:
        raise _failed(page, f"it asks for {abroad[0][:100]}")
    return BrowserRun(f"{name.capitalize()} {browser.version}", seconds, checks)


def open_page(tab: Tab, page: Path) -> float:
    """Open a page from the disk; return the seconds until its first result is there."""
    started = time.monotonic()
    tab.goto(page.resolve().as_uri())
    tab.wait_for_selector("html[data-ready]", timeout=1000 * SECONDS, state="attached")
    return time.monotonic() - started


def _compare(tab: Tab, entry: ExportedFile, folder: Path, max_loss: float | None) -> Figures:
    """Run one graph of the page on its reference inputs; return figures by output."""
    signature = entry.signature
    reference = folder / FOLDER / f"{Path(entry.file).stem}.npz"
    examples = read_reference(reference, signature.inputs, signature.outputs)
    results = [run_in_page(tab, entry.graph, signature.outputs, each) for each in examples]
    figures = {}
    for port in signature.outputs:
        pairs = [
            (each.outputs[port.name], found[port.name])
            for each, found in zip(examples, results, strict=True)
        ]
        difference = compare_outputs(port, pairs)
        excess = describe_excess(port, difference, max_loss)
        if excess:
            raise ZooError(
                f"{entry.graph} does not do in the browser what the model does: {excess}",
                hint="zoo export without --web writes the ONNX files; no file was written",
                code="not-verified",
            )
        figures[port.name] = _figures(port, difference, max_loss, len(examples))
    return figures


def _figures(
    port: Port, difference: Difference, max_loss: float | None, examples: int
) -> dict[str, float]:
    allowed = {"tolerance": port.tolerance} if max_loss is None else {"max_loss_percent": max_loss}
    return {"greatest": difference.greatest, "mean": difference.mean, **allowed,
            "examples": examples}  # fmt: skip


def run_in_page(tab: Tab, graph: str, outputs: Sequence[Port], example: Example) -> Arrays:
    """Run a graph of an opened page on the inputs of an example."""
    feeds = {
        name: {
            "type": str(array.dtype),
            "dims": list(array.shape),
            "data": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode(),
        }
        for name, array in example.inputs.items()
    }
    found = tab.evaluate(RUN, [graph, feeds])
    return {
        port.name: np.frombuffer(base64.b64decode(found[port.name]["data"]), port.dtype).reshape(
            found[port.name]["dims"]
        )
        for port in outputs
    }


def _failed(page: Path, why: str) -> ZooError:
    return ZooError(
        f"{page.name} does not work in the browser: {why[:200]}",
        hint="zoo export without --web writes the ONNX files; no file was written",
        code="not-verified",
    )
