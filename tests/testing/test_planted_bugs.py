"""Each planted bug is caught by the right check, with a message that names the line to look at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.installing import STRANGER, install_stranger
from tests.process import zoo
from tests.testing.tiny import forget, write
from zoo.catalog.lookup import find_model
from zoo.catalog.plugins import Plugin, installed_plugins
from zoo.testing import package_checks
from zoo.testing.check import Check, Outcome, run
from zoo.testing.conformance import OF_DISTRIBUTIONS, OF_MODELS
from zoo.testing.model_under_test import ModelUnderTest
from zoo.testing.package_checks import Package

INIT, FILE = "MODULE/__init__.py", "MODULE/model.py"
HEAD = '"""The card of a small model."""\n'
FAKE = "        fake = self.generator(torch.randn(len(real), 4))\n"
FOOL = "        fool = softplus(-self.critic(fake)).mean()\n"
CRITIC = '        yield Update("critic", real=softplus(-true)'
SAMPLE = "        return self.generator(noise)\n"
MOVE = '        yield Update("generator", fool=fool)\n'
GRAPHS = """        return {"sample": Graph(self.sample, [noise], [image])}
"""
WITH_REPEAT = """        old = [Port.image(name, self.data.image) for name in ("first", "second")]
        new = [Port.latent("noise", 4, prior=None), image]
        return {
            "sample": Graph(self.sample, [noise], [image]),
            "repeat": Graph(self.repeat, old, new),
        }

    def repeat(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        image = (first + second) / 2
        return image.flatten(1)[:, :4] * 0, VALUE
"""
WITH_LOOP = """        x = Port("x", "latent", ("batch", 1), prior="normal", next="grown")
        grown = Port("grown", "latent", ("batch", 1))
        return {
            "sample": Graph(self.sample, [noise], [image]),
            "grow": Graph(self.grow, [x], [grown], rounds=50),
        }

    def grow(self, x: Tensor) -> Tensor:
        return 10 * x
"""


class Bug(NamedTuple):
    """What is replaced by what in one file, which check finds it, and at which line."""

    file: str
    old: str
    new: str
    check: str
    line: str


MODEL_BUGS = {
    "in no player": Bug(FILE, '        self.register_buffer("age"',
        '        self.extra = nn.Linear(2, 2)\n        self.register_buffer("age"',
        "training/players", "def players"),
    "in two players": Bug(FILE, "Player([self.generator], adam)",
        "Player([self.generator, self.critic], adam)", "training/players", "def players"),
    "moves another": Bug(FILE, FAKE,
        FAKE + "        next(self.generator.parameters()).data.mul_(0.99)\n",
        "training/moves-only-its-player", CRITIC),
    "never moved": Bug(FILE, MOVE, "", "training/all-move", "def training_step"),
    "a parameter without gradient": Bug(FILE, "        self.critic = nn.Sequential(",
        "        self.generator.idle = nn.Parameter(torch.zeros(3))\n"
        "        self.generator.forward = lambda x, f=list(self.generator): f[2](f[1](f[0](x)))\n"
        "        self.critic = nn.Sequential(", "training/gradients", "def training_step"),
    "not finite": Bug(FILE, FOOL, FOOL + "        fool = fool * torch.log(9.5 - self.age)\n",
        "training/finite", MOVE.strip("\n")),
    "raises": Bug(FILE, FOOL, FOOL + "        assert self.age < 5\n",
        "training/finite", "assert self.age"),
    "a generator of its own": Bug(FILE, FOOL,
        FOOL + "        fool = fool * float(np.random.default_rng().random())\n",
        "training/same-seed", "def training_step"),
    "state in the class": Bug(FILE, FOOL, "        Tiny.rounds = getattr(Tiny, 'rounds', 0) + 1\n"
        + FOOL + "        fool = fool * Tiny.rounds\n", "training/same-seed", "def training_step"),
    "state in an attribute": Bug(FILE, FOOL,
        "        self.rounds = getattr(self, 'rounds', 0) + 1\n"
        + FOOL + "        fool = fool * self.rounds\n", "training/resume", "fool * self.rounds"),
    "batch of one": Bug(FILE, "            nn.LeakyReLU(),\n",
        "            nn.BatchNorm1d(config.width),\n            nn.LeakyReLU(),\n",
        "training/batch-of-one", "true, false ="),
    "odd batch": Bug(FILE, FAKE, FAKE + "        real.view(2 if len(real) > 1 else 1, -1)\n"
        "        assert len(real) in {1, 2}\n", "training/odd-batch", "assert len(real)"),
    "no such goal": Bug(FILE, 'Goal("score"', 'Goal("elbo"',
        "training/validation", "def validation_step"),
    "another shape": Bug(FILE, SAMPLE, "        return self.generator(noise).flatten(2)\n",
        "ports/outputs", "def sample"),
    "another dtype": Bug(FILE, SAMPLE, "        return self.generator(noise).double()\n",
        "ports/outputs", "def sample"),
    "another number": Bug(FILE, SAMPLE, "        return self.generator(noise), noise\n",
        "ports/outputs", "def sample"),
    "out of range": Bug(FILE, "            nn.Tanh(),\n", "", "ports/ranges", "def sample"),
    "random graph": Bug(FILE, SAMPLE,
        "        return self.generator(noise + torch.randn_like(noise))\n",
        "ports/repeatable", "def sample"),
    "rows that mix": Bug(FILE, SAMPLE, "        return self.generator(noise - noise.mean(0))\n",
        "ports/rows", "def sample"),
    "noise ignored": Bug(FILE, SAMPLE, "        return self.generator(torch.zeros_like(noise))\n",
        "ports/draws", "def sample"),
    "cannot sample": Bug(FILE, 'Port.latent("noise", 4)', 'Port.latent("noise", 4, prior=None)',
        "ports/draws", 'name="'),
    "a full stop": Bug(INIT, "both small", "both small.",
        "static/summary", "both small"),
    "ignores its picture": Bug(FILE, GRAPHS, WITH_REPEAT.replace("VALUE", "image * 0"),
        "ports/given", "def repeat"),
    "a loop without bounds": Bug(FILE, GRAPHS, WITH_LOOP, "ports/loops", "def grow"),
    "no more than eight samples": Bug(FILE, SAMPLE,
        "        return self.generator(noise + torch.zeros(8, 4)[: len(noise)])\n",
        "ports/previews", "def sample"),
    "a placeholder": Bug(INIT, "On small models", "A Paper", "static/placeholders", "A Paper"),
    "a preset of nothing": Bug(INIT, '"width": 8', '"widht": 8', "static/presets", 'name="'),
    "no such class": Bug(FILE, "class Tiny(", "class Small(", "static/model-class", 'name="'),
}  # fmt: skip

IMPORT_BUGS = {
    "torch with the cards": Bug(INIT, HEAD, HEAD + "import torch\n", "import/light",
        "import torch"),
    "torch with a kind of data": Bug(INIT, "\n\n@hookimpl",
        "\n\n@hookimpl\ndef zoo_modalities():\n    import torch\n\n    return []\n\n\n@hookimpl",
        "import/light", "    import torch"),
    "prints": Bug(INIT, HEAD, HEAD + "print('hello')\n", "import/silent", "print('hello')"),
    "writes": Bug(INIT, "import os\n", "import os\n\nopen('left', 'w').close()\n",
        "import/writes-nothing", "open('left'"),
    "network": Bug(INIT, HEAD, HEAD + "import socket\n\n\ndef call():\n    try:\n"
        "        socket.create_connection(('192.0.2.1', 80), 1)\n    except OSError:\n"
        "        pass\n\n\ncall()\n", "import/offline", "create_connection"),
    "raises": Bug(INIT, HEAD, HEAD + "1 / 0\n", "import/loads", "1 / 0"),
    "exits": Bug(INIT, "import os\n", "import os\n\nos._exit(0)\n", "import/loads",
        "The card of a small model"),
    "waits": Bug(INIT, "import os\n", "import os\nimport time\n\ntime.sleep(0.6)\n", "import/quick",
        "The card of a small model"),
    "takes the streams": Bug(INIT, "import os\n", "import io\nimport sys\n\n"
        "sys.stdout = io.StringIO()\n", "import/leaves-state", "sys.stdout ="),
    "takes the signals": Bug(INIT, "import os\n", "import signal\n\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n", "import/leaves-state",
        "signal.signal("),
    "changes the path": Bug(INIT, "import os\n", "import sys\n\nsys.path.append('there')\n",
        "import/leaves-state", "sys.path"),
    "finds modules": Bug(INIT, "import os\n", "import sys\n\nsys.meta_path.append(object())\n",
        "import/leaves-state", "sys.meta_path"),
    "leaves a thread": Bug(INIT, "import os\n", "import threading\n\n"
        "threading.Thread(target=threading.Event().wait).start()\n", "import/leaves-state",
        "threading.Thread("),
    "seeds": Bug(FILE, "class Tiny(", "torch.manual_seed(0)\n\n\nclass Tiny(",
        "import/leaves-state", "torch.manual_seed(0)"),
}  # fmt: skip

EXPORT_BUGS = {
    "a branch on values": Bug(FILE, SAMPLE,
        "        return self.generator(noise if noise.mean() > 0 else -noise)\n",
        "export/exports", "noise.mean()"),
    "something else when exported": Bug(FILE, SAMPLE,
        "        return self.generator(-noise if torch.compiler.is_exporting() else noise)\n",
        "export/agrees", "def sample"),
}  # fmt: skip

BLOCKS = "def blocks(self, *arguments):"
REVERSED = f"""

{BLOCKS}
    for indices, rows, bad in Modality.blocks(self, *arguments):
        yield indices, rows[::-1], bad


Strokes.blocks = blocks
"""

METADATA = "zoo_MODULE-1.0.dist-info/METADATA"
STATIC_BUGS = {
    "no upper bound": Bug(METADATA, ">=0.1,<0.2", ">=0.1", "static/core-version", "zoo-core"),
    "no zoo-core": Bug(METADATA, "zoo-core[train]>=0.1,<0.2", "numpy", "static/core-version",
        "Name:"),
    "a file is left out": Bug("pyproject.toml", 'packages = ["MODULE"]',
        'packages = ["MODULE"]\nexclude = ["model.py"]', "static/wheel", "packages"),
    "no such check": Bug("pyproject.toml", "[build-system]", "[tool.zoo.expected-failures.tiny]\n"
        '"static/sumary" = "why"\n\n[build-system]', "static/project-file",
        "[tool.zoo.expected-failures.tiny]"),
    "no reason": Bug("pyproject.toml", "[build-system]", "[tool.zoo.expected-failures.tiny]\n"
        '"static/summary" = 1\n\n[build-system]', "static/project-file",
        "[tool.zoo.expected-failures.tiny]"),
    "no table": Bug("pyproject.toml", "[build-system]", '[tool.zoo]\nexpected-failures = "x"\n\n'
        "[build-system]", "static/project-file", "expected-failures"),
    "no TOML": Bug("pyproject.toml", "[build-system]", "[build-system", "static/project-file",
        "[build-system"),
    "a name of the zoo's": Bug(INIT, 'name="MODULE"', 'name="emoji"', "static/reserved", "emoji"),
}  # fmt: skip


def plant(site: Path, bug: Bug, **options: bool) -> str:
    """Write the plugin with a bug; return the line that the finding must name."""
    write(site, "tiny", {bug.file: {bug.old: bug.new}}, **options)
    forget()
    file = site / bug.file.replace("MODULE", "tiny").replace("NAME", "zoo-tiny")
    files = [file, site / "tiny" / "__init__.py"]
    for each in files:
        for number, line in enumerate(each.read_text().splitlines(), start=1):
            if bug.line in line:
                return f"{each}, line {number}"
    raise AssertionError(f"no line holds {bug.line!r}")


def failed(outcomes: list[Outcome]) -> dict[str, str]:
    return {each.check: each.message for each in outcomes if each.kind == "failed"}


def without_export() -> list[Check]:
    return [check for check in OF_MODELS if check.group != "export"]


@pytest.mark.parametrize("name", MODEL_BUGS)
def test_a_bug_of_the_model(name: str, site: Path) -> None:
    bug = MODEL_BUGS[name]
    line = plant(site, bug)
    subject = ModelUnderTest.of(find_model("tiny"))
    found = failed([run(check, subject, {}) for check in without_export()])
    assert list(found) == [bug.check], found
    assert line in found[bug.check]


def test_ports_that_lead_nowhere_are_found_where_graphs_declares_them(site: Path) -> None:
    astray = WITH_LOOP.replace('next="grown"', 'next="growing"')
    line = plant(site, Bug(FILE, GRAPHS, astray, "ports/loops", "def graphs"))
    subject = ModelUnderTest.of(find_model("tiny"))
    found = failed([run(check, subject, {}) for check in OF_MODELS])
    assert "ports/loops" in found
    assert [message for message in found.values() if line not in message] == []


@pytest.mark.parametrize("name", EXPORT_BUGS)
def test_a_bug_of_the_export(name: str, site: Path) -> None:
    bug = EXPORT_BUGS[name]
    line = plant(site, bug)
    subject = ModelUnderTest.of(find_model("tiny"))
    found = failed([run(check, subject, {}) for check in OF_MODELS if check.group == "export"])
    assert list(found) == [bug.check], found
    assert line in found[bug.check]


@pytest.mark.parametrize("name", IMPORT_BUGS)
def test_a_bug_at_import(name: str, site: Path) -> None:
    bug = IMPORT_BUGS[name]
    line = plant(site, bug)
    models = find_model("tiny").plugin.models if bug.file == FILE else ()
    package = Package("zoo-tiny", [Plugin("zoo-tiny", "1.0", "tiny", models)])
    checks = [check for check in OF_DISTRIBUTIONS if check.group == "import"]
    found = failed([run(check, package, {}) for check in checks])
    assert list(found) == [bug.check], found
    assert line in found[bug.check]


def test_an_import_that_does_not_end(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is imported, but Python waits at its end."""
    write(site, "tiny", {INIT: {"import os": "import atexit\nimport time"}})
    with (site / "tiny" / "__init__.py").open("a") as file:
        file.write("\n\natexit.register(time.sleep, 60)\n")
    forget()
    monkeypatch.setattr(package_checks, "IMPORT_SECONDS", 3)
    package = Package("zoo-tiny", [Plugin("zoo-tiny", "1.0", "tiny", ())])
    found = failed([run(check, package, {}) for check in package_checks.IMPORT_CHECKS])
    assert list(found) == ["import/loads"]
    assert "3 s" in found["import/loads"]


def test_a_kind_of_data_whose_rows_are_in_another_order(tmp_path: Path) -> None:
    """Drawings and their classes belong together; a plugin's own kind hands them over reversed."""
    source = tmp_path / "stranger"
    shutil.copytree(STRANGER, source)
    with (source / "zoo_stranger" / "strokes.py").open("a") as file:
        file.write(REVERSED)
    site = install_stranger(tmp_path / "wheel", source)
    told = json.loads(zoo("plugins", "check", "pen-ae", "--json", code=4, **site).stdout)
    found = {each["check"]: each["message"] for each in told["checks"] if each["kind"] == "failed"}
    assert list(found) == ["training/aligned"], found
    line = (source / "zoo_stranger" / "strokes.py").read_text().splitlines().index(BLOCKS) + 1
    assert f"strokes.py, line {line}" in found["training/aligned"]


@pytest.mark.parametrize("name", STATIC_BUGS)
def test_a_bug_of_the_distribution(name: str, site: Path) -> None:
    bug = STATIC_BUGS[name]
    line = plant(site, bug, project=bug.file == "pyproject.toml")
    package = Package(
        "zoo-tiny", [each for each in installed_plugins() if each.distribution == "zoo-tiny"]
    )
    checks = [check for check in OF_DISTRIBUTIONS if check.group == "static"]
    found = failed([run(check, package, {}) for check in checks])
    assert list(found) == [bug.check], found
    assert line in found[bug.check]
