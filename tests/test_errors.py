"""The codes of errors are the documented ones, each with the exit codes it comes with."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from zoo import errors
from zoo.model.checks import BREAKS_CONTRACT

PROJECT = Path(__file__).parents[1]
SOURCES = [
    ast.parse(path.read_text(encoding="utf-8")) for path in sorted((PROJECT / "zoo").rglob("*.py"))
]
GUIDE_CODE = re.compile(r"^```python\n(.+?)^```", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `([a-z-]+)` \| ([0-9, ]+) \| .+ \|$", re.MULTILINE)


def _classes() -> dict[str, tuple[int, str]]:
    """Exit code and code of each class of errors."""
    found = {
        name: (each.exit_code, each.code)
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, errors.ZooError)
    }
    for node in (node for tree in SOURCES for node in ast.walk(tree)):
        if isinstance(node, ast.ClassDef) and node.name not in found and node.bases:
            base = found.get(ast.unparse(node.bases[0]))
            own = [_own_code(each) for each in node.body]
            if base:
                found[node.name] = (base[0], next(filter(None, own), base[1]))
    return found


def _own_code(node: ast.stmt) -> str:
    is_code = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "code"
    return ast.literal_eval(node.value) if is_code and isinstance(node, ast.Assign) else ""


def _raised(classes: dict[str, tuple[int, str]]) -> Iterator[tuple[str, int]]:
    """Code and exit code of each error that zoo's files make."""
    for node in (node for tree in SOURCES for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in classes:
            exit_code, _ = classes[ast.unparse(node.func)]
            for keyword in (each for each in node.keywords if each.arg == "code"):
                for part in ast.walk(keyword.value):
                    if isinstance(part, ast.Constant) and part.value:
                        yield str(part.value), exit_code
                    if isinstance(part, ast.Name) and part.id == "BREAKS_CONTRACT":
                        yield BREAKS_CONTRACT, exit_code


def test_the_documented_codes_are_those_of_the_code() -> None:
    classes = _classes()
    exits: dict[str, set[int]] = defaultdict(set)
    for code, exit_code in _raised(classes):
        exits[code].add(exit_code)
    for exit_code, code in classes.values():
        exits[code].add(exit_code)
    exits["interrupted"] = {130}  # set where Ctrl-C ends any other command
    rows = ROW.findall((PROJECT / "docs" / "errors.md").read_text(encoding="utf-8"))
    told = {code: {int(each) for each in exit_codes.split(",")} for code, exit_codes in rows}
    assert told == exits
    assert [code for code, _ in rows] == sorted(told)


def test_errors_of_plugins_and_of_templates_have_documented_codes() -> None:
    """An author copies what a template does, and a program asks for the code, not the class."""
    rows = ROW.findall((PROJECT / "docs" / "errors.md").read_text(encoding="utf-8"))
    told = {code: {int(each) for each in exit_codes.split(",")} for code, exit_codes in rows}
    classes = _classes()
    guide = (PROJECT / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
    places = [
        *(PROJECT / "plugins").rglob("zoo_*/*.py"),
        *(PROJECT / "tests" / "stranger").rglob("*.py"),
        *(PROJECT / "zoo" / "scaffold").rglob("*.py.tmpl"),
    ]
    texts = {str(path): path.read_text(encoding="utf-8") for path in places}
    texts |= {f"guide {n}": text for n, text in enumerate(GUIDE_CODE.findall(guide))}
    made = [
        (place, node)
        for place, text in texts.items()
        for node in ast.walk(ast.parse(re.sub(r"\$\{?\w+\}?", "name", text)))
        if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("zoo.") in classes
    ]
    assert any(place.endswith("pairs.py.tmpl") for place, _ in made)
    for place, node in made:
        exit_code, _ = classes[ast.unparse(node.func).removeprefix("zoo.")]
        codes = [ast.literal_eval(each.value) for each in node.keywords if each.arg == "code"]
        where = f"{place}, line {node.lineno}"
        assert codes, f"{where}: no code"
        assert exit_code in told.get(codes[0], ()), f"{where}: {codes[0]}"


def test_an_error_has_the_code_of_its_class_or_its_own() -> None:
    assert errors.NotFoundError("gone").code == "not-found"
    assert errors.NotFoundError("gone", code="run-not-found").code == "run-not-found"


def test_errors_of_zoo_are_not_matched_by_their_wording() -> None:
    """`tests.errors.raises` asks for class, code and names in place of ``match=``."""
    ours = {*_classes(), "ZooError"}
    found = [
        f"{path.relative_to(PROJECT)}, line {node.lineno}"
        for path in sorted((PROJECT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "pytest.raises"
        and any(keyword.arg == "match" for keyword in node.keywords)
        and ours.intersection(ast.unparse(each).rpartition(".")[2] for each in ast.walk(node))
    ]
    assert not found, found
