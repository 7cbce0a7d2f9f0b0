"""The page holds the files that were verified, and nothing that it shows can become code."""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.errors import raises
from zoo import DataSpec, Graph, Model, Player, Port, Update, option
from zoo.errors import NotFoundError, PluginError
from zoo.exporting import browser
from zoo.exporting.bundle import export_bundle
from zoo.exporting.shared_bytes import join_shared
from zoo.exporting.verify import check_others
from zoo.exporting.web_page import (
    BINARY,
    LIBRARY,
    SOURCES,
    WebRuntime,
    find_runtime,
    join_modules,
)
from zoo.identity import Identity
from zoo.manifest import read_manifest
from zoo.model.weights import Trained, save_weights

HOSTILE = "</script><img src=x onerror=alert(1)><!--script-->"
SPEC = DataSpec.of_images(f"dots {HOSTILE}", 1, 4, 4, (HOSTILE, "&lt;b&gt;", "plain"))
EMBEDDED = re.compile(r'<script type="([^"]+)" id="([^"]+)">(.*?)</script>', re.DOTALL)


@dataclass(frozen=True)
class DotsConfig:
    words: str = option(HOSTILE, "any text")


class Dots(Model):
    """Makes pictures of noise and a class."""

    Config = DotsConfig

    def __init__(self, config: DotsConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.embedding = nn.Embedding(3, 4)
        self.network = nn.Linear(4, 16)

    def players(self) -> Mapping[str, Player]:
        return {"network": Player([self.embedding, self.network], torch.optim.SGD)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        yield Update("network", loss=batch["image"].mean())

    def draw(self, latent: Tensor, label: Tensor) -> Tensor:
        return torch.tanh(self.network(latent + self.embedding(label))).reshape(-1, 1, 4, 4)

    def graphs(self) -> Mapping[str, Graph]:
        inputs = [Port.latent("latent", 4), self.data.label]
        return {"draw": Graph(self.draw, inputs, [Port.image("image", self.data.image)])}


def trained(folder: Path, seed: int = 0) -> Trained:
    torch.manual_seed(seed)
    model = Dots(DotsConfig(), SPEC).eval()
    graphs = {name: graph.signature for name, graph in model.graphs().items()}
    header = Identity("dots", "tests", "1", {"words": HOSTILE}, SPEC, graphs)
    path = folder / "weights.safetensors"
    save_weights(path, model, header)
    return Trained(model, header, path)


@pytest.fixture
def _no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "find_browsers", dict)


@pytest.fixture
def runtime() -> WebRuntime:
    return WebRuntime(*(gzip.compress(text) for text in (b"library", b"binary", b"notices")))


def elements(page: Path) -> dict[str, str]:
    return {name: content for _, name, content in EMBEDDED.findall(page.read_text("utf-8"))}


@pytest.mark.usefixtures("_no_browser")
def test_the_page_holds_the_bytes_that_were_verified(tmp_path: Path, runtime: WebRuntime) -> None:
    folder = tmp_path / "bundle"
    bundle = export_bundle(trained(tmp_path), folder, web=runtime)
    manifest = read_manifest(folder)
    assert bundle.page is not None and manifest.page is not None
    assert bundle.page.path.is_file() and bundle.page.path in bundle.files
    inside = elements(bundle.page.path)
    new = gzip.decompress(base64.b64decode(inside["graph-0"]))
    ((_, graph),) = [(each, join_shared([(each, new)])[0]) for each in json.loads(inside["ranges"])]
    (entry,) = manifest.files.values()
    assert hashlib.sha256(graph).hexdigest() == entry.sha256 == manifest.page.graphs["draw"]
    assert graph == (folder / entry.file).read_bytes()
    content = bundle.page.path.read_bytes()
    assert manifest.page.bytes == len(content) == bundle.page.bytes
    assert manifest.page.sha256 == hashlib.sha256(content).hexdigest()
    assert manifest.page.checks == {}, "where no browser is, nothing is claimed"
    assert check_others(folder) == ""
    bundle.page.path.write_bytes(content.replace(b"verified", b"believed", 1))
    with raises(NotFoundError, "hash-mismatch", bundle.page.path.name):
        check_others(folder)
    told = json.loads(inside["manifest"])
    assert told["files"]["draw"]["sha256"] == entry.sha256


@pytest.mark.usefixtures("_no_browser")
def test_no_name_of_a_stranger_becomes_a_part_of_the_page(
    tmp_path: Path, runtime: WebRuntime
) -> None:
    bundle = export_bundle(trained(tmp_path), tmp_path / "bundle", web=runtime)
    assert bundle.page is not None
    text = bundle.page.path.read_text("utf-8")
    assert "<img" not in text and "onerror=alert(1)>" in text
    inside = elements(bundle.page.path)
    assert json.loads(inside["manifest"])["identity"]["data"]["ports"][1]["classes"][0] == HOSTILE
    script = text.rpartition('<script type="module">')[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in text and "default-src 'none'" in text
    assert "'unsafe-inline' 'wasm" not in text and "connect-src" not in text
    assert not re.search(r"(?:src|href)=[\"']?https?:", text)


@pytest.mark.usefixtures("_no_browser")
def test_a_page_stays_with_its_files_and_goes_with_them(
    tmp_path: Path, runtime: WebRuntime
) -> None:
    folder = tmp_path / "bundle"
    bundle = export_bundle(trained(tmp_path), folder, web=runtime)
    assert bundle.page is not None
    export_bundle(trained(tmp_path), folder)  # the same weights
    manifest = read_manifest(folder)
    same = manifest.page is not None
    assert same == bundle.page.path.is_file()
    if manifest.page:
        assert manifest.page.graphs["draw"] == manifest.files["draw"].sha256
    removed = export_bundle(trained(tmp_path, seed=1), folder).removed
    assert read_manifest(folder).page is None
    assert not bundle.page.path.exists()
    assert not same or bundle.page.path in removed


def test_a_page_that_leaves_its_folder_is_not_believed(tmp_path: Path) -> None:
    export_bundle(trained(tmp_path), tmp_path / "bundle")
    path = tmp_path / "bundle" / "manifest.json"
    listed = json.loads(path.read_text())
    facts = {"bytes": 1, "sha256": "0" * 64, "runtime": "x", "graphs": {}, "checks": {}}
    path.write_text(json.dumps({**listed, "page": {"file": "../../page.html", **facts}}))
    with pytest.raises(ValueError, match="page"):
        read_manifest(tmp_path / "bundle")


def test_without_the_runtime_an_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.exporting.web_page.RUNTIME_PACKAGE", "zoo_web_that_is_not_there")
    with raises(PluginError, "missing-package", "zoo-web", "pip install"):
        find_runtime()
    package = tmp_path / "zoo_web_of_another"
    package.mkdir()
    (package / LIBRARY).write_bytes(b"another")
    (package / BINARY).write_bytes(gzip.compress(b"another"))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    monkeypatch.setattr("zoo.exporting.web_page.RUNTIME_PACKAGE", package.name)
    with raises(PluginError, "hash-mismatch", LIBRARY):
        find_runtime()


def test_modules_become_one_script_in_the_order_of_their_imports() -> None:
    modules = {
        "main": 'import { two } from "./b.js";\nimport { one } from "./a.js";\nuse(one, two);\n',
        "b": 'import { one } from "./a.js";\nexport const two = one + 1;\n',
        "a": "export const one = 1;\nconst import_ = 2;\n",
        "c": "never();\n",
    }
    joined = join_modules(modules)
    assert joined.index("one = 1") < joined.index("two = one") < joined.index("use(one, two)")
    assert "import {" not in joined and "export" not in joined and "never" not in joined


def test_the_script_of_the_page_is_one_that_can_be_read(tmp_path: Path) -> None:
    """Names at the top of modules differ, and nothing in them ends the element around it."""
    sources = {path.stem: path.read_text("utf-8") for path in SOURCES.glob("*.js")}
    joined = join_modules(sources)
    assert all(f"// {name}.js" in joined for name in sources if name != "worker")
    assert "</script" not in joined + sources["worker"]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", joined)
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    (tmp_path / "page.mjs").write_text(joined)
    subprocess.run(["node", "--check", tmp_path / "page.mjs"], check=True)
    for name, source in sources.items():
        unused = [
            each
            for names in re.findall(r"^import \{([^}]*)\}", source, re.MULTILINE)
            for each in map(str.strip, names.split(","))
            if len(re.findall(rf"\b{each}\b", source)) < 2
        ]
        assert unused == [], name


def test_the_runtime_that_comes_with_zoo_is_the_one_that_is_pinned() -> None:
    found = find_runtime()
    licence, notices = gzip.decompress(found.notices).split(b"\n\n\n", 1)
    assert b"MIT License" in licence and len(notices) > 100_000
    assert len(found.library) + len(found.binary) < 4_000_000
