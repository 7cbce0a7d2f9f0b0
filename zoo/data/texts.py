"""Files of plain text: one alphabet, windows of one length."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path

from zoo.atomic import SPECIAL, is_special
from zoo.data.location import Listing, presentable
from zoo.data.splits import Files, by_split
from zoo.errors import NotFoundError
from zoo.modalities import text
from zoo.modalities.base import DecodeOptions, Side

MAX_BYTES = 2**28  # of all texts together
USUAL_LENGTH = 128  # symbols of a window, unless --length says otherwise
FEWEST = 32  # symbols; a shorter text only says something about what it lies beside
HELD_OUT = 0.1  # share at the end of the training text that is kept for validation


def list_text(base: Path, files: Files, options: DecodeOptions) -> Listing:
    """List text in windows; validation is the last tenth, where it is no split of its own.

    Files follow one another in the order of their names.

    Raises:
        NotFoundError: a file is no text, or there is too little or too much.
    """
    length = options.length or USUAL_LENGTH
    splits, _ = by_split(files)
    paths = {split: [base / path for path in found] for split, found in splits.items()}
    texts = {split: _read_all(found) for split, found in paths.items()}
    notes = []
    if "validation" not in texts and "train" in texts:
        whole = texts["train"]
        end = len(whole) - max(length, round(HELD_OUT * len(whole)))
        texts["train"], texts["validation"] = whole[: max(end, 0)], whole[max(end, 0) :]
        notes.append(f"the last {HELD_OUT:.0%} of the text are held out")
    if sum(map(len, texts.values())) < FEWEST:
        return Listing("text", {})
    alphabet = options.alphabet or text.alphabet_of(texts["train"])
    listed = {}
    for split, content in texts.items():
        rows = text.windows(content, alphabet, length)
        if split == "train" and len(rows) < 2:
            raise NotFoundError(
                f"the text in {base} is too short: {len(content):,} training symbols",
                cause=f"windows have {length} symbols, and 2 of them are the least",
                hint="--length with a smaller number, or more text",
                code="too-few-rows",
            )
        if len(rows):
            listed[split] = {text.Text.kind: Side(rows, kind=text.Text.kind)}
    unknown = sum(
        each not in set(alphabet) for name, content in texts.items() if name != "train"
        for each in content
    )  # fmt: skip
    if unknown:
        notes.append(f"{unknown:,} held-out symbols are not in the alphabet of the training text")
    port = text.port_of(text.Text.kind, length, alphabet)
    return Listing(
        "text",
        listed,
        ports={port.name: port},
        notes=tuple(notes),
        tables=tuple(path for found in paths.values() for path in found),
    )


def _read_all(paths: Sequence[Path]) -> str:
    """Return the text of several files; lines end in a line feed alone."""
    total = sum(path.stat().st_size for path in paths)
    if total > MAX_BYTES:
        raise NotFoundError(
            f"the texts hold {total:,} bytes; at most {MAX_BYTES:,} are read", code="bad-data"
        )
    return "\n".join(map(_read, paths))


def _read(path: Path) -> str:
    if is_special(path):
        raise _unreadable(path, SPECIAL, "take it out of the folder")
    try:
        content = path.read_bytes()
        marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        decoded = content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as problem:
        cause = f"it is not UTF-8: {presentable(str(problem))[:120]}"
        hint = "save it as UTF-8, or take it out of the folder"
        raise _unreadable(path, cause, hint) from None
    except OSError as problem:
        cause = problem.strerror or str(problem)
        raise _unreadable(path, cause, "take it out of the folder") from None
    return decoded.replace("\r\n", "\n").replace("\r", "\n")


def _unreadable(path: Path, cause: str, hint: str) -> NotFoundError:
    return NotFoundError(f"cannot read the text {path}", cause=cause, hint=hint, code="bad-data")
