"""What a run says of its health is what holds now, however it came to be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zoo.cli.request import Request, new_job
from zoo.training import engine
from zoo.training.illnesses import Verdict, diverged
from zoo.training.progress import Progress
from zoo.training.record import Record
from zoo.training.run import Run, now
from zoo.training.worker import set_up

FIRST, SECOND = (
    Verdict.of(illness, 40, "it is so", {"units": 1.0}) for illness in ("collapse", "dead-units")
)


@pytest.fixture
def record() -> Iterator[Record]:
    """The record of a training that has not taken a step, of which nothing is wrong."""
    job = new_job(Request("ae", None, None, None, None, {}, ("hidden=8",)))
    setup = set_up(job, engine.start(job.settings))
    run = Run.create("ae")
    with run.held(), Progress(1) as progress:
        record = Record(job, run, setup.table, progress, tensorboard=False)
        run.start(created=now(), model="ae", data=job.data, verdicts=[])
        yield record


def test_a_verdict_is_written_down_when_none_passes(record: Record) -> None:
    record.note([FIRST])
    assert record.run.info()["verdicts"] == ["collapse"]
    record.note([])
    assert record.run.info()["verdicts"] == ["collapse"], "nothing new is nothing to write"
    assert [row["event"] for row in record.run.events()] == ["verdict"]


def test_a_verdict_that_passes_is_no_longer_told(record: Record) -> None:
    record.note([FIRST])
    assert record.run.info()["verdicts"] == ["collapse"]
    record.note([], passed=[FIRST], step=60)
    assert record.run.info()["verdicts"] == []
    assert [(row["event"], row.get("step")) for row in record.run.events()] == [
        ("verdict", 40),
        ("recovered", 60),
    ]


def test_one_verdict_may_take_the_place_of_another(record: Record) -> None:
    record.note([FIRST])
    record.note([SECOND], passed=[FIRST], step=60)
    assert record.run.info()["verdicts"] == ["dead-units"]


def test_what_ends_a_run_is_written_down_beside_what_holds(record: Record) -> None:
    record.note_end(diverged("loss/total", "nan", 3))
    assert record.run.info()["verdicts"] == ["diverged"]
