"""A plugin that is broken breaks nothing but itself, and is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.installing import CARD, install
from tests.process import error_of, zoo, zoo_json

HANGS = """
import os, pathlib, time
if "MARKER" in os.environ:
    pathlib.Path(os.environ["MARKER"]).touch()
while True:
    try:
        time.sleep(60)
    except Exception:  # as careless code does; what stops a plugin must not be caught by it
        pass
"""
SWALLOWS = """
import os, pathlib, time
try:
    pathlib.Path(os.environ["SWALLOWS"]).touch()
    time.sleep(60)
except BaseException:
    pass
"""
MUTE = "class Mute(Exception):\n    def __str__(self):\n        raise ValueError\n\nraise Mute\n"
PRINTS = "import os\n\nprint('hello')\nos.write(1, b'from below')\nos.write(2, b'and beside')\n"
CLOSES = """
import io, sys
sys.stdout.close()
sys.stderr.close()
sys.stdout = sys.stderr = io.StringIO()
"""
STAYS = (
    "import threading, time\n\nthreading.Thread(target=time.sleep, args=[99], name='x').start()\n"
)
UNTOLD = """
import {module}
class Untold(Exception):
    def __str__(self):
        {what}

raise Untold
"""
HOOK = "import zoo\n\n@zoo.hookimpl\ndef {hook}:\n    return []\n"

SOURCES: dict[str, str | dict[str, str]] = {
    "zoo-argument": HOOK.format(hook="zoo_models(everything)"),
    "zoo-a-closes": CLOSES + CARD.format(model="closing", module="zoo_a_closes"),
    "zoo-careless": "import zoo\n\n@zoo.hookimpl\ndef zoo_models():\n    return ['vae']\n",
    "zoo-exits": "import sys\n\nsys.exit(0)\n",
    "zoo-future": CARD.format(model="future", module="zoo_future"),
    "zoo-good": CARD.format(model="good", module="zoo_good"),
    "zoo-hangs": HANGS,
    "zoo-heavy": "import torch\n" + CARD.format(model="heavy", module="zoo_heavy"),
    "zoo-interrupts": "raise KeyboardInterrupt\n",
    "zoo-leaves": "import os\n\nos._exit(0)\n",
    "zoo-misspells": HOOK.format(hook="zoo_modles()"),
    "zoo-mute": MUTE,
    "zoo-prints": PRINTS + CARD.format(model="chatty", module="zoo_prints"),
    "zoo-raises": "import zoo\n\nraise RuntimeError('the licence server is away')\n",
    "zoo-rival": CARD.format(model="vae", module="zoo_rival"),
    "zoo-silent": "X = 1\n",
    "zoo-stays": STAYS + CARD.format(model="staying", module="zoo_stays"),
    "zoo-swallows": SWALLOWS,
    "zoo-untold": UNTOLD.format(module="sys", what="sys.exit(0)"),
    "zoo-untold-slow": UNTOLD.format(module="time", what="time.sleep(60)"),
}

SLOW = {"zoo-hangs", "zoo-swallows", "zoo-untold-slow"}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("plugins")
    needs = {"zoo-future": "zoo-core[train]>=7,<8", "zoo-good": "zoo-core>=0.1,!=0.0.9"}
    return install(folder, SOURCES, needs=needs)


@pytest.fixture(scope="module")
def site(everything: dict[str, str]) -> dict[str, str]:
    """Without those that take their time."""
    first = [
        "zoo-autoencoders",
        "zoo-classifiers",
        "zoo-diffusion",
        "zoo-gans",
        "zoo-sequences",
        "zoo-translation",
    ]
    return everything | {"ZOO_PLUGINS": ",".join({*SOURCES, *first} - SLOW)}


@pytest.fixture(scope="module")
def rows(everything: dict[str, str]) -> dict[str, Any]:
    fresh = {"PYTHONUTF8": "1"}  # a Python without torch, so that a plugin can be told to import it
    found = zoo_json("plugins", "list", **everything, **fresh)
    return {row["distribution"]: row for row in found}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zoo-raises", ["RuntimeError", "the licence server is away", "__init__.py, line 3"]),
        ("zoo-misspells", ["unknown hook 'zoo_modles'", "newer zoo-core", "typo", "'zoo_models'",
                           "__init__.py, line 3"]),
        ("zoo-argument", ["unknown argument 'everything' of hook 'zoo_models'", "newer zoo-core",
                          "__init__.py, line 3"]),
        ("zoo-heavy", ["imports torch", "__init__.py, line 1"]),
        ("zoo-exits", ["SystemExit", "__init__.py, line 3"]),
        ("zoo-leaves", ["SystemExit", "os._exit(0)", "__init__.py, line 3"]),
        ("zoo-interrupts", ["KeyboardInterrupt", "__init__.py, line 1"]),
        ("zoo-hangs", ["longer than 3 s", "zoo_hangs/__init__.py, line 7"]),
        ("zoo-mute", ["Mute", "__init__.py, line 5"]),
        ("zoo-untold", ["Untold", "cannot be shown", "__init__.py, line 7"]),
        ("zoo-untold-slow", ["Untold", "cannot be shown"]),
        ("zoo-stays", ["leaves a thread running: x"]),
        ("zoo-silent", ["provides nothing", "hookimpl"]),
        ("zoo-careless", ["Card", "str"]),
        ("zoo-future", ["needs zoo-core <8,>=7", "0.1.0 is installed"]),
    ],
)  # fmt: skip
def test_trouble_is_named(rows: dict[str, Any], name: str, words: list[str]) -> None:
    for word in words:
        assert word in rows[name]["trouble"]
    assert rows[name]["models"] == []


def test_the_others_are_untouched(rows: dict[str, Any], site: dict[str, str]) -> None:
    assert rows["zoo-good"]["trouble"] is None
    assert rows["zoo-good"]["version"] == "1.0"
    assert 0 < rows["zoo-good"]["import_ms"] < 1000 < rows["zoo-hangs"]["import_ms"]
    assert rows["zoo-future"]["import_ms"] is None, "it was not imported"
    assert rows["zoo-autoencoders"]["trouble"] is None
    done = zoo("list", **site)
    assert "good" in done.stdout
    assert "zoo-raises" in done.stderr, "broken plugins are mentioned where models are listed"


def test_what_a_plugin_prints_is_told_and_spoils_no_output(rows: dict[str, Any]) -> None:
    """The rows are there at all because stdout was JSON."""
    assert rows["zoo-prints"]["trouble"] is None
    assert rows["zoo-prints"]["models"] == ["chatty"]
    (note,) = rows["zoo-prints"]["notes"]
    for words in ("prints when it is imported", "hello", "from below", "and beside"):
        assert words in note


def test_a_plugin_of_another_core_is_not_imported(tmp_path: Path) -> None:
    """What it needs is read from its metadata, in whatever way it is written."""
    needs = {"zoo-early": "zoo-core>=0.1rc1,<0.1"}
    site = install(tmp_path, {"zoo-early": HANGS}, needs=needs)
    marker = tmp_path / "marker"
    rows = zoo_json("plugins", "list", MARKER=str(marker), **site)
    (row,) = (row for row in rows if row["distribution"] == "zoo-early")
    assert "needs zoo-core <0.1,>=0.1rc1" in row["trouble"]
    assert not marker.exists()


def test_a_disabled_plugin_is_listed_and_not_imported(
    everything: dict[str, str], tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    environment = everything | {"MARKER": str(marker)}
    assert "'zoo-hangs'" in error_of("plugins", "disable", "zoo-hang", code=3, **environment)
    assert "zoo-hangs is disabled" in zoo("plugins", "disable", "Zoo_Hangs", **environment).stderr
    rows = zoo_json("plugins", "list", **environment)
    (row,) = (row for row in rows if row["distribution"] == "zoo-hangs")
    assert row["left_out"] == "disabled"
    assert row["trouble"] is None
    assert not marker.exists()
    assert "left out: zoo-hangs" in zoo("list", **environment).stderr
    zoo("plugins", "enable", "zoo-hangs", **environment)
    assert not marker.exists(), "neither verb imports anything"
    zoo("list", **environment)
    assert marker.exists()


@pytest.mark.parametrize("plugin", ["zoo-hangs", "zoo-swallows"])
def test_ctrl_c_still_works_while_a_plugin_is_imported(
    everything: dict[str, str], tmp_path: Path, plugin: str
) -> None:
    """Even in a plugin that catches it."""
    marker = tmp_path / "marker"
    environment = {**os.environ, **everything, "ZOO_PLUGINS": plugin}
    environment |= {"MARKER": str(marker), "SWALLOWS": str(marker)}
    with subprocess.Popen(
        [sys.executable, "-m", "zoo", "list"], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        while not marker.exists():
            assert process.poll() is None
            time.sleep(0.01)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - began < 2.5
    assert said.strip() == "interrupted"


def test_a_first_party_name_is_taken_by_nobody(rows: dict[str, Any], site: dict[str, str]) -> None:
    assert "vae" in rows["zoo-autoencoders"]["models"]
    assert any("zoo-rival:vae" in note for note in rows["zoo-rival"]["notes"])
    assert any("zoo-rival:vae" in note for note in rows["zoo-autoencoders"]["notes"])
    listed = {row["name"]: row["plugin"] for row in zoo_json("list", **site)}
    assert listed["vae"] == "zoo-autoencoders"
    assert listed["zoo-rival:vae"] == "zoo-rival"
    assert "Kingma" in zoo("show", "vae", **site).stdout
    said = error_of("show", "zoo-rival:vae", code=4, error="plugin-failed", **site)
    assert "zoo_rival.model" in said


def test_a_first_party_name_stays_reserved_when_its_plugin_is_not_here(
    site: dict[str, str],
) -> None:
    environment = site | {"ZOO_PLUGINS": "zoo-rival"}
    said = error_of("show", "vae", code=3, error="model-not-found", **environment)
    assert "zoo-autoencoders" in said
    listed = zoo_json("list", **environment)
    assert [row["name"] for row in listed] == ["zoo-rival:vae"]


def test_a_card_without_its_model_file_says_so_when_it_is_used(site: dict[str, str]) -> None:
    said = error_of("show", "good", code=4, error="plugin-failed", **site)
    assert "zoo-good" in said
    assert "zoo_good.model" in said


def test_a_plugin_that_closes_its_streams_closes_no_others(rows: dict[str, Any]) -> None:
    """It comes first: what the next ones print is told, and there is output at all."""
    assert rows["zoo-a-closes"]["trouble"] is None
    assert rows["zoo-prints"]["notes"]


def test_a_thread_that_a_plugin_leaves_running_does_not_keep_the_command(
    everything: dict[str, str],
) -> None:
    began = time.monotonic()
    done = zoo("list", **everything | {"ZOO_PLUGINS": "zoo-stays"})
    assert time.monotonic() - began < 30
    assert "zoo-stays" in done.stderr.partition("left out")[0]


def test_discovery_leaves_the_process_as_it_was(
    everything: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused, limited and swallowed ends with discovery; streams are what they were."""
    from zoo.catalog.plugins import installed_plugins

    def state() -> list[object]:
        handlers = [signal.getsignal(each) for each in sorted(signal.valid_signals())]
        streams = [os.fstat(number).st_ino for number in (1, 2)]
        streams += [id(each) for each in (sys.stdin, sys.stdout, sys.stderr, sys.__stderr__)]
        closed = [sys.stdout.closed, sys.stderr.closed]
        return [list(sys.meta_path), os._exit, *handlers, *streams, *closed]

    monkeypatch.syspath_prepend(everything["PYTHONPATH"])
    for name in ("zoo-gans", "zoo-a-closes"):
        monkeypatch.setenv("ZOO_PLUGINS", name)
        before = state()
        signal.setitimer(signal.ITIMER_REAL, 60)
        try:
            installed_plugins.cache_clear()
            (row,) = (row for row in installed_plugins() if not row.left_out)
            assert not row.trouble
            assert 50 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60, "the caller's timer"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            installed_plugins.cache_clear()
        assert state() == before
