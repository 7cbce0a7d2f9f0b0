"""``python -m tests.anywhere`` writes the table in docs/onnx.md anew."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.anywhere.exports import export, models
from tests.anywhere.matrix import DOCUMENT, MARKED, Row, table, try_out
from tests.anywhere.runtimes import RUNTIMES


def main() -> None:
    missing = [f"{runtime.name}: {why}" for runtime in RUNTIMES if (why := runtime.absent())]
    if missing:
        sys.exit("\n".join(["the table needs every runtime:", *missing]))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        os.environ["ZOO_HOME"] = str(Path(place, "home"))
        for number, model in enumerate(models()):
            for each in export(model, Path(place, f"model-{number}")):
                cells = {runtime.name: try_out(runtime, each) for runtime in RUNTIMES}
                rows.append((each, cells))
                sys.stderr.write(f"{each.path.name}\n")
        os.chdir(DOCUMENT.parent)  # the place is about to go
    text = DOCUMENT.read_text(encoding="utf-8")
    fresh, count = MARKED.subn(lambda _: f"\n{table(rows, RUNTIMES)}\n\n", text)
    assert count == 1, f"{DOCUMENT} lacks the markers of the table"
    DOCUMENT.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    main()
