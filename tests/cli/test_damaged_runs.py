"""One damaged value in a run's files is told of that run, and hides no other."""

from __future__ import annotations

import copy
import json
import random
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

import zoo.cli
from tests.process import error_of, zoo_json
from tests.process import zoo as command

WRONG: list[Any] = [
    None,
    True,
    -1,
    7,
    2.5,
    1e999,
    10**400,
    "",
    "x",
    "\x1b[2J",
    [],
    [[]],
    {},
    {"x": 1},
]
PEAK = """
import resource, sys
from zoo.cli import main
try:
    main(sys.argv[1:])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
LINES = 3  # of a file of lines that are mutated
Place = tuple[str | int, ...]


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """The place of every value inside another one."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield (*here, key)
        yield from places(value[key], (*here, key))


def mutations(value: Any, seed: int, each: int) -> Iterator[tuple[Place, Any]]:
    """The value with one part missing, or some wrong one in its place, for every part."""
    chance = random.Random(seed)
    for place in places(value):
        for wrong in ["missing", *chance.sample(WRONG, each)]:
            changed = copy.deepcopy(value)
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            if wrong == "missing":
                del inner[place[-1]]
            else:
                inner[place[-1]] = wrong
            yield place, changed


def files_of(run: Path) -> list[Path]:
    (step,) = (run / "checkpoints").glob("step-*")
    names = ["run.json", "metrics.jsonl", "events.jsonl", "config.toml"]
    return [*(run / name for name in names), step / "manifest.json", step / "state.json"]


def damaged(file: Path, each: int) -> Iterator[str]:
    """Write one mutation after another to a file, and its own content in the end."""
    content = file.read_bytes()
    text = content.decode()
    try:
        if file.suffix == ".jsonl":
            lines = [json.loads(line) for line in text.splitlines()]
            for place, value in mutations(lines[:LINES], 0, each):
                file.write_text("\n".join(map(json.dumps, [*value, *lines[LINES:]])) + "\n")
                yield f"{file.name} {place}"
        elif file.suffix == ".toml":
            for place, value in mutations(tomllib.loads(text), 0, each):
                try:
                    file.write_text(tomli_w.dumps(value))
                except (TypeError, ValueError):  # which TOML cannot say
                    continue
                yield f"{file.name} {place}"
        else:
            for place, value in mutations(json.loads(text), 0, each):
                file.write_text(json.dumps(value))
                yield f"{file.name} {place}"
    finally:
        file.write_bytes(content)


@pytest.fixture
def mutated(in_trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a copy of the trained runs."""
    shutil.copytree(in_trained / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "first"


def outcome(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        zoo.cli.main(list(words))
    said = capsys.readouterr()
    assert isinstance(left.value.code, int)
    assert "bug of zoo" not in said.err, f"{words}: {said.err}"
    assert "\x1b" not in said.out + said.err
    return left.value.code, said.out, said.err


def test_reading_verbs_survive_every_mutation(
    mutated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mutated / "events.jsonl").write_text(
        json.dumps({"event": "alert", "monitor": "collapse", "step": 3, "message": "m",
                    "advice": "a", "evidence": {"level": 0.1}})
        + "\n" + json.dumps({"event": "recovered", "monitor": "collapse", "step": 9}) + "\n"
    )  # fmt: skip
    count = refused = 0
    for file in files_of(mutated)[:4]:
        for what in damaged(file, each=3):
            count += 1
            code, out, _ = outcome(capsys, "runs")
            assert code == 0, what
            assert "plain" in out, what
            is_damaged = "damaged" in out
            compare = [["compare", "first", "--json"]] if count % 3 == 0 else []
            for words in (["runs", "show", "first"], ["doctor", "first"], *compare):
                code, out, err = outcome(capsys, *words)
                assert code == (3 if is_damaged else 0), f"{what}: {out}{err}"
                assert code == 0 or "'first'" in err, what
            refused += is_damaged
    assert count > 400
    assert refused > 50


@pytest.mark.parametrize("verb", ["sample", "eval", "train"])
def test_verbs_that_use_a_run_survive_mutations(
    mutated: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {
        "sample": ["sample", "vae", "-n", "1", "-o", "x.png"],
        "eval": ["eval", "first", "--metrics", "model"],
        "train": ["train", "--resume", "first"],
    }[verb]
    info, _, _, *of_training = files_of(mutated)
    before = {path: path.read_bytes() for path in mutated.rglob("*") if path.is_file()}
    for file in of_training if verb == "train" else [info]:
        for number, what in enumerate(damaged(file, each=1)):
            if number % (32 if file.name == "state.json" else 16):  # the reader is the same
                continue
            code, _, err = outcome(capsys, *words)
            assert code in ({0, 2, 3} if file.suffix == ".toml" else {0, 3}), f"{what}: {err}"
            for path in mutated.rglob("damaged-*"):
                shutil.rmtree(path)
            for path, content in before.items():
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)


def test_a_damaged_run_is_a_row_and_an_error_with_its_name(mutated: Path) -> None:
    info = json.loads((mutated / "run.json").read_text())
    info["identity"]["metrics"] = {"elbo": "good"}
    (mutated / "run.json").write_text(json.dumps(info))
    rows = {row["id"]: row for row in zoo_json("runs")}
    assert rows["first"]["status"] == "damaged"
    assert "identity.metrics" in rows["first"]["problem"]
    assert rows["plain"]["status"] == "finished"
    for words in (["runs", "show", "first"], ["doctor", "first"]):
        said = error_of(*words, code=3, error="damaged-run")
        assert "'first'" in said
        assert "run.json" in said


def test_a_damaged_line_is_left_out_with_a_word(mutated: Path) -> None:
    lines = (mutated / "metrics.jsonl").read_text().splitlines()
    (mutated / "metrics.jsonl").write_text("\n".join(['{"step": "one"}', *lines[1:]]) + "\n")
    shown = command("runs", "show", "first")
    assert "metrics.jsonl, line 1 is damaged" in shown.stderr
    assert "elbo (validation)" in shown.stdout


def test_a_run_that_is_a_link_loses_the_link_alone(mutated: Path) -> None:
    kept = mutated.parents[1] / "elsewhere"
    mutated.rename(kept)
    mutated.symlink_to(kept)
    done = command("runs", "rm", "first")
    assert str(kept) in done.stderr
    assert not mutated.is_symlink()
    assert (kept / "run.json").is_file()
    assert [path.name for path in mutated.parent.iterdir()] == ["plain"]
    error_of("runs", "show", "first", code=3, error="run-not-found")


@pytest.mark.slow
@pytest.mark.parametrize("words", [["runs", "show", "first"], ["doctor", "first"]])
def test_half_a_million_lines_take_no_more_memory_than_a_few(
    mutated: Path, words: list[str]
) -> None:
    peak = {}
    for lines in (10, 500_000):
        with (mutated / "metrics.jsonl").open("w") as file:
            for step in range(lines):
                values = {"a/one": step / 3, "a/two": step / 7, "b/three": 1.5}
                row = {"step": step, "epoch": 1, "split": "train", "values": values}
                file.write(json.dumps(row) + "\n")
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=True
        )
        peak[lines] = int(done.stdout.splitlines()[-1])  # kB
    assert peak[500_000] < peak[10] + 10_000, peak
