"""Write the files of plugins/zoo-web anew from npm's onnxruntime-web and PyPI's onnxruntime.

    npm pack onnxruntime-web@1.30.0 && tar xzf onnxruntime-web-1.30.0.tgz
    python tools/web_runtime.py package

Their sha256 must be those that `zoo.exporting.web_page` knows. The npm package has no licence file;
the Python package of the same project has it, with the notices of what both are built from.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
from pathlib import Path

import onnxruntime

from zoo.exporting.web_page import BINARY, LIBRARY, NOTICES, SHA256

OUTPUT = Path(__file__).parents[1] / "plugins/zoo-web/zoo_web"


def main(package: Path) -> None:
    """Write the files."""
    python_package = Path(str(onnxruntime.__file__)).parent
    sources = {name: package / "dist" / name.removesuffix(".gz") for name in (LIBRARY, BINARY)}
    sources |= {name: python_package / name.removesuffix(".gz") for name in NOTICES}
    for name, source in sources.items():
        content = source.read_bytes()
        if hashlib.sha256(content).hexdigest() != SHA256.get(name, ""):
            assert name in NOTICES, f"{source} is not the file of the version that is pinned"
        packed = gzip.compress(content, 9, mtime=0) if name.endswith(".gz") else content
        (OUTPUT / name).write_bytes(packed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
