"""A new plugin: all its names, made from one, and its files, written from templates."""

from __future__ import annotations

import importlib.util
import json
import keyword
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from string import Template

import zoo
from zoo.atomic import building, write_text
from zoo.catalog.card import MAX_NAME, check_name
from zoo.catalog.lookup import installed_models
from zoo.catalog.registry import read_registry, reserved_names
from zoo.errors import UsageError
from zoo.scaffold import KINDS, TEMPLATES

PREFIX = "zoo-"  # of distributions, so that their import names hide nobody else's module
NOBODY = ("TODO: your name", "TODO@example.org")


class Names:
    """What a new plugin and its parts are called, made from the name of its model."""

    def __init__(self, model: str) -> None:
        self.model = model  # what users type after `zoo train`
        self.distribution = model if model.startswith(PREFIX) else PREFIX + model
        self.package = self.distribution.replace("-", "_")  # what Python imports
        self.module = model.replace("-", "_")  # the file of the model in the package
        self.class_name = "".join(word.capitalize() for word in model.split("-"))


def names_of(model: str) -> Names:
    """Return the names of a plugin for a new model.

    Raises:
        UsageError: the name is no name, is taken or reserved, or is a word of Python.
    """
    try:
        check_name(model, "model")
    except ValueError as problem:
        raise UsageError(str(problem), hint="zoo plugins new my-model", code="bad-value") from None
    names = Names(model)
    reason = _why_not(names)
    if reason:
        raise UsageError(
            f"a new model cannot be called {model!r}: {reason}",
            hint=f"zoo plugins new my-{model[:12].strip('-')}",
            code="bad-value",
        )
    return names


def _why_not(names: Names) -> str:
    """Return why nobody can use these names, or nothing where they are free."""
    if len(names.distribution) > MAX_NAME:
        return f"{names.distribution}, its distribution, has more than {MAX_NAME} characters"
    offering = [
        entry.plugin.distribution for entry in installed_models() if entry.card.name == names.model
    ]
    if offering:
        return f"{offering[0]}, which is installed, has a model of that name"
    for row in read_registry().plugins:
        if names.model in row.models or names.distribution == row.distribution:
            return f"the name belongs to {row.distribution}, which the catalogue lists"
    if names.model in reserved_names():
        return "the name is reserved for zoo's own"
    if any(metadata.distributions(name=names.distribution)) or _is_module(names.package):
        return f"{names.distribution} is installed already"
    if keyword.iskeyword(names.module):
        return "it is a word of Python's, and the model's file could not be imported"
    if _is_module(names.module):
        return f"{names.module} is a module of Python's or of an installed package"
    return ""


def _is_module(name: str) -> bool:
    """Whether `import name` finds something; a folder that merely lies here does not count."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def write_project(names: Names, kind: str, folder: Path) -> list[str]:
    """Write a distribution with one model into a new folder, and return its files.

    The folder takes its name when everything is in it; its parents are made.

    Raises:
        UsageError: there is something at `folder`.
    """
    if folder.exists() or folder.is_symlink():
        raise UsageError(
            f"{folder} exists already", hint="another folder: -o FOLDER", code="already-exists"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    written = _fill(names, kind)
    with building(folder) as place:
        for name, content in written.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                (place / name).write_bytes(content)
            else:
                write_text(place / name, content)
    return sorted(written)


def _fill(names: Names, kind: str) -> dict[str, str | bytes]:
    """Return the text of every file by its path in the project; the bytes of data."""
    model_file = f"{kind}.py.tmpl"
    class_name = names.class_name
    if keyword.iskeyword(class_name) or re.search(rf"\b{class_name}\b", _read(model_file)):
        class_name += "Model"  # the file needs the plain name for something else
    author, email = _author()
    words = {
        "model": names.model,
        "distribution": names.distribution,
        "package": names.package,
        "module": names.module,
        "class_name": class_name,
        "bounds": bounds_of(zoo.__version__),
        "author": json.dumps(author, ensure_ascii=False),  # a string of JSON is one of TOML
        "email": json.dumps(email),
        "data": names.model,  # a data set of its own, unless the kind names another
        "imports": "\nfrom zoo import Card, Paper, hookimpl\n",
        "datasets": "",
        **KINDS[kind],
    }
    data: dict[str, str | bytes] = {}
    if file := words.get("file"):
        content = (TEMPLATES / "data" / file).read_bytes()
        data[f"{names.package}/data/{file}"] = content
        words["imports"] = (
            "\nfrom pathlib import Path\n\nfrom zoo import Card, Dataset, Paper, hookimpl\n"
        )
        words["datasets"] = Template(_read("dataset.py.tmpl")).substitute(words)
    templates = {
        "pyproject.toml": "pyproject.toml.tmpl",
        "README.md": "README.md.tmpl",
        "CHANGELOG.md": "CHANGELOG.md.tmpl",
        ".gitignore": "gitignore.tmpl",
        ".github/workflows/ci.yml": "ci.yml.tmpl",
        f"{names.package}/__init__.py": "package.py.tmpl",
        f"{names.package}/{names.module}.py": model_file,
        f"tests/test_{names.module}.py": "test.py.tmpl",
    }
    filled = {path: Template(_read(name)).substitute(words) for path, name in templates.items()}
    return {**filled, **data, "LICENSE": _read("LICENSE")}


def _read(template: str) -> str:
    return (TEMPLATES / template).read_text(encoding="utf-8")


def bounds_of(version: str) -> str:
    """Return which versions of zoo-core a plugin made with `version` may meet.

    Before 1.0 a minor release may break plugins: ``0.1.3`` -> ``>=0.1,<0.2``, ``1.2.0`` ->
    ``>=1.2,<2``. A pre-release counts as itself: ``0.2.0rc1`` -> ``>=0.2.0rc1,<0.3``.
    """
    major, minor = (int(part) for part in re.findall(r"\d+", version)[:2])
    lowest = f"{major}.{minor}" if re.fullmatch(r"[\d.]+", version) else version
    return f">={lowest},<{major + 1}" if major else f">={lowest},<0.{minor + 1}"


def _author() -> tuple[str, str]:
    """Return name and e-mail as git knows them, each with what to fill in where it does not."""
    found = {"user.name": "", "user.email": ""}
    if git := shutil.which("git"):
        for key in found:
            words = [git, "config", "--get", key]
            asked = subprocess.run(words, capture_output=True, check=False, timeout=10)
            found[key] = asked.stdout.decode(errors="replace").strip()
    name, email = found.values()
    usable = re.fullmatch(r"[\w.+-]+@[\w.-]+", email, flags=re.ASCII)
    return (name if name.isprintable() and name else NOBODY[0], email if usable else NOBODY[1])
