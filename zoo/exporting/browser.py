"""Runs a page in a headless browser on stored reference inputs, and compares what comes out.

It needs the package playwright and a Chromium; without them, a page is not run.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 120  # until the first result must be there
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
class PageCheck:
    """What came of running a page.

    Args:
        browser: name and version; empty where the page was not run.
        why_not: why it was not run; empty where it was.
        seconds: from opening the file to the first result.
        checks: by graph and output, greatest difference, tolerance, number of examples.
    """

    browser: str = ""
    why_not: str = ""
    seconds: float = 0.0
    checks: Figures = field(default_factory=dict)


def why_no_browser() -> str:
    """Return why no page can be run here; nothing if one can."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed (pip install playwright)"
    if find_chromium() is None:
        return "no Chromium or Chrome is found"
    return ""


def find_chromium() -> str | None:
    """Return the path of Chromium or Chrome."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def arguments() -> list[str]:
    """Return arguments of Chromium; as root it starts without its sandbox only."""
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


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
    why_not = why_no_browser()
    if why_not:
        return PageCheck(why_not=why_not)
    from playwright.sync_api import Error, sync_playwright  # noqa: PLC0415 - not a requirement

    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=find_chromium(), args=arguments(), headless=True
            )
            tab = browser.new_page()
            asked: list[str] = []
            tab.on("request", lambda request: asked.append(request.url))
            started = time.monotonic()
            tab.goto(page.resolve().as_uri())
            tab.wait_for_selector("html[data-ready]", timeout=1000 * SECONDS, state="attached")
            seconds = time.monotonic() - started
            problem = tab.locator(".problem")
            if problem.count():
                raise _failed(page, problem.inner_text())
            checks = {
                f"{entry.graph}/{output}": figures
                for entry in manifest.files.values()
                for output, figures in _compare(tab, entry, folder, max_loss).items()
            }
            abroad = [url for url in asked if not url.startswith(("blob:", "data:", "file:"))]
            if abroad:
                raise _failed(page, f"it asks for {abroad[0][:100]}")
            version = f"Chromium {browser.version}"
            browser.close()
    except Error as problem_of_browser:
        raise _failed(page, str(problem_of_browser).strip().splitlines()[0]) from None
    return PageCheck(version, "", seconds, checks)


def _compare(tab: Any, entry: ExportedFile, folder: Path, max_loss: float | None) -> Figures:
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


def run_in_page(tab: Any, graph: str, outputs: Sequence[Port], example: Example) -> Arrays:
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
