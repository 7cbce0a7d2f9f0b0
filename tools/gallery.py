"""Write a page for each model with published weights, and an index of them.

    python tools/gallery.py [FOLDER]

The folder, `gallery` when not given, is made anew; a page is some megabytes, so that none is
committed. The index opens with a double click like the pages.
"""

from __future__ import annotations

import html
import shutil
import sys
from pathlib import Path

import zoo
from zoo.atomic import write_text
from zoo.catalog.registry import read_registry

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Models to play with</title>
<style>
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
ul { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1.5rem;
     padding: 0; list-style: none; }
img { width: 100%; image-rendering: pixelated; border-radius: 6px; }
</style>
</head>
<body>
<h1>Models to play with</h1>
<ul>
"""


def main(folder: Path) -> None:
    """Write pages and index."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    items = []
    for row in read_registry().weights:
        bundle = zoo.export(row.model, folder / row.model, web=True)
        assert bundle.page is not None
        address = bundle.page.path.relative_to(folder).as_posix()
        pictures = sorted((folder / row.model / "pictures").glob("*.png"))
        shown = [f'<img src="{html.escape(each.relative_to(folder).as_posix())}" alt="">'
                 for each in pictures[:1]]  # fmt: skip
        items.append(
            f'<li><a href="{html.escape(address)}">{"".join(shown)}{html.escape(row.model)}</a>'
            f"<br>{html.escape(row.summary)}</li>\n"
        )
    write_text(folder / "index.html", HEAD + "".join(items) + "</ul>\n</body>\n</html>\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "gallery"))
