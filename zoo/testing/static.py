"""What can be seen without training: names, metadata, the wheel and the card."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import asdict
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from zoo.catalog.card import check_name
from zoo.catalog.known import normalised
from zoo.catalog.plugins import installed
from zoo.catalog.registry import reserved_names
from zoo.testing.check import Check, Finding, Skip
from zoo.testing.package import Package, folder_of
from zoo.testing.subject import Subject
from zoo.training.config import resolve

CORE = "zoo-core"
LONGEST_SUMMARY = 90  # characters; a row of `zoo list` has room for no more
PLACEHOLDERS = re.compile(
    r"\b(TODO|FIXME|XXX)\b|\bA Paper\b|\bSomebody\b|(?i:\bexample\.(org|com|net)\b)"
)
BUILD_SECONDS = 300
NOT_BUILT = {".venv", "venv", ".tox", ".nox", "runs", "exports"}  # large; beside any plugin
LITTER = ("__pycache__", ".*", "*.pyc", "*~", "*.orig", "*.rej", "Thumbs.db")


def names(package: Package) -> None:
    """The distribution is named as the zoo names things."""
    try:
        check_name(package.name, "distribution")
    except ValueError as problem:
        raise Finding(str(problem), package.line_of_metadata("name =", "Name:")) from None


def reserved(package: Package) -> None:
    """No model and no data set takes a name that belongs to the zoo, or to another plugin here."""
    others = {
        each.name: plugin.distribution
        for plugin in installed()
        for kind in (plugin.models, plugin.datasets)
        for each in kind
        if normalised(plugin.distribution) != normalised(package.name)
    }
    owners = {**others, **reserved_names()}
    for plugin in package.plugins:
        for name in (each.name for kind in (plugin.models, plugin.datasets) for each in kind):
            owner = owners.get(name, package.name)
            if normalised(owner) != normalised(package.name):
                raise Finding(f"the name {name!r} belongs to {owner}", package.line_of_card(name))


def core_version(package: Package) -> None:
    """The metadata require zoo-core between two bounds, so that no later zoo breaks the plugin."""
    required = (package.metadata.requires if package.metadata else None) or []
    found = [each for each in map(_requirement, required) if each and _is_core(each)]
    if not found:
        raise Finding(
            f"it does not require {CORE}", package.line_of_metadata("dependencies", "Name:")
        )
    operators = {each.operator for requirement in found for each in requirement.specifier}
    low, high = (
        operators & {">=", ">", "==", "~=", "==="},
        operators & {"<", "<=", "==", "~=", "==="},
    )
    if not (low and high):
        missing = "above" if low else "below" if high else "below or above"
        raise Finding(
            f"{str(found[0])!r} has no bound {missing}; {CORE}>=0.1,<0.2 has both",
            package.line_of_metadata(CORE),
        )


def wheel(package: Package) -> None:
    """The project builds as a wheel that holds every file of the plugin."""
    if package.project is None:
        raise Skip("it was not installed from a folder on this machine")
    backend = package.project_file.get("build-system", {}).get("build-backend", "setuptools")
    if not _is_importable(backend.partition(".")[0]):
        raise Skip(f"what builds it, {backend}, is not installed here")
    if not _is_importable("pip"):
        raise Skip("pip, which builds wheels, is not installed here")
    held = _files_in_wheel(package.project)
    for plugin in package.plugins:
        folder = folder_of(plugin.module)
        if folder is None or not folder.is_relative_to(package.project):
            continue
        for file in [folder] if folder.is_file() else _files(folder):
            name = file.relative_to(folder.parent).as_posix()
            if name not in held:
                raise Finding(
                    f"the wheel lacks {name}",
                    package.line_of_metadata("packages", "[tool.hatch", "[tool.setuptools",
                                             "[build-system]"),
                )  # fmt: skip


def summary(model: Subject) -> None:
    """The summary is one short line without a full stop."""
    text = model.card.summary
    if not text.strip():
        raise Finding("the card has no summary", model.line_of_card())
    if "\n" in text or len(text) > LONGEST_SUMMARY:
        wanted = f"one line of at most {LONGEST_SUMMARY} characters"
        raise Finding(f"the summary must be {wanted}, it has {len(text)}", model.line_of_card(text))
    if text.rstrip().endswith("."):
        raise Finding("the summary ends in a full stop", model.line_of_card(text))


def paper(model: Subject) -> None:
    """The paper has a title, authors, a year and a link."""
    source = model.card.paper
    for field, value in asdict(source).items():
        if not value:
            raise Finding(f"the paper has no {field}", model.line_of_card())
    if not 1900 <= source.year <= date.today().year + 1:
        raise Finding(f"no paper is of the year {source.year}", model.line_of_card())
    if not re.match(r"https?://\S+\.\S+", source.url):
        raise Finding(f"{source.url!r} is no link to a paper", model.line_of_card(source.url))


def placeholders(model: Subject) -> None:
    """The card says nothing that stands there only until somebody fills it in."""
    source = model.card.paper
    for text in (model.card.summary, source.title, source.authors, source.url):
        found = PLACEHOLDERS.search(text)
        if found:
            raise Finding(f"{text!r} is a placeholder: {found[0]}", model.line_of_card(text))


def model_class(model: Subject) -> None:
    """The dotted path of the card leads to a class of a model with a configuration."""
    assert model.model_class


def presets(model: Subject) -> None:
    """Every preset sets options that there are, to values that they take."""
    usual = asdict(model.model_class.training_preset)
    for name, preset in model.card.presets.items():
        values = {key: value for key, value in preset.items() if key != "size"}
        try:
            resolve(model.model_class.Config, usual, [values])
        except Exception as problem:
            raise Finding(f"preset {name!r}: {problem}", model.line_of_card()) from problem


CHECKS = [Check("static", each) for each in (names, reserved, core_version, wheel)]
MODEL_CHECKS = [
    Check("static", each) for each in (summary, paper, placeholders, model_class, presets)
]


def _requirement(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _is_core(requirement: Requirement) -> bool:
    """Whether it asks for zoo-core always, and not only as an extra."""
    in_extra = requirement.marker is not None and "extra" in str(requirement.marker)
    return normalised(requirement.name) == CORE and not in_extra


def _is_importable(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _files(folder: Path) -> list[Path]:
    """Return the files of a package, without what editors and other programs leave there."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(map(_is_litter, path.relative_to(folder).parts))
    ]


def _is_litter(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in LITTER)


def _not_copied(project: Path, folder: str, names: list[str]) -> list[str]:
    """Return what the build of a project does without; a package may be called as it likes."""
    at_top = Path(folder) == project
    return [
        name
        for name in names
        if name == "__pycache__"
        or (at_top and name in NOT_BUILT and not Path(folder, name, "__init__.py").exists())
    ]


@functools.cache
def _files_in_wheel(project: Path) -> frozenset[str]:
    """Build a wheel of a copy of the project, which stays as it is; return what it holds.

    Raises:
        Finding: it cannot be built.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(project, Path(folder, "project"), symlinks=True,
                               ignore=functools.partial(_not_copied, project))  # fmt: skip
        words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index",
                 "--no-build-isolation", "--disable-pip-version-check",
                 "--wheel-dir", folder, str(copy)]  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, check=False,
                              timeout=BUILD_SECONDS, env=os.environ)  # fmt: skip
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            said = [line.strip() for line in done.stderr.splitlines() if "Error" in line]
            raise Finding(
                f"the wheel cannot be built: {(said or [done.stderr.strip()[-200:]])[-1][:300]}",
                f"{project / 'pyproject.toml'}, line 1",
            )
        with zipfile.ZipFile(wheels[0]) as archive:
            return frozenset(archive.namelist())
