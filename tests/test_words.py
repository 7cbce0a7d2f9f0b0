"""docs/plugin-api.md lists every word that a field takes, and what a batch holds.

After a change that is meant: ``python -m tests.test_words`` writes the lists anew.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

import zoo
from zoo.catalog.lookup import find_model
from zoo.modalities import OWN
from zoo.testing.model_under_test import ModelUnderTest

DOCUMENT = Path(__file__).parents[1] / "docs" / "plugin-api.md"
BEGIN = "<!-- written by python -m tests.test_words -->\n"
BEGIN_FIELDS = "<!-- fields, written by python -m tests.test_words -->\n"
END = "<!-- end of what is written -->\n"
EXAMPLES = ("cgan", "cyclegan")  # models whose batches have, together, all keys
BATCHES = 16
SHOWN = ("Card", "Asset", "Dataset", "RemoteFile", "Player", "Graph", "Port", "Goal", "Monitor",
         "Training")  # fmt: skip
DIMENSIONS = {1: "(N,)", 2: "(N, D)", 4: "(N, C, H, W)"}


def words() -> Iterator[str]:
    """Yield a row for each field of a public class that takes only some words."""
    kinds = ", ".join(f'`"{kind}"`' for kind in [*OWN, "latent"])
    yield f"| `Port.kind`, values of `Card.needs` | {kinds}, or a plugin's own |"
    for name in sorted(zoo.__all__):
        found = getattr(zoo, name)
        if not (inspect.isclass(found) and dataclasses.is_dataclass(found)):
            continue
        hints = get_type_hints(found)
        for field in dataclasses.fields(found):
            if allowed := list(_allowed(hints[field.name])):
                yield f"| `{name}.{field.name}` | {', '.join(allowed)} |"


def _allowed(hint: Any) -> Iterator[str]:
    """Yield the words of a type: those of a literal, or of one in a union, and None."""
    if get_origin(hint) is Literal:
        yield from (f"`{word!r}`".replace("'", '"') for word in get_args(hint))
    elif any(get_origin(part) is Literal for part in get_args(hint)):
        for part in get_args(hint):
            yield from ["`None`"] if part is type(None) else _allowed(part)


def keys() -> Iterator[str]:
    """Yield a row for each array in the batches that some models learn from."""
    for name in EXAMPLES:
        model = ModelUnderTest.of(find_model(name))
        batches = list(islice(model.batches().epoch(0), BATCHES))
        for key in batches[0]:
            numbers = torch.cat([batch[key] for batch in batches])
            row = [f"`{key}`", DIMENSIONS[numbers.ndim], str(numbers.dtype).removeprefix("torch."),
                   _range(numbers, len(model.spec.classes)), f"`{name}`"]  # fmt: skip
            yield f"| {' | '.join(row)} |"


def _range(numbers: Tensor, classes: int) -> str:
    low, high = numbers.min().item(), numbers.max().item()
    if numbers.is_floating_point():
        assert (low, high) == (-1, 1), "pictures of these data reach from black to white"
        return "[-1, 1]"
    assert 0 <= low <= high < classes
    return "0 to the number of classes - 1"


def fields() -> Iterator[str]:
    """Yield what each public class that authors build or fill in says of itself."""
    for name in SHOWN:
        parameters = []
        for field in dataclasses.fields(getattr(zoo, name)):
            given = field.init and field.default is not dataclasses.MISSING
            shown = getattr(field.default, "__name__", repr(field.default))
            told = f" = {shown}" if given else ""
            told = " = …" if field.init and not given and callable(field.default_factory) else told
            parameters += [f"{field.name}: {field.type}{told}"] if field.init else []
        head = f"{name}(\n    " + ",\n    ".join(parameters) + ",\n)"
        told = (inspect.getdoc(getattr(zoo, name)) or "").replace("`", "")
        yield f"### {name}\n\n```text\n{head}\n\n{told}\n```\n"


def lists() -> str:
    """Return both lists, as the document has them."""
    words_of_fields = ["| field | words |", "|---|---|", *words()]
    arrays = [
        "| key of a batch | shape | dtype | range | of, for example |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*words_of_fields, "", *arrays, *keys()]) + "\n"


PARTS = {BEGIN: lists, BEGIN_FIELDS: lambda: "\n".join(fields())}


def test_the_document_lists_the_words_keys_and_fields_that_there_are() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for begin, written in PARTS.items():
        assert text.partition(begin)[2].partition(END)[0] == written()


if __name__ == "__main__":
    for begin, written in PARTS.items():
        before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(begin)
        text = before + begin + written() + END + rest.partition(END)[2]
        DOCUMENT.write_text(text, encoding="utf-8")
