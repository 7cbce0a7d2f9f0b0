"""One HTML file that runs exported files in a browser, offline, from a double click.

Everything is inside: the files as they were verified, onnxruntime-web, and the code in `web/`,
whose modules become one script. Its panels follow from the ports of the graphs.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from pathlib import Path

from zoo.errors import PluginError
from zoo.exporting.shared_bytes import find_shared
from zoo.identity import Manifest
from zoo.records import to_plain

RUNTIME = "onnxruntime-web 1.30.0"
RUNTIME_PACKAGE = "zoo_web"
LIBRARY = "ort.wasm.bundle.min.mjs"
BINARY = "ort-wasm-simd-threaded.wasm.gz"
NOTICES = ("LICENSE", "ThirdPartyNotices.txt.gz")
# sha256 of the two files as the npm package of RUNTIME has them, before gzip
SHA256 = {
    LIBRARY: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    BINARY: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
SOURCES = Path(__file__).parent / "web"
IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=async function |function |class |const )", re.MULTILINE)
PLACE = re.compile(r"<!--(\w+)-->")


@dataclass(frozen=True)
class WebRuntime:
    """The files of onnxruntime-web, each as a gzip file, and its licences."""

    library: bytes
    binary: bytes
    notices: bytes


def find_runtime() -> WebRuntime:
    """Return onnxruntime-web from the package zoo-web.

    Raises:
        PluginError: it is not installed, or its files are others.
    """
    spec = importlib.util.find_spec(RUNTIME_PACKAGE)
    folders = (spec and spec.submodule_search_locations) or ()
    folder = next((Path(each) for each in folders if Path(each, LIBRARY).is_file()), None)
    if folder is None:
        raise PluginError(
            f"a page needs {RUNTIME}, which the package zoo-web holds; it is not installed",
            hint="pip install ./plugins/zoo-web  (in a clone of zoo)",
            code="missing-package",
        )
    library, packed = (folder / LIBRARY).read_bytes(), (folder / BINARY).read_bytes()
    for name, content in ((LIBRARY, library), (BINARY, gzip.decompress(packed))):
        if hashlib.sha256(content).hexdigest() != SHA256[name]:
            raise PluginError(
                f"{folder / name} is not the file of {RUNTIME}",
                hint="pip install --force-reinstall ./plugins/zoo-web  (in a clone of zoo)",
                code="hash-mismatch",
            )
    licence, notices = ((folder / name).read_bytes() for name in NOTICES)
    both = licence + b"\n\n" + gzip.decompress(notices)
    return WebRuntime(_gzip(library), packed, _gzip(both))


def render_page(manifest: Manifest, folder: Path, runtime: WebRuntime) -> str:
    """Return the page of all files that a manifest lists.

    Args:
        manifest: whose files the page runs.
        folder: with these files.
        runtime: from `find_runtime`.
    """
    data = {"manifest": _script("manifest", "application/json", _as_json(manifest))}
    contents = [(folder / entry.file).read_bytes() for entry in manifest.files.values()]
    for entry, content in zip(manifest.files.values(), contents, strict=True):
        found = hashlib.sha256(content).hexdigest()
        assert found == entry.sha256, "the verified bytes are those in the page"
    parts = find_shared(contents)
    data["ranges"] = _script("ranges", "application/json", json.dumps([each for each, _ in parts]))
    for index, (_, new) in enumerate(parts):
        data[f"graph-{index}"] = _packed(f"graph-{index}", _gzip(new))
    data["library"] = _packed("runtime-library", runtime.library)
    data["binary"] = _packed("runtime-binary", runtime.binary)
    data["notices"] = _packed("notices", runtime.notices)
    data["worker"] = _script("worker", "text/plain", _source("worker.js"))
    script = join_modules(
        {path.stem: path.read_text(encoding="utf-8") for path in SOURCES.glob("*.js")}
    )
    places = {
        "policy": _policy(script),
        "title": html.escape(f"{manifest.identity.model} · {manifest.identity.data.name}"),
        "style": _source("page.css"),
        "data": "\n".join(data.values()),
        "script": script,
    }
    # in one go, so that no text that goes in is itself searched
    return PLACE.sub(lambda found: places[found[1]], _source("page.html"))


def join_modules(modules: Mapping[str, str], main: str = "main") -> str:
    """Return JavaScript modules as one, each behind those that it imports.

    A module on a disk may not import another, so that a page that is opened from there has one.
    Names at the top of modules must differ.

    Args:
        modules: source by name of the module.
        main: the module that imports all others, some through others.
    """
    needs: dict[str, list[str]] = {}
    asked = [main]
    while asked:
        name = asked.pop()
        if name not in needs:
            needs[name] = IMPORT.findall(modules[name])
            asked += needs[name]
    order = TopologicalSorter(needs).static_order()
    parts = [f"// {name}.js\n{EXPORT.sub('', IMPORT.sub('', modules[name]))}" for name in order]
    return "\n" + "\n".join(parts)


def page_manifest(manifest: Manifest, keys: set[str]) -> Manifest:
    """Return a manifest of some of its files, without the page itself."""
    files = {key: entry for key, entry in manifest.files.items() if key in keys}
    return replace(manifest, files=files, page=None)


def _policy(script: str) -> str:
    """Return a policy under which the page runs its own script and can ask for nothing."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}' 'wasm-unsafe-eval' blob:; "
        "worker-src blob:; style-src 'unsafe-inline'; img-src blob: data:; media-src blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _source(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


def _as_json(manifest: Manifest) -> str:
    """Return the manifest as JSON in which no text can end the element that holds it."""
    text = json.dumps(to_plain(manifest), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c")


def _script(name: str, kind: str, content: str) -> str:
    return f'<script type="{kind}" id="{name}">{content}</script>'


def _packed(name: str, content: bytes) -> str:
    return _script(name, "application/octet-stream", base64.b64encode(content).decode())


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
