"""What can be seen without training: names, metadata, the wheel, the card, and what importing does.

Imports are watched in a process that has imported nothing yet (`import_probe`).
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from zoo.catalog.card import check_name
from zoo.catalog.plugins import installed_plugins
from zoo.catalog.registry import CORE, normalised, reserved_names
from zoo.testing import import_probe
from zoo.testing.check import Check, Finding, PrerequisiteFailed, Skip, line_containing, python_path
from zoo.testing.model_under_test import ModelUnderTest, Package, folder_of
from zoo.training.config import resolve

LONGEST_SUMMARY = 90  # characters; a row of `zoo list` has room for no more
PLACEHOLDERS = re.compile(
    r"\b(TODO|FIXME|XXX)\b|\bA Paper\b|\bSomebody\b|(?i:\bexample\.(org|com|net)\b)"
)
BUILD_SECONDS = 300
NOT_BUILT = {".venv", "venv", ".tox", ".nox", "runs", "exports"}  # large; beside any plugin
LITTER = ("__pycache__", ".*", "*.pyc", "*~", "*.orig", "*.rej", "Thumbs.db")
IMPORT_SECONDS = 60  # for all of a distribution, torch included
MOST_COMPUTING = 0.1  # seconds for the modules that every command imports
MOST_WAITING = 0.5  # seconds likewise, on the clock
Event = dict[str, str]


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
        for plugin in installed_plugins()
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


def summary(model: ModelUnderTest) -> None:
    """The summary is one short line without a full stop."""
    text = model.card.summary
    if not text.strip():
        raise Finding("the card has no summary", model.line_of_card())
    if "\n" in text or len(text) > LONGEST_SUMMARY:
        wanted = f"one line of at most {LONGEST_SUMMARY} characters"
        raise Finding(f"the summary must be {wanted}, it has {len(text)}", model.line_of_card(text))
    if text.rstrip().endswith("."):
        raise Finding("the summary ends in a full stop", model.line_of_card(text))


def paper(model: ModelUnderTest) -> None:
    """The paper has a title, authors, a year and a link."""
    source = model.card.paper
    for field, value in asdict(source).items():
        if not value:
            raise Finding(f"the paper has no {field}", model.line_of_card())
    if not 1900 <= source.year <= date.today().year + 1:
        raise Finding(f"no paper is of the year {source.year}", model.line_of_card())
    if not re.match(r"https?://\S+\.\S+", source.url):
        raise Finding(f"{source.url!r} is no link to a paper", model.line_of_card(source.url))


def placeholders(model: ModelUnderTest) -> None:
    """The card holds no placeholder."""
    source = model.card.paper
    for text in (model.card.summary, source.title, source.authors, source.url):
        found = PLACEHOLDERS.search(text)
        if found:
            raise Finding(f"{text!r} is a placeholder: {found[0]}", model.line_of_card(text))


def model_class(model: ModelUnderTest) -> None:
    """The dotted path of the card leads to a class of a model with a configuration."""
    assert model.model_class


def presets(model: ModelUnderTest) -> None:
    """Every preset sets options that there are, to values that they take."""
    usual = asdict(model.model_class.training_preset)
    for name, preset in model.card.presets.items():
        values = {key: value for key, value in preset.items() if key != "size"}
        try:
            resolve(model.model_class.Config, usual, [values])
        except Exception as problem:
            raise Finding(f"preset {name!r}: {problem}", model.line_of_card()) from problem


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
    with TemporaryDirectory() as folder:
        copy = shutil.copytree(project, Path(folder, "project"), symlinks=True,
                               ignore=functools.partial(_not_copied, project))  # fmt: skip
        words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index",
                 "--no-build-isolation", "--disable-pip-version-check",
                 "--wheel-dir", folder, str(copy)]  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, check=False,
                              timeout=BUILD_SECONDS, env=os.environ)  # fmt: skip
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            errors = [line.strip() for line in done.stderr.splitlines() if "Error" in line]
            raise Finding(
                f"the wheel cannot be built: {(errors or [done.stderr.strip()[-200:]])[-1][:300]}",
                f"{project / 'pyproject.toml'}, line 1",
            )
        with zipfile.ZipFile(wheels[0]) as archive:
            return frozenset(archive.namelist())


def loads(package: Package) -> None:
    """Every entry point is imported without an error and provides models or data sets."""
    for event in _events(package, "error", stage="card"):
        raise Finding(event["what"], event["where"])
    for plugin in package.plugins:
        if plugin.trouble or plugin.left_out:
            raise Finding(plugin.trouble or f"it is not loaded: {plugin.left_out}")


def light(package: Package) -> None:
    """The module of the cards imports neither torch nor anything else that is slow."""
    _refuse_events(
        package, "heavy", "{} is imported with the cards; only the model's own file may do so"
    )


def quick(package: Package) -> None:
    """The module of the cards is imported within half a second, a tenth of it computing."""
    if _events(package, "heavy"):
        raise PrerequisiteFailed("import/light")
    tries = [_import_report(package)]
    if _is_slow(tries[0]):  # perhaps the machine was busy
        tries.append(_import_in_new_process(_modules(package), (), python_path()))
    if all(map(_is_slow, tries)):
        computing, waiting = (min(each[key] for each in tries) for key in ("computing", "waiting"))
        raise Finding(
            f"importing the cards took {waiting:.2f} s, {computing:.2f} s of them computing",
            _first_line(package),
        )


def silent(package: Package) -> None:
    """Importing the cards and the models prints nothing."""
    _refuse_events(package, "output", "importing it prints {!r}")
    printed = _import_report(package)["printed"]
    if printed:
        message = f"importing it prints {printed!r}, though not through Python"
        raise Finding(message, _first_line(package))


def offline(package: Package) -> None:
    """Importing the cards and the models does not reach for the network."""
    _refuse_events(package, "network", "importing it reaches for the network ({})")


def writes_nothing(package: Package) -> None:
    """Importing the cards and the models writes no file and starts no process."""
    _refuse_events(package, "file", "importing it writes {}")
    _refuse_events(package, "process", "importing it starts a process ({})")


def leaves_state(package: Package) -> None:
    """Importing a model leaves generators, warnings, streams, signals, threads as they were."""
    _refuse_events(package, "state", "importing it changes {}")


def _refuse_events(package: Package, kind: str, message: str) -> None:
    for event in _events(package, kind):
        raise Finding(message.format(event["what"]), event["where"] or _first_line(package))


def _events(package: Package, kind: str, stage: str = "") -> list[Event]:
    return [each for each in _import_report(package)["events"]
            if each["kind"] == kind and stage in {"", each["stage"]}]  # fmt: skip


def _first_line(package: Package) -> str:
    folder = package.folder
    if folder is None:
        return ""
    return line_containing(folder if folder.is_file() else folder / "__init__.py")


def _import_report(package: Package) -> dict[str, Any]:
    models = {card.model.partition(":")[0] for each in package.plugins for card in each.models}
    return _import_once(_modules(package), tuple(sorted(models)), python_path())


def _modules(package: Package) -> tuple[str, ...]:
    return tuple(sorted({each.module.partition(":")[0] for each in package.plugins}))


def _is_slow(found: dict[str, Any]) -> bool:
    return bool(found["computing"] > MOST_COMPUTING or found["waiting"] > MOST_WAITING)


def _import_in_new_process(
    modules: Sequence[str], models: Sequence[str], path: str
) -> dict[str, Any]:
    """Import modules in a process that has imported nothing yet, away from the user's files."""
    found_at = {folder for each in (*modules, *models) if (folder := folder_of(each))}
    folders = sorted(f"{each}{os.sep}" if each.is_dir() else str(each) for each in found_at)
    with TemporaryDirectory() as home:
        result = Path(home, "result.json")
        task = {"modules": modules, "models": models, "folders": folders,
                "result": str(result)}  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": path, "HOME": home, "USERPROFILE": home}
        words = [sys.executable, "-P", str(import_probe.__file__), json.dumps(task)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=home,
                                  timeout=IMPORT_SECONDS, env=environment,
                                  stdin=subprocess.DEVNULL)  # fmt: skip
            ended = f"importing it ended the process with code {done.returncode}"
            printed = (done.stdout + done.stderr).strip()[:200]
        except subprocess.TimeoutExpired:
            ended, printed = f"importing it did not end within {IMPORT_SECONDS} s", ""
            done = None
        found: dict[str, Any] = {"events": [], "computing": 0.0, "waiting": 0.0}
        if result.exists():
            found = json.loads(result.read_text())
    if done is None or "done" not in found:
        where = line_containing(Path(folders[0]) / "__init__.py") if folders else ""
        event = {"stage": "card", "kind": "error", "what": ended, "where": where}
        found["events"].insert(0, event)
    return {**found, "printed": printed if "done" in found else ""}


_import_once = functools.cache(_import_in_new_process)

IMPORT_CHECKS = [
    Check("import", each)
    for each in (loads, light, quick, silent, offline, writes_nothing, leaves_state)
]
PACKAGE_CHECKS = [
    *(Check("static", each) for each in (names, reserved, core_version, wheel)),
    *IMPORT_CHECKS,
]
CARD_CHECKS = [
    Check("static", each) for each in (summary, paper, placeholders, model_class, presets)
]
