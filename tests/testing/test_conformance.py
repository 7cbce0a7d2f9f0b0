"""A correct plugin passes; what its author expects, what cannot be run, and what is printed."""

from __future__ import annotations

import ast
import ctypes
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import zoo.testing
from tests.errors import raises
from tests.process import error_of
from tests.process import zoo as command
from tests.testing.test_planted_bugs import FILE, GRAPHS, WITH_REPEAT
from tests.testing.tiny import forget, write
from zoo.catalog.lookup import find_model, plugins_and_models
from zoo.catalog.plugins import Plugin
from zoo.errors import PluginError
from zoo.testing import conformance, package_checks
from zoo.testing.check import Check, Finding, Outcome, run
from zoo.testing.conformance import (
    OF_DISTRIBUTIONS,
    OF_MODELS,
    check_distribution,
    check_model,
    check_one,
)
from zoo.testing.model_checks import PLACEHOLDERS
from zoo.testing.model_under_test import ModelUnderTest
from zoo.testing.package_checks import Package

ALL = [*OF_DISTRIBUTIONS, *OF_MODELS]
NAMES = {check.name: check for check in ALL}
GAN_STEP = '        yield Update("generator", fool=fool)\n'
EXPECTED = '[tool.zoo.expected-failures.tiny]\n"CHECK" = "the wind is against it"\n'


def outcomes_of(model: str) -> list[Outcome]:
    entry = find_model(model)
    package = Package.called(entry.plugin.distribution)
    return [*check_distribution(package), *check_model(ModelUnderTest.of(entry))]


def test_a_correct_plugin_passes_every_check(site: Path) -> None:
    write(site, "tiny", {}, project=True)
    forget()
    found = outcomes_of("tiny")
    assert [each.check for each in found] == list(NAMES)
    others = {each.check: each.kind for each in found if each.kind != "passed"}
    assert others == {"ports/given": "skipped", "ports/loops": "skipped"}


def test_a_player_may_be_changed_after_its_own_update(site: Path) -> None:
    """As the weights of a Wasserstein critic are clipped."""
    fool = "        fool = softplus(-self.critic(fake)).mean()\n"
    clip = (
        "        for each in self.critic.parameters():\n            each.data.clamp_(-0.01, 0.01)\n"
    )
    write(site, "tiny", {"MODULE/model.py": {fool: clip + fool}})
    forget()
    subject = ModelUnderTest.of(find_model("tiny"))
    for check in OF_MODELS:
        if check.group == "training":
            outcome = check_one(check, subject, {})
            assert outcome.kind == "passed", outcome


def test_what_the_author_expects_to_fail_does_not_fail_the_plugin(site: Path) -> None:
    never = {"MODULE/model.py": {GAN_STEP: ""}}
    write(site, "tiny", never, project=True)
    with (site / "pyproject.toml").open("a") as file:
        file.write(EXPECTED.replace("CHECK", "training/all-move"))
    forget()
    outcome = check_one(NAMES["training/all-move"], ModelUnderTest.of(find_model("tiny")), {})
    assert (outcome.kind, outcome.message) == ("expected failure", "the wind is against it")


def test_what_is_expected_to_fail_and_passes_fails(site: Path) -> None:
    write(site, "tiny", {})
    forget()
    expected = {"static/summary": "no words", "training/players": "old"}
    for name, reason in expected.items():
        outcome = check_one(NAMES[name], ModelUnderTest.of(find_model("tiny")), expected)
        assert outcome.kind == "failed"
        assert reason in outcome.message
    with raises(PluginError, "plugin", "'static/sumary'", "'static/summary'"):
        check_one(
            NAMES["static/paper"], ModelUnderTest.of(find_model("tiny")), {"static/sumary": "why"}
        )


def test_what_is_expected_to_fail_does_not_excuse_the_checks_behind_it(site: Path) -> None:
    write(site, "tiny", {"MODULE/model.py": {"class Tiny(": "class Small("}})
    forget()
    subject = ModelUnderTest.of(find_model("tiny"))
    name = "training/same-seed"
    assert check_one(NAMES[name], subject, {}).kind == "skipped", "the cause is told elsewhere"
    assert check_one(NAMES[name], subject, {"static/model-class": "why"}).kind == "failed"


def test_as_a_test_each_check_is_a_case(site: Path) -> None:
    write(site, "tiny", {"MODULE/__init__.py": {"both small": "both small."}})
    forget()
    test_tiny = conformance("tiny", expected_failures={"static/wheel": "why"})
    (mark,) = test_tiny.pytestmark  # type: ignore[attr-defined] # pytest's
    assert [mark.kwargs["ids"](check) for check in mark.args[1]] == list(NAMES)
    test_tiny(NAMES["static/paper"])
    with pytest.raises(pytest.fail.Exception, match=r"line 13\)\nstatic/summary: "):
        test_tiny(NAMES["static/summary"])
    with pytest.raises(pytest.skip.Exception):
        conformance("tiny")(NAMES["static/wheel"])


def test_a_model_may_take_two_pictures_and_give_more_than_one(site: Path) -> None:
    write(site, "tiny", {FILE: {GRAPHS: WITH_REPEAT.replace("VALUE", "image")}})
    forget()
    subject = ModelUnderTest.of(find_model("tiny"))
    for check in OF_MODELS:
        if check.group == "ports" and check.name != "ports/loops":
            outcome = check_one(check, subject, {})
            assert outcome.kind == "passed", outcome


def test_a_wheel_holds_packages_of_any_name_and_no_litter(site: Path) -> None:
    write(site, "tiny", {}, project=True)
    for name in ("exports", "runs"):
        (site / "tiny" / name).mkdir()
        (site / "tiny" / name / "__init__.py").touch()
    (site / "runs").mkdir()
    (site / "runs" / "left").touch()
    (site / ".gitignore").write_text(".notes/\n*~\n")
    (site / "tiny" / ".notes").mkdir()
    (site / "tiny" / ".notes" / "today").touch()
    (site / "tiny" / "model.py~").touch()
    forget()
    outcome = check_one(NAMES["static/wheel"], ModelUnderTest.of(find_model("tiny")), {})
    assert outcome.kind == "passed", outcome


def test_without_pip_no_wheel_is_built(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(site, "tiny", {}, project=True)
    forget()
    monkeypatch.setitem(sys.modules, "pip", None)
    outcome = check_one(NAMES["static/wheel"], ModelUnderTest.of(find_model("tiny")), {})
    assert outcome.kind == "skipped"
    assert "pip" in outcome.message


def test_a_bad_project_file_stops_no_other_check(site: Path) -> None:
    write(site, "tiny", {"pyproject.toml": {"[build-system]": "[build-system"}}, project=True)
    done = command("plugins", "check", "--json", "zoo-tiny", code=4, PYTHONPATH=str(site),
                   ZOO_HOME=os.environ["ZOO_HOME"])  # fmt: skip
    told = json.loads(done.stdout)
    kinds = {each["check"]: each["kind"] for each in told["checks"]}
    assert [name for name in kinds if kinds[name] == "failed"] == ["static/project-file"]
    assert kinds["static/wheel"] == "skipped"
    assert kinds["training/finite"] == "passed"


def test_names_of_distributions_are_compared_as_installers_do() -> None:
    gans, entries = plugins_and_models("Zoo_GANs")
    assert gans == ["zoo-gans"]
    name = entries[0].card.name
    assert plugins_and_models(f"Zoo_GANs:{name}") == plugins_and_models(f"zoo-gans:{name}")
    assert plugins_and_models(f"Zoo_GANs:{name}")[1]
    plugins = [replace(p, distribution="Zoo_GANs") for p in Package.called("zoo-gans").plugins]
    assert run(NAMES["static/reserved"], Package("Zoo_GANs", plugins), {}).kind == "passed"


def test_what_stands_for_something_else_is_told_by_its_capitals() -> None:
    for text in ("a todo list", "as somebody draws", "a paper on drawing"):
        assert not PLACEHOLDERS.search(text)
    for text in ("TODO: say it", "Somebody", "https://Example.org/paper"):
        assert PLACEHOLDERS.search(text)


def test_what_is_printed_below_python_stands_among_no_results(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def prints(thing: object) -> None:
        os.write(1, b"by the system\n")
        ctypes.CDLL(None).puts(b"by the library of C")
        print("by Python", file=sys.__stdout__)

    assert run(Check("static", prints), Package("zoo-tiny", ()), {}).kind == "passed"
    os.write(1, b"a result\n")
    told, aside = capfd.readouterr()
    assert told == "a result\n"
    for way in ("system", "library of C"):
        assert f"by the {way}\n" in aside


def test_the_command_tells_each_check_and_fails_with_the_plugin(site: Path) -> None:
    write(site, "tiny", {"MODULE/__init__.py": {"import os": "import os\n\n1 / 0"}})
    done = command("plugins", "check", "--json", code=4, PYTHONPATH=str(site))
    told = json.loads(done.stdout)
    kinds = {each["check"]: each["kind"] for each in told["checks"]}
    assert kinds == {check.name: kinds[check.name] for check in OF_DISTRIBUTIONS}
    assert kinds["import/loads"] == "failed"
    assert told["failed"] == 1
    assert told["ran"] == told["passed"] + 1 == len(kinds) - told["skipped"]
    assert "import/loads of zoo-tiny" in done.stderr
    lines = command(
        "plugins", "check", "zoo-tiny", code=4, PYTHONPATH=str(site)
    ).stdout.splitlines()
    assert "passed            zoo-tiny  static/names" in lines
    complaint = lines[lines.index("failed            zoo-tiny  import/loads") + 1]
    assert f"{site}/tiny/__init__.py, line 5" in complaint
    assert lines[-1] == f"ran {told['ran']}, passed {told['passed']}, failed 1, " + (
        f"skipped {told['skipped']}, expected failures 0"
    )


def test_the_command_knows_what_is_installed() -> None:
    said = error_of("plugins", "check", "zoo-gasn", code=3, error="plugin-not-found")
    assert "'zoo-gans'" in said
    assert command("plugins", "check").stdout == "", "the zoo's own are not checked unless named"


def test_every_check_says_what_must_hold_and_is_called_by_its_name() -> None:
    assert len(NAMES) == len(ALL)
    folder = Path(zoo.testing.__file__).parent
    texts = [path.read_text() for path in folder.glob("*.py")]
    strings = {
        node.value
        for text in texts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    groups = {check.group for check in ALL}
    named = {each for each in strings if each.partition("/")[0] in groups and " " not in each}
    assert named <= {*NAMES, *groups}
    for check in ALL:
        assert check.sentence.endswith("."), check.name
        assert "\n" not in check.sentence


def test_a_models_name_means_what_brings_it_as_well() -> None:
    distributions, entries = plugins_and_models("vae")
    assert distributions == ["zoo-autoencoders"]
    assert [each.card.name for each in entries] == ["vae"]


def test_a_name_that_another_installed_plugin_has_is_a_finding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (card,) = find_model("vae").plugin.models[:1]
    theirs = Plugin("zoo-theirs", "1.0", "theirs", models=(replace(card, name="walrus"),))
    mine = Plugin("zoo-mine", "1.0", "mine", models=(replace(card, name="walrus"),))
    monkeypatch.setattr(package_checks, "installed_plugins", lambda: (theirs, mine))
    with pytest.raises(Finding, match=r"'walrus'.* zoo-theirs"):
        package_checks.reserved(Package("zoo-mine", [mine]))
