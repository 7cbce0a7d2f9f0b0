"""What others rely on changes only on purpose: the public surface is the recorded one.

After a change that is meant: ``python -m tests.test_surface`` records it anew. Adding needs a minor
release, taking away or changing needs more (docs/plugin-api.md).
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any, get_args

import zoo
from zoo import ports
from zoo.catalog import dataset
from zoo.catalog.plugins import Hooks

RECORD = Path(__file__).with_name("surface.txt")
DOCUMENTS = [Path(__file__).parents[1] / "docs" / name for name in ("plugin-api.md", "python.md")]


def surface() -> list[str]:
    """One line for each name, field, method and hook that a plugin may use."""
    lines = []
    for name in sorted(zoo.__all__):
        found = getattr(zoo, name)
        if inspect.isclass(found):
            lines += _class(name, found)
        elif name == "hookimpl":  # pluggy's own
            lines.append("zoo.hookimpl")
        elif callable(found):
            lines.append(f"zoo.{name}{inspect.signature(found)}")
        else:
            lines.append(f"zoo.{name}: {type(found).__name__}")
    for choice in (dataset.Layout, ports.Prior, ports.DType):
        lines.append(" | ".join(map(str, get_args(choice))))
    for name in sorted(vars(Hooks)):
        if name.startswith("zoo_"):
            lines.append(f"hook {name}{inspect.signature(getattr(Hooks, name))}")
    return [re.sub(r" at 0x[0-9a-f]+", "", line) for line in lines]  # of functions as defaults


def _class(name: str, found: type[Any]) -> list[str]:
    bases = ", ".join(base.__name__ for base in found.__bases__)
    lines = [f"zoo.{name}({bases})"]
    if dataclasses.is_dataclass(found):
        for field in dataclasses.fields(found):
            required = field.default is field.default_factory is dataclasses.MISSING
            default = "" if required else " = …"
            lines.append(f"zoo.{name}.{field.name}: {field.type}{default}")
    for key, value in sorted(vars(found).items()):
        member = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if key.startswith("_") and not (key == "__init__" and not dataclasses.is_dataclass(found)):
            continue
        if inspect.isfunction(member):
            lines.append(f"zoo.{name}.{key}{inspect.signature(member)}")
        elif isinstance(member, property):
            lines.append(f"zoo.{name}.{key}")
    return lines


def test_the_public_surface_is_the_recorded_one() -> None:
    assert surface() == RECORD.read_text(encoding="utf-8").splitlines()


def test_every_public_name_is_described() -> None:
    text = "".join(each.read_text(encoding="utf-8") for each in DOCUMENTS)
    hooks = [name for name in vars(Hooks) if name.startswith("zoo_")]
    names = (*zoo.__all__, *hooks)
    missing = [name for name in names if not re.search(rf"`(zoo\.)?{name}\b", text)]
    assert not missing


if __name__ == "__main__":
    RECORD.write_text("\n".join(surface()) + "\n", encoding="utf-8")
